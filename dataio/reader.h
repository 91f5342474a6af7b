/* Reader: all reads of a dataset, wherever its files are and however many copies they have.
 *
 *   reader_create → reader_open(copies)… → reader_submit → reader_reap → reader_close… → reader_destroy
 *
 * Each read goes to one copy, and to the next one when that fails (mirror.h says which): it fails
 * itself when all copies have. All copies have the same size, and a remote one is read in the
 * version that it had when it was first looked at. One thread at a time. */
#ifndef MUSTER_DATAIO_READER_H
#define MUSTER_DATAIO_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_err;
struct reader;
struct reader_file;

#define READER_DEPTH 64u /* reads under way */

struct reader_opts {
    const char *aio;       /* as mst_aio_opts.backend */
    uint64_t window_bytes; /* what reading a file from end to end may take; 0 = 32 MiB */
    uint32_t timeout_ms;   /* of one read from a place that other copies stand in for; 0 = 10 s */
};

int reader_create(const struct reader_opts *opts, struct reader **ret_reader, struct mst_err *err);

/* All files are closed. Ends what is under way. NULL is allowed. */
void reader_destroy(struct reader *reader);

/* As its options say. */
uint64_t reader_window_bytes(const struct reader *reader);
const char *reader_aio(const struct reader *reader);

/* Opens a file that lies, in copies, at each of `uris` (1 … MIRROR_COUNT_MAX of them). One that can
 * be reached is enough; the others are looked at again when they are needed. 0; -EBADMSG two differ
 * in size; or, if none can be reached, why, for each. */
int reader_open(struct reader *reader, char *const *uris, size_t uri_count,
                struct reader_file **ret_file, struct mst_err *err);

/* Makes an open local file, which it takes, one of the reader's. `label`: what texts call it. */
int reader_adopt(struct reader *reader, const char *label, int fd, struct reader_file **ret_file,
                 struct mst_err *err);

/* Nothing of it is under way. NULL is allowed. */
void reader_close(struct reader_file *file);

struct reader *reader_of(const struct reader_file *file);
uint64_t reader_size(const struct reader_file *file);

/* What offset, size and memory of a direct read should be multiples of: 1 if that is of no use. */
uint32_t reader_grain(const struct reader_file *file);

struct reader_read {
    struct reader_file *file;
    uint64_t offset;
    void *data; /* borrowed until the read comes back */
    size_t size_bytes;
    bool direct; /* past the page cache, if it is aligned */
    void *user;
};

struct reader_done {
    void *user;
    int64_t result;            /* bytes: all but those behind the file's end; or -errno */
    const struct mst_err *err; /* if it failed: why; until the next call */
};

/* Takes reads: as many as bring those under way to READER_DEPTH. */
size_t reader_submit(struct reader *reader, const struct reader_read *reads, size_t count);

/* Collects at least `min` reads if so many are under way, blocking until the deadline: how many;
 * -ETIMEDOUT when fewer came, which are kept. */
int reader_reap(struct reader *reader, struct reader_done *done, size_t cap, size_t min,
                uint64_t deadline_ns);

size_t reader_in_flight(const struct reader *reader);

/* Forgets all reads under way; their memory is free again. */
void reader_cancel(struct reader *reader);

/* Reads and waits; nothing else is under way. 0; -EBADMSG the file ends before; -errno. */
int reader_read(struct reader_file *file, uint64_t offset, void *data, size_t size_bytes,
                struct mst_err *err);

#endif
