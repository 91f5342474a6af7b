/* Who has a root, who gets it, and what the one that lost it can still do. */
#include "unit/ckpt_fixture.h"

#include "muster/ckpt/fields.h"
#include "muster/ckpt/lease.h"
#include "muster/ckpt/owner_blob.h"
#include "muster/ckpt/tier.h"
#include "muster/core/cond.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

#define TAKE_MS 90000 /* longer than an owner is watched for */

static struct tier *tier; /* a worker's, beside that of the lease */

static int setup_dir(void **state)
{
    (void)fixture_setup(state);
    const struct tier_opts opts = {.uri = fixture_uri, .aio = "threads"};
    assert_int_equal(tier_open(&opts, &tier, NULL), 0);
    return 0;
}

static int setup_dir_only(void **state)
{
    fixture_remote = false;
    return setup_dir(state);
}

static int setup_remote(void **state)
{
    fixture_remote = true;
    return setup_dir(state);
}

static int teardown(void **state)
{
    tier_close(tier);
    return fixture_teardown(state);
}

static int take(const char *job, uint64_t nonce, bool by_force, struct lease **ret_lease,
                struct mst_err *err)
{
    const struct tier_opts tier_opts = {.uri = fixture_uri, .aio = "threads", .timeout_ms = 6000};
    struct mst_world world;
    world_init_single(&world);
    (void)snprintf(world.job_id, sizeof world.job_id, "%s", job); /* it fits */
    world.job_nonce = nonce;
    const struct lease_opts opts = {.tier = &tier_opts, .world = &world, .by_force = by_force};
    return lease_take(&opts, mst_deadline_ms(TAKE_MS), ret_lease, err);
}

static struct lease *must_take(const char *job, uint64_t nonce, bool by_force)
{
    struct lease *lease = NULL;
    struct mst_err err = {0};
    if (take(job, nonce, by_force, &lease, &err) < 0)
        print_error("%s\n", err.text);
    assert_non_null(lease);
    return lease;
}

static void refused(const char *job, uint64_t nonce)
{
    struct lease *lease = NULL;
    struct mst_err err = {0};
    assert_int_equal(take(job, nonce, false, &lease, &err), -EEXIST);
    assert_non_null(strstr(err.text, "another job (job x on "));
    assert_non_null(strstr(err.text, " s ago): give each its own root"));
    assert_non_null(strstr(err.text, "--take-root"));
    assert_null(lease);
}

static void another_job_is_refused_while_the_owner_lives(void **state)
{
    (void)state;
    struct lease *lease = must_take("x", 1, false);
    assert_int_equal(lease_owner(lease)->epoch, 1);
    refused("y", 2);
    refused("", 0);
    assert_int_equal(lease_check(lease, tier, soon(), NULL), 0);
    lease_release(lease);
    lease = must_take("y", 2, false);
    assert_int_equal(lease_owner(lease)->epoch, 2);
    lease_release(lease);
}

static void expect_lost(struct lease *lease, const char *to)
{
    struct mst_err err = {0};
    assert_int_equal(lease_check(lease, tier, soon(), &err), -ESTALE);
    assert_non_null(strstr(err.text, to));
}

static void the_next_life_of_a_job_takes_over_at_once(void **state)
{
    (void)state;
    struct lease *first = must_take("x", 1, false);
    struct lease *second = must_take("x", 2, false); /* its id */
    expect_lost(first, "epoch 2 (job x on ");
    struct lease *third = must_take("", 2, false); /* its coordinator */
    expect_lost(second, "epoch 3 (a job without an id on ");
    assert_int_equal(lease_check(third, tier, soon(), NULL), 0);
    lease_release(first); /* is not its own to mark any more */
    lease_release(second);
    assert_int_equal(lease_check(third, tier, soon(), NULL), 0);
    assert_false(lease_owner(third)->released);
    lease_release(third);
}

static void force_overrules(void **state)
{
    (void)state;
    struct lease *first = must_take("x", 1, false);
    struct lease *second = must_take("y", 2, true);
    expect_lost(first, "epoch 2 (job y on ");
    lease_release(first);
    lease_release(second);
}

/* However far the root has moved on. */
static void only_two_records_stay(void **state)
{
    (void)state;
    struct lease *leases[5];
    for (size_t i = 0; i < 5; i++)
        leases[i] = must_take("x", 1, false);
    assert_false(fixture_has("OWNER.3"));
    assert_true(fixture_has("OWNER.4") && fixture_has("OWNER.5"));
    for (size_t i = 0; i < 4; i++)
        expect_lost(leases[i], "taken over as epoch ");
    assert_int_equal(lease_check(leases[4], tier, soon(), NULL), 0);
    for (size_t i = 0; i < 5; i++)
        lease_release(leases[i]);
    assert_false(fixture_has("OWNER.3"));
}

static void rewrite_record(const char *name, int64_t older_s, const char *node)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", fixture_root, name);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    char text[OWNER_BYTES];
    assert_int_equal(fread(text, 1, sizeof text, file), sizeof text);
    struct owner owner;
    assert_int_equal(owner_decode(text, sizeof text, &owner, NULL), 0);
    owner.released = false;
    owner.renewed_s = (uint64_t)(time(NULL) - older_s);
    if (node)
        (void)snprintf(owner.node, sizeof owner.node, "%s", node); /* it fits */
    owner_encode(&owner, text);
    rewind(file);
    assert_int_equal(fwrite(text, 1, sizeof text, file), sizeof text);
    assert_int_equal(fclose(file), 0);
}

/* An owner is watched for 30 s, which pass at once here: what happens meanwhile. */
static void (*on_watch)(void);
static int watch_count;

/* The first thread that waits for its turn to renew does so when the test says, and tells when it
 * has. */
static atomic_bool watches_renewal;
static atomic_ulong renewing; /* that thread; 0: none yet */
static sem_t waits, may_renew, has_renewed;

static bool waits_to_renew(uint64_t deadline_ns)
{
    unsigned long none = 0, self = (unsigned long)pthread_self();
    if (!watches_renewal || deadline_ns < mst_deadline_ms(8000) ||
        deadline_ns > mst_deadline_ms(12000))
        return false;
    if (atomic_compare_exchange_strong(&renewing, &none, self)) {
        assert_int_equal(sem_post(&waits), 0);
        assert_int_equal(sem_wait(&may_renew), 0);
        return true;
    }
    if (none == self)
        assert_int_equal(sem_post(&has_renewed), 0);
    return false;
}

static void await(sem_t *sem)
{
    struct timespec end;
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &end), 0);
    end.tv_sec += SOON_MS / 1000;
    assert_int_equal(sem_timedwait(sem, &end), 0);
}

static struct lease *take_to_renew(void)
{
    assert_int_equal(sem_init(&waits, 0, 0), 0);
    assert_int_equal(sem_init(&may_renew, 0, 0), 0);
    assert_int_equal(sem_init(&has_renewed, 0, 0), 0);
    renewing = 0;
    watches_renewal = true;
    struct lease *lease = must_take("x", 1, false);
    await(&waits);
    return lease;
}

static void let_it_renew(void)
{
    assert_int_equal(sem_post(&may_renew), 0);
    await(&has_renewed);
    watches_renewal = false;
}

int __real_mst_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns);
int __wrap_mst_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns);
int __wrap_mst_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns)
{
    if (waits_to_renew(deadline_ns))
        return -ETIMEDOUT;
    if (!on_watch || deadline_ns < mst_deadline_ms(20000) || deadline_ns > mst_deadline_ms(40000))
        return __real_mst_cond_wait(cond, lock, deadline_ns);
    watch_count++;
    on_watch();
    return -ETIMEDOUT;
}

static void nothing(void)
{
}

/* As if it had died, on another machine: one that is as old, by this one's clock, or of the future,
 * is watched before it is taken from. */
static void an_owner_that_does_not_renew_is_dead(void **state)
{
    (void)state;
    on_watch = nothing;
    watch_count = 0;
    lease_release(must_take("x", 1, false));
    rewrite_record("OWNER.1", 0, "elsewhere");
    refused("y", 2);
    assert_int_equal(watch_count, 0);
    rewrite_record("OWNER.1", OWNER_FRESH_S + 1, "elsewhere");
    lease_release(must_take("y", 2, false));
    assert_int_equal(watch_count, 1);
    rewrite_record("OWNER.2", -1000, "elsewhere");
    lease_release(must_take("z", 3, false));
    assert_int_equal(watch_count, 2);
    on_watch = NULL;
}

static int64_t written_age_s;

static void renew_elsewhere(void)
{
    rewrite_record("OWNER.1", written_age_s - 10, "elsewhere");
}

static void expect_other_clock(int64_t age_s, const char *says)
{
    struct lease *lease = NULL;
    struct mst_err err = {0};
    written_age_s = age_s;
    rewrite_record("OWNER.1", age_s, "elsewhere");
    assert_int_equal(take("y", 2, false, &lease, &err), -EEXIST);
    assert_null(lease);
    assert_non_null(strstr(err.text, says));
}

/* However wrong the clocks are. */
static void an_owner_that_renews_while_it_is_watched_lives(void **state)
{
    (void)state;
    lease_release(must_take("x", 1, false));
    on_watch = renew_elsewhere;
    expect_other_clock(1000, "another job (job x on elsewhere, renewed 99");
    expect_other_clock(-1000, "another job (job x on elsewhere, renewed at a time to come: clocks "
                              "differ");
    on_watch = NULL;
}

/* There is no time to see whether it does. */
static void nobody_is_taken_from_in_haste(void **state)
{
    (void)state;
    lease_release(must_take("x", 1, false));
    rewrite_record("OWNER.1", 1000, "elsewhere");
    const struct tier_opts tier_opts = {.uri = fixture_uri, .aio = "threads", .timeout_ms = 6000};
    struct mst_world world;
    world_init_single(&world);
    const struct lease_opts opts = {.tier = &tier_opts, .world = &world};
    struct lease *lease = NULL;
    struct mst_err err = {0};
    assert_int_equal(lease_take(&opts, soon(), &lease, &err), -EEXIST);
    assert_non_null(strstr(err.text, "timeout_ms"));
    assert_non_null(strstr(err.text, "--take-root"));
}

static void an_owner_renews(void **state)
{
    (void)state;
    struct lease *lease = take_to_renew();
    rewrite_record("OWNER.1", 1000, "elsewhere");
    let_it_renew();
    struct tier_owner found;
    struct owner owner;
    assert_int_equal(tier->ops->read_owner(tier, 1, &found, soon(), NULL), 0);
    assert_int_equal(owner_decode(found.text, found.size_bytes, &owner, NULL), 0);
    assert_true(owner.renewed_s + 100 > (uint64_t)time(NULL));
    assert_string_equal(owner.node, lease_owner(lease)->node);
    assert_false(owner.released);
    lease_release(lease);
}

/* Its record was pruned by the second after it, and must not come back. */
static void an_owner_that_has_lost_the_root_renews_nothing(void **state)
{
    (void)state;
    struct lease *leases[3] = {take_to_renew()};
    for (size_t i = 1; i < 3; i++)
        leases[i] = must_take("x", 1, false);
    let_it_renew();
    assert_false(fixture_has("OWNER.1"));
    for (size_t i = 0; i < 3; i++)
        lease_release(leases[i]);
    assert_false(fixture_has("OWNER.1"));
}

static void make_later(const char *name)
{
    char path[512], text[OWNER_BYTES + 1] = "";
    (void)snprintf(path, sizeof path, "%s/%s", fixture_root, name);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fread(text, 1, OWNER_BYTES, file), OWNER_BYTES);
    *(strstr(text, "\"version\":1") + 10) = '2';
    fields_seal(text, OWNER_BYTES);
    rewind(file);
    assert_int_equal(fwrite(text, 1, OWNER_BYTES, file), OWNER_BYTES);
    assert_int_equal(fclose(file), 0);
}

/* A job of a later version may live: what its record says of that cannot be read. */
static void a_record_of_a_later_version_is_refused(void **state)
{
    (void)state;
    struct lease *lease = NULL;
    struct mst_err err = {0};
    lease_release(must_take("x", 1, false));
    make_later("OWNER.1");
    assert_int_equal(take("x", 1, false, &lease, &err), -ENOTSUP);
    assert_non_null(strstr(err.text, "OWNER.1: version 2: this build reads 1"));
    assert_non_null(strstr(err.text, "--take-root"));
    assert_int_equal(tier_read_owner(tier, soon(), &err), -ENOTSUP);
    lease_release(must_take("x", 1, true));
}

static bool loses_answer;

int __real_owner_blob_put(struct mst_blob *blob, uint64_t epoch, const char *text, uint32_t flags,
                          uint64_t deadline_ns, struct mst_err *err);
int __wrap_owner_blob_put(struct mst_blob *blob, uint64_t epoch, const char *text, uint32_t flags,
                          uint64_t deadline_ns, struct mst_err *err);
int __wrap_owner_blob_put(struct mst_blob *blob, uint64_t epoch, const char *text, uint32_t flags,
                          uint64_t deadline_ns, struct mst_err *err)
{
    int rc = __real_owner_blob_put(blob, epoch, text, flags, deadline_ns, err);
    if (!loses_answer)
        return rc;
    loses_answer = false;
    return mst_err_set(err, -EEXIST, "there is one");
}

/* Its record is there, and the answer to that was lost. */
static void nobody_is_refused_by_himself(void **state)
{
    (void)state;
    loses_answer = true;
    struct lease *lease = must_take("", 0, false);
    assert_int_equal(lease_owner(lease)->epoch, 2);
    assert_int_equal(lease_check(lease, tier, soon(), NULL), 0);
    lease_release(lease);
}

static const char *host_name; /* NULL: the machine's own */

int __real_gethostname(char *name, size_t cap);
int __wrap_gethostname(char *name, size_t cap);
int __wrap_gethostname(char *name, size_t cap)
{
    if (!host_name)
        return __real_gethostname(name, cap);
    (void)snprintf(name, cap, "%s", host_name); /* cut, as libc does */
    errno = strlen(host_name) < cap ? 0 : ENAMETOOLONG;
    return errno ? -1 : 0;
}

/* Where locks do not reach, nodes are told from one another by their names. */
static void the_longest_name_of_a_node_is_told(void **state)
{
    (void)state;
    host_name = "a-name-of-64-characters-as-long-as-linux-lets-it-be-which-ends-x";
    struct lease *lease = must_take("x", 1, false);
    assert_string_equal(lease_owner(lease)->node, host_name);
    lease_release(lease);
    host_name = NULL;
}

/* A record that nobody can read is nobody's. */
static void a_damaged_record_keeps_nobody_out(void **state)
{
    (void)state;
    lease_release(must_take("x", 1, false));
    rewrite_record("OWNER.1", 0, "elsewhere");
    fixture_flip("OWNER.1", 100);
    struct lease *lease = must_take("y", 2, false);
    assert_int_equal(lease_owner(lease)->epoch, 2);
    lease_release(lease);
}

/* What is hidden stays hidden: the notes are in the record before, too. */
static void a_damaged_record_loses_no_notes(void **state)
{
    (void)state;
    struct lease *first = must_take("x", 1, false), *second = must_take("x", 1, false);
    uint64_t token = lease_owner(first)->token;
    assert_true(owner_hides(lease_owner(second), token, 7));
    struct lease *third = must_take("x", 1, false);
    lease_release(first);
    lease_release(second);
    lease_release(third);
    fixture_flip("OWNER.3", 100);
    struct lease *fourth = must_take("x", 1, false);
    assert_int_equal(lease_owner(fourth)->epoch, 4);
    assert_true(owner_hides(lease_owner(fourth), token, 7));
    lease_release(fourth);
}

/* A taker that dies before it has listed the steps has noted that it did not: the next one does. */
static void a_taker_that_died_leaves_its_note_to_the_next(void **state)
{
    (void)state;
    struct lease *first = must_take("x", 1, false);
    struct owner taker = *lease_owner(first);
    uint64_t token = taker.token;
    taker.epoch = 2;
    taker.token++;
    taker.fences[taker.fence_count++] = (struct owner_fence){token, OWNER_FENCE_OPEN};
    assert_false(owner_hides(&taker, token, INT64_MAX));
    char text[OWNER_BYTES];
    owner_encode(&taker, text);
    char path[512];
    snprintf(path, sizeof path, "%s/OWNER.2", fixture_root);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, sizeof text, file), sizeof text);
    assert_int_equal(fclose(file), 0);
    struct lease *third = must_take("x", 1, false);
    assert_int_equal(lease_owner(third)->epoch, 3);
    assert_true(owner_hides(lease_owner(third), token, 7));
    assert_true(owner_hides(lease_owner(third), token + 1, 7));
    lease_release(first);
    lease_release(third);
}

/* ---- a directory's locks --------------------------------------------------------------------- */

/* A process that dies with the root, and leaves a child behind until *ret_fd is closed. */
static void let_owner_die(int *ret_fd)
{
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    tier_close(tier); /* its threads: no one forks while he has some */
    tier = NULL;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char end;
        (void)must_take("x", 1, false);
        close(ends[1]);
        if (fork() == 0)
            (void)!read(ends[0], &end, 1);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(ends[0]);
    *ret_fd = ends[1];
}

static void a_death_on_this_machine_is_seen_at_once(void **state)
{
    (void)state;
    int child_fd;
    let_owner_die(&child_fd);
    lease_release(must_take("y", 2, false));
    close(child_fd);
}

/* It was stopped, perhaps: nobody knows, so it has the root. */
static void an_owner_that_is_locked_lives_however_old(void **state)
{
    (void)state;
    struct lease *lease = must_take("x", 1, false);
    rewrite_record("OWNER.1", 1000, NULL);
    struct lease *other = NULL;
    struct mst_err err = {0};
    assert_int_equal(take("y", 2, false, &other, &err), -EEXIST);
    assert_non_null(strstr(err.text, "renewed 1"));
    fixture_flip("OWNER.1", 100);
    assert_int_equal(take("y", 2, false, &other, &err), -EEXIST);
    assert_non_null(strstr(err.text, "OWNER.1 is damaged, but locked by another job"));
    lease_release(lease);
}

#define DIR(name) cmocka_unit_test_setup_teardown(name, setup_dir_only, teardown)
#define REMOTE(name) cmocka_unit_test_setup_teardown(name, setup_remote, teardown)
#define BOTH(name) DIR(name), REMOTE(name)

/* A name that leads nowhere is neither there to be read nor free to be taken. */
static void a_link_to_nothing_is_named(void **state)
{
    (void)state;
    char path[512];
    struct lease *lease = NULL;
    struct mst_err err = {0};
    (void)snprintf(path, sizeof path, "%s/OWNER.1", fixture_root);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_int_equal(take("a", 1, false, &lease, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "if it is a link, remove it"));
    assert_null(lease);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(another_job_is_refused_while_the_owner_lives),
        BOTH(the_next_life_of_a_job_takes_over_at_once),
        BOTH(force_overrules),
        BOTH(only_two_records_stay),
        BOTH(an_owner_that_does_not_renew_is_dead),
        BOTH(a_damaged_record_keeps_nobody_out),
        BOTH(a_damaged_record_loses_no_notes),
        BOTH(a_taker_that_died_leaves_its_note_to_the_next),
        BOTH(an_owner_that_renews_while_it_is_watched_lives),
        BOTH(nobody_is_taken_from_in_haste),
        BOTH(an_owner_renews),
        BOTH(an_owner_that_has_lost_the_root_renews_nothing),
        BOTH(a_record_of_a_later_version_is_refused),
        REMOTE(nobody_is_refused_by_himself),
        DIR(a_link_to_nothing_is_named),
        DIR(the_longest_name_of_a_node_is_told),
        DIR(a_death_on_this_machine_is_seen_at_once),
        DIR(an_owner_that_is_locked_lives_however_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
