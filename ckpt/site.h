/* Site: where a rank does its part of saves and loads, one thread at a time. */
#ifndef MUSTER_CKPT_SITE_H
#define MUSTER_CKPT_SITE_H

#include "muster/ckpt/root.h"
#include "muster/core/err.h"
#include "muster/core/resolve/resolve.h"

#include <stdint.h>

struct lease;
struct mst_ckpt_opts;
struct mst_kv;
struct mst_page;
struct mst_world;
struct tier;

struct site {
    struct tier *tier;
    struct mst_kv *kv;
    const struct mst_page *page; /* of the node, which says who has ended; or NULL */
    uint32_t rank, world_size, generation;
    uint32_t number; /* of this open within the generation: the <attempt> of keys */
    uint32_t keep, timeout_ms;
    struct lease *lease; /* rank 0's hold on the root */
    uint64_t epoch, token;
    char claim[ROOT_NAME_MAX]; /* of both: the same on all ranks */
    char job_id[MST_JOB_ID_BYTES];
};

/* What an open is made of. */
struct site_opening {
    const struct mst_ckpt_opts *opts;
    const struct mst_world *world;
    struct mst_kv *kv; /* the caller's; NULL: nobody else opens the root with us */
    uint64_t deadline_ns;
};

/* Opens the root for a site whose numbers are set. Collective, and blocks, as mst_ckpt_open. A site
 * that failed is closed all the same. */
int site_open(struct site *site, const struct site_opening *opening, struct mst_err *err);

/* What comes behind the files of a save has the last quarter of its time: a rank that could not
 * write must be heard of. */
uint64_t site_patience_ns(const struct site *site);

/* Gives the root back. */
void site_close(struct site *site);

#endif
