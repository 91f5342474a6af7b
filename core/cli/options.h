/* Options: the command line of every program of this house. One table says what may be given: the
 * parser, the errors and --help come from the same rows. For programs; the library has none of it.
 *
 *   options_or_exit(&options, argc, argv, &place)               a program that has nothing open yet
 *   options_parse, and options_answer for what it did not fill  where a test reads the errors
 *
 * "--name value", "--name=value", "-x value" and "-xvalue" are understood, flags of one letter may
 * stand together, and '_' in a name is '-'; a later one wins, but that two names of one option with
 * two values are refused if only one is ours, and "--" ends the options. -h and --help, --version
 * and "--completion SHELL" are every program's and stand in no table. */
#ifndef MUSTER_CORE_CLI_OPTIONS_H
#define MUSTER_CORE_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct mst_err;

#define OPTIONS_EXIT_USAGE 64 /* what every program ends with that does not understand its words */
#define OPTIONS_HELP_MAX 16384

enum option_kind {
    OPTION_FLAG,    /* bool: true if given; takes no value */
    OPTION_TEXT,    /* const char *, borrowed from argv; one of `words`, if there are any */
    OPTION_COUNT,   /* 32 or 64 bits: a whole number, not negative */
    OPTION_SECONDS, /* uint32_t of milliseconds: whole seconds */
    OPTION_SIZE,    /* uint64_t of bytes: a number, whole or not, and K, M or G */
    OPTION_REAL,    /* double */
    OPTION_CHOICE,  /* int, or an enum that counts from 0: which of `words` */
    OPTION_LIST     /* struct option_list: each time it is given a text more, as for a text */
};

#define OPTION_LIST_MAX 64

struct option_list {
    const char *texts[OPTION_LIST_MAX]; /* borrowed from argv */
    uint32_t count;
};

struct option {
    const char *name; /* without its dashes; NULL ends a table */
    enum option_kind kind;
    size_t offset, size_bytes; /* OPTION_AT: where the value goes */
    const char *value;         /* what --help calls it: "N"; NULL for a flag */
    const char *help;
    char letter; /* of the short form, or '\0' */
    bool required;
    double least, most;       /* of the four kinds of numbers; whole ones are below 2^53 */
    const char *const *words; /* NULL-ended; for a count they stand for −1, −2, … in an int64_t */
    bool (*accepts)(const char *text); /* of a text, or NULL; `wanted` says what it asks for */
    const char *wanted;                /* of a count: what else is to be said of wrong ones */
    const char *const *proposes; /* of a text: what shells offer in place of files; NULL-ended */
    const char *const *also;     /* how others write it, with their dashes; NULL-ended, or NULL */
};

#define OPTION_AT(type, field) offsetof(type, field), sizeof(((type *)0)->field)

struct option_group {
    const char *title;
    const struct option *options; /* NULL ends the groups */
};

struct option_command {
    const char *name; /* NULL ends a table */
    const char *help;
};

/* Options that other launchers have and this program has not. */
struct option_foreign {
    const char *words; /* with their dashes, a blank between two: "--wdir -wd"; of one with two
                          dashes the same with one is meant, too; NULL ends a table */
    const char *advice;
};

struct options {
    const char *program;  /* in front of every error: "muster run" */
    const char *synopsis; /* what usage has behind the program's name, or NULL */
    const char *about;    /* what the program does; '\n' ends a line, the rest is wrapped */
    const char *notes;    /* stands below the options, or NULL */
    struct option_group groups[8];
    const struct option_foreign *foreign;  /* or NULL */
    const struct option_command *commands; /* one of them is the first operand; or NULL */
    const struct options *const
        *nested; /* of each command its own; NULL: another program's, or none */
    const char *const *operand_words;  /* what shells offer for one; NULL-ended, or NULL: files */
    const char *operand;               /* what is missing if there are too few of them: "program" */
    int operands_least, operands_most; /* a command counts */
    bool stops_at_operand;             /* what follows it is another program's */
};

struct command_line {
    int command; /* which of `commands`; 0 without */
    int operand_count;
    char **operands; /* in argv, NULL-ended; a command is the first */
};

/* What else than 0 options_parse answers. */
enum { OPTIONS_HELP = 1, OPTIONS_VERSION, OPTIONS_BASH, OPTIONS_ZSH, OPTIONS_FISH };

/* For `proposes`: nothing is to be offered. */
extern const char *const options_nothing[];

/* The shells that completion is for, OPTIONS_BASH first; NULL-ended. */
extern const char *const options_shells[];

/* Fills the fields of *place that the words of argv name; argv[0] is skipped, and operands are
 * moved to the front of what follows. 0; one of the answers above if that was asked for, with the
 * rest unread; -EINVAL naming the option, its value and what is allowed. *place may be
 * half filled when it is not 0. Pure. */
int options_parse(const struct options *options, int argc, char **argv, void *place,
                  struct command_line *ret_line, struct mst_err *err);

/* The text of --help, wrapped to 100 columns, into `text`, which is returned. Asserts that it fits.
 * Pure. */
const char *options_help(const struct options *options, char text[OPTIONS_HELP_MAX]);

/* Writes what a shell reads to complete the words of this program and of its commands: a function
 * _NAME of bash and zsh, with '_' for what is no letter in the program's name, or commands of fish.
 * `shell` is OPTIONS_BASH, OPTIONS_ZSH or OPTIONS_FISH. */
void options_complete(const struct options *options, int shell, FILE *out);

/* Prints the answer to what options_parse returned, which is not 0: help, the version, completion,
 * or what is wrong. Returns the exit status. */
int options_answer(const struct options *options, int rc, const struct mst_err *err);

/* options_parse; ends the program with options_answer unless it is to go on. */
struct command_line options_or_exit(const struct options *options, int argc, char **argv,
                                    void *place);

/* Flushes stdout. Returns `status`, or 1 if an answer that should be there could not be written,
 * which it says on stderr. */
int options_finish(const struct options *options, int status);

#endif
