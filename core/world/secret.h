/* Secret: what the processes of a job prove themselves with, as the environment gives it. */
#ifndef MUSTER_CORE_WORLD_SECRET_H
#define MUSTER_CORE_WORLD_SECRET_H

#include "muster/core/world/state.h"

#include <stdint.h>

/* Reads the file that MST_JOB_SECRET_FILE names, else MST_JOB_SECRET; any byte may be in it, but
 * newlines at its end are the file's or the shell's. Its size; 0: there is none; with text -EINVAL
 * an empty file, or a secret over MST_SECRET_BYTES_MAX; errors of open and read. */
int mst_secret_from_env(uint8_t secret[MST_SECRET_BYTES_MAX], struct mst_err *err);

#endif
