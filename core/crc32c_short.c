#include "muster/core/bytes.h"
#include "muster/core/crc32c.h"

#include <stdbool.h>

#if defined __x86_64__
#include <cpuid.h>

/* From here on it pays to ask the processor, which takes a microsecond in a virtual machine. */
#define ASK_BYTES 1024

static bool has_instruction(void)
{
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_2);
}

__attribute__((target("sse4.2,crc32"))) static uint32_t by_instruction(uint32_t state,
                                                                       const uint8_t *next,
                                                                       size_t left)
{
    for (; left >= 8; next += 8, left -= 8)
        state = (uint32_t)__builtin_ia32_crc32di(state, mst_get_le64(next));
    for (; left > 0; next++, left--)
        state = __builtin_ia32_crc32qi(state, *next);
    return state;
}
#endif

static uint32_t by_table(uint32_t state, const uint8_t *next, size_t left)
{
    static const uint32_t nibbles[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                         0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                         0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                         0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    for (; left > 0; next++, left--) {
        state ^= *next;
        state = state >> 4 ^ nibbles[state & 15];
        state = state >> 4 ^ nibbles[state & 15];
    }
    return state;
}

uint32_t mst_crc32c_short(uint32_t crc, const void *data, size_t size_bytes)
{
#if defined __x86_64__
    if (size_bytes >= ASK_BYTES && has_instruction())
        return ~by_instruction(~crc, data, size_bytes);
#endif
    return ~by_table(~crc, data, size_bytes);
}
