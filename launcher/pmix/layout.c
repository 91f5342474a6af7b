#include "muster/launcher/pmix/layout.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_BYTES 12 /* of the longest, and what separates it from the next */

struct text {
    char *bytes; /* NULL: there is no memory */
    size_t used, cap;
};

static struct text make_room(uint32_t count, size_t each)
{
    size_t cap = count * each + 1;
    return (struct text){malloc(cap), 0, cap};
}

/* There is room for it. */
static void add(struct text *text, const char *separator, const char *word)
{
    if (text->bytes)
        text->used += (size_t)snprintf(text->bytes + text->used, text->cap - text->used, "%s%s",
                                       separator, word);
}

static void add_number(struct text *text, const char *separator, uint32_t number)
{
    char word[NUMBER_BYTES];
    (void)snprintf(word, sizeof word, "%u", number);
    add(text, separator, word);
}

static bool is_ambiguous(const struct layout_node *nodes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(nodes[i].name, nodes[j].name) == 0)
                return true;
    return false;
}

void layout_tell_apart(struct layout_node *nodes, uint32_t count)
{
    if (!is_ambiguous(nodes, count))
        return;
    for (uint32_t i = 0; i < count; i++) {
        char *name = nodes[i].name;
        size_t most = LAYOUT_NAME_BYTES - NUMBER_BYTES, size = strnlen(name, most);
        (void)snprintf(name + size, LAYOUT_NAME_BYTES - size, "-%u", i);
    }
}

char *layout_names(const struct layout_node *nodes, uint32_t count)
{
    struct text text = make_room(count, LAYOUT_NAME_BYTES);
    for (uint32_t i = 0; i < count; i++)
        add(&text, i ? "," : "", nodes[i].name);
    return text.bytes;
}

char *layout_ranks(const struct layout_node *nodes, uint32_t count)
{
    uint32_t size = 0, next = 0;
    for (uint32_t i = 0; i < count; i++)
        size += nodes[i].size;
    struct text text = make_room(size, NUMBER_BYTES);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < nodes[i].size; j++)
            add_number(&text, j ? "," : i ? ";" : "", next++);
    return text.bytes;
}

char *layout_peers(uint32_t first, uint32_t size)
{
    struct text text = make_room(size, NUMBER_BYTES);
    for (uint32_t i = 0; i < size; i++)
        add_number(&text, i ? "," : "", first + i);
    return text.bytes;
}
