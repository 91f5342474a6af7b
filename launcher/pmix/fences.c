#include "muster/launcher/pmix/fences.h"

#include "muster/core/err.h"
#include "muster/launcher/pmi_nodes.h"
#include "muster/launcher/pmix/host.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of one set. */
struct series {
    uint64_t set;
    uint32_t count;
    struct series *next;
};

struct fence {
    struct host_event *event;
    struct parts parts;
    char key[48];
    struct fence *next;
};

void fences_init(struct fences *fences, struct pmi_nodes *nodes, struct parts_layout layout)
{
    *fences = (struct fences){.nodes = nodes, .layout = layout};
}

void fences_fini(struct fences *fences)
{
    for (struct fence *fence; (fence = fences->waiting);) {
        fences->waiting = fence->next;
        free(fence);
    }
    for (struct series *series; (series = fences->series);) {
        fences->series = series->next;
        free(series);
    }
}

static int name_fence(struct fences *fences, struct fence *fence)
{
    struct series *series = fences->series;
    while (series && series->set != fence->parts.name)
        series = series->next;
    if (!series) {
        series = malloc(sizeof *series);
        if (!series)
            return -ENOMEM;
        *series = (struct series){.set = fence->parts.name, .next = fences->series};
        fences->series = series;
    }
    (void)snprintf(fence->key, sizeof fence->key, "fence/%016" PRIx64 "/%" PRIu32,
                   fence->parts.name, series->count++); /* it fits */
    return 0;
}

static struct pmi_exchange exchange_of(const struct fence *fence)
{
    return (struct pmi_exchange){.key = fence->key,
                                 .index = fence->parts.index,
                                 .count = fence->parts.count,
                                 .ranks = fence->event->ranks,
                                 .rank_count = fence->event->rank_count};
}

/* ---- its beginning --------------------------------------------------------------------------- */

static int find_parts(const struct fences *fences, const struct host_event *event,
                      struct parts *ret_parts)
{
    *ret_parts = (struct parts){.index = fences->nodes->node, .count = fences->layout.node_count};
    return event->ranks ? parts_find(&fences->layout, fences->nodes->node, event->ranks,
                                     event->rank_count, ret_parts)
                        : 0;
}

static int begin(struct fences *fences, struct fence *fence)
{
    int rc = name_fence(fences, fence);
    if (rc)
        return rc;
    const struct mst_cspan mine = {fence->event->data, fence->event->size_bytes, MST_MEM_HOST};
    const struct pmi_exchange exchange = exchange_of(fence);
    return pmi_nodes_put(fences->nodes, &exchange, mine);
}

int fences_begin(struct fences *fences, struct host_event *event, struct mst_err *err)
{
    struct parts parts;
    if (event->status || find_parts(fences, event, &parts)) {
        host_answer(event, -ENOTSUP, NULL, 0);
        return 0;
    }
    if (parts.count == 1) { /* all is given */
        char *data = event->data;
        event->data = NULL;
        host_answer(event, 0, data, event->size_bytes);
        return 0;
    }
    struct fence *fence = calloc(1, sizeof *fence);
    if (!fence)
        return mst_err_set(err, -ENOMEM, "no memory for a fence");
    *fence = (struct fence){.event = event, .parts = parts, .next = fences->waiting};
    fences->waiting = fence;
    int rc = begin(fences, fence);
    return rc ? pmi_nodes_refuse(rc, fence->key, event->size_bytes, err) : 0;
}

bool fences_wait(const struct fences *fences)
{
    return fences->waiting != NULL;
}

/* ---- its end --------------------------------------------------------------------------------- */

/* What all nodes have given, one behind the other. NULL: there is no memory. */
static char *join(const struct mst_kv_gathered *gathered, size_t *ret_size)
{
    size_t size = 0, used = 0;
    for (uint32_t i = 0; i < gathered->count; i++)
        size += gathered->parts[i].size_bytes;
    char *data = malloc(size + 1); /* even if all have given nothing */
    for (uint32_t i = 0; data && i < gathered->count; i++) {
        const struct mst_cspan *part = &gathered->parts[i];
        if (part->size_bytes > 0)
            memcpy(data + used, part->data, part->size_bytes);
        used += part->size_bytes;
    }
    *ret_size = size;
    return data;
}

/* 0 and *ret_over; errors that end the job, with text. */
static int look(struct fences *fences, struct fence *fence, uint32_t timeout_ms, bool *ret_over,
                struct mst_err *err)
{
    struct mst_kv_gathered gathered = {0};
    const struct pmi_exchange exchange = exchange_of(fence);
    char *data = NULL;
    size_t size = 0;
    int rc = pmi_nodes_wait(fences->nodes, &exchange, timeout_ms, &gathered, err);
    if (rc == -EAGAIN)
        return 0;
    if (rc == 0) {
        data = join(&gathered, &size);
        rc = data ? 0 : -ENOMEM;
    }
    mst_kv_gathered_free(&gathered);
    if (rc)
        return err->code ? rc : pmi_nodes_refuse(rc, fence->key, fence->event->size_bytes, err);
    host_answer(fence->event, 0, data, size);
    *ret_over = true;
    return 0;
}

int fences_run(struct fences *fences, uint32_t timeout_ms, struct mst_err *err)
{
    uint32_t count = 0;
    int rc = 0;
    for (const struct fence *fence = fences->waiting; fence; fence = fence->next)
        count++;
    for (struct fence **at = &fences->waiting; rc == 0 && *at;) {
        struct fence *fence = *at;
        bool is_over = false;
        rc = look(fences, fence, timeout_ms / count, &is_over, err);
        if (is_over) {
            *at = fence->next;
            free(fence);
        } else {
            at = &fence->next;
        }
    }
    return rc;
}
