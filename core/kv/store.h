/* The in-process table: what a world of one, a simulation and tests have in the server's place.
 * Safe from any thread: handles of one store serve the "ranks" of a simulation. */
#ifndef MUSTER_CORE_KV_STORE_H
#define MUSTER_CORE_KV_STORE_H

#include <stdint.h>

struct mst_kv;
struct mst_kv_store;

/* 0; -ENOMEM. The store outlives its handles. */
int mst_kv_store_create(struct mst_kv_store **ret_store);
void mst_kv_store_destroy(struct mst_kv_store *store);

/* A handle on `store` as a member of `generation`. 0; -ENOMEM. */
int mst_kv_local(struct mst_kv_store *store, uint32_t generation, struct mst_kv **ret_kv);

/* Drops the keys of all generations older than `generation` and ends waits in them with -ESTALE. */
void mst_kv_store_advance(struct mst_kv_store *store, uint32_t generation);

#endif
