/* Word: what one rank says to the others in the key-value table, awaited as long as it can come.
 * Thread safety is that of the handle. */
#ifndef MUSTER_CKPT_WORD_H
#define MUSTER_CKPT_WORD_H

#include <stddef.h>
#include <stdint.h>

struct mst_kv;
struct mst_page;

struct word {
    struct mst_kv *kv;
    const struct mst_page *page; /* of the node; NULL: nobody says which rank has ended */
    uint32_t from;               /* the rank that says it */
    const char *key;
};

/* As mst_kv_wait, and -ECONNRESET if the generation was aborted because that rank has ended, and
 * the word is not there. Asks again now and then, ever more rarely: what the page says is seen
 * after as long again as has been waited, at most a second. */
int word_await(const struct word *word, void *value, size_t cap, size_t *ret_size_bytes,
               uint64_t deadline_ns);

#endif
