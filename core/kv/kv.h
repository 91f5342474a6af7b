/* kv: the control plane. A small table that all ranks of a job share: how they find one another,
 * agree and vote.
 *
 * One TCP server per job lives in the agent of node 0; an in-process table with the same interface
 * serves a world of one, the simulator, and the server itself. Every key lives under the generation
 * of the handle that uses it, so that a rank of an older generation can neither read nor disturb a
 * newer one; keys of dead generations are dropped.
 *
 *   mst_kv_dial(&world, …) → set / get / wait / add / cas / watch → mst_kv_close
 *
 * A handle serves one thread at a time; another thread takes its own by mst_kv_clone. Every call
 * blocks until its answer or its deadline; a change that timed out may still happen. Keys: 1 … 255
 * bytes of printable ASCII. Values: up to MST_KV_VALUE_MAX bytes. Common errors: -EINVAL bad key or
 * size; -ETIMEDOUT; -ECONNRESET server lost; -ESTALE generation over; -ENOMEM; -EPROTO. */
#ifndef MUSTER_CORE_KV_KV_H
#define MUSTER_CORE_KV_KV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mst_err;
struct mst_kv;
struct mst_kv_store;
struct mst_world;

#define MST_KV_KEY_MAX 255
#define MST_KV_VALUE_MAX (UINT32_C(8) << 20)

/* Connects to world->kv_addr and authenticates; for a world of one without a server makes an
 * in-process table of its own. Retries until the deadline. Errors of mst_sock_dial and
 * mst_auth_dial, and -ENOTSUP for more ranks without a server, with text. */
int mst_kv_dial(const struct mst_world *world, uint64_t deadline_ns, struct mst_kv **ret_kv,
                struct mst_err *err);

/* Another handle to the same table, for another thread. Blocks as dial does. */
int mst_kv_clone(struct mst_kv *kv, uint64_t deadline_ns, struct mst_kv **ret_kv,
                 struct mst_err *err);

/* NULL is allowed. */
void mst_kv_close(struct mst_kv *kv);

/* Stores a value, replacing any. 0. */
int mst_kv_set(struct mst_kv *kv, const char *key, const void *value, size_t size_bytes,
               uint64_t deadline_ns);

/* Reads a value into `value`. 0 and its size; -ENOENT; -ENOSPC if it is over cap (its size is still
 * told). */
int mst_kv_get(struct mst_kv *kv, const char *key, void *value, size_t cap, size_t *ret_size_bytes,
               uint64_t deadline_ns);

/* As get, but waits until the key exists. */
int mst_kv_wait(struct mst_kv *kv, const char *key, void *value, size_t cap, size_t *ret_size_bytes,
                uint64_t deadline_ns);

/* Adds to a counter (absent = 0) and returns its new value in *ret_value. -EINVAL if the key holds
 * no counter, or would leave the range. get, wait and watch read a counter as its 8 bytes,
 * little-endian. */
int mst_kv_add(struct mst_kv *kv, const char *key, int64_t delta, int64_t *ret_value,
               uint64_t deadline_ns);

/* Stores `value` only if the key holds `expected` now (size 0 = only if it is absent). 0; -EEXIST
 * if it holds something else. Both sizes together are at most MST_KV_VALUE_MAX. */
int mst_kv_cas(struct mst_kv *kv, const char *key, const void *expected, size_t expected_bytes,
               const void *value, size_t size_bytes, uint64_t deadline_ns);

/* Removes every key that starts with `prefix` ("" = all of this generation). 0. Waits on them go on
 * waiting. */
int mst_kv_delete_prefix(struct mst_kv *kv, const char *prefix, uint64_t deadline_ns);

/* Waits until the key's version is over *version (0 = any), then reads it and tells the new
 * version. Versions rise with every change of the table. As wait otherwise. */
int mst_kv_watch(struct mst_kv *kv, const char *key, uint64_t *version, void *value, size_t cap,
                 size_t *ret_size_bytes, uint64_t deadline_ns);

/* All `size` members wait for one another: returns 0 once each has called with this name. A name
 * serves once per generation: one call too many is -EINVAL. Costs two round trips. Uses the keys
 * "barrier/<name>/…", so a name may have 241 bytes. */
int mst_kv_barrier(struct mst_kv *kv, const char *name, uint32_t size, uint64_t deadline_ns);

/* The in-process table. Safe from any thread: handles of one store serve the "ranks" of a
 * simulation. The store outlives its handles. */
int mst_kv_store_create(struct mst_kv_store **ret_store);
void mst_kv_store_destroy(struct mst_kv_store *store);

/* A handle on `store` as a member of `generation`. 0; -ENOMEM. */
int mst_kv_local(struct mst_kv_store *store, uint32_t generation, struct mst_kv **ret_kv);

/* Drops the keys of all generations older than `generation` and ends waits in them with -ESTALE. */
void mst_kv_store_advance(struct mst_kv_store *store, uint32_t generation);

#ifdef __cplusplus
}
#endif

#endif
