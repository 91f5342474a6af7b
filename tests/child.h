/* What a child says and ends with. */
#ifndef MUSTER_TESTS_CHILD_H
#define MUSTER_TESTS_CHILD_H

#include <sys/wait.h>
#include <unistd.h>

/* Reads `text`, and a NUL behind it, from the child's end of the pipe `fds` until it has closed it;
 * the status that it exited with. After cmocka.h. */
static inline int child_ends(pid_t pid, const int fds[2], char *text, size_t cap)
{
    int status;
    close(fds[1]);
    size_t length = 0;
    for (ssize_t got; (got = read(fds[0], text + length, cap - 1 - length)) > 0;)
        length += (size_t)got;
    text[length] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#endif
