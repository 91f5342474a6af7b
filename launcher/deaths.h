/* Deaths: which of this node's dead ranks is judged when. A rank that SIGTERM killed may be the
 * first half of a signal to the whole group, whose other half the agent reads a moment later: it is
 * held until the agent knows whether a drain is on, or for DEATHS_HOLD_NS. Whoever dies after it is
 * held behind it, as likely its consequence. */
#ifndef MUSTER_LAUNCHER_DEATHS_H
#define MUSTER_LAUNCHER_DEATHS_H

#include "muster/launcher/ranks.h"

#include <stdbool.h>
#include <stdint.h>

#define DEATHS_HOLD_NS UINT64_C(500000000)

struct deaths {
    struct rank_death *held; /* the caller's, for as many as there are ranks */
    uint32_t count;
    uint64_t due_ns; /* when those held are judged at the latest; MST_NEVER if there are none */
};

void deaths_init(struct deaths *deaths, struct rank_death *memory);

/* Takes a death. Asserts that it has room, as each rank dies once. */
void deaths_add(struct deaths *deaths, const struct rank_death *death, uint64_t now_ns);

/* The next that is to be judged, in the order of their ends: at once if it is `known` what a death
 * by SIGTERM means, or if it is none and nothing is held before it. False if there is none. */
bool deaths_take(struct deaths *deaths, bool known, uint64_t now_ns, struct rank_death *ret_death);

#endif
