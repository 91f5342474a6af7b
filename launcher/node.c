/* The life of a node's membership:
 *
 *   JOIN           "I am here, with so many ranks"; then the node is idle and waits
 *   START(g)       a page, a segment and a process per rank: generation g runs
 *   a rank dies    FAILED to the coordinator, and the abort word for the ranks that are left
 *   ABORT(g)       somebody's rank died: the abort word; ranks leave by themselves (1.5 s), then by
 *                  SIGTERM (2 s), then by SIGKILL, twice (5 s each), and then without them
 *   DOWN(g)        no rank is left, strays are dead, output is written: idle until START(g + 1)
 *   DONE(g)        every rank finished: the node waits for the others, and for END
 *   END            the job is over, and so is this node once no rank is left
 *
 * A drain goes on beside that: the coordinator asks for steps, proposes one, and the gate of the
 * page stops the ranks there (drain.h); grace_soft_ns and grace_hard_ns see to it that it ends.
 * A lost link is an END of its own. Which event does what in which state says super.c; here is
 * how. */
#include "muster/launcher/node.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/version.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/link.h"
#include "muster/launcher/log.h"
#include "muster/launcher/node_own.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/outlog.h"
#include "muster/launcher/rankenv.h"
#include "muster/launcher/strays.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEAVE_MS 1500 /* ranks see the abort word within their waits' polling */
#define TERM_MS 2000
#define KILL_MS 5000
#define STRAYS_MS 2000
#define CLEAR_MS 2000

/* ---- beginning and end ----------------------------------------------------------------------- */

int node_init(struct node *node, const struct node_config *config, struct mst_err *err)
{
    const struct opts *opts = config->opts;
    *node = (struct node){.opts = opts,
                          .link = config->link,
                          .outlog = config->outlog,
                          .secret_fd = config->secret_fd,
                          .kv_port = config->kv_port,
                          .index = opts->node_rank,
                          .mpi = {.fd = -1, .wake_ns = MST_NEVER},
                          .oom = {.root = ""},
                          .patience_ns = MST_NEVER,
                          .grace_soft_ns = MST_NEVER,
                          .grace_hard_ns = MST_NEVER,
                          .stop_step = MST_PAGE_NO_STEP,
                          .lost_step = MST_PAGE_NO_STEP,
                          .cause_rank = MST_PAGE_CAUSE_JOB};
    (void)mst_sock_join(opts->rdzv_host, config->kv_port, node->kv_addr,
                        sizeof node->kv_addr); /* it fits */
    deaths_init(&node->deaths, NULL);
    hung_init(&node->hung);
    return ranks_init(&node->ranks, config->guard, err);
}

static void kill_strays(const struct node *node)
{
    const pid_t spared[] = {node->link->dial_pid, node->mpi.pid, node->ranks.pmi.pid,
                            node->ranks.pmi.pmix.tidy_pid};
    strays_kill(&node->ranks, spared, sizeof spared / sizeof *spared, mst_deadline_ms(STRAYS_MS));
}

void node_fini(struct node *node)
{
    if (node->ranks.page && node->ranks.alive > 0)
        ranks_signal(&node->ranks, SIGKILL);
    pmi_end(&node->ranks.pmi);
    kill_strays(node);
    ranks_abandon(&node->ranks);
    outlog_finish_ranks(node->outlog);
    mpi_watch_fini(&node->mpi);
    if (getpid() == 1) /* its end is that of all */
        pmi_await(&node->ranks.pmi, mst_deadline_ms(CLEAR_MS));
    ranks_fini(&node->ranks);
    free(node->deaths_memory);
}

/* A host is called by what DNS allows; another name than that is none. */
static void name_host(char *host, size_t cap)
{
    char name[256];
    if (gethostname(name, sizeof name) || !memchr(name, '\0', sizeof name))
        name[0] = '\0';
    size_t size = strspn(name, MST_NAME_LETTERS);
    snprintf(host, cap, "%.*s", (int)size, name);
}

void node_join(struct node *node)
{
    struct msg join = {.type = MSG_JOIN,
                       .local_size = node->opts->local_size,
                       .node_count = node->opts->node_count,
                       .grace_ms = node->opts->grace_ms,
                       .world_size = node->opts->world_size};
    snprintf(join.version, sizeof join.version, "%s", mst_version());
    name_host(join.host, sizeof join.host);
    link_send(node->link, &join);
}

/* ---- a generation ---------------------------------------------------------------------------- */

void node_send(struct node *node, struct msg msg)
{
    msg.generation = node->start.generation;
    link_send(node->link, &msg);
}

void node_remember_failure(struct node *node, uint32_t rank, int code, const struct why *why)
{
    if (node->failed)
        return;
    node->failed = true;
    node->failed_rank = rank;
    node->failed_code = (uint32_t)code & 255;
    node->failed_why = why ? *why : (struct why){.end = 0};
}

static void fill_facts(const struct node *node, struct rankenv_facts *facts)
{
    const struct msg *start = &node->start;
    *facts = (struct rankenv_facts){.rank = start->rank, /* the first of this node */
                                    .world_size = start->world_size,
                                    .local_size = start->local_size,
                                    .node = node->index,
                                    .node_count = start->node_count,
                                    .generation = start->generation,
                                    .max_restarts = start->max_restarts,
                                    .kv_addr = node->kv_addr,
                                    .master_host = node->opts->rdzv_host,
                                    .master_port = start->master_port,
                                    .job_id = start->job_id,
                                    .job_nonce = start->job_nonce,
                                    .secret_fd = node->secret_fd,
                                    .take_root = node->opts->take_root,
                                    .is_beside = node->opts->is_beside};
}

static int make_room_for_deaths(struct node *node, uint32_t local_size, struct mst_err *err)
{
    free(node->deaths_memory);
    node->deaths_memory = calloc(local_size, sizeof *node->deaths_memory);
    deaths_init(&node->deaths, node->deaths_memory);
    return node->deaths_memory ? 0
                               : mst_err_set(err, -ENOMEM, "no memory for %u ranks", local_size);
}

static void spawn(struct node *node)
{
    struct rankenv_facts facts;
    struct mst_err err = {0};
    fill_facts(node, &facts);
    ranks_close(&node->ranks);
    node->failed = false;
    outlog_hurry(node->outlog, node->stopping);
    node->drained = node->forwarded = false;
    node->stop_step = node->lost_step = MST_PAGE_NO_STEP;
    node->told_lost = false;
    int rc = ranks_open(&node->ranks, facts.rank, facts.local_size, &err);
    late_init(&node->late, mst_now_ns());
    oom_forget(&node->oom);
    hung_init(&node->hung);
    if (!rc)
        rc = make_room_for_deaths(node, facts.local_size, &err);
    if (!rc)
        rc = ranks_spawn(&node->ranks, node->opts, &facts, node->outlog, &err);
    if (!rc) {
        if (node->oom.place_count == 0) /* the start of ranks does not wait for it */
            oom_init(&node->oom, "");
        log_line(LOG_INFO, "generation started", " world=%u nodes=%u first_rank=%u ranks=%u",
                 facts.world_size, facts.node_count, facts.rank, facts.local_size);
        node_watch_mpi(node, mst_now_ns());
        return;
    }
    log_line(LOG_ERROR, err.text, NULL);
    node_remember_failure(node, facts.rank + node->ranks.alive, exitcode_of_exec(-rc), NULL);
    node_feed(node, node->ranks.alive ? SUPER_RANK_BAD : SUPER_LAST_BAD);
}

/* The job's, which every node can keep, once it is known. */
static uint32_t grace_of(const struct node *node)
{
    return node->start.grace_ms ? node->start.grace_ms : node->opts->grace_ms;
}

static uint64_t patience_of(const struct node *node)
{
    uint64_t term_ms = grace_of(node) / 10;
    switch (node->super.state) {
    case SUPER_LEAVING: return mst_deadline_ms(LEAVE_MS);
    case SUPER_TERMINATING:
        return mst_deadline_ms(node->stopping && term_ms < TERM_MS ? term_ms : TERM_MS);
    case SUPER_KILLING:
    case SUPER_STUCK: return mst_deadline_ms(KILL_MS);
    default: return MST_NEVER;
    }
}

static void clear_up(struct node *node)
{
    assert(node->ranks.alive == 0);
    kill_strays(node);
    outlog_finish_ranks(node->outlog);
}

static void tell_failed(struct node *node)
{
    struct msg msg = {.type = MSG_FAILED,
                      .rank = node->failed_rank,
                      .code = node->failed_code,
                      .end = node->failed_why.end};
    memcpy(msg.text, node->failed_why.text, sizeof msg.text);
    node_send(node, msg);
}

static void tell_down(struct node *node)
{
    pmi_end(&node->ranks.pmi);
    clear_up(node);
    uint64_t lowest;
    struct msg msg = {.type = MSG_DOWN, .rank = MST_PAGE_CAUSE_JOB, .step = MST_PAGE_NO_STEP};
    if (node->ranks.page) {
        ranks_steps(&node->ranks, &msg.step, &lowest);
        msg.verdict = ranks_verdict(&node->ranks, &msg.rank);
    }
    node_send(node, msg);
}

/* The ranks of other nodes go on, and by PMI hear of these. */
static void tell_done(struct node *node)
{
    clear_up(node);
    bool is_lost = node->lost_step != MST_PAGE_NO_STEP;
    if (is_lost)
        log_line(LOG_ERROR,
                 "the last checkpoint was abandoned: the one before it is the last on disk",
                 " lost_step=%llu", (unsigned long long)node->lost_step);
    uint32_t code = node->drained                                 ? EXITCODE_DRAINED
                    : is_lost && !node->opts->ignores_save_errors ? EXITCODE_SAVE_LOST
                                                                  : EXITCODE_OK;
    node_send(node, (struct msg){.type = MSG_DONE, .code = code});
}

static void set_abort_word(struct node *node)
{
    outlog_hurry(node->outlog, true);
    if (node->ranks.page)
        mst_page_abort(node->ranks.page, node->failed ? node->failed_rank : node->cause_rank);
}

/* Such a rank is in the kernel: a file server or a device that does not answer. */
static void abandon(struct node *node)
{
    ranks_report(&node->ranks, "a rank that SIGKILL does not end is left to the kernel");
    ranks_abandon(&node->ranks);
    deaths_init(&node->deaths, node->deaths_memory);
}

void node_feed(struct node *node, enum super_event event)
{
    unsigned actions = super_step(&node->super, event);
    if (actions & SUPER_DO_ARM)
        node->patience_ns = patience_of(node);
    if (actions & SUPER_DO_FAILED)
        tell_failed(node);
    if (actions & SUPER_DO_ABORT_WORD)
        set_abort_word(node);
    if (actions & SUPER_DO_TERM)
        ranks_signal(&node->ranks, SIGTERM);
    if (actions & SUPER_DO_KILL)
        ranks_signal(&node->ranks, SIGKILL);
    if (actions & SUPER_DO_ABANDON)
        abandon(node);
    if (actions & SUPER_DO_DOWN)
        tell_down(node);
    if (actions & SUPER_DO_DONE)
        tell_done(node);
    if (actions & SUPER_DO_QUIT)
        node->over = true;
    if (actions & SUPER_DO_SPAWN) /* last: a program that is missing is an event of its own */
        spawn(node);
    assert(node->ranks.alive == 0 || super_has_ranks(node->super.state));
}

/* ---- deaths ---------------------------------------------------------------------------------- */

bool node_is_draining(const struct node *node)
{
    return node->forwarded || node->stop_step != MST_PAGE_NO_STEP;
}

static bool reached_stop(const struct node *node, uint32_t local_rank)
{
    uint64_t reached = atomic_load(&mst_page_slot(node->ranks.page, local_rank)->step);
    return reached != MST_PAGE_NO_STEP && reached >= node->stop_step;
}

/* A rank that leaves with 0 before the agreed step had finished its work anyway; one that SIGTERM
 * killed before it keeps the others from ever getting there. */
static bool left_for_drain(const struct node *node, uint32_t local_rank)
{
    return node_is_draining(node) && (node->forwarded || reached_stop(node, local_rank));
}

/* The first program of a rank shuts its connection down for all who have it: the second one's first
 * word is a SIGPIPE. */
static bool is_second_mpi(const struct node *node, const struct rank_death *death)
{
    return node->opts->mpi == OPTS_MPI_PMI1 && death->code == 128 + SIGPIPE;
}

static void report_death(const struct node *node, uint32_t rank, const struct rank_death *death,
                         const char *why)
{
    const char *next = node->stopping && death->code == EXITCODE_DRAINED
                           ? "stop all ranks, exit as drained; with --term agent ranks live on "
                             "until the agreed step"
                       : node->stopping ? "stop all ranks, exit as drained"
                       : is_second_mpi(node, death)
                           ? "stop all ranks; if that was a second program of MPI behind the first "
                             "in one script, give each a muster run of its own"
                           : "stop all ranks";
    log_line(LOG_ERROR, "rank died", " died=%u pid=%d what=%s next=\"%s\"", rank, (int)death->pid,
             log_quote(why).text, next);
}

/* A rank that the agent killed in a drain, as it would not have heard SIGTERM, ends as from it. */
static int code_of(const struct rank_death *death)
{
    return death->ended ? EXITCODE_DRAINED : death->code;
}

/* What ckpt wrote into the rank's line lives as long as the page. */
static void remember_lost_save(struct node *node, uint32_t local_rank)
{
    /* Relaxed: the rank has ended, which orders all that it wrote. */
    uint64_t step = atomic_load_explicit(&mst_page_slot(node->ranks.page, local_rank)->lost_step,
                                         memory_order_relaxed);
    if (step != MST_PAGE_NO_STEP)
        node->lost_step = step;
}

static void judge(struct node *node, const struct rank_death *death)
{
    int code = code_of(death);
    uint32_t rank = node->ranks.first_rank + death->local_rank;
    bool drained = left_for_drain(node, death->local_rank);
    bool ok = code == 0 || (drained && code == EXITCODE_DRAINED);
    if (ok)
        remember_lost_save(node, death->local_rank);
    if (ok && drained)
        node->drained = true;
    if (!ok && node->super.state == SUPER_RUNNING) {
        struct why why;
        why_of_death(&node->oom, &node->ranks, death, mst_now_ns(), &why);
        report_death(node, rank, death, why.text);
        if (!node->failed)
            outlog_remember(node->outlog, rank);
        node_remember_failure(node, rank, code, &why);
    } else {
        log_line(LOG_DEBUG, "rank ended", " ended=%u pid=%d code=%d", rank, (int)death->pid, code);
    }
    if (node->ranks.alive + node->deaths.count > 0)
        node_feed(node, ok ? SUPER_RANK_OK : SUPER_RANK_BAD);
    else
        node_feed(node, ok ? SUPER_LAST_OK : SUPER_LAST_BAD);
}

/* What SIGTERM meant to a rank is known once all know how they stop, and of no interest where ranks
 * are made to leave anyway. */
static void judge_dead(struct node *node, uint64_t now_ns)
{
    struct rank_death death;
    while (deaths_take(&node->deaths, node_is_draining(node) || node->super.state != SUPER_RUNNING,
                       now_ns, &death))
        judge(node, &death);
}

static void on_death(struct node *node, const struct rank_death *death)
{
    uint64_t now_ns = mst_now_ns();
    deaths_add(&node->deaths, death, now_ns);
    judge_dead(node, now_ns);
}

/* A rank that muster-pmix has not told its variables, as it has died, dies of that: its words come
 * first. */
void node_reap(struct node *node)
{
    struct rank_death death;
    node_read_pmi(node);
    while (ranks_reap(&node->ranks, &death))
        on_death(node, &death);
}

/* A rank is met here only if it died since the last look at death_fd, or has no pidfd: the others
 * behind it are not seen before it is gone. An orphan may be a rank that was given up. */
void node_reap_orphans(struct node *node)
{
    node_read_pmi(node);
    for (;;) {
        siginfo_t info = {0};
        struct rank_death death;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid == 0)
            return;
        if (ranks_reap_pid(&node->ranks, info.si_pid, &death))
            on_death(node, &death);
        else
            ranks_reap_orphan(&node->ranks, info.si_pid);
    }
}

/* ---- signals and time ------------------------------------------------------------------------ */

void node_start_grace(struct node *node)
{
    if (node->stopping)
        return;
    uint64_t now_ns = mst_now_ns();
    uint64_t grace_ms = grace_of(node);
    node->stopping = true;
    outlog_hurry(node->outlog, true);
    node->grace_soft_ns = now_ns + grace_ms * (MST_NS_PER_MS * 8 / 10);
    node->grace_hard_ns = now_ns + node->opts->grace_ms * (MST_NS_PER_MS * 95 / 100);
    log_line(LOG_INFO, "draining", " grace_ms=%llu", (unsigned long long)grace_ms);
}

void node_drain(struct node *node)
{
    node_start_grace(node);
    link_send(node->link, &(struct msg){.type = MSG_DRAIN, .action = MST_GATE_STOP});
}

void node_checkpoint(struct node *node)
{
    if (node->super.state == SUPER_RUNNING || node->super.state == SUPER_DONE)
        link_send(node->link, &(struct msg){.type = MSG_DRAIN, .action = MST_GATE_CHECKPOINT});
    else
        log_line(LOG_WARN, "no checkpoint: no ranks run now", " state=%s",
                 super_name(node->super.state));
}

int node_drained_code(const struct node *node)
{
    return node->past_end ? EXITCODE_DEADLINE : EXITCODE_DRAINED;
}

static void end_grace(struct node *node, int code)
{
    if (!node->super.ending)
        node->exit_code = code;
    if (node->super.state == SUPER_RUNNING)
        node_send(node, (struct msg){.type = MSG_GRACE_OVER});
    node_feed(node, SUPER_GRACE_OVER);
}

void node_hurry(struct node *node)
{
    log_line(LOG_WARN, "interrupted again: killing all ranks", NULL);
    end_grace(node, 128 + SIGINT);
    end_grace(node, 128 + SIGINT);
}

void node_tick(struct node *node, uint64_t now_ns)
{
    judge_dead(node, now_ns);
    node_tick_mpi(node, now_ns);
    node_look(node, now_ns);
    if (now_ns >= node->patience_ns) {
        node->patience_ns = MST_NEVER;
        node_feed(node, SUPER_TIMER);
    }
    if (now_ns >= node->grace_soft_ns) {
        node->grace_soft_ns = MST_NEVER;
        log_line(LOG_WARN, "the grace is nearly over: the last committed checkpoint counts", NULL);
        end_grace(node, node_drained_code(node));
    }
    if (now_ns >= node->grace_hard_ns) /* why was told by the soft end, or before */
        node->over = true;
}

uint64_t node_wake_ns(const struct node *node)
{
    uint64_t wake_ns = node->ranks.alive > 0 ? node->late.look_ns : MST_NEVER;
    if (node->hung.look_ns < wake_ns)
        wake_ns = node->hung.look_ns;
    if (node_mpi_wake_ns(node) < wake_ns)
        wake_ns = node_mpi_wake_ns(node);
    if (node->deaths.due_ns < wake_ns)
        wake_ns = node->deaths.due_ns;
    if (node->patience_ns < wake_ns)
        wake_ns = node->patience_ns;
    if (node->grace_soft_ns < wake_ns)
        wake_ns = node->grace_soft_ns;
    return node->grace_hard_ns < wake_ns ? node->grace_hard_ns : wake_ns;
}
