#include "muster/core/kv/resident.h"

#include "muster/core/clock.h"
#include "muster/core/cond.h"
#include "muster/core/err.h"
#include "muster/core/host.h"
#include "muster/core/kv/server.h"
#include "muster/core/kv/sock.h"
#include "muster/core/process.h"
#include "muster/core/thread.h"
#include "muster/core/world/state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ROUND_MS 100   /* the server's own deadlines are looked at */
#define LINGER_MS 5000 /* others may have something to ask when rank 0 has not */

struct kv_resident {
    struct kv_server *server; /* its thread's, from the start on */
    pthread_t thread;
    int leave_fd; /* an eventfd: the last hold is gone */
    char address[sizeof((struct mst_world *)0)->kv_addr];
    uint32_t generation; /* that it serves */
    uint32_t process;    /* that it is in, core/process.h */
    uint32_t holds;
    struct kv_resident *next;
    struct {
        pthread_mutex_t lock;
        struct mst_err last; /* of those who were refused */
        uint32_t count;
    } refused;
};

/* Those that are held: a program may take its world more than once. */
static struct {
    pthread_mutex_t lock;
    struct kv_resident *first;
} held = {PTHREAD_MUTEX_INITIALIZER, NULL};

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

/* A library does not print: it is told once somebody misses whom that was. */
static void note_refused(void *arg, const struct mst_err *why)
{
    struct kv_resident *resident = arg;
    pthread_mutex_lock(&resident->refused.lock);
    resident->refused.last = *why;
    resident->refused.count++;
    pthread_mutex_unlock(&resident->refused.lock);
}

void kv_resident_explain(struct kv_resident *resident, struct mst_err *err)
{
    if (!resident || !err)
        return;
    pthread_mutex_lock(&resident->refused.lock);
    uint32_t count = resident->refused.count;
    struct mst_err last = resident->refused.last;
    pthread_mutex_unlock(&resident->refused.lock);
    if (count > 0)
        (void)mst_err_set(err, err->code, "%s; refused here: %" PRIu32 ", last %s", /* its */
                          err->text, count, last.text);
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
    pthread_mutex_destroy(&resident->refused.lock);
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
    return mst_sock_listen(mst_host_is_local(host) ? host : NULL, port, NULL, err);
}

static int open_server(struct kv_resident *resident, const struct mst_world *world,
                       struct mst_err *err)
{
    int listen_fd = listen_at(world, err);
    if (listen_fd == -EADDRINUSE)
        return mst_err_set(err, -EADDRINUSE,
                           "rank 0 is to serve at %s, which another process has: set another "
                           "MASTER_PORT, from which that port follows, or end that process",
                           world->kv_addr);
    if (listen_fd < 0)
        return listen_fd;
    const struct kv_server_config config = {.listen_fd = listen_fd,
                                            .secret = world->secret,
                                            .secret_bytes = world->secret_bytes,
                                            .job_id = world->job_id,
                                            .job_nonce = world->job_nonce,
                                            .rank_count = world->size,
                                            .events = {.arg = resident,
                                                       .agent_joined = refuse_agent,
                                                       .agent_frame = take_no_frame,
                                                       .agent_lost = lose_nobody,
                                                       .refused = note_refused}};
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
    pthread_mutex_init(&resident->refused.lock, NULL);
    resident->leave_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = resident->leave_fd < 0
                 ? mst_err_set(err, -errno, "eventfd: %s", mst_err_meaning(errno))
                 : open_server(resident, world, err);
    if (rc == 0) {
        kv_server_set_generation(resident->server, world->generation);
        resident->generation = world->generation;
        resident->process = mst_process_mark();
        memcpy(resident->address, world->kv_addr, sizeof resident->address);
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

/* That which serves the world already, or NULL. */
static struct kv_resident *find_locked(const struct mst_world *world)
{
    struct kv_resident *resident = held.first;
    assert(mst_lock_is_held(&held.lock));
    while (resident &&
           (!mst_process_owns(resident->process) || resident->generation != world->generation ||
            strcmp(resident->address, world->kv_addr) != 0))
        resident = resident->next;
    return resident;
}

static void release(void *object)
{
    kv_resident_release(object);
}

int kv_resident_join(const struct mst_world *world, struct kv_resident **ret_resident,
                     struct mst_err *err)
{
    struct mst_world_tail *tail = world->tail;
    assert(world->is_resident && world->rank == 0 && tail);
    pthread_mutex_lock(&held.lock);
    struct kv_resident *resident = find_locked(world);
    int rc = resident ? 0 : start(world, &resident, err);
    if (rc == 0 && resident->holds == 0) {
        resident->next = held.first;
        held.first = resident;
    }
    if (rc == 0 && !tail->object) {
        *tail = (struct mst_world_tail){.object = resident, .release = release};
        resident->holds++;
    }
    if (rc == 0) {
        resident->holds++;
        *ret_resident = resident;
    }
    pthread_mutex_unlock(&held.lock);
    return rc;
}

struct kv_resident *kv_resident_hold(struct kv_resident *resident)
{
    pthread_mutex_lock(&held.lock);
    if (resident)
        resident->holds++;
    pthread_mutex_unlock(&held.lock);
    return resident;
}

/* Whether that was the last one. */
static bool let_go(struct kv_resident *resident)
{
    struct kv_resident **at = &held.first;
    pthread_mutex_lock(&held.lock);
    bool is_last = --resident->holds == 0;
    while (*at != resident)
        at = &(*at)->next;
    if (is_last)
        *at = resident->next;
    pthread_mutex_unlock(&held.lock);
    return is_last;
}

void kv_resident_release(struct kv_resident *resident)
{
    if (!resident || !let_go(resident))
        return;
    (void)eventfd_write(resident->leave_fd, 1); /* it has room for more than one */
    (void)pthread_join(resident->thread, NULL); /* it is joined once, by the last */
    dispose(resident);
}
