/* Cause: why a job ended, where whoever looks at the pod finds it. */
#ifndef MUSTER_LAUNCHER_CAUSE_H
#define MUSTER_LAUNCHER_CAUSE_H

#include <stdint.h>

#define CAUSE_PATH "/dev/termination-log" /* Kubernetes shows it as the reason of the end */
#define CAUSE_BYTES_MAX 4096              /* of which it takes so much */

/* Writes "muster: rank 3: killed by SIGKILL" and the rank's last words, which are UTF-8 as the API
 * server wants it. A rank of -1 is none. 0, also if there is no such file, or one that is not
 * regular: nothing is waited for; else the error of write. */
int cause_write(const char *path, int64_t rank, const char *what, const char *last_words);

#endif
