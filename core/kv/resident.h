/* Resident: the job's key-value server inside of rank 0, whose launcher has none: a thread of the
 * library that runs kv/server.h. It begins with the first handle, and ends with the world, however
 * often the program has taken that, and the last handle that was made of it. */
#ifndef MUSTER_CORE_KV_RESIDENT_H
#define MUSTER_CORE_KV_RESIDENT_H

struct kv_resident;
struct mst_err;
struct mst_world;

/* Of rank 0 of a world with is_resident and a tail, which holds it, too: starts it if it does not
 * run. It listens at every address of this node, but where all ranks are on it. Does not block. 0
 * and a hold; -EADDRINUSE and the other errors of mst_sock_listen, -ENOMEM, -EAGAIN with text. */
int kv_resident_join(const struct mst_world *world, struct kv_resident **ret_resident,
                     struct mst_err *err);

/* One more hold. NULL is allowed. Safe from any thread, as is release. */
struct kv_resident *kv_resident_hold(struct kv_resident *resident);

/* The last one stops it, once no other rank is connected, or after five seconds: it blocks so long.
 * NULL is allowed. */
void kv_resident_release(struct kv_resident *resident);

/* Adds to `err` who was refused last, why, and how many others were: that may be whom a rank waits
 * for. Safe from any thread. NULL is allowed, both. */
void kv_resident_explain(struct kv_resident *resident, struct mst_err *err);

#endif
