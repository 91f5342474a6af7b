/* What --help shows. */
#include "muster/core/cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char text[OPTIONS_HELP_MAX];

static const struct option ranks[] = {
    {"nproc", OPTION_COUNT, 0, 0, .value = "N|auto",
     .help = "ranks on this node: one per GPU, else one per core, with a text that is wider than "
             "what is "
             "left of the line"},
    {"iters", OPTION_COUNT, 0, 0, .value = "N", .help = "how often …", .letter = 'n'},
    {0},
};
static const struct option more[] = {
    {"a-name-that-is-longer-than-most", OPTION_TEXT, 0, 0, .value = "VALUE",
     .help = "stands below"},
    {0},
};

static void test_everything(void **state)
{
    (void)state;
    static const struct option_command commands[] = {
        {"ls", "lists"}, {"verify", "checks"}, {NULL, NULL}};
    const struct options options = {.program = "tool",
                                    .synopsis = "COMMAND [OPTIONS]",
                                    .about = "One line.\nAnother.",
                                    .notes = "Exit status: 0.",
                                    .commands = commands,
                                    .groups = {{"Ranks:", ranks}, {"More:", more}}};
    assert_string_equal(options_help(&options, text),
                        "usage: tool COMMAND [OPTIONS]\n"
                        "\n"
                        "One line.\n"
                        "Another.\n"
                        "\n"
                        "Commands:\n"
                        "  ls      lists\n"
                        "  verify  checks\n"
                        "\n"
                        "Ranks:\n"
                        "      --nproc N|auto  ranks on this node: one per GPU, else one per core, "
                        "with a text that "
                        "is wider\n"
                        "                      than what is left of the line\n"
                        "  -n, --iters N       how often …\n"
                        "\n"
                        "More:\n"
                        "      --a-name-that-is-longer-than-most VALUE\n"
                        "                      stands below\n"
                        "  -h, --help          show this\n"
                        "      --version       show the version\n"
                        "\n"
                        "Exit status: 0.\n");
}

static void test_nothing(void **state)
{
    (void)state;
    const struct options options = {.program = "hello", .about = "Says hello."};
    assert_string_equal(options_help(&options, text), "usage: hello\n"
                                                      "\n"
                                                      "Says hello.\n"
                                                      "\n"
                                                      "  -h, --help     show this\n"
                                                      "      --version  show the version\n");
}

/* Columns are counted in characters, not in bytes. */
static void test_lines_are_full(void **state)
{
    (void)state;
    char about[5 * 30 + 1] = "";
    for (size_t i = 0; i < 30; i++)
        memcpy(about + 5 * i, "e é ", 5);
    const struct options options = {.program = "p", .about = about};
    const char *line = strstr(options_help(&options, text), "e é"), *end = strchr(line, '\n');
    assert_int_equal(end - line, 99 + 25); /* 50 letters, 49 blanks, and a byte more for each é */
    assert_int_equal(end[-1], (char)0xA9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_lines_are_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
