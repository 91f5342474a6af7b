/* Outlog: what the ranks print, line by line, each line whole and with the rank in front.
 *
 *   create → add_rank (two pipes) → poll outlog_fd, outlog_run → finish_ranks → destroy
 *
 * Lines go to the agent's own stdout and stderr; with a log directory, the ranks' bytes also go as
 * they are to DIR/rank_<r>.gen_<g>.log. A line over 64 KiB is cut into several. When nobody reads
 * the agent's output, the ranks' pipes fill up and the ranks wait; the agent does not. */
#ifndef MUSTER_LAUNCHER_OUTLOG_H
#define MUSTER_LAUNCHER_OUTLOG_H

#include <stdint.h>

struct mst_err;
struct outlog;

/* Lines go to out_fd and err_fd, which stay the caller's. log_dir may be NULL; it is created if its
 * parent exists. 0; -ENOMEM; errors of mkdir and epoll_create1 with text. */
int outlog_create(const char *log_dir, int out_fd, int err_fd, struct outlog **ret_outlog,
                  struct mst_err *err);

/* Writes what is left, for at most two seconds. NULL is allowed. */
void outlog_destroy(struct outlog *outlog);

/* Opens a rank's pipes and its file. The write ends are the caller's to pass on and close. 0;
 * -EMFILE, -ENOMEM, errors of open with text. */
int outlog_add_rank(struct outlog *outlog, uint32_t rank, uint32_t generation, int *ret_out_fd,
                    int *ret_err_fd, struct mst_err *err);

/* Readable when outlog_run has work. */
int outlog_fd(const struct outlog *outlog);

/* Moves what is there. Never blocks. */
void outlog_run(struct outlog *outlog);

/* All ranks of the generation are gone: takes what is left in their pipes and closes them. */
void outlog_finish_ranks(struct outlog *outlog);

#endif
