/* Why: what is known of a rank's death beyond its code, as a text for people: the cause in the log,
 * in /dev/termination-log and in `muster status`, on all nodes. */
#ifndef MUSTER_LAUNCHER_WHY_H
#define MUSTER_LAUNCHER_WHY_H

#include "muster/launcher/msg.h"

#include <stdbool.h>
#include <stdint.h>

struct oom;
struct rank_death;
struct ranks;

/* Whether the kernel killed the rank, or what a wrapper ran, for want of memory: into `text` with
 * the limit, and who beside it has how much, as the victim need not be the culprit. Asks while the
 * other ranks live. False, and `text` untouched, without the kernel's word. */
bool why_oom(struct oom *oom, const struct ranks *ranks, const struct rank_death *death,
             uint64_t now_ns, char text[MSG_TEXT_BYTES]);

#endif
