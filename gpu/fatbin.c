/* Takes the file in at assembly time. */
#include "muster/gpu/fatbin.h"

#include <stddef.h>

#ifdef MUSTER_FATBIN
__asm__(".section .rodata\n"
        ".balign 64\n"
        "gpu_fatbin_bytes:\n"
        ".incbin \"" MUSTER_FATBIN "\"\n"
        ".previous\n");
extern const char gpu_fatbin_bytes[] __attribute__((visibility("hidden")));
const void *const gpu_fatbin = gpu_fatbin_bytes;
#else
const void *const gpu_fatbin = NULL;
#endif
