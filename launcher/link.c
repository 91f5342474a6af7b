#include "muster/launcher/link.h"

#include "muster/core/clock.h"
#include "muster/core/least.h"
#include "muster/launcher/log.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/redial.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- beginning and end ----------------------------------------------------------------------- */

static int watch(struct link *link, int op, int fd)
{
    struct epoll_event event = {.events = link->writes && fd == link->stream.fd ? EPOLLIN | EPOLLOUT
                                                                                : EPOLLIN};
    return epoll_ctl(link->epoll_fd, op, fd, &event) ? -errno : 0;
}

int link_init(struct link *link, int fd, struct mst_err *err)
{
    *link = (struct link){.epoll_fd = -1, .dial_fd = -1};
    mst_stream_init(&link->stream, fd);
    outbox_init(&link->outbox);
    pulse_init(&link->pulse, mst_now_ns());
    link->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (link->epoll_fd < 0 || watch(link, EPOLL_CTL_ADD, fd)) {
        int rc = mst_err_set(err, -errno, "watch over the link: %s", mst_err_meaning(errno));
        link_fini(link);
        return rc;
    }
    return 0;
}

/* Closing would not do where a dialing process has a copy. */
static void forget_stream(struct link *link)
{
    if (link->stream.fd >= 0) /* (void): it is in it, or was taken off before */
        (void)epoll_ctl(link->epoll_fd, EPOLL_CTL_DEL, link->stream.fd, NULL);
}

static void close_stream(struct link *link)
{
    if (link->stream.fd < 0)
        return;
    forget_stream(link);
    close(link->stream.fd);
    mst_stream_fini(&link->stream);
    link->writes = false;
}

static void end_redial(struct link *link)
{
    if (link->dial_fd < 0)
        return;
    close(link->dial_fd); /* by which it ends, too */
    link->dial_fd = -1;
    link->dial_pid = 0;
}

void link_fini(struct link *link)
{
    end_redial(link);
    close_stream(link);
    outbox_fini(&link->outbox);
    if (link->epoll_fd >= 0)
        close(link->epoll_fd);
    link->epoll_fd = -1;
}

void link_break(struct link *link, const char *why)
{
    link->broken = true;
    (void)mst_err_set(&link->why, -ECONNRESET, "%s", why); /* it returns what broken says */
    end_redial(link);
    forget_stream(link); /* what comes is read no more, and would wake the owner for ever */
}

/* ---- dialing --------------------------------------------------------------------------------- */

/* Drawn for each connection but those that are dialled again: by it node 0 knows this agent. Never
 * 0, which is node 0's own. */
static uint32_t draw_tag(void)
{
    uint32_t tag = 0;
    if (getrandom(&tag, sizeof tag, 0) != sizeof tag || tag == 0)
        tag = (uint32_t)getpid();
    return tag;
}

/* The connection; errors of link_dial. */
static int await_dial(int dial_fd, int stop_fd, uint64_t deadline_ns, struct mst_err *err)
{
    struct pollfd ready[] = {{.fd = dial_fd, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};
    int fd;
    while ((fd = redial_take(dial_fd, err)) == -EAGAIN) {
        if (mst_deadline_passed(deadline_ns))
            return mst_err_set(err, -ETIMEDOUT, "no answer by the deadline");
        if (poll(ready, 2, mst_deadline_left_ms(deadline_ns)) > 0 && !ready[0].revents)
            return mst_err_set(err, -EINTR, "told to stop");
    }
    if (fd == -ECHILD)
        return mst_err_set(err, -EAGAIN, "the process that dialled it was killed");
    return fd >= 0 || fd == -EACCES || fd == -EPROTO ? fd : -EAGAIN;
}

/* A node that restarts, or whose predecessor is not yet missed, gets another chance. */
static int dial(const struct redial_request *request, int stop_fd, uint64_t deadline_ns,
                struct mst_err *err)
{
    int dial_fd;
    pid_t pid;
    if (redial_start(request, &dial_fd, &pid, err))
        return -EAGAIN;
    int fd = await_dial(dial_fd, stop_fd, deadline_ns, err);
    close(dial_fd);
    (void)kill(pid, SIGKILL); /* it is ours until it is waited for */
    (void)waitpid(pid, NULL, 0);
    return fd;
}

int link_dial(struct link *link, const struct opts *opts, uint16_t port, int stop_fd,
              uint64_t deadline_ns, struct mst_err *err)
{
    char address[OPTS_HOST_BYTES + 16];
    (void)mst_sock_join(opts->rdzv_host, port, address, sizeof address); /* it fits */
    struct mst_auth_hello hello = {
        .role = MST_ROLE_AGENT, .rank = opts->node_rank, .tag = draw_tag()};
    memcpy(hello.job_id, opts->meeting, sizeof hello.job_id);
    const struct redial_request request = {.address = address,
                                           .once = true,
                                           .hello = &hello,
                                           .secret = opts->secret,
                                           .secret_bytes = opts->secret_bytes};
    int fd = dial(&request, stop_fd, deadline_ns, err);
    if (fd < 0)
        return fd;
    if (link_init(link, fd, err))
        return -EAGAIN;
    link->opts = opts;
    link->hello = hello;
    link->hello.again = true;
    mst_sock_peer_name(fd, link->address);
    return 0;
}

void link_know_nonce(struct link *link, uint64_t job_nonce)
{
    link->hello.job_nonce = job_nonce;
}

static void start_redial(struct link *link)
{
    const struct redial_request request = {.address = link->address,
                                           .hello = &link->hello,
                                           .secret = link->opts->secret,
                                           .secret_bytes = link->opts->secret_bytes};
    struct mst_err err = {0};
    if (link->dial_fd >= 0)
        return;
    int rc = redial_start(&request, &link->dial_fd, &link->dial_pid, &err);
    if (rc == 0)
        rc = watch(link, EPOLL_CTL_ADD, link->dial_fd);
    if (rc) /* the next tick tries again */
        log_line(LOG_WARN, "cannot dial node 0 again yet", " because=%s", log_quote(err.text).text);
}

/* Polls for room while bytes wait for it. */
static void follow_queue(struct link *link)
{
    bool writes = mst_stream_pending(&link->stream) > 0;
    if (writes == link->writes)
        return;
    link->writes = writes;
    (void)watch(link, EPOLL_CTL_MOD, link->stream.fd); /* it is in it: nothing can fail */
}

static void queue(struct link *link, const struct outbox_item *item)
{
    /* (void): a connection that breaks here is seen to when it is read */
    (void)mst_stream_put(&link->stream, item->type, item->payload, item->size_bytes);
    follow_queue(link);
}

static void adopt(struct link *link, int fd)
{
    close_stream(link);
    mst_stream_init(&link->stream, fd);
    if (watch(link, EPOLL_CTL_ADD, fd)) {
        link_break(link, "no memory to watch over the connection");
        return;
    }
    pulse_init(&link->pulse, mst_now_ns());
    log_line(LOG_INFO, "node 0 is reached again", NULL);
    for (const struct outbox_item *item = link->outbox.first; item; item = item->next)
        queue(link, item);
}

static void take_redial(struct link *link)
{
    struct mst_err err = {0};
    int fd = redial_take(link->dial_fd, &err);
    if (fd == -EAGAIN)
        return;
    end_redial(link);
    if (fd >= 0)
        adopt(link, fd);
    else if (fd != -ECHILD) /* else the next tick starts another */
        link_break(link, err.text);
}

/* ---- the connection -------------------------------------------------------------------------- */

/* What ends in good order was closed by the end of a process; the rest may be the network. */
static bool has_ended(const struct link *link)
{
    uint8_t byte;
    return recv(link->stream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void lose_connection(struct link *link, bool ended)
{
    bool redialing = link->dial_fd >= 0;
    close_stream(link);
    if (redialing) /* node 0 may have closed it for the new one */
        return;
    if (ended || !link->opts) {
        link_break(link, "its agent has ended");
        return;
    }
    log_line(LOG_WARN, "connection to node 0 lost: dialing it again", NULL);
    pulse_cut(&link->pulse, mst_now_ns());
    start_redial(link);
}

static void move_bytes(struct link *link)
{
    if (link->stream.fd < 0)
        return;
    bool ended = has_ended(link);
    if (mst_stream_read(&link->stream) < 0 || mst_stream_write(&link->stream)) {
        lose_connection(link, ended);
        return;
    }
    follow_queue(link);
}

void link_send(struct link *link, const struct msg *msg)
{
    const struct outbox_item *item;
    if (link->broken)
        return;
    if (outbox_put(&link->outbox, msg, &item)) {
        link_break(link, "no memory for a message to it");
        return;
    }
    if (link->stream.fd >= 0)
        queue(link, item);
}

int link_fd(const struct link *link)
{
    return link->epoll_fd;
}

void link_run(struct link *link)
{
    if (!link->broken)
        move_bytes(link);
    if (!link->broken && link->dial_fd >= 0)
        take_redial(link);
}

static void beat(struct link *link)
{
    uint8_t payload[64];
    size_t size = outbox_beat(&link->outbox, payload, sizeof payload);
    if (link->stream.fd < 0)
        return;
    (void)mst_stream_put(&link->stream, MSG_BEAT, payload, size); /* as in queue */
    follow_queue(link);
}

int link_next(struct link *link, struct msg *ret_msg)
{
    uint8_t type;
    const uint8_t *payload;
    size_t size_bytes;
    while (!link->broken && link->stream.fd >= 0) {
        int rc = mst_stream_next(&link->stream, &type, &payload, &size_bytes);
        if (rc == 0)
            return 0;
        if (rc > 0)
            rc = msg_decode(type, payload, size_bytes, ret_msg) ? -EBADMSG : 0;
        if (rc == 0) {
            (void)pulse_heard(&link->pulse, mst_now_ns()); /* it is reached again by being read */
            rc = outbox_take(&link->outbox, ret_msg);
        }
        if (rc > 0 && (ret_msg->type == MSG_END || ret_msg->type == MSG_REFUSED))
            beat(link); /* node 0 waits until its last word has come */
        if (rc > 0)
            return 1;
        if (rc < 0)
            link_break(link, "it says what no node 0 says");
    }
    return 0;
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t limit_ns(const struct link *link)
{
    return mst_least(link->opts->peer_timeout_ms, link->opts->rdzv_timeout_ms) * MST_NS_PER_MS;
}

void link_tick(struct link *link, uint64_t now_ns)
{
    if (!link->broken && pulse_beats(&link->pulse, now_ns))
        beat(link);
    if (link->broken || !link->opts)
        return;
    switch (pulse_look(&link->pulse, limit_ns(link), now_ns)) {
    case PULSE_FINE: return;
    case PULSE_SILENT:
        log_line(LOG_WARN, "node 0 is silent: dialing it again", " for_s=%u gives_up_in_s=%u",
                 (unsigned)(PULSE_SILENT_NS / MST_NS_PER_S),
                 (unsigned)(limit_ns(link) / MST_NS_PER_S));
        start_redial(link);
        return;
    case PULSE_AWAY: start_redial(link); return;
    default: link_break(link, "it is silent, and cannot be reached"); return;
    }
}

uint64_t link_wake_ns(const struct link *link)
{
    return link->broken || !link->opts ? MST_NEVER : link->pulse.beat_ns;
}
