/* pure */
#include "muster/core/words.h"

#include <stdio.h>
#include <string.h>

int mst_words_find(const char *const *words, const char *text)
{
    for (int i = 0; words && words[i]; i++) {
        if (strcmp(words[i], text) == 0)
            return i;
    }
    return -1;
}

const char *mst_words_join(const char *const *words, char *text, size_t cap)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; words[i] && used < cap; i++) {
        const char *joint = i == 0 ? "" : words[i + 1] ? ", " : " or ";
        int length = snprintf(text + used, cap - used, "%s%s", joint, words[i]);
        used += length > 0 ? (size_t)length : 0;
    }
    return text;
}
