/* Included before every file that clang-tidy reads. The analyzer sees one file at a time, so it has
 * to be told what all files rely on: an error is negative, and so is -errno after a failed call. */
#ifndef MUSTER_TESTS_LINT_ANALYZER_H
#define MUSTER_TESTS_LINT_ANALYZER_H

#include "muster/core/err.h"

#include <errno.h>

static inline int analyzer_negative(int code)
{
    if (code >= 0)
        __builtin_unreachable();
    return code;
}

static inline int *analyzer_errno(void)
{
    int *value = __errno_location();
    if (*value <= 0)
        __builtin_unreachable();
    return value;
}

#define mst_err_set(...) analyzer_negative(mst_err_set(__VA_ARGS__))
#define mst_err_wrap(...) analyzer_negative(mst_err_wrap(__VA_ARGS__))
#undef errno
#define errno (*analyzer_errno())

#endif
