/* Mirror: which copy of the same bytes to read next.
 *
 * A place that failed rests, longer each time it fails again. When the rest is over one read is sent
 * there to see: if that ends well the place is as good as any, else it rests again. */
/* pure */
#ifndef MUSTER_DATAIO_MIRROR_H
#define MUSTER_DATAIO_MIRROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIRROR_COUNT_MAX 16u
#define MIRROR_REST_MIN_NS UINT64_C(1000000000)
#define MIRROR_REST_MAX_NS UINT64_C(60000000000)

/* Of a place; zero: it has never failed. */
struct mirror_health {
    uint32_t failures; /* in a row */
    uint64_t rest_until_ns;
    bool probed; /* a read is there to see */
};

/* What there is to choose from, in the order that the dataset names it. */
struct mirror_choice {
    const struct mirror_health *health;
    bool tried;   /* by the read that chooses: not again */
    bool refused; /* this copy is known to be wrong: the last to try */
};

/* The first copy at a place that does not rest; else the one whose rest ends first. Returns `count`
 * if all were tried. */
size_t mirror_choose(const struct mirror_choice *choices, size_t count, uint64_t now_ns);

bool mirror_rests(const struct mirror_health *health, uint64_t now_ns);

/* A read goes to the place, ended well there, or failed there. The failures of reads that were in
 * flight together count as one. */
void mirror_used(struct mirror_health *health);
void mirror_succeeded(struct mirror_health *health);
void mirror_failed(struct mirror_health *health, uint64_t now_ns);

#endif
