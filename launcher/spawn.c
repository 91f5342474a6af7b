/* A child is made as by vfork: it runs in the agent's memory, on a stack of its own, and the thread
 * that made it stands still until it is its program. Nothing of the agent's is copied, which is
 * most of what a fork costs, and a file system that holds the program up holds that thread, not the
 * agent, whose next start is another thread's. */
#include "muster/launcher/spawn.h"

#include "muster/core/clock.h"
#include "muster/core/cond.h"
#include "muster/core/err.h"
#include "muster/core/thread.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/guard.h"
#include "muster/launcher/inherited.h"
#include "muster/launcher/program.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LATE_MS 500
#define AGAIN_LATE_MS 20
/* execvpe has the path on it, and the addresses of a script's arguments: the kernel takes 6 MiB of
 * arguments, their addresses included. */
#define STACK_BYTES ((size_t)8 << 20)

/* A thread that starts one program after the other. */
struct starter {
    struct starter *next;
    pthread_t thread;
    char *stack; /* of the child */
    pid_t agent;
    struct spawn_request requests[SPAWN_BATCH];
    atomic_int pids[SPAWN_BATCH]; /* as each child says itself; 0: there is none yet */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool busy, stopping;
        bool abandoned;     /* by destroy, which it held up */
        size_t count, done; /* of the requests */
        int rc;             /* of the one that ended the batch */
    } locked;
};

/* What a child is given, and what it gives back if it does not become the program. */
struct errand {
    struct starter *starter;
    size_t at;
    int refusal;
};

struct spawn {
    struct starter *first;
    bool was_late; /* the last start was */
};

/* ---- in the child ---------------------------------------------------------------------------- */

/* False: the agent died before the child was bound to it. */
static bool become_own_session_that_dies_with(pid_t agent, const struct guard *guard)
{
    (void)setsid();                         /* cannot fail: the child leads nothing yet */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* cannot fail for a valid signal */
    if (guard)
        guard_add(guard->fd, getpid());
    return getppid() == agent;
}

static int set_up_fds(const struct spawn_request *request)
{
    int null_fd = request->keeps_stdin ? STDIN_FILENO : open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0)
        return -errno;
    if (dup2(request->out_fd, STDOUT_FILENO) < 0 || dup2(request->err_fd, STDERR_FILENO) < 0)
        return -errno;
    for (size_t i = 0; i < request->keep_fd_count; i++) {
        if (fcntl(request->keep_fds[i], F_SETFD, 0) < 0)
            return -errno;
    }
    return 0;
}

static int become_program(const struct spawn_request *request)
{
    int rc = set_up_fds(request);
    if (!rc && request->cores && sched_setaffinity(0, sizeof *request->cores, request->cores))
        rc = -errno;
    if (!rc) {
        inherited_hand_on(request->deaf);
        execvpe(request->argv[0], request->argv, request->env);
        rc = -errno;
    }
    return rc;
}

/* What it returns is its exit code. It shares the agent's memory, and has its own signals and
 * descriptors. */
static int run_child(void *arg)
{
    struct errand *errand = arg;
    struct starter *starter = errand->starter;
    const struct spawn_request *request = &starter->requests[errand->at];
    /* Relaxed: the number stands for nothing but itself. */
    atomic_store_explicit(&starter->pids[errand->at], getpid(), memory_order_relaxed);
    if (!become_own_session_that_dies_with(starter->agent, request->guard))
        return 128 + SIGKILL;
    errand->refusal = become_program(request);
    return exitcode_of_exec(-errand->refusal);
}

/* ---- in the thread --------------------------------------------------------------------------- */

/* By glibc's other name it is no fork to the thread sanitizer, which knows no vfork. */
#ifdef __GLIBC__
int __clone(int (*run)(void *), void *stack, int flags, void *arg, ...); /* NOLINT: its name */
#define CLONE __clone
#else
#define CLONE clone
#endif

/* A kernel that another processor's is emulated on (qemu-user) forks instead: then what the child
 * says does not arrive, but its number does, and a refusal is the exit code of one that ran. */
static int start_one(struct starter *starter, size_t at)
{
    struct errand errand = {starter, at, 0};
    int pid = CLONE(run_child, starter->stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD,
                    &errand);
    if (pid < 0)
        return -errno;
    atomic_store_explicit(&starter->pids[at], pid, memory_order_relaxed); /* as in run_child */
    return errand.refusal;
}

/* Until one fails, or the agent has taken the rest back. */
static void start_given_locked(struct starter *starter)
{
    assert(mst_lock_is_held(&starter->locked.lock));
    int rc = 0;
    while (rc == 0 && starter->locked.done < starter->locked.count) {
        size_t at = starter->locked.done;
        pthread_mutex_unlock(&starter->locked.lock);
        rc = start_one(starter, at);
        pthread_mutex_lock(&starter->locked.lock);
        starter->locked.done += rc == 0;
    }
    starter->locked.rc = rc;
    starter->locked.busy = false;
    pthread_cond_broadcast(&starter->locked.changed);
}

static void *run(void *arg)
{
    struct starter *starter = arg;
    (void)prctl(PR_SET_NAME, "mst-spawn"); /* cannot fail: it is short enough */
    pthread_mutex_lock(&starter->locked.lock);
    while (starter->locked.busy || !starter->locked.stopping) {
        if (starter->locked.busy)
            start_given_locked(starter);
        else
            (void)mst_cond_wait(&starter->locked.changed, &starter->locked.lock, MST_NEVER);
    }
    pthread_mutex_unlock(&starter->locked.lock);
    return NULL;
}

/* ---- in the agent ---------------------------------------------------------------------------- */

static bool is_busy(struct starter *starter)
{
    pthread_mutex_lock(&starter->locked.lock);
    bool busy = starter->locked.busy;
    pthread_mutex_unlock(&starter->locked.lock);
    return busy;
}

static void free_starter(struct starter *starter)
{
    pthread_cond_destroy(&starter->locked.changed);
    pthread_mutex_destroy(&starter->locked.lock);
    if (starter->stack != MAP_FAILED)
        (void)munmap(starter->stack, STACK_BYTES); /* it is ours */
    free(starter);
}

static int add_starter(struct spawn *spawn, struct starter **ret_starter)
{
    struct starter *starter = calloc(1, sizeof *starter);
    if (!starter)
        return -ENOMEM;
    starter->agent = getpid();
    pthread_mutex_init(&starter->locked.lock, NULL);
    mst_cond_init(&starter->locked.changed);
    starter->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    int rc = starter->stack == MAP_FAILED ? -errno
                                          : mst_thread_start(&starter->thread, NULL, run, starter);
    if (rc) {
        free_starter(starter);
        return rc;
    }
    starter->next = spawn->first;
    spawn->first = starter;
    *ret_starter = starter;
    return 0;
}

/* One that no start holds up. */
static int find_starter(struct spawn *spawn, struct starter **ret_starter)
{
    for (struct starter *starter = spawn->first; starter; starter = starter->next) {
        if (!is_busy(starter)) {
            *ret_starter = starter;
            return 0;
        }
    }
    return add_starter(spawn, ret_starter);
}

static void give(struct starter *starter, const struct spawn_request *requests, size_t count)
{
    pthread_mutex_lock(&starter->locked.lock);
    assert(!starter->locked.busy && count <= SPAWN_BATCH);
    for (size_t i = 0; i < count; i++) {
        starter->requests[i] = requests[i];
        atomic_store_explicit(&starter->pids[i], 0, memory_order_relaxed); /* as in run_child */
    }
    starter->locked.count = count;
    starter->locked.done = 0;
    starter->locked.busy = true;
    pthread_cond_broadcast(&starter->locked.changed);
    pthread_mutex_unlock(&starter->locked.lock);
}

static pid_t pid_of(struct starter *starter, size_t at)
{
    return atomic_load_explicit(&starter->pids[at], memory_order_relaxed); /* as in run_child */
}

/* Its result. *ret_late, if one takes longer than `late_ms`: then what stands behind that is taken
 * back. A thread that has not come to make a child is not held up. */
static int await(struct starter *starter, uint32_t late_ms, size_t *ret_done, bool *ret_late)
{
    size_t seen = 0;
    uint64_t deadline_ns = mst_deadline_ms(late_ms);
    *ret_late = false;
    pthread_mutex_lock(&starter->locked.lock);
    while (starter->locked.busy && !*ret_late) {
        size_t done = starter->locked.done;
        if (mst_cond_wait(&starter->locked.changed, &starter->locked.lock, deadline_ns) == 0)
            continue;
        *ret_late = starter->locked.busy && done == seen && done == starter->locked.done &&
                    pid_of(starter, done) != 0;
        seen = starter->locked.done;
        deadline_ns = mst_deadline_ms(late_ms);
    }
    *ret_done = starter->locked.done;
    if (*ret_late)
        starter->locked.count = starter->locked.done + 1;
    int rc = *ret_late ? 0 : starter->locked.rc;
    pthread_mutex_unlock(&starter->locked.lock);
    return rc;
}

/* A child of ours that ends by itself. */
static void bury(struct guard *guard, pid_t pid)
{
    siginfo_t info;
    (void)waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT); /* it is there to be waited for */
    guard_forget(guard, pid);
    (void)waitpid(pid, NULL, 0);
}

int spawn_create(struct spawn **ret_spawn, struct mst_err *err)
{
    *ret_spawn = calloc(1, sizeof **ret_spawn);
    return *ret_spawn ? 0 : mst_err_set(err, -ENOMEM, "no memory for the start of ranks");
}

/* A thread that is held up to the end is left to itself, and goes with the process. */
static void stop(struct starter *starter)
{
    pthread_mutex_lock(&starter->locked.lock);
    bool busy = starter->locked.busy;
    starter->locked.stopping = true;
    pthread_cond_broadcast(&starter->locked.changed);
    pthread_mutex_unlock(&starter->locked.lock);
    if (busy)
        return;
    (void)pthread_join(starter->thread, NULL); /* cannot fail for a thread of ours */
    free_starter(starter);
}

void spawn_destroy(struct spawn *spawn)
{
    while (spawn && spawn->first) {
        struct starter *starter = spawn->first;
        spawn->first = starter->next;
        stop(starter);
    }
    free(spawn);
}

/* spawn_start by one thread, which may be held up: then fewer are started, and that is no error. */
static int start_some(struct spawn *spawn, const struct spawn_request *requests, size_t count,
                      struct spawn_child *ret_children, size_t *ret_started, struct mst_err *err)
{
    struct starter *starter = NULL;
    size_t done = 0;
    bool is_late = false;
    int rc = find_starter(spawn, &starter);
    if (rc == 0) {
        give(starter, requests, count);
        rc = await(starter, spawn->was_late ? AGAIN_LATE_MS : LATE_MS, &done, &is_late);
        spawn->was_late = is_late;
    }
    *ret_started = done + is_late;
    for (size_t i = 0; i < *ret_started; i++)
        ret_children[i] = (struct spawn_child){pid_of(starter, i), i == done};
    if (rc == 0)
        return 0;
    pid_t refused = starter ? pid_of(starter, done) : 0;
    if (refused)
        bury(requests[done].guard, refused);
    return program_refuse(requests[done].argv[0], rc, err);
}

int spawn_start(struct spawn *spawn, const struct spawn_request *requests, size_t count,
                struct spawn_child *ret_children, size_t *ret_started, struct mst_err *err)
{
    int rc = 0;
    size_t started = 0;
    while (rc == 0 && started < count) {
        size_t more;
        rc = start_some(spawn, requests + started, count - started, ret_children + started, &more,
                        err);
        started += more;
    }
    *ret_started = started;
    return rc;
}
