/* Site: where one thread of a rank does its part of saves and loads. */
#ifndef MUSTER_CKPT_SITE_H
#define MUSTER_CKPT_SITE_H

#include <stdint.h>

struct mst_aio;
struct mst_kv;

struct site {
    struct mst_aio *aio;
    struct mst_kv *kv;
    int root_fd;
    uint32_t rank, world_size, generation;
    uint32_t number; /* of this open within the generation: the <attempt> of names and keys */
    uint32_t keep, timeout_ms;
};

#endif
