/* kv: the control plane. A small table that all ranks of a job share: how they find one another,
 * agree and vote.
 *
 * One TCP server per job lives in the agent of node 0; an in-process table with the same interface
 * serves a world of one, the simulator, and the server itself. Every key lives under the generation
 * of the handle that uses it, so that a rank of an older generation can neither read nor disturb a
 * newer one; keys of dead generations are dropped.
 *
 *   mst_kv_dial(world, …) → set / get / wait / add / cas / watch → mst_kv_close
 *
 * A handle serves one thread at a time; another thread takes its own by mst_kv_clone. Every call
 * blocks until its answer or its deadline (core/clock.h); a change that timed out may still happen.
 * Each costs one round trip to the server, where nothing else is said. A connection that breaks is
 * dialled again and the call goes on; what a call changes it changes once all the same. Keys:
 * 1 … 255 bytes of printable ASCII. Values: up to MST_KV_VALUE_MAX bytes of host memory, borrowed
 * for the call. Any call may answer
 *   -EINVAL      a key, size or memory that is none of these
 *   -ETIMEDOUT   the deadline passed
 *   -ECONNRESET  the server is lost: its process ended, or it could not be reached for 20 s, or
 *                hung up on the call for so long
 *   -ESTALE      the generation of the handle is over
 *   -EPROTO      the server's answer is none
 *   -ENOTSUP     the handle is that of the process that this one was forked from
 *   -ENOMEM      no memory here, or the table is full (1 GiB of keys and values)
 * After -ECONNRESET, -ESTALE and -EPROTO every further call on the handle answers the same. */
#ifndef MUSTER_CORE_KV_KV_H
#define MUSTER_CORE_KV_KV_H

#include "muster/core/span.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mst_err;
struct mst_kv;
struct mst_world;

#define MST_KV_KEY_MAX 255
#define MST_KV_VALUE_MAX (UINT32_C(8) << 20)

/* Connects to the job's server and proves the job secret; rank 0 of another launcher's world starts
 * that server first, a thread of this process that ends with the world and the last of its handles;
 * for a world of one without a server makes an in-process table of its own. Retries until the
 * deadline. The world is not needed any longer once this returns; the handle is the caller's to
 * close. 0; with text -ETIMEDOUT nobody answered; -EACCES the secret is another job's; -ESTALE our
 * generation is over; -ENOTSUP more ranks, but no server, with what to set for one, or the world is
 * that of the process that this one was forked from; -EADDRINUSE rank 0's port is taken; -EEXIST
 * another process has joined as this rank at rank 0's library, and did not end within 10 s; -EINVAL
 * the address has no port; -ECONNRESET -EPROTO the server hung up or is none; -EIO no random bytes;
 * -ENOMEM. */
int mst_kv_dial(const struct mst_world *world, uint64_t deadline_ns, struct mst_kv **ret_kv,
                struct mst_err *err);

/* Another handle to the same table, for another thread. Blocks, and fails, as dial does. May run
 * while other handles are in use, not `kv` itself. */
int mst_kv_clone(struct mst_kv *kv, uint64_t deadline_ns, struct mst_kv **ret_kv,
                 struct mst_err *err);

/* Does not block, but for the last handle of a server in this process (mst_world_destroy). NULL is
 * allowed. A table that dial made goes with its last handle. */
void mst_kv_close(struct mst_kv *kv);

/* Stores a value, replacing any. 0. */
int mst_kv_set(struct mst_kv *kv, const char *key, const void *value, size_t size_bytes,
               uint64_t deadline_ns);

/* Reads a value into `value`, which has room for `cap` bytes. ret_size_bytes may be NULL. 0 and its
 * size; -ENOENT; -ENOSPC if it is over cap (its size is still told). */
int mst_kv_get(struct mst_kv *kv, const char *key, void *value, size_t cap, size_t *ret_size_bytes,
               uint64_t deadline_ns);

/* As get, but waits until the key exists. */
int mst_kv_wait(struct mst_kv *kv, const char *key, void *value, size_t cap, size_t *ret_size_bytes,
                uint64_t deadline_ns);

/* Adds to a counter (absent = 0) and returns its new value in *ret_value, which may be NULL.
 * -EINVAL if the key holds no counter, or would leave the range. get, wait and watch read a counter
 * as its 8 bytes, little-endian. */
int mst_kv_add(struct mst_kv *kv, const char *key, int64_t delta, int64_t *ret_value,
               uint64_t deadline_ns);

/* Stores *value (NULL = no bytes) only if the key holds *expected now (NULL or no bytes = only if
 * it is absent). 0; -EEXIST if it holds something else. Both sizes together are at most
 * MST_KV_VALUE_MAX. */
int mst_kv_cas(struct mst_kv *kv, const char *key, const struct mst_cspan *expected,
               const struct mst_cspan *value, uint64_t deadline_ns);

/* Removes every key that starts with `prefix` ("" = all of this generation). 0. Waits on them go on
 * waiting. Costs a pass over the whole table. */
int mst_kv_delete_prefix(struct mst_kv *kv, const char *prefix, uint64_t deadline_ns);

/* Waits until the key's version is over *version (0 = any), then reads its value to *value and
 * tells the new version. Versions rise with every change of the table. As wait otherwise. */
int mst_kv_watch(struct mst_kv *kv, const char *key, uint64_t *version,
                 const struct mst_span *value, size_t *ret_size_bytes, uint64_t deadline_ns);

/* All `size` members wait for one another: returns 0 once each has called with this name. A name
 * serves once per generation: one call too many is -EINVAL. Costs two round trips. Uses the keys
 * "barrier/<name>/…", so a name may have 241 bytes. */
int mst_kv_barrier(struct mst_kv *kv, const char *name, uint32_t size, uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif

#endif
