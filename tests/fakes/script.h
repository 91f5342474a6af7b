/* FAKE. What the fake libraries are told to do: FAKE_CUDA="devices=2,fail=7", read at every use, so
 * that one process can run several scripts. */
#ifndef MUSTER_TESTS_FAKES_SCRIPT_H
#define MUSTER_TESTS_FAKES_SCRIPT_H

#include <stdlib.h>
#include <string.h>

/* The number behind `key`= in the variable, or `otherwise`. */
static inline long script_number(const char *variable, const char *key, long otherwise)
{
    const char *at = getenv(variable);
    size_t length = strlen(key);
    while (at && *at) {
        if (strncmp(at, key, length) == 0 && at[length] == '=')
            return strtol(at + length + 1, NULL, 10);
        at = strchr(at, ',');
        at = at ? at + 1 : NULL;
    }
    return otherwise;
}

#endif
