#include "muster/dataio/tool/tool.h"

#include "muster/core/world/state.h"
#include "muster/dataio/feed.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct command {
    const char *name;
    int (*run)(const struct tool *tool);
};

static const struct command commands[] = {
    {"index", tool_index}, {"ls", tool_ls}, {"verify", tool_verify}, {NULL, NULL}};

static const char usage_text[] =
    "usage: muster data index  URI[,MIRROR...] [options]\n"
    "       muster data ls     URI[,MIRROR...] [options]\n"
    "       muster data verify URI[,MIRROR...] [options]\n"
    "\n"
    "  index   opens the dataset as a loader does; prints samples, bytes and fingerprint\n"
    "  ls      lists the sources with format, sizes and samples\n"
    "  verify  reads everything, from each mirror; names each damaged or different file\n"
    "\n"
    "  URI is a file, a folder (it ends in /) or a *.dataset.json: a path, file:, s3:, http:,\n"
    "  https:, webhdfs: or hdfs:.\n"
    "\n"
    "  --format F   auto, raw, megatron or lines (auto: by name)\n"
    "  --dtype T    raw: type of an element, u8 ... f64 (u8)\n"
    "  --elems N    raw, megatron: elements in a sample (1)\n"
    "  --stride N   elements from one sample to the next (elems)\n"
    "  --scratch D  directory for inflated sources (/tmp)\n"
    "  --json       prints JSON\n"
    "  --help       prints this\n"
    "\n"
    "Exit status: 0; 1 damaged or unreadable; 2 usage. See muster-data(1).\n";

static int fail_usage(const char *text, const char *what)
{
    fprintf(stderr, "muster-data: %s%s; try muster data --help\n", text, what);
    return TOOL_USAGE;
}

static int fail_value(const char *option, const char *value)
{
    fprintf(stderr, "muster-data: --%s: bad value %s; try muster data --help\n", option, value);
    return TOOL_USAGE;
}

bool tool_add_json(json_t *list, json_t *entry, const char *label)
{
    if (json_array_append_new(list, entry) == 0)
        return true;
    fprintf(stderr, "muster-data: %s: not UTF-8, as JSON must be; try without --json\n", label);
    return false;
}

struct dataset *tool_dataset(const struct tool *tool)
{
    struct dataset *dataset = NULL;
    struct mst_err err = {0};

    if (dataset_open(tool->uri, tool->feed, &dataset, &err) < 0)
        fprintf(stderr, "muster-data: %s\n", err.text);
    return dataset;
}

struct index *tool_open(const struct tool *tool)
{
    struct index_opts opts = tool->opts;
    struct index *index = NULL;
    struct mst_err err = {0};
    struct dataset *dataset = tool_dataset(tool);

    opts.dataset = dataset;
    if (dataset && index_open(&opts, tool->feed, &index, &err) < 0)
        fprintf(stderr, "muster-data: %s\n", err.text);
    dataset_close(dataset);
    return index;
}

static int parse_format(const char *text, enum mst_format *ret_format)
{
    if (strcmp(text, "auto") == 0) {
        *ret_format = MST_FORMAT_AUTO;
        return 0;
    }
    for (size_t i = 0; record_readers[i]; i++)
        if (strcmp(text, record_readers[i]->name) == 0) {
            *ret_format = record_readers[i]->format;
            return 0;
        }
    return -EINVAL;
}

static int parse_count(const char *text, uint32_t *ret_count)
{
    char *end;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9' || value < 1 || value > UINT32_MAX)
        return -EINVAL;
    *ret_count = (uint32_t)value;
    return 0;
}

static int parse_option(int option, const char *value, struct tool *tool)
{
    switch (option) {
    case 'j': tool->json = true; return 0;
    case 'f': return parse_format(value, &tool->opts.shape.format);
    case 't': return mst_dtype_parse(value, &tool->opts.shape.dtype);
    case 'e': return parse_count(value, &tool->opts.shape.elems);
    case 's': return parse_count(value, &tool->opts.shape.stride);
    default: tool->opts.scratch_dir = value; return 0;
    }
}

static int run(const struct command *command, struct tool *tool)
{
    struct mst_tuning tuning;
    struct mst_err err = {0};
    int status = world_tuning_from_env(&tuning, &err);

    if (status == 0)
        status = feed_create(&(struct feed_opts){.aio = tuning.aio}, &tool->feed, &err);
    if (status < 0) {
        fprintf(stderr, "muster-data: %s\n", err.text);
        return TOOL_USAGE;
    }
    status = command->run(tool);
    feed_destroy(tool->feed);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "muster-data: cannot write the answer: %s\n", strerror(errno));
        return TOOL_DAMAGED;
    }
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"format", required_argument, NULL, 'f'},  {"dtype", required_argument, NULL, 't'},
        {"elems", required_argument, NULL, 'e'},   {"stride", required_argument, NULL, 's'},
        {"scratch", required_argument, NULL, 'd'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    struct tool tool = {.opts = {.shape = {.dtype = MST_U8, .elems = 1}, .scratch_dir = "/tmp"}};
    const struct command *command = commands;
    int option, which = 0;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", options, &which)) != -1) {
        if (option == 'h') {
            fputs(usage_text, stdout);
            return 0;
        }
        if (option == ':')
            return fail_usage(argv[optind - 1], " needs a value");
        if (option == '?')
            return fail_usage("unknown option ", argv[optind - 1]);
        if (parse_option(option, optarg, &tool) < 0)
            return fail_value(options[which].name, optarg);
    }
    if (optind == argc)
        return fail_usage("no subcommand", "");
    while (command->name && strcmp(command->name, argv[optind]) != 0)
        command++;
    if (!command->name)
        return fail_usage("unknown subcommand ", argv[optind]);
    if (argc - optind != 2)
        return fail_usage(command->name, ": exactly one URI, or list of its mirrors, is needed");
    tool.uri = argv[optind + 1];
    return run(command, &tool);
}
