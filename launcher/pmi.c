#include "muster/launcher/pmi.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/file.h"
#include "muster/core/kv/gather.h"
#include "muster/core/libc.h"
#include "muster/core/world/state.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/helper.h"
#include "muster/launcher/pmi1.h"
#include "muster/launcher/pmi_agent.h"
#include "muster/launcher/pmi_nodes.h"
#include "muster/launcher/procs.h"
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
#include <sys/wait.h>
#include <unistd.h>

#define DEATH_MS 200

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
    struct pmi_nodes nodes;
    struct pmi1_board board;
    struct guest *guests;
    struct pollfd *fds; /* of the guests, and the agent's behind them */
    uint32_t fence;
    struct pmi_wait wait; /* for a rank of this node */
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

/* What ranks have put since the last fence. */
static int exchange(struct server *server)
{
    char key[32];
    struct mst_kv_gathered gathered = {0};
    struct mst_err *err = &server->failure.err;
    (void)snprintf(key, sizeof key, "fence/%" PRIu32, server->fence);
    const struct mst_cspan fresh = {server->board.fresh, server->board.fresh_bytes, MST_MEM_HOST};
    int rc = pmi_nodes_gather(&server->nodes, key, fresh, MST_NEVER, &gathered, err);
    if (rc && !err->code)
        (void)pmi_nodes_refuse(rc, key, fresh.size_bytes, err);
    for (uint32_t i = 0; rc == 0 && i < gathered.count; i++) {
        if (i != server->facts.node)
            rc = pmi1_board_learn(&server->board, gathered.parts[i].data,
                                  gathered.parts[i].size_bytes, err);
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
        return blame(server, inside, -ECONNRESET, PMI_NO_FINALIZE);
    if (outside < count)
        pmi_nodes_tell_left(&server->nodes, server->facts.rank + outside);
    if (outside < count && is_mpi)
        return blame(server, outside, -ECONNRESET, PMI_NO_INIT);
    return 0;
}

/* Who has not begun yet may never do. */
static void tell_late(struct server *server)
{
    uint32_t count = server->facts.local_size, late = find(server, PMI1_OUTSIDE, false);
    bool do_wait = late < count && find(server, PMI1_FENCED, false) < count;
    if (pmi_wait_is_long(&server->wait, do_wait))
        pmi_tell_wait(server->facts.rank + late, PMI_LATE_INIT);
}

/* Lets all go on once all are there. */
static int pass_fence(struct server *server)
{
    uint32_t count = server->facts.local_size;
    for (uint32_t i = 0; i < count; i++) {
        if (server->guests[i].rank.state != PMI1_FENCED)
            return 0;
    }
    int rc = server->nodes.kv ? exchange(server) : 0;
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

static bool listen_to_agent(struct server *server)
{
    uint32_t at;
    bool is_there = pmi_agent_hear(&at);
    if (is_there && at < server->facts.local_size)
        server->guests[at].ended = true;
    return is_there;
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

static int patience_ms(const struct server *server)
{
    int beat_ms = pmi_agent_beat("serves the ranks of this node");
    int left_ms = pmi_wait_left_ms(&server->wait);
    return left_ms >= 0 && left_ms < beat_ms ? left_ms : beat_ms;
}

/* Until the agent closes its end, or something is wrong. */
static int serve(struct server *server)
{
    uint32_t count = server->facts.local_size;
    int rc = 0;
    while (rc == 0) {
        if (poll(server->fds, count + 1, patience_ms(server)) < 0)
            continue; /* a debugger's */
        if (server->fds[count].revents && !listen_to_agent(server))
            return 0;
        rc = listen_to_all(server);
        if (rc == 0)
            rc = pass_fence(server);
        if (rc == 0)
            rc = find_lost(server);
        tell_late(server);
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
    world->local_size = facts->local_size;
    world->node = facts->node;
    world->node_count = facts->node_count;
    world->generation = facts->generation;
    world->job_nonce = facts->job_nonce;
    (void)snprintf(world->kv_addr, sizeof world->kv_addr, "%s", facts->kv_addr);
    (void)snprintf(world->job_id, sizeof world->job_id, "%s", facts->job_id);
    ssize_t size = pread(facts->secret_fd, world->secret, sizeof world->secret, 0);
    world->secret_bytes = size > 0 ? (uint32_t)size : 0;
}

static int make_board(struct server *server)
{
    char name[PMI1_NAME_BYTES];
    uint32_t node_count = server->facts.node_count;
    struct mst_err *err = &server->failure.err;
    uint16_t *sizes = calloc(node_count, sizeof *sizes);
    if (!sizes)
        return mst_err_set(err, -ENOMEM, "no memory for %u nodes", node_count);
    (void)snprintf(name, sizeof name, "muster_%016" PRIx64 "_%" PRIu32, server->facts.job_nonce,
                   server->facts.generation);
    int rc = pmi_nodes_open(&server->nodes, "pmi1", &server->world, err);
    if (rc == 0)
        rc = pmi_nodes_meet(&server->nodes, server->facts.world_size, sizes, err);
    if (rc == 0)
        rc = pmi1_board_init(&server->board, name, sizes, node_count, err);
    free(sizes);
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
    if (set_up(&server) == 0)
        (void)serve(&server); /* it is in the failure */
    pmi_agent_leave(&server.failure);
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
static int open_pairs(int *ours, int *theirs, size_t count, bool is_pmix)
{
    int rc = 0;
    for (size_t i = 0; i < count; i++)
        ours[i] = theirs[i] = -1;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        int type = i == 0 || is_pmix ? SOCK_SEQPACKET : SOCK_STREAM, fds[2];
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
static pid_t fork_server(const struct rankenv_facts *facts, const char *program, int *ours,
                         int *theirs, struct pmix_process *ret_pmix)
{
    size_t count = facts->local_size + (size_t)1;
    int rc = open_pairs(ours, theirs, count, program != NULL);
    if (rc == 0 && program)
        rc = pmix_open(ret_pmix, program, facts);
    pid_t pid = rc ? -1 : fork();
    if (pid == 0 && program)
        pmix_become(ret_pmix, program, facts, theirs);
    if (pid == 0)
        run(facts, theirs);
    if (pid < 0 && rc == 0)
        rc = -errno;
    close_all(theirs, count);
    if (rc) {
        close_all(ours, count);
        pmix_close(ret_pmix);
    }
    return rc ? rc : pid;
}

int pmi_start(struct pmi *pmi, const struct rankenv_facts *facts, const char *program,
              struct mst_err *err)
{
    size_t count = facts->local_size + (size_t)1;
    int *ours = malloc(count * sizeof *ours), *theirs = malloc(count * sizeof *theirs);
    struct pmix_process pmix = {0};
    pid_t pid = ours && theirs ? fork_server(facts, program, ours, theirs, &pmix) : -ENOMEM;
    free(theirs);
    *pmi = (struct pmi){.fd = -1};
    if (pid < 0) {
        free(ours);
        return mst_err_set(err, pid, "PMI for %u ranks: %s", facts->local_size,
                           pid == -EAGAIN ? "no more processes are allowed here: raise ulimit -u, "
                                            "or pids.max of the container's cgroup"
                                          : mst_err_meaning(pid));
    }
    *pmi = (struct pmi){.fd = ours[0],
                        .pid = pid,
                        .rank = facts->rank,
                        .ready = program == NULL,
                        .fds = ours,
                        .count = facts->local_size,
                        .pmix = pmix,
                        .look_ns = mst_deadline_ms(PMI_LOOK_MS),
                        .doing = "begins"};
    return 0;
}

static const char *pmi_name(const struct pmi *pmi)
{
    return pmi->pmix.tidy_pid ? "muster-pmix" : "muster-pmi";
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

/* How it has ended; false: that is not known. It ends, as its connection has, and is waited for a
 * moment, which is the generation's last. */
static bool death_of(const struct pmi *pmi, bool *ret_killed, int *ret_code)
{
    siginfo_t info = {0};
    int fd = libc_pidfd_open(pmi->pid);
    struct pollfd end = {.fd = fd, .events = POLLIN};
    bool is_over = fd >= 0 && poll(&end, 1, DEATH_MS) == 1 &&
                   waitid(P_PID, (id_t)pmi->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                   info.si_pid == pmi->pid;
    mst_file_close(&fd);
    *ret_killed = info.si_code != CLD_EXITED;
    *ret_code = is_over ? exitcode_of_death(*ret_killed, info.si_status) : 0;
    return is_over;
}

/* It has closed its connection, and has said nothing of why. */
static void explain_end(const struct pmi *pmi, struct pmi_failure *ret_failure)
{
    char how[64] = "of what is not known";
    bool killed = false;
    int code = 0;
    if (death_of(pmi, &killed, &code))
        exitcode_describe_death(killed, code, how, sizeof how);
    *ret_failure = (struct pmi_failure){.rank = pmi->rank, .exit_code = EXIT_FAILURE};
    if (pmi->ready) {
        (void)mst_err_set(&ret_failure->err, -ECHILD, "%s, which connects them, has died: %s",
                          pmi_name(pmi), how);
        return;
    }
    if (!killed)
        ret_failure->exit_code = EXITCODE_CONFIG;
    if (code == EXITCODE_NOT_FOUND)
        (void)mst_err_set(&ret_failure->err, -ECHILD,
                          "muster-pmix did not start: it needs libpmix.so.2, of Debian's package "
                          "libpmix2");
    else
        (void)mst_err_set(&ret_failure->err, -ECHILD,
                          "muster-pmix has ended before it was ready (%s): what it has said "
                          "stands above; --mpi=none starts ranks that use no MPI",
                          how);
}

/* Whether something was there to be heard. */
static bool hear(struct pmi *pmi, struct pmi_failure *ret_failure)
{
    ssize_t size = recv(pmi->fd, ret_failure, sizeof *ret_failure, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (size != sizeof *ret_failure) {
        explain_end(pmi, ret_failure);
        pmi_end(pmi);
        return true;
    }
    pmi->silent = 0;
    pmi->ready = pmi->ready || ret_failure->err.code == 0;
    if (ret_failure->err.code == -EINPROGRESS)
        (void)snprintf(pmi->doing, sizeof pmi->doing, "%.63s", ret_failure->err.text); /* cut */
    return true;
}

bool pmi_take(struct pmi *pmi, struct pmi_failure *ret_failure)
{
    while (pmi->fd >= 0 && hear(pmi, ret_failure)) {
        if (ret_failure->err.code != 0 && ret_failure->err.code != -EINPROGRESS)
            return true;
    }
    return false;
}

static const char *advice(char state)
{
    switch (state) {
    case 'D': return "a file system does not answer, see TMPDIR";
    case 'T':
    case 't': return "somebody has stopped it";
    default: return "should the next one too, see gdb -p";
    }
}

bool pmi_look(struct pmi *pmi, uint64_t now_ns, struct pmi_failure *ret_failure)
{
    char where[PROCS_WHERE_BYTES];
    pmi->look_ns = now_ns + PMI_LOOK_MS * MST_NS_PER_MS;
    if (pmi->fd < 0 || ++pmi->silent < PMI_SILENT_LOOKS)
        return false;
    char state = procs_state(pmi->pid);
    *ret_failure = (struct pmi_failure){.rank = pmi->rank, .exit_code = EXIT_FAILURE};
    (void)mst_err_set(&ret_failure->err, -ETIMEDOUT,
                      "%s hangs: pid %d has said nothing for %u s, but before that it %.48s; it is "
                      "%c in %.32s: %s",
                      pmi_name(pmi), (int)pmi->pid, PMI_SILENT_LOOKS * PMI_LOOK_MS / 1000,
                      pmi->doing, state, procs_where(pmi->pid, where), advice(state));
    (void)kill(pmi->pid, SIGKILL); /* its connection is open, so that its number is its own */
    pmi_end(pmi);
    return true;
}

void pmi_await(const struct pmi *pmi, uint64_t deadline_ns)
{
    struct pollfd ends[] = {{.fd = -1, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    if (pmi->pmix.tidy_pid) {
        ends[0].fd = libc_pidfd_open(pmi->pid);
        ends[1].fd = libc_pidfd_open(pmi->pmix.tidy_pid);
    }
    for (size_t i = 0; i < 2; i++) {
        if (ends[i].fd >= 0)
            (void)poll(&ends[i], 1, mst_deadline_left_ms(deadline_ns)); /* else it goes on */
        mst_file_close(&ends[i].fd);
    }
}

void pmi_end(struct pmi *pmi)
{
    pmi_started(pmi);
    mst_file_close(&pmi->fd);
    pmix_close(&pmi->pmix);
}
