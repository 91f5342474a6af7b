/* dataio: the right bytes, once, in order.
 *
 *   struct mst_loader_opts opts = MST_LOADER_OPTS_INIT;      then its fields
 *   mst_loader_open(&opts, world, &loader, &err)
 *   mst_loader_seek(loader, cursor, size, &err)      after a resume: a cursor from the checkpoint
 *   struct mst_batch batch = MST_BATCH_INIT;
 *   while (mst_loader_next(loader, &batch, deadline) == 0) { … batch.samples … }
 *   mst_loader_cursor(loader, cursor)                into the next checkpoint
 *   mst_loader_close(loader)
 *
 * A dataset is a list of sources read as fixed-size or indexed records, the samples 0 …
 * sample_count-1. An epoch shows each once, in an order that is a keyed permutation of (seed,
 * epoch): no table, nothing to save but the position. The global batch of step t is positions [t*B,
 * (t+1)*B) of the endless sequence of epochs, whatever the world size; rank r of N gets the
 * contiguous part [r*B/N, (r+1)*B/N) of it. So a job that is resumed, or resized, sees every sample
 * exactly once per epoch. Reading goes on behind, on one thread, by O_DIRECT reads through core/aio
 * and ranged requests through core/blob, within opts.budget_bytes. One thread at a time a
 * loader. A forked child of the process that opened it is answered -ENOTSUP, and finds no batch. */
#ifndef MUSTER_DATAIO_DATAIO_H
#define MUSTER_DATAIO_DATAIO_H

#include "muster/core/dtype.h"
#include "muster/core/span.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mst_err;
struct mst_loader;
struct mst_world;

enum mst_format {
    MST_FORMAT_AUTO, /* by name: *.bin beside a *.idx = Megatron, *.txt *.jsonl = lines, else raw */
    MST_FORMAT_RAW,  /* elements of `dtype`; a sample is record_elems of them, the next starts
                        record_stride later */
    MST_FORMAT_MEGATRON, /* *.bin + *.idx: a sample is cut from the concatenated sequences as in
                            raw, dtype from the index */
    MST_FORMAT_LINES,    /* a sample is one line, without its newline */
};

enum mst_fingerprint {
    MST_FINGERPRINT_SAMPLED, /* size and up to 256 blocks of each source: fast; a patch may go
                                unseen */
    MST_FINGERPRINT_FULL,    /* and every byte, which are all read when the dataset is opened */
};

struct mst_loader_opts {
    uint32_t struct_bytes;
    /* A file, a folder (ends in '/': all files below it, but for those whose name, or that of a
     * folder on the way to them, begins with '.' or '_') or a dataset file (*.dataset.json): path,
     * or file:, s3:, http(s):, webhdfs: or hdfs: URI. Several, separated by ',', are mirrors of one
     * dataset: when one fails the next is read. Names in *.gz or *.dz are gzip. A ',' within a URI
     * is written %2C, and a path with one as a file: URI. */
    const char *uri;
    enum mst_format format;
    enum mst_dtype dtype;   /* raw: type of an element; the zero value is MST_I8 */
    uint32_t record_elems;  /* raw and Megatron: elements in one sample, >= 1 */
    uint32_t record_stride; /* elements from one sample to the next; 0 = record_elems */
    uint32_t global_batch;  /* samples per step over all ranks, >= 1 */
    uint64_t seed;
    uint64_t budget_bytes;   /* memory for reading ahead, at least two batches; 0 = 128 MiB; a
                                dataset of at most half of it is kept in memory whole */
    int sequential;          /* not 0: the epoch is in file order */
    const char *scratch_dir; /* for inflated sources; NULL = TMPDIR, else /tmp, else up to 64 MiB of
                                memory */
    enum mst_fingerprint fingerprint; /* what tells this dataset from others, for cursors */
    uint32_t timeout_ms; /* of one request to a server, retries included; 0 = 60 s, 5 s where a
                            mirror stands in */
};

#define MST_LOADER_OPTS_INIT                                                                       \
    {                                                                                              \
        sizeof(struct mst_loader_opts), NULL, MST_FORMAT_AUTO, MST_I8, 0, 0, 0, 0, 0, 0, NULL,     \
            MST_FINGERPRINT_SAMPLED, 0                                                             \
    }

struct mst_sample {
    struct mst_cspan data; /* the record's bytes */
    uint64_t index;        /* 0 … sample_count-1 */
};

/* The program begins it with the macro and the library fills it in; one serves for all batches. */
struct mst_batch {
    uint32_t struct_bytes;
    uint32_t sample_bytes; /* from one sample to the next: the size that the program knows */
    const struct mst_sample *samples; /* sample_count of them, in order; valid until the next call
                                         of next, seek or close */
    uint32_t sample_count; /* this rank's part: global_batch/size, rounded up or down; may be 0 */
    uint64_t step;         /* batches of this position sequence before this one */
    uint64_t epoch;        /* of the first position of the global batch */
    uint64_t position;     /* of the first position of the global batch, in the endless sequence */
};

#define MST_BATCH_INIT                                                                             \
    {                                                                                              \
        sizeof(struct mst_batch), sizeof(struct mst_sample), NULL, 0, 0, 0, 0                      \
    }

struct mst_dataset_info {
    uint32_t struct_bytes;
    uint32_t source_count;
    uint64_t sample_count;
    uint64_t size_bytes;  /* uncompressed */
    uint64_t fingerprint; /* of contents and record shape, of the kind asked for: the same wherever
                             the data lies, and however its files are called */
    enum mst_format format;
    enum mst_dtype dtype;
    uint32_t hidden_count; /* names left out of a folder: files, folders with all below them */
    enum mst_fingerprint fingerprint_kind;
};

#define MST_DATASET_INFO_INIT                                                                      \
    {                                                                                              \
        sizeof(struct mst_dataset_info), 0, 0, 0, 0, MST_FORMAT_AUTO, MST_I8, 0,                   \
            MST_FINGERPRINT_SAMPLED                                                                \
    }

struct mst_loader_stats {
    uint32_t struct_bytes;
    uint64_t batch_count;
    uint64_t bytes_read;
    uint64_t stall_ns; /* time next() waited for data */
};

#define MST_LOADER_STATS_INIT                                                                      \
    {                                                                                              \
        sizeof(struct mst_loader_stats), 0, 0, 0                                                   \
    }

/* Opens the dataset and starts reading ahead from position 0. gzip sources are inflated once into
 * an unlinked file in opts.scratch_dir. Not collective: each rank opens for itself. `opts` and its
 * strings are copied, `world` is borrowed for the call. Blocks until the index is read, gzip is
 * inflated, and what fits half of the budget is in memory; that has no deadline, but each request
 * to a server is given up after opts.timeout_ms. 0, or with text -ENOENT, -EACCES … naming the
 * file; -ETIMEDOUT, -ECONNREFUSED, -EIO … of a server, for each mirror; -EBADMSG a truncated or
 * damaged file, an index that does not match its data, or mirrors of different sizes, with both
 * sizes; -EINVAL options, or they do not begin with MST_LOADER_OPTS_INIT; -ENOMEM budget too small,
 * saying how much is needed; -ENOTSUP scheme, or an option that only a newer libmuster knows. */
int mst_loader_open(const struct mst_loader_opts *opts, const struct mst_world *world,
                    struct mst_loader **ret_loader, struct mst_err *err);

/* Stops reading and frees. NULL is allowed. */
void mst_loader_close(struct mst_loader *loader);

/* What was opened. 0; -EINVAL *ret_info does not begin with MST_DATASET_INFO_INIT. */
int mst_loader_info(const struct mst_loader *loader, struct mst_dataset_info *ret_info);

/* The next batch of this rank. Never ends: epoch follows epoch. Blocks until it is read or the
 * deadline. Allocates nothing, but once for a program whose samples are larger than this library's.
 * 0; -ETIMEDOUT; -EIO, -EBADMSG, -ESTALE … when all mirrors of a source failed, -EINVAL *ret_batch
 * does not begin with MST_BATCH_INIT, -ENOTSUP it has what only a newer libmuster knows, -ENOMEM
 * (text by mst_loader_error). No batch is lost by a failure. */
int mst_loader_next(struct mst_loader *loader, struct mst_batch *ret_batch, uint64_t deadline_ns);

/* Why the last call of next failed, "" if it did not. The loader's; until the next call of next. */
const char *mst_loader_error(const struct mst_loader *loader);

/* Where the next batch starts, as bytes for a checkpoint: versioned, checksummed, the same on every
 * rank, but for a hash of the times or ETags of the files that this one reads. */
#define MST_CURSOR_BYTES 64 /* never changes */
void mst_loader_cursor(const struct mst_loader *loader, uint8_t ret_cursor[MST_CURSOR_BYTES]);

/* Goes on at a saved position, for any world size. Not collective. Blocks while a read that the
 * worker waits for is under way, a second at most; if a server must be asked anew, as long as a
 * request of open. Bytes of the new position are waited for by next. 0; -EBADMSG not a cursor;
 * -EINVAL the dataset, seed, order or record shape is another than the cursor's, saying which. The
 * loader stays where it was on failure. */
int mst_loader_seek(struct mst_loader *loader, const uint8_t *cursor, size_t size_bytes,
                    struct mst_err *err);

/* What was remarkable about the last seek that went well, or about opening if there was none; "" if
 * nothing was: a source was perhaps written anew since the cursor was saved, or fewer bytes were
 * compared than it asks for; files are read slowly, as this process has no huge pages, which
 * opening says and a seek forgets. A program tells it after both and goes on. */
const char *mst_loader_warning(const struct mst_loader *loader);

/* What the loader did since it was opened. 0; -EINVAL *ret_stats does not begin with
 * MST_LOADER_STATS_INIT. */
int mst_loader_get_stats(const struct mst_loader *loader, struct mst_loader_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif
