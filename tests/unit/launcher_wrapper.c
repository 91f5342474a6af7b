#include "muster/launcher/wrapper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WORDS_MAX 16

/* Where "./mpi" stands is what runs, if anything does. */
static void check(const char *line, bool is_seen)
{
    char text[256], *argv[WORDS_MAX] = {NULL}, *rest = text;
    size_t count = 0, at = 0;
    (void)snprintf(text, sizeof text, "%s", line);
    for (char *word; (word = strsep(&rest, " "));) {
        assert_true(count < WORDS_MAX - 1);
        if (strcmp(word, "./mpi") == 0)
            at = count;
        argv[count++] = word;
    }
    char *const *program = wrapper_program(argv);
    if (program != (is_seen ? &argv[at] : NULL))
        fail_msg("%s: %s", line, program ? *program : "nothing");
}

static void what_a_wrapper_becomes_is_seen(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "./mpi",
        "./mpi nice x",
        "env ./mpi",
        "/usr/bin/env -i A=1 ./mpi",
        "env - ./mpi",
        "env -u A --unset=B -C /tmp A=1 ./mpi",
        "nice ./mpi",
        "nice -n 5 ./mpi",
        "nice -n5 ./mpi",
        "nice -5 ./mpi",
        "nice --adjustment 5 ./mpi",
        "nice --adjustment=5 ./mpi",
        "ionice -c 2 -n0 ./mpi",
        "chrt -f 10 ./mpi",
        "chrt -T 1000 -D 2000 -d 0 ./mpi",
        "taskset 3 ./mpi",
        "taskset -c 0-1 ./mpi",
        "taskset -ac 0 ./mpi",
        "numactl -N 0 -m 0 ./mpi",
        "numactl -N0 --membind=0 --localalloc -- ./mpi",
        "numactl --cpunodebind 0 --interleave all ./mpi",
        "timeout 60 ./mpi",
        "timeout -k 5 -s TERM --foreground 60 ./mpi",
        "timeout --signal=TERM --kill-after 5 60 ./mpi -x",
        "stdbuf -oL -e 0 ./mpi",
        "stdbuf --output=L ./mpi",
        "nohup ./mpi",
        "setsid -w ./mpi",
        "/usr/bin/time -v ./mpi",
        "/usr/bin/time -f %e -o file ./mpi",
        "nice timeout 60 env A=1 numactl -l ./mpi x",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        check(lines[i], true);
}

static void what_cannot_be_seen_is_nothing(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "env",
        "env A=1",
        "env -u",
        "nice",
        "nice -n",
        "taskset 3",
        "timeout 60",
        "timeout",
        "env -S ./mpi",
        "env -iS ./mpi",
        "env --split-string=./mpi",
        "taskset -p 12",
        "ionice -c 2 -p 12",
        "chrt -p 10 12",
        "numactl -H",
        "nice nice",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        check(lines[i], false);
    char *const none[] = {NULL};
    assert_null(wrapper_program(none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_wrapper_becomes_is_seen),
        cmocka_unit_test(what_cannot_be_seen_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
