#include "muster/core/process.h"

#include "muster/core/err.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* What a kernel before 4.14 says. */
static bool old_kernel;
int __real_madvise(void *address, size_t size_bytes, int advice);
int __wrap_madvise(void *address, size_t size_bytes, int advice);
int __wrap_madvise(void *address, size_t size_bytes, int advice)
{
    if (!old_kernel || advice != MADV_WIPEONFORK)
        return __real_madvise(address, size_bytes, advice);
    errno = EINVAL;
    return -1;
}

/* Runs in a child, which exits with what it returns. */
static int in_child(int (*run)(uint32_t parents_mark), uint32_t mark)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(run(mark));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int is_a_stranger(uint32_t parents_mark)
{
    uint32_t own = mst_process_mark();
    struct mst_err err = {0};
    return own != 0 && own != parents_mark && mst_process_mark() == own && mst_process_owns(own) &&
           mst_process_check(own, "it", &err) == 0 &&
           mst_process_check(parents_mark, "the loader", &err) == -ENOTSUP &&
           strstr(err.text, "the loader was made before");
}

static int has_a_child_of_its_own(uint32_t parents_mark)
{
    return is_a_stranger(parents_mark) && in_child(is_a_stranger, mst_process_mark()) &&
           in_child(is_a_stranger, parents_mark);
}

static void a_child_has_another_mark(void **state)
{
    (void)state;
    uint32_t mark = mst_process_mark();
    assert_int_not_equal(mark, 0);
    assert_int_equal(in_child(has_a_child_of_its_own, mark), 1);
    assert_int_equal(mst_process_mark(), mark);
}

static void *page;

static int has_nothing_there(uint32_t unused)
{
    (void)unused;
    unsigned char there;
    return mincore(page, 1, &there) < 0 && errno == ENOMEM;
}

static void pages_are_kept_out_of_children(void **state)
{
    (void)state;
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(page, MAP_FAILED);
    assert_int_equal(in_child(has_nothing_there, 0), 0);
    mst_process_keep(page, size);
    assert_int_equal(in_child(has_nothing_there, 0), 1);
    munmap(page, size);
}

static struct mst_process_fd kept[3];
static int fds[3];

static int has_only_the_ordinary_one(uint32_t unused)
{
    (void)unused;
    return fcntl(fds[0], F_GETFD) < 0 && fcntl(fds[1], F_GETFD) >= 0 &&
           fcntl(fds[2], F_GETFD) < 0 && kept[0].fd < 0 && kept[2].fd < 0;
}

static void descriptors_are_kept_out_of_children(void **state)
{
    (void)state;
    int parents[3];
    for (size_t i = 0; i < 3; i++) {
        parents[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        mst_process_keep_fd(&kept[i], parents[i]);
        fds[i] = parents[i];
    }
    mst_process_close_fd(&kept[1]);
    assert_int_equal(kept[1].fd, -1);
    mst_process_close_fd(&kept[1]); /* allowed */
    assert_int_equal(fcntl(parents[1], F_GETFD), -1);
    fds[1] = dup(STDERR_FILENO); /* an ordinary one, maybe of the same number */
    assert_int_equal(in_child(has_only_the_ordinary_one, 0), 1);
    for (size_t i = 0; i < 3; i += 2) {
        assert_int_equal(kept[i].fd, parents[i]);
        mst_process_close_fd(&kept[i]);
        assert_int_equal(fcntl(parents[i], F_GETFD), -1);
    }
    assert_int_equal(in_child(has_only_the_ordinary_one, 0), 1);
    close(fds[1]);
}

int main(int argc, char **argv)
{
    (void)argv;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_has_another_mark),
        cmocka_unit_test(pages_are_kept_out_of_children),
        cmocka_unit_test(descriptors_are_kept_out_of_children),
    };
    int rc = 0;
    /* The way is chosen once a process: an old kernel's is tried in a child of its own. */
    pid_t pid = argc == 1 ? fork() : 1;
    old_kernel = pid == 0;
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    if (pid == 0)
        _exit(rc);
    int status = 0;
    return rc || waitpid(pid, &status, 0) != pid || status ? 1 : 0;
}
