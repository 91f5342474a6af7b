/* Sources by their URIs, for tests of what is below the loader. */
#ifndef MUSTER_TESTS_SOURCES_H
#define MUSTER_TESTS_SOURCES_H

#include "muster/core/err.h"
#include "muster/dataio/index.h"
#include "muster/dataio/source.h"

static inline struct feed *sources_feed(const char *aio)
{
    struct feed *feed = NULL;
    struct mst_err err = {0};
    if (feed_create(&(struct feed_opts){.aio = aio, .timeout_ms = 600}, &feed, &err))
        fail_msg("%s", err.text);
    return feed;
}

/* As source_open. */
static inline int sources_open(const char *uri, const char *scratch, struct feed *feed,
                               struct source *ret_source, struct mst_err *err)
{
    struct dataset *dataset = NULL;
    int rc = dataset_open(uri, feed, &dataset, err);
    if (rc == 0)
        rc = source_open(&dataset->sources[0], scratch, feed, ret_source, err);
    dataset_close(dataset);
    return rc;
}

/* As index_open. */
static inline int sources_index(const char *uri, struct index_opts opts, struct feed *feed,
                                struct index **ret_index, struct mst_err *err)
{
    struct dataset *dataset = NULL;
    int rc = dataset_open(uri, feed, &dataset, err);
    opts.dataset = dataset;
    if (rc == 0)
        rc = index_open(&opts, feed, ret_index, err);
    dataset_close(dataset);
    return rc;
}

#endif
