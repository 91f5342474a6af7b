/* The life of a call:
 *
 *   idle      nobody's: blob_call_start takes it, with a verb, a key and a deadline of its own
 *   waiting   until its pause is over and the client has room; then the verb makes the request,
 *             anew for each try, so that a region, clock or credential put right meanwhile counts
 *   flying    the request is the client's. Of what comes back the verb says what it means: it is
 *             done or has failed (ended); its next request is to go at once (waiting); or the same
 *             one is to go again after a pause (waiting), unless that would be past the deadline
 *   ended     out of the list of active calls, its result set; whoever started it takes it from
 *             here
 *
 * Nothing happens behind the caller's back: blob_remote_step sends what may go, lets the client
 * move bytes until something has ended, and hands each answer to its verb. Reads are calls in a
 * table of `depth`, which reap makes idle again; any other call lies on its caller's stack, is
 * waited for, and goes beside the reads. */
#include "muster/core/blob/http/remote.h"

#include "muster/core/blob/http/escape.h"
#include "muster/core/blob/http/retry.h"
#include "muster/core/clock.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOKUPS_MAX 4 /* a name server may stumble; a name that is wrong stays so */
#define CONNECT_MS_DEFAULT 3000
#define SEND_BYTES_PER_MS 1049 /* 1 MiB/s: how slow a put may be and still keep its deadline */

int blob_remote_init(struct blob_remote *remote, const struct mst_blob_opts *opts,
                     const struct blob_verb *read_verb, const struct blob_verb *stat_verb,
                     const char *ca_file, struct mst_err *err)
{
    remote->timeout_ms = opts->timeout_ms;
    remote->depth = opts->depth;
    remote->refused_max = opts->fail_fast ? 0 : UINT32_MAX;
    remote->connect_ms = opts->connect_ms ? opts->connect_ms : CONNECT_MS_DEFAULT;
    remote->answered = opts->answered;
    remote->read_verb = read_verb;
    remote->stat_verb = stat_verb;
    /* Pauses of processes that started together must differ. */
    mst_rng_init(&remote->rng, mst_now_ns(), (uint64_t)getpid());
    remote->reads = calloc(opts->depth, sizeof *remote->reads);
    if (!remote->reads)
        return mst_err_set(err, -ENOMEM, "no memory for %u reads", opts->depth);
    /* One more than the reads: a stat or put may go beside them. */
    const struct http_opts http_opts = {.depth = opts->depth + 1, .ca_file = ca_file};
    return http_create(&http_opts, &remote->http, err);
}

void blob_remote_fini(struct blob_remote *remote)
{
    http_destroy(remote->http);
    for (uint32_t i = 0; remote->reads && i < remote->depth; i++)
        http_request_fini(&remote->reads[i].request);
    free(remote->reads);
}

int blob_remote_path(const struct blob_remote *remote, const char *key, char *ret_path, size_t cap)
{
    char path[BLOB_PATH_MAX];
    int rc = blob_join(remote->base, key, path, sizeof path);
    return rc < 0 ? rc : http_escape(path, true, ret_path, cap);
}

int blob_call_fail(const struct blob_remote *remote, struct blob_call *call, int rc,
                   const char *format, ...)
{
    char path[BLOB_PATH_MAX] = "", text[sizeof call->err.text];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); /* a long text is cut */
    va_end(args);
    (void)blob_join(remote->base, call->key, path, sizeof path); /* a cut name is still a name */
    return mst_err_set(&call->err, rc, "%s%.100s: %s", remote->label, path, text);
}

static int judge_status(int status)
{
    switch (status) {
    case 401:
    case 403: return -EACCES;
    case 404: return -ENOENT;
    case 507: return -ENOSPC;
    default: return status / 100 == 2 ? 0 : status >= 500 ? -EIO : -EBADMSG;
    }
}

static const char *meaning_of(int status)
{
    switch (judge_status(status)) {
    case -EACCES: return "the server denies access";
    case -ENOENT: return "there is no such object";
    case -ENOSPC: return "the server has no room left";
    case -EIO: return "the server failed";
    default:
        return status >= 400   ? "the server refuses the request"
               : status >= 300 ? "the server sends us elsewhere, and not to where we may go"
                               : "the server's answer makes no sense here";
    }
}

/* What this machine lacks is no fault of the server's. */
static bool is_ours(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOBUFS || rc == -EADDRNOTAVAIL ||
           rc == -ENOMEM || rc == -EPERM;
}

/* Whether no answer came because nobody is there. */
static bool is_away(const struct http_answer *answer)
{
    int rc = answer->rc;
    return answer->status == 0 && !answer->connected &&
           (rc == -ECONNREFUSED || rc == -EHOSTUNREACH || rc == -ENETUNREACH || rc == -ETIMEDOUT);
}

static void tell_no_answer(const struct blob_remote *remote, struct blob_call *call,
                           const struct http_answer *answer)
{
    int rc = answer->rc;
    if (is_ours(rc))
        blob_call_fail(remote, call, rc, "this process cannot connect: %s (%s)",
                       mst_err_meaning(rc), answer->why);
    else if (is_away(answer) && !remote->answered)
        blob_call_fail(remote, call, rc, "%s: does its server run, and is %s right?", answer->why,
                       remote->address);
    else if (rc == -ECONNRESET && answer->connected)
        blob_call_fail(remote, call, rc, "the server broke off: %s", answer->why);
    else if (rc == -ETIMEDOUT && answer->connected)
        blob_call_fail(remote, call, rc, "the server is too slow: %s", answer->why);
    else
        blob_call_fail(remote, call, rc, "%s", answer->why);
}

/* Whether another try can help after an answer that did not come. */
static bool is_hopeless(const struct blob_remote *remote, const struct blob_call *call,
                        const struct http_answer *answer)
{
    bool fail_fast = remote->refused_max != UINT32_MAX;
    bool unknown_host = answer->rc == -EHOSTUNREACH && fail_fast && call->failures >= LOOKUPS_MAX;
    /* With a status, it is not this place that is gone but where it sent us. */
    bool refused = answer->rc == -ECONNREFUSED && answer->status == 0 &&
                   call->failures >= remote->refused_max;
    bool unheard = is_away(answer) && !remote->answered &&
                   mst_deadline_passed(call->connect_until_ns);
    return unknown_host || refused || unheard || !retry_helps(answer->rc, 0);
}

int blob_judge(const struct blob_remote *remote, struct blob_call *call,
               const struct http_answer *answer, const char *detail)
{
    if (answer->rc < 0) {
        tell_no_answer(remote, call, answer);
        return is_hopeless(remote, call, answer) ? answer->rc : BLOB_RETRY;
    }
    if (retry_helps(0, answer->status)) {
        blob_call_fail(remote, call, -EIO, "the server answers %d %s", answer->status,
                       detail ? detail : "");
        return BLOB_RETRY;
    }
    int rc = judge_status(answer->status);
    if (rc < 0)
        blob_call_fail(remote, call, rc, "%s (HTTP status %d)",
                       detail ? detail : meaning_of(answer->status), answer->status);
    return rc;
}

static void end_call(struct blob_remote *remote, struct blob_call *call, int64_t result)
{
    call->state = CALL_ENDED;
    call->result = result;
    for (struct blob_call **at = &remote->active; *at; at = &(*at)->next)
        if (*at == call) {
            *at = call->next;
            break;
        }
    http_request_fini(&call->request);
}

void blob_call_cancel(struct blob_remote *remote, struct blob_call *call)
{
    if (call->state == CALL_FLYING)
        http_cancel(remote->http, &call->request);
    end_call(remote, call, -ECANCELED);
}

void blob_call_start(struct blob_remote *remote, struct blob_call *call, uint64_t deadline_ns)
{
    assert(call->state == CALL_IDLE);
    uint64_t own_ns = mst_deadline_ms(remote->timeout_ms + call->body_bytes / SEND_BYTES_PER_MS);
    call->deadline_ns = mst_least(deadline_ns, own_ns);
    call->connect_until_ns = mst_deadline_ms(remote->connect_ms);
    call->failures = call->cures = 0;
    call->not_before_ns = 0;
    call->result = 0;
    call->err = (struct mst_err){0};
    http_request_init(&call->request, HTTP_GET);
    call->state = CALL_WAITING;
    call->next = remote->active;
    remote->active = call;
}

/* Makes the next try's request and sends it, if there is room for it. */
static void launch(struct blob_remote *remote, struct blob_call *call)
{
    assert(call->state == CALL_WAITING);
    http_request_fini(&call->request);
    http_request_init(&call->request, HTTP_GET);
    int rc = call->verb->prepare(remote, call);
    if (rc == 0) {
        call->request.user = call;
        call->request.deadline_ns = call->deadline_ns;
        int left_ms = mst_deadline_left_ms(call->connect_until_ns);
        if (!remote->answered)
            call->request.connect_ms = left_ms > 0 ? (uint32_t)left_ms : 1;
        rc = http_start(remote->http, &call->request);
    }
    if (rc == 0)
        call->state = CALL_FLYING;
    else if (rc != -EAGAIN)
        end_call(remote, call, rc);
}

static void retry_later(struct blob_remote *remote, struct blob_call *call, uint64_t asked_ns)
{
    call->failures++;
    uint64_t now = mst_now_ns();
    call->not_before_ns = now + retry_pause_ns(&remote->rng, call->failures, asked_ns);
    call->state = CALL_WAITING;
    uint64_t until_ns = call->is_away ? mst_least(call->connect_until_ns, call->deadline_ns)
                                      : call->deadline_ns;
    if (call->not_before_ns < until_ns)
        return;
    char last[sizeof call->err.text];
    memcpy(last, call->err.text, sizeof last);
    /* The count comes first: a long text is cut at its end. */
    int rc = mst_err_set(&call->err, call->err.code, "given up after %u %s: %s", call->failures,
                         call->failures == 1 ? "try" : "tries", last);
    end_call(remote, call, rc);
}

static void settle(struct blob_remote *remote, struct blob_call *call,
                   const struct http_answer *answer)
{
    assert(call->state == CALL_FLYING);
    remote->answered = remote->answered || answer->connected || answer->status;
    call->is_away = !remote->answered && is_away(answer);
    int rc = call->verb->judge(remote, call, answer);
    if (rc == BLOB_RETRY)
        retry_later(remote, call, answer->retry_after_ns);
    else if (rc == BLOB_AGAIN)
        call->state = CALL_WAITING;
    else
        end_call(remote, call, rc < 0 ? rc : call->result);
}

/* Sends what waits and may go. The time when the next of the others may. */
static uint64_t launch_due(struct blob_remote *remote, size_t *ret_ended)
{
    uint64_t now = mst_now_ns(), wake = MST_NEVER;
    for (struct blob_call *call = remote->active, *next; call; call = next) {
        next = call->next;
        if (call->state != CALL_WAITING)
            continue;
        if (call->not_before_ns <= now)
            launch(remote, call);
        else if (call->not_before_ns < wake)
            wake = call->not_before_ns;
        *ret_ended += call->state == CALL_ENDED;
    }
    return wake;
}

int blob_remote_step(struct blob_remote *remote, uint64_t until_ns)
{
    size_t ended = 0;
    uint64_t wake = launch_due(remote, &ended);
    if (ended > 0)
        return 0;
    int rc = http_step(remote->http, mst_least(wake, until_ns));
    struct http_request *request;
    const struct http_answer *answer;
    while ((request = http_next(remote->http, &answer)))
        settle(remote, request->user, answer);
    return rc;
}

int blob_call_do(struct blob_remote *remote, struct blob_call *call, uint64_t deadline_ns,
                 struct mst_err *err)
{
    blob_call_start(remote, call, deadline_ns);
    int rc = 0;
    while (call->state != CALL_ENDED && rc == 0)
        rc = blob_remote_step(remote, MST_NEVER);
    if (rc < 0) {
        blob_call_cancel(remote, call);
        return mst_err_set(err, rc, "%s: the HTTP client failed: %s", remote->label,
                           mst_err_meaning(rc));
    }
    if (call->result < 0)
        return mst_err_set(err, (int)call->result, "%s", call->err.text);
    return 0;
}

/* Stats under way together. */
struct stat_calls {
    struct blob_call *calls;
    struct blob_stat *stats;
    struct mst_blob_look **looks; /* that the calls are for */
    size_t count, active;
    bool failed; /* the place, so that nothing more is asked for */
};

static void start_stat(struct blob_remote *remote, struct stat_calls *all, size_t slot,
                       struct mst_blob_look *look, uint64_t deadline_ns)
{
    all->stats[slot] = (struct blob_stat){0};
    all->calls[slot] = (struct blob_call){
        .verb = remote->stat_verb, .key = look->key, .arg = &all->stats[slot]};
    all->looks[slot] = look;
    blob_call_start(remote, &all->calls[slot], deadline_ns);
    all->active++;
}

static void end_stat(struct stat_calls *all, size_t slot)
{
    struct blob_call *call = &all->calls[slot];
    struct mst_blob_look *look = all->looks[slot];
    assert(look); /* since the call was started */
    look->rc = call->result < 0 ? (int)call->result : 0;
    look->info = all->stats[slot].info;
    look->err = call->err;
    call->state = CALL_IDLE;
    all->active--;
    all->failed = all->failed || (look->rc && look->rc != -ENOENT && look->rc != -EACCES);
}

static void run_stats(struct blob_remote *remote, struct stat_calls *all,
                      struct mst_blob_look *looks, size_t count, uint64_t deadline_ns)
{
    size_t next = 0;
    int rc = 0;
    do {
        for (size_t i = 0; i < all->count; i++) {
            if (all->calls[i].state == CALL_ENDED)
                end_stat(all, i);
            if (all->calls[i].state == CALL_IDLE && next < count && !all->failed)
                start_stat(remote, all, i, &looks[next++], deadline_ns);
        }
        if (all->active)
            rc = blob_remote_step(remote, MST_NEVER);
    } while (rc == 0 && all->active);
    for (size_t i = 0; i < all->count; i++)
        if (all->calls[i].state != CALL_IDLE)
            blob_call_cancel(remote, &all->calls[i]);
}

void blob_remote_stat_all(struct mst_blob *blob, struct mst_blob_look *looks, size_t count,
                          uint64_t deadline_ns)
{
    struct blob_remote *remote = (struct blob_remote *)blob;
    struct stat_calls all = {.count = mst_least(count, remote->depth)};
    all.calls = calloc(all.count, sizeof *all.calls);
    all.stats = calloc(all.count, sizeof *all.stats);
    all.looks = calloc(all.count, sizeof *all.looks);
    if (all.calls && all.stats && all.looks)
        run_stats(remote, &all, looks, count, deadline_ns);
    free(all.calls);
    free(all.stats);
    free(all.looks);
}

static struct blob_call *idle_read(struct blob_remote *remote)
{
    for (uint32_t i = 0; i < remote->depth; i++)
        if (remote->reads[i].state == CALL_IDLE)
            return &remote->reads[i];
    return NULL;
}

int blob_remote_submit(struct mst_blob *blob, const struct mst_blob_read *reads, size_t count)
{
    struct blob_remote *remote = (struct blob_remote *)blob;
    size_t taken = 0;
    struct blob_call *call;
    for (; taken < count && (call = idle_read(remote)); taken++) {
        *call = (struct blob_call){
            .verb = remote->read_verb, .key = reads[taken].key, .read = reads[taken]};
        blob_call_start(remote, call, MST_NEVER);
        if (reads[taken].size_bytes == 0)
            end_call(remote, call, 0);
    }
    if (taken > 0)
        (void)blob_remote_step(remote, 0); /* an error shows again when they are reaped */
    return (int)taken;
}

static size_t count_reads(const struct blob_remote *remote, bool ended_only)
{
    size_t count = 0;
    for (uint32_t i = 0; i < remote->depth; i++) {
        enum call_state state = remote->reads[i].state;
        count += ended_only ? state == CALL_ENDED : state != CALL_IDLE;
    }
    return count;
}

static int collect(struct blob_remote *remote, struct mst_blob_done *done, size_t cap)
{
    size_t count = 0;
    for (uint32_t i = 0; i < remote->depth && count < cap; i++) {
        struct blob_call *call = &remote->reads[i];
        if (call->state != CALL_ENDED)
            continue;
        done[count++] = (struct mst_blob_done){.user = call->read.user, .result = call->result};
        call->state = CALL_IDLE;
        if (call->result < 0)
            remote->blob.last = call->err;
    }
    return (int)count;
}

int blob_remote_reap(struct mst_blob *blob, struct mst_blob_done *done, size_t cap, size_t min,
                     uint64_t deadline_ns)
{
    struct blob_remote *remote = (struct blob_remote *)blob;
    min = mst_least(min, count_reads(remote, false));
    int rc = remote->active ? blob_remote_step(remote, 0) : 0;
    while (rc == 0 && count_reads(remote, true) < min) {
        if (mst_deadline_passed(deadline_ns))
            return -ETIMEDOUT;
        rc = blob_remote_step(remote, deadline_ns);
    }
    return rc < 0 ? rc : collect(remote, done, cap);
}
