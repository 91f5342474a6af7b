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

static inline bool sources_next_once(void *arg, struct feed_read *ret_read)
{
    const struct feed_read **read = arg;
    if (*read)
        *ret_read = **read;
    bool more = *read != NULL;
    *read = NULL;
    return more;
}

/* One read, waited for. */
static inline int sources_read(struct feed *feed, const struct feed_read *read, struct mst_err *err)
{
    return feed_read_all(feed, sources_next_once, &read, err);
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
