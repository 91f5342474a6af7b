/* Whatever a rank leaves, its message is one printable line. */
#include "muster/launcher/errfile.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char line[64];
    if (!errfile_message((const char *)data, size, line, sizeof line))
        return 0;
    for (const char *at = line; *at; at++) {
        if (*at < ' ' || *at > '~')
            abort();
    }
    return 0;
}
