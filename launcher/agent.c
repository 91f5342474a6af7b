/* The life of an agent:
 *
 *   set up      signals into a descriptor, the secret into a sealed memory file, output, status
 *   connect     node 0 makes the coordinator and talks to it over a socket pair; the others dial it
 *               until the rendezvous deadline
 *   run         JOIN, and then one poll loop, in which whatever is ready is handed to the node
 *               (node.c: what a generation is), until the node says that the job is over
 *   farewell    ranks and strays are gone; node 0 waits until the others have heard the end
 *   take down   in the opposite order
 *
 * All of it is one thread. Those that make the ranks (spawn.c) must outlive them, as it does. */
#include "muster/launcher/agent.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/file.h"
#include "muster/launcher/cause.h"
#include "muster/launcher/coord.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/guard.h"
#include "muster/launcher/inherited.h"
#include "muster/launcher/link.h"
#include "muster/launcher/log.h"
#include "muster/launcher/node.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/outlog.h"
#include "muster/launcher/signals.h"
#include "muster/launcher/status.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define TICK_MS 100       /* the coordinator's clock */
#define DIAL_REPORT_S 10  /* how often a node says what it waits for */
#define DIAL_PAUSE_MS 100 /* between tries that fail at once */
#define FLUSH_MS 60000    /* for those who read its output, as long as they do */

enum source {
    SOURCE_SIGNAL,
    SOURCE_LINK,
    SOURCE_COORD,
    SOURCE_STATUS,
    SOURCE_OUTLOG,
    SOURCE_RANKS,
    SOURCE_LOOK,
    SOURCE_PMI
};

struct agent {
    const struct opts *opts;
    int epoll_fd, signal_fd, secret_fd;
    int look_fd; /* of the node's look for MPI that is in the set, or -1 */
    struct signals signals;
    struct guard guard;
    uint64_t flush_ns; /* how long the end waits for those who read, once it has come */
    struct outlog *outlog;
    struct status *status; /* NULL: refused */
    struct coord *coord;   /* node 0 only */
    struct link link;
    struct node node;
};

/* ---- setting up ------------------------------------------------------------------------------ */

static int watch(struct agent *agent, int fd, enum source source, struct mst_err *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = source};
    if (epoll_ctl(agent->epoll_fd, EPOLL_CTL_ADD, fd, &event))
        return mst_err_set(err, -errno, "epoll_ctl: %s", mst_err_meaning(errno));
    return 0;
}

static int open_signals(struct agent *agent, struct mst_err *err)
{
    sigset_t all;
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL); /* fails for a wrong first argument only */
    agent->signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (agent->signal_fd < 0)
        return mst_err_set(err, -errno, "signalfd: %s", mst_err_meaning(errno));
    return watch(agent, agent->signal_fd, SOURCE_SIGNAL, err);
}

/* The ranks of PID 1 need none. Nor is a job refused that would only leave more behind. Before the
 * limit of descriptors is raised, as old kernels have the guard close them one by one. */
static void open_guard(struct agent *agent)
{
    struct mst_err why = {0};
    if (getpid() != 1 && guard_open(&agent->guard, &why))
        log_line(LOG_WARN, "should this agent be killed, processes that ranks started may stay",
                 " because=%s", log_quote(why.text).text);
}

/* The ranks inherit a sealed copy: the environment is what `ps e` shows. */
static int open_secret(struct agent *agent, struct mst_err *err)
{
    const struct opts *opts = agent->opts;
    agent->secret_fd = memfd_create("muster-secret", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (agent->secret_fd < 0 ||
        pwrite(agent->secret_fd, opts->secret, opts->secret_bytes, 0) != opts->secret_bytes ||
        fcntl(agent->secret_fd, F_ADD_SEALS,
              F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
        return mst_err_set(err, -errno, "memory file of the job secret: %s",
                           mst_err_meaning(errno));
    return 0;
}

/* ---- what is ready --------------------------------------------------------------------------- */

/* Handles one signal, after the ranks' own business. */
static void on_signal(struct agent *agent, int number)
{
    struct node *node = &agent->node;
    switch (signals_take(&agent->signals, number, mst_now_ns())) {
    case SIGNALS_NOTHING: return;
    case SIGNALS_REAP: node_reap_orphans(node); return;
    case SIGNALS_DRAIN: node_drain(node); return;
    case SIGNALS_HURRY: node_hurry(node); return;
    case SIGNALS_CHECKPOINT: node_checkpoint(node); return;
    case SIGNALS_REPORT: ranks_report(&node->ranks, "rank"); return;
    case SIGNALS_HAND_ON:
        if (node->ranks.page)
            ranks_signal(&node->ranks, number);
        return;
    }
}

static void read_signals(struct agent *agent)
{
    struct signalfd_siginfo info;
    while (read(agent->signal_fd, &info, sizeof info) == sizeof info)
        on_signal(agent, (int)info.ssi_signo);
}

static void read_link(struct agent *agent)
{
    struct msg msg;
    link_run(&agent->link);
    while (link_next(&agent->link, &msg))
        node_message(&agent->node, &msg);
}

static void dispatch(struct agent *agent, enum source source)
{
    switch (source) {
    case SOURCE_SIGNAL: read_signals(agent); return;
    case SOURCE_LINK: read_link(agent); return;
    case SOURCE_COORD:
    case SOURCE_OUTLOG: return; /* run_once runs them every time */
    case SOURCE_STATUS: status_run(agent->status, &agent->node); return;
    case SOURCE_RANKS: node_reap(&agent->node); return;
    case SOURCE_LOOK: node_read_look(&agent->node); return;
    case SOURCE_PMI: node_read_pmi(&agent->node); return;
    }
}

static int wait_ms(const struct agent *agent)
{
    int left_ms = mst_deadline_left_ms(node_wake_ns(&agent->node));
    int link_ms = mst_deadline_left_ms(link_wake_ns(&agent->link));
    int output_ms = mst_deadline_left_ms(outlog_wake_ns(agent->outlog));
    if (left_ms < 0 || (link_ms >= 0 && link_ms < left_ms))
        left_ms = link_ms;
    if (left_ms < 0 || (output_ms >= 0 && output_ms < left_ms))
        left_ms = output_ms;
    bool ticks = agent->coord != NULL;
    return ticks && (left_ms < 0 || left_ms > TICK_MS) ? TICK_MS : left_ms;
}

/* It leaves the set by itself when the node closes it. */
static void watch_look(struct agent *agent)
{
    int fd = agent->node.mpi.fd;
    if (fd == agent->look_fd)
        return;
    struct mst_err err;
    agent->look_fd = fd;
    if (fd >= 0 && watch(agent, fd, SOURCE_LOOK, &err))
        mpi_watch_fini(&agent->node.mpi); /* no look, then */
}

static void watch_pmi(struct agent *agent)
{
    struct pmi *pmi = &agent->node.ranks.pmi;
    struct mst_err err;
    if (pmi->fd < 0 || pmi->watched)
        return;
    pmi->watched = true;
    if (watch(agent, pmi->fd, SOURCE_PMI, &err))
        log_line(LOG_WARN, "a failure of PMI would not be told", " because=%s",
                 log_quote(err.text).text);
}

static void run_once(struct agent *agent)
{
    struct epoll_event events[16];
    int count = epoll_wait(agent->epoll_fd, events, 16, wait_ms(agent));
    for (int i = 0; i < count; i++)
        dispatch(agent, (enum source)events[i].data.u32);
    node_tick(&agent->node, mst_now_ns());
    watch_look(agent);
    watch_pmi(agent);
    if (agent->coord)
        coord_run(agent->coord);
    link_tick(&agent->link, mst_now_ns());
    if (agent->link.broken)
        node_link_lost(&agent->node);
    outlog_run(agent->outlog);
}

/* ---- meeting node 0 -------------------------------------------------------------------------- */

/* Looks at the signals that came while the agent was not in its loop. True if it has to go. */
static bool told_to_stop(struct agent *agent)
{
    struct signalfd_siginfo info;
    while (read(agent->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGUSR1)
            log_line(LOG_WARN, "no checkpoint: node 0 is not reached yet", NULL);
        if (info.ssi_signo != SIGTERM && info.ssi_signo != SIGINT)
            continue;
        log_line(LOG_WARN, "told to stop before node 0 was reached", " signal=%u", info.ssi_signo);
        return true;
    }
    return false;
}

static void write_cause(int64_t rank, const char *what, const char *last_words)
{
    if (cause_write(CAUSE_PATH, rank, what, last_words))
        log_line(LOG_WARN, "cannot write " CAUSE_PATH, NULL);
}

static void cannot_join(const struct opts *opts, uint16_t port, const char *why)
{
    char rdzv[OPTS_HOST_BYTES + 16], cause[CAUSE_BYTES_MAX / 4];
    (void)mst_sock_join(opts->rdzv_host, port, rdzv, sizeof rdzv); /* it fits */
    log_line(LOG_ERROR, "cannot join node 0", " rdzv=%s because=%s", log_quote(rdzv).text,
             log_quote(why).text);
    snprintf(cause, sizeof cause, "cannot join node 0 at %s: %s", rdzv, why); /* may be cut */
    write_cause(-1, cause, "");
}

/* Looks behind every door once. 0 and *ret_port; -EAGAIN, also if stop_fd is readable; -EACCES,
 * -EPROTO: one where another job, or another program, is. The text is of the last; a try that was
 * cut short says less than that of a pass before. */
static int dial_ports(struct agent *agent, int stop_fd, uint64_t deadline_ns, uint16_t *ret_port,
                      struct mst_err *err)
{
    const struct opts *opts = agent->opts;
    struct mst_err refusal = {0};
    int rc = -EAGAIN;
    for (uint32_t i = 0; i < opts->rdzv_port_count; i++) {
        struct mst_err now = {0};
        *ret_port = opts->rdzv_ports[i];
        rc = link_dial(&agent->link, opts, *ret_port, stop_fd, deadline_ns, &now);
        bool is_cut = rc == -EINTR || rc == -ETIMEDOUT;
        if (rc && (!is_cut || !err->text[0]))
            *err = now;
        if (rc == 0 || is_cut)
            return rc ? -EAGAIN : 0;
        if (rc != -EAGAIN)
            refusal = now;
    }
    if (refusal.code)
        *err = refusal;
    return refusal.code ? refusal.code : rc;
}

/* Dials node 0 until it answers, on the port that is told by *ret_port. 0, or the exit code to
 * leave with. Who refuses us on a port that somebody named is meant; on one of several it may be
 * another job, and ours is still to come. */
static int dial_until(struct agent *agent, int stop_fd, uint16_t *ret_port)
{
    const struct opts *opts = agent->opts;
    uint64_t deadline_ns = mst_deadline_ms(opts->rdzv_timeout_ms);
    bool ends_first = opts->end_ns > 0 && opts->end_ns < deadline_ns;
    if (ends_first)
        deadline_ns = opts->end_ns;
    uint64_t report_ns = mst_now_ns() + DIAL_REPORT_S * MST_NS_PER_S;
    bool refusal_told = false;
    struct mst_err err = {0};
    for (;;) {
        int rc = dial_ports(agent, stop_fd, deadline_ns, ret_port, &err);
        if (!rc)
            return 0;
        if (told_to_stop(agent))
            return EXITCODE_DRAINED;
        bool is_final = rc != -EAGAIN && opts->rdzv_port_count == 1;
        if (is_final || mst_deadline_passed(deadline_ns)) {
            cannot_join(opts, *ret_port, err.text);
            return rc != -EAGAIN ? EXITCODE_CONFIG
                   : ends_first  ? EXITCODE_DEADLINE
                                 : EXITCODE_RENDEZVOUS;
        }
        bool refused = rc != -EAGAIN && !refusal_told;
        if (refused || mst_deadline_passed(report_ns)) {
            log_line(refused ? LOG_WARN : LOG_INFO, "waiting for node 0", " left_s=%d because=%s",
                     mst_deadline_left_ms(deadline_ns) / 1000, log_quote(err.text).text);
            report_ns = mst_now_ns() + DIAL_REPORT_S * MST_NS_PER_S;
            refusal_told = refusal_told || refused;
        }
        struct pollfd signals = {.fd = agent->signal_fd, .events = POLLIN};
        (void)poll(&signals, 1, DIAL_PAUSE_MS); /* ready, late or failed: the next try */
    }
}

/* A try ends by these signals, which told_to_stop is left to read. */
static int dial(struct agent *agent, uint16_t *ret_port)
{
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    int stop_fd = signalfd(-1, &stops, SFD_CLOEXEC); /* -1: they are heard between tries */
    int rc = dial_until(agent, stop_fd, ret_port);
    mst_file_close(&stop_fd);
    return rc;
}

/* What cannot be set up for want of descriptors or memory is no fault of the configuration. */
static int exit_code_of(const struct mst_err *err)
{
    bool is_short = err->code == -EMFILE || err->code == -ENFILE || err->code == -ENOMEM;
    return is_short ? EXITCODE_INTERNAL : EXITCODE_CONFIG;
}

/* Node 0 makes its coordinator, the others look for it. 0, or the exit code to leave with. */
static int connect_to_coordinator(struct agent *agent)
{
    struct mst_err err = {0};
    uint16_t port = 0;
    if (agent->opts->node_rank > 0) {
        int rc = dial(agent, &port);
        if (rc)
            return rc;
    } else {
        int fd;
        if (coord_create(agent->opts, &agent->coord, &fd, &err) ||
            watch(agent, coord_fd(agent->coord), SOURCE_COORD, &err) ||
            link_init(&agent->link, fd, &err)) {
            log_line(LOG_ERROR, err.text, NULL);
            return exit_code_of(&err);
        }
        port = coord_port(agent->coord);
    }
    const struct node_config config = {.opts = agent->opts,
                                       .link = &agent->link,
                                       .outlog = agent->outlog,
                                       .secret_fd = agent->secret_fd,
                                       .guard = &agent->guard,
                                       .kv_port = port};
    if (node_init(&agent->node, &config, &err) ||
        watch(agent, link_fd(&agent->link), SOURCE_LINK, &err) ||
        watch(agent, agent->node.ranks.death_fd, SOURCE_RANKS, &err)) {
        log_line(LOG_ERROR, err.text, NULL);
        return EXITCODE_INTERNAL;
    }
    return EXITCODE_OK;
}

static int open_output(struct agent *agent, struct mst_err *err)
{
    const struct opts *opts = agent->opts;
    const struct outlog_config config = {.out_fd = STDOUT_FILENO,
                                         .err_fd = STDERR_FILENO,
                                         .log_dir = opts->log_dir,
                                         .job_id = opts->job_id,
                                         .prefix = opts->prefix,
                                         .mode = opts->output,
                                         .json = opts->log_format == LOG_JSON,
                                         .node = opts->node_rank};
    int rc = outlog_create(&config, &agent->outlog, err);
    if (rc)
        return rc;
    log_to(outlog_sink(agent->outlog));
    if (outlog_folder(agent->outlog))
        log_line(LOG_INFO, "output of ranks is kept", " folder=%s",
                 log_quote(outlog_folder(agent->outlog)).text);
    return watch(agent, outlog_fd(agent->outlog), SOURCE_OUTLOG, err);
}

static int set_up(struct agent *agent, struct mst_err *err)
{
    log_who("agent", agent->opts->node_rank, 0);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* refused only by kernels before 3.4 */
    agent->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (agent->epoll_fd < 0)
        return mst_err_set(err, -errno, "epoll_create1: %s", mst_err_meaning(errno));
    int rc = open_signals(agent, err);
    if (rc == 0) {
        open_guard(agent);
        inherited_raise_fd_limit();
        rc = open_secret(agent, err);
    }
    if (rc == 0)
        rc = open_output(agent, err);
    if (rc)
        return rc;
    struct mst_err why = {0};
    if (status_create(&agent->status, &why)) {
        log_line(LOG_WARN, "muster status will not see this agent", " because=%s",
                 log_quote(why.text).text);
        return 0;
    }
    return watch(agent, status_fd(agent->status), SOURCE_STATUS, err);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Who reads has two seconds for what is left, but never more than the grace. */
static uint64_t flush_deadline_ns(struct agent *agent)
{
    if (agent->flush_ns == 0)
        agent->flush_ns = mst_deadline_ms(FLUSH_MS);
    return agent->node.grace_hard_ns > 0 && agent->node.grace_hard_ns < agent->flush_ns
               ? agent->node.grace_hard_ns
               : agent->flush_ns;
}

static void take_down(struct agent *agent)
{
    link_fini(&agent->link);
    coord_destroy(agent->coord);
    status_destroy(agent->status);
    if (agent->outlog)
        outlog_drain(agent->outlog, flush_deadline_ns(agent));
    log_to(NULL);
    outlog_destroy(agent->outlog);
    mst_file_close(&agent->secret_fd);
    mst_file_close(&agent->signal_fd);
    mst_file_close(&agent->epoll_fd);
    guard_close(&agent->guard);
}

/* Node 0 stays until the others have heard the end, be it over a new connection; whoever is given
 * up meanwhile is not waited for, and no longer than the grace allows. */
static void say_farewell(struct agent *agent)
{
    uint64_t deadline_ns = agent->node.grace_hard_ns;
    while (agent->coord && !coord_all_heard(agent->coord) && !mst_deadline_passed(deadline_ns)) {
        struct pollfd ready = {.fd = coord_fd(agent->coord), .events = POLLIN};
        (void)poll(&ready, 1, TICK_MS); /* coord_run looks for itself */
        coord_run(agent->coord);
    }
}

/* The last that the rank said for which the job ends, below what others said since. */
static void tell_last_words(uint32_t rank, const char *words)
{
    for (size_t length; *words; words += length + 1) {
        char line[LOG_QUOTED_MAX];
        length = strcspn(words, "\n");
        snprintf(line, sizeof line, "%.*s", (int)length, words); /* may be cut */
        log_line(LOG_ERROR, "last words", " of_rank=%u line=%s", rank, log_quote(line).text);
    }
}

/* What whoever started the job is told, of a code of ours. */
static int tell(const struct agent *agent, enum exitcode_end end, int code)
{
    int told = exitcode_in(agent->opts->profile, end, code);
    if (told != code)
        log_line(LOG_INFO, "another exit code is told to whom the profile is of",
                 " profile=%s own=%d exit=%d", exitcode_profiles[agent->opts->profile], code, told);
    return told;
}

static void report_end(struct agent *agent)
{
    char what[MSG_TEXT_BYTES + HUNG_TEXT_BYTES];
    const struct node *node = &agent->node;
    bool has_cause = node->exit_code && node->cause_rank != MST_PAGE_CAUSE_JOB;
    const char *words = has_cause ? outlog_last_words(agent->outlog, node->cause_rank) : "";
    outlog_drain(agent->outlog, flush_deadline_ns(agent)); /* all that ranks said stands above */
    tell_last_words(node->cause_rank, words);
    snprintf(what, sizeof what, "%s", node->end_text);
    if (!what[0])
        exitcode_describe(node->exit_code, what, sizeof what);
    if (node->hung.text[0])
        snprintf(what + strlen(what), sizeof what - strlen(what), "; %s", node->hung.text);
    log_line(node->exit_code ? LOG_WARN : LOG_INFO, "job over", " exit=%d what=%s", node->exit_code,
             log_quote(what).text);
    if (node->exit_code)
        write_cause(has_cause ? (int64_t)node->cause_rank : -1, what, words);
}

static int run_job(struct agent *agent)
{
    struct node *node = &agent->node;
    node_join(node);
    while (!node->over)
        run_once(agent);
    node_fini(node);
    guard_dismiss(&agent->guard); /* none of our processes is left */
    say_farewell(agent);
    report_end(agent);
    return tell(agent, node->end_told ? node->end : exitcode_end_of(node->exit_code),
                node->exit_code);
}

int agent_run(const struct opts *opts)
{
    struct mst_err err = {0};
    struct agent agent = {.opts = opts,
                          .epoll_fd = -1,
                          .look_fd = -1,
                          .signal_fd = -1,
                          .secret_fd = -1,
                          .guard = {.fd = -1},
                          .link = {.epoll_fd = -1, .stream = {.fd = -1}, .dial_fd = -1}};
    int rc = set_up(&agent, &err) ? exit_code_of(&err) : EXITCODE_OK;
    if (rc)
        log_line(LOG_ERROR, err.text, NULL);
    else
        rc = connect_to_coordinator(&agent);
    rc = rc == EXITCODE_OK ? run_job(&agent) : tell(&agent, exitcode_end_of(rc), rc);
    take_down(&agent);
    return rc;
}
