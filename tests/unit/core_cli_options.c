/* The command line of every program: what is understood, and what an error says. */
#include "muster/core/cli/options.h"

#include "muster/core/err.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORDS_MAX 200

enum colour { RED, GREEN, BLUE };

struct place {
    bool fast;
    const char *name, *mode, *id;
    uint32_t count;
    int64_t ranks;
    uint32_t patience_ms;
    uint64_t bytes;
    double rate;
    enum colour colour;
    struct option_list list;
};

static bool is_id(const char *text)
{
    return *text && strspn(text, "abc") == strlen(text);
}

static const char *const modes[] = {"auto", "none", NULL};
static const char *const colours[] = {"red", "green", "blue", NULL};
static const char *const automatic[] = {"auto", "all", NULL};
static const char *const spellings[] = {"--how-many", "-hm", NULL};
static const struct option first[] = {
    {"fast", OPTION_FLAG, OPTION_AT(struct place, fast), .help = "hurries", .letter = 'f'},
    {"name", OPTION_TEXT, OPTION_AT(struct place, name), .value = "NAME", .help = "names it",
     .letter = 'n'},
    {"mode", OPTION_TEXT, OPTION_AT(struct place, mode), .value = "auto|none", .help = "how",
     .words = modes},
    {"id", OPTION_TEXT, OPTION_AT(struct place, id), .value = "ID", .help = "who", .accepts = is_id,
     .wanted = "letters from a to c"},
    {0},
};
static const struct option second[] = {
    {"count", OPTION_COUNT, OPTION_AT(struct place, count), .value = "N", .help = "how many",
     .least = 1, .most = UINT32_MAX, .also = spellings},
    {"ranks", OPTION_COUNT, OPTION_AT(struct place, ranks), .value = "N|auto|all",
     .help = "of them", .letter = 'r', .most = 1024, .words = automatic},
    {"patience", OPTION_SECONDS, OPTION_AT(struct place, patience_ms), .value = "S",
     .help = "waits", .least = 1, .most = 864000},
    {"bytes", OPTION_SIZE, OPTION_AT(struct place, bytes), .value = "SIZE", .help = "as much",
     .letter = 'b', .most = 0x1p42},
    {"rate", OPTION_REAL, OPTION_AT(struct place, rate), .value = "X", .help = "how fast",
     .least = 1e-6, .most = 100},
    {"colour", OPTION_CHOICE, OPTION_AT(struct place, colour), .value = "COLOUR",
     .help = "how it looks", .words = colours},
    {"listed", OPTION_LIST, OPTION_AT(struct place, list), .value = "ID", .help = "more of them",
     .letter = 'x', .accepts = is_id, .wanted = "letters from a to c"},
    {"quick_one", OPTION_FLAG, OPTION_AT(struct place, fast), .help = "hurries, too",
     .letter = 'q'},
    {0},
};

static const struct option_foreign foreign[] = {
    {"--other-way --hostfile", "write --name"}, {"-o -wd", "write -n"}, {0}};

/* Takes options anywhere, and up to two operands. */
static const struct options loose = {.program = "loose",
                                     .about = "",
                                     .groups = {{"A", first}, {"B", second}},
                                     .foreign = foreign,
                                     .operands_most = 2};

static char *words[WORDS_MAX];
static struct place place;
static struct command_line line;
static struct mst_err err;

/* Parses the words up to a NULL. */
static int parse(const struct options *options, const char *const *given)
{
    int argc = 0;
    words[argc++] = "program";
    for (; *given; given++)
        words[argc++] = (char *)*given;
    assert_true(argc < WORDS_MAX);
    words[argc] = NULL;
    place = (struct place){.ranks = 7};
    line = (struct command_line){.command = -1};
    err = (struct mst_err){0};
    return options_parse(options, argc, words, &place, &line, &err);
}

#define PARSE(options, ...) parse(options, (const char *[]){__VA_ARGS__, NULL})

static void test_no_words(void **state)
{
    (void)state;
    assert_int_equal(PARSE(&loose, NULL), 0);
    assert_int_equal(line.operand_count, 0);
    assert_null(line.operands[0]);
    assert_int_equal(place.ranks, 7);
}

static void test_every_kind_in_every_spelling(void **state)
{
    (void)state;
    assert_int_equal(PARSE(&loose, "-f", "--name=a=b", "--mode", "none", "--id", "cab", "--count",
                           "4294967295", "-r12", "--patience", "30", "-b", "1.5k", "--rate=.25"),
                     0);
    assert_true(place.fast);
    assert_string_equal(place.name, "a=b");
    assert_string_equal(place.mode, "none");
    assert_string_equal(place.id, "cab");
    assert_int_equal(place.count, UINT32_MAX);
    assert_int_equal(place.ranks, 12);
    assert_int_equal(place.patience_ms, 30000);
    assert_int_equal(place.bytes, 1536);
    assert_true(place.rate == 0.25);
    assert_int_equal(PARSE(&loose, "--fast", "-n", "", "-nx", "--colour", "blue", "--bytes=2G"), 0);
    assert_string_equal(place.name, "x"); /* a later one wins */
    assert_int_equal(place.colour, BLUE);
    assert_int_equal(place.bytes, INT64_C(2) << 30);
}

/* How others write it: their names, '_' for '-', flags in one word. */
static void test_other_spellings(void **state)
{
    (void)state;
    static const char *const counts[][3] = {
        {"--count", "5"}, {"--how-many", "5"}, {"--how_many=5"}, {"-hm", "5"}, {"-hm=5"}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        assert_int_equal(parse(&loose, counts[i]), 0);
        assert_int_equal(place.count, 5);
    }
    assert_int_equal(PARSE(&loose, "--how-many", "5", "--count", "5"), 0);
    assert_int_equal(PARSE(&loose, "--how-many", "5", "--how_many", "6"), 0);
    assert_int_equal(place.count, 6);
    assert_int_equal(PARSE(&loose, "--quick-one"), 0);
    assert_true(place.fast);
    assert_int_equal(PARSE(&loose, "-qfnx"), 0);
    assert_string_equal(place.name, "x");
    assert_int_equal(PARSE(&loose, "-qfn", "y"), 0);
    assert_string_equal(place.name, "y");
    assert_int_equal(PARSE(&loose, "-qfh"), OPTIONS_HELP);
}

static void test_lists_grow(void **state)
{
    (void)state;
    const char *many[2 * OPTION_LIST_MAX + 3] = {NULL};
    assert_int_equal(PARSE(&loose, "-x", "a", "--listed=b", "-xc"), 0);
    assert_int_equal(place.list.count, 3);
    assert_string_equal(place.list.texts[2], "c");
    for (int i = 0; i < 2 * (OPTION_LIST_MAX + 1); i += 2) {
        many[i] = "-x";
        many[i + 1] = "a";
    }
    assert_int_equal(parse(&loose, many), -EINVAL);
    assert_string_equal(err.text, "-x a: it is given over 64 times");
}

static void test_words_stand_for_negative_numbers(void **state)
{
    (void)state;
    assert_int_equal(PARSE(&loose, "--ranks", "auto"), 0);
    assert_int_equal(place.ranks, -1);
    assert_int_equal(PARSE(&loose, "--ranks=all"), 0);
    assert_int_equal(place.ranks, -2);
    assert_int_equal(PARSE(&loose, "--ranks=all", "-r", "0"), 0);
    assert_int_equal(place.ranks, 0);
}

static void test_operands_stand_anywhere(void **state)
{
    (void)state;
    assert_int_equal(PARSE(&loose, "a", "-f", "--name", "n", "-"), 0);
    assert_int_equal(line.operand_count, 2);
    assert_string_equal(line.operands[0], "a");
    assert_string_equal(line.operands[1], "-");
    assert_null(line.operands[2]);
    assert_true(place.fast);
    assert_int_equal(PARSE(&loose, "-f", "--", "--name", "--"), 0);
    assert_string_equal(line.operands[0], "--name");
    assert_string_equal(line.operands[1], "--");
    assert_null(place.name);
}

/* Programs start themselves again with their own words. */
static void test_words_stay_where_no_operand_is(void **state)
{
    (void)state;
    assert_int_equal(PARSE(&loose, "--name", "n", "-f"), 0);
    assert_string_equal(words[1], "--name");
    assert_string_equal(words[2], "n");
    assert_string_equal(words[3], "-f");
}

static void test_what_follows_an_operand_is_its_own(void **state)
{
    (void)state;
    const struct options strict = {.program = "strict",
                                   .groups = {{"A", first}},
                                   .operand = "program",
                                   .operands_least = 1,
                                   .operands_most = INT_MAX,
                                   .stops_at_operand = true};
    assert_int_equal(PARSE(&strict, "-f", "prog", "--name", "--"), 0);
    assert_int_equal(line.operand_count, 3);
    assert_string_equal(line.operands[0], "prog");
    assert_string_equal(line.operands[1], "--name");
    assert_null(line.operands[3]);
    assert_null(place.name);
    assert_int_equal(PARSE(&strict, "--", "--name", "-x"), 0);
    assert_string_equal(line.operands[0], "--name");
    assert_int_equal(line.operand_count, 2);
    assert_int_equal(PARSE(&strict, "-f", "--"), -EINVAL);
    assert_string_equal(err.text, "no program given");
}

static const struct option_command commands[] = {
    {"index", "makes one"}, {"ls", "lists"}, {"verify", "checks"}, {NULL, NULL}};

static void test_commands(void **state)
{
    (void)state;
    const struct options tool = {.program = "tool",
                                 .groups = {{"A", first}},
                                 .commands = commands,
                                 .operand = "URI",
                                 .operands_least = 2,
                                 .operands_most = 2};
    assert_int_equal(PARSE(&tool, "-f", "verify", "--name", "n", "uri"), 0);
    assert_int_equal(line.command, 2);
    assert_string_equal(line.operands[1], "uri");
    static const struct {
        const char *words[4], *text;
    } faults[] = {
        {{"-f"}, "no command given: index, ls or verify"},
        {{"ls"}, "no URI given"},
        {{"ls", "a", "b"}, "unexpected argument b"},
        {{"verfiy", "a"}, "unknown command verfiy: did you mean verify?"},
        {{"xy", "a"}, "unknown command xy: index, ls or verify"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        assert_int_equal(parse(&tool, faults[i].words), -EINVAL);
        assert_string_equal(err.text, faults[i].text);
        assert_int_equal(line.command, -1);
    }
}

static void test_faults_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *words[4], *text;
    } faults[] = {
        {{"--frob"}, "unknown option --frob"},
        {{"--frob=1"}, "unknown option --frob"},
        {{"--cout=1"}, "unknown option --cout: did you mean --count?"},
        {{"--pat", "1"}, "unknown option --pat: did you mean --patience?"},
        {{"---"}, "unknown option ---"},
        {{"-y5"}, "unknown option -y5"},
        {{"-nmae", "4", "-id"}, "unknown option -id: did you mean --id?"},
        {{"-fz"}, "unknown option -fz"},
        {{"-fn"}, "-n: needs a value"},
        {{"-hm"}, "-hm: needs a value"},
        {{"-hm", "x"}, "-hm x: a whole number from 1 to 4294967295"},
        {{"--how_many=x"}, "--how_many x: a whole number from 1 to 4294967295"},
        {{"--how-mny"}, "unknown option --how-mny: did you mean --how-many?"},
        {{"--other_way=1"}, "--other_way: write --name"},
        {{"-o"}, "-o: write -n"},
        {{"-o2"}, "-o: write -n"},
        {{"-fo"}, "-o: write -n"},
        {{"-wd=x"}, "-wd: write -n"},
        {{"-hostfile", "x"}, "-hostfile: write --name"},
        {{"--host_file"}, "unknown option --host_file"},
        {{"--wd"}, "unknown option --wd"},
        {{"-count", "5"}, "unknown option -count: did you mean --count?"},
        {{"--how-many", "5", "--count=6"},
         "--how-many 5 and --count 6 are one option and contradict one another: leave one out"},
        {{"--help=all"}, "--help takes no value"},
        {{"--version=1"}, "--version takes no value"},
        {{"-hx"}, "-h takes no value"},
        {{"-fhx"}, "-h takes no value"},
        {{"--completion", "ksh"}, "--completion ksh: bash, zsh or fish"},
        {{"--completion"}, "--completion : bash, zsh or fish"},
        {{"-x", "abd"}, "-x abd: letters from a to c"},
        {{"-n"}, "-n: needs a value"},
        {{"--name"}, "--name: needs a value"},
        {{"--fast=yes"}, "--fast takes no value"},
        {{"--mode", "other"}, "--mode other: auto or none"},
        {{"--id", "abcd"}, "--id abcd: letters from a to c"},
        {{"--count", "0"}, "--count 0: a whole number from 1 to 4294967295"},
        {{"--count", "1.5"}, "--count 1.5: a whole number from 1 to 4294967295"},
        {{"--count", "4294967296"}, "--count 4294967296: a whole number from 1 to 4294967295"},
        {{"--ranks", "1025"}, "--ranks 1025: a whole number from 0 to 1024, or auto or all"},
        {{"--ranks", "-1"}, "--ranks -1: a whole number from 0 to 1024, or auto or all"},
        {{"--ranks", " 1"}, "--ranks  1: a whole number from 0 to 1024, or auto or all"},
        {{"--patience", "1x"}, "--patience 1x: whole seconds from 1 to 864000"},
        {{"-b", "1Q"}, "-b 1Q: a size from 0 to 4096G, such as 1.5M"},
        {{"-b", "1KB"}, "-b 1KB: a size from 0 to 4096G, such as 1.5M"},
        {{"-b", ""}, "-b : a size from 0 to 4096G, such as 1.5M"},
        {{"-b", "K"}, "-b K: a size from 0 to 4096G, such as 1.5M"},
        {{"-b", "nan"}, "-b nan: a size from 0 to 4096G, such as 1.5M"},
        {{"-b", "-1"}, "-b -1: a size from 0 to 4096G, such as 1.5M"},
        {{"--rate", "0"}, "--rate 0: a number from 1e-06 to 100"},
        {{"--rate", "1K"}, "--rate 1K: a number from 1e-06 to 100"},
        {{"--colour", "pink"}, "--colour pink: red, green or blue"},
        {{"--colour", "gren"}, "--colour gren: red, green or blue: did you mean green?"},
        {{"--ranks", "aut"},
         "--ranks aut: a whole number from 0 to 1024, or auto or all: did you mean auto?"},
        {{"a", "b", "c"}, "unexpected argument c"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        assert_int_equal(parse(&loose, faults[i].words), -EINVAL);
        assert_string_equal(err.text, faults[i].text);
        assert_int_equal(err.code, -EINVAL);
        assert_int_equal(line.command, -1);
    }
}

static void test_a_long_value_leaves_room_for_the_range(void **state)
{
    (void)state;
    char value[4096];
    memset(value, '9', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    assert_int_equal(PARSE(&loose, "--count", value), -EINVAL);
    assert_non_null(strstr(err.text, "from 1 to 4294967295"));
    char name[4096] = "--";
    memset(name + 2, 'n', sizeof name - 3);
    name[sizeof name - 1] = '\0';
    assert_int_equal(PARSE(&loose, name), -EINVAL);
    assert_non_null(strstr(err.text, "unknown option --nnn"));
}

static void test_required(void **state)
{
    (void)state;
    static const struct option needed[] = {
        {"name", OPTION_TEXT, OPTION_AT(struct place, name), .value = "NAME", .help = "names it",
         .required = true},
        {0},
    };
    const struct options options = {.program = "p", .groups = {{"A", first + 2}, {"B", needed}}};
    assert_int_equal(PARSE(&options, "--mode", "auto"), -EINVAL);
    assert_string_equal(err.text, "--name NAME is needed");
    assert_int_equal(PARSE(&options, "--mode", "auto", "--name", "n"), 0);
}

static void test_help_and_version_are_everywhere(void **state)
{
    (void)state;
    assert_int_equal(PARSE(&loose, "-f", "--help", "--count", "0"), OPTIONS_HELP);
    assert_int_equal(PARSE(&loose, "a", "-h"), OPTIONS_HELP);
    assert_int_equal(PARSE(&loose, "--version", "--frob"), OPTIONS_VERSION);
    assert_int_equal(PARSE(&loose, "--completion", "bash"), OPTIONS_BASH);
    assert_int_equal(PARSE(&loose, "--completion=fish"), OPTIONS_FISH);
    assert_int_equal(PARSE(&loose, "--", "--help"), 0);
    assert_int_equal(PARSE(&loose, "--name", "--help"), 0); /* a value */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_words),
        cmocka_unit_test(test_every_kind_in_every_spelling),
        cmocka_unit_test(test_other_spellings),
        cmocka_unit_test(test_lists_grow),
        cmocka_unit_test(test_words_stand_for_negative_numbers),
        cmocka_unit_test(test_operands_stand_anywhere),
        cmocka_unit_test(test_words_stay_where_no_operand_is),
        cmocka_unit_test(test_what_follows_an_operand_is_its_own),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_faults_are_named),
        cmocka_unit_test(test_a_long_value_leaves_room_for_the_range),
        cmocka_unit_test(test_required),
        cmocka_unit_test(test_help_and_version_are_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
