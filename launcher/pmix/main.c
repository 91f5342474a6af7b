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
#include "muster/launcher/pmix/fds.h"
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
#define STOP_S 5 /* libpmix has to clear up behind its ranks */

/* Descriptors that are waited for: behind the agent's and libpmix's those of the ranks. */
enum { AGENT, HOST, FIRST_RANK };

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
    struct host_event *fence; /* that waits for other nodes; NULL: none does */
    char fence_key[32];
    uint32_t fences;
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

/* ---- fences ---------------------------------------------------------------------------------- */

/* Whether those of others come is seen later. Of a set that has ranks of some nodes nobody here
 * knows which those are. */
static int begin_fence(struct server *server, struct host_event *event)
{
    if (!server->nodes.kv) { /* all is given */
        char *data = event->data;
        event->data = NULL;
        host_answer(event, 0, data, event->size_bytes);
        return 0;
    }
    if (!event->is_of_all || server->fence) {
        host_answer(event, -ENOTSUP, NULL, 0);
        return 0;
    }
    const struct mst_cspan mine = {event->data, event->size_bytes, MST_MEM_HOST};
    server->fence = event;
    (void)snprintf(server->fence_key, sizeof server->fence_key, "fence/%" PRIu32, server->fences++);
    int rc = pmi_nodes_put(&server->nodes, server->fence_key, mine);
    return rc ? pmi_nodes_refuse(rc, server->fence_key, mine.size_bytes, &server->failure.err) : 0;
}

/* What all nodes have given, one behind the other. NULL: there is no memory. */
static char *join(const struct mst_kv_gathered *gathered, size_t *ret_size)
{
    size_t size = 0, used = 0;
    for (uint32_t i = 0; i < gathered->count; i++)
        size += gathered->parts[i].size_bytes;
    char *data = malloc(size + 1); /* even if all have given nothing */
    for (uint32_t i = 0; data && i < gathered->count; i++) {
        const struct mst_cspan *part = &gathered->parts[i];
        if (part->size_bytes > 0)
            memcpy(data + used, part->data, part->size_bytes);
        used += part->size_bytes;
    }
    *ret_size = size;
    return data;
}

/* Waits for other nodes a moment, if there is a fence. */
static int end_fence(struct server *server)
{
    struct mst_kv_gathered gathered = {0};
    char *data = NULL;
    size_t size = 0;
    if (!server->fence)
        return 0;
    struct mst_err *err = &server->failure.err;
    int rc = pmi_nodes_wait(&server->nodes, server->fence_key, &gathered, err);
    if (rc == -EAGAIN)
        return 0;
    if (rc == 0) {
        data = join(&gathered, &size);
        rc = data ? 0 : -ENOMEM;
    }
    mst_kv_gathered_free(&gathered);
    if (rc)
        return err->code ? rc
                         : pmi_nodes_refuse(rc, server->fence_key, server->fence->size_bytes, err);
    host_answer(server->fence, 0, data, size);
    server->fence = NULL;
    return 0;
}

/* ---- ranks ----------------------------------------------------------------------------------- */

static void note(struct server *server, uint32_t rank, enum guest_state state)
{
    if (rank - server->first_rank < server->count)
        server->guests[rank - server->first_rank].state = state;
}

/* Who aborts the job is not answered: it goes on when that has ended it. */
static int act_on(struct server *server, struct host_event *event)
{
    switch (event->kind) {
    case HOST_CONNECTED: note(server, event->rank, INSIDE); break;
    case HOST_FINALIZED: note(server, event->rank, LEFT); break;
    case HOST_FENCED: return begin_fence(server, event);
    case HOST_ABORTED:
        server->failure.exit_code = event->status & 255 ? event->status & 255 : EXIT_FAILURE;
        return blame(server, event->rank, -ECANCELED, "it has called MPI_Abort");
    }
    host_answer(event, 0, NULL, 0);
    return 0;
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
    int left_ms = server->fence ? 0 : pmi_wait_left_ms(&server->wait);
    return left_ms >= 0 && left_ms < beat_ms ? left_ms : beat_ms;
}

/* What a rank has asked before it ended is known when its end is: events are taken behind that. */
static int serve(struct server *server)
{
    int rc = 0;
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
            rc = end_fence(server);
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
    free(sizes);
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
        rc = start_host(server, layout, err);
    for (uint32_t i = 0; rc == 0 && i < FIRST_RANK + server->count; i++)
        server->fds[i] = (struct pollfd){.fd = i == AGENT ? STDIN_FILENO
                                               : i == HOST
                                                   ? host_fd()
                                                   : (int)(PMIX_FIRST_RANK_FD + i - FIRST_RANK),
                                         .events = POLLIN};
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
    pmi_nodes_close(&server->nodes);
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
