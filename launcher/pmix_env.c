/* pure */
#include "muster/launcher/pmix_env.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static bool is_variable(const char *text)
{
    const char *equals = strchr(text, '=');
    return equals && equals != text;
}

long pmix_env_encode(char *const *vars, char *bytes, size_t cap)
{
    size_t used = 0, count = 0;
    for (; vars[count]; count++) {
        size_t size = strlen(vars[count]) + 1;
        if (!is_variable(vars[count]))
            return -EBADMSG;
        if (count == PMIX_ENV_VARS || size > cap - used)
            return -ENOSPC;
        memcpy(bytes + used, vars[count], size);
        used += size;
    }
    return count > 0 ? (long)used : -EBADMSG;
}

int pmix_env_decode(char *bytes, size_t size_bytes, char *vars[PMIX_ENV_VARS])
{
    int count = 0;
    if (size_bytes == 0 || bytes[size_bytes - 1] != '\0')
        return -EBADMSG;
    for (char *at = bytes; at < bytes + size_bytes; at += strlen(at) + 1) {
        if (count == PMIX_ENV_VARS || !is_variable(at))
            return -EBADMSG;
        vars[count++] = at;
    }
    return count;
}
