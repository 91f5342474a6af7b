/* pure */
#include "muster/launcher/prefix.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

bool prefix_is_valid(const char *text)
{
    for (const char *at = strchr(text, '%'); at; at = strchr(at + 2, '%')) {
        if (!at[1] || !strchr("rlnht%", at[1]))
            return false;
    }
    return !strchr(text, '\n');
}

bool prefix_tells_time(const char *text)
{
    for (const char *at = strchr(text, '%'); at; at = strchr(at + 2, '%')) {
        if (at[1] == 't')
            return true;
    }
    return false;
}

static const char *value_of(char letter, const struct prefix_facts *facts, const char *time,
                            char number[16])
{
    switch (letter) {
    case 'h': return facts->host;
    case 't': return time;
    case '%': return "%";
    default: break;
    }
    uint32_t value = letter == 'r' ? facts->rank : letter == 'l' ? facts->local_rank : facts->node;
    snprintf(number, 16, "%u", value); /* ten digits */
    return number;
}

size_t prefix_expand(const char *text, const struct prefix_facts *facts, const char *time,
                     char to[PREFIX_BYTES_MAX])
{
    size_t used = 0;
    assert(prefix_is_valid(text));
    for (; *text; text++) {
        char number[16];
        bool is_letter = *text == '%';
        const char *piece = is_letter ? value_of(*++text, facts, time, number) : text;
        size_t size = is_letter ? strlen(piece) : 1;
        if (size > PREFIX_BYTES_MAX - used)
            size = PREFIX_BYTES_MAX - used;
        memcpy(to + used, piece, size);
        used += size;
    }
    return used;
}
