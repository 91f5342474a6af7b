#include "muster/launcher/pmi.h"

#include "muster/core/bytes.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/gather.h"
#include "muster/core/kv/kv.h"
#include "muster/core/world/state.h"
#include "muster/launcher/helper.h"
#include "muster/launcher/pmi1.h"
#include "muster/launcher/rankenv.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define KV_MS 20000
#define LOOK_MS 200   /* at the agent, while other nodes are waited for */
#define DEATH_MS 1000 /* the agent has to act on the death of a rank by itself */

/* ---- in the process -------------------------------------------------------------------------- */

/* A rank, as far as it has spoken. */
struct guest {
    struct pmi1_rank rank;
    bool ended; /* as the agent says */
    bool closed;
    size_t have;
    char line[PMI1_LINE_BYTES];
};

struct server {
    struct rankenv_facts facts;
    struct mst_world world; /* as that of this node's first rank */
    struct mst_kv *kv;      /* NULL: there is no other node */
    struct pmi1_board board;
    struct guest *guests;
    struct pollfd *fds; /* of the guests, and the agent's behind them */
    uint32_t fence;
    bool told_left; /* the other nodes know of a rank that never called MPI_Init */
    struct pmi_failure failure;
};

/* The first error is the failure, and `guest` the one to blame. */
__attribute__((format(printf, 4, 5))) static int blame(struct server *server, uint32_t guest,
                                                       int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    server->failure.rank = server->facts.rank + guest;
    server->failure.err.code = code;
    (void)vsnprintf(server->failure.err.text, sizeof server->failure.err.text, format, args);
    va_end(args);
    return code;
}

static bool is_agent_gone(void)
{
    uint32_t at; /* what it has told is read later */
    return recv(STDIN_FILENO, &at, sizeof at, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* The number of a rank that has ended without MPI_Init, whoever waits for it: of any node. */
static const char left_key[] = "pmi/left";

static void tell_left(struct server *server, uint32_t rank)
{
    uint8_t bytes[4];
    mst_put_le32(bytes, rank);
    if (!server->told_left) /* (void): who cannot be told hears of the agent's end */
        (void)mst_kv_set(server->kv, left_key, bytes, sizeof bytes, mst_deadline_ms(KV_MS));
    server->told_left = true;
}

/* Whether one of another node will never come to the fence at which all of this one are. */
static int find_left(struct server *server)
{
    uint8_t bytes[4];
    size_t size = 0;
    int rc = mst_kv_get(server->kv, left_key, bytes, sizeof bytes, &size, mst_deadline_ms(KV_MS));
    if (rc || size != sizeof bytes)
        return 0;
    return blame(server, 0, -ECONNRESET, "it waits for rank %u, which has ended without MPI_Init",
                 mst_get_le32(bytes));
}

/* This node's part of what `key` names goes out, and those of all nodes come in. */
static int gather(struct server *server, const char *key, struct mst_cspan mine,
                  uint64_t deadline_ns, struct mst_kv_gathered *ret_gathered)
{
    const struct mst_kv_part part = {.index = server->facts.node,
                                     .count = server->facts.node_count,
                                     .value = mine.data,
                                     .size_bytes = mine.size_bytes};
    int rc = mst_kv_gather_put(server->kv, key, &part, mst_deadline_ms(KV_MS)), left = 0;
    if (rc == 0)
        do
            rc = mst_kv_gather_wait(server->kv, key, part.count, ret_gathered,
                                    mst_deadline_ms(LOOK_MS));
        while (rc == -ETIMEDOUT && !is_agent_gone() && !mst_deadline_passed(deadline_ns) &&
               (left = find_left(server)) == 0);
    return left ? left : rc;
}

/* What ranks have put since the last fence. */
static int exchange(struct server *server)
{
    char key[32];
    struct mst_kv_gathered gathered = {0};
    (void)snprintf(key, sizeof key, "pmi/fence/%" PRIu32, server->fence);
    const struct mst_cspan fresh = {server->board.fresh, server->board.fresh_bytes, MST_MEM_HOST};
    int rc = gather(server, key, fresh, MST_NEVER, &gathered);
    if (rc && !server->failure.err.code)
        (void)mst_err_set(&server->failure.err, rc,
                          "fence %" PRIu32 " of all nodes, with %zu bytes of this one's (all may "
                          "have %u): %s",
                          server->fence, fresh.size_bytes, MST_KV_VALUE_MAX, mst_err_meaning(rc));
    for (uint32_t i = 0; rc == 0 && i < gathered.count; i++) {
        if (i != server->facts.node)
            rc = pmi1_board_learn(&server->board, gathered.parts[i].data,
                                  gathered.parts[i].size_bytes, &server->failure.err);
    }
    mst_kv_gathered_free(&gathered);
    return rc;
}

static int say(struct server *server, uint32_t guest, const char *text)
{
    size_t size = strlen(text);
    ssize_t sent = send(server->fds[guest].fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent == (ssize_t)size || (sent < 0 && errno == EPIPE))
        return 0;
    return blame(server, guest, -EPROTO, "it does not read what it has asked for");
}

/* The first guest of that state, whose end is closed or not; as many as there are if none is. */
static uint32_t find(const struct server *server, enum pmi1_state state, bool closed)
{
    uint32_t i = 0;
    while (i < server->facts.local_size &&
           (server->guests[i].rank.state != state || server->guests[i].closed != closed))
        i++;
    return i;
}

/* Who waits for a rank that will not come waits for ever. */
static int find_lost(struct server *server)
{
    uint32_t count = server->facts.local_size;
    uint32_t inside = find(server, PMI1_INSIDE, true), outside = find(server, PMI1_OUTSIDE, true);
    bool is_mpi = find(server, PMI1_INSIDE, false) < count ||
                  find(server, PMI1_FENCED, false) < count;
    if (inside < count)
        return blame(server, inside, -ECONNRESET, "it has ended without MPI_Finalize");
    if (outside < count && server->kv)
        tell_left(server, server->facts.rank + outside);
    if (outside < count && is_mpi)
        return blame(server, outside, -ECONNRESET,
                     "it has ended without MPI_Init, and other ranks have called that");
    return 0;
}

/* Lets all go on once all are there. */
static int pass_fence(struct server *server)
{
    uint32_t count = server->facts.local_size;
    for (uint32_t i = 0; i < count; i++) {
        if (server->guests[i].rank.state != PMI1_FENCED)
            return 0;
    }
    int rc = server->kv ? exchange(server) : 0;
    pmi1_board_fence(&server->board);
    server->fence++;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        server->guests[i].rank.state = PMI1_INSIDE;
        rc = say(server, i, PMI1_FENCE_IS_OVER);
    }
    return rc;
}

static int answer(struct server *server, uint32_t at, char *line)
{
    char reply[PMI1_LINE_BYTES];
    struct mst_err err = {0};
    struct pmi1_rank *rank = &server->guests[at].rank;
    int rc = pmi1_answer(&server->board, rank, line, reply, &err);
    if (rc)
        return blame(server, at, rc, "%s", err.text);
    if (rank->state == PMI1_ABORTS) {
        server->failure.exit_code = rank->exit_code;
        return blame(server, at, -ECANCELED, "it has called MPI_Abort");
    }
    return reply[0] ? say(server, at, reply) : 0;
}

static int answer_lines(struct server *server, uint32_t at)
{
    struct guest *guest = &server->guests[at];
    char *line = guest->line, *end;
    int rc = 0;
    while (rc == 0 && (end = memchr(line, '\n', (size_t)(guest->line + guest->have - line)))) {
        *end = '\0';
        rc = strlen(line) == (size_t)(end - line)
                 ? answer(server, at, line)
                 : blame(server, at, -EPROTO, "it says a line with a NUL in it");
        line = end + 1;
    }
    guest->have -= (size_t)(line - guest->line);
    memmove(guest->line, line, guest->have);
    if (rc == 0 && guest->have == sizeof guest->line)
        rc = blame(server, at, -EPROTO, "it says a line of more than %zu bytes", guest->have);
    return rc;
}

/* A guest that has closed its end, or died, is not looked at any more. One that has ended has said
 * all. */
static int listen_to(struct server *server, uint32_t at)
{
    struct guest *guest = &server->guests[at];
    ssize_t size = recv(server->fds[at].fd, guest->line + guest->have,
                        sizeof guest->line - guest->have, MSG_DONTWAIT);
    if (size < 0 && (errno == EINTR || (errno == EAGAIN && !guest->ended)))
        return 0;
    if (size > 0) {
        guest->have += (size_t)size;
        return answer_lines(server, at);
    }
    guest->closed = true;
    if (guest->rank.state == PMI1_FENCED)
        guest->rank.state = PMI1_INSIDE; /* it waits no more */
    close(server->fds[at].fd);
    server->fds[at].fd = -1;
    return 0;
}

/* The agent tells which ranks have ended. False: it has closed its end. */
static bool listen_to_agent(struct server *server)
{
    uint32_t at;
    ssize_t size = recv(STDIN_FILENO, &at, sizeof at, MSG_DONTWAIT);
    if (size == sizeof at && at < server->facts.local_size)
        server->guests[at].ended = true;
    return size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR));
}

static int listen_to_all(struct server *server)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < server->facts.local_size; i++) {
        struct guest *guest = &server->guests[i];
        if (server->fds[i].revents)
            rc = listen_to(server, i);
        while (rc == 0 && guest->ended && !guest->closed)
            rc = listen_to(server, i);
    }
    return rc;
}

/* Until the agent closes its end, or the deadline. */
static void await_end(struct server *server, uint64_t deadline_ns)
{
    struct pollfd agent = {.fd = STDIN_FILENO, .events = POLLIN};
    while (poll(&agent, 1, mst_deadline_left_ms(deadline_ns)) > 0 && listen_to_agent(server))
        continue;
}

/* Until the agent closes its end, or something is wrong. */
static int serve(struct server *server)
{
    uint32_t count = server->facts.local_size;
    int rc = 0;
    while (rc == 0) {
        if (poll(server->fds, count + 1, -1) < 0)
            continue; /* a debugger's */
        if (server->fds[count].revents && !listen_to_agent(server))
            return 0;
        rc = listen_to_all(server);
        if (rc == 0)
            rc = pass_fence(server);
        if (rc == 0)
            rc = find_lost(server);
    }
    return rc;
}

/* The secret's descriptor is not kept. */
static void set_up_world(struct server *server)
{
    const struct rankenv_facts *facts = &server->facts;
    struct mst_world *world = &server->world;
    world_init_single(world);
    world->rank = facts->rank;
    world->size = facts->world_size;
    world->generation = facts->generation;
    world->job_nonce = facts->job_nonce;
    (void)snprintf(world->kv_addr, sizeof world->kv_addr, "%s", facts->kv_addr);
    (void)snprintf(world->job_id, sizeof world->job_id, "%s", facts->job_id);
    ssize_t size = pread(facts->secret_fd, world->secret, sizeof world->secret, 0);
    world->secret_bytes = size > 0 ? (uint32_t)size : 0;
}

/* How many ranks each node has: where there are others, they say so. */
static int ask_sizes(struct server *server, uint16_t *sizes)
{
    uint8_t mine[2];
    struct mst_kv_gathered gathered = {0};
    struct mst_err *err = &server->failure.err;
    sizes[0] = (uint16_t)server->facts.local_size;
    if (server->facts.node_count < 2)
        return 0;
    mst_put_le16(mine, sizes[0]);
    int rc = mst_kv_dial(&server->world, mst_deadline_ms(KV_MS), &server->kv, err);
    if (rc)
        return rc;
    rc = gather(server, "pmi/ranks", (struct mst_cspan){mine, sizeof mine, MST_MEM_HOST},
                mst_deadline_ms(KV_MS), &gathered);
    for (uint32_t i = 0; rc == 0 && i < gathered.count; i++) {
        if (gathered.parts[i].size_bytes == sizeof mine)
            sizes[i] = mst_get_le16(gathered.parts[i].data);
        else
            rc = -EBADMSG;
    }
    mst_kv_gathered_free(&gathered);
    return rc ? mst_err_set(err, rc,
                            "not all nodes say by PMI-1 how many ranks they have (%s): "
                            "give --mpi=pmi1 on each",
                            mst_err_meaning(rc))
              : 0;
}

static int make_board(struct server *server)
{
    char name[PMI1_NAME_BYTES];
    uint32_t node_count = server->facts.node_count;
    uint16_t *sizes = calloc(node_count, sizeof *sizes);
    if (!sizes)
        return mst_err_set(&server->failure.err, -ENOMEM, "no memory for %u nodes", node_count);
    (void)snprintf(name, sizeof name, "muster_%016" PRIx64 "_%" PRIu32, server->facts.job_nonce,
                   server->facts.generation);
    int rc = ask_sizes(server, sizes);
    if (rc == 0)
        rc = pmi1_board_init(&server->board, name, sizes, node_count, &server->failure.err);
    free(sizes);
    if (rc == 0 && server->board.size != server->facts.world_size)
        rc = mst_err_set(&server->failure.err, -EPROTO,
                         "all nodes together say that there are %u ranks, and there are %u",
                         server->board.size, server->facts.world_size);
    return rc;
}

static int set_up(struct server *server)
{
    uint32_t count = server->facts.local_size;
    server->guests = calloc(count, sizeof *server->guests);
    server->fds = calloc(count + 1, sizeof *server->fds);
    if (!server->guests || !server->fds)
        return mst_err_set(&server->failure.err, -ENOMEM, "no memory for %u ranks", count);
    for (uint32_t i = 0; i <= count; i++)
        server->fds[i] = (struct pollfd){.fd = i < count ? (int)i + 1 : STDIN_FILENO,
                                         .events = POLLIN};
    return make_board(server);
}

/* The agent's end is descriptor 0 here, and those of the ranks come behind it. */
static _Noreturn void run(const struct rankenv_facts *facts, const int *fds)
{
    struct server server = {.facts = *facts,
                            .failure = {.rank = facts->rank, .exit_code = EXIT_FAILURE}};
    set_up_world(&server);
    helper_begin("muster-pmi", fds, facts->local_size + 1);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* cannot fail for a valid signal */
    int rc = set_up(&server);
    if (rc == 0)
        rc = serve(&server);
    if (rc == -ECONNRESET)
        await_end(&server, mst_deadline_ms(DEATH_MS));
    if (rc) { /* (void): an agent that has gone needs none */
        (void)send(STDIN_FILENO, &server.failure, sizeof server.failure, MSG_NOSIGNAL);
        await_end(&server, MST_NEVER); /* a rank that aborts goes on at its connection's end */
    }
    _exit(0);
}

/* ---- in the agent ---------------------------------------------------------------------------- */

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

/* Connections: ours[0] and theirs[0] are of the agent and the process, the others of a rank and the
 * process. The numbers of `theirs` ascend, as each is the lowest that is free. */
static int open_pairs(int *ours, int *theirs, size_t count)
{
    int rc = 0;
    for (size_t i = 0; i < count; i++)
        ours[i] = theirs[i] = -1;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        int type = i == 0 ? SOCK_SEQPACKET : SOCK_STREAM, fds[2];
        if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds)) {
            rc = -errno;
        } else {
            theirs[i] = fds[0];
            ours[i] = fds[1];
        }
    }
    return rc;
}

/* Opens the connections and starts the process, which has its ends of them then. Its number, or a
 * negative errno. */
static pid_t fork_server(const struct rankenv_facts *facts, int *ours, int *theirs)
{
    size_t count = facts->local_size + (size_t)1;
    int rc = open_pairs(ours, theirs, count);
    pid_t pid = rc ? -1 : fork();
    if (pid == 0)
        run(facts, theirs);
    if (pid < 0 && rc == 0)
        rc = -errno;
    close_all(theirs, count);
    if (rc)
        close_all(ours, count);
    return rc ? rc : pid;
}

int pmi_start(struct pmi *pmi, const struct rankenv_facts *facts, struct mst_err *err)
{
    size_t count = facts->local_size + (size_t)1;
    int *ours = malloc(count * sizeof *ours), *theirs = malloc(count * sizeof *theirs);
    pid_t pid = ours && theirs ? fork_server(facts, ours, theirs) : -ENOMEM;
    free(theirs);
    *pmi = (struct pmi){.fd = -1};
    if (pid < 0) {
        free(ours);
        return mst_err_set(err, pid, "PMI for %u ranks: %s", facts->local_size,
                           pid == -EAGAIN ? "no more processes are allowed here: raise ulimit -u, "
                                            "or pids.max of the container's cgroup"
                                          : mst_err_meaning(pid));
    }
    *pmi = (struct pmi){
        .fd = ours[0], .pid = pid, .rank = facts->rank, .fds = ours, .count = facts->local_size};
    return 0;
}

int pmi_rank_fd(const struct pmi *pmi, uint32_t local_rank)
{
    return pmi->fds ? pmi->fds[1 + local_rank] : 0;
}

void pmi_started(struct pmi *pmi)
{
    if (pmi->fds)
        close_all(pmi->fds + 1, pmi->count);
    free(pmi->fds);
    pmi->fds = NULL;
}

/* (void): a process that does not hear of it sees the end of the connection, as a rule. */
void pmi_rank_ended(const struct pmi *pmi, uint32_t local_rank)
{
    if (pmi->fd >= 0)
        (void)send(pmi->fd, &local_rank, sizeof local_rank, MSG_DONTWAIT | MSG_NOSIGNAL);
}

bool pmi_take(struct pmi *pmi, struct pmi_failure *ret_failure)
{
    ssize_t size = recv(pmi->fd, ret_failure, sizeof *ret_failure, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (size != sizeof *ret_failure) {
        pmi_end(pmi);
        *ret_failure = (struct pmi_failure){.rank = pmi->rank, .exit_code = EXIT_FAILURE};
        (void)mst_err_set(&ret_failure->err, -ECHILD, "the process that connects them has died");
    }
    return true;
}

void pmi_end(struct pmi *pmi)
{
    pmi_started(pmi);
    if (pmi->fd >= 0)
        close(pmi->fd);
    pmi->fd = -1;
}
