/* The life of a rank:
 *
 *   starting   its slot says so, its two pipes and its environment exist; a child, and in it what
 *              spawn.c does until execve, whose failure comes back
 *   running    it leads a session of its own, which the guard knows; death_fd watches its pidfd,
 *              where there is one
 *   dead       its pidfd is readable, or SIGCHLD came; it stays a zombie, so that its number is its
 *              own, until the rest of its group is killed; then it is reaped and forgotten
 *
 * Its slot in the page stays readable until the generation is closed: how far it came is what the
 * restart budget depends on. */
#include "muster/launcher/ranks.h"

#include "muster/core/err.h"
#include "muster/core/file.h"
#include "muster/core/libc.h"
#include "muster/launcher/affinity.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/guard.h"
#include "muster/launcher/log.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/outlog.h"
#include "muster/launcher/pmix_rank.h"
#include "muster/launcher/procs.h"
#include "muster/launcher/rankenv.h"
#include "muster/launcher/spawn.h"
#include "muster/launcher/topology.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(const struct ranks *ranks)
{
    uint32_t alive = 0;
    for (uint32_t i = 0; i < ranks->local_size; i++)
        alive += ranks->procs[i].pid > 0;
    assert(alive == ranks->alive);
}

int ranks_init(struct ranks *ranks, struct guard *guard, struct mst_err *err)
{
    *ranks = (struct ranks){.page_fd = -1, .shm_fd = -1, .pmi = {.fd = -1}, .guard = guard};
    ranks->death_fd = epoll_create1(EPOLL_CLOEXEC);
    if (ranks->death_fd < 0)
        return mst_err_set(err, -errno, "watch over the ranks: epoll_create1: %s",
                           mst_err_meaning(errno));
    return spawn_create(&ranks->spawn, err);
}

void ranks_fini(struct ranks *ranks)
{
    ranks_close(ranks);
    spawn_destroy(ranks->spawn);
    ranks->spawn = NULL;
    if (ranks->death_fd >= 0)
        close(ranks->death_fd);
    ranks->death_fd = -1;
}

int ranks_open(struct ranks *ranks, uint32_t first_rank, uint32_t local_size, struct mst_err *err)
{
    *ranks = (struct ranks){.death_fd = ranks->death_fd,
                            .guard = ranks->guard,
                            .spawn = ranks->spawn,
                            .first_rank = first_rank,
                            .local_size = local_size,
                            .page_fd = -1,
                            .shm_fd = -1,
                            .pmi = {.fd = -1}};
    int rc = mst_page_create(local_size, &ranks->page_fd, &ranks->page, err);
    if (rc)
        goto fail;
    ranks->shm_fd = memfd_create("muster-shm", MFD_CLOEXEC);
    if (ranks->shm_fd < 0) {
        rc = mst_err_set(err, -errno, "shared segment: memfd_create: %s", mst_err_meaning(errno));
        goto fail;
    }
    ranks->procs = calloc(local_size, sizeof *ranks->procs);
    ranks->error_fds = calloc(local_size, sizeof *ranks->error_fds);
    if (!ranks->procs || !ranks->error_fds) {
        rc = mst_err_set(err, -ENOMEM, "no memory for %u ranks", local_size);
        goto fail;
    }
    return 0;
fail:
    ranks_close(ranks);
    return rc;
}

static void free_env(struct rankenv *env)
{
    if (env)
        rankenv_fini(env);
    free(env);
}

/* A process of ours that was forked since has a copy of the pidfd, so closing it does not take it
 * off the watch. */
static void forget(const struct ranks *ranks, struct rank_proc *proc)
{
    if (proc->pid > 0 && proc->pidfd >= 0) {
        (void)epoll_ctl(ranks->death_fd, EPOLL_CTL_DEL, proc->pidfd, NULL); /* it is in it */
        close(proc->pidfd);
    }
    free_env(proc->env);
    *proc = (struct rank_proc){.pid = 0};
}

/* A file without a name, which a rank opens by the agent's descriptor: nothing is left of it, no
 * folder must be writable, and no number of the rank's own stands for it. A rank that gets none
 * misses nothing else. */
static void open_error_file(struct ranks *ranks, uint32_t local_rank)
{
    int fd = memfd_create("muster-error", MFD_CLOEXEC);
    ranks->error_fds[local_rank] = fd > 0 ? fd : 0;
}

static void close_error_file(struct ranks *ranks, uint32_t local_rank)
{
    if (ranks->error_fds[local_rank] > 0)
        close(ranks->error_fds[local_rank]);
    ranks->error_fds[local_rank] = 0;
}

size_t ranks_read_error(const struct ranks *ranks, uint32_t local_rank, char *text, size_t cap)
{
    int fd = ranks->error_fds ? ranks->error_fds[local_rank] : 0;
    int64_t size = fd > 0 ? mst_file_pread(fd, text, cap, 0) : 0;
    char more;
    bool is_whole = size > 0 && ((size_t)size < cap || pread(fd, &more, 1, (off_t)cap) == 0);
    return is_whole ? (size_t)size : 0;
}

void ranks_close(struct ranks *ranks)
{
    assert(ranks->alive == 0);
    for (uint32_t i = 0; ranks->procs && i < ranks->local_size; i++)
        forget(ranks, &ranks->procs[i]); /* one that even SIGKILL has not ended */
    for (uint32_t i = 0; ranks->error_fds && i < ranks->local_size; i++)
        close_error_file(ranks, i);
    if (ranks->page) {
        mst_page_unmap(ranks->page);
        close(ranks->page_fd);
    }
    if (ranks->page && ranks->shm_fd >= 0)
        close(ranks->shm_fd);
    pmi_end(&ranks->pmi);
    free(ranks->procs);
    free(ranks->shares);
    free(ranks->error_fds);
    free(ranks->begin);
    *ranks = (struct ranks){.death_fd = ranks->death_fd,
                            .guard = ranks->guard,
                            .spawn = ranks->spawn,
                            .page_fd = -1,
                            .shm_fd = -1,
                            .pmi = {.fd = -1}};
}

/* Kernels before 5.3 and some sandboxes have no pidfd: then SIGCHLD tells of the death, and the
 * agent hands it to ranks_reap_pid. */
static void watch(const struct ranks *ranks, uint32_t local_rank)
{
    struct rank_proc *proc = &ranks->procs[local_rank];
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = local_rank};
    proc->pidfd = libc_pidfd_open(proc->pid);
    if (proc->pidfd < 0 || epoll_ctl(ranks->death_fd, EPOLL_CTL_ADD, proc->pidfd, &event) == 0)
        return;
    close(proc->pidfd);
    proc->pidfd = -1;
}

/* ---- binding --------------------------------------------------------------------------------- */

static const char *visible_gpus(char *const *env)
{
    static const char name[] = "CUDA_VISIBLE_DEVICES=";
    for (; *env; env++) {
        if (strncmp(*env, name, sizeof name - 1) == 0)
            return *env + sizeof name - 1;
    }
    return NULL;
}

static void report_bindings(const struct ranks *ranks, const struct topology *topology)
{
    for (uint32_t i = 0; i < ranks->local_size; i++) {
        const cpu_set_t *cores = ranks->procs[i].cores;
        uint32_t gpu = affinity_gpu(topology->gpu_count, i, ranks->local_size);
        char text[1024];
        log_line(LOG_INFO, "binding", " of=%u cpus=%s gpu=%s", ranks->first_rank + i,
                 cores ? affinity_text(cores, text, sizeof text) : "all",
                 gpu == UINT32_MAX ? "none" : topology->gpus[gpu].bus_id);
    }
}

/* Gives each rank its CPUs, or all that this container may use. What one rank shares with nobody is
 * not looked at. 0; -ENOMEM with text. */
static int bind_ranks(struct ranks *ranks, const struct opts *opts, struct mst_err *err)
{
    cpu_set_t allowed, shared;
    struct topology topology;
    bool binds = !opts->unbound && sched_getaffinity(0, sizeof allowed, &allowed) == 0;
    if (!binds && !opts->report_bindings)
        return 0;
    CPU_ZERO(&shared);
    if (binds && ranks->local_size > 1)
        shared = allowed;
    topology_read("", &shared, visible_gpus(opts->env), &topology);
    ranks->shares = calloc(ranks->local_size, sizeof *ranks->shares);
    if (!ranks->shares)
        return mst_err_set(err, -ENOMEM, "no memory for the cores of %u ranks", ranks->local_size);
    for (uint32_t i = 0; binds && i < ranks->local_size; i++) {
        if (affinity_share(&topology, &allowed, i, ranks->local_size, &ranks->shares[i]))
            ranks->procs[i].cores = &ranks->shares[i];
    }
    if (opts->report_bindings)
        report_bindings(ranks, &topology);
    return 0;
}

/* ---- starting -------------------------------------------------------------------------------- */

/* What a start needs, until the rank is its program. */
struct start {
    struct rankenv *env;
    int fds[2];
};

/* 0; -ENOMEM; -EIO, as others would be said of the program. */
static int prepare(const struct ranks *ranks, const struct opts *opts,
                   const struct rankenv_facts *facts, struct outlog *outlog, struct start *start,
                   struct mst_err *err)
{
    *start = (struct start){malloc(sizeof *start->env), {-1, -1}};
    int rc = start->env ? rankenv_init(start->env, opts->env, facts) : -ENOMEM;
    if (rc) {
        free(start->env);
        return mst_err_set(err, rc, "no memory for the environment of rank %u", facts->rank);
    }
    if (outlog_add_rank(outlog, facts->rank, facts->local_rank, facts->generation, start->fds,
                        err)) {
        free_env(start->env);
        return -EIO;
    }
    /* before the rank can store RUNNING */
    atomic_store(&mst_page_slot(ranks->page, facts->local_rank)->state, MST_RANK_STARTING);
    return 0;
}

static struct spawn_request request_of(const struct ranks *ranks, const struct opts *opts,
                                       const struct rankenv_facts *facts, const struct start *start)
{
    return (struct spawn_request){.argv = ranks->begin ? ranks->begin : opts->argv,
                                  .env = start->env->vars,
                                  .out_fd = start->fds[0],
                                  .err_fd = start->fds[1],
                                  .keeps_stdin = opts->feeds_rank0 && facts->rank == 0,
                                  .keep_fds = {facts->secret_fd, facts->page_fd, facts->shm_fd,
                                               facts->pmi_fd ? facts->pmi_fd : facts->pmix_fd},
                                  .keep_fd_count = facts->pmi_fd || facts->pmix_fd ? 4 : 3,
                                  .cores = ranks->procs[facts->local_rank].cores,
                                  .deaf = opts->term == OPTS_TERM_AGENT,
                                  .guard = ranks->guard};
}

static void note_started(struct ranks *ranks, uint32_t local_rank, const struct spawn_child *child)
{
    struct rank_proc *proc = &ranks->procs[local_rank];
    proc->pid = child->pid;
    watch(ranks, local_rank);
    atomic_store(&mst_page_slot(ranks->page, local_rank)->pid, (unsigned)proc->pid);
    ranks->alive++;
    check(ranks);
    log_line(LOG_DEBUG, "rank started", " started=%u pid=%d", ranks->first_rank + local_rank,
             (int)proc->pid);
}

/* Takes down what `count` starts needed, of which the first `started` have become ranks. */
static void settle(struct ranks *ranks, uint32_t first, struct start *starts, size_t count,
                   const struct spawn_child *children, size_t started)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t local_rank = first + (uint32_t)i;
        bool is_late = i < started && children[i].is_late;
        close(starts[i].fds[0]);
        close(starts[i].fds[1]);
        if (i < started)
            note_started(ranks, local_rank, &children[i]);
        else
            atomic_store(&mst_page_slot(ranks->page, local_rank)->state, MST_RANK_EMPTY);
        if (is_late)
            ranks->procs[local_rank].env = starts[i].env;
        else
            free_env(starts[i].env);
    }
}

/* Starts those behind the live ones, SPAWN_BATCH at most. What cannot be prepared is told when
 * those before it have started. */
static int spawn_batch(struct ranks *ranks, const struct opts *opts, struct rankenv_facts *facts,
                       struct outlog *outlog, struct mst_err *err)
{
    struct start starts[SPAWN_BATCH];
    struct spawn_request requests[SPAWN_BATCH];
    struct spawn_child children[SPAWN_BATCH];
    struct mst_err unprepared = {0};
    uint32_t first = ranks->alive;
    size_t count = 0, started = 0;
    int rc = 0, failure = 0;
    for (; rc == 0 && count < SPAWN_BATCH && first + count < ranks->local_size; count += rc == 0) {
        facts->local_rank = first + (uint32_t)count;
        facts->rank = ranks->first_rank + facts->local_rank;
        *(ranks->begin ? &facts->pmix_fd : &facts->pmi_fd) = pmi_rank_fd(&ranks->pmi,
                                                                         facts->local_rank);
        open_error_file(ranks, facts->local_rank);
        facts->error_fd = ranks->error_fds[facts->local_rank];
        rc = prepare(ranks, opts, facts, outlog, &starts[count], &unprepared);
        if (rc == 0)
            requests[count] = request_of(ranks, opts, facts, &starts[count]);
    }
    if (count > 0)
        failure = spawn_start(ranks->spawn, requests, count, children, &started, err);
    settle(ranks, first, starts, count, children, started);
    if (failure || rc == 0)
        return failure;
    return mst_err_set(err, rc, "%s", unprepared.text);
}

/* A rank of MPI has somebody to ask before it is started. */
static int start_pmi(struct ranks *ranks, const struct opts *opts,
                     const struct rankenv_facts *facts, struct mst_err *err)
{
    size_t count = 0;
    if (opts->mpi == OPTS_MPI_PMI1)
        return pmi_start(&ranks->pmi, facts, NULL, err);
    if (opts->mpi != OPTS_MPI_PMIX)
        return 0;
    while (opts->argv[count])
        count++;
    ranks->begin = calloc(count + 3, sizeof *ranks->begin);
    if (!ranks->begin)
        return mst_err_set(err, -ENOMEM, "no memory for %zu arguments", count);
    ranks->begin[0] = (char *)PMIX_RANK_SELF; /* nobody changes execve's arguments */
    ranks->begin[1] = (char *)PMIX_RANK_WORD;
    memcpy(ranks->begin + 2, opts->argv, count * sizeof *ranks->begin);
    return pmi_start(&ranks->pmi, facts, opts->pmix, err);
}

int ranks_spawn(struct ranks *ranks, const struct opts *opts, const struct rankenv_facts *facts,
                struct outlog *outlog, struct mst_err *err)
{
    struct rankenv_facts mine = *facts;
    mine.page_fd = ranks->page_fd;
    mine.shm_fd = ranks->shm_fd;
    mine.agent_pid = getpid();
    int rc = bind_ranks(ranks, opts, err);
    if (rc == 0)
        rc = start_pmi(ranks, opts, facts, err);
    while (rc == 0 && ranks->alive < ranks->local_size)
        rc = spawn_batch(ranks, opts, &mine, outlog, err);
    pmi_started(&ranks->pmi);
    return rc;
}

/* Its process is a zombie, so its number is still its own. */
static void bury(struct ranks *ranks, uint32_t local_rank, struct rank_death *ret_death)
{
    assert(local_rank < ranks->local_size);
    struct rank_proc *proc = &ranks->procs[local_rank];
    assert(proc->pid > 0 && ranks->alive > 0);
    (void)kill(-proc->pid, SIGKILL); /* nobody left is fine */
    guard_forget(ranks->guard, proc->pid);
    siginfo_t info = {0};
    struct rusage usage = {0};
    /* The system call tells what the rank used, the function of that name does not. (void): a
     * zombie of ours is there to be reaped. */
    if (proc->pidfd >= 0)
        (void)syscall(SYS_waitid, P_PIDFD, proc->pidfd, &info, WEXITED, &usage);
    else
        (void)syscall(SYS_waitid, P_PID, proc->pid, &info, WEXITED, &usage);
    bool killed = info.si_code != CLD_EXITED;
    *ret_death = (struct rank_death){.local_rank = local_rank,
                                     .pid = proc->pid,
                                     .code = exitcode_of_death(killed, info.si_status),
                                     .ended = proc->ended,
                                     .killed = killed,
                                     .peak_bytes = (uint64_t)usage.ru_maxrss * 1024};
    if (ret_death->code == 0) /* other deaths end the generation, and say why */
        /* Release: what the rank wrote until it ended is seen by who acquires this in comm. */
        atomic_store_explicit(&mst_page_slot(ranks->page, local_rank)->state, MST_RANK_LEFT,
                              memory_order_release);
    forget(ranks, proc);
    pmi_rank_ended(&ranks->pmi, local_rank);
    ranks->alive--;
    check(ranks);
}

bool ranks_reap(struct ranks *ranks, struct rank_death *ret_death)
{
    struct epoll_event event;
    if (epoll_wait(ranks->death_fd, &event, 1, 0) != 1)
        return false;
    bury(ranks, event.data.u32, ret_death);
    return true;
}

bool ranks_reap_pid(struct ranks *ranks, pid_t pid, struct rank_death *ret_death)
{
    for (uint32_t i = 0; i < ranks->local_size; i++) {
        if (ranks->procs[i].pid == pid) {
            bury(ranks, i, ret_death);
            return true;
        }
    }
    return false;
}

void ranks_reap_orphan(const struct ranks *ranks, pid_t pid)
{
    siginfo_t info;
    guard_forget(ranks->guard, pid);
    (void)waitid(P_PID, (id_t)pid, &info, WEXITED); /* it is a zombie, as seen */
}

uint32_t ranks_pids(const struct ranks *ranks, pid_t pids[MST_PAGE_RANKS_MAX])
{
    uint32_t count = ranks->procs ? ranks->local_size : 0;
    for (uint32_t i = 0; i < count; i++)
        pids[i] = ranks->procs[i].pid;
    return count;
}

void ranks_signal(const struct ranks *ranks, int signal_number)
{
    for (uint32_t i = 0; i < ranks->local_size; i++) {
        if (ranks->procs[i].pid > 0)
            (void)kill(-ranks->procs[i].pid, signal_number); /* it may have just died */
    }
}

void ranks_kill(const struct ranks *ranks, uint32_t rank)
{
    uint32_t local_rank = rank - ranks->first_rank;
    if (local_rank < ranks->local_size && ranks->procs[local_rank].pid > 0)
        (void)kill(-ranks->procs[local_rank].pid, SIGKILL); /* as above */
}

/* Who listens is asked first: a program may take its handler back on its way out. */
void ranks_terminate(struct ranks *ranks, bool deaf)
{
    pid_t pids[MST_PAGE_RANKS_MAX];
    bool listens[MST_PAGE_RANKS_MAX];
    uint32_t count = ranks_pids(ranks, pids);
    if (deaf)
        procs_listen(pids, count, SIGTERM, listens);
    for (uint32_t i = 0; i < count; i++) {
        if (pids[i] <= 0)
            continue;
        ranks->procs[i].ended = deaf && !listens[i];
        (void)kill(-pids[i], ranks->procs[i].ended ? SIGKILL : SIGTERM); /* it may have just died */
    }
}

void ranks_report(const struct ranks *ranks, const char *what)
{
    for (uint32_t i = 0; ranks->procs && i < ranks->local_size; i++) {
        char where[PROCS_WHERE_BYTES], step[24] = "none";
        pid_t pid = ranks->procs[i].pid;
        /* Relaxed: a line for people. */
        uint64_t at = atomic_load_explicit(&mst_page_slot(ranks->page, i)->step,
                                           memory_order_relaxed);
        if (pid <= 0)
            continue;
        if (at != MST_PAGE_NO_STEP)
            snprintf(step, sizeof step, "%llu", (unsigned long long)at);
        log_line(LOG_WARN, what, " of_rank=%u pid=%d step=%s state=%c in=%s", ranks->first_rank + i,
                 (int)pid, step, procs_state(pid), log_quote(procs_where(pid, where)).text);
    }
}

void ranks_abandon(struct ranks *ranks)
{
    for (uint32_t i = 0; ranks->procs && i < ranks->local_size; i++)
        forget(ranks, &ranks->procs[i]);
    ranks->alive = 0;
}

/* Where a rank counts as being: before a checkpoint's agreed step until it has taken its word. */
static uint64_t settled_step(const struct ranks *ranks, uint32_t local_rank, uint64_t step)
{
    struct mst_gate gate = mst_page_gate(ranks->page);
    if (step == MST_PAGE_NO_STEP)
        return 0;
    /* Acquire: pairs with the rank's release, so that it has done with the gate. */
    uint64_t acted = atomic_load_explicit(&mst_page_slot(ranks->page, local_rank)->acted_step,
                                          memory_order_acquire);
    bool owes = gate.state == MST_GATE_AGREED && gate.action == MST_GATE_CHECKPOINT &&
                acted != gate.step;
    return owes && step > gate.step ? gate.step : step;
}

void ranks_steps(const struct ranks *ranks, uint64_t *ret_highest, uint64_t *ret_lowest)
{
    uint64_t highest = MST_PAGE_NO_STEP, lowest = MST_PAGE_NO_STEP;
    for (uint32_t i = 0; i < ranks->local_size; i++) {
        /* seq_cst: pairs with the rank's store in mst_page_enter_step, after our gate's. */
        uint64_t step = atomic_load(&mst_page_slot(ranks->page, i)->step);
        if (step > MST_PAGE_STEP_MAX && step != MST_PAGE_NO_STEP)
            step = MST_PAGE_STEP_MAX; /* a rank may write anything there; the drain counts on it */
        uint64_t at = settled_step(ranks, i, step);
        if (step != MST_PAGE_NO_STEP && (highest == MST_PAGE_NO_STEP || step > highest))
            highest = step;
        if (ranks->procs[i].pid > 0 && at < lowest)
            lowest = at;
    }
    *ret_highest = highest;
    *ret_lowest = lowest;
}

uint32_t ranks_verdict(const struct ranks *ranks, uint32_t *ret_rank)
{
    for (uint32_t i = 0; i < ranks->local_size; i++) {
        /* Relaxed: the rank has ended, which orders all that it wrote. */
        int verdict = atomic_load_explicit(&mst_page_slot(ranks->page, i)->verdict,
                                           memory_order_relaxed);
        if (verdict < 0 && verdict >= -MST_ERRNO_MAX) { /* a rank may write anything there */
            *ret_rank = ranks->first_rank + i;
            return (uint32_t)-verdict;
        }
    }
    *ret_rank = MST_PAGE_CAUSE_JOB;
    return 0;
}

uint64_t ranks_lost_step(const struct ranks *ranks, uint32_t *ret_rank)
{
    uint64_t lost = MST_PAGE_NO_STEP;
    *ret_rank = MST_PAGE_CAUSE_JOB;
    for (uint32_t i = 0; ranks->page && i < ranks->local_size; i++) {
        /* Relaxed: a word for people, which may lag. */
        uint64_t step = atomic_load_explicit(&mst_page_slot(ranks->page, i)->lost_step,
                                             memory_order_relaxed);
        if (ranks->procs[i].pid > 0 && step != MST_PAGE_NO_STEP &&
            (lost == MST_PAGE_NO_STEP || step > lost)) {
            lost = step;
            *ret_rank = ranks->first_rank + i;
        }
    }
    return lost;
}
