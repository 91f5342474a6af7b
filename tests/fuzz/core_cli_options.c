/* The words of a command line, ended by NUL; the first byte says whether an operand ends the
 * options. Whatever they are, what is stored is within its range and the operands are words of the
 * line. */
#include "muster/core/cli/options.h"

#include "muster/core/err.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct place {
    bool flag;
    const char *text, *word;
    int64_t count;
    uint32_t seconds_ms;
    uint64_t bytes;
    double real;
    int choice;
    struct option_list list;
};

static const char *const names[] = {"auto", "none", NULL};
static const char *const spellings[] = {"--like_this", "-np", NULL};
static const struct option_foreign foreign[] = {{"--theirs", "advice"}, {NULL, NULL}};
static const struct option table[] = {
    {"flag", OPTION_FLAG, OPTION_AT(struct place, flag), .help = "", .letter = 'f'},
    {"text", OPTION_TEXT, OPTION_AT(struct place, text), .value = "T", .help = "", .letter = 't'},
    {"word", OPTION_TEXT, OPTION_AT(struct place, word), .value = "W", .help = "", .words = names},
    {"count", OPTION_COUNT, OPTION_AT(struct place, count), .value = "N", .help = "", .letter = 'n',
     .least = 1, .most = 1e15, .words = names, .also = spellings},
    {"list", OPTION_LIST, OPTION_AT(struct place, list), .value = "L", .help = "", .letter = 'x'},
    {"seconds", OPTION_SECONDS, OPTION_AT(struct place, seconds_ms), .value = "S", .help = "",
     .most = 864000},
    {"bytes", OPTION_SIZE, OPTION_AT(struct place, bytes), .value = "B", .help = "", .letter = 'b',
     .most = 0x1p42},
    {"real", OPTION_REAL, OPTION_AT(struct place, real), .value = "X", .help = "", .least = -1,
     .most = 1},
    {"choice", OPTION_CHOICE, OPTION_AT(struct place, choice), .value = "C", .help = "",
     .words = names},
    {0},
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool is_word_of(const char *word, char *const *words, int count)
{
    for (int i = 1; i < count; i++) {
        if (words[i] == word)
            return true;
    }
    return false;
}

static void check_place(const struct place *place)
{
    require(!place->word || strcmp(place->word, "auto") == 0 || strcmp(place->word, "none") == 0);
    require(place->count >= -2 && place->count <= 1000000000000000);
    require(place->seconds_ms <= 864000000);
    require(place->bytes <= UINT64_C(1) << 42);
    require(place->real >= -1 && place->real <= 1);
    require(place->choice == 0 || place->choice == 1);
    require(place->list.count <= OPTION_LIST_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *argv[WORDS_MAX + 1] = {"fuzz"}, *given[WORDS_MAX];
    int argc = 1;
    if (size == 0)
        return 0;
    char *text = malloc(size);
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    for (size_t at = 0; at < size && argc < WORDS_MAX; at += strlen(text + at) + 1)
        argv[argc++] = text + at;
    memcpy(given, argv, sizeof given);
    const struct options options = {.program = "fuzz",
                                    .groups = {{"", table}},
                                    .foreign = foreign,
                                    .operands_most = INT_MAX,
                                    .stops_at_operand = data[0] & 1};
    struct place place = {.count = 1};
    struct command_line line = {0};
    struct mst_err err = {0};
    int rc = options_parse(&options, argc, argv, &place, &line, &err);
    require((rc >= 0 && rc <= OPTIONS_FISH) || rc == -EINVAL);
    require(rc != -EINVAL || (err.code == rc && err.text[0]));
    check_place(&place);
    require(line.operand_count >= 0 && line.operand_count < argc);
    for (int i = 0; rc == 0 && i < line.operand_count; i++)
        require(is_word_of(line.operands[i], given, argc));
    require(rc != 0 || line.operands[line.operand_count] == NULL);
    free(text);
    return 0;
}
