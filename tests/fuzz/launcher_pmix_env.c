/* What is taken for variables is, laid out again, the same bytes. */
#include "muster/launcher/pmix_env.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *vars[PMIX_ENV_VARS + 1], *bytes = malloc(size + 1), *again = malloc(size + 1);
    if (!bytes || !again)
        abort();
    if (size > 0)
        memcpy(bytes, data, size);
    int count = pmix_env_decode(bytes, size, vars);
    if (count > 0) {
        vars[count] = NULL;
        if (pmix_env_encode(vars, again, size) != (long)size || memcmp(again, data, size) != 0)
            abort();
    }
    free(bytes);
    free(again);
    return 0;
}
