/* Site: where a rank does its part of saves and loads, one thread at a time. */
#ifndef MUSTER_CKPT_SITE_H
#define MUSTER_CKPT_SITE_H

#include "muster/ckpt/root.h"

#include <stdint.h>

struct mst_kv;
struct tier;

struct site {
    struct tier *tier;
    struct mst_kv *kv;
    uint32_t rank, world_size, generation;
    uint32_t number; /* of this open within the generation: the <attempt> of names and keys */
    uint32_t keep, timeout_ms;
    char commit[ROOT_NAME_MAX]; /* of this open, the same on all ranks; "": names carry none */
};

#endif
