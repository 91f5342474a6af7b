/* pure */
#include "muster/core/cli/options.h"

#include "muster/core/cli/near.h"
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

#define TYPED_MAX 40 /* longer words resemble no name, and are cut where an error tells them */
#define GIVEN_MAX 64 /* options of a program */
#define COMMANDS_MAX 16

const char *const options_nothing[] = {NULL};
const char *const options_shells[] = {"bash", "zsh", "fish", NULL};

/* How an option was given. */
struct spelt {
    char name[TYPED_MAX];
    const char *text; /* NULL: it was not */
};

struct parse {
    const struct options *options;
    char **argv;
    int argc, at; /* the word that is read */
    void *place;
    struct spelt given[GIVEN_MAX]; /* of each option, in the order of the tables */
    char typed[TYPED_MAX]; /* the option that is read, as it stands there, without its value */
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

/* Whether as many bytes of a word are those of this one, with '_' for '-' or not. */
static bool begins_alike(const char *word, const char *known, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((word[i] == '_' ? '-' : word[i]) != (known[i] == '_' ? '-' : known[i]))
            return false;
    }
    return true;
}

static bool is_word(const char *word, size_t length, const char *known)
{
    return strlen(known) == length && begins_alike(word, known, length);
}

/* Whether others call it so. `word` has its dashes, `length` bytes without a value. */
static bool is_also(const struct option *option, const char *word, size_t length)
{
    for (const char *const *also = option->also; also && *also; also++) {
        if (is_word(word, length, *also))
            return true;
    }
    return false;
}

static bool is_called(const struct option *option, const char *word, size_t length)
{
    return (word[1] == '-' && is_word(word + 2, length - 2, option->name)) ||
           is_also(option, word, length);
}

/* The number of the option that is so called; −1 if there is none. */
static int find(const struct options *options, const char *word, size_t length)
{
    const struct option *option;
    for (int i = 0; (option = option_at(options, i)) != NULL; i++) {
        if (is_called(option, word, length))
            return i;
    }
    return -1;
}

static int find_letter(const struct options *options, char letter)
{
    const struct option *option;
    for (int i = 0; (option = option_at(options, i)) != NULL; i++) {
        if (option->letter && option->letter == letter)
            return i;
    }
    return -1;
}

/* Whether a word with one dash has the whole name of an option behind it. */
static bool lacks_a_dash(const struct options *options, const char *word, size_t length)
{
    const struct option *option;
    for (int i = 0; (option = option_at(options, i)) != NULL; i++) {
        if (is_word(word + 1, length - 1, option->name))
            return true;
    }
    return false;
}

/* One dash before a long name is as good as two: Hydra has one, Open MPI takes both. */
static bool is_among(const char *words, const char *word, size_t length)
{
    for (size_t size; *words; words += size + strspn(words + size, " ")) {
        size = strcspn(words, " ");
        bool is_short = size == length + 1 && length > 2 && words[1] == '-' && word[1] != '-';
        if ((size == length || is_short) && begins_alike(word, words + is_short, length))
            return true;
    }
    return false;
}

/* What stands for another launcher's option here, or NULL. */
static const char *find_foreign(const struct options *options, const char *word, size_t length)
{
    const struct option_foreign *foreign = options->foreign;
    for (; foreign && foreign->words; foreign++) {
        if (is_among(foreign->words, word, length))
            return foreign->advice;
    }
    return NULL;
}

static void consider_option(struct near *near, const struct option *option)
{
    near_consider(near, option->name);
    for (const char *const *also = option->also; also && *also; also++)
        near_consider(near, *also + strspn(*also, "-"));
}

/* Of the option that was typed: what another launcher's is here, or what it resembles. */
static int fail_unknown(const struct parse *parse)
{
    const char *typed = parse->typed, *name = typed[1] == '-' ? typed + 2 : typed + 1;
    const char *advice = find_foreign(parse->options, typed, strlen(typed));
    if (advice)
        return mst_err_set(parse->err, -EINVAL, "%s: %s", typed, advice);
    struct near near = near_init(name);
    const struct option *option;
    for (int i = 0; (option = option_at(parse->options, i)) != NULL; i++)
        consider_option(&near, option);
    if (!near.best)
        return mst_err_set(parse->err, -EINVAL, "unknown option %s", typed);
    return mst_err_set(parse->err, -EINVAL, "unknown option %s: did you mean --%s?", typed,
                       near.best);
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
    char what[80];
    struct near near = near_init(name);
    const struct option_command *commands = parse->options->commands;
    for (int i = 0; commands[i].name; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            *ret_command = i;
            return 0;
        }
        near_consider(&near, commands[i].name);
    }
    if (near.best)
        return mst_err_set(parse->err, -EINVAL, "unknown command %s: did you mean %s?", name,
                           near.best);
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
        snprintf(text, cap, "a whole number from %.16g to %.16g%s%s%s%s", option->least,
                 option->most, *words ? ", or " : "", words, option->wanted ? "; " : "",
                 option->wanted ? option->wanted : ""); /* a longer text is cut */
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
    char allowed[192], hint[NEAR_WORD_MAX + 24] = "";
    struct near near = near_init(text);
    describe(option, allowed, sizeof allowed);
    for (const char *const *word = option->words; word && *word; word++)
        near_consider(&near, *word);
    if (near.best)
        snprintf(hint, sizeof hint, ": did you mean %s?", near.best);
    return mst_err_set(parse->err, -EINVAL, "%s %.80s: %s%s", parse->typed, text, allowed, hint);
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

static int store_listed(const struct parse *parse, const struct option *option, const char *text,
                        struct option_list *list)
{
    assert(option->size_bytes == sizeof *list);
    if (option->accepts && !option->accepts(text))
        return fail_value(parse, option, text);
    if (list->count == OPTION_LIST_MAX)
        return mst_err_set(parse->err, -EINVAL, "%s %.80s: it is given over %d times", parse->typed,
                           text, OPTION_LIST_MAX);
    list->texts[list->count++] = text;
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
    case OPTION_LIST: return store_listed(parse, option, text, field);
    default: return store_number(parse, option, text, field);
    }
}

/* ---- words ----------------------------------------------------------------------------------- */

static int fail_value_given(const struct parse *parse)
{
    return mst_err_set(parse->err, -EINVAL, "%s takes no value", parse->typed);
}

static bool is_others(const struct option *option, const char *word)
{
    return is_also(option, word, strlen(word));
}

/* A later one wins, as a script's words do over those before. But who says the same by another
 * launcher's name, too, does not know that it is the same. */
static int note_given(struct parse *parse, const struct option *option, int index, const char *text)
{
    assert(index < GIVEN_MAX);
    struct spelt *before = &parse->given[index];
    bool is_other = is_others(option, before->name) != is_others(option, parse->typed);
    if (before->text && is_other && option->kind != OPTION_LIST && strcmp(before->text, text) != 0)
        return mst_err_set(parse->err, -EINVAL,
                           "%s %.60s and %s %.60s are one option and contradict one another: leave "
                           "one out",
                           before->name, before->text, parse->typed, text);
    memcpy(before->name, parse->typed, sizeof before->name);
    before->text = text;
    return 0;
}

/* `inside` is the value that stands in the option's own word, or NULL: then it is the next word. */
static int take(struct parse *parse, int index, const char *inside)
{
    const struct option *option = option_at(parse->options, index);
    bool is_flag = option->kind == OPTION_FLAG;
    if (is_flag && inside)
        return fail_value_given(parse);
    if (!is_flag && !inside && parse->at + 1 == parse->argc)
        return mst_err_set(parse->err, -EINVAL, "%s: needs a value", parse->typed);
    const char *text = is_flag ? "" : inside ? inside : parse->argv[++parse->at];
    int rc = note_given(parse, option, index, text);
    return rc ? rc : store(parse, option, text);
}

static int take_completion(struct parse *parse, const char *inside)
{
    const char *shell = inside ? inside : parse->argv[parse->at + 1];
    int which = mst_words_find(options_shells, shell ? shell : "");
    return which >= 0 ? OPTIONS_BASH + which
                      : mst_err_set(parse->err, -EINVAL, "--completion %.80s: bash, zsh or fish",
                                    shell ? shell : "");
}

/* What every program answers; 0 if it is none of that. */
static int take_common(struct parse *parse, const char *inside)
{
    bool is_help = strcmp(parse->typed, "--help") == 0 || strcmp(parse->typed, "-h") == 0;
    if (strcmp(parse->typed, "--completion") == 0)
        return take_completion(parse, inside);
    if (!is_help && strcmp(parse->typed, "--version") != 0)
        return 0;
    return inside ? fail_value_given(parse) : is_help ? OPTIONS_HELP : OPTIONS_VERSION;
}

/* A word that is an option's whole name, with its value behind '=' or without. */
static int take_whole(struct parse *parse, const char *word)
{
    size_t length = strcspn(word, "=");
    const char *inside = word[length] ? word + length + 1 : NULL;
    snprintf(parse->typed, sizeof parse->typed, "%.*s", (int)length, word); /* may be cut */
    int rc = take_common(parse, inside);
    if (rc)
        return rc;
    int index = find(parse->options, word, length);
    return index >= 0 ? take(parse, index, inside) : fail_unknown(parse);
}

/* "-f", "-n5", "-n" and the next word, "-fn5" */
static int take_letters(struct parse *parse, const char *word)
{
    bool is_flag = true;
    for (const char *at = word + 1; *at && is_flag; at++) {
        int index = find_letter(parse->options, *at);
        snprintf(parse->typed, sizeof parse->typed, "-%c", *at);
        int rc = *at == 'h' ? take_common(parse, at[1] ? at + 1 : NULL) : 0;
        if (rc)
            return rc;
        if (index < 0) {
            bool is_whole = !at[1] || isdigit((unsigned char)at[1]);
            if (!is_whole || !find_foreign(parse->options, parse->typed, 2))
                snprintf(parse->typed, sizeof parse->typed, "%s", word); /* may be cut */
            return fail_unknown(parse);
        }
        is_flag = option_at(parse->options, index)->kind == OPTION_FLAG;
        rc = take(parse, index, is_flag || !at[1] ? NULL : at + 1);
        if (rc)
            return rc;
    }
    return 0;
}

static int take_option(struct parse *parse, const char *word)
{
    size_t length = strcspn(word, "=");
    bool is_whole = word[1] == '-' || find(parse->options, word, length) >= 0 ||
                    (length > 2 && (lacks_a_dash(parse->options, word, length) ||
                                    find_foreign(parse->options, word, length)));
    return is_whole ? take_whole(parse, word) : take_letters(parse, word);
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
            int rc = take_option(parse, word);
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
        if (option->required && !parse->given[i].text)
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
