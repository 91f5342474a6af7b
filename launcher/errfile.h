/* Errfile: what a program of torch leaves in TORCHELASTIC_ERROR_FILE when an exception ends it:
 *   {"message": {"message": "RuntimeError: …", "extraInfo": {"py_callstack": …, "timestamp": …}}}
 * or, from older versions, {"message": "…"}. */
#ifndef MUSTER_LAUNCHER_ERRFILE_H
#define MUSTER_LAUNCHER_ERRFILE_H

#include <stdbool.h>
#include <stddef.h>

#define ERRFILE_BYTES_MAX ((size_t)256 << 10) /* what is longer is not read */

/* The message, as one line of printable ASCII, cut if `cap` is smaller. False, and `line`
 * untouched, if there is none. Allocates for a while. */
bool errfile_message(const char *text, size_t size, char *line, size_t cap);

#endif
