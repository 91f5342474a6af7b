/* A program's file in memory, as the finder of libraries reads it. */
#ifndef MUSTER_TESTS_ELF_BYTES_H
#define MUSTER_TESTS_ELF_BYTES_H

#include "muster/launcher/elf.h"

#include <string.h>

struct elf_bytes {
    const uint8_t *data;
    size_t size_bytes;
};

static inline bool elf_bytes_read_at(void *arg, uint64_t offset, void *bytes, size_t size_bytes)
{
    const struct elf_bytes *all = arg;
    if (offset > all->size_bytes || size_bytes > all->size_bytes - offset)
        return false;
    memcpy(bytes, all->data + offset, size_bytes);
    return true;
}

#endif
