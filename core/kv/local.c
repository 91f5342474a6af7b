#include "muster/core/kv/store.h"

#include "muster/core/cond.h"
#include "muster/core/err.h"
#include "muster/core/kv/backend.h"
#include "muster/core/kv/table.h"
#include "muster/core/process.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct mst_kv_store {
    bool is_private; /* made for one handle and its clones: goes with the last of them */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct kv_table table;
        size_t waiter_count;
        size_t handle_count;
    } locked;
};

struct local_kv {
    struct mst_kv kv;
    struct mst_kv_store *store;
    uint32_t generation;
};

int mst_kv_store_create(struct mst_kv_store **ret_store)
{
    struct mst_kv_store *store = calloc(1, sizeof *store);
    if (!store)
        return -ENOMEM;
    if (kv_table_init(&store->locked.table)) {
        free(store);
        return -ENOMEM;
    }
    pthread_mutex_init(&store->locked.lock, NULL);
    mst_cond_init(&store->locked.changed);
    *ret_store = store;
    return 0;
}

void mst_kv_store_destroy(struct mst_kv_store *store)
{
    if (!store)
        return;
    assert(store->locked.handle_count == 0 && store->locked.waiter_count == 0);
    kv_table_fini(&store->locked.table);
    pthread_cond_destroy(&store->locked.changed);
    pthread_mutex_destroy(&store->locked.lock);
    free(store);
}

void mst_kv_store_advance(struct mst_kv_store *store, uint32_t generation)
{
    pthread_mutex_lock(&store->locked.lock);
    kv_table_advance(&store->locked.table, generation);
    pthread_cond_broadcast(&store->locked.changed);
    pthread_mutex_unlock(&store->locked.lock);
}

/* Sleeps until something in the table changed. 0; -ETIMEDOUT. */
static int wait_change_locked(struct mst_kv_store *store, uint64_t deadline_ns)
{
    assert(mst_lock_is_held(&store->locked.lock));
    store->locked.waiter_count++;
    int rc = mst_cond_wait(&store->locked.changed, &store->locked.lock, deadline_ns);
    assert(store->locked.waiter_count > 0);
    store->locked.waiter_count--;
    return rc;
}

static int call_locked(struct mst_kv_store *store, uint32_t generation,
                       const struct kv_request *request, struct kv_answer *answer,
                       uint64_t deadline_ns)
{
    assert(mst_lock_is_held(&store->locked.lock));
    struct kv_reply reply;
    while (kv_table_call(&store->locked.table, generation, request, &reply) == -EAGAIN) {
        int rc = wait_change_locked(store, deadline_ns);
        if (rc)
            return rc;
    }
    if (kv_reply_wakes(request, &reply) && store->locked.waiter_count > 0)
        pthread_cond_broadcast(&store->locked.changed);
    return kv_answer_fill(answer, &reply);
}

static int local_call(struct mst_kv *kv, struct kv_request *request, struct kv_answer *answer,
                      uint64_t deadline_ns)
{
    struct local_kv *local = (struct local_kv *)kv;
    struct mst_kv_store *store = local->store;
    pthread_mutex_lock(&store->locked.lock);
    int rc = call_locked(store, local->generation, request, answer, deadline_ns);
    pthread_mutex_unlock(&store->locked.lock);
    return rc;
}

static int local_clone(struct mst_kv *kv, uint64_t deadline_ns, struct mst_kv **ret_kv,
                       struct mst_err *err)
{
    struct local_kv *local = (struct local_kv *)kv;
    (void)deadline_ns; /* nothing to wait for */
    int rc = mst_kv_local(local->store, local->generation, ret_kv);
    return rc ? mst_err_set(err, rc, "no memory for a key-value handle") : 0;
}

static void local_close(struct mst_kv *kv)
{
    struct mst_kv_store *store = ((struct local_kv *)kv)->store;
    pthread_mutex_lock(&store->locked.lock);
    assert(store->locked.handle_count > 0);
    bool is_last = --store->locked.handle_count == 0 && store->is_private;
    pthread_mutex_unlock(&store->locked.lock);
    free(kv);
    if (is_last)
        mst_kv_store_destroy(store);
}

static const struct kv_backend local_backend = {
    .call = local_call,
    .clone = local_clone,
    .close = local_close,
};

int mst_kv_local(struct mst_kv_store *store, uint32_t generation, struct mst_kv **ret_kv)
{
    struct local_kv *local = calloc(1, sizeof *local);
    if (!local)
        return -ENOMEM;
    *local = (struct local_kv){
        .kv = {&local_backend, mst_process_mark()}, .store = store, .generation = generation};
    pthread_mutex_lock(&store->locked.lock);
    store->locked.handle_count++;
    pthread_mutex_unlock(&store->locked.lock);
    *ret_kv = &local->kv;
    return 0;
}

int kv_local_private(uint32_t generation, struct mst_kv **ret_kv)
{
    struct mst_kv_store *store;
    if (mst_kv_store_create(&store))
        return -ENOMEM;
    store->is_private = true;
    int rc = mst_kv_local(store, generation, ret_kv);
    if (rc)
        mst_kv_store_destroy(store);
    return rc;
}
