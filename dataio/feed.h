/* Feed: all reads of a dataset, wherever its files are and however many copies they have.
 *
 *   feed_create → feed_open(copies)… → feed_submit → feed_reap → feed_close… → feed_destroy
 *
 * Each read goes to one copy, and to the next one when that fails (mirror.h says which): it fails
 * itself when all copies have. All copies have the same size, and a remote one is read in the
 * version that it had when it was first looked at. One thread at a time. */
#ifndef MUSTER_DATAIO_FEED_H
#define MUSTER_DATAIO_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_blob_info;
struct mst_err;
struct feed;
struct feed_file;

#define FEED_DEPTH 64u                     /* reads under way */
#define FEED_BYTES_MAX (UINT64_C(1) << 62) /* of a file, so that sums with a size do not overflow */

struct feed_opts {
    const char *aio;       /* as mst_aio_opts.backend */
    uint64_t window_bytes; /* what reading a file from end to end may take; 0 = 64 MiB */
    uint32_t timeout_ms;   /* of one request, retries included; 0 = 60 s, or 5 s from a place that
                              other copies stand in for */
};

int feed_create(const struct feed_opts *opts, struct feed **ret_feed, struct mst_err *err);

/* All files are closed. Ends what is under way. NULL is allowed. */
void feed_destroy(struct feed *feed);

/* As its options say. */
uint64_t feed_window_bytes(const struct feed *feed);
const char *feed_aio(const struct feed *feed);
uint32_t feed_timeout_ms(const struct feed *feed); /* 0: none was asked for */

struct feed_name {
    char *const *uris;
    size_t uri_count;
    const struct mst_blob_info *listed; /* what is known of one of them, or NULL */
    size_t listed_uri;                  /* which */
};

/* Files that are opened soon, FEED_FORESEEN_MAX at most: their servers are asked for many at a
 * time. Nothing is under way. */
#define FEED_FORESEEN_MAX 64u
void feed_foresee(struct feed *feed, const struct feed_name *names, size_t count);

/* Opens a file that lies, in copies, at each of `uris` (1 … MIRROR_COUNT_MAX of them). One that can
 * be reached is enough; the others are looked at again when they are needed. 0; -EBADMSG two differ
 * in size; or, if none can be reached, why, for each. */
int feed_open(struct feed *feed, char *const *uris, size_t uri_count, struct feed_file **ret_file,
              struct mst_err *err);

/* An empty file in the feed's scratch file: store_local_begin and its like in store.h. `label`:
 * what texts call it. */
struct feed_room {
    int fd;          /* borrowed */
    uint64_t offset; /* where the contents go */
};
int feed_begin(struct feed *feed, const char *label, const char *dir, struct feed_file **ret_file,
               struct feed_room *ret_room, struct mst_err *err);
const char *feed_place(const struct feed *feed);
int feed_check(const struct feed_file *file, uint64_t size_bytes);
void feed_end(struct feed_file *file, uint64_t size_bytes);

/* Nothing is under way. NULL is allowed. */
void feed_close(struct feed_file *file);

/* Whether it is one that feed_begin made. */
bool feed_is_scratch(const struct feed_file *file);

struct feed *feed_of(const struct feed_file *file);
uint64_t feed_size(const struct feed_file *file);

/* store_item.version of the first copy; 0 also if that was not looked at. */
uint64_t feed_version(const struct feed_file *file);

/* What offset, size and memory of a direct read should be multiples of: 1 if that is of no use. */
uint32_t feed_grain(const struct feed_file *file);

/* How much of a long file one read should bring. */
uint64_t feed_bulk_bytes(const struct feed_file *file);

struct feed_read {
    struct feed_file *file;
    uint64_t offset;
    void *data; /* borrowed until the read comes back */
    size_t size_bytes;
    bool direct; /* past the page cache, if it is aligned */
    void *user;
};

struct feed_done {
    void *user;
    int64_t result;            /* bytes: all but those behind the file's end; or -errno */
    const struct mst_err *err; /* if it failed: why; until the next call */
};

/* Takes reads: as many as bring those under way to FEED_DEPTH. */
size_t feed_submit(struct feed *feed, const struct feed_read *reads, size_t count);

/* Collects at least `min` reads if so many are under way, blocking until the deadline: how many;
 * -ETIMEDOUT when fewer came, which are kept. */
int feed_reap(struct feed *feed, struct feed_done *done, size_t cap, size_t min,
              uint64_t deadline_ns);

size_t feed_in_flight(const struct feed *feed);

/* Forgets all reads under way; their memory is free again. */
void feed_cancel(struct feed *feed);

/* Tells the next read, all but its `user`; false: there are no more. */
typedef bool (*feed_next_fn)(void *arg, struct feed_read *ret_read);

/* Does all reads that `next` tells, as many at a time as may be under way; nothing else is. 0;
 * -EBADMSG a file ends before; -errno. */
int feed_read_all(struct feed *feed, feed_next_fn next, void *arg, struct mst_err *err);

#endif
