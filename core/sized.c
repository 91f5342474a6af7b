/* pure */
#include "muster/core/sized.h"

#include "muster/core/err.h"
#include "muster/core/least.h"
#include "muster/core/version.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

/* No struct of ours comes near it: a larger size is memory that nobody initialised. */
#define STRUCT_BYTES_MAX 65536

/* The size that the program says its struct has, 0 if it says none, or one that no struct has: as
 * they end without padding, a size that is no multiple of the largest field's cuts a field. */
static size_t said_bytes(const void *given, size_t known_bytes)
{
    uint32_t struct_bytes;
    memcpy(&struct_bytes, given, sizeof struct_bytes);
    size_t unit = known_bytes % sizeof(uint64_t) == 0 ? sizeof(uint64_t) : sizeof(uint32_t);
    if (struct_bytes < unit || struct_bytes > STRUCT_BYTES_MAX || struct_bytes % unit != 0)
        return 0;
    return struct_bytes;
}

static void set_bytes(void *at, size_t struct_bytes)
{
    uint32_t value = (uint32_t)struct_bytes;
    memcpy(at, &value, sizeof value);
}

int mst_sized_take(void *ret_known, size_t known_bytes, const void *given, const char *init,
                   struct mst_err *err)
{
    assert(known_bytes >= sizeof(uint32_t) && known_bytes <= STRUCT_BYTES_MAX);
    size_t given_bytes = given ? said_bytes(given, known_bytes) : 0;
    if (given && given_bytes == 0)
        return mst_err_set(err, -EINVAL,
                           "a struct whose size is not set, or cuts a field: begin it with %s",
                           init);
    for (size_t i = known_bytes; i < given_bytes; i++)
        if (((const unsigned char *)given)[i])
            return mst_err_set(err, -ENOTSUP,
                               "the program sets a field behind byte %zu of what %s begins, which "
                               "this libmuster %s does not know: install the one that it was "
                               "built with",
                               known_bytes, init, mst_version());
    memset(ret_known, 0, known_bytes);
    if (given)
        memcpy(ret_known, given, mst_least(given_bytes, known_bytes));
    set_bytes(ret_known, known_bytes);
    return 0;
}

int mst_sized_give(void *ret_given, const void *known, size_t known_bytes)
{
    assert(known_bytes >= sizeof(uint32_t) && known_bytes <= STRUCT_BYTES_MAX);
    size_t given_bytes = said_bytes(ret_given, known_bytes);
    if (given_bytes == 0)
        return -EINVAL;
    memset(ret_given, 0, given_bytes);
    memcpy(ret_given, known, mst_least(given_bytes, known_bytes));
    set_bytes(ret_given, given_bytes);
    return 0;
}
