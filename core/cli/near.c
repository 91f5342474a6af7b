/* pure */
#include "muster/core/cli/near.h"

#include <string.h>

#define APART_MAX 2 /* letters that may differ */

/* How many letters are to be changed, left out or put in: Levenshtein's distance, a row at a time.
 * More than can be near if a word is too long. */
static size_t distance(const char *from, const char *to)
{
    size_t row[NEAR_WORD_MAX + 1], length = strlen(to);
    if (length > NEAR_WORD_MAX || strlen(from) > NEAR_WORD_MAX)
        return NEAR_WORD_MAX;
    for (size_t i = 0; i <= length; i++)
        row[i] = i;
    for (; *from; from++) {
        size_t diagonal = row[0]++;
        for (size_t i = 1; i <= length; i++) {
            size_t best = diagonal + (*from != to[i - 1]);
            diagonal = row[i];
            if (row[i - 1] + 1 < best)
                best = row[i - 1] + 1;
            row[i] = row[i] + 1 < best ? row[i] + 1 : best;
        }
    }
    return row[length];
}

struct near near_init(const char *word)
{
    return (struct near){.word = word, .apart = NEAR_WORD_MAX};
}

void near_consider(struct near *near, const char *name)
{
    size_t length = strlen(near->word), apart = distance(near->word, name);
    if (length > 1 && strncmp(near->word, name, length) == 0)
        apart = 1;
    if (apart <= APART_MAX && apart < strlen(name) && apart < near->apart) {
        near->best = name;
        near->apart = apart;
    }
}
