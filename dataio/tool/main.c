#include "muster/dataio/tool/tool.h"

#include "muster/core/cli/options.h"
#include "muster/core/world/state.h"
#include "muster/dataio/feed.h"

#include <stdio.h>

enum { INDEX, LS, VERIFY };

static const struct option_command commands[] = {
    [INDEX] = {"index",
               "opens the dataset as a loader does; prints samples, bytes and fingerprint"},
    [LS] = {"ls", "lists the sources with format, sizes and samples"},
    [VERIFY] = {"verify",
                "reads everything, from each mirror; names each damaged or different file"},
    {NULL, NULL},
};

static int (*const runs[])(const struct tool *) = {
    [INDEX] = tool_index, [LS] = tool_ls, [VERIFY] = tool_verify};

/* Small sources that are read whole are so many at a time, as a loader reads them. */
#define RESIDENT_BYTES (UINT64_C(64) << 20)

#define FORMATS "auto, raw, megatron or lines"

static bool is_format(const char *text)
{
    enum mst_format format;
    return record_format_parse(text, &format) == 0;
}

static bool is_dtype(const char *text)
{
    enum mst_dtype dtype;
    return mst_dtype_parse(text, &dtype) == 0;
}

struct words {
    const char *format, *dtype;
    enum mst_fingerprint fingerprint;
    struct tool tool;
};

static const char *const fingerprints[] = {"sampled", "full", NULL};

static const struct option sample_options[] = {
    {"format", OPTION_TEXT, OPTION_AT(struct words, format), .value = "F",
     .help = FORMATS " (auto: by name)", .accepts = is_format, .wanted = FORMATS},
    {"dtype", OPTION_TEXT, OPTION_AT(struct words, dtype), .value = "T",
     .help = "raw: type of an element, u8 … f64 (u8)", .accepts = is_dtype,
     .wanted = "a type, i8 … f64"},
    {"elems", OPTION_COUNT, OPTION_AT(struct words, tool.opts.shape.elems), .value = "N",
     .help = "raw, megatron: elements in a sample (1)", .least = 1, .most = UINT32_MAX},
    {"stride", OPTION_COUNT, OPTION_AT(struct words, tool.opts.shape.stride), .value = "N",
     .help = "elements from one sample to the next (elems)", .least = 1, .most = UINT32_MAX},
    {"scratch", OPTION_TEXT, OPTION_AT(struct words, tool.opts.scratch_dir), .value = "D",
     .help = "directory for inflated sources (TMPDIR, else /tmp, else 64 MiB of memory)"},
    {"fingerprint", OPTION_CHOICE, OPTION_AT(struct words, fingerprint), .value = "KIND",
     .words = fingerprints, .help = "sampled (size and up to 256 blocks of each source) or full"},
    {"json", OPTION_FLAG, OPTION_AT(struct words, tool.json), .help = "prints JSON"},
    {0},
};

static const struct options data_options = {
    .program = "muster-data",
    .synopsis = "COMMAND URI[,MIRROR...] [OPTIONS]",
    .about =
        "Looks at datasets as a loader opens them. URI is a file, a folder (it ends in /) or a "
        "*.dataset.json: a path, file:, s3:, http:, https:, webhdfs: or hdfs:.",
    .notes = "Exit status: 0; 1 damaged or unreadable; 64 usage. See muster-data(1).",
    .groups = {{"Options:", sample_options}},
    .commands = commands,
    .operand = "URI",
    .operands_least = 2,
    .operands_most = 2,
};

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
    struct dataset *dataset = tool_dataset(tool);
    struct index *index = NULL;
    struct mst_err err = {0};
    struct index_opts opts = tool->opts;
    opts.dataset = dataset;
    opts.resident_bytes = RESIDENT_BYTES;
    opts.look_only = true;
    if (dataset && index_open(&opts, tool->feed, &index, &err) < 0)
        fprintf(stderr, "muster-data: %s\n", err.text);
    dataset_close(dataset);
    return index;
}

static int run(int (*command)(const struct tool *), struct tool *tool)
{
    struct mst_tuning tuning;
    struct mst_err err = {0};
    int status = TOOL_DAMAGED;
    if (world_tuning_from_env(&tuning, &err) < 0) {
        fprintf(stderr, "muster-data: %s\n", err.text);
        return OPTIONS_EXIT_USAGE;
    }
    if (feed_create(&(struct feed_opts){.aio = tuning.aio}, &tool->feed, &err) < 0)
        fprintf(stderr, "muster-data: %s\n", err.text);
    else
        status = command(tool);
    feed_destroy(tool->feed);
    return options_finish(&data_options, status);
}

int main(int argc, char **argv)
{
    struct words words = {
        .format = "auto",
        .dtype = "u8",
        .tool = {.opts = {.shape = {.elems = 1}}},
    };
    struct command_line line = options_or_exit(&data_options, argc, argv, &words);
    words.tool.uri = line.operands[1];
    words.tool.opts.full = words.fingerprint == MST_FINGERPRINT_FULL;
    /* is_format and is_dtype have seen them. */
    (void)record_format_parse(words.format, &words.tool.opts.shape.format);
    (void)mst_dtype_parse(words.dtype, &words.tool.opts.shape.dtype);
    return run(runs[line.command], &words.tool);
}
