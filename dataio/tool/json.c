#include "muster/dataio/tool/tool.h"

#include <stdio.h>

bool tool_add_json(json_t *list, json_t *entry, const char *label)
{
    if (json_array_append_new(list, entry) == 0)
        return true;
    fprintf(stderr, "muster-data: %s: not UTF-8, as JSON must be; try without --json\n", label);
    return false;
}

void tool_print(json_t *value)
{
    (void)json_dumpf(value, stdout, JSON_INDENT(2)); /* options_finish looks at it */
    putchar('\n');
    json_decref(value);
}
