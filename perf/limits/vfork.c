/* vfork: the least that starting N processes takes: a loop of vfork and exec, then a wait for all.
 *
 *   vfork N PROGRAM */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: vfork N PROGRAM\n", stderr);
        return 1;
    }
    char *const arguments[] = {argv[2], NULL};
    int status, failed = 0;
    for (unsigned long left = strtoul(argv[1], NULL, 10); left > 0; left--) {
        pid_t pid =
            vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork): to be the least */
        if (pid == 0) {
            execve(argv[2], arguments, environ);
            _exit(127);
        }
        failed |= pid < 0;
    }
    while (wait(&status) > 0)
        failed |= status;
    return failed != 0;
}
