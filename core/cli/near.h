/* Near: which name a mistyped word most likely stands for. */
/* pure */
#ifndef MUSTER_CORE_CLI_NEAR_H
#define MUSTER_CORE_CLI_NEAR_H

#include <stddef.h>

#define NEAR_WORD_MAX 32 /* longer words resemble no name */

/* `best` is NULL until a name was near enough. */
struct near {
    const char *word, *best;
    size_t apart;
};

struct near near_init(const char *word);

/* Keeps `name` if the word begins it, or is at most two letters and less than half of it away, and
 * no name before was nearer. */
void near_consider(struct near *near, const char *name);

#endif
