#include "muster/ckpt/tool/tool.h"

#include <stdio.h>

void tool_append(json_t *array, json_t *value)
{
    (void)json_array_append_new(array, value); /* what memory ran out for is left out */
}

void tool_print(json_t *value)
{
    (void)json_dumpf(value, stdout, JSON_INDENT(2)); /* main looks at stdout's own error */
    putchar('\n');
    json_decref(value);
}
