/* A rank of PMIx, without an MPI, that asks for what no fence of all has brought:
 *
 *   pmix_parts
 *
 * the words of others, whose node is asked; a fence of some; and what is answered with
 * an error, as nobody here does it. It prints "rank N of M: OK", or what was wrong. */
#include <pmix.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pmix_proc_t me;
static uint32_t size;

static void expect(int is_so, const char *what, pmix_status_t status)
{
    if (is_so)
        return;
    printf("rank %u: %s: %s\n", me.rank, what, PMIx_Error_string(status));
    fflush(stdout);
    _exit(1);
}

static pmix_proc_t name_of(uint32_t rank)
{
    pmix_proc_t proc = me;
    proc.rank = rank;
    return proc;
}

static void put(const char *key, uint32_t number)
{
    pmix_value_t value;
    PMIX_VALUE_LOAD(&value, &number, PMIX_UINT32);
    pmix_status_t status = PMIx_Put(PMIX_GLOBAL, key, &value);
    if (status == PMIX_SUCCESS)
        status = PMIx_Commit();
    expect(status == PMIX_SUCCESS, "put", status);
}

static pmix_status_t get(uint32_t rank, const char *key, uint32_t *ret_number)
{
    pmix_proc_t proc = name_of(rank);
    pmix_value_t *value = NULL;
    pmix_status_t status = PMIx_Get(&proc, key, NULL, 0, &value);
    if (status == PMIX_SUCCESS && ret_number)
        *ret_number = value->data.uint32;
    if (value)
        PMIX_VALUE_RELEASE(value);
    return status;
}

static void read_size(void)
{
    pmix_proc_t job = name_of(PMIX_RANK_WILDCARD);
    pmix_value_t *value = NULL;
    pmix_status_t status = PMIx_Get(&job, PMIX_JOB_SIZE, NULL, 0, &value);
    expect(status == PMIX_SUCCESS, "size", status);
    size = value->data.uint32;
    PMIX_VALUE_RELEASE(value);
}

static void hear_all(void)
{
    put("word", 100 + me.rank);
    for (uint32_t i = 0; i < size; i++) {
        uint32_t number = 0;
        pmix_status_t status = get(i, "word", &number);
        expect(status == PMIX_SUCCESS && number == 100 + i, "the word of another", status);
    }
}

/* Of the first and the last. */
static void meet_some(void)
{
    pmix_proc_t some[] = {name_of(0), name_of(size - 1)};
    uint32_t number = 0, other = me.rank ? 0 : size - 1;
    bool yes = true;
    pmix_info_t info;
    put("late", 200 + me.rank);
    PMIX_INFO_LOAD(&info, PMIX_COLLECT_DATA, &yes, PMIX_BOOL);
    for (int i = 0; i < 3; i++) {
        pmix_status_t status = PMIx_Fence(some, 2, &info, 1);
        expect(status == PMIX_SUCCESS, "a fence of some", status);
    }
    pmix_status_t status = get(other, "late", &number);
    expect(status == PMIX_SUCCESS && number == 200 + other, "what the fence has brought", status);
}

static void ask_in_vain(void)
{
    pmix_app_t app;
    pmix_nspace_t job;
    pmix_proc_t all = name_of(PMIX_RANK_WILDCARD);
    char program[] = "true", key[] = "published";
    PMIX_APP_CONSTRUCT(&app);
    app.cmd = program;
    app.maxprocs = 1;
    pmix_status_t status = PMIx_Spawn(NULL, 0, &app, 1, job);
    expect(status != PMIX_SUCCESS, "a spawn", status);
    pmix_info_t *results = NULL;
    size_t count = 0;
    status = PMIx_Group_construct("all", &all, 1, NULL, 0, &results, &count);
    expect(status != PMIX_SUCCESS, "a group", status);
    (void)PMIx_Connect(&all, 1, NULL, 0); /* within one node it can */
    pmix_pdata_t found;
    PMIX_PDATA_CONSTRUCT(&found);
    memcpy(found.key, key, sizeof key);
    status = PMIx_Lookup(&found, 1, NULL, 0);
    expect(status != PMIX_SUCCESS, "a look-up", status);
}

/* The last leaves without a word; the first asks for it. */
static void ask_the_silent(void)
{
    uint32_t number;
    if (me.rank == 0)
        expect(get(size - 1, "word", &number) != PMIX_SUCCESS, "the word of one without", 0);
}

int main(int argc, char **argv)
{
    pmix_status_t status = PMIx_Init(&me, NULL, 0);
    expect(status == PMIX_SUCCESS, "init", status);
    read_size();
    if (argc > 1 && strcmp(argv[1], "silent") == 0) {
        ask_the_silent();
    } else {
        hear_all();
        if (me.rank == 0 || me.rank == size - 1)
            meet_some();
        ask_in_vain();
    }
    printf("rank %u of %u: OK\n", me.rank, size);
    fflush(stdout);
    status = PMIx_Finalize(NULL, 0);
    return status == PMIX_SUCCESS ? 0 : 1;
}
