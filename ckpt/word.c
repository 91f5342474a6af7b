#include "muster/ckpt/word.h"

#include "muster/core/clock.h"
#include "muster/core/kv/kv.h"
#include "muster/core/least.h"
#include "muster/core/world/page.h"

#include <errno.h>
#include <stdbool.h>

#define LOOK_MS_MIN 20   /* between two looks at the node page, … */
#define LOOK_MS_MAX 1000 /* … which cost a request each */

static bool has_ended(const struct word *word)
{
    return word->page && mst_page_aborted(word->page) == word->from + 1;
}

/* What a rank said before it ended may still be under way: one more wait begins when that is
 * known. */
int word_await(const struct word *word, void *value, size_t cap, size_t *ret_size_bytes,
               uint64_t deadline_ns)
{
    for (uint64_t look_ms = LOOK_MS_MIN;; look_ms = mst_least(2 * look_ms, LOOK_MS_MAX)) {
        bool ended = has_ended(word);
        uint64_t look_ns = word->page ? mst_deadline_ms(ended ? LOOK_MS_MIN : look_ms) : MST_NEVER;
        int rc = mst_kv_wait(word->kv, word->key, value, cap, ret_size_bytes,
                             mst_least(look_ns, deadline_ns));
        if (rc != -ETIMEDOUT || mst_deadline_passed(deadline_ns))
            return rc;
        if (ended)
            return -ECONNRESET;
    }
}
