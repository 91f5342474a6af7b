#include "muster/core/cli/options.h"

#include <ctype.h>
#include <string.h>

#define NAME_BYTES 64
#define CONDITION_BYTES 96

/* "muster run" as a part of a shell's name: "muster_run" */
static const char *name_of(const char *program, char name[NAME_BYTES])
{
    size_t used = 0;
    for (; *program && used < NAME_BYTES - 1; program++)
        name[used++] = isalnum((unsigned char)*program) ? *program : '_';
    name[used] = '\0';
    return name;
}

/* Which program a command of this one is, if it is another's: muster-data. */
static void put_beside(const struct options *options, const char *command, FILE *out)
{
    fprintf(out, "%s-%s", options->program, command);
}

typedef void put_option(const struct option *option, FILE *out);

static void each_option(const struct options *options, put_option *put, FILE *out)
{
    for (const struct option_group *group = options->groups; group->options; group++) {
        for (const struct option *option = group->options; option->name; option++)
            put(option, out);
    }
}

/* What may stand behind an option: words, none of them, or with NULL a file. */
static const char *const *words_of(const struct option *option)
{
    if (option->words || option->kind == OPTION_TEXT || option->kind == OPTION_LIST)
        return option->words ? option->words : option->proposes;
    return options_nothing;
}

static void put_words(const char *const *words, FILE *out)
{
    for (int i = 0; words[i]; i++)
        fprintf(out, "%s%s", i ? " " : "", words[i]);
}

static void put_commands(const struct option_command *commands, FILE *out)
{
    for (int i = 0; commands[i].name; i++)
        fprintf(out, "%s%s", i ? " " : "", commands[i].name);
}

/* ---- bash ------------------------------------------------------------------------------------ */

static void bash_name(const struct option *option, FILE *out)
{
    fprintf(out, "--%s ", option->name);
}

/* "--bind | -b", a pattern of case */
static void bash_pattern(const struct option *option, FILE *out)
{
    fprintf(out, "    --%s", option->name);
    if (option->letter)
        fprintf(out, " | -%c", option->letter);
    for (const char *const *also = option->also; also && *also; also++)
        fprintf(out, " | %s", *also);
    fputs(") ", out);
}

static void bash_value(const struct option *option, FILE *out)
{
    if (!option->value)
        return;
    bash_pattern(option, out);
    if (words_of(option)) {
        fputs("COMPREPLY=($(compgen -W '", out);
        put_words(words_of(option), out);
        fputs("' -- \"$cur\")); ", out);
    }
    fputs("return ;;\n", out);
}

static void bash_skip(const struct option *option, FILE *out)
{
    if (!option->value)
        return;
    fputs("    ", out);
    bash_pattern(option, out);
    fputs("i=$((i + 1)) ;;\n", out);
}

/* Behind the program that is started all words are its own. */
static void bash_operand(const struct options *options, FILE *out)
{
    fputs("    for ((i = ${1:-1}; i < COMP_CWORD; i++)); do\n"
          "        case ${COMP_WORDS[i]} in\n",
          out);
    each_option(options, bash_skip, out);
    fputs("        --) i=$((i + 1)) && break ;;\n"
          "        -*) ;;\n"
          "        *) break ;;\n"
          "        esac\n"
          "    done\n"
          "    if [ \"$i\" -lt \"$COMP_CWORD\" ] || [ \"$prev\" = -- ]; then\n"
          "        ! declare -F _command_offset >/dev/null || _command_offset \"$i\"\n"
          "        return\n"
          "    fi\n",
          out);
}

static void bash_dispatch(const struct options *options, FILE *out)
{
    char name[NAME_BYTES];
    name_of(options->program, name);
    fputs("    if [ \"$COMP_CWORD\" -gt 1 ]; then\n        case ${COMP_WORDS[1]} in\n", out);
    for (int i = 0; options->commands[i].name; i++) {
        const struct option_command *command = &options->commands[i];
        fprintf(out, "        %s) ", command->name);
        if (!options->nested[i]) {
            fprintf(out, "declare -F _%s_%s >/dev/null || _completion_loader ", name,
                    command->name);
            put_beside(options, command->name, out);
            fputs(" 2>/dev/null; ", out);
        }
        fprintf(out, "_%s_%s 2 2>/dev/null ;;\n", name, command->name);
    }
    fputs("        esac\n        return\n    fi\n", out);
}

static void bash_function(const struct options *options, FILE *out)
{
    char name[NAME_BYTES];
    fprintf(out,
            "_%s() {\n    local i=0 cur=${COMP_WORDS[COMP_CWORD]} "
            "prev=${COMP_WORDS[COMP_CWORD - 1]}\n    COMPREPLY=()\n",
            name_of(options->program, name));
    if (options->nested)
        bash_dispatch(options, out);
    if (options->stops_at_operand && !options->commands)
        bash_operand(options, out);
    fputs("    case $prev in\n", out);
    each_option(options, bash_value, out);
    fputs("    esac\n    if [[ $cur = -* ]]; then\n        COMPREPLY=($(compgen -W '", out);
    each_option(options, bash_name, out);
    fputs("--help --version' -- \"$cur\"))\n", out);
    if (options->commands) {
        fputs("    else\n        COMPREPLY=($(compgen -W '", out);
        put_commands(options->commands, out);
        fputs("' -- \"$cur\"))\n", out);
    } else if (options->operand_words) {
        fputs("    else\n        COMPREPLY=($(compgen -W '", out);
        put_words(options->operand_words, out);
        fputs("' -- \"$cur\"))\n", out);
    } else if (options->stops_at_operand) {
        fputs("    else\n        COMPREPLY=($(compgen -c -- \"$cur\"))\n", out);
    }
    fputs("    fi\n}\n", out);
}

static void complete_bash(const struct options *options, FILE *out)
{
    char name[NAME_BYTES];
    for (int i = 0; options->nested && options->commands[i].name; i++) {
        if (options->nested[i])
            bash_function(options->nested[i], out);
    }
    bash_function(options, out);
    fprintf(out, "complete -o default -F _%s %s\n", name_of(options->program, name),
            options->program);
}

/* ---- zsh ------------------------------------------------------------------------------------- */

/* Within '…' and […]. */
static void zsh_text(const char *text, FILE *out)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\'", out);
        else if (strchr("[]:\\", *text))
            putc('\\', out);
        putc(*text, out);
    }
}

static void zsh_spec(const struct option *option, const char *dashes, const char *name, FILE *out)
{
    fprintf(out, " \\\n        '%s%s%s[", option->kind == OPTION_LIST ? "*" : "", dashes, name);
    zsh_text(option->help, out);
    putc(']', out);
    if (option->value) {
        putc(':', out);
        zsh_text(option->value, out);
        const char *const *words = words_of(option);
        fputs(!words ? ":_files" : *words ? ":(" : ": ", out);
        if (words && *words) {
            put_words(words, out);
            putc(')', out);
        }
    }
    putc('\'', out);
}

static void zsh_option(const struct option *option, FILE *out)
{
    const char letter[] = {option->letter, '\0'};
    zsh_spec(option, "--", option->name, out);
    if (option->letter)
        zsh_spec(option, "-", letter, out);
}

static void zsh_dispatch(const struct options *options, FILE *out)
{
    char name[NAME_BYTES];
    name_of(options->program, name);
    fputs("    if (( CURRENT > 2 )); then\n        shift words\n        (( CURRENT-- ))\n"
          "        case $words[1] in\n",
          out);
    for (int i = 0; options->commands[i].name; i++) {
        const struct option_command *command = &options->commands[i];
        fprintf(out, "        %s) ", command->name);
        if (!options->nested[i]) {
            fprintf(out, "(( $+functions[_%s_%s] )) || autoload +X _", name, command->name);
            put_beside(options, command->name, out);
            fputs(" 2>/dev/null; ", out);
        }
        fprintf(out, "_%s_%s ;;\n", name, command->name);
    }
    fputs("        esac\n        return\n    fi\n", out);
}

static void zsh_function(const struct options *options, FILE *out)
{
    char name[NAME_BYTES];
    fprintf(out, "_%s() {\n", name_of(options->program, name));
    if (options->nested)
        zsh_dispatch(options, out);
    fputs("    _arguments -S", out);
    each_option(options, zsh_option, out);
    fputs(" \\\n        '--help[show this]' \\\n        '--version[show the version]'", out);
    if (options->commands) {
        fputs(" \\\n        '1:command:(", out);
        put_commands(options->commands, out);
        fputs(")'", out);
    }
    if (options->operand_words) {
        fprintf(out, " \\\n        '1:%s:(", options->operand);
        put_words(options->operand_words, out);
        fputs(")'", out);
    }
    fputs(options->stops_at_operand && !options->commands ? " \\\n        '*::program:_normal'\n}\n"
                                                          : " \\\n        '*:file:_files'\n}\n",
          out);
}

static void complete_zsh(const struct options *options, FILE *out)
{
    char name[NAME_BYTES];
    fprintf(out, "#compdef %s\n", options->program);
    for (int i = 0; options->nested && options->commands[i].name; i++) {
        if (options->nested[i])
            zsh_function(options->nested[i], out);
    }
    zsh_function(options, out);
    fprintf(
        out,
        "if [ \"$funcstack[1]\" = '_%s' ]; then\n    _%s \"$@\"\nelse\n    compdef _%s %s\nfi\n",
        options->program, name_of(options->program, name), name, options->program);
}

/* ---- fish ------------------------------------------------------------------------------------ */

static void fish_text(const char *text, FILE *out)
{
    putc('\'', out);
    for (; *text; text++) {
        if (strchr("'\\", *text))
            putc('\\', out);
        putc(*text, out);
    }
    putc('\'', out);
}

static void fish_option(const struct option *option, const char *condition, FILE *out)
{
    fprintf(out, "complete %s -l %s", condition, option->name);
    if (option->letter)
        fprintf(out, " -s %c", option->letter);
    if (option->value)
        fputs(words_of(option) ? " -x" : " -r", out);
    if (option->value && words_of(option) && *words_of(option)) {
        fputs(" -a '", out);
        put_words(words_of(option), out);
        putc('\'', out);
    }
    fputs(" -d ", out);
    fish_text(option->help, out);
    putc('\n', out);
}

static void fish_options(const struct options *options, const char *condition, FILE *out)
{
    for (const struct option_group *group = options->groups; group->options; group++) {
        for (const struct option *option = group->options; option->name; option++)
            fish_option(option, condition, out);
    }
    fprintf(out, "complete %s -l help -s h -d 'show this'\n", condition);
    if (options->operand_words) {
        fprintf(out, "complete %s -x -a '", condition);
        put_words(options->operand_words, out);
        fputs("'\n", out);
    }
}

static void fish_command(const struct options *options, int index, FILE *out)
{
    const struct option_command *command = &options->commands[index];
    char condition[CONDITION_BYTES];
    snprintf(condition, sizeof condition, "-c %s -n '__fish_seen_subcommand_from %s'",
             options->program, command->name);
    fprintf(out, "complete -c %s -n __fish_use_subcommand -x -a %s -d ", options->program,
            command->name);
    fish_text(command->help, out);
    putc('\n', out);
    if (options->nested && options->nested[index]) {
        fish_options(options->nested[index], condition, out);
    } else if (options->nested) {
        fprintf(out, "complete %s -a '(complete -C \"", condition);
        put_beside(options, command->name, out);
        fputs(" \"(commandline -ct))'\n", out);
    }
}

static void complete_fish(const struct options *options, FILE *out)
{
    char condition[CONDITION_BYTES];
    snprintf(condition, sizeof condition, "-c %s", options->program);
    for (int i = 0; options->commands && options->commands[i].name; i++)
        fish_command(options, i, out);
    fish_options(options, condition, out);
}

void options_complete(const struct options *options, int shell, FILE *out)
{
    if (shell == OPTIONS_BASH)
        complete_bash(options, out);
    else if (shell == OPTIONS_ZSH)
        complete_zsh(options, out);
    else
        complete_fish(options, out);
}
