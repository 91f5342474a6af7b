/* Outlog: what the ranks print, line by line, each line whole and with the rank in front.
 *
 *   create → add_rank (two pipes) → poll outlog_fd until outlog_wake_ns, outlog_run
 *          → finish_ranks → drain → destroy
 *
 * Lines (launcher/lines.h) go into the agent's own stdout and stderr (launcher/sink.h); with a log
 * directory, the ranks' bytes also go as they are to files (launcher/logdir.h). If the two outputs
 * are one file they are one sink, in which the order stays.
 *
 * When nobody reads, the ranks wait first: their pipes are not read while 1 MiB is unwritten. An
 * output that took nothing for ten seconds holds nobody up any more, nor does one of half a second
 * once the ranks are to leave: then what does not fit into 8 MiB is lost and counted, which is told
 * when somebody reads again. */
#ifndef MUSTER_LAUNCHER_OUTLOG_H
#define MUSTER_LAUNCHER_OUTLOG_H

#include <stdbool.h>
#include <stdint.h>

struct mst_err;
struct outlog;
struct sink;

enum outlog_mode {
    OUTLOG_LINES, /* with the prefix */
    OUTLOG_PLAIN, /* bytes as they are, each stream to its own */
    OUTLOG_RAW    /* so for rank 0; lines of all others go to stderr */
};

struct outlog_config {
    int out_fd, err_fd;  /* stay the caller's */
    const char *log_dir; /* NULL: no files */
    const char *job_id;  /* in the name of their folder; may be "" */
    const char *prefix;  /* a valid template of launcher/prefix.h; borrowed */
    enum outlog_mode mode;
    bool json; /* lines are objects, without the prefix */
    uint32_t node;
};

/* 0; -ENOMEM; errors of logdir_create and epoll_create1 with text. */
int outlog_create(const struct outlog_config *config, struct outlog **ret_outlog,
                  struct mst_err *err);

/* What is unwritten is lost. NULL is allowed. */
void outlog_destroy(struct outlog *outlog);

/* The sink of stderr, for the log. */
struct sink *outlog_sink(struct outlog *outlog);

/* The folder of this start, or NULL. */
const char *outlog_folder(const struct outlog *outlog);

/* Opens a rank's pipes and its file. The write ends, of stdout and of stderr, are the caller's to
 * pass on and close. 0; -EMFILE, -ENOMEM, errors of logdir_open with text. */
int outlog_add_rank(struct outlog *outlog, uint32_t rank, uint32_t local_rank, uint32_t generation,
                    int ret_fds[2], struct mst_err *err);

/* Readable when outlog_run has work; it also has some at that time, or MST_NEVER. */
int outlog_fd(const struct outlog *outlog);
uint64_t outlog_wake_ns(const struct outlog *outlog);

/* Moves what is there. Never blocks, but in a log directory that does not answer. */
void outlog_run(struct outlog *outlog);

/* Whether ranks are to leave now: no reader holds them up for more than half a second. */
void outlog_hurry(struct outlog *outlog, bool hurry);

/* The rank died: keeps its last lines. */
void outlog_remember(struct outlog *outlog, uint32_t rank);

/* The last lines of the rank that was remembered last, if it is this one, else "". As tail_text
 * makes them. */
const char *outlog_last_words(const struct outlog *outlog, uint32_t rank);

/* All ranks of the generation are gone: takes what is left in their pipes and closes them. */
void outlog_finish_ranks(struct outlog *outlog);

/* Waits until everything is written, or the deadline, as long as somebody reads. Then says what was
 * lost. */
void outlog_drain(struct outlog *outlog, uint64_t deadline_ns);

#endif
