#include "muster/launcher/json_text.h"

#include "muster/launcher/text.h"

#include <stdlib.h>
#include <string.h>

json_t *json_text(const char *text)
{
    size_t size = strlen(text);
    char *fit = strdup(text);
    for (size_t at = 0, length; fit && at < size; at += length ? length : 1) {
        length = text_utf8(text + at, size - at);
        if (length == 0)
            fit[at] = '?';
    }
    json_t *value = fit ? json_string(fit) : NULL;
    free(fit);
    return value;
}
