#include "muster/core/cli/progress.h"

#include "muster/core/clock.h"

#include <stdio.h>
#include <unistd.h>

#define PERIOD_NS (100 * MST_NS_PER_MS)

void progress_init(struct progress *progress, bool wanted)
{
    *progress = (struct progress){.shown = wanted && isatty(STDERR_FILENO)};
}

void progress_show(struct progress *progress, const char *name, uint64_t done_bytes,
                   uint64_t total_bytes)
{
    static const char bar[] = "########################################";
    uint64_t now_ns = mst_now_ns();
    if (!progress->shown || now_ns < progress->next_ns || total_bytes == 0)
        return;
    progress->next_ns = now_ns + PERIOD_NS;
    double part = (double)done_bytes / (double)total_bytes;
    fprintf(stderr, "\r%s [%-40.*s] %3.0f %%", name, (int)(part * 40), bar, part * 100);
}

void progress_clear(const struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
}
