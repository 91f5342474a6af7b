/* Logdir: the files that keep what ranks wrote, byte for byte. Each start has a folder of its own,
 * so that a resumed job leaves alone what the preempted one wrote:
 *   DIR/<time>-node_<n>[-<job id>]/rank_<r>.gen_<g>.log */
#ifndef MUSTER_LAUNCHER_LOGDIR_H
#define MUSTER_LAUNCHER_LOGDIR_H

#include <stdint.h>

struct mst_err;

/* Makes DIR, its parents and the folder in it, whose path goes to *ret_path, the caller's to free.
 * 0; -ENOMEM and errors of mkdir with text. */
int logdir_create(const char *dir, const char *job_id, uint32_t node, char **ret_path,
                  struct mst_err *err);

/* A new file in the folder, which must be none yet: nothing that somebody put there is followed,
 * waited for or cut. Returns its fd; errors of open with text. */
int logdir_open(const char *path, uint32_t rank, uint32_t generation, struct mst_err *err);

#endif
