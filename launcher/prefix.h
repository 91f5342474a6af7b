/* Prefix: what stands in front of a rank's lines, made from a template. */
/* pure */
#ifndef MUSTER_LAUNCHER_PREFIX_H
#define MUSTER_LAUNCHER_PREFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PREFIX_DEFAULT "[%r] "
#define PREFIX_BYTES_MAX 128 /* of what it becomes; more is cut */
#define PREFIX_LETTERS "%r rank, %l local rank, %n node, %h host, %t time, %% a percent sign"

struct prefix_facts {
    uint32_t rank, local_rank, node;
    const char *host;
};

/* Whether every percent sign has one of the letters behind it, and no line ends in it. */
bool prefix_is_valid(const char *text);

/* Whether it says the time, and so is another for each line. */
bool prefix_tells_time(const char *text);

/* The text of a valid template, without a NUL. Returns its size. */
size_t prefix_expand(const char *text, const struct prefix_facts *facts, const char *time,
                     char to[PREFIX_BYTES_MAX]);

#endif
