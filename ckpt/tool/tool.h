/* muster-ckpt: looks at checkpoints. One subcommand per file. */
#ifndef MUSTER_CKPT_TOOL_TOOL_H
#define MUSTER_CKPT_TOOL_TOOL_H

#include "muster/ckpt/manifest.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct tier;

#define TOOL_DAMAGED 1

struct tool {
    const char *path; /* as given */
    struct tier *tier;
    uint64_t *steps; /* the one that the path names, or all, highest first: at least one */
    size_t step_count;
    bool json;
};

/* Each prints to stdout and returns the exit status. */
int tool_ls(const struct tool *tool);
int tool_show(const struct tool *tool);
int tool_verify(const struct tool *tool);

/* Sizes of all files of a checkpoint. */
uint64_t tool_total_bytes(const struct manifest *manifest);

/* Takes `value` into `array`. */
void tool_append(json_t *array, json_t *value);

/* Prints `value` and lets it go. */
void tool_print(json_t *value);

#endif
