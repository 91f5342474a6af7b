#include "muster/launcher/settle.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/launcher/exitcode.h"
#include "muster/launcher/opts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define START_DIGITS "0123456789"

/* MST_* variables say what the world is, and nothing of who starts it: the first that is somebody
 * counts. */
void settle_profile(struct opts *opts, int flag)
{
    const struct mst_answer *answer = opts->answer;
    opts->profile = flag >= 0 ? (enum exitcode_profile)flag : EXITCODE_PLAIN;
    opts->profile_by = flag >= 0 ? "given" : "nobody known";
    for (uint32_t i = 0; flag < 0 && i < answer->candidate_count; i++) {
        const char *scheduler = answer->candidates[i].plan.scheduler;
        opts->profile = exitcode_guess(scheduler);
        if (opts->profile == EXITCODE_PLAIN)
            continue;
        opts->profile_by = scheduler;
        return;
    }
}

int settle_end(struct opts *opts, const char *start, struct mst_err *err)
{
    uint64_t now_s = (uint64_t)time(NULL), since_ms = 0;
    if (opts->deadline_ms == 0)
        return 0;
    if (start && (!*start || strlen(start) > 11 || strspn(start, START_DIGITS) != strlen(start)))
        return mst_err_set(err, -EINVAL,
                           "MST_JOB_START=%.64s is no number of seconds since 1970: set it to what "
                           "`date +%%s` says where the job is made, or leave it out",
                           start);
    uint64_t start_s = start ? strtoull(start, NULL, 10) : now_s;
    if (start_s < now_s)
        since_ms = (now_s - start_s) * 1000;
    opts->end_ns = mst_now_ns();
    if (since_ms < opts->deadline_ms)
        opts->end_ns += (opts->deadline_ms - since_ms) * MST_NS_PER_MS;
    return 0;
}
