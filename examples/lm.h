/* The network that train_lm trains: 8 bytes of context → embedding → hidden layer (tanh) → softmax
 * over the next byte, with a backward pass written by hand. It knows nothing of ranks. */
#ifndef MUSTER_EXAMPLES_LM_H
#define MUSTER_EXAMPLES_LM_H

#include "muster/core/rng.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LM_CONTEXT = 8, LM_EMBED = 16, LM_INPUT = LM_CONTEXT * LM_EMBED, LM_HIDDEN = 64 };
enum { LM_BYTES = 256 };
enum {
    LM_RECORD = 32,
    LM_TARGETS = LM_RECORD - LM_CONTEXT
}; /* a sample: its last 24 are predicted */

/* Parameters lie in the order in which backward completes their gradients, the last layer first, so
 * that a bucket of gradients is one contiguous range. */
enum {
    LM_W2 = 0,                            /* [HIDDEN][BYTES] */
    LM_B2 = LM_W2 + LM_HIDDEN * LM_BYTES, /* [BYTES] */
    LM_W1 = LM_B2 + LM_BYTES,             /* [INPUT][HIDDEN] */
    LM_B1 = LM_W1 + LM_INPUT * LM_HIDDEN, /* [HIDDEN] */
    LM_EM = LM_B1 + LM_HIDDEN,            /* [BYTES][EMBED] */
    LM_PARAMS = LM_EM + LM_BYTES * LM_EMBED,
};

enum { LM_BUCKETS = 3 };
extern const size_t lm_bucket_start[LM_BUCKETS + 1]; /* the last entry is LM_PARAMS */

/* The same as a checkpoint has it. */
struct lm_tensor {
    const char *name;
    size_t at;
    uint64_t rows, columns; /* columns 0: a vector */
};

enum { LM_TENSORS = 5 };
extern const struct lm_tensor lm_tensors[LM_TENSORS];

struct lm {
    float params[LM_PARAMS], grads[LM_PARAMS];
};

/* The activations of one predicted byte; backward turns them into their gradients on the way. */
struct lm_row {
    const uint8_t *bytes; /* LM_CONTEXT bytes, then the target */
    float input[LM_INPUT], hidden[LM_HIDDEN], prob[LM_BYTES];
};

/* Random parameters. */
void lm_init(struct lm *lm, struct mst_rng *rng);

/* Whether every parameter is a finite number. */
bool lm_is_finite(const struct lm *lm);

/* Fills `row` for bytes[0 … LM_CONTEXT]; returns the loss of its target in nats. */
double lm_forward(const struct lm *lm, struct lm_row *row, const uint8_t *bytes);

/* Adds the gradients of bucket `bucket` over all rows; buckets are called in order 0, 1, 2. */
void lm_backward(struct lm *lm, struct lm_row *rows, size_t row_count, size_t bucket);

#endif
