/* Stamp: the time of day as lines tell it, "2026-01-31T23:59:59.123Z". */
#ifndef MUSTER_LAUNCHER_STAMP_H
#define MUSTER_LAUNCHER_STAMP_H

#define STAMP_BYTES 32

/* Now, in UTC, into `text`, which is returned. Safe from any thread. */
const char *stamp_now(char text[STAMP_BYTES]);

#endif
