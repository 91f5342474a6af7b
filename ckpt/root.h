/* Root: the directory that holds the checkpoints, and the only file that knows its names.
 *
 *   step_<n>/                            a checkpoint: MANIFEST.json, rank_<r>.h5 …
 *   step_<n>.tmp.<generation>.<attempt>/ one being written, or being removed
 *   LATEST                               "step_<n>\n": a hint for people
 *
 * Everything that changes it durably is an op of core/aio, so that tests see each and can cut the
 * sequence at any. One thread at a time. Functions block. */
#ifndef MUSTER_CKPT_ROOT_H
#define MUSTER_CKPT_ROOT_H

#include "core/err.h"

#include <stddef.h>
#include <stdint.h>

struct manifest;
struct mst_aio;

#define ROOT_NAME_MAX 96

/* Opens the directory `path`, made with its parents if missing. 0; -EACCES, -EROFS, -ENOTDIR …
 * naming it. */
int root_open(const char *path, int *ret_fd, struct mst_err *err);

void root_step_name(char name[ROOT_NAME_MAX], uint64_t step);
void root_temp_name(char name[ROOT_NAME_MAX], uint64_t step, uint32_t generation, uint32_t attempt);
void root_file_name(char name[ROOT_NAME_MAX], uint32_t rank);

/* Steps that have a directory step_<n>, highest first, to be freed. 0; -ENOMEM; -errno. */
int root_list(int root_fd, uint64_t **ret_steps, size_t *ret_count);

/* Reads and decodes a step's manifest, and checks that it is that step's. 0; -EBADMSG if it is
 * damaged or missing, naming it; -ENOMEM. */
int root_read_manifest(int root_fd, uint64_t step, struct manifest *ret_manifest,
                       struct mst_err *err);

/* Makes the temporary directory unless another rank has, and opens it. An fd; -errno. */
int root_make_temp(struct mst_aio *aio, int root_fd, const char *temp);

/* Makes `name` in dir_fd with these bytes, durable. 0; -errno. */
int root_write_file(struct mst_aio *aio, int dir_fd, const char *name, const void *data,
                    size_t size_bytes);

/* Makes the directory behind `temp_fd` durable and gives it its step's name in one rename. A
 * step_<n> that is there already changes places with it, and goes. 0: durable; -errno: it may be
 * published all the same if the last fsync failed. */
int root_publish(struct mst_aio *aio, int root_fd, int temp_fd, const char *temp, uint64_t step);

/* Writes LATEST. 0; -errno. */
int root_point_latest(struct mst_aio *aio, int root_fd, uint64_t step);

/* Removes a directory of plain files. 0, also if there is none; -errno of the first failure. */
int root_remove(struct mst_aio *aio, int root_fd, const char *name);

/* Removes step_<n> by way of `temp`, so that a half-removed checkpoint never has its name. */
int root_remove_step(struct mst_aio *aio, int root_fd, uint64_t step, const char *temp);

/* Removes temporary directories of generations before `generation`; all at generation 0, which is a
 * job that has just begun. 0; -errno of the first failure. */
int root_remove_abandoned(struct mst_aio *aio, int root_fd, uint32_t generation);

#endif
