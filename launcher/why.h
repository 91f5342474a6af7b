/* Why: what is known of a rank's death beyond its code, as a text for people: the cause in the log,
 * in /dev/termination-log and in `muster status`, on all nodes. */
#ifndef MUSTER_LAUNCHER_WHY_H
#define MUSTER_LAUNCHER_WHY_H

#include "muster/launcher/msg.h"

#include <stdint.h>

struct oom;
struct rank_death;
struct ranks;

struct why {
    uint32_t end;              /* enum exitcode_end, if the code does not tell it; else 0 */
    char text[MSG_TEXT_BYTES]; /* may be empty */
};

/* What killed the rank, and what it left in its error file. That it was the kernel, for want of
 * memory, is said only if the kernel says so, with the limit, and who beside it has how much, as
 * the victim need not be the culprit: asks while the other ranks live. */
void why_of_death(struct oom *oom, const struct ranks *ranks, const struct rank_death *death,
                  uint64_t now_ns, struct why *ret_why);

#endif
