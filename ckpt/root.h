/* Root: the directory that holds the checkpoints, and the only file that knows its names.
 *
 *   step_<n>/             a checkpoint: MANIFEST.json, rank_<r>.h5 …
 *   step_<n>.tmp.<claim>/ one being written, or being removed
 *   OWNER.<epoch>         who has the root, and had it (ckpt/owner.h)
 *   OWNER.tmp.<16 digits> one that is being made
 *   LATEST                "step_<n>\n": a hint for people
 *
 * A claim is "e<epoch>.<token>": what an owner writes under names of its own. Roots that were
 * written before there were owners have "<generation>.<attempt>" in its place, and count as epoch
 * 0.
 *
 * Everything that changes it durably is an op of core/aio, so that tests see each and can cut the
 * sequence at any. One thread at a time. Functions block. */
#ifndef MUSTER_CKPT_ROOT_H
#define MUSTER_CKPT_ROOT_H

#include "muster/core/err.h"

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct manifest;
struct mst_aio;

#define ROOT_NAME_MAX 96
#define ROOT_PATH_MAX (3 * ROOT_NAME_MAX)

/* Opens the directory `path`, made durably with its parents if missing. 0; -EACCES, -EROFS,
 * -ENOTDIR … naming it. */
int root_open(const char *path, int *ret_fd, struct mst_err *err);

/* Opens a file to read, whatever lies under its name: links are followed, and nothing is waited
 * for. `flags` beside O_RDONLY. An fd; -EBADMSG it is no regular file; -errno. */
int root_open_file(int dir_fd, const char *path, int flags);

/* Opens a folder, which no link is, to be listed. NULL and errno. */
DIR *root_open_folder(int dir_fd, const char *name);

/* What a code of root_open_file means. */
const char *root_fault(int rc);

void root_step_name(char name[ROOT_NAME_MAX], uint64_t step);
void root_temp_name(char name[ROOT_NAME_MAX], uint64_t step, const char *claim);
void root_file_name(char name[ROOT_NAME_MAX], uint32_t rank);
void root_owner_name(char name[ROOT_NAME_MAX], uint64_t epoch);
void root_owner_temp_name(char name[ROOT_NAME_MAX], uint64_t unique);
void root_claim_name(char name[ROOT_NAME_MAX], uint64_t epoch, uint64_t token);

/* Where a manifest's file lies, from the root. */
void root_file_path(char path[ROOT_PATH_MAX], const struct manifest *manifest, uint32_t file);

/* Whether `name` is exactly what the functions above print, of a step up to 2^63 - 1 or an epoch
 * that has one behind it: nobody of ours makes another. */
bool root_parse_step(const char *name, uint64_t *ret_step);
bool root_parse_owner(const char *name, uint64_t *ret_epoch);

/* The same of a claim; behind a URI what has none is "<generation>.<attempt>.<nonce>". */
bool root_parse_claim(const char *name, uint64_t *ret_epoch, uint64_t *ret_token);

/* Highest first. */
void root_sort_steps(uint64_t *steps, size_t count);

/* The numbers of all names that `parse` takes: root_parse_step or root_parse_owner. Highest first,
 * to be freed. 0; -ENOMEM; -errno. */
typedef bool (*root_parse_fn)(const char *name, uint64_t *ret_number);
int root_list(int root_fd, root_parse_fn parse, uint64_t **ret_numbers, size_t *ret_count);

/* Decodes the text of a step's manifest, and checks that it is that step's. 0; -EBADMSG if it is
 * damaged, naming it; -ENOMEM. */
int root_decode_manifest(const char *text, size_t size_bytes, uint64_t step,
                         struct manifest *ret_manifest, struct mst_err *err);

/* Reads and decodes a step's manifest, and checks that it is that step's. 0; -EBADMSG if it is
 * damaged or missing, naming it; -ENOMEM. */
int root_read_manifest(int root_fd, uint64_t step, struct manifest *ret_manifest,
                       struct mst_err *err);

/* The epoch of the manifest of `step` that lies in `folder`. 0; -errno as above. */
int root_read_epoch(int root_fd, const char *folder, uint64_t step, uint64_t *ret_epoch);

/* Makes the temporary directory unless another rank has, and opens it. An fd; -errno. */
int root_make_temp(struct mst_aio *aio, int root_fd, const char *temp);

/* Makes `name` in dir_fd with these bytes, durable; what has that name already, a link too, stays
 * as it is: -EEXIST. 0; -errno. */
int root_write_file(struct mst_aio *aio, int dir_fd, const char *name, const void *data,
                    size_t size_bytes);

/* Makes the directory behind `temp_fd` durable and gives it its step's name in one rename. A
 * step_<n> that is there already changes places with it: *ret_replaced, also if it failed behind
 * that, says that `temp` is the one before now. 0: durable; -errno: it may be published all the
 * same if the last fsync failed. */
int root_publish(struct mst_aio *aio, int root_fd, int temp_fd, const char *temp, uint64_t step,
                 bool *ret_replaced);

/* Takes an exchange back: `temp` is step_<n> again. 0; -errno. */
int root_publish_back(struct mst_aio *aio, int root_fd, const char *temp, uint64_t step);

/* Writes LATEST. 0; -errno. */
int root_point_latest(struct mst_aio *aio, int root_fd, uint64_t step);

/* Removes a directory of plain files and folders of commits, its manifest first: what is half
 * removed is no checkpoint. 0, also if there is none; -errno of the first failure. */
int root_remove(struct mst_aio *aio, int root_fd, const char *name);

/* Asked before each file that is to go: whether to stop there. */
struct root_pause {
    bool (*is_due)(void *arg);
    void *arg;
};

/* Removes step_<n> by way of `temp`, so that a half-removed checkpoint never has its name, or goes
 * on where it stopped. 0, also if there is neither; -EAGAIN it stopped, as `pause` (NULL: never)
 * said; -errno of the first failure. */
int root_remove_step(struct mst_aio *aio, int root_fd, uint64_t step, const char *temp,
                     const struct root_pause *pause);

/* Puts back the steps that lie under temporary names of epochs below `epoch` though a later owner
 * than that published them: one that had lost the root has exchanged them for its own, and died
 * before it could take that back. `token` is the caller's. 0; -errno of the first failure. */
int root_put_back(int root_fd, uint64_t epoch, uint64_t token);

/* Removes the temporary directories of epochs below `epoch`, but for what is put back as above, and
 * records of owners that were never finished. 0; -errno of the first failure. */
int root_remove_abandoned(struct mst_aio *aio, int root_fd, uint64_t epoch, uint64_t token);

#endif
