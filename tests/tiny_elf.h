/* Programs and libraries as ld makes them are not at hand: the smallest that the reader takes for
 * one. It is included behind cmocka's header. */
#ifndef MUSTER_TESTS_TINY_ELF_H
#define MUSTER_TESTS_TINY_ELF_H

#include "muster/core/bytes.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { TINY_ELF_NEEDED = 1, TINY_ELF_SONAME = 14 };

/* One whose dynamic section says one name, at most 30 bytes of it. */
static inline void tiny_elf_write(const char *path, uint64_t tag, const char *name)
{
    static const uint8_t head[] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    enum { SEGMENTS = 64, DYNAMIC = 64 + 2 * 56, STRINGS = DYNAMIC + 4 * 16, END = STRINGS + 32 };
    uint8_t file[END] = {0};
    memcpy(file, head, sizeof head);
    mst_put_le64(file + 32, SEGMENTS);
    mst_put_le16(file + 54, 56);
    mst_put_le16(file + 56, 2);
    mst_put_le32(file + SEGMENTS, 1); /* all of it is loaded at 0 */
    mst_put_le64(file + SEGMENTS + 32, END);
    mst_put_le32(file + SEGMENTS + 56, 2); /* the dynamic section */
    mst_put_le64(file + SEGMENTS + 56 + 8, DYNAMIC);
    mst_put_le64(file + SEGMENTS + 56 + 16, DYNAMIC);
    mst_put_le64(file + SEGMENTS + 56 + 32, 4 * 16);
    const uint64_t entries[][2] = {{5, STRINGS}, {10, 32}, {tag, 1}, {0, 0}};
    for (size_t i = 0; i < 4; i++) {
        mst_put_le64(file + DYNAMIC + 16 * i, entries[i][0]);
        mst_put_le64(file + DYNAMIC + 16 * i + 8, entries[i][1]);
    }
    assert_true(strlen(name) <= 30);
    memcpy(file + STRINGS + 1, name, strlen(name) + 1);
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    assert_int_equal(fwrite(file, 1, sizeof file, out), sizeof file);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(chmod(path, 0700), 0);
}

#endif
