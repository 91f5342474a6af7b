/* pure */
#include "muster/core/blob/http/range.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Reads decimal digits, and only those: no sign or white space, which strtoull lets pass. */
static bool take_number(const char **at, uint64_t *ret_number)
{
    const char *begin = *at;
    uint64_t number = 0;
    for (; isdigit((unsigned char)**at); ++*at) {
        uint64_t digit = (uint64_t)(**at - '0');
        if (number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *ret_number = number;
    return *at != begin;
}

static bool take(const char **at, const char *text)
{
    size_t length = strlen(text);
    if (strncmp(*at, text, length) != 0)
        return false;
    *at += length;
    return true;
}

static bool take_range(const char **at, struct http_range *range)
{
    if (take(at, "*")) {
        range->first = 1;
        return true;
    }
    return take_number(at, &range->first) && take(at, "-") && take_number(at, &range->last) &&
           range->first <= range->last;
}

int http_range_parse(const char *value, struct http_range *ret_range)
{
    struct http_range range = {.total = HTTP_TOTAL_UNKNOWN};
    const char *at = value;
    if (!take(&at, "bytes ") || !take_range(&at, &range) || !take(&at, "/"))
        return -EBADMSG;
    if (!take(&at, "*") && !take_number(&at, &range.total))
        return -EBADMSG;
    at += strspn(at, " \t");
    bool none = range.first > range.last;
    if (*at || (!none && range.last >= range.total))
        return -EBADMSG;
    if (none && range.total == HTTP_TOTAL_UNKNOWN)
        return -EBADMSG;
    *ret_range = range;
    return 0;
}
