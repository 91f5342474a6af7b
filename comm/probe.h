/* Which way of depositing costs less between the ranks of a node, as they run now. */
#ifndef MUSTER_COMM_PROBE_H
#define MUSTER_COMM_PROBE_H

#include "muster/comm/segment.h"

/* All ranks of the node, at the same point of their steps. Rank 0 chooses, and its deposits tell
 * the others, so that all go by the same word from the same step on. It deposits and reads a few
 * kilobytes both ways until it has done so often enough or some 0.3 ms have passed, but for one
 * step where it has no core of its own. Sets how rooms follow one another (segment_set_rooms).
 * *ret_streams: whether streaming is clearly faster; false for a rank alone. 0, or the failure of
 * segment_step. */
int probe_deposits(struct segment *segment, uint64_t deadline_ns, bool *ret_streams,
                   struct mst_err *err);

#endif
