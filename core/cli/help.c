/* pure */
#include "muster/core/cli/options.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS 100
#define INDENT 2
#define GAP 2
#define LABEL_MAX 30 /* columns; the help of a longer one begins below it */
#define LABEL_CAP 128

struct page {
    char *text;
    size_t used, column;
};

/* Every program has these; they close its last group. */
static const struct option common_options[] = {
    {.name = "help", .letter = 'h', .help = "show this"},
    {.name = "version", .help = "show the version"},
    {0},
};

/* How many columns UTF-8 takes, if each of its characters takes one. */
static size_t width_of(const char *text, size_t length)
{
    size_t width = 0;
    for (size_t i = 0; i < length; i++)
        width += ((unsigned char)text[i] & 0xC0) != 0x80;
    return width;
}

static void put(struct page *page, const char *text, size_t length)
{
    assert(page->used + length < OPTIONS_HELP_MAX);
    memcpy(page->text + page->used, text, length);
    page->used += length;
    page->text[page->used] = '\0';
    page->column += width_of(text, length);
}

static void put_text(struct page *page, const char *text)
{
    put(page, text, strlen(text));
}

static void end_line(struct page *page)
{
    put_text(page, "\n");
    page->column = 0;
}

static void go_to(struct page *page, size_t column)
{
    while (page->column < column)
        put_text(page, " ");
}

/* Words from the column `indent` on, wrapped; '\n' in the text ends a line, too. */
static void put_wrapped(struct page *page, size_t indent, const char *text)
{
    for (size_t length; *text; text += length + (text[length] != '\0')) {
        length = strcspn(text, " \n");
        if (page->column > indent && page->column + 1 + width_of(text, length) > COLUMNS)
            end_line(page);
        if (length > 0)
            go_to(page, page->column > indent ? page->column + 1 : indent);
        put(page, text, length);
        if (text[length] == '\n')
            end_line(page);
    }
    end_line(page);
}

static void put_row(struct page *page, size_t column, const char *label, const char *help)
{
    go_to(page, INDENT);
    put_text(page, label);
    if (page->column + GAP > column)
        end_line(page);
    go_to(page, column);
    put_wrapped(page, column, help);
}

/* "-n, --iters N", and below it "    --nproc N" */
static const char *label_of(const struct option *option, char label[LABEL_CAP])
{
    const char letter[] = {'-', option->letter, ',', ' ', '\0'};
    int length = snprintf(label, LABEL_CAP, "%s--%s%s%s", option->letter ? letter : "    ",
                          option->name, option->value ? " " : "",
                          option->value ? option->value : "");
    assert(length > 0 && length < LABEL_CAP);
    return label;
}

static void measure_label(const char *label, size_t *column)
{
    size_t width = width_of(label, strlen(label));
    if (width <= LABEL_MAX && INDENT + width + GAP > *column)
        *column = INDENT + width + GAP;
}

static void measure_options(const struct option *options, size_t *column)
{
    char label[LABEL_CAP];
    for (; options->name; options++)
        measure_label(label_of(options, label), column);
}

static void put_options(struct page *page, size_t column, const struct option *options)
{
    char label[LABEL_CAP];
    for (; options->name; options++)
        put_row(page, column, label_of(options, label), options->help);
}

static void put_groups(struct page *page, const struct option_group *groups)
{
    size_t column = 0;
    measure_options(common_options, &column);
    for (const struct option_group *group = groups; group->options; group++)
        measure_options(group->options, &column);
    for (const struct option_group *group = groups; group->options; group++) {
        end_line(page);
        put_wrapped(page, 0, group->title);
        put_options(page, column, group->options);
    }
    if (!groups->options)
        end_line(page);
    put_options(page, column, common_options);
}

static void put_commands(struct page *page, const struct option_command *commands)
{
    size_t column = 0;
    for (const struct option_command *command = commands; command->name; command++)
        measure_label(command->name, &column);
    end_line(page);
    put_wrapped(page, 0, "Commands:");
    for (; commands->name; commands++)
        put_row(page, column, commands->name, commands->help);
}

const char *options_help(const struct options *options, char text[OPTIONS_HELP_MAX])
{
    struct page page = {.text = text};
    put_text(&page, "usage: ");
    put_text(&page, options->program);
    put_text(&page, options->synopsis ? " " : "");
    put_wrapped(&page, page.column, options->synopsis ? options->synopsis : "");
    end_line(&page);
    put_wrapped(&page, 0, options->about);
    if (options->commands)
        put_commands(&page, options->commands);
    put_groups(&page, options->groups);
    if (options->notes) {
        end_line(&page);
        put_wrapped(&page, 0, options->notes);
    }
    return text;
}
