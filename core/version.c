#include "muster/core/version.h"

#include <assert.h>

#define TEXT(number) #number
#define JOINED(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

static_assert(__builtin_strcmp(MUSTER_VERSION, JOINED(MUSTER_VERSION_MAJOR, MUSTER_VERSION_MINOR,
                                                      MUSTER_VERSION_PATCH)) == 0,
              "one version, spelled twice");

const char *mst_version(void)
{
    return MUSTER_VERSION;
}
