/* ckpt: asynchronous sharded checkpoints in HDF5.
 *
 *   struct mst_state state = MST_STATE_INIT;                tensors, their number, the cursor
 *   mst_ckpt_open(&opts, world, kv, &ckpt, &err)
 *   mst_ckpt_load(ckpt, &state, &loaded, deadline, &err)    -ENOENT: a fresh start
 *   or mst_ckpt_prepare(ckpt, &state)                       the first save is as cheap as any
 *   every k steps: mst_ckpt_save(ckpt, step, &state, deadline)
 *   mst_ckpt_drain(ckpt, deadline)                          waits until it is committed
 *   mst_ckpt_close(ckpt)
 *
 * A checkpoint is the directory <root>/step_<n>/ with one rank_<r>.h5 per rank that any HDF5 tool
 * reads, and MANIFEST.json, which says where every row of every tensor lies and the CRC32C of every
 * block. It appears under its name by one rename after all ranks' bytes are durable: a directory
 * step_<n> is complete or damaged later, never half written.
 *
 * The root may be a URI of a store, too: then each rank uploads its file as
 * <root>/step_<n>/<commit>/rank_<r>.h5, and MANIFEST.json, put last and only if there is none, is
 * what makes it a checkpoint. It is loaded from there by ranged reads of what is needed; no machine
 * needs to have seen its files before.
 *
 * The training loop pays for one memory copy; writing, voting (over kv, never over the training
 * communicator) and committing go on behind, on one thread. A failure there abandons that step on
 * all ranks, is told by mst_ckpt_get_status, and never harms an older checkpoint or the training.
 *
 * Tensors may be in memory of a CUDA device, all or some. They go to and from memory of the host
 * that is registered with it, on a stream of ckpt's own: save, and load, wait for what state.stream
 * held, copy, and return when that is done, while other streams go on. To compute beside a save,
 * give it a stream that waits for the event behind the last step, and put what only reads the
 * tensors into another one before. A load keeps 4 bytes there for each block that it brings; one
 * that brings more than those before it, and close, may wait for all streams of the device. The
 * context of the calling thread stays as it is. All of this has run on a fake driver only, never on
 * a GPU.
 *
 * All ranks call save and load with the same steps and the same tensors (names, types, shapes). One
 * thread at a time. A forked child of the process that opened a handle is answered -ENOTSUP. */
#ifndef MUSTER_CKPT_CKPT_H
#define MUSTER_CKPT_CKPT_H

#include "muster/core/dtype.h"
#include "muster/core/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mst_ckpt;
struct mst_err;
struct mst_kv;
struct mst_world;

#define MST_TENSOR_DIMS_MAX 8 /* never changes */
#define MST_TENSOR_NAME_MAX 255
#define MST_CKPT_CURSOR_MAX 4096 /* never changes */
#define MST_CKPT_CURSOR_ALIKE 44 /* never changes: of a loader's, its data, order and position */

/* Begin it with zeros (= {0}), as it may grow: zero is the default of every later field. */
struct mst_tensor {
    const char *name; /* HDF5 path without leading '/': "model/embedding"; unique */
    enum mst_dtype dtype;
    uint32_t dim_count;                  /* 0 = a scalar */
    uint64_t shape[MST_TENSOR_DIMS_MAX]; /* of the whole tensor */
    /* Replicated (the default): every rank holds all rows along dimension 0, and each writes a
     * share of them. Sharded: this rank holds row_count rows from row_start on, maybe none; the
     * parts of all ranks cover the tensor exactly once. Row fields of a replicated tensor are
     * ignored. */
    bool sharded;
    uint64_t row_start, row_count;
    struct mst_span data; /* those rows, contiguous, row-major */
};

/* What a program saves and loads. All that it points to is the caller's, and borrowed for the
 * call. */
struct mst_state {
    uint32_t struct_bytes;
    uint32_t tensor_bytes; /* of one tensor, for struct mst_tensor may grow as this does */
    const struct mst_tensor *tensors;
    size_t tensor_count;     /* at most 2^20 */
    struct mst_cspan cursor; /* save: the loader's position or whatever else, at most
                                MST_CKPT_CURSOR_MAX bytes of host memory, as many on every rank.
                                The first MST_CKPT_CURSOR_ALIKE are the same on every rank, or the
                                save fails; rank 0's is kept. load refuses the same sizes, and does
                                not look at its bytes */
    /* Where tensors are in memory of a device: a stream of it, as the CUDA driver or runtime hands
     * it out; NULL = the default one. What it holds when the call is made is done before the call
     * looks at them. Not looked at where no tensor is there. */
    void *stream;
};
#define MST_STATE_INIT                                                                             \
    {                                                                                              \
        sizeof(struct mst_state), sizeof(struct mst_tensor), NULL, 0, {NULL, 0, MST_MEM_HOST},     \
            NULL                                                                                   \
    }

/* A root is one of
 *   /path, file:///path             a directory that all nodes see; made if it is missing
 *   s3://bucket[/prefix]            endpoint from ?endpoint=, AWS_ENDPOINT_URL or the region
 *   webhdfs://host:port/path        the name node's HTTP address; swebhdfs: by HTTPS
 *   hdfs://authority/path           that address from HADOOP_CONF_DIR
 *   file:///path?staged=1           a directory used as such a store: nothing in it is renamed */
struct mst_ckpt_opts {
    uint32_t struct_bytes;
    uint32_t keep;           /* newest checkpoints that stay; 0 = 3. Older ones go once nothing is
                                saved, or while the next save is written, or at close */
    uint32_t timeout_ms;     /* of one background save, uploads and votes included; 0 = 120 000 */
    const char *uri;         /* of the root: one of the forms above */
    const char *staging_dir; /* not file: where this rank's file lies, without a name, while it is
                                uploaded; NULL = TMPDIR, else /tmp */
    uint32_t read_only;      /* not 0: only load, and change nothing in the root, which stays its
                                owner's */
    uint32_t take_root;      /* not 0: take the root from another job that owns it and lives, but in
                                generation 0 only: who lost it does not take it back. As
                                `muster run --take-root` says for all of a job */
    uint64_t device;         /* that tensors in memory of a device are on: MST_CKPT_DEVICE(number);
                                0 = the only one that this process sees, else the one whose number
                                is the local rank */
};
#define MST_CKPT_OPTS_INIT                                                                         \
    {                                                                                              \
        sizeof(struct mst_ckpt_opts), 0, 0, NULL, NULL, 0, 0, 0                                    \
    }

/* The device that is `number` (from 0 on) of those that this process sees. */
#define MST_CKPT_DEVICE(number) ((uint64_t)(number) + 1)

/* Makes the root and takes it (rank 0), removes what owners before left unpublished, clones `kv`
 * for its thread, and starts that thread. A root has one owner at a time: the next life of the same
 * job (the same id, or the same coordinator) takes it over at once, another job once the owner has
 * closed the root, has died on this machine, or has not renewed for 30 seconds, nor for 30 more in
 * which it is watched. Who lost the root so cannot publish any more.
 *
 * Collective: what fails on rank 0 fails on all, another rank fails alone. Blocks until rank 0 has
 * cleaned up, opts.timeout_ms at most (single file operations and a few seconds for credentials
 * aside); no request to a store is tried for longer than a sixth of that. `opts`, its strings,
 * `world` and `kv` are borrowed for the call: it keeps none of them. With opts.read_only either may
 * be NULL: then the call is this process's own. 0, or with text
 *   -EINVAL      no URI or a malformed one, or MST_CKPT_OPTS_INIT was forgotten
 *   -EEXIST      another job owns the root and lives, naming it, its node and its age
 *   -ENOTSUP     the scheme, an option that only a newer libmuster knows, a root that a later one
 *                has written to, or a store that puts objects over others when it is asked not to
 *   -EACCES      the directory, naming it; a store's credentials, naming where they were found or
 *                looked for: they are tried now
 *   -ENOENT      no such bucket; with opts.read_only no such directory
 *   -ENOTDIR -EROFS -ENOSPC …          what is wrong with the directory, naming it
 *   -ECONNREFUSED -EHOSTUNREACH …      nobody answers at the store
 *   -EIO -EBADMSG                      the store fails, or its answer makes no sense
 *   -ETIMEDOUT   the store, the job's table or rank 0 is not heard of by the deadline
 *   -ECONNRESET  the job's table is lost, or rank 0 has ended
 *   -ESTALE      the generation is over
 *   -ENOMEM */
int mst_ckpt_open(const struct mst_ckpt_opts *opts, const struct mst_world *world,
                  struct mst_kv *kv, struct mst_ckpt **ret_ckpt, struct mst_err *err);

/* Waits for the save in flight, removes what opts.keep lets go, gives the root back, ends the
 * thread and frees. A save takes at most opts.timeout_ms, and as long again and a quarter where
 * rank 0 is not heard of, and removing a quarter (single file operations aside). NULL is
 * allowed. */
void mst_ckpt_close(struct mst_ckpt *ckpt);

/* Makes the pool that the first save of these tensors copies to: names, types, shapes and rows are
 * looked at, their bytes are not. Memory is faulted in behind, for seconds or minutes, by pieces
 * that take a thirtieth of one processor; whatever is missing at a save is made then. What a device
 * is to reach is registered at the end, in one go. A load has done it for the tensors that it was
 * given. Does not block for longer than a piece, or registering, takes. 0;
 * -EAGAIN a save is in flight; -EINVAL, -ENOTSUP, -EROFS, -ENOMEM as save. Text by
 * mst_ckpt_error. */
int mst_ckpt_prepare(struct mst_ckpt *ckpt, const struct mst_state *state);

/* Copies the tensors to a pre-faulted pool and returns; writing and publishing step `step` go on
 * behind. Tensors may be changed as soon as this returns. Blocks at most one snapshot copy, or
 * until the deadline if the previous save still holds the pool, or state.stream is not done. 0;
 * -ETIMEDOUT; -EINVAL if step is not over the last saved, a tensor is malformed or not where it
 * says, there is no such device or stream, or MST_STATE_INIT was forgotten; -ENOTSUP no driver of a
 * device, a stream that is being captured into a graph, a kind of memory or a field that this
 * library does not know; -EIO the device failed, in its words; -EROFS the root was opened with
 * read_only; -ENOMEM here or on the device. Text by mst_ckpt_error, for each. A step that another
 * owner of the root made void fails behind, with -ESTALE. */
int mst_ckpt_save(struct mst_ckpt *ckpt, uint64_t step, const struct mst_state *state,
                  uint64_t deadline_ns);

/* Waits until no save is in flight. 0 when the last one was committed (or there was none); its
 * error otherwise; -ETIMEDOUT. Text by mst_ckpt_error. Checkpoints over opts.keep go later. */
int mst_ckpt_drain(struct mst_ckpt *ckpt, uint64_t deadline_ns);

/* Why the last prepare, save or drain failed, "" if it did not. Valid until the next of them. */
const char *mst_ckpt_error(const struct mst_ckpt *ckpt);

struct mst_ckpt_loaded {
    uint32_t struct_bytes;
    uint32_t saved_world_size;
    uint64_t step;
    uint32_t skipped_count; /* newer checkpoints that were damaged and passed over; the text in err
                               names the damage */
    size_t cursor_bytes;
    uint8_t cursor[MST_CKPT_CURSOR_MAX];
};
#define MST_CKPT_LOADED_INIT                                                                       \
    {                                                                                              \
        sizeof(struct mst_ckpt_loaded), 0, 0, 0, 0, ""                                             \
    }

/* Fills the tensors of `state` from the newest checkpoint that all ranks could read and verify,
 * whatever world saved it. Every block's checksum is checked, and all ranks agree, before a byte of
 * them is changed, but for tensors that hold zeros because nobody has written to them: those are
 * filled at once, and hold zeros again if the load fails. On damage all ranks descend to the next
 * older one together. Bytes that no rank asks for are not read: those of other tensors, and HDF5's
 * own around them, which `muster ckpt verify` checks, too. Collective; blocks.
 * What a device was given it checks once more by itself, where this library has kernels for it.
 * 0 (with a text in `err` if newer ones were damaged); -ENOENT no checkpoint at all; -EBADMSG there
 * are some and none is good, naming file, tensor and block; -EINVAL it lacks a tensor or has
 * another shape or type, naming it, a rank finds another one of that step than rank 0 (it was given
 * another root), or MST_STATE_INIT or MST_CKPT_LOADED_INIT was forgotten;
 * -ENOTSUP as save; -EIO the device failed, or does not hold what it was given: if the ranks had
 * agreed by then, tensors hold anything; -ETIMEDOUT; -ECONNRESET. */
int mst_ckpt_load(struct mst_ckpt *ckpt, const struct mst_state *state,
                  struct mst_ckpt_loaded *ret_loaded, uint64_t deadline_ns, struct mst_err *err);

#define MST_CKPT_NONE UINT64_MAX

struct mst_ckpt_status {
    uint32_t struct_bytes;
    uint32_t failed_count;
    uint64_t committed_step; /* newest committed by this job: it can be loaded from the root, also
                                where that is remote; or MST_CKPT_NONE */
    uint64_t saving_step;    /* in flight, or MST_CKPT_NONE */
    uint64_t failed_step;    /* newest abandoned, or MST_CKPT_NONE */
    int failed_code;         /* -errno of the newest abandoned */
    char failed_text[240];   /* why; its size never changes */
    uint64_t save_count;
    uint64_t stall_ns; /* time save() blocked, all saves */
    uint64_t written_bytes;
    uint64_t write_ns; /* background time from snapshot to commit, all saves */
    char warning[240]; /* what slows checkpoints down on this node, "" if nothing is known to: worth
                          a line in the program's log; its size never changes */
};
#define MST_CKPT_STATUS_INIT                                                                       \
    {                                                                                              \
        sizeof(struct mst_ckpt_status), 0, 0, 0, 0, 0, "", 0, 0, 0, 0, ""                          \
    }

/* 0; -EINVAL if MST_CKPT_STATUS_INIT was forgotten; -ENOTSUP in a forked child. Safe from any
 * thread; does not block. */
int mst_ckpt_get_status(struct mst_ckpt *ckpt, struct mst_ckpt_status *ret_status);

#ifdef __cplusplus
}
#endif

#endif
