/* pure */
#include "muster/core/cli/near.h"

#include "muster/core/least.h"

#include <string.h>

#define APART_MAX 2 /* letters that may differ */

/* How many letters are to be changed, left out, put in or swapped with the next: the distance of
 * Damerau and Levenshtein, three rows at a time, in which no letter is touched twice. More than can
 * be near if a word is too long. */
static size_t distance(const char *from, const char *to)
{
    size_t rows[3][NEAR_WORD_MAX + 1], length = strlen(to), i = 0;
    if (length > NEAR_WORD_MAX || strlen(from) > NEAR_WORD_MAX)
        return NEAR_WORD_MAX;
    for (size_t j = 0; j <= length; j++)
        rows[0][j] = j;
    for (i = 0; from[i]; i++) {
        const size_t *above = rows[i % 3], *higher = rows[(i + 2) % 3];
        size_t *row = rows[(i + 1) % 3];
        row[0] = i + 1;
        for (size_t j = 0; j < length; j++) {
            row[j + 1] = (size_t)mst_least(above[j] + (from[i] != to[j]),
                                           mst_least(above[j + 1], row[j]) + 1);
            if (i > 0 && j > 0 && from[i] == to[j - 1] && from[i - 1] == to[j])
                row[j + 1] = (size_t)mst_least(row[j + 1], higher[j - 1] + 1);
        }
    }
    return rows[i % 3][length];
}

struct near near_init(const char *word)
{
    return (struct near){.word = word, .apart = NEAR_WORD_MAX};
}

void near_consider(struct near *near, const char *name)
{
    size_t length = strlen(near->word), apart = distance(near->word, name);
    if (length > 1 && apart > 1 && strncmp(near->word, name, length) == 0)
        apart = 1;
    if (apart <= APART_MAX && apart * 2 < strlen(name) && apart < near->apart) {
        near->best = name;
        near->apart = apart;
    }
}
