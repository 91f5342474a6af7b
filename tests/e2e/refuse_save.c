/* refuse_save.so, for LD_PRELOAD: a library in which there is no memory for a checkpoint. */
#include "muster/ckpt/ckpt.h"

#include <errno.h>

__attribute__((visibility("default"))) int mst_ckpt_save(struct mst_ckpt *ckpt, uint64_t step,
                                                         const struct mst_state *state,
                                                         uint64_t deadline_ns)
{
    (void)ckpt;
    (void)step;
    (void)state;
    (void)deadline_ns;
    return -ENOMEM;
}
