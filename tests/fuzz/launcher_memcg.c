/* What the kernel's files of a memory cgroup may say, all of it in one text. */
#include "muster/launcher/memcg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), path[MEMCG_PATH_BYTES], shown[32];
    uint64_t value = 0;
    if (!text)
        abort();
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (memcg_find(text, path) != MEMCG_NONE && (strchr(path, '\n') || !strstr(text, path)))
        abort();
    (void)memcg_count(text, "oom_kill", &value); /* any number will do */
    if (memcg_bytes(text, &value) && memcg_size(value, shown, sizeof shown) != shown)
        abort();
    free(text);
    return 0;
}
