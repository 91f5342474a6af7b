/* NCCL by dlopen. */
#include "muster/comm/nccl_sym.h"

#include "muster/core/cond.h"
#include "muster/core/err.h"
#include "muster/core/symbols.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

/* NCCL keeps threads and the device's memory: what is loaded first stays. */
static struct {
    pthread_mutex_t lock;
    bool loaded;
    struct nccl_library library;
} locked = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const names[] = {
#define X(symbol, parameters) #symbol,
    NCCL_FUNCTIONS(X)
#undef X
        "ncclGetErrorString",
    "ncclGetLastError",
};

static int find_symbols(void *handle, const char *path, struct mst_err *err)
{
    static_assert(sizeof locked.library == sizeof names, "a pointer for each name, in one order");
    const char *missing = mst_symbols_find(handle, names, sizeof names / sizeof names[0],
                                           &locked.library);
    if (missing)
        return mst_err_set(err, -ENOTSUP, "%s has no %s: NCCL 2.14 or later is needed", path,
                           missing);
    return 0;
}

static int load_locked(const char *path, struct mst_err *err)
{
    assert(mst_lock_is_held(&locked.lock));
    if (locked.loaded)
        return 0;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return mst_err_set(err, -ENOTSUP, "no NCCL: %s; install it, or set MST_NCCL_LIB",
                           dlerror());
    int rc = find_symbols(handle, path, err);
    if (rc < 0)
        (void)dlclose(handle); /* nothing of it was called */
    locked.loaded = rc == 0;
    return rc;
}

int nccl_load(const char *path, const struct nccl_library **ret_library, struct mst_err *err)
{
    pthread_mutex_lock(&locked.lock);
    int rc = load_locked(path[0] ? path : "libnccl.so.2", err);
    pthread_mutex_unlock(&locked.lock);
    if (rc == 0)
        *ret_library = &locked.library;
    return rc;
}

struct nccl_config nccl_config_of(uint32_t version, const char *name)
{
    bool has_name = version >= NCCL_NAME_VERSION;
    return (struct nccl_config){
        .size = has_name ? sizeof(struct nccl_config) : offsetof(struct nccl_config, min_ctas),
        .magic = NCCL_CONFIG_MAGIC,
        .version = has_name ? NCCL_NAME_VERSION : 21400,
        .blocking = 0,
        .cga_cluster_size = NCCL_CONFIG_UNSET,
        .min_ctas = NCCL_CONFIG_UNSET,
        .max_ctas = NCCL_CONFIG_UNSET,
        .split_share = NCCL_CONFIG_UNSET,
        .traffic_class = NCCL_CONFIG_UNSET,
        .comm_name = name,
        .collnet_enable = NCCL_CONFIG_UNSET,
        .cta_policy = NCCL_CONFIG_UNSET,
        .shrink_share = NCCL_CONFIG_UNSET,
        .nvls_ctas = NCCL_CONFIG_UNSET,
    };
}

/* Up to 2.8 the number had a digit less. */
const char *nccl_version_text(uint32_t version, char *text, size_t cap)
{
    uint32_t major = version < 10000 ? 1000 : 10000;
    (void)snprintf(text, cap, "%u.%u.%u", version / major, version % major / 100, version % 100);
    return text;
}
