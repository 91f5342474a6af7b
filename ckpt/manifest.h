/* Manifest: what a checkpoint holds, as text; and the votes that it is made of.
 *
 * MANIFEST.json is JSON whose first field is the CRC32C of every byte behind that field, so that a
 * manifest vouches for itself before anything in it is believed. Bytes come from disks and wires:
 * decoders check every number against its limits and answer -EBADMSG naming the field. Safe from
 * any thread. */
#ifndef MUSTER_CKPT_MANIFEST_H
#define MUSTER_CKPT_MANIFEST_H

#include "muster/ckpt/layout.h"
#include "muster/core/err.h"
#include "muster/core/resolve/resolve.h"

#define MANIFEST_NAME "MANIFEST.json"
#define MANIFEST_BYTES_MAX (UINT64_C(256) << 20)
#define MANIFEST_CURSOR_MAX MST_CKPT_CURSOR_MAX
#define MANIFEST_COMMIT_MAX 64
#define MANIFEST_WORLD_MAX UINT32_C(65536)
#define MANIFEST_TENSORS_MAX (UINT32_C(1) << 20)

/* One rank's file. */
struct manifest_file {
    uint64_t size_bytes;
    uint32_t frame_crc;        /* of all bytes that lie in no part */
    struct layout_part *parts; /* in order of offset */
    size_t part_count;
    uint32_t *crcs; /* of all blocks; part->block_first indexes it */
    uint64_t crc_count;
};

struct manifest {
    uint32_t crc; /* of the text that it was read from: by it ranks tell that they read the same */
    uint64_t step;
    uint32_t world_size, generation, attempt;
    uint64_t epoch, token; /* of the owner that wrote it; 0: there were none yet */
    char job_id[MST_JOB_ID_BYTES];
    char commit[MANIFEST_COMMIT_MAX]; /* the folder of its files in step_<n>; "": step_<n> itself */
    uint8_t cursor[MANIFEST_CURSOR_MAX];
    size_t cursor_bytes;
    struct layout_tensor *tensors;
    size_t tensor_count;
    struct manifest_file *files; /* world_size; file r is rank_<r>.h5 */
};

/* Writes the text into *ret_text, to be freed. 0; -ENOMEM. */
int manifest_encode(const struct manifest *manifest, char **ret_text, size_t *ret_bytes);

/* 0 and a manifest to be ended by manifest_fini; -EBADMSG with text; -ENOTSUP it is of a later
 * version; -ENOMEM. */
int manifest_decode(const char *text, size_t size_bytes, struct manifest *ret_manifest,
                    struct mst_err *err);

/* Frees what the manifest owns. A zeroed or half-built one is allowed. */
void manifest_fini(struct manifest *manifest);

/* What a rank tells rank 0: its file, or why there is none. */
struct manifest_vote {
    struct mst_err failure; /* code 0: the file is durable */
    uint32_t fingerprint;   /* of the tensors it saved */
    uint32_t cursor;        /* of what its cursor has in common with the others' */
    struct manifest_file file;
};

/* As manifest_encode. */
int manifest_vote_encode(const struct manifest_vote *vote, char **ret_text, size_t *ret_bytes);

/* What rank 0 reads a vote by: its own tensors and cursor. */
struct manifest_ballot {
    const struct layout_tensor *tensors;
    size_t tensor_count;
    uint32_t fingerprint; /* of them */
    uint32_t cursor;
};

/* 0 and a vote whose file is to be ended by manifest_file_fini; -EBADMSG; -ENOMEM; -EINVAL if the
 * voter saved other tensors, or another cursor, than the ballot has. */
int manifest_vote_decode(const struct manifest_ballot *ballot, const char *text, size_t size_bytes,
                         struct manifest_vote *ret_vote, struct mst_err *err);

void manifest_file_fini(struct manifest_file *file);

/* Checks that the parts of all files cover every tensor exactly once. 0; -EINVAL naming tensor and
 * row; -ENOMEM. */
int manifest_check_cover(const struct manifest *manifest, struct mst_err *err);

struct reshard_box;

/* All parts of all files as sorted boxes, to be freed. 0; -ENOMEM. */
int manifest_boxes(const struct manifest *manifest, struct reshard_box **ret_boxes,
                   size_t *ret_count);

#endif
