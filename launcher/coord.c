/* How a word travels: a connection proves the secret in the kv server, which tells on_joined whose
 * it is; frames that are messages come to on_frame and go into the rules (rdzv.c), whose answers
 * are queued; when the server has run, they are sent. A connection that ends is a node that is
 * lost. The agent of node 0 is a node like the others, over a socket pair. */
#include "muster/launcher/coord.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/server.h"
#include "muster/core/kv/sock.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/log.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/rdzv.h"
#include "muster/launcher/restart.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_REPORT_NS MST_NS_PER_S
#define WAIT_REPORT_NS (10 * MST_NS_PER_S)
#define REFUSED_REPORT_NS (5 * MST_NS_PER_S)

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
    uint64_t *peers; /* per node */
    bool *connected; /* per node */
    struct outgoing *first, **last;
    uint64_t report_ns;  /* when to say again who is missing */
    uint64_t refused_ns; /* when to say again who was refused */
    uint32_t untold;     /* refused since then */
    uint32_t decisions_told;
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

static int node_of(const struct coord *coord, uint64_t peer)
{
    for (uint32_t i = 0; i < coord->rdzv.config.node_count; i++) {
        if (coord->connected[i] && coord->peers[i] == peer)
            return (int)i;
    }
    return -1;
}

static int on_joined(void *arg, uint64_t peer, const struct mst_auth_hello *hello,
                     struct mst_err *err)
{
    struct coord *coord = arg;
    uint32_t count = coord->rdzv.config.node_count;
    if (hello->rank >= count)
        return mst_err_set(err, -EPROTO,
                           "node rank %u, but the job has %u nodes: correct "
                           "--node-rank or --nnodes",
                           hello->rank, count);
    if (coord->connected[hello->rank])
        return mst_err_set(err, -EEXIST, "node rank %u is taken by a live agent", hello->rank);
    coord->connected[hello->rank] = true;
    coord->peers[hello->rank] = peer;
    assert(node_of(coord, peer) == (int)hello->rank); /* no peer is two nodes */
    return 0;
}

static void on_lost(void *arg, uint64_t peer)
{
    struct coord *coord = arg;
    int node = node_of(coord, peer);
    if (node < 0)
        return;
    coord->connected[node] = false;
    if (coord->rdzv.state != RDZV_ENDED)
        log_line(LOG_WARN, "node lost", " node=%d", node);
    rdzv_lost(&coord->rdzv, (uint32_t)node, mst_now_ns());
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

static void on_frame(void *arg, uint64_t peer, uint8_t type, const uint8_t *payload,
                     size_t size_bytes)
{
    struct coord *coord = arg;
    int node = node_of(coord, peer);
    if (node < 0)
        return;
    struct msg msg;
    if (msg_decode(type, payload, size_bytes, &msg) ||
        rdzv_message(&coord->rdzv, (uint32_t)node, &msg, mst_now_ns())) {
        log_line(LOG_WARN, "node dropped: it broke the protocol", " node=%d type=%u", node, type);
        kv_server_drop(coord->server, peer);
    }
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

/* Why a generation follows one that failed, and when. */
static void announce_restart(struct coord *coord)
{
    const struct rdzv *rdzv = &coord->rdzv;
    if (coord->decisions_told == rdzv->decision_count)
        return;
    coord->decisions_told = rdzv->decision_count;
    if (rdzv->decision.again)
        log_line(LOG_WARN, "restarting all ranks",
                 " restart=%u of=%u lived_s=%.1f in_s=%.1f why=\"%s\"", rdzv->restart.used,
                 rdzv->config.max_restarts, (double)rdzv->life.life_ns / MST_NS_PER_S,
                 (double)rdzv->decision.pause_ns / MST_NS_PER_S,
                 restart_reason(rdzv->decision.why));
}

/* A job that ends by a failure says which, and why there is no further try. */
static void announce_end(const struct coord *coord, const struct msg *msg)
{
    const struct rdzv *rdzv = &coord->rdzv;
    char what[64];
    if (msg->code == EXITCODE_OK || msg->code == EXITCODE_DRAINED)
        return;
    if (msg->code != EXITCODE_RENDEZVOUS && rdzv->life.verdict)
        log_line(LOG_ERROR, "a restart cannot help", " rank=%u met=\"%s\" exit=%u",
                 rdzv->verdict_rank, mst_err_meaning((int)rdzv->life.verdict), msg->code);
    else
        log_line(LOG_ERROR,
                 msg->code == EXITCODE_RENDEZVOUS ? "nodes are missing"
                                                  : restart_reason(rdzv->decision.why),
                 " restarts=%u of=%u because=\"%s\"", rdzv->restart.used, rdzv->config.max_restarts,
                 exitcode_describe((int)msg->code, what, sizeof what));
}

static void deliver(struct coord *coord, struct outgoing *outgoing)
{
    struct msg *msg = &outgoing->msg;
    if (msg->type == MSG_END)
        announce_end(coord, msg);
    if (msg->type == MSG_START) {
        kv_server_set_generation(coord->server, msg->generation);
        msg->master_port = pick_port();
    }
    uint8_t payload[MSG_BYTES_MAX];
    int size = msg_encode(msg, payload, sizeof payload);
    assert(size >= 0);
    for (uint32_t i = 0; i < coord->rdzv.config.node_count; i++) {
        bool meant = outgoing->node == RDZV_ALL || outgoing->node == i;
        if (meant && coord->connected[i]) /* one that is gone is reported by on_lost */
            (void)kv_server_send(coord->server, coord->peers[i], (uint8_t)msg->type, payload,
                                 (size_t)size);
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
    if (coord->rdzv.state != RDZV_GATHERING || now_ns < coord->report_ns)
        return;
    coord->report_ns = now_ns + WAIT_REPORT_NS;
    char missing[256] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < coord->rdzv.config.node_count && used < sizeof missing - 8; i++) {
        if (coord->nodes[i].phase == RDZV_ABSENT)
            used += (size_t)snprintf(missing + used, sizeof missing - used, "%s%u", used ? "," : "",
                                     i);
    }
    if (used)
        log_line(LOG_INFO, "waiting for nodes", " missing=%s of=%u port=%u", missing,
                 coord->rdzv.config.node_count, coord->port);
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static int open_server(struct coord *coord, const struct opts *opts, uint64_t nonce,
                       struct mst_err *err)
{
    /* Behind a service or NAT, the name that others dial is no address of this machine. */
    const char *host = mst_host_is_local(opts->rdzv_host) ? opts->rdzv_host : "";
    int fd = mst_sock_listen(host, opts->rdzv_port, &coord->port, err);
    if (fd < 0)
        return fd;
    const struct kv_server_config config = {
        .listen_fd = fd,
        .secret = opts->secret,
        .secret_bytes = opts->secret_bytes,
        .job_id = opts->job_id,
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
    int rc = kv_server_attach(coord->server, fds[0], &coord->peers[0]);
    if (rc) {
        close(fds[0]);
        close(fds[1]);
        return mst_err_set(err, rc, "no memory for the agent's own connection");
    }
    coord->connected[0] = true;
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
                                 .max_restarts = opts->max_restarts,
                                 .timeout_ns = opts->rdzv_timeout_ms * MST_NS_PER_MS,
                                 .job_nonce = nonce,
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
    coord->nodes = calloc(opts->node_count, sizeof *coord->nodes);
    coord->answered = calloc(opts->node_count, sizeof *coord->answered);
    coord->peers = calloc(opts->node_count, sizeof *coord->peers);
    coord->connected = calloc(opts->node_count, sizeof *coord->connected);
    uint64_t nonce;
    int rc = draw_nonce(&nonce, err);
    if (!coord->nodes || !coord->answered || !coord->peers || !coord->connected)
        rc = mst_err_set(err, -ENOMEM, "no memory for %u nodes", opts->node_count);
    if (rc == 0)
        rc = open_server(coord, opts, nonce, err);
    if (rc == 0) {
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
    while (coord->first) {
        struct outgoing *next = coord->first->next;
        free(coord->first);
        coord->first = next;
    }
    free(coord->nodes);
    free(coord->answered);
    free(coord->peers);
    free(coord->connected);
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
    deliver_all(coord);
    report_missing(coord);
}

uint32_t coord_peer_count(const struct coord *coord)
{
    uint32_t count = 0;
    for (uint32_t i = 1; i < coord->rdzv.config.node_count; i++)
        count += coord->connected[i];
    return count;
}
