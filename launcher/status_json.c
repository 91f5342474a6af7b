#include "muster/launcher/status_json.h"

#include "muster/core/clock.h"
#include "muster/core/coll.h"
#include "muster/core/dtype.h"
#include "muster/core/world/page.h"
#include "muster/launcher/json_text.h"
#include "muster/launcher/node.h"
#include "muster/launcher/opts.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

static json_t *step_json(uint64_t step)
{
    return step == MST_PAGE_NO_STEP ? json_null() : json_integer((json_int_t)step);
}

static json_t *seconds_json(uint64_t from_ns, uint64_t to_ns)
{
    return json_real(to_ns > from_ns ? (double)(to_ns - from_ns) / (double)MST_NS_PER_S : 0);
}

/* The rank writes its entries while we read: a torn one is shown once and gone the next time. */
static json_t *collective_json(struct mst_page *page, uint32_t local_rank, uint64_t op_count,
                               uint64_t now_ns)
{
    if (op_count == 0)
        return json_null();
    struct mst_page_op op = *mst_page_op(page, local_rank, op_count - 1);
    bool reduces = op.kind == MST_COLL_ALLREDUCE || op.kind == MST_COLL_REDUCE_SCATTER;
    bool done = op.done_ns != 0;
    uint64_t size_bytes = op.count * mst_dtype_size((enum mst_dtype)op.dtype);
    return json_pack("{s:I, s:I, s:s, s:s?, s:s?, s:I, s:I, s:I, s:b, s:i, s:o, s:o}", "seq",
                     (json_int_t)op.seq, "comm", (json_int_t)op.comm_id, "kind",
                     mst_coll_name((enum mst_coll)op.kind), "op",
                     reduces ? mst_op_name((enum mst_op)op.op) : NULL, "dtype",
                     op.kind == MST_COLL_BARRIER ? NULL : mst_dtype_name((enum mst_dtype)op.dtype),
                     "count", (json_int_t)op.count, "bytes", (json_int_t)size_bytes, "signature",
                     (json_int_t)op.signature, "done", done, "result", (int)op.result, "age_s",
                     seconds_json(op.enter_ns, now_ns), "took_s",
                     done ? seconds_json(op.enter_ns, op.done_ns) : json_null());
}

static json_t *rank_json(const struct ranks *ranks, uint32_t local_rank, uint64_t now_ns)
{
    struct mst_page_slot *slot = mst_page_slot(ranks->page, local_rank);
    uint64_t beat_ns = atomic_load(&slot->beat_ns);
    bool alive = ranks->procs[local_rank].pid > 0;
    /* Acquire: pairs with the rank's release in comm's recorder, which writes the entry before. */
    uint64_t op_count = atomic_load_explicit(&slot->op_count, memory_order_acquire);
    return json_pack("{s:i, s:i, s:b, s:s, s:o, s:o, s:o, s:o}", "rank",
                     (int)(ranks->first_rank + local_rank), "pid", (int)atomic_load(&slot->pid),
                     "alive", alive, "state", mst_rank_state_name(atomic_load(&slot->state)),
                     "step", step_json(atomic_load(&slot->step)), "beat_age_s",
                     beat_ns ? seconds_json(beat_ns, now_ns) : json_null(), "checkpoint",
                     step_json(atomic_load(&slot->ckpt_step)), "collective",
                     collective_json(ranks->page, local_rank, op_count, now_ns));
}

/* What torch programs see as TORCHELASTIC_RUN_ID: a job that nobody named is told by its nonce. */
static void name_job(const struct node *node, char *name, size_t cap)
{
    const struct msg *start = &node->start;
    const char *job_id = start->job_id[0] ? start->job_id : node->opts->job_id;
    if (job_id[0] || !start->job_nonce)
        snprintf(name, cap, "%s", job_id);
    else
        snprintf(name, cap, "muster-%016" PRIx64, start->job_nonce);
}

/* Of the generation that runs, or the one before it. */
static json_t *failure_json(const struct node *node)
{
    if (!node->cause_text[0])
        return json_null();
    return json_pack("{s:i, s:o}", "rank", (int)node->cause_rank, "what",
                     json_text(node->cause_text));
}

/* Of a world whose nodes come and go, as node 0 told last; else nobody counts those who are there,
 * and all of them are in each generation. */
static json_t *add_nodes(json_t *root, const struct node *node)
{
    const struct opts *opts = node->opts;
    bool has_started = node->start.job_nonce != 0;
    uint32_t least = opts->node_least ? opts->node_least : opts->node_count;
    json_object_set_new(root, "nodes",
                        json_integer(has_started ? node->start.node_count : opts->node_count));
    json_object_set_new(root, "nodes_min", json_integer(least));
    json_object_set_new(root, "nodes_max", json_integer(opts->node_count));
    json_object_set_new(root, "nodes_present",
                        node->present > 0 ? json_integer(node->present) : json_null());
    json_object_set_new(root, "outside", json_boolean(node->outside));
    return root;
}

char *status_json(const struct node *node)
{
    uint64_t now_ns = mst_now_ns();
    json_t *ranks = json_array();
    for (uint32_t i = 0; node->ranks.page && i < node->ranks.local_size; i++)
        json_array_append_new(ranks, rank_json(&node->ranks, i, now_ns));
    char job[MST_JOB_ID_BYTES];
    name_job(node, job, sizeof job);
    json_t *root = json_pack(
        "{s:o, s:o, s:i, s:i, s:i, s:i, s:s, s:b, s:s, s:o, s:o, s:o}", "job", json_text(job),
        "program", json_text(node->opts->argv[0]), "agent_pid", (int)getpid(), "node",
        (int)node->opts->node_rank, "generation", (int)node->start.generation, "max_restarts",
        (int)node->opts->max_restarts, "state", super_name(node->super.state), "draining",
        node->stopping, "kv", node->kv_addr, "stop_step", step_json(node->stop_step),
        "last_failure", failure_json(node), "ranks", ranks);
    char *text = json_dumps(add_nodes(root, node), JSON_COMPACT);
    json_decref(root);
    return text;
}
