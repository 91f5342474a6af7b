/* What shells are told: bash is asked what it makes of it. */
#include "muster/core/cli/options.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"

struct place {
    bool fast;
    const char *mode, *file, *like;
};

static const char *const modes[] = {"auto", "none", NULL};
static const char *const also[] = {"--how", NULL};
static const char *const examples[] = {"dark", "light", NULL};
static const struct option table[] = {
    {"fast", OPTION_FLAG, OPTION_AT(struct place, fast), .help = "it's quick: [really]",
     .letter = 'f'},
    {"mode", OPTION_TEXT, OPTION_AT(struct place, mode), .value = "auto|none", .help = "how",
     .letter = 'm', .words = modes, .also = also},
    {"file", OPTION_TEXT, OPTION_AT(struct place, file), .value = "FILE", .help = "what"},
    {"like", OPTION_TEXT, OPTION_AT(struct place, like), .value = "X", .help = "for one",
     .proposes = examples},
    {"id", OPTION_TEXT, OPTION_AT(struct place, like), .value = "ID", .help = "its name",
     .proposes = options_nothing},
    {0},
};
static const struct options show = {.program = "tool show",
                                    .groups = {{"A", table}},
                                    .operand = "shade",
                                    .operand_words = examples,
                                    .operands_most = 1};
static const struct options start = {.program = "tool start",
                                     .groups = {{"A", table}},
                                     .operand = "program",
                                     .operands_most = INT_MAX,
                                     .stops_at_operand = true};
static const struct option_command commands[] = {
    {"start", "starts one"}, {"other", "is another's"}, {"show", "shows it"}, {NULL, NULL}};
static const struct options *const nested[] = {&start, NULL, &show};
static const struct options tool = {.program = "tool",
                                    .commands = commands,
                                    .nested = nested,
                                    .operands_most = INT_MAX,
                                    .stops_at_operand = true};
static char text[32768];

static const char *complete(int shell)
{
    FILE *out = fmemopen(text, sizeof text, "w");
    assert_non_null(out);
    options_complete(&tool, shell, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* What bash offers for the last of the words, each followed by a blank. */
static const char *offered(const char *words)
{
    static char got[1024];
    static const char ask[] =
        "eval \"$1\"; COMP_WORDS=($2 ${3+\"$3\"}); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
        "_tool; echo \"${COMPREPLY[*]} \"";
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        const char *last = strrchr(words, ' ');
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        execlp("bash", "bash", "-c", ask, "bash", complete(OPTIONS_BASH), words,
               last && !last[1] ? "" : NULL, NULL);
        _exit(77);
    }
    int status = child_ends(pid, fds, got, sizeof got);
    if (status == 77)
        skip();
    assert_int_equal(status, 0);
    return got;
}

static void test_bash(void **state)
{
    (void)state;
    assert_string_equal(offered("tool "), "start other show \n");
    assert_string_equal(offered("tool st"), "start \n");
    assert_string_equal(offered("tool start --f"), "--fast --file \n");
    assert_string_equal(offered("tool start --mode "), "auto none \n");
    assert_string_equal(offered("tool start -f --how n"), "none \n");
    assert_string_equal(offered("tool start -m a"), "auto \n");
    assert_string_equal(offered("tool start --file x --m"), "--mode \n");
    assert_string_equal(offered("tool start --like d"), "dark \n");
    assert_string_equal(offered("tool start --id d"), " \n");
    assert_string_equal(offered("tool show li"), "light \n");
    assert_string_equal(offered("tool start program --m"), " \n"); /* the program's own */
    assert_string_equal(offered("tool start -- --m"), " \n");
}

static void test_zsh(void **state)
{
    (void)state;
    complete(OPTIONS_ZSH);
    assert_int_equal(strncmp(text, "#compdef tool\n", 14), 0);
    assert_non_null(strstr(text, "'--fast[it'\\''s quick\\: \\[really\\]]'"));
    assert_non_null(strstr(text, "'-m[how]:auto|none:(auto none)'"));
    assert_non_null(strstr(text, "'--file[what]:FILE:_files'"));
    assert_non_null(strstr(text, "'--like[for one]:X:(dark light)'"));
    assert_non_null(strstr(text, "'--id[its name]:ID: '"));
    assert_non_null(strstr(text, "'1:shade:(dark light)'"));
    assert_non_null(strstr(text, "'1:command:(start other show)'"));
    assert_non_null(strstr(text, "'*::program:_normal'"));
}

static void test_fish(void **state)
{
    (void)state;
    complete(OPTIONS_FISH);
    assert_non_null(
        strstr(text, "complete -c tool -n __fish_use_subcommand -x -a start -d 'starts one'\n"));
    assert_non_null(
        strstr(text, "complete -c tool -n '__fish_seen_subcommand_from start' -l fast -s f -d "
                     "'it\\'s quick: [really]'\n"));
    assert_non_null(strstr(text, " -l mode -s m -x -a 'auto none' -d 'how'\n"));
    assert_non_null(strstr(text, " -l file -r -d 'what'\n"));
    assert_non_null(strstr(text, " -l like -x -a 'dark light' -d 'for one'\n"));
    assert_non_null(strstr(text, " -l id -x -d 'its name'\n"));
    assert_non_null(strstr(text, "'__fish_seen_subcommand_from show' -x -a 'dark light'\n"));
    assert_non_null(strstr(text, "'(complete -C \"tool-other \"(commandline -ct))'\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bash),
        cmocka_unit_test(test_zsh),
        cmocka_unit_test(test_fish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
