/* A choice among words, NULL-ended: which of them a text is, and what an error says may be
 * chosen. */
/* pure */
#ifndef MUSTER_CORE_WORDS_H
#define MUSTER_CORE_WORDS_H

#include <stddef.h>

/* Which of `words` the text is, counted from 0; -1 if it is none. No words at all (NULL) have
 * none. */
int mst_words_find(const char *const *words, const char *text);

/* "auto, uring or threads" into `text` of `cap` bytes, at least one, which is returned; cut if it
 * is longer. */
const char *mst_words_join(const char *const *words, char *text, size_t cap);

#endif
