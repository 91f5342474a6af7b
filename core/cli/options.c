/* pure */
#include "muster/core/cli/options.h"

#include "muster/core/err.h"
#include "muster/core/words.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 32  /* longer words resemble no name */
#define NEAR_MAX 2   /* letters that may differ */
#define GIVEN_MAX 64 /* options of a program */
#define COMMANDS_MAX 16

struct parse {
    const struct options *options;
    char **argv;
    int argc, at; /* the word that is read */
    void *place;
    uint64_t given; /* a bit for each option, in the order of the tables */
    struct mst_err *err;
};

/* ---- looking up ------------------------------------------------------------------------------ */

/* The option number `index` of all groups, or NULL. */
static const struct option *option_at(const struct options *options, int index)
{
    for (const struct option_group *group = options->groups; group->options; group++) {
        for (const struct option *option = group->options; option->name; option++) {
            if (index-- == 0)
                return option;
        }
    }
    return NULL;
}

/* The number of the option with this name, `length` bytes of it, or with this letter if that is not
 * '\0'; −1 if there is none. */
static int find(const struct options *options, const char *name, size_t length, char letter)
{
    const struct option *option;
    for (int i = 0; (option = option_at(options, i)) != NULL; i++) {
        bool is_it = letter ? option->letter == letter
                            : strlen(option->name) == length && !memcmp(option->name, name, length);
        if (is_it)
            return i;
    }
    return -1;
}

/* How many letters are to be changed, left out or put in: Levenshtein's distance, a row at a time.
 * More than can be near if a word is too long. */
static size_t distance(const char *from, const char *to)
{
    size_t row[WORD_MAX + 1], length = strlen(to);
    if (length > WORD_MAX || strlen(from) > WORD_MAX)
        return WORD_MAX;
    for (size_t i = 0; i <= length; i++)
        row[i] = i;
    for (; *from; from++) {
        size_t diagonal = row[0]++;
        for (size_t i = 1; i <= length; i++) {
            size_t best = diagonal + (*from != to[i - 1]);
            diagonal = row[i];
            if (row[i - 1] + 1 < best)
                best = row[i - 1] + 1;
            row[i] = row[i] + 1 < best ? row[i] + 1 : best;
        }
    }
    return row[length];
}

/* Keeps in *best what `word` most likely stands for: a name that it begins, or resembles. */
static void consider(const char *word, const char *name, size_t *best_distance, const char **best)
{
    size_t length = strlen(word), apart = distance(word, name);
    if (length > 1 && strncmp(word, name, length) == 0)
        apart = 1;
    if (apart <= NEAR_MAX && apart < strlen(name) && apart < *best_distance) {
        *best = name;
        *best_distance = apart;
    }
}

static int fail_unknown(const struct parse *parse, const char *name)
{
    const char *best = NULL;
    size_t best_distance = WORD_MAX;
    const struct option *option;
    for (int i = 0; (option = option_at(parse->options, i)) != NULL; i++)
        consider(name, option->name, &best_distance, &best);
    if (!best)
        return mst_err_set(parse->err, -EINVAL, "unknown option --%s", name);
    return mst_err_set(parse->err, -EINVAL, "unknown option --%s: did you mean --%s?", name, best);
}

/* "what: run, env or status" */
static int fail_command(const struct parse *parse, const char *what)
{
    const char *names[COMMANDS_MAX + 1] = {0};
    char known[128];
    for (size_t i = 0; parse->options->commands[i].name; i++) {
        assert(i < COMMANDS_MAX);
        names[i] = parse->options->commands[i].name;
    }
    return mst_err_set(parse->err, -EINVAL, "%s: %s", what,
                       mst_words_join(names, known, sizeof known));
}

static int find_command(const struct parse *parse, const char *name, int *ret_command)
{
    const char *best = NULL;
    char what[80];
    size_t best_distance = WORD_MAX;
    const struct option_command *commands = parse->options->commands;
    for (int i = 0; commands[i].name; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            *ret_command = i;
            return 0;
        }
        consider(name, commands[i].name, &best_distance, &best);
    }
    if (best)
        return mst_err_set(parse->err, -EINVAL, "unknown command %s: did you mean %s?", name, best);
    snprintf(what, sizeof what, "unknown command %s", name);
    return fail_command(parse, what);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* "4096G", "17" */
static const char *size_name(double size_bytes, char text[32])
{
    static const char units[] = "\0KMG";
    size_t unit = 0;
    uint64_t left = (uint64_t)size_bytes;
    for (; left > 0 && left % 1024 == 0 && unit < 3; unit++)
        left /= 1024;
    snprintf(text, 32, "%" PRIu64 "%.1s", left, &units[unit]); /* 20 digits and a letter */
    return text;
}

static void describe(const struct option *option, char *text, size_t cap)
{
    char low[32], high[32], words[128] = "";
    if (option->words)
        mst_words_join(option->words, words, sizeof words);
    switch (option->kind) {
    case OPTION_COUNT:
        snprintf(text, cap, "a whole number from %.16g to %.16g%s%s", option->least, option->most,
                 *words ? ", or " : "", words); /* a longer text is cut */
        break;
    case OPTION_SECONDS:
        snprintf(text, cap, "whole seconds from %.16g to %.16g", option->least, option->most);
        break;
    case OPTION_SIZE:
        snprintf(text, cap, "a size from %s to %s, such as 1.5M", size_name(option->least, low),
                 size_name(option->most, high));
        break;
    case OPTION_REAL:
        snprintf(text, cap, "a number from %.16g to %.16g", option->least, option->most);
        break;
    default: snprintf(text, cap, "%s", *words ? words : option->wanted);
    }
}

static int fail_value(const struct parse *parse, const struct option *option, const char *text)
{
    char allowed[192];
    describe(option, allowed, sizeof allowed);
    return mst_err_set(parse->err, -EINVAL, "--%s %.80s: %s", option->name, text, allowed);
}

static bool parse_whole(const char *text, double *ret_value)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *ret_value = (double)value;
    return isdigit((unsigned char)text[0]) && !*end && errno == 0;
}

static bool parse_real(const char *text, bool with_unit, double *ret_value)
{
    static const char units[] = "KMG";
    char *end;
    *ret_value = strtod(text, &end);
    bool is_number = end != text;
    const char *unit = with_unit && *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    for (const char *u = units; unit && u <= unit; u++)
        *ret_value *= 1024;
    return is_number && !end[unit != NULL];
}

static bool parse_number(const struct option *option, const char *text, double *ret_value)
{
    bool is_real = option->kind == OPTION_REAL || option->kind == OPTION_SIZE;
    bool is_number = is_real ? parse_real(text, option->kind == OPTION_SIZE, ret_value)
                             : parse_whole(text, ret_value);
    return is_number && *ret_value >= option->least && *ret_value <= option->most;
}

/* A negative number, which stands for a word, is for 64 bits only. */
static void store_whole(const struct option *option, double value, void *field)
{
    if (option->size_bytes == sizeof(uint32_t)) {
        assert(value >= 0 && value <= UINT32_MAX);
        memcpy(field, &(uint32_t){(uint32_t)value}, sizeof(uint32_t));
    } else {
        assert(option->size_bytes == sizeof(int64_t));
        memcpy(field, &(int64_t){(int64_t)value}, sizeof(int64_t));
    }
}

static int store_number(const struct parse *parse, const struct option *option, const char *text,
                        void *field)
{
    double value;
    int word = mst_words_find(option->words, text);
    if (word >= 0)
        store_whole(option, -1 - word, field);
    else if (!parse_number(option, text, &value))
        return fail_value(parse, option, text);
    else if (option->kind == OPTION_REAL)
        memcpy(field, &value, sizeof value);
    else
        store_whole(option, option->kind == OPTION_SECONDS ? value * 1000 : value, field);
    return 0;
}

static int store(const struct parse *parse, const struct option *option, const char *text)
{
    void *field = (char *)parse->place + option->offset;
    int word = mst_words_find(option->words, text);
    switch (option->kind) {
    case OPTION_FLAG: *(bool *)field = true; return 0;
    case OPTION_TEXT:
        if ((option->words && word < 0) || (option->accepts && !option->accepts(text)))
            return fail_value(parse, option, text);
        *(const char **)field = text;
        return 0;
    case OPTION_CHOICE:
        assert(option->size_bytes == sizeof(int));
        if (word < 0)
            return fail_value(parse, option, text);
        memcpy(field, &word, sizeof word);
        return 0;
    default: return store_number(parse, option, text, field);
    }
}

/* ---- words ----------------------------------------------------------------------------------- */

/* `inside` is the value that stands in the option's own word, or NULL: then it is the next word. */
static int take(struct parse *parse, int index, const char *inside)
{
    const struct option *option = option_at(parse->options, index);
    assert(index < GIVEN_MAX);
    parse->given |= UINT64_C(1) << index;
    if (option->kind == OPTION_FLAG)
        return inside ? mst_err_set(parse->err, -EINVAL, "--%s takes no value", option->name)
                      : store(parse, option, "");
    if (!inside && parse->at + 1 == parse->argc)
        return mst_err_set(parse->err, -EINVAL, "%s: needs a value", parse->argv[parse->at]);
    return store(parse, option, inside ? inside : parse->argv[++parse->at]);
}

static int take_long(struct parse *parse, const char *name)
{
    const char *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    if (strcmp(name, "help") == 0)
        return OPTIONS_HELP;
    if (strcmp(name, "version") == 0)
        return OPTIONS_VERSION;
    int index = find(parse->options, name, length, '\0');
    if (index >= 0)
        return take(parse, index, equals ? equals + 1 : NULL);
    char typed[WORD_MAX + 2]; /* a longer one is cut, and still too long to resemble a name */
    snprintf(typed, sizeof typed, "%.*s", (int)length, name);
    return fail_unknown(parse, typed);
}

static int take_short(struct parse *parse, const char *word)
{
    if (strcmp(word, "-h") == 0)
        return OPTIONS_HELP;
    int index = find(parse->options, NULL, 0, word[1]);
    if (index < 0)
        return mst_err_set(parse->err, -EINVAL, "unknown option %.2s", word);
    return take(parse, index, word[2] ? word + 2 : NULL);
}

/* Reads options, and leaves parse->at at the first operand if that stops it. Else operands gather
 * at the front of argv, over words that have been read. */
static int take_words(struct parse *parse, struct command_line *line)
{
    bool ended = false; /* by "--" */
    for (parse->at = 1; parse->at < parse->argc; parse->at++) {
        char *word = parse->argv[parse->at];
        bool is_operand = ended || word[0] != '-' || word[1] == '\0';
        if (is_operand && parse->options->stops_at_operand)
            return 0;
        if (is_operand) {
            parse->argv[1 + line->operand_count++] = word;
        } else if (strcmp(word, "--") == 0) {
            ended = true;
        } else {
            int rc = word[1] == '-' ? take_long(parse, word + 2) : take_short(parse, word);
            if (rc)
                return rc;
        }
    }
    return 0;
}

static void settle_operands(const struct parse *parse, struct command_line *line)
{
    if (line->operand_count > 0) {
        line->operands = parse->argv + 1;
        line->operands[line->operand_count] = NULL;
    } else {
        line->operands = parse->argv + parse->at;
        line->operand_count = parse->argc - parse->at;
    }
    assert(line->operand_count >= 0);
}

static int check_operands(const struct parse *parse, struct command_line *line)
{
    const struct options *options = parse->options;
    if (options->commands && line->operand_count == 0)
        return fail_command(parse, "no command given");
    int rc = options->commands ? find_command(parse, line->operands[0], &line->command) : 0;
    if (rc < 0)
        return rc;
    if (line->operand_count < options->operands_least)
        return mst_err_set(parse->err, -EINVAL, "no %s given", options->operand);
    if (line->operand_count > options->operands_most)
        return mst_err_set(parse->err, -EINVAL, "unexpected argument %.80s",
                           line->operands[options->operands_most]);
    return 0;
}

static int check_required(const struct parse *parse)
{
    const struct option *option;
    for (int i = 0; (option = option_at(parse->options, i)) != NULL; i++) {
        if (option->required && !(parse->given >> i & 1))
            return mst_err_set(parse->err, -EINVAL, "--%s %s is needed", option->name,
                               option->value);
    }
    return 0;
}

int options_parse(const struct options *options, int argc, char **argv, void *place,
                  struct command_line *ret_line, struct mst_err *err)
{
    struct parse parse = {
        .options = options, .argv = argv, .argc = argc, .place = place, .err = err};
    struct command_line line = {0};
    int rc = take_words(&parse, &line);
    if (rc)
        return rc;
    settle_operands(&parse, &line);
    rc = check_operands(&parse, &line);
    if (rc == 0)
        rc = check_required(&parse);
    if (rc == 0)
        *ret_line = line;
    return rc;
}
