/* Index: the dataset as one sequence of samples over its sources, and its identity.
 *
 * A dataset whose contents fit the memory that index_open is given is kept there whole. */
#ifndef MUSTER_DATAIO_INDEX_H
#define MUSTER_DATAIO_INDEX_H

#include "muster/dataio/fingerprint.h"
#include "muster/dataio/record.h"
#include "muster/dataio/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dataset;
struct mst_err;
struct feed;

struct shard {
    struct source source;
    struct record_table table;
    uint64_t *starts;        /* behind table.starts, or NULL */
    uint64_t first_sample;   /* of the dataset */
    const uint8_t *resident; /* the contents, or NULL */
};

struct index {
    struct record_shape shape;
    struct shard *shards;
    uint32_t shard_count;
    uint64_t sample_count;
    uint64_t size_bytes;       /* of all contents */
    uint64_t hidden_count;     /* dataset.h */
    uint64_t record_bytes_max; /* of one sample */
    struct fingerprint fingerprint;
    uint64_t shape_hash;
    uint32_t place, pin; /* hashes of the sources' URIs, and of their versions: 0 if not known */
    uint8_t *resident;   /* all contents, or NULL */
};

/* Where a sample lies. */
struct place {
    uint32_t shard;
    uint64_t offset, size_bytes;
};

struct index_opts {
    const struct dataset *dataset;
    struct record_shape shape;
    const char *scratch_dir; /* as in scratch.h */
    bool full;               /* the fingerprint is over every byte, too */
    uint64_t resident_bytes; /* contents up to this size are kept in memory; 0: none */
    bool look_only;          /* but only where that makes the index sooner */
    bool is_part;            /* of a dataset: there may be no sample */
};

/* Opens all sources, finds the samples and computes the fingerprint. Nothing of the feed is under
 * way; what is kept in memory needs it no longer. 0; errors as of source_open, the readers and
 * source_scan, with the names of the files; -EINVAL options, or no sample at all where is_part is
 * not set. */
int index_open(const struct index_opts *opts, struct feed *feed, struct index **ret_index,
               struct mst_err *err);

/* NULL and half-built ones are allowed. */
void index_close(struct index *index);

/* Asserts sample < sample_count. Cost: a binary search over the sources. */
struct place index_locate(const struct index *index, uint64_t sample);

#endif
