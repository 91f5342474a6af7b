/* pure */
#include "muster/launcher/memcg.h"

#include <stdio.h>
#include <string.h>

#define BEYOND (UINT64_C(1) << 60) /* version 1 says "no limit" by a number a little below 2^63 */

/* Whether a list "cpu,memory", which ends with ':', names the controller. */
static bool names_memory(const char *list)
{
    static const char name[] = "memory";
    size_t size = sizeof name - 1;
    for (;;) {
        size_t word = strcspn(list, ",:\n");
        if (word == size && memcmp(list, name, size) == 0)
            return true;
        if (list[word] != ',')
            return false;
        list += word + 1;
    }
}

/* "<number>:<controllers>:<path>"; the line of version 2 has no controllers. */
static enum memcg_version read_line(const char *line, size_t size, char path[MEMCG_PATH_BYTES])
{
    const char *list = memchr(line, ':', size);
    const char *colon = list ? memchr(list + 1, ':', size - (size_t)(list + 1 - line)) : NULL;
    if (!colon)
        return MEMCG_NONE;
    bool is_v2 = colon == list + 1;
    const char *from = colon + 1;
    size_t length = size - (size_t)(from - line);
    if ((!is_v2 && !names_memory(list + 1)) || length >= MEMCG_PATH_BYTES)
        return MEMCG_NONE;
    memcpy(path, from, length);
    path[length] = '\0';
    return is_v2 ? MEMCG_V2 : MEMCG_V1;
}

enum memcg_version memcg_find(const char *text, char path[MEMCG_PATH_BYTES])
{
    enum memcg_version found = MEMCG_NONE;
    for (size_t size; *text; text += size + (text[size] == '\n')) {
        char candidate[MEMCG_PATH_BYTES];
        size = strcspn(text, "\n");
        enum memcg_version version = read_line(text, size, candidate);
        if (version == MEMCG_NONE || found == MEMCG_V1)
            continue;
        found = version;
        memcpy(path, candidate, strlen(candidate) + 1);
        if (found == MEMCG_V1)
            break;
    }
    return found;
}

/* The number that the text begins with, up to the end of its line. */
static bool take_number(const char *text, uint64_t *ret_value)
{
    uint64_t value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (at == text || (*at != '\0' && *at != '\n'))
        return false;
    *ret_value = value;
    return true;
}

bool memcg_count(const char *text, const char *key, uint64_t *ret_count)
{
    size_t length = strlen(key);
    for (size_t size; *text; text += size + (text[size] == '\n')) {
        size = strcspn(text, "\n");
        if (size > length && memcmp(text, key, length) == 0 && text[length] == ' ')
            return take_number(text + length + 1, ret_count);
    }
    return false;
}

bool memcg_bytes(const char *text, uint64_t *ret_bytes)
{
    uint64_t value;
    if (strncmp(text, "max", 3) == 0 && (text[3] == '\0' || text[3] == '\n'))
        value = MEMCG_UNLIMITED;
    else if (!take_number(text, &value))
        return false;
    *ret_bytes = value >= BEYOND ? MEMCG_UNLIMITED : value;
    return true;
}

const char *memcg_size(uint64_t size_bytes, char *text, size_t cap)
{
    double mib = (double)size_bytes / (1 << 20);
    if (size_bytes == MEMCG_UNLIMITED)
        snprintf(text, cap, "none");
    else if (mib < 1024)
        snprintf(text, cap, "%.1f MiB", mib);
    else
        snprintf(text, cap, "%.1f GiB", mib / 1024);
    return text;
}
