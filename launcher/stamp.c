#include "muster/launcher/stamp.h"

#include <stdio.h>
#include <time.h>

const char *stamp_now(char text[STAMP_BYTES])
{
    struct timespec now;
    struct tm day;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    char seconds[24];
    if (!gmtime_r(&now.tv_sec, &day) || strftime(seconds, sizeof seconds, "%FT%T", &day) == 0)
        seconds[0] = '\0'; /* a clock that stands past the year 9999 */
    snprintf(text, STAMP_BYTES, "%s.%03uZ", seconds, (unsigned)(now.tv_nsec / 1000000) % 1000);
    return text;
}
