/* pure */
#include "muster/core/blob/http/escape.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

int http_escape(const char *text, bool keep_slash, char *ret_text, size_t cap)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t used = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        bool plain = isalnum(*c) || strchr("-._~", *c) || (*c == '/' && keep_slash);
        size_t size = plain ? 1 : 3;
        if (cap - used <= size)
            return -ENOSPC;
        if (plain) {
            ret_text[used] = (char)*c;
        } else {
            ret_text[used] = '%';
            ret_text[used + 1] = digits[*c >> 4];
            ret_text[used + 2] = digits[*c & 15];
        }
        used += size;
    }
    if (cap <= used)
        return -ENOSPC;
    ret_text[used] = '\0';
    return 0;
}
