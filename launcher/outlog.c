#include "muster/launcher/outlog.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/file.h"
#include "muster/core/least.h"
#include "muster/launcher/lines.h"
#include "muster/launcher/log.h"
#include "muster/launcher/logdir.h"
#include "muster/launcher/prefix.h"
#include "muster/launcher/sink.h"
#include "muster/launcher/stamp.h"
#include "muster/launcher/tail.h"
#include "muster/launcher/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 10000
#define HURRY_MS 500
#define REPORT_MS 1000     /* between two reports of losses */
#define FINAL_READS_MAX 32 /* covers a full pipe; a stray that still writes is not waited for */
#define MARK "…"           /* of a line that goes on */
#define ERASE "\033[K"     /* the rest of a bar that was longer */

enum { OUT, ERR, STREAMS };

/* One pipe of one rank. */
struct stream {
    int fd;
    bool watched; /* in the epoll set */
    bool ended;
    bool is_raw; /* bytes as they are */
    const char *name;
    struct rank_out *rank;
    struct sink *sink;
    struct lines lines;
};

struct rank_out {
    struct outlog *outlog;
    struct prefix_facts facts;
    char prefix[PREFIX_BYTES_MAX];
    size_t prefix_size;
    int file_fd; /* -1: none, or it takes nothing any more */
    struct tail tail;
    struct stream streams[STREAMS];
};

struct outlog {
    struct outlog_config config;
    int epoll_fd;
    char *folder; /* of this start, or NULL */
    char host[HOST_NAME_MAX + 1];
    bool tells_time; /* the prefix does */
    uint64_t patience_ns, wake_ns, report_ns;
    struct sink sinks[STREAMS];
    struct sink *places[STREAMS]; /* both the first if they are one file */
    struct rank_out **ranks;
    size_t rank_count;
    uint32_t last_rank;
    char last_words[TAIL_BYTES + 2];
};

/* ---- beginning ------------------------------------------------------------------------------- */

static bool is_one_file(int one_fd, int other_fd)
{
    struct stat one, other;
    return fstat(one_fd, &one) == 0 && fstat(other_fd, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

int outlog_create(const struct outlog_config *config, struct outlog **ret_outlog,
                  struct mst_err *err)
{
    struct outlog *outlog = calloc(1, sizeof *outlog);
    if (!outlog)
        return mst_err_set(err, -ENOMEM, "no memory for the output of ranks");
    outlog->config = *config;
    outlog->wake_ns = MST_NEVER;
    outlog->tells_time = prefix_tells_time(config->prefix);
    outlog_hurry(outlog, false);
    if (gethostname(outlog->host, sizeof outlog->host - 1))
        outlog->host[0] = '\0'; /* one that is too long has no name */
    sink_init(&outlog->sinks[OUT], config->out_fd);
    sink_init(&outlog->sinks[ERR], config->err_fd);
    outlog->places[OUT] = &outlog->sinks[OUT];
    outlog->places[ERR] = &outlog->sinks[!is_one_file(config->out_fd, config->err_fd)];
    outlog->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int rc = 0;
    if (outlog->epoll_fd < 0)
        rc = mst_err_set(err, -errno, "epoll_create1: %s", mst_err_meaning(errno));
    if (rc == 0 && config->log_dir)
        rc = logdir_create(config->log_dir, config->job_id, config->node, &outlog->folder, err);
    if (rc) {
        outlog_destroy(outlog);
        return rc;
    }
    *ret_outlog = outlog;
    return 0;
}

struct sink *outlog_sink(struct outlog *outlog)
{
    return outlog->places[ERR];
}

const char *outlog_folder(const struct outlog *outlog)
{
    return outlog->folder;
}

int outlog_fd(const struct outlog *outlog)
{
    return outlog->epoll_fd;
}

uint64_t outlog_wake_ns(const struct outlog *outlog)
{
    return outlog->wake_ns;
}

void outlog_hurry(struct outlog *outlog, bool hurry)
{
    outlog->patience_ns = (hurry ? HURRY_MS : PATIENCE_MS) * MST_NS_PER_MS;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static char *append(char *to, const char *text, size_t size)
{
    memcpy(to, text, size);
    return to + size;
}

static char *append_text(char *to, const char *text)
{
    return append(to, text, strlen(text));
}

/* The next of the lines in `left`, which it takes from there. */
static struct line next_line(struct line *left)
{
    struct line line = *left;
    const char *newline = memchr(left->text, '\n', left->size);
    line.size = newline ? (size_t)(newline - left->text) : left->size;
    size_t taken = line.size + (newline != NULL);
    left->text += taken;
    left->size -= taken;
    return line;
}

static size_t count_lines(const struct line *line)
{
    size_t count = 1;
    for (size_t i = 0; i < line->size; i++)
        count += line->text[i] == '\n';
    return count;
}

/* {"time":"…","rank":3,"stream":"stdout","line":"…"} */
static void emit_json(const struct stream *stream, const struct line *line)
{
    char head[128], time[STAMP_BYTES];
    int size = snprintf(
        head, sizeof head, "{\"time\":\"%s\",\"rank\":%u,\"stream\":\"%s\",\"line\":\"%s",
        stamp_now(time), stream->rank->facts.rank, stream->name, line->goes_on ? MARK : "");
    assert(size > 0 && (size_t)size < sizeof head);
    char *from = sink_reserve(stream->sink, (size_t)size + TEXT_ESCAPED_MAX(line->size) + 3);
    if (!from) {
        sink_lose(stream->sink, line->size + 1);
        return;
    }
    char *to = append(from, head, (size_t)size);
    to += text_escape_all(to, line->text, line->size);
    to = append_text(to, "\"}\n");
    sink_commit(stream->sink, (size_t)(to - from));
}

/* What stands in front of the lines that come now, into room for PREFIX_BYTES_MAX. */
static size_t prefix_now(const struct rank_out *rank, char *to)
{
    char time[STAMP_BYTES];
    if (rank->outlog->tells_time)
        return prefix_expand(rank->outlog->config.prefix, &rank->facts, stamp_now(time), to);
    memcpy(to, rank->prefix, rank->prefix_size);
    return rank->prefix_size;
}

/* On a terminal a bar ends by going back, so that the next stands in its place; the line of
 * another begins below it. */
static void emit_text(struct stream *stream, struct line left)
{
    struct sink *sink = stream->sink;
    char prefix[PREFIX_BYTES_MAX];
    size_t prefix_size = prefix_now(stream->rank, prefix), count = count_lines(&left);
    size_t most = strlen(ERASE) + strlen(MARK) + left.size + 1 + count * prefix_size;
    char *from = sink_reserve(sink, most), *to = from;
    bool stays = left.is_bar && sink->is_terminal;
    if (!from) {
        sink_lose(sink, left.size + 1);
        return;
    }
    if (sink->bar)
        to = append_text(to, sink->bar == stream ? ERASE : "\n");
    for (; count > 0; count--) {
        const struct line line = next_line(&left);
        to = append(to, prefix, prefix_size);
        if (line.goes_on)
            to = append_text(to, MARK);
        to = append(to, line.text, line.size);
        *to++ = stays ? '\r' : '\n';
    }
    sink->bar = stays ? stream : NULL;
    sink_commit(sink, (size_t)(to - from));
}

static void emit(void *arg, const struct line *line)
{
    struct stream *stream = arg;
    struct line left = *line;
    if (!stream->rank->outlog->config.json) {
        emit_text(stream, left);
        return;
    }
    for (size_t count = count_lines(&left); count > 0; count--) {
        const struct line next = next_line(&left);
        emit_json(stream, &next);
    }
}

/* ---- pipes of ranks -------------------------------------------------------------------------- */

/* A paused stream leaves the set: one whose writers are gone would report EPOLLHUP for ever. */
static int watch_stream(struct outlog *outlog, struct stream *stream, bool wanted)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = stream};
    if (wanted == stream->watched)
        return 0;
    if (epoll_ctl(outlog->epoll_fd, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, stream->fd, &event))
        return -errno;
    stream->watched = wanted;
    return 0;
}

static bool has_to_wait(const struct outlog *outlog, const struct stream *stream, uint64_t now_ns)
{
    const struct sink *sink = stream->sink;
    return sink_pending(sink) > SINK_BYTES_HIGH && now_ns < sink->moved_ns + outlog->patience_ns;
}

static void copy_to_file(struct rank_out *rank, const char *data, size_t size)
{
    while (rank->file_fd >= 0 && size > 0) {
        ssize_t written = write(rank->file_fd, data, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) { /* which does not stop the job */
            log_line(LOG_ERROR, "the log file of a rank ends here", " of_rank=%u because=%s",
                     rank->facts.rank, log_quote(mst_err_meaning(errno)).text);
            close(rank->file_fd);
            rank->file_fd = -1;
            return;
        }
        data += written;
        size -= (size_t)written;
    }
}

/* False once the pipe has nothing more to give, now or for ever. */
static bool stream_read(struct stream *stream, uint64_t now_ns)
{
    size_t room;
    char *at = lines_room(&stream->lines, &room);
    ssize_t size = read(stream->fd, at, room);
    if (size <= 0) {
        stream->ended = size == 0 || (errno != EAGAIN && errno != EINTR);
        return false;
    }
    copy_to_file(stream->rank, at, (size_t)size);
    tail_put(&stream->rank->tail, at, (size_t)size);
    if (stream->is_raw)
        sink_put(stream->sink, at, (size_t)size);
    else
        lines_take(&stream->lines, (size_t)size, now_ns, emit, stream);
    return true;
}

static void rank_close(struct rank_out *rank)
{
    for (int i = 0; i < STREAMS; i++) {
        struct stream *stream = &rank->streams[i];
        if (stream->lines.bytes)
            lines_finish(&stream->lines, emit, stream);
        if (stream->sink->bar == stream) {
            sink_put(stream->sink, "\n", 1);
            stream->sink->bar = NULL;
        }
        /* a process of ours may have a copy, so closing does not; (void): it is in the set */
        (void)watch_stream(rank->outlog, stream, false);
        mst_file_close(&stream->fd);
        free(stream->lines.bytes);
    }
    mst_file_close(&rank->file_fd);
    free(rank);
}

static int open_stream(struct stream *stream, int *ret_write_fd)
{
    int pipe_fds[2];
    char *bytes = malloc(LINES_BYTES_MAX);
    if (!bytes)
        return -ENOMEM;
    lines_init(&stream->lines, bytes,
               stream->sink->is_terminal && !stream->rank->outlog->config.json);
    if (pipe2(pipe_fds, O_CLOEXEC))
        return -errno;
    stream->fd = pipe_fds[0];
    *ret_write_fd = pipe_fds[1];
    /* only this end: the rank's writes block */
    if (fcntl(stream->fd, F_SETFL, O_NONBLOCK))
        return -errno;
    return watch_stream(stream->rank->outlog, stream, true);
}

/* Which way the bytes of a rank go. */
static void direct(struct outlog *outlog, struct rank_out *rank)
{
    static const char *const names[STREAMS] = {"stdout", "stderr"};
    enum outlog_mode mode = outlog->config.mode;
    for (int i = 0; i < STREAMS; i++) {
        bool is_aside = mode == OUTLOG_RAW && rank->facts.rank > 0;
        rank->streams[i] = (struct stream){.fd = -1,
                                           .is_raw = mode != OUTLOG_LINES && !is_aside,
                                           .name = names[i],
                                           .rank = rank,
                                           .sink = outlog->places[is_aside ? ERR : i]};
    }
}

static int add_rank(struct outlog *outlog, struct rank_out *rank, int ret_fds[2])
{
    struct rank_out **ranks = realloc(outlog->ranks, (outlog->rank_count + 1) * sizeof(void *));
    if (!ranks)
        return -ENOMEM;
    outlog->ranks = ranks;
    int fds[STREAMS] = {-1, -1};
    int rc = open_stream(&rank->streams[OUT], &fds[OUT]);
    if (!rc)
        rc = open_stream(&rank->streams[ERR], &fds[ERR]);
    if (rc) {
        mst_file_close(&fds[OUT]);
        mst_file_close(&fds[ERR]);
        return rc;
    }
    ranks[outlog->rank_count++] = rank;
    memcpy(ret_fds, fds, sizeof fds);
    return 0;
}

int outlog_add_rank(struct outlog *outlog, uint32_t rank, uint32_t local_rank, uint32_t generation,
                    int ret_fds[2], struct mst_err *err)
{
    int file_fd = -1;
    if (outlog->folder) {
        file_fd = logdir_open(outlog->folder, rank, generation, err);
        if (file_fd < 0)
            return file_fd;
    }
    struct rank_out *added = calloc(1, sizeof *added);
    if (!added) {
        mst_file_close(&file_fd);
        return mst_err_set(err, -ENOMEM, "no memory for the output of rank %u", rank);
    }
    added->outlog = outlog;
    added->file_fd = file_fd;
    added->facts = (struct prefix_facts){
        .rank = rank, .local_rank = local_rank, .node = outlog->config.node, .host = outlog->host};
    if (!outlog->tells_time)
        added->prefix_size = prefix_expand(outlog->config.prefix, &added->facts, "", added->prefix);
    direct(outlog, added);
    int rc = add_rank(outlog, added, ret_fds);
    if (rc) {
        rank_close(added);
        return mst_err_set(err, rc, "output pipe of rank %u: %s", rank, mst_err_meaning(rc));
    }
    return 0;
}

/* ---- the agent's own outputs ----------------------------------------------------------------- */

static void watch_sink(struct outlog *outlog, struct sink *sink)
{
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = NULL};
    bool wanted = sink_pending(sink) > 0;
    if (wanted == sink->watched)
        return;
    if (epoll_ctl(outlog->epoll_fd, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, sink->fd, &event) == 0)
        sink->watched = wanted;
}

/* Says what was lost, once it can be read or at the end, and of a reader that is gone once. */
static void report_losses(struct outlog *outlog, bool is_end, uint64_t now_ns)
{
    for (int i = 0; i < STREAMS; i++) {
        struct sink *sink = &outlog->sinks[i];
        uint64_t lost_bytes = sink->lost_bytes;
        bool flows = sink->broken || sink_pending(sink) <= SINK_BYTES_HIGH;
        bool is_due = is_end || (flows && now_ns >= outlog->report_ns);
        if (lost_bytes == 0 || sink->told || !is_due)
            continue;
        outlog->report_ns = now_ns + REPORT_MS * MST_NS_PER_MS;
        sink->lost_bytes = 0; /* the line itself may not fit */
        log_line(LOG_ERROR, sink->broken ? "output is lost from here on" : "output was lost",
                 " stream=%s bytes=%llu because=%s", i == OUT ? "stdout" : "stderr",
                 (unsigned long long)lost_bytes,
                 log_quote(sink->error ? mst_err_meaning(sink->error) : "nobody read it").text);
        sink->error = 0;
        sink->told = sink->broken;
    }
}

/* ---- both ------------------------------------------------------------------------------------ */

static void run_stream(struct outlog *outlog, struct stream *stream, uint64_t now_ns)
{
    bool waits = has_to_wait(outlog, stream, now_ns);
    lines_tick(&stream->lines, now_ns, emit, stream);
    (void)watch_stream(outlog, stream, !stream->ended && !waits); /* tried again at the next run */
    uint64_t end_ns = waits ? stream->sink->moved_ns + outlog->patience_ns : MST_NEVER;
    if (end_ns > stream->lines.due_ns)
        end_ns = stream->lines.due_ns;
    if (end_ns < outlog->wake_ns)
        outlog->wake_ns = end_ns;
}

static void settle(struct outlog *outlog, uint64_t now_ns)
{
    report_losses(outlog, false, now_ns);
    for (int i = 0; i < STREAMS; i++)
        sink_flush(&outlog->sinks[i]);
    outlog->wake_ns = MST_NEVER;
    for (size_t i = 0; i < outlog->rank_count; i++) {
        for (int j = 0; j < STREAMS; j++)
            run_stream(outlog, &outlog->ranks[i]->streams[j], now_ns);
    }
    for (int i = 0; i < STREAMS; i++) {
        sink_flush(&outlog->sinks[i]);
        watch_sink(outlog, &outlog->sinks[i]);
    }
}

void outlog_run(struct outlog *outlog)
{
    struct epoll_event events[64];
    uint64_t now_ns = mst_now_ns();
    int count = epoll_wait(outlog->epoll_fd, events, 64, 0);
    for (int i = 0; i < count; i++) {
        struct stream *stream = events[i].data.ptr;
        if (stream && !has_to_wait(outlog, stream, now_ns))
            (void)stream_read(stream, now_ns); /* more of it shows in the set */
    }
    settle(outlog, now_ns);
}

static void read_rest(struct rank_out *rank, uint64_t now_ns)
{
    for (int i = 0; i < STREAMS; i++) {
        int reads = 0;
        while (reads < FINAL_READS_MAX && stream_read(&rank->streams[i], now_ns))
            reads++;
    }
}

void outlog_remember(struct outlog *outlog, uint32_t rank)
{
    for (size_t i = 0; i < outlog->rank_count; i++) {
        if (outlog->ranks[i]->facts.rank != rank)
            continue;
        read_rest(outlog->ranks[i], mst_now_ns());
        (void)tail_text(&outlog->ranks[i]->tail, outlog->last_words); /* its length is in it */
        outlog->last_rank = rank;
    }
}

const char *outlog_last_words(const struct outlog *outlog, uint32_t rank)
{
    return rank == outlog->last_rank ? outlog->last_words : "";
}

void outlog_finish_ranks(struct outlog *outlog)
{
    uint64_t now_ns = mst_now_ns(), deadline_ns = mst_deadline_ms(HURRY_MS);
    for (size_t i = 0; i < outlog->rank_count; i++) {
        for (int j = 0; j < STREAMS; j++) { /* who reads gets all of many ranks */
            if (sink_pending(&outlog->sinks[j]) > SINK_BYTES_HIGH)
                sink_drain(&outlog->sinks[j], deadline_ns);
        }
        read_rest(outlog->ranks[i], now_ns);
        rank_close(outlog->ranks[i]);
    }
    outlog->rank_count = 0;
    settle(outlog, now_ns);
}

/* A reader that is slow is waited for as long as it reads. */
static void drain_while_read(struct outlog *outlog, struct sink *sink, uint64_t deadline_ns)
{
    while (sink_pending(sink) > 0 && !mst_deadline_passed(deadline_ns)) {
        uint64_t stopped_ns = sink->moved_ns + outlog->patience_ns;
        if (mst_deadline_passed(stopped_ns))
            return;
        sink_drain(sink, mst_least(stopped_ns, deadline_ns));
    }
}

void outlog_drain(struct outlog *outlog, uint64_t deadline_ns)
{
    uint64_t now_ns = mst_now_ns();
    for (int i = 0; i < STREAMS; i++) {
        drain_while_read(outlog, &outlog->sinks[i], deadline_ns);
    }
    report_losses(outlog, true, now_ns);
    sink_flush(outlog_sink(outlog));
}

void outlog_destroy(struct outlog *outlog)
{
    if (!outlog)
        return;
    outlog_finish_ranks(outlog);
    for (int i = 0; i < STREAMS; i++)
        sink_fini(&outlog->sinks[i]);
    mst_file_close(&outlog->epoll_fd);
    free(outlog->ranks);
    free(outlog->folder);
    free(outlog);
}
