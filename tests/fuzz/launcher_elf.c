/* A program's file, of which a library's name is asked for: whatever it holds, only its bytes are
 * read, and a name that is found is one that was wanted. */
#include "elf_bytes.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_wanted(const char *name)
{
    return strncmp(name, "libm", 4) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct elf_bytes all = {data, size};
    struct elf_file file = {.read_at = elf_bytes_read_at, .arg = &all};
    char name[ELF_NAME_BYTES] = "";
    if (elf_find_library(&file, is_wanted, name) != is_wanted(name))
        abort();
    return 0;
}
