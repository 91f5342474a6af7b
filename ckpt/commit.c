/* pure */
#include "muster/ckpt/commit.h"

#include <assert.h>

struct next {
    enum commit_state ok, failed;
};

/* A rank that could not write votes all the same: rank 0 must hear of it before the deadline. A
 * failure to announce does not take the checkpoint back, nor do old ones that stay stand in the way
 * of a new one. */
static const struct next leader[COMMIT_STATE_COUNT] = {
    [COMMIT_WRITE] = {COMMIT_VOTE, COMMIT_VOTE},
    [COMMIT_VOTE] = {COMMIT_RETAIN, COMMIT_ABANDON},
    [COMMIT_RETAIN] = {COMMIT_GATHER, COMMIT_GATHER},
    [COMMIT_GATHER] = {COMMIT_MANIFEST, COMMIT_ABANDON},
    [COMMIT_MANIFEST] = {COMMIT_PUBLISH, COMMIT_ABANDON},
    [COMMIT_PUBLISH] = {COMMIT_ANNOUNCE, COMMIT_ABANDON},
    [COMMIT_ANNOUNCE] = {COMMIT_COMMITTED, COMMIT_COMMITTED},
    [COMMIT_ABANDON] = {COMMIT_REFUSE, COMMIT_REFUSE},
    [COMMIT_REFUSE] = {COMMIT_FAILED, COMMIT_FAILED},
    [COMMIT_AWAIT] = {COMMIT_FAILED, COMMIT_FAILED},
    [COMMIT_COMMITTED] = {COMMIT_COMMITTED, COMMIT_COMMITTED},
    [COMMIT_FAILED] = {COMMIT_FAILED, COMMIT_FAILED},
};

static enum commit_state next_of_follower(enum commit_state state, bool ok)
{
    switch (state) {
    case COMMIT_WRITE: return COMMIT_VOTE;
    case COMMIT_VOTE: return ok ? COMMIT_AWAIT : COMMIT_FAILED;
    case COMMIT_AWAIT: return ok ? COMMIT_COMMITTED : COMMIT_FAILED;
    case COMMIT_COMMITTED: return COMMIT_COMMITTED;
    default: return COMMIT_FAILED;
    }
}

enum commit_state commit_next(enum commit_state state, bool is_leader, bool ok)
{
    assert(state < COMMIT_STATE_COUNT);
    enum commit_state next = is_leader ? (ok ? leader[state].ok : leader[state].failed)
                                       : next_of_follower(state, ok);
    assert(next > state || commit_is_final(state)); /* forward only, so that every save ends */
    return next;
}

bool commit_is_final(enum commit_state state)
{
    return state == COMMIT_COMMITTED || state == COMMIT_FAILED;
}
