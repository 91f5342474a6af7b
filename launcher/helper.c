#include "muster/launcher/helper.h"

#include "muster/core/libc.h"

#include <sys/prctl.h>
#include <unistd.h>

void helper_begin(const char *name, const int *fds, size_t fd_count)
{
    (void)prctl(PR_SET_NAME, name); /* cannot fail: a longer one is cut */
    for (size_t i = 0; i < fd_count; i++)
        (void)dup2(fds[i], (int)i); /* cannot fail: both are numbers of this process */
    libc_close_from((int)fd_count);
}
