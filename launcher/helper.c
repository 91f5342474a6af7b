#include "muster/launcher/helper.h"

#include "muster/core/libc.h"

#include <sys/prctl.h>
#include <unistd.h>

void helper_begin(const char *name, int fd)
{
    (void)prctl(PR_SET_NAME, name); /* cannot fail: a longer one is cut */
    (void)dup2(fd, STDIN_FILENO);   /* cannot fail: both are numbers of this process */
    libc_close_from(STDIN_FILENO + 1);
}
