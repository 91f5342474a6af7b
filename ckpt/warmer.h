/* Warmer: faults in the tensors that a load will fill, little by little, while the load reads: the
 * copy behind the verdict then costs no more than a copy. No byte is changed. One thread at a
 * time. */
#ifndef MUSTER_CKPT_WARMER_H
#define MUSTER_CKPT_WARMER_H

#include "muster/ckpt/state.h"

/* A zeroed one, but for the state, is at the first byte of the first tensor. */
struct warmer {
    const struct state *state; /* its tensors are well-formed */
    size_t tensor, at;
};

/* Goes on by `size_bytes`, or to the end. Blocks as mst_huge_populate. */
void warmer_go_on(struct warmer *warmer, size_t size_bytes);

#endif
