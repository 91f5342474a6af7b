/* deny_uring PROG ARGS…: runs a program as a container without io_uring would. */
#include "deny_uring.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: deny_uring PROG [ARGS...]\n");
        return 64;
    }
    int rc = deny_uring();
    if (rc) {
        (void)fprintf(stderr, "deny_uring: no seccomp filter: %s\n", strerror(-rc));
        return 77;
    }
    execvp(argv[1], argv + 1);
    (void)fprintf(stderr, "deny_uring: %s: %s\n", argv[1], strerror(errno));
    return errno == ENOENT ? 127 : 126;
}
