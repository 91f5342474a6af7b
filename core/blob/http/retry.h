/* retry: which failures of a request another try may cure, and how long to wait before it. */
/* pure */
#ifndef MUSTER_CORE_BLOB_HTTP_RETRY_H
#define MUSTER_CORE_BLOB_HTTP_RETRY_H

#include <stdbool.h>
#include <stdint.h>

struct mst_rng;

#define RETRY_PAUSE_MIN_NS UINT64_C(50000000)
#define RETRY_PAUSE_MAX_NS UINT64_C(5000000000)

/* Whether a request that ended with `rc` (0 if an answer came, else -errno) and `status` may end
 * better: the connection failed or was cut, or the server says that it is busy or broken. */
bool retry_helps(int rc, int status);

/* Nanoseconds to wait after failure number `failures` (>= 1): at random up to a bound that doubles
 * from 50 ms to 5 s, so that clients that failed together do not come back together; never less
 * than what the server asked for, `asked_ns`. Source: "full jitter", Brooker, AWS Architecture
 * Blog, 2015. */
uint64_t retry_pause_ns(struct mst_rng *rng, uint32_t failures, uint64_t asked_ns);

#endif
