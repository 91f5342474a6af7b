#include "muster/launcher/strays.h"

#include "muster/core/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void kill_children(pid_t spared)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "re");
    if (!file)
        return; /* a kernel without the list: PID 1's death or the pod's end takes them */
    int pid;
    while (fscanf(file, "%d", &pid) == 1) { /* NOLINT(cert-err34-c): the kernel wrote it */
        if (pid != spared)
            (void)kill(pid, SIGKILL); /* it may be dead already */
    }
    fclose(file);
}

/* Reaps what is dead. False once no child is left. */
static bool reap(uint32_t *count)
{
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        ++*count;
    return pid == 0;
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

uint32_t strays_kill(pid_t spared, uint64_t deadline_ns)
{
    uint32_t count = 0;
    while (reap(&count)) {
        kill_children(spared);
        if (!wait_for_death(deadline_ns))
            break;
    }
    return count;
}
