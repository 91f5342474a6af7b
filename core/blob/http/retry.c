/* pure */
#include "muster/core/blob/http/retry.h"

#include "muster/core/least.h"
#include "muster/core/rng.h"

#include <errno.h>

bool retry_helps(int rc, int status)
{
    switch (rc) {
    case 0: break;
    case -ECONNRESET:
    case -ECONNREFUSED:
    case -ECONNABORTED:
    case -EHOSTUNREACH:
    case -ENETUNREACH:
    case -EPIPE:
    case -ETIMEDOUT: return true;
    default: return false;
    }
    switch (status) {
    case 408: /* the server gave up waiting for the request */
    case 429: /* too many requests */
    case 500:
    case 502:
    case 503:
    case 504: return true;
    default: return false;
    }
}

uint64_t retry_pause_ns(struct mst_rng *rng, uint32_t failures, uint64_t asked_ns)
{
    uint64_t bound = RETRY_PAUSE_MIN_NS;
    for (uint32_t i = 1; i < failures && bound < RETRY_PAUSE_MAX_NS; i++)
        bound *= 2;
    uint32_t bound_us = (uint32_t)(mst_least(bound, RETRY_PAUSE_MAX_NS) / 1000);
    uint64_t pause = (uint64_t)mst_rng_below(rng, bound_us) * 1000;
    return asked_ns + pause;
}
