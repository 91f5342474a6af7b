/* Which MPI, and where its module is. */
#include "muster/comm/mpi_load.h"

#include "muster/core/cond.h"
#include "muster/core/err.h"
#include "muster/core/world/state.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MODULE_PATH_MAX 4096

/* One MPI: the file name of its module, and a symbol that only its library has. */
struct flavour {
    const char *file, *symbol;
};

static const struct flavour openmpi = {"libmuster-mpi-openmpi.so", "ompi_mpi_comm_world"};
static const struct flavour mpich = {"libmuster-mpi-mpich.so", "MPIR_Process"};

/* MPI can be initialised once in a process, so what is loaded first stays. */
static struct {
    pthread_mutex_t lock;
    const struct mpi_abi *abi;
} locked = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Two MPIs in one process would answer to each other's names: the program's own wins. Then the one
 * whose launcher this is; PMIx and Slurm's are Open MPI's before they are MPICH's. */
static const struct flavour *likely_flavour(const struct mst_world *world)
{
    if (dlsym(RTLD_DEFAULT, openmpi.symbol))
        return &openmpi;
    if (dlsym(RTLD_DEFAULT, mpich.symbol) || dlsym(RTLD_DEFAULT, "MPI_Init"))
        return &mpich;
    return world->source == MST_WORLD_PMI ? &mpich : &openmpi;
}

static int open_module(const char *path, const struct mpi_abi **ret_abi, struct mst_err *err)
{
    /* Global: Open MPI loads components that expect its symbols to be there. */
    void *module = dlopen(path, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
    if (!module)
        return mst_err_set(err, -ENOTSUP, "%s", dlerror());
    const struct mpi_abi *abi = dlsym(module, MPI_ABI_SYMBOL);
    if (!abi || abi->version != MPI_ABI_VERSION)
        return mst_err_set(err, -ENOTSUP, "%s is no MPI module of this release", path);
    *ret_abi = abi;
    return 0;
}

/* Cuts the file name off; "" if there is no directory. */
static void keep_directory(char *path)
{
    char *slash = strrchr(path, '/');
    *(slash ? slash : path) = '\0';
}

static void library_directory(char *directory, size_t cap)
{
    static const char here;
    Dl_info info;
    directory[0] = '\0';
    if (dladdr(&here, &info) != 0 && info.dli_fname)
        (void)snprintf(directory, cap, "%s", info.dli_fname);
    keep_directory(directory);
}

static void program_directory(char *directory, size_t cap)
{
    ssize_t length = readlink("/proc/self/exe", directory, cap - 1);
    directory[length > 0 ? length : 0] = '\0';
    keep_directory(directory);
}

/* Tries `directory`/`below`/`file` if it is there. A module that is there but does not load is the
 * answer: the reason is worth more than another place. */
static int try_directory(const char *directory, const char *below, const char *file,
                         const struct mpi_abi **ret_abi, struct mst_err *err)
{
    char path[MODULE_PATH_MAX + 64];
    (void)snprintf(path, sizeof path, "%s%s/%s", directory, below, file);
    if (!directory[0] || access(path, R_OK) < 0)
        return -ENOENT;
    return open_module(path, ret_abi, err);
}

static int find_module(const char *file, const struct mpi_abi **ret_abi, struct mst_err *err)
{
    char directory[MODULE_PATH_MAX];
    library_directory(directory, sizeof directory);
    int rc = try_directory(directory, "", file, ret_abi, err);
    if (rc != -ENOENT)
        return rc;
    program_directory(directory, sizeof directory);
    rc = try_directory(directory, "", file, ret_abi, err);
    if (rc == -ENOENT)
        rc = try_directory(directory, "/../lib", file, ret_abi, err);
    return rc == -ENOENT ? open_module(file, ret_abi, err) : rc;
}

static int load_locked(const struct mst_world *world, struct mst_err *err)
{
    assert(mst_lock_is_held(&locked.lock));
    if (locked.abi)
        return 0;
    const char *named = world->tuning.mpi_module;
    if (named[0]) {
        int rc = open_module(named, &locked.abi, err);
        return rc < 0 ? mst_err_wrap(err, "MST_MPI_MODULE=%s", named) : 0;
    }
    const char *file = likely_flavour(world)->file;
    int rc = find_module(file, &locked.abi, err);
    return rc < 0 ? mst_err_wrap(err, "no MPI: install the one of this launcher and "
                                      "libmuster-mpi-*.so, or set MST_MPI_MODULE")
                  : 0;
}

int mpi_load(const struct mst_world *world, const struct mpi_abi **ret_abi, struct mst_err *err)
{
    struct mst_err local_err = {0};
    pthread_mutex_lock(&locked.lock);
    int rc = load_locked(world, &local_err);
    if (rc == 0)
        *ret_abi = locked.abi;
    pthread_mutex_unlock(&locked.lock);
    return rc < 0 ? mst_err_set(err, rc, "%s", local_err.text) : 0;
}
