/* Tier: the place that holds the checkpoints of a job.
 *
 *   tier_dir.c      a directory that all nodes see; published by a rename
 *   tier_remote.c   objects behind a URI; published by putting the manifest last
 *
 *   tier_open → take the root (lease.h) → sweep → write, check, publish or abandon → tier_close
 *               tier_list → tier_read_manifest → begin, submit, reap …, end
 *
 * One thread at a time. Functions block, single file operations without a deadline. */
#ifndef MUSTER_CKPT_TIER_H
#define MUSTER_CKPT_TIER_H

#include "muster/ckpt/manifest.h"
#include "muster/ckpt/owner.h"
#include "muster/ckpt/root.h"

#include <stdbool.h>

struct lease;
struct tier;
struct writer_job;

#define TIER_DEPTH 8 /* reads in flight */
#define TIER_PAGE_BYTES UINT64_C(4096)
#define TIER_SLACK_BYTES (2 * TIER_PAGE_BYTES) /* a range that starts inside a page ends so, too */

struct tier_opts {
    const char *uri;
    const char *aio;         /* as mst_aio_opts.backend */
    const char *staging_dir; /* remote: where files lie while uploaded; NULL = TMPDIR, else /tmp */
    uint32_t timeout_ms;     /* of a save: no request is tried for longer than a sixth of it */
    bool read_only;          /* nothing is made */
    bool owners_only;        /* for its records of owners, and manifests: files are not written */
};

/* One save, as its names say. */
struct tier_save {
    uint64_t step;
    uint32_t rank;
    const char *claim;    /* e<epoch>.<token> of the owner */
    bool follows_failure; /* the save before it failed, on all ranks */
    struct lease *lease;  /* rank 0's; NULL: nobody else can be there */
};

/* A record of an owner. */
struct tier_owner {
    char text[OWNER_BYTES];
    size_t size_bytes;
    enum owner_lock lock;
};

/* A range of one of the manifest's files; borrowed until it comes back by reap. */
struct tier_read {
    uint32_t file;
    uint64_t offset;
    size_t size_bytes;
    uint8_t *buffer;     /* page-aligned; for size_bytes + TIER_SLACK_BYTES, or for whole pages
                            only if `offset` is one's start */
    const uint8_t *data; /* out: the range, somewhere in the buffer */
    int64_t result;      /* out: bytes, fewer at the end of the file; -EBADMSG: missing or damaged;
                            another -errno: an older checkpoint would not read better */
    const char *fault;   /* out, if result < 0: what happened; until the next call */
    char path[ROOT_PATH_MAX]; /* the tier's */
};

struct tier_ops {
    const char *name;
    bool has_commits; /* whether names carry a commit id */
    void (*close)(struct tier *tier);

    /* The epochs that have an owner, highest first, to be freed. */
    int (*list_owners)(struct tier *tier, uint64_t **ret_epochs, size_t *ret_count,
                       uint64_t deadline_ns, struct mst_err *err);
    /* -ENOENT there is none; -EBADMSG it is no record. */
    int (*read_owner)(struct tier *tier, uint64_t epoch, struct tier_owner *ret_owner,
                      uint64_t deadline_ns, struct mst_err *err);
    /* Makes a record of OWNER_BYTES, whole at once; where there are locks it is locked until the
     * tier is closed. -EEXIST there is one. */
    int (*create_owner)(struct tier *tier, uint64_t epoch, const char *text, uint64_t deadline_ns,
                        struct mst_err *err);
    /* The same of the record that this tier has made. */
    int (*rewrite_owner)(struct tier *tier, uint64_t epoch, const char *text, uint64_t deadline_ns,
                         struct mst_err *err);
    void (*remove_owner)(struct tier *tier, uint64_t epoch, uint64_t deadline_ns);

    /* tier->owner, which has just taken the root, before it lists the steps: puts back what an
     * owner before it has displaced. NULL: nothing ever is. */
    int (*put_back)(struct tier *tier, struct mst_err *err);
    /* Rank 0 of the owner of `epoch`, before any rank writes: removes what lower epochs left
     * unpublished. -errno if the place cannot be used at all; litter that stays is no error. */
    int (*sweep)(struct tier *tier, uint64_t epoch, uint64_t deadline_ns, struct mst_err *err);

    /* This rank's file → durable where the manifest can be published. job->fd is the tier's. */
    int (*write)(struct tier *tier, const struct tier_save *save, struct writer_job *job,
                 uint64_t deadline_ns, struct mst_err *err);
    /* Rank 0, after all ranks have written: whether all files are where the manifest will say, with
     * their sizes. `files` has one for each of `count` ranks. -EBADMSG naming one that is not. */
    int (*check)(struct tier *tier, const struct tier_save *save, const struct manifest_file *files,
                 uint32_t count, uint64_t deadline_ns, struct mst_err *err);
    /* Rank 0, after that: from here on readers see the step. What it replaces was there when this
     * job opened the place; -EEXIST if somebody else has published it since; -ESTALE if the root
     * was lost meanwhile: then readers do not count the step; another -errno also if that cannot be
     * told. */
    int (*publish)(struct tier *tier, const struct tier_save *save, const char *text,
                   size_t size_bytes, uint64_t deadline_ns, struct mst_err *err);
    /* Rank 0, when no rank writes any more. What cannot be removed now goes by sweep. */
    void (*abandon)(struct tier *tier, const struct tier_save *save, uint64_t deadline_ns);

    /* NULL: there is no such hint. */
    void (*point_latest)(struct tier *tier, uint64_t step);
    /* Removes `step`, in an order in which it never looks whole, or goes on where it stopped.
     * `save` is the newest that is committed. 0; -EAGAIN it stopped, as `pause` said; -errno what
     * stays of it is litter. */
    int (*remove_step)(struct tier *tier, const struct tier_save *save, uint64_t step,
                       const struct root_pause *pause, uint64_t deadline_ns);

    /* Steps that were published, highest first, to be freed. */
    int (*list)(struct tier *tier, uint64_t **ret_steps, size_t *ret_count, uint64_t deadline_ns,
                struct mst_err *err);
    /* As root_read_manifest; other -errno if the place does not answer. */
    int (*read_manifest)(struct tier *tier, uint64_t step, struct manifest *ret_manifest,
                         uint64_t deadline_ns, struct mst_err *err);

    /* `manifest` is borrowed until end, which waits for what is in flight. -ENOMEM. */
    int (*begin)(struct tier *tier, const struct manifest *manifest);
    void (*end)(struct tier *tier);
    /* Starts a read; fewer than TIER_DEPTH are in flight. -EBADMSG if the file is missing or of
     * another size; -EMFILE. */
    int (*submit)(struct tier *tier, struct tier_read *read, struct mst_err *err);
    /* The next that has ended. -ETIMEDOUT. */
    int (*reap)(struct tier *tier, struct tier_read **ret_read, uint64_t deadline_ns);
};

/* Every tier starts with this. */
struct tier {
    const struct tier_ops *ops;
    struct owner owner; /* the newest whose record could be read: its fences hide steps */
};

/* Opens the place that `uri` names: a path or file: URI is a directory, unless its query has
 * staged=1. 0; -EACCES, -ENOENT … naming it; -ENOTSUP; -EINVAL; -ENOMEM. */
int tier_open(const struct tier_opts *opts, struct tier **ret_tier, struct mst_err *err);

/* NULL is allowed. */
void tier_close(struct tier *tier);

/* The record of the newest owner → tier->owner. 0, also if there is none; -EBADMSG it is damaged,
 * and the newest that is not was taken; -ENOTSUP it is of a later version; other -errno if the
 * place does not answer. */
int tier_read_owner(struct tier *tier, uint64_t deadline_ns, struct mst_err *err);

/* As ops->read_manifest; -ESTALE the step was published by an owner that had lost the root. */
int tier_read_manifest(struct tier *tier, uint64_t step, struct manifest *ret_manifest,
                       uint64_t deadline_ns, struct mst_err *err);

/* As ops->list, without the steps for which tier_read_manifest answers -ESTALE. */
int tier_list(struct tier *tier, uint64_t **ret_steps, size_t *ret_count, uint64_t deadline_ns,
              struct mst_err *err);

/* Whether `step` has been removed since it was listed, as retention does beside a reader: then what
 * is missing of it is no damage. false also if the place does not answer. */
bool tier_is_gone(struct tier *tier, uint64_t step, uint64_t deadline_ns);

int tier_dir_open(const struct tier_opts *opts, const char *path, struct tier **ret_tier,
                  struct mst_err *err);
int tier_remote_open(const struct tier_opts *opts, struct tier **ret_tier, struct mst_err *err);

#endif
