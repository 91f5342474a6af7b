/* pure */
#include "muster/core/resolve/nodelist.h"

#include "muster/core/resolve/parser.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DIGITS_MAX 9

/* One "a", "a-b" of a bracket; the width keeps leading zeros. */
struct range {
    int64_t low, high;
    int width;
};

static int next_range(const char **text, struct range *range)
{
    const char *start = *text;
    range->low = range->high = resolve_digits(text, 999999999);
    range->width = (int)(*text - start);
    if (range->low < 0 || range->width > DIGITS_MAX)
        return -EINVAL;
    if (**text == '-') {
        (*text)++;
        range->high = resolve_digits(text, 999999999);
    }
    if (range->high < range->low || (**text != ',' && **text != ']'))
        return -EINVAL;
    return *(*text)++ == ',';
}

/* Numbers in the bracket at `text` (behind "["); *ret_end is behind its "]". */
static int64_t bracket_count(const char *text, const char **ret_end)
{
    int64_t count = 0;
    int more;
    do {
        struct range range;
        more = next_range(&text, &range);
        if (more < 0)
            return -EINVAL;
        count += range.high - range.low + 1;
    } while (more && count <= RESOLVE_NODES_MAX);
    if (count > RESOLVE_NODES_MAX)
        return -EINVAL;
    *ret_end = text;
    return count;
}

static void bracket_at(const char *text, int64_t index, char *digits, size_t cap)
{
    struct range range;
    while (next_range(&text, &range) > 0 && index > range.high - range.low)
        index -= range.high - range.low + 1;
    /* DIGITS_MAX of them fit. */
    (void)snprintf(digits, cap, "%0*lld", range.width, (long long)(range.low + index));
}

/* Hosts of the group at `text`, the product of its brackets; *ret_end is its "," or its NUL. */
static int64_t group_count(const char *text, const char **ret_end)
{
    int64_t count = 1;
    for (; *text && *text != ','; text++) {
        if (*text == ']' || *text == ' ')
            return -EINVAL;
        if (*text != '[')
            continue;
        int64_t numbers = bracket_count(text + 1, &text);
        if (numbers < 0 || (count *= numbers) > RESOLVE_NODES_MAX)
            return -EINVAL;
        text--;
    }
    *ret_end = text;
    return count;
}

/* The last bracket counts fastest, so each divides by the product of those behind it. */
static int group_at(const char *text, int64_t index, char *host, size_t cap)
{
    size_t size = 0;
    for (; *text && *text != ','; text++) {
        char piece[24] = {*text, '\0'};
        if (*text == '[') {
            const char *start = text + 1, *end;
            (void)bracket_count(start, &text); /* counted before: only the end is asked for */
            int64_t behind = group_count(text, &end);
            bracket_at(start, index / behind, piece, sizeof piece);
            index %= behind;
            text--;
        }
        size_t piece_size = strlen(piece);
        if (size + piece_size >= cap)
            return -ENOSPC;
        memcpy(host + size, piece, piece_size);
        size += piece_size;
    }
    host[size] = '\0';
    return 0;
}

int64_t resolve_nodelist_count(const char *list)
{
    int64_t total = 0;
    for (const char *end; *list; list = *end ? end + 1 : end) {
        int64_t count = group_count(list, &end);
        if (count < 0 || end == list || (total += count) > RESOLVE_NODES_MAX)
            return -EINVAL;
    }
    return total > 0 ? total : -EINVAL;
}

int resolve_nodelist_at(const char *list, int64_t index, char *host, size_t cap)
{
    for (const char *end; *list; list = *end ? end + 1 : end) {
        int64_t count = group_count(list, &end);
        if (count < 0 || end == list)
            return -EINVAL;
        if (index < count)
            return group_at(list, index, host, cap);
        index -= count;
    }
    return -ENOENT;
}

/* "2(x3)" or "1". */
static int64_t next_tasks(const char **text, int64_t *ret_repeat)
{
    int64_t tasks = resolve_digits(text, RESOLVE_LOCAL_MAX);
    *ret_repeat = 1;
    if (strncmp(*text, "(x", 2) == 0) {
        *text += 2;
        *ret_repeat = resolve_digits(text, RESOLVE_NODES_MAX);
        if (*ret_repeat < 1 || *(*text)++ != ')')
            return -EINVAL;
    }
    if (tasks < 1 || (**text && **text != ','))
        return -EINVAL;
    *text += **text == ',';
    return tasks;
}

int64_t resolve_tasks_at(const char *list, int64_t node, int64_t *ret_most)
{
    int64_t found = -ENOENT, most = 0, repeat;
    while (*list) {
        int64_t tasks = next_tasks(&list, &repeat);
        if (tasks < 0)
            return -EINVAL;
        if (node >= 0 && node < repeat)
            found = tasks;
        node = node >= repeat ? node - repeat : MST_UNKNOWN;
        most = tasks > most ? tasks : most;
    }
    if (ret_most)
        *ret_most = most;
    return found;
}
