#include "muster/core/kv/resident.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/server.h"
#include "muster/core/kv/sock.h"
#include "muster/core/least.h"
#include "muster/core/thread.h"
#include "muster/core/world/state.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ROUND_MS 100   /* the server's own deadlines are looked at */
#define LINGER_MS 5000 /* others may have something to ask when rank 0 has not */

struct kv_resident {
    struct kv_server *server; /* its thread's, from the start on */
    pthread_t thread;
    int leave_fd; /* an eventfd: the last hold is gone */
    atomic_uint holds;
};

/* ---- events of a server without agents ------------------------------------------------------- */

static int refuse_agent(void *arg, uint64_t peer, const struct mst_auth_hello *hello,
                        struct mst_err *err)
{
    (void)arg, (void)peer, (void)hello; /* there is none to be told of */
    return mst_err_set(err, -EPROTO, "rank 0 serves here, and no agent: its launcher is another");
}

static void take_no_frame(void *arg, const struct kv_agent *from, uint8_t type,
                          const uint8_t *payload, size_t size_bytes)
{
    (void)arg, (void)from, (void)type, (void)payload, (void)size_bytes; /* no agent was let in */
}

static void lose_nobody(void *arg, const struct kv_agent *who, bool hung_up)
{
    (void)arg, (void)who, (void)hung_up; /* no agent was let in */
}

/* Who was refused is told why by the handshake, and a library does not print. */
static void tell_nobody(void *arg, const struct mst_err *why)
{
    (void)arg, (void)why;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void *serve(void *arg)
{
    struct kv_resident *resident = arg;
    struct pollfd fds[] = {{.fd = kv_server_fd(resident->server), .events = POLLIN},
                           {.fd = resident->leave_fd, .events = POLLIN}};
    uint64_t end_ns = MST_NEVER;
    while (!mst_deadline_passed(end_ns) &&
           (end_ns == MST_NEVER || kv_server_has_ranks(resident->server))) {
        (void)poll(fds, 2, ROUND_MS); /* whatever woke it, it looks */
        if (fds[1].revents) {
            end_ns = mst_deadline_ms(LINGER_MS);
            fds[1].fd = -1;
        }
        kv_server_run(resident->server);
    }
    return NULL;
}

static void dispose(struct kv_resident *resident)
{
    kv_server_destroy(resident->server);
    if (resident->leave_fd >= 0)
        (void)close(resident->leave_fd); /* nothing is written to it */
    free(resident);
}

/* ---- holds ----------------------------------------------------------------------------------- */

static int listen_at(const struct mst_world *world, struct mst_err *err)
{
    char host[sizeof world->kv_addr];
    uint16_t port;
    int rc = mst_sock_split(world->kv_addr, host, sizeof host, &port);
    assert(rc == 0);
    (void)rc; /* core/world joined it */
    return mst_sock_listen(world->node_count == 1 ? host : NULL, port, NULL, err);
}

static int open_server(struct kv_resident *resident, const struct mst_world *world,
                       struct mst_err *err)
{
    int listen_fd = listen_at(world, err);
    if (listen_fd == -EADDRINUSE)
        return mst_err_set(err, -EADDRINUSE,
                           "rank 0 serves the keys of its job at %s, and another process listens "
                           "there: set another MASTER_PORT for this job, from which that port "
                           "follows, or end that process",
                           world->kv_addr);
    if (listen_fd < 0)
        return listen_fd;
    const struct kv_server_config config = {.listen_fd = listen_fd,
                                            .secret = world->secret,
                                            .secret_bytes = world->secret_bytes,
                                            .job_id = world->job_id,
                                            .job_nonce = world->job_nonce,
                                            .events = {.agent_joined = refuse_agent,
                                                       .agent_frame = take_no_frame,
                                                       .agent_lost = lose_nobody,
                                                       .refused = tell_nobody}};
    int rc = kv_server_create(&config, &resident->server, err);
    if (rc)
        (void)close(listen_fd); /* nobody has been let in */
    return rc;
}

static int start(const struct mst_world *world, struct kv_resident **ret_resident,
                 struct mst_err *err)
{
    struct kv_resident *resident = calloc(1, sizeof *resident);
    if (!resident)
        return mst_err_set(err, -ENOMEM, "no memory for the job's key-value server");
    resident->leave_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = resident->leave_fd < 0
                 ? mst_err_set(err, -errno, "eventfd: %s", mst_err_meaning(errno))
                 : open_server(resident, world, err);
    if (rc == 0) {
        kv_server_set_generation(resident->server, world->generation);
        atomic_init(&resident->holds, 1); /* the world's */
        rc = mst_thread_start(&resident->thread, "muster-kv", serve, resident);
        if (rc)
            (void)mst_err_set(err, rc,
                              "no thread for the job's key-value server: %s", /* it is rc */
                              mst_err_meaning(rc));
    }
    if (rc)
        dispose(resident);
    else
        *ret_resident = resident;
    return rc;
}

static void release(void *object)
{
    kv_resident_release(object);
}

int kv_resident_join(const struct mst_world *world, struct kv_resident **ret_resident,
                     struct mst_err *err)
{
    struct mst_world_tail *tail = world->tail;
    struct kv_resident *resident = NULL;
    assert(world->is_resident && world->rank == 0 && tail);
    pthread_mutex_lock(&tail->lock);
    int rc = tail->object ? 0 : start(world, &resident, err);
    if (resident) {
        tail->object = resident;
        tail->release = release;
    }
    if (rc == 0)
        *ret_resident = kv_resident_hold(tail->object);
    pthread_mutex_unlock(&tail->lock);
    return rc;
}

struct kv_resident *kv_resident_hold(struct kv_resident *resident)
{
    if (resident)
        atomic_fetch_add(&resident->holds, 1);
    return resident;
}

void kv_resident_release(struct kv_resident *resident)
{
    if (!resident || atomic_fetch_sub(&resident->holds, 1) > 1)
        return;
    (void)eventfd_write(resident->leave_fd, 1); /* it has room for more than one */
    (void)pthread_join(resident->thread, NULL); /* it is joined once, by the last */
    dispose(resident);
}
