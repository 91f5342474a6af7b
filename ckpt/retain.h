/* Retain: which checkpoints stay. Safe from any thread. */
/* pure */
#ifndef MUSTER_CKPT_RETAIN_H
#define MUSTER_CKPT_RETAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct retain_step {
    uint64_t step;
    bool good;   /* its manifest is intact */
    bool hidden; /* published by an owner that had lost the root: nobody counts it */
    bool drop;   /* the answer */
};

/* Marks what to remove once `committed` is durable: everything older than the `keep` (>= 1) newest
 * good steps up to it. The committed step itself always stays, and so does what is newer: it was
 * passed over at load because it is damaged, and is no reason to drop what was not. What is hidden
 * goes once it is older: other ranks may be writing a newer step already. Any order of `steps`.
 * Returns how many it marked. O(n^2); n is keep + a few. */
size_t retain_plan(struct retain_step *steps, size_t count, uint64_t committed, uint32_t keep);

#endif
