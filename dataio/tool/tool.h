/* muster-data: looks at datasets as a loader would open them. One subcommand per file. */
#ifndef MUSTER_DATAIO_TOOL_TOOL_H
#define MUSTER_DATAIO_TOOL_TOOL_H

#include "muster/core/err.h"
#include "muster/dataio/dataset.h"
#include "muster/dataio/index.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define TOOL_DAMAGED 1

struct feed;

struct tool {
    const char *uri;
    struct index_opts opts; /* of the dataset */
    struct feed *feed;
    bool json;
};

/* Each prints to stdout and returns the exit status. */
int tool_index(const struct tool *tool);
int tool_ls(const struct tool *tool);
int tool_verify(const struct tool *tool);

/* Finds the sources, and opens them; or says on stderr why not and returns NULL. */
struct dataset *tool_dataset(const struct tool *tool);
struct index *tool_open(const struct tool *tool);

/* Adds an entry, which it takes, to what is printed. False: it cannot be JSON, and stderr says
 * whose it was. */
bool tool_add_json(json_t *list, json_t *entry, const char *label);

/* Prints `value` and lets it go. */
void tool_print(json_t *value);

#endif
