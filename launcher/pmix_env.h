/* Pmix_env: what muster-pmix tells a rank that it connects, which is one message: the variables
 * that a library of MPI will look for, as NAME=value, each with a NUL behind it. */
/* pure */
#ifndef MUSTER_LAUNCHER_PMIX_ENV_H
#define MUSTER_LAUNCHER_PMIX_ENV_H

#include <stddef.h>

#define PMIX_ENV_BYTES 16384
#define PMIX_ENV_VARS 64

/* Lays `vars`, which ends with NULL, out in bytes[cap]. How many bytes; -ENOSPC: they have no room,
 * or are more than PMIX_ENV_VARS; -EBADMSG: one is none, or there is none. */
long pmix_env_encode(char *const *vars, char *bytes, size_t cap);

/* Finds them in bytes[size_bytes], which vars[PMIX_ENV_VARS] will point into. How many, at least 1;
 * -EBADMSG: it is not such a message. */
int pmix_env_decode(char *bytes, size_t size_bytes, char *vars[PMIX_ENV_VARS]);

#endif
