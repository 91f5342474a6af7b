#include "muster/launcher/redial.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/auth.h"
#include "muster/core/kv/sock.h"
#include "muster/launcher/helper.h"
#include "muster/launcher/pass.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TRY_MS 2000
#define PAUSE_MS 200

/* ---- in the process -------------------------------------------------------------------------- */

static int try_once(const struct redial_request *request, struct mst_err *err)
{
    int fd = mst_sock_try(request->address, mst_deadline_ms(TRY_MS), err);
    if (fd < 0)
        return fd;
    int rc = mst_auth_dial(fd, request->hello, request->secret, request->secret_bytes,
                           mst_deadline_ms(MST_HANDSHAKE_MS), err);
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

static bool is_final(int rc)
{
    return rc == -ECONNREFUSED || rc == -EACCES || rc == -EPROTO || rc == -ESTALE;
}

static void run_child(const struct redial_request *request, pid_t agent, int agent_fd)
{
    const int to_fd = STDIN_FILENO;
    struct mst_err result = {0};
    helper_begin("muster-redial", &agent_fd, 1);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* cannot fail for a valid signal */
    while (getppid() == agent) {
        int rc = try_once(request, &result);
        if (rc >= 0 || is_final(rc) || request->once) {
            result.code = rc < 0 ? rc : 0;
            /* (void): an agent that has gone needs none */
            (void)pass_send(to_fd, &result, sizeof result, rc);
            break;
        }
        struct pollfd agent_end = {.fd = to_fd};
        if (poll(&agent_end, 1, PAUSE_MS) != 0) /* it is closed */
            break;
    }
    _exit(0);
}

/* ---- in the agent ---------------------------------------------------------------------------- */

int redial_start(const struct redial_request *request, int *ret_fd, pid_t *ret_pid,
                 struct mst_err *err)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
        return mst_err_set(err, -errno, "socketpair: %s", mst_err_meaning(errno));
    pid_t agent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        run_child(request, agent, fds[1]);
    int rc = pid < 0 ? mst_err_set(err, -errno, "fork: %s", mst_err_meaning(errno)) : 0;
    close(fds[1]);
    if (rc) {
        close(fds[0]);
        return rc;
    }
    *ret_fd = fds[0];
    *ret_pid = pid;
    return 0;
}

int redial_take(int fd, struct mst_err *err)
{
    int connection;
    struct mst_err result;
    ssize_t size = pass_receive(fd, &result, sizeof result, &connection);
    if (size < 0 && errno == EAGAIN)
        return -EAGAIN;
    if (size != sizeof result)
        return -ECHILD;
    if (result.code)
        return mst_err_set(err, result.code, "%s", result.text);
    return connection >= 0 ? connection : -ECHILD;
}
