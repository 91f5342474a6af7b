/* Elf: which libraries a program names that the dynamic linker is to load with it. The file may be
 * anything: what is no 64-bit little-endian program, or contradicts itself, names none. */
/* pure */
#ifndef MUSTER_LAUNCHER_ELF_H
#define MUSTER_LAUNCHER_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct elf_file {
    /* Reads all of [offset, offset + size_bytes). False if the file does not have them. */
    bool (*read_at)(void *arg, uint64_t offset, void *bytes, size_t size_bytes);
    void *arg;
};

#define ELF_NAME_BYTES                                                                             \
    128 /* a library's name and its NUL; longer ones are none that is looked for */

/* Writes the first of the file's own libraries that `is_wanted` into `name`. False, and `name` as
 * it was: there is none. */
bool elf_find_library(const struct elf_file *file, bool (*is_wanted)(const char *name),
                      char name[ELF_NAME_BYTES]);

/* Writes the name by which a library is known to programs that need it (its soname) into `name`.
 * False, and `name` as it was: it is none, or has none. */
bool elf_name(const struct elf_file *file, char name[ELF_NAME_BYTES]);

#endif
