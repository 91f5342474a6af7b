/* pure */
#include "muster/core/host.h"

#include <string.h>

bool mst_host_is_local(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}
