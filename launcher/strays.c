#include "muster/launcher/strays.h"

#include "muster/core/clock.h"
#include "muster/launcher/guard.h"
#include "muster/launcher/ranks.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct family {
    const struct ranks *ranks;
    const pid_t *spared;
    size_t spared_count;
};

static bool is_spared(const struct family *family, pid_t pid)
{
    const struct guard *guard = family->ranks->guard;
    bool is_ours = guard && guard->fd >= 0 && pid == guard->pid;
    for (size_t i = 0; i < family->spared_count && !is_ours; i++)
        is_ours = pid == family->spared[i];
    return is_ours;
}

static bool kill_listed(const struct family *family, FILE *file)
{
    int pid;
    bool any = false;
    while (fscanf(file, "%d", &pid) == 1) { /* NOLINT(cert-err34-c): the kernel wrote it */
        if (is_spared(family, pid))
            continue;
        any = true;
        (void)kill(pid, SIGKILL); /* it may be dead already */
    }
    return any;
}

/* Each thread has its own: ranks are those of who started them, orphans come to the first. False if
 * there is none to kill. */
static bool kill_children(const struct family *family)
{
    bool any = false;
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *task;
    while (tasks && (task = readdir(tasks)) != NULL) {
        char path[sizeof "/proc/self/task//children" + NAME_MAX];
        snprintf(path, sizeof path, "/proc/self/task/%s/children", task->d_name);
        FILE *file = task->d_name[0] != '.' ? fopen(path, "re") : NULL;
        if (!file) /* a kernel without the list: PID 1's death or the pod's end takes them */
            continue;
        any = kill_listed(family, file) || any;
        fclose(file);
    }
    if (tasks)
        (void)closedir(tasks); /* only read */
    return any;
}

/* Reaps what is dead. False once no child is left. */
static bool reap(const struct family *family, uint32_t *count)
{
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT))
            return false;
        if (info.si_pid == 0)
            return true;
        ranks_reap_orphan(family->ranks, info.si_pid);
        *count += !is_spared(family, info.si_pid);
    }
}

/* Sleeps until a child dies. False at the deadline. */
static bool wait_for_death(uint64_t deadline_ns)
{
    int left_ms = mst_deadline_left_ms(deadline_ns);
    struct timespec left = {left_ms / 1000, left_ms % 1000 * 1000000L};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    return left_ms > 0 && (sigtimedwait(&set, NULL, &left) > 0 || errno == EINTR);
}

uint32_t strays_kill(const struct ranks *ranks, const pid_t *spared, size_t spared_count,
                     uint64_t deadline_ns)
{
    const struct family family = {ranks, spared, spared_count};
    uint32_t count = 0;
    while (reap(&family, &count) && kill_children(&family)) {
        if (!wait_for_death(deadline_ns))
            break;
    }
    return count;
}
