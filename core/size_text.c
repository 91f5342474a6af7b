/* pure */
#include "muster/core/size_text.h"

#include <stddef.h>
#include <stdio.h>

const char *size_text(uint64_t size_bytes, char text[SIZE_TEXT_BYTES])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double size = (double)size_bytes;
    size_t unit = 0;
    while (size >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        size /= 1024;
        unit++;
    }
    /* "1023.9 KiB" is the longest. */
    (void)snprintf(text, SIZE_TEXT_BYTES, unit ? "%.1f %s" : "%.0f %s", size, units[unit]);
    return text;
}
