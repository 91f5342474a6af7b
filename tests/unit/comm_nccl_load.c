/* Loading NCCL: where there is none, what is no NCCL, and the real one, as far as it goes without a
 * device. */
#include "muster/comm/nccl_sym.h"

#include "muster/core/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void says_what_is_missing(void **state)
{
    const struct nccl_library *library;
    struct mst_err err = {0};
    (void)state;
    assert_int_equal(nccl_load("/nowhere/libnccl.so.2", &library, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "/nowhere/libnccl.so.2"));
    assert_non_null(strstr(err.text, "MST_NCCL_LIB"));
    assert_int_equal(nccl_load("libz.so.1", &library, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "libz.so.1 has no ncclGetVersion"));
}

static void the_real_one_answers(void **state)
{
    const struct nccl_library *nccl;
    struct mst_err err = {0};
    ncclUniqueId id = {{0}}, none = {{0}};
    ncclComm_t comm = NULL;
    int version = 0;
    (void)state;
    if (access(MUSTER_REAL_NCCL, R_OK) < 0)
        skip(); /* make deps-cuda */
    assert_int_equal(nccl_load(MUSTER_REAL_NCCL, &nccl, &err), 0);
    assert_int_equal(nccl->ncclGetVersion(&version), ncclSuccess);
    assert_true(version >= 22809);
    struct nccl_config config = nccl_config_of((uint32_t)version, "train/comm/1");
    assert_int_equal(nccl->ncclGetUniqueId(&id), ncclSuccess);
    assert_memory_not_equal(&id, &none, sizeof id);
    ncclResult_t result = nccl->ncclCommInitRankConfig(&comm, 1, id, 0, &config);
    if (result == ncclSuccess || result == ncclInProgress) { /* there is a device after all */
        assert_int_equal(nccl->ncclCommAbort(comm), ncclSuccess);
        return;
    }
    assert_int_equal(result, ncclUnhandledCudaError);
    assert_null(comm);
    assert_non_null(strstr(nccl->ncclGetErrorString(result), "cuda"));
    assert_true(strlen(nccl->ncclGetLastError(NULL)) > 0);
    print_message("NCCL %d: %s: %s\n", version, nccl->ncclGetErrorString(result),
                  nccl->ncclGetLastError(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_is_missing),
        cmocka_unit_test(the_real_one_answers),
    };
    return cmocka_run_group_tests_name("comm_nccl_load", tests, NULL, NULL);
}
