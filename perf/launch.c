/* Starts this program again, as the ranks of a `muster run` whose output it passes on. */
#include "muster/perf/launch.h"

#include "muster/core/err.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_NO_PROGRAM 127
#define EXIT_BY_SIGNAL 128

uint32_t launch_default_nproc(void)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0 && CPU_COUNT(&allowed) == 1)
        return 1;
    return 2;
}

/* The muster beside this program, so that a build tree uses its own; else the one in PATH. */
static int find_programs(char self[PATH_MAX], char muster[PATH_MAX + 8])
{
    ssize_t length = readlink("/proc/self/exe", self, PATH_MAX - 1);
    if (length < 0)
        return -errno;
    self[length] = '\0';
    int folder = (int)(strrchr(self, '/') - self);
    (void)snprintf(muster, PATH_MAX + 8, "%.*s/muster", folder, self);
    if (access(muster, X_OK) != 0)
        (void)snprintf(muster, PATH_MAX + 8, "muster");
    return 0;
}

/* The child: it goes down with this process, which is all that reads its output. */
static _Noreturn void exec_muster(char *const *args, int out_fd, pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* cannot fail for a valid signal */
    if (getppid() != parent || dup2(out_fd, STDOUT_FILENO) < 0)
        _exit(EXIT_NO_PROGRAM);
    execvp(args[0], args);
    fprintf(stderr, "muster-bench: %s: %s; put it beside this program or in PATH\n", args[0],
            mst_err_meaning(errno));
    _exit(EXIT_NO_PROGRAM);
}

/* Takes over `fd`. */
static int copy_lines(int fd)
{
    FILE *in = fdopen(fd, "r");
    if (!in) {
        (void)close(fd); /* only read */
        return -ENOMEM;
    }
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, in) >= 0) {
        fputs(line, stdout);
        (void)fflush(stdout); /* a full disk shows in ferror at the end */
    }
    free(line);
    (void)fclose(in); /* only read */
    return ferror(stdout) ? -EIO : 0;
}

static int wait_exit_status(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_BY_SIGNAL + WTERMSIG(status);
}

static int run_program(char *const *args, struct mst_err *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return mst_err_set(err, -errno, "pipe: %s", mst_err_meaning(errno));
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        exec_muster(args, fds[1], parent);
    (void)close(fds[1]); /* a pipe: nothing to lose */
    if (pid < 0) {
        (void)close(fds[0]);
        return mst_err_set(err, -errno, "fork: %s", mst_err_meaning(errno));
    }
    int rc = copy_lines(fds[0]);
    int status = wait_exit_status(pid);
    return rc < 0 ? mst_err_set(err, rc, "standard output: %s", mst_err_meaning(rc)) : status;
}

int launch_ranks(uint32_t nproc, int argc, char *const *argv, struct mst_err *err)
{
    char self[PATH_MAX], muster[PATH_MAX + 8];
    int rc = find_programs(self, muster);
    if (rc < 0)
        return mst_err_set(err, rc, "/proc/self/exe: %s", mst_err_meaning(rc));
    char count[16];
    (void)snprintf(count, sizeof(count), "%" PRIu32, nproc);
    char *prefix[] = {muster, "run", "--raw", "--nproc", count, "--max-restarts", "0", "--", self};
    size_t prefix_count = sizeof(prefix) / sizeof(prefix[0]);
    char **args = calloc(prefix_count + (size_t)argc, sizeof(*args));
    if (!args)
        return mst_err_set(err, -ENOMEM, "no memory for the arguments of %s", muster);
    memcpy(args, prefix, sizeof(prefix));
    memcpy(args + prefix_count, argv + 1, ((size_t)argc - 1) * sizeof(*args));
    rc = run_program(args, err);
    free(args);
    return rc;
}
