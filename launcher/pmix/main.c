/* muster-pmix: tells the ranks of Open MPI on one node who the others are. `muster run` starts it,
 * once a node and generation, as it would start the node's first rank, with the descriptors of
 * fds.h. */
#include "muster/core/cli/options.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/version.h"
#include "muster/core/world/state.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/pmi.h"
#include "muster/launcher/pmi_agent.h"
#include "muster/launcher/pmi_nodes.h"
#include "muster/launcher/pmix/asks.h"
#include "muster/launcher/pmix/fds.h"
#include "muster/launcher/pmix/fences.h"
#include "muster/launcher/pmix/folder.h"
#include "muster/launcher/pmix/host.h"
#include "muster/launcher/pmix/layout.h"
#include "muster/launcher/pmix_env.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOSTS_MS 20000
#define BUSY_MS 2 /* for a fence, while ranks wait for one another's words */
#define STOP_S 5  /* libpmix has to clear up behind its ranks */

/* Descriptors that are waited for: the agent's, libpmix's, that of letters, and those of the ranks
 * behind them. */
enum { AGENT, HOST, ASKS, FIRST_RANK };

enum guest_state { OUTSIDE, INSIDE, LEFT };

/* A rank of this node. */
struct guest {
    enum guest_state state;
    bool closed;
};

struct server {
    struct mst_world *world;
    struct pmi_nodes nodes;
    uint32_t first_rank, count;
    struct guest *guests;
    struct pollfd *fds;
    uint16_t *sizes; /* of the nodes, in ranks */
    struct fences fences;
    struct asks asks;
    struct pmi_wait wait; /* for a rank of this node */
    const char *folder_name;
    char folder[FOLDER_BYTES], shared[FOLDER_BYTES];
    struct pmi_failure failure;
};

/* The first error is the failure, and `rank` the one to blame. Returns code. */
static int blame(struct server *server, uint32_t rank, int code, const char *text)
{
    server->failure.rank = rank;
    return mst_err_set(&server->failure.err, code, "%s", text);
}

/* ---- ranks ----------------------------------------------------------------------------------- */

static void note(struct server *server, uint32_t rank, enum guest_state state)
{
    if (rank - server->first_rank < server->count)
        server->guests[rank - server->first_rank].state = state;
    if (state == LEFT)
        asks_left(&server->asks, rank);
}

static bool has_left(const void *arg, uint32_t rank)
{
    const struct server *server = arg;
    uint32_t at = rank - server->first_rank;
    return at >= server->count || server->guests[at].state == LEFT || server->guests[at].closed;
}

/* Who aborts the job is not answered: it goes on when that has ended it. */
static int act_on(struct server *server, struct host_event *event)
{
    int rc = 0;
    struct mst_err *err = &server->failure.err;
    switch (event->kind) {
    case HOST_CONNECTED: note(server, event->rank, INSIDE); break;
    case HOST_FINALIZED: note(server, event->rank, LEFT); break;
    case HOST_FENCED: return fences_begin(&server->fences, event, err);
    case HOST_ASKED: return asks_ask(&server->asks, event, err);
    case HOST_GIVEN: rc = asks_given(&server->asks, event, err); break;
    case HOST_ABORTED:
        server->failure.exit_code = event->status & 255 ? event->status & 255 : EXIT_FAILURE;
        return blame(server, event->rank, -ECANCELED, "it has called MPI_Abort");
    }
    host_answer(event, 0, NULL, 0);
    return rc;
}

static int act_on_all(struct server *server)
{
    struct host_event *event;
    int rc = 0;
    while (rc == 0 && (event = host_take()))
        rc = act_on(server, event);
    return rc;
}

static void close_guest(struct server *server, uint32_t at)
{
    struct pollfd *fd = &server->fds[FIRST_RANK + at];
    if (fd->fd >= 0)
        close(fd->fd);
    fd->fd = -1;
    server->guests[at].closed = true;
    asks_left(&server->asks, server->first_rank + at);
}

/* A rank says nothing here: its end is all that there is to hear. */
static void see_ends(struct server *server)
{
    for (uint32_t i = 0; i < server->count; i++) {
        if (server->fds[FIRST_RANK + i].revents)
            close_guest(server, i);
    }
}

static bool listen_to_agent(struct server *server)
{
    uint32_t at;
    bool is_there = pmi_agent_hear(&at);
    if (is_there && at < server->count)
        close_guest(server, at);
    return is_there;
}

/* The first guest of that state, whose end is closed or not; as many as there are if none is. */
static uint32_t find(const struct server *server, enum guest_state state, bool closed)
{
    uint32_t i = 0;
    while (i < server->count &&
           (server->guests[i].state != state || server->guests[i].closed != closed))
        i++;
    return i;
}

/* Who waits for a rank that will not come waits for ever. */
static int find_lost(struct server *server)
{
    uint32_t inside = find(server, INSIDE, true), outside = find(server, OUTSIDE, true);
    if (inside < server->count)
        return blame(server, server->first_rank + inside, -ECONNRESET, PMI_NO_FINALIZE);
    if (outside < server->count)
        pmi_nodes_tell_left(&server->nodes, server->first_rank + outside);
    if (outside < server->count && find(server, INSIDE, false) < server->count)
        return blame(server, server->first_rank + outside, -ECONNRESET, PMI_NO_INIT);
    return 0;
}

/* Who has not begun yet may never do. */
static void tell_late(struct server *server)
{
    uint32_t late = find(server, OUTSIDE, false);
    bool do_wait = late < server->count && find(server, INSIDE, false) < server->count;
    if (pmi_wait_is_long(&server->wait, do_wait))
        pmi_tell_wait(server->first_rank + late, PMI_LATE_INIT);
}

static int patience_ms(const struct server *server)
{
    int beat_ms = pmi_agent_beat("serves the ranks of this node");
    int left_ms = fences_wait(&server->fences) ? 0 : pmi_wait_left_ms(&server->wait);
    int due_ms = mst_deadline_left_ms(server->asks.due_ns);
    if (left_ms < 0 || (due_ms >= 0 && due_ms < left_ms))
        left_ms = due_ms;
    return left_ms >= 0 && left_ms < beat_ms ? left_ms : beat_ms;
}

/* Who waits at a fence of all may be who others wait for to come there. */
static uint32_t fence_ms(const struct server *server)
{
    bool is_busy = server->asks.ours || server->asks.theirs;
    return is_busy ? BUSY_MS : PMI_NODES_LOOK_MS;
}

/* What a rank has asked before it ended is known when its end is: events are taken behind that. */
static int serve(struct server *server)
{
    int rc = 0;
    struct mst_err *err = &server->failure.err;
    while (rc == 0) {
        if (poll(server->fds, FIRST_RANK + server->count, patience_ms(server)) < 0)
            continue; /* a debugger's */
        see_ends(server);
        if (server->fds[AGENT].revents && !listen_to_agent(server))
            return 0;
        rc = act_on_all(server);
        if (rc == 0)
            rc = find_lost(server);
        if (rc == 0)
            rc = asks_run(&server->asks, has_left, server, err);
        if (rc == 0)
            rc = fences_run(&server->fences, fence_ms(server), err);
        tell_late(server);
    }
    return rc;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

/* Who the nodes are, with at least one rank each. */
static int meet(struct server *server, struct layout_node *layout, struct mst_err *err)
{
    uint32_t count = server->nodes.node_count;
    char *mine = layout[server->nodes.node].name;
    uint16_t *sizes = calloc(count, sizeof *sizes);
    struct mst_kv_gathered gathered = {0};
    server->sizes = sizes;
    int rc = sizes ? 0 : mst_err_set(err, -ENOMEM, "no memory for %u nodes", count);
    if (gethostname(mine, LAYOUT_NAME_BYTES - 1))
        (void)snprintf(mine, LAYOUT_NAME_BYTES, "node");
    if (rc == 0)
        rc = pmi_nodes_meet(&server->nodes, mst_world_size(server->world), sizes, err);
    const struct mst_cspan name = {mine, strlen(mine), MST_MEM_HOST};
    if (rc == 0 && server->nodes.kv) {
        rc = pmi_nodes_gather(&server->nodes, "hosts", name, mst_deadline_ms(HOSTS_MS), &gathered,
                              err);
        if (rc)
            (void)pmi_nodes_refuse(rc, "hosts", name.size_bytes, err);
    }
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        layout[i].size = sizes[i];
    for (uint32_t i = 0; rc == 0 && i < gathered.count; i++)
        (void)snprintf(layout[i].name, LAYOUT_NAME_BYTES, "%.*s", (int)gathered.parts[i].size_bytes,
                       (const char *)gathered.parts[i].data);
    layout_tell_apart(layout, count);
    mst_kv_gathered_free(&gathered);
    return rc;
}

static int start_host(struct server *server, const struct layout_node *layout, struct mst_err *err)
{
    char job[64];
    (void)pmi_agent_beat("starts libpmix");
    uint32_t node_count = server->nodes.node_count;
    char *names = layout_names(layout, node_count), *ranks = layout_ranks(layout, node_count);
    char *peers = layout_peers(server->first_rank, server->count);
    (void)snprintf(job, sizeof job, "muster_%016" PRIx64 "_%" PRIu32, server->world->job_nonce,
                   server->world->generation);
    int rc = names && ranks && peers
                 ? host_start(&(struct host_facts){.job = job,
                                                   .host = layout[server->nodes.node].name,
                                                   .folder = server->folder,
                                                   .shared = server->shared,
                                                   .names = names,
                                                   .ranks = ranks,
                                                   .peers = peers,
                                                   .size = mst_world_size(server->world),
                                                   .node_count = node_count,
                                                   .first_rank = server->first_rank,
                                                   .local_size = server->count},
                              err)
                 : mst_err_set(err, -ENOMEM, "no memory for the names of %u nodes", node_count);
    free(names);
    free(ranks);
    free(peers);
    return rc;
}

/* A rank that has died already hears nothing. */
static int tell_ranks(struct server *server, struct mst_err *err)
{
    char bytes[PMIX_ENV_BYTES];
    for (uint32_t i = 0; i < server->count; i++) {
        long size = host_variables(server->first_rank + i, bytes, sizeof bytes, err);
        if (size < 0)
            return (int)size;
        (void)send(server->fds[FIRST_RANK + i].fd, bytes, (size_t)size, MSG_NOSIGNAL);
    }
    return 0;
}

/* A machine that takes no file takes none when the ranks start again. */
static int make_folders(struct server *server, struct mst_err *err)
{
    (void)pmi_agent_beat("makes a folder for the files of its ranks");
    int rc = folder_make(server->folder_name, server->folder, err);
    if (rc)
        server->failure.exit_code = EXITCODE_CONFIG;
    else
        folder_make_shared(server->folder_name, server->folder, server->shared);
    return rc;
}

static int open_exchanges(struct server *server, struct mst_err *err)
{
    const struct parts_layout layout = {server->sizes, server->nodes.node_count};
    fences_init(&server->fences, &server->nodes, layout);
    return asks_open(&server->asks, &server->nodes, layout, err);
}

static int fd_at(const struct server *server, uint32_t at)
{
    switch (at) {
    case AGENT: return STDIN_FILENO;
    case HOST: return host_fd();
    case ASKS: return asks_fd(&server->asks);
    default: return (int)(PMIX_FIRST_RANK_FD + at - FIRST_RANK);
    }
}

static int set_up(struct server *server, struct mst_err *err)
{
    struct layout_node *layout = calloc(mst_world_node_count(server->world), sizeof *layout);
    server->guests = calloc(server->count, sizeof *server->guests);
    server->fds = calloc(FIRST_RANK + server->count, sizeof *server->fds);
    int rc = layout && server->guests && server->fds
                 ? pmi_nodes_open(&server->nodes, "pmix", server->world, err)
                 : mst_err_set(err, -ENOMEM, "no memory for %u ranks", server->count);
    if (rc == 0)
        rc = meet(server, layout, err);
    if (rc == 0)
        rc = make_folders(server, err);
    if (rc == 0)
        rc = open_exchanges(server, err);
    if (rc == 0)
        rc = start_host(server, layout, err);
    for (uint32_t i = 0; rc == 0 && i < FIRST_RANK + server->count; i++)
        server->fds[i] = (struct pollfd){.fd = fd_at(server, i), .events = POLLIN};
    if (rc == 0)
        rc = tell_ranks(server, err);
    free(layout);
    return rc;
}

/* Whatever libpmix is busy with, this process ends. */
static void clear_up(struct server *server)
{
    sigset_t timer;
    sigemptyset(&timer);
    sigaddset(&timer, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &timer, NULL);
    alarm(STOP_S);
    host_stop();
    folder_remove(server->folder_name);
    (void)!write(PMIX_LIFE_FD, "", 1); /* nobody else has to */
    asks_close(&server->asks);
    fences_fini(&server->fences);
    pmi_nodes_close(&server->nodes);
    free(server->sizes);
    mst_world_destroy(server->world);
    free(server->guests);
    free(server->fds);
}

static const struct options pmix_options = {
    .program = "muster-pmix",
    .synopsis = "VERSION",
    .about =
        "Connects the ranks of Open MPI on one node, by PMIx: muster run --mpi=pmix starts it.",
    .operand = "version of muster, folder",
    .operand_words = options_nothing,
    .operands_least = 2,
    .operands_most = 3,
};

/* 0; -EINVAL, -EPROTO with text: nobody has started this as muster run does. */
static int take_world(const char *version, struct server *server, struct mst_err *err)
{
    if (strcmp(version, mst_version()) != 0)
        return mst_err_set(err, -EPROTO, "muster has version %.40s, and this is %s: install both",
                           version, mst_version());
    int rc = mst_world_from_env(&server->world, err);
    if (rc)
        return rc;
    server->first_rank = mst_world_rank(server->world);
    server->count = mst_world_local_size(server->world);
    server->failure.rank = server->first_rank;
    return mst_world_get_source(server->world) == MST_WORLD_MUSTER
               ? 0
               : mst_err_set(err, -EINVAL, "this is started by muster run --mpi=pmix");
}

int main(int argc, char **argv)
{
    struct server server = {.failure = {.exit_code = EXIT_FAILURE}};
    struct mst_err *err = &server.failure.err;
    struct command_line line = options_or_exit(&pmix_options, argc, argv, NULL);
    server.folder_name = line.operands[1];
    if (line.operand_count == 3) {
        folder_remove(server.folder_name);
        return EXIT_SUCCESS;
    }
    if (take_world(line.operands[0], &server, err)) {
        server.failure.exit_code = EXITCODE_CONFIG;
        pmi_agent_tell(&server.failure); /* if it is one */
        return options_answer(&pmix_options, -EINVAL, err);
    }
    if (set_up(&server, err) == 0) {
        pmi_agent_tell(&(struct pmi_failure){0});
        (void)serve(&server); /* it is in the failure */
    }
    pmi_agent_leave(&server.failure);
    clear_up(&server);
    return EXIT_SUCCESS;
}
