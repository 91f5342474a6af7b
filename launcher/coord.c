/* How a word travels: a connection proves the secret in the kv server, which tells on_joined whose
 * it is, and the roster (roster.c) takes it; frames that are messages come to on_frame and, if they
 * are new, go into the rules (rdzv.c), whose answers are queued; when the server has run, they go
 * to the roster. It says when a node is lost. The agent of node 0 is a node like the others, over a
 * socket pair. */
#include "muster/launcher/coord.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/host.h"
#include "muster/core/kv/server.h"
#include "muster/core/kv/sock.h"
#include "muster/core/version.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/log.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/place.h"
#include "muster/launcher/rdzv.h"
#include "muster/launcher/restart.h"
#include "muster/launcher/roster.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_REPORT_NS MST_NS_PER_S
#define WAIT_REPORT_NS (10 * MST_NS_PER_S)
#define REFUSED_REPORT_NS (5 * MST_NS_PER_S)
#define MISSING_BYTES 512

/* A message that waits until kv_server_run has returned: fencing is not allowed inside it. */
struct outgoing {
    struct outgoing *next;
    uint32_t node;
    struct msg msg;
};

struct coord {
    struct kv_server *server;
    uint16_t port;
    struct rdzv rdzv;
    struct rdzv_node *nodes;
    uint32_t *answered;
    struct roster roster;
    char told_host[MSG_HOST_BYTES]; /* where others look, if that is this machine's address */
    char meeting[MSG_JOB_ID_BYTES];
    bool end_told;      /* that the job's own time is over */
    bool nameless_told; /* that one of us has a job id and the other none */
    struct outgoing *first, **last;
    uint64_t report_ns;  /* when to say again who is missing */
    uint64_t refused_ns; /* when to say again who was refused */
    uint32_t untold;     /* refused since then */
    uint32_t decisions_told;
    uint64_t call_told_ns; /* the last call that was told, by its end */
    bool regroup_told;
    uint32_t told_generation; /* whose port is master_port; UINT32_MAX: none */
    uint16_t master_port;
};

/* ---- messages in ----------------------------------------------------------------------------- */

static void enqueue(void *arg, uint32_t node, const struct msg *msg)
{
    struct coord *coord = arg;
    struct outgoing *outgoing = malloc(sizeof *outgoing);
    if (!outgoing) {
        log_line(LOG_ERROR, "no memory for a message", " type=%s", msg_name(msg->type));
        return; /* the nodes' own deadlines end what this leaves open */
    }
    *outgoing = (struct outgoing){.node = node, .msg = *msg};
    *coord->last = outgoing;
    coord->last = &outgoing->next;
}

/* A name against none is let in, as only one of the two nodes may have been told it. */
static void compare_names(struct coord *coord, const struct mst_auth_hello *hello)
{
    bool is_named = coord->meeting[0], they_are = hello->job_id[0];
    if (is_named == they_are || coord->nameless_told)
        return;
    coord->nameless_told = true;
    log_line(LOG_INFO, "one node has a name for the job, another has none", " node=%u job=%s",
             hello->rank, log_quote(is_named ? coord->meeting : hello->job_id).text);
}

static int on_joined(void *arg, uint64_t peer, const struct mst_auth_hello *hello,
                     struct mst_err *err)
{
    struct coord *coord = arg;
    uint32_t count = coord->rdzv.slot_count;
    if (hello->rank >= count)
        return mst_err_set(err, -EPROTO,
                           "node rank %u, but the job has %u nodes: correct "
                           "--node-rank or --nnodes",
                           hello->rank, count);
    int rc = roster_meet(&coord->roster, hello->rank, peer,
                         (struct roster_hello){hello->tag, hello->again}, mst_now_ns());
    if (rc == -ESTALE)
        return mst_err_set(
            err, rc, "node rank %u was away for too long: the job goes on without it", hello->rank);
    if (rc)
        return mst_err_set(err, rc, "node rank %u is taken by a live agent", hello->rank);
    compare_names(coord, hello);
    return 0;
}

static void on_gone(void *arg, uint32_t node, const char *why)
{
    struct coord *coord = arg;
    if (coord->nodes[node].phase == RDZV_LEFT && coord->rdzv.state != RDZV_ENDED)
        log_line(LOG_INFO, "node has left", " node=%u host=%s", node,
                 log_quote(coord->roster.nodes[node].host).text);
    else if (coord->rdzv.state != RDZV_ENDED)
        log_line(LOG_WARN, "node lost", " node=%u host=%s because=\"%s\"", node,
                 log_quote(coord->roster.nodes[node].host).text, why);
    rdzv_lost(&coord->rdzv, node, mst_now_ns());
}

static void on_lost(void *arg, const struct kv_agent *who, bool hung_up)
{
    struct coord *coord = arg;
    bool is_done = coord->rdzv.state == RDZV_ENDED &&
                   !coord->roster.nodes[who->node].outbox.first; /* it has heard the end */
    roster_lose(&coord->roster, who->node, who->peer, hung_up || is_done, mst_now_ns());
}

/* Whoever finds the port can be refused as often as he likes: the log has one line in a while. */
static void on_refused(void *arg, const struct mst_err *why)
{
    struct coord *coord = arg;
    uint64_t now_ns = mst_now_ns();
    if (now_ns < coord->refused_ns) {
        coord->untold++;
        return;
    }
    log_line(LOG_WARN, "connection refused", " because=%s others=%u", log_quote(why->text).text,
             coord->untold);
    coord->refused_ns = now_ns + REFUSED_REPORT_NS;
    coord->untold = 0;
}

/* A JOIN that cannot be read may be of another version: that much can be told. */
static bool refuse_version(struct coord *coord, uint32_t node, const uint8_t *payload,
                           size_t size_bytes)
{
    struct msg refusal = {.type = MSG_REFUSED, .code = EXITCODE_CONFIG};
    char version[MSG_VERSION_BYTES];
    if (msg_decode_version(payload, size_bytes, version) || strcmp(version, mst_version()) == 0)
        return false;
    rdzv_name_versions(node, version, mst_version(), refusal.text);
    enqueue(coord, node, &refusal);
    return true;
}

static void on_frame(void *arg, const struct kv_agent *from, uint8_t type, const uint8_t *payload,
                     size_t size_bytes)
{
    struct coord *coord = arg;
    uint32_t node = from->node;
    if (!roster_has(&coord->roster, node, from->peer))
        return;
    uint64_t now_ns = mst_now_ns();
    struct msg msg;
    int rc = msg_decode(type, payload, size_bytes, &msg);
    if (rc && type == MSG_JOIN && refuse_version(coord, node, payload, size_bytes))
        return;
    if (rc == 0)
        rc = roster_take(&coord->roster, node, &msg, now_ns);
    if (rc > 0)
        rc = rdzv_message(&coord->rdzv, node, &msg, now_ns);
    if (rc == 0)
        return;
    log_line(LOG_WARN, "node dropped: it broke the protocol", " node=%u type=%u", node, type);
    roster_lose(&coord->roster, node, from->peer, true, now_ns);
    kv_server_drop(coord->server, from->peer);
}

/* ---- messages out ---------------------------------------------------------------------------- */

/* A port that is free now. Torch's rank 0 binds it itself, so it cannot be handed down open. */
static uint16_t pick_port(void)
{
    uint16_t port = 0;
    int fd = mst_sock_listen("0.0.0.0", 0, &port, NULL);
    if (fd >= 0)
        close(fd);
    return port;
}

/* "1,3 (worker-3)": who has not joined, or was lost, for logs. */
static const char *name_missing(const struct coord *coord, char *text, size_t cap)
{
    size_t used = 0;
    char name[MSG_HOST_BYTES + 16];
    text[0] = '\0';
    for (uint32_t i = 0; i < coord->roster.count && used + sizeof name < cap; i++) {
        if (coord->nodes[i].phase <= RDZV_REFUSED)
            used += (size_t)snprintf(text + used, cap - used, "%s%s", used ? "," : "",
                                     roster_name(&coord->roster, i, name, sizeof name));
    }
    return text;
}

/* Why a generation follows one that failed, and when. */
static void announce_restart(struct coord *coord)
{
    const struct rdzv *rdzv = &coord->rdzv;
    if (coord->decisions_told == rdzv->decision_count)
        return;
    coord->decisions_told = rdzv->decision_count;
    if (rdzv->decision.again && rdzv->decision.why != RESTART_REGROUP)
        log_line(LOG_WARN, "restarting all ranks",
                 " restart=%u of=%u lived_s=%.1f in_s=%.1f why=\"%s\"", rdzv->restart.used,
                 rdzv->config.max_restarts, (double)rdzv->restart.last.life_ns / MST_NS_PER_S,
                 (double)rdzv->decision.pause_ns / MST_NS_PER_S,
                 restart_reason(rdzv->decision.why));
}

static void announce_deadline(struct coord *coord)
{
    if (!coord->rdzv.past_end || coord->end_told)
        return;
    coord->end_told = true;
    log_line(LOG_WARN, "the job's deadline has passed: all ranks are to save and leave", NULL);
}

/* Who is asked to leave, or waits to be let in, for logs. */
static const char *name_movers(const struct coord *coord, bool is_leaving, char *text, size_t cap)
{
    size_t used = 0;
    char name[MSG_HOST_BYTES + 16];
    text[0] = '\0';
    for (uint32_t i = 0; i < coord->roster.count && used + sizeof name < cap; i++) {
        bool moves = is_leaving ? coord->nodes[i].leaving : coord->nodes[i].phase == RDZV_READY;
        if (moves)
            used += (size_t)snprintf(text + used, cap - used, "%s%s", used ? "," : "",
                                     roster_name(&coord->roster, i, name, sizeof name));
    }
    return text;
}

/* What is different in a world whose nodes come and go. */
static void announce_regroup(struct coord *coord)
{
    const struct rdzv *rdzv = &coord->rdzv;
    char leaving[MISSING_BYTES], coming[MISSING_BYTES];
    bool is_new = rdzv->regrouping && !coord->regroup_told;
    coord->regroup_told = rdzv->regrouping;
    if (is_new)
        log_line(LOG_INFO, "nodes come or go: all ranks save and start again",
                 " leaving=%s coming=%s",
                 log_quote(name_movers(coord, true, leaving, sizeof leaving)).text,
                 log_quote(name_movers(coord, false, coming, sizeof coming)).text);
    if (rdzv->state != RDZV_GATHERING || rdzv->call_ns == coord->call_told_ns)
        return;
    coord->call_told_ns = rdzv->call_ns;
    uint64_t now_ns = mst_now_ns();
    if (rdzv->call_ns > now_ns)
        log_line(LOG_INFO, "enough nodes are there: last call for the others",
                 " present=%u least=%u most=%u starts_in_s=%.1f", rdzv->counts[RDZV_READY],
                 rdzv->config.least_count, rdzv->config.node_count,
                 (double)(rdzv->call_ns - now_ns) / MST_NS_PER_S);
}

/* A job that ends by a failure says which, and why there is no further try. */
static void announce_end(const struct coord *coord, const struct msg *msg)
{
    const struct rdzv *rdzv = &coord->rdzv;
    char what[64], missing[MISSING_BYTES];
    if (msg->code == EXITCODE_OK || msg->code == EXITCODE_DRAINED ||
        msg->end == EXITCODE_END_DEADLINE)
        return;
    if (msg->code == EXITCODE_RENDEZVOUS)
        log_line(LOG_ERROR, "nodes are missing", " missing=%s of=%u least=%u",
                 log_quote(name_missing(coord, missing, sizeof missing)).text,
                 rdzv->config.node_count, rdzv->config.least_count);
    else if (rdzv->life.verdict)
        log_line(LOG_ERROR, "a restart cannot help", " rank=%u met=\"%s\" exit=%u",
                 rdzv->verdict_rank, mst_err_meaning((int)rdzv->life.verdict), msg->code);
    else
        log_line(LOG_ERROR, restart_reason(rdzv->decision.why), " restarts=%u of=%u because=\"%s\"",
                 rdzv->restart.used, rdzv->config.max_restarts,
                 exitcode_describe((int)msg->code, what, sizeof what));
}

/* How this node's own ranks reach the server, and other ranks them: as everybody does if that is an
 * address of this machine, and never by its name, which this node may be the last to learn. */
static void find_own_host(const struct coord *coord, char host[MSG_HOST_BYTES])
{
    static_assert(MSG_HOST_BYTES == MST_SOCK_NAME_BYTES, "a numeric address is copied whole");
    if (coord->told_host[0]) {
        snprintf(host, MSG_HOST_BYTES, "%s", coord->told_host);
        return;
    }
    snprintf(host, MSG_HOST_BYTES, "127.0.0.1");
    for (uint32_t i = 1; i < coord->roster.count; i++) {
        const struct roster_node *node = &coord->roster.nodes[i];
        if (node->connected && kv_server_own_host(coord->server, node->peer, host) == 0)
            return;
    }
}

/* All nodes of a generation are told one port, be it in one message or in one each. */
static void prepare_start(struct coord *coord, struct msg *msg)
{
    if (msg->generation != coord->told_generation) {
        kv_server_set_generation(coord->server, msg->generation);
        coord->master_port = pick_port();
    }
    coord->told_generation = msg->generation;
    msg->master_port = coord->master_port;
    find_own_host(coord, msg->host);
}

static void deliver(struct coord *coord, struct outgoing *outgoing)
{
    struct msg *msg = &outgoing->msg;
    if (msg->type == MSG_END)
        announce_end(coord, msg);
    if (msg->type == MSG_REFUSED)
        log_line(LOG_WARN, msg->text, NULL);
    if (msg->type == MSG_START)
        prepare_start(coord, msg);
    bool to_all = outgoing->node == RDZV_ALL;
    uint32_t first = to_all ? 0 : outgoing->node;
    uint32_t last = to_all ? coord->roster.count - 1 : first;
    for (uint32_t i = first; i <= last; i++) {
        if (msg->type == MSG_START)
            rdzv_address(&coord->rdzv, i, msg);
        roster_send(&coord->roster, i, msg);
    }
}

static void deliver_all(struct coord *coord)
{
    while (coord->first) {
        struct outgoing *outgoing = coord->first;
        coord->first = outgoing->next;
        if (!coord->first)
            coord->last = &coord->first;
        assert(*coord->last == NULL);
        deliver(coord, outgoing);
        free(outgoing);
    }
}

static void report_missing(struct coord *coord)
{
    uint64_t now_ns = mst_now_ns();
    char missing[MISSING_BYTES];
    if (coord->rdzv.state != RDZV_GATHERING || now_ns < coord->report_ns || coord->rdzv.call_ns > 0)
        return;
    coord->report_ns = now_ns + WAIT_REPORT_NS;
    if (*name_missing(coord, missing, sizeof missing))
        log_line(LOG_INFO, "waiting for nodes", " missing=%s of=%u port=%u",
                 log_quote(missing).text, coord->rdzv.config.node_count, coord->port);
}

/* ---- beginning and end ----------------------------------------------------------------------- */

/* The first port that is free. Where all are taken, the last one's text stands for the others. */
static int listen_on_first(struct coord *coord, const struct opts *opts, struct mst_err *err)
{
    /* Behind a service or NAT, the name that others dial is no address of this machine. */
    const char *host = mst_host_is_local(opts->rdzv_host) ? opts->rdzv_host : "";
    int fd = -EADDRINUSE;
    for (uint32_t i = 0; i < opts->rdzv_port_count && fd == -EADDRINUSE; i++)
        fd = mst_sock_listen(host, opts->rdzv_ports[i], &coord->port, err);
    const uint16_t *ports = opts->rdzv_ports;
    if (fd == -EADDRINUSE && opts->rdzv_port_count == MST_PORTS_COUNT)
        return mst_err_set(err, fd,
                           "the ports that follow from the job's name, %u, %u, %u and %u, are all "
                           "in use: name a free one by MASTER_PORT or --rdzv",
                           ports[0], ports[1], ports[2], ports[3]);
    return fd;
}

/* A numeric address can be one of this machine: then it is where its own ranks look, too. */
static void know_own_address(struct coord *coord, const char *host)
{
    uint8_t address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, host, address) != 1 && inet_pton(AF_INET6, host, address) != 1)
        return;
    int fd = mst_sock_listen(host, 0, NULL, NULL);
    if (fd < 0)
        return;
    close(fd);
    snprintf(coord->told_host, sizeof coord->told_host, "%.*s", MSG_HOST_BYTES - 1, host);
}

static int open_server(struct coord *coord, const struct opts *opts, uint64_t nonce,
                       struct mst_err *err)
{
    int fd = listen_on_first(coord, opts, err);
    if (fd < 0)
        return fd;
    snprintf(coord->meeting, sizeof coord->meeting, "%s", opts->meeting);
    know_own_address(coord, opts->rdzv_host);
    const struct kv_server_config config = {
        .listen_fd = fd,
        .secret = opts->secret,
        .secret_bytes = opts->secret_bytes,
        .job_id = opts->meeting,
        .job_nonce = nonce,
        .events = {coord, on_joined, on_frame, on_lost, on_refused}};
    int rc = kv_server_create(&config, &coord->server, err);
    if (rc)
        close(fd);
    return rc;
}

static int attach_own_agent(struct coord *coord, int *ret_fd, struct mst_err *err)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds))
        return mst_err_set(err, -errno, "socketpair: %s", mst_err_meaning(errno));
    uint64_t peer = 0;
    int rc = kv_server_attach(coord->server, fds[0], 0, &peer);
    if (rc) {
        close(fds[0]);
        close(fds[1]);
        return mst_err_set(err, rc, "no memory for the agent's own connection");
    }
    rc = roster_meet(&coord->roster, 0, peer, (struct roster_hello){.tag = 0}, mst_now_ns());
    assert(rc == 0); /* it is the first */
    *ret_fd = fds[1];
    return 0;
}

/* Tells this start of the job from every other, also where nobody has named the job. */
static int draw_nonce(uint64_t *ret_nonce, struct mst_err *err)
{
    uint64_t nonce = 0;
    while (nonce == 0) {
        if (getrandom(&nonce, sizeof nonce, 0) != sizeof nonce)
            return mst_err_set(err, -EIO, "no random bytes for the job's nonce");
    }
    *ret_nonce = nonce;
    return 0;
}

static void start_rdzv(struct coord *coord, const struct opts *opts, uint64_t nonce)
{
    struct rdzv_config config = {.node_count = opts->node_count,
                                 .least_count = opts->node_least,
                                 .spare_count = opts->spare_count,
                                 .last_call_ns = opts->last_call_ms * MST_NS_PER_MS,
                                 .local_size = opts->local_size,
                                 .world_size = opts->world_size,
                                 .max_restarts = opts->max_restarts,
                                 .timeout_ns = opts->rdzv_timeout_ms * MST_NS_PER_MS,
                                 .end_ns = opts->end_ns,
                                 .job_nonce = nonce,
                                 .version = mst_version(),
                                 .send = enqueue,
                                 .arg = coord};
    snprintf(config.job_id, sizeof config.job_id, "%s", opts->job_id);
    rdzv_init(&coord->rdzv, &config, coord->nodes, coord->answered, mst_now_ns());
}

int coord_create(const struct opts *opts, struct coord **ret_coord, int *ret_fd,
                 struct mst_err *err)
{
    struct coord *coord = calloc(1, sizeof *coord);
    if (!coord)
        return mst_err_set(err, -ENOMEM, "no memory for the coordinator");
    coord->last = &coord->first;
    coord->report_ns = mst_now_ns() + FIRST_REPORT_NS;
    uint32_t slot_count = place_slots(opts);
    coord->told_generation = UINT32_MAX;
    coord->nodes = calloc(slot_count, sizeof *coord->nodes);
    coord->answered = calloc(slot_count, sizeof *coord->answered);
    uint64_t nonce = 0;
    int rc = draw_nonce(&nonce, err);
    if (!coord->nodes || !coord->answered ||
        roster_init(&coord->roster, slot_count, opts->peer_timeout_ms * MST_NS_PER_MS, on_gone,
                    coord))
        rc = mst_err_set(err, -ENOMEM, "no memory for %u nodes", slot_count);
    if (rc == 0)
        rc = open_server(coord, opts, nonce, err);
    if (rc == 0) {
        coord->roster.server = coord->server;
        start_rdzv(coord, opts, nonce);
        rc = attach_own_agent(coord, ret_fd, err);
    }
    if (rc) {
        coord_destroy(coord);
        return rc;
    }
    *ret_coord = coord;
    return 0;
}

void coord_destroy(struct coord *coord)
{
    if (!coord)
        return;
    kv_server_destroy(coord->server);
    roster_fini(&coord->roster);
    while (coord->first) {
        struct outgoing *next = coord->first->next;
        free(coord->first);
        coord->first = next;
    }
    free(coord->nodes);
    free(coord->answered);
    free(coord);
}

uint16_t coord_port(const struct coord *coord)
{
    return coord->port;
}

int coord_fd(const struct coord *coord)
{
    return kv_server_fd(coord->server);
}

void coord_run(struct coord *coord)
{
    kv_server_run(coord->server);
    rdzv_tick(&coord->rdzv, mst_now_ns());
    announce_restart(coord);
    announce_deadline(coord);
    announce_regroup(coord);
    roster_tick(&coord->roster, mst_now_ns());
    deliver_all(coord);
    report_missing(coord);
}

bool coord_all_heard(const struct coord *coord)
{
    return !coord->first && roster_all_heard(&coord->roster);
}
