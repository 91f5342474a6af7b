#include "launcher/ranks.h"

#include "core/err.h"
#include "launcher/affinity.h"
#include "launcher/opts.h"
#include "launcher/outlog.h"
#include "launcher/rankenv.h"
#include "launcher/spawn.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int ranks_open(struct ranks *ranks, uint32_t generation, uint32_t first_rank, uint32_t local_size,
               struct mst_err *err)
{
    *ranks = (struct ranks){.generation = generation,
                            .first_rank = first_rank,
                            .local_size = local_size,
                            .page_fd = -1,
                            .shm_fd = -1};
    int result = mst_page_create(local_size, generation, &ranks->page_fd, &ranks->page, err);
    if (result)
        goto fail;
    ranks->shm_fd = memfd_create("muster-shm", MFD_CLOEXEC);
    if (ranks->shm_fd < 0) {
        result = mst_err_set(err, -errno, "shared segment: memfd_create: %s", strerror(errno));
        goto fail;
    }
    ranks->procs = calloc(local_size, sizeof *ranks->procs);
    if (!ranks->procs) {
        result = mst_err_set(err, -ENOMEM, "no memory for %u ranks", local_size);
        goto fail;
    }
    return 0;

fail:
    ranks_close(ranks);
    return result;
}

void ranks_close(struct ranks *ranks)
{
    assert(ranks->alive == 0);
    if (ranks->page) {
        mst_page_unmap(ranks->page);
        close(ranks->page_fd);
    }
    if (ranks->page && ranks->shm_fd >= 0)
        close(ranks->shm_fd);
    free(ranks->procs);
    *ranks = (struct ranks){.page_fd = -1, .shm_fd = -1};
}

static int spawn_one(struct ranks *ranks, uint32_t local_rank, const struct opts *opts,
                     const struct rankenv_facts *facts, struct outlog *outlog, struct mst_err *err)
{
    const int keep_fds[] = {facts->secret_fd, facts->page_fd, facts->shm_fd};
    struct spawn_request request = {.argv = opts->argv, .keep_fds = keep_fds, .keep_fd_count = 3};
    struct rankenv env;
    cpu_set_t allowed, share;

    if (!opts->unbound && sched_getaffinity(0, sizeof allowed, &allowed) == 0 &&
        affinity_share(&allowed, local_rank, ranks->local_size, &share))
        request.cores = &share;
    int result = rankenv_init(&env, opts->env, facts);
    if (result)
        return mst_err_set(err, result, "no memory for the environment of rank %u", facts->rank);
    result = outlog_add_rank(outlog, facts->rank, facts->generation, &request.out_fd,
                             &request.err_fd, err);
    if (!result) {
        request.env = env.vars;
        result = spawn_start(&request, &ranks->procs[local_rank].pid, err);
        close(request.out_fd);
        close(request.err_fd);
    }
    rankenv_fini(&env);
    return result;
}

int ranks_spawn(struct ranks *ranks, const struct opts *opts, const struct rankenv_facts *facts,
                struct outlog *outlog, struct mst_err *err)
{
    struct rankenv_facts mine = *facts;

    mine.page_fd = ranks->page_fd;
    mine.shm_fd = ranks->shm_fd;
    for (uint32_t i = 0; i < ranks->local_size; i++) {
        struct mst_page_slot *slot = mst_page_slot(ranks->page, i);
        mine.local_rank = i;
        mine.rank = ranks->first_rank + i;
        atomic_store(&slot->state, MST_RANK_STARTING); /* before the rank can store RUNNING */
        int result = spawn_one(ranks, i, opts, &mine, outlog, err);
        if (result) {
            atomic_store(&slot->state, MST_RANK_EMPTY);
            return result;
        }
        atomic_store(&slot->pid, (unsigned)ranks->procs[i].pid);
        ranks->alive++;
    }
    return 0;
}

int ranks_find(const struct ranks *ranks, pid_t pid)
{
    for (uint32_t i = 0; i < ranks->local_size; i++) {
        if (ranks->procs[i].pid == pid)
            return (int)i;
    }
    return -1;
}

void ranks_bury(struct ranks *ranks, uint32_t local_rank)
{
    assert(ranks->procs[local_rank].pid > 0 && ranks->alive > 0);
    (void)kill(-ranks->procs[local_rank].pid, SIGKILL); /* nobody left is fine */
    ranks->procs[local_rank].pid = 0;
    ranks->alive--;
}

void ranks_signal(const struct ranks *ranks, int signal_number)
{
    for (uint32_t i = 0; i < ranks->local_size; i++) {
        if (ranks->procs[i].pid > 0)
            (void)kill(-ranks->procs[i].pid, signal_number); /* it may have just died */
    }
}

void ranks_steps(const struct ranks *ranks, uint64_t *ret_highest, uint64_t *ret_lowest)
{
    uint64_t highest = MST_PAGE_NO_STEP, lowest = MST_PAGE_NO_STEP;

    for (uint32_t i = 0; i < ranks->local_size; i++) {
        /* seq_cst: pairs with the rank's store in mst_page_enter_step, after our gate's. */
        uint64_t step = atomic_load(&mst_page_slot(ranks->page, i)->step);
        uint64_t at = step == MST_PAGE_NO_STEP ? 0 : step;
        if (step != MST_PAGE_NO_STEP && (highest == MST_PAGE_NO_STEP || step > highest))
            highest = step;
        if (ranks->procs[i].pid > 0 && at < lowest)
            lowest = at;
    }
    *ret_highest = highest;
    *ret_lowest = lowest;
}
