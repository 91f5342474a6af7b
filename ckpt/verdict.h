/* Verdict: a struct mst_err in the key-value table, so that all ranks tell the same story.
 * Thread safety is that of the handle. */
#ifndef MUSTER_CKPT_VERDICT_H
#define MUSTER_CKPT_VERDICT_H

#include "muster/core/err.h"

#include <stddef.h>
#include <stdint.h>

struct mst_kv;
struct word;

#define VERDICT_BYTES_MAX 256

/* Writes "<code> <text>", without a NUL. Returns its size. */
size_t verdict_encode(const struct mst_err *verdict, char text[VERDICT_BYTES_MAX]);

/* 0; -EBADMSG. */
int verdict_decode(const char *text, size_t size_bytes, struct mst_err *ret_verdict);

/* Stores it under `key`. 0; errors of mst_kv_set. */
int verdict_post(struct mst_kv *kv, const char *key, const struct mst_err *verdict,
                 uint64_t deadline_ns);

/* Waits for one, as word_await does, and returns its code; the text is in *ret_verdict. Blocks. If
 * none can be had, that is the verdict: errors of word_await, -EBADMSG, naming the rank. */
int verdict_await(const struct word *word, uint64_t deadline_ns, struct mst_err *ret_verdict);

#endif
