/* Mirror: which copy of the same bytes to read next.
 *
 * A place that failed is down: it is left alone for a while, longer each time, and then asked for a
 * byte that nobody waits for. Once it has answered it is as good as any. */
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
    uint32_t failures; /* in a row; 0: up */
    uint64_t rest_until_ns;
    bool probed; /* it has been asked and has not answered yet */
};

/* What there is to choose from, in the order that the dataset names it. */
struct mirror_choice {
    const struct mirror_health *health;
    bool tried;   /* by the read that chooses: not again */
    bool refused; /* this copy is known to be wrong: the last to try */
};

/* The first copy at a place that is up; else the one whose rest ends first. Returns `count` if all
 * were tried. */
size_t mirror_choose(const struct mirror_choice *choices, size_t count);

/* Whether the place is down and not to be asked yet; and whether it is time. */
bool mirror_rests(const struct mirror_health *health, uint64_t now_ns);
bool mirror_wants_probe(const struct mirror_health *health, uint64_t now_ns);

/* A read ended well there, or failed. The failures of reads that were in flight together count as
 * one. */
void mirror_succeeded(struct mirror_health *health);
void mirror_failed(struct mirror_health *health, uint64_t now_ns);

#endif
