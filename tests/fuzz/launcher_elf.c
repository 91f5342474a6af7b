/* A program's file, of which a library's name is asked for: whatever it holds, only its bytes are
 * read, and a name that is found is one that was wanted. */
#include "muster/launcher/elf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bytes {
    const uint8_t *data;
    size_t size;
};

static bool read_at(void *arg, uint64_t offset, void *bytes, size_t size_bytes)
{
    const struct bytes *all = arg;
    if (offset > all->size || size_bytes > all->size - offset)
        return false;
    memcpy(bytes, all->data + offset, size_bytes);
    return true;
}

static bool is_wanted(const char *name)
{
    return strncmp(name, "libm", 4) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes all = {data, size};
    struct elf_file file = {.read_at = read_at, .arg = &all};
    char name[ELF_NAME_BYTES] = "";
    if (elf_find_library(&file, is_wanted, name) != is_wanted(name))
        abort();
    return 0;
}
