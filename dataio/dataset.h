/* Dataset: which sources there are, and where the mirrors of each lie.
 *
 * A dataset is named by one URI or by several, its mirrors, separated by ','. A URI names a file; a
 * folder, if it ends in '/': then all files below are sources, in byte order of their names, but
 * for indices (*.idx) and hidden ones, where the name or that of a folder below the URI begins with
 * '.' or '_'; or, in *.dataset.json, a dataset file, whose names all count:
 *
 *   {"version": 1, "sources": [{"name": "a.txt.gz", "mirrors": ["s3://b/a.txt.gz", "a.txt.gz"]}]}
 *
 * A relative mirror is meant beside the dataset file, wherever that has mirrors itself; no
 * "mirrors" means the name, relative. No "name" means the last part of the first mirror. Mirrors
 * are the same bytes: a *.gz or *.dz is refused where the name is that of no gzip. */
#ifndef MUSTER_DATAIO_DATASET_H
#define MUSTER_DATAIO_DATASET_H

#include <stddef.h>
#include <stdint.h>

struct mst_err;
struct feed;
struct mst_blob_info;

#define DATASET_SOURCES_MAX 65536u
#define DATASET_FILE_MAX ((size_t)64 << 20)

struct dataset_source {
    char *name; /* says the format, and counts as what the source is called */
    char **mirrors;
    size_t mirror_count;          /* 1 … MIRROR_COUNT_MAX */
    struct mst_blob_info *listed; /* what a folder's listing says of one of them; or NULL */
    size_t listed_mirror;         /* which */
};

struct dataset {
    struct dataset_source *sources;
    size_t source_count;
    uint64_t hidden_count; /* names left out of a folder: files, and folders with all below them */
};

/* Finds the sources that `uris` names; folders and dataset files are read. 0; -EINVAL an empty URI,
 * too many, no source, or a gzip as mirror of a file that is none; -EBADMSG the dataset file is
 * damaged; what reading it or the folder answered. */
int dataset_open(const char *uris, struct feed *feed, struct dataset **ret_dataset,
                 struct mst_err *err);

/* Decodes a dataset file that lies at each mirror of `self`. 0; -EBADMSG; -ENOMEM. */
int dataset_decode(const char *text, size_t size_bytes, const struct dataset_source *self,
                   struct dataset **ret_dataset, struct mst_err *err);

/* NULL and half-built ones are allowed. */
void dataset_close(struct dataset *dataset);

/* The source whose mirrors lie beside those of `source`, with `suffix` in place of the last `cut`
 * bytes of their names. To be freed by dataset_source_fini. 0; -EINVAL; -ENOMEM. */
int dataset_companion(const struct dataset_source *source, size_t cut, const char *suffix,
                      struct dataset_source *ret_source, struct mst_err *err);

/* A half-built one is allowed. */
void dataset_source_fini(struct dataset_source *source);

#endif
