#include "muster/core/world/page.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <stdbool.h>

static bool is_past_cure(int rc)
{
    switch (rc) {
    case -ENOTSUP:
    case -EACCES:
    case -EINVAL:
    case -EEXIST:
    case -ENOTDIR:
    case -EISDIR:
    case -EROFS: return true;
    default: return false;
    }
}

int mst_page_note_verdict(struct mst_page *page, uint32_t local_rank, int rc)
{
    bool says_nothing = rc < 0 && !is_past_cure(rc);
    if (page && !says_nothing && local_rank < mst_page_local_size(page))
        /* Relaxed: the word is all that is said, and is read once the rank has ended. */
        atomic_store_explicit(&mst_page_slot(page, local_rank)->verdict, rc < 0 ? rc : 0,
                              memory_order_relaxed);
    return rc;
}

int mst_world_note_verdict(const struct mst_world *world, int rc)
{
    struct mst_page *page;
    bool is_rank = world->page_fd >= 0 && mst_world_check_process(world, NULL) == 0;
    if (!is_rank || mst_page_map(world->page_fd, &page, NULL))
        return rc;
    (void)mst_page_note_verdict(page, world->local_rank, rc); /* it is rc */
    mst_page_unmap(page);
    return rc;
}
