/* A folder that stands for / in a test, and files in it. */
#ifndef MUSTER_TESTS_FAKE_ROOT_H
#define MUSTER_TESTS_FAKE_ROOT_H

#include "scratch.h"

/* Folders on the way are made. */
static inline void fake_root_put(const char *path, const char *text)
{
    char full[320];
    (void)snprintf(full, sizeof full, "%s%s", scratch_dir, path);
    for (char *slash = strchr(full, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(full, 0700); /* it may be there */
        *slash = '/';
    }
    (void)scratch_write(path + 1, text, strlen(text)); /* its path is known */
}

#endif
