#include "muster/core/world/page.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <stdbool.h>

static bool is_past_cure(int rc)
{
    return rc == -ENOTSUP || rc == -EACCES || rc == -EINVAL || rc == -EEXIST;
}

int mst_world_note_verdict(const struct mst_world *world, int rc)
{
    struct mst_page *page;
    bool is_rank = world->page_fd >= 0 && mst_world_check_process(world, NULL) == 0;
    if (!is_rank || (rc < 0 && !is_past_cure(rc)) || mst_page_map(world->page_fd, &page, NULL))
        return rc;
    if (world->local_rank < mst_page_local_size(page))
        /* Relaxed: the word is all that is said, and is read once the rank has ended. */
        atomic_store_explicit(&mst_page_slot(page, world->local_rank)->verdict, rc < 0 ? rc : 0,
                              memory_order_relaxed);
    mst_page_unmap(page);
    return rc;
}
