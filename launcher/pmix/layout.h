/* Layout: which rank is on which node, in the words that PMIx wants for it. Texts are the caller's
 * to free; NULL: there is no memory. */
#ifndef MUSTER_LAUNCHER_PMIX_LAYOUT_H
#define MUSTER_LAUNCHER_PMIX_LAYOUT_H

#include <stdint.h>

#define LAYOUT_NAME_BYTES 80

struct layout_node {
    char name[LAYOUT_NAME_BYTES]; /* a host's, cut if it is long */
    uint16_t size;                /* how many ranks it has */
};

/* Namespaces of one machine have one name: where two nodes have the same, each gets its number
 * behind it. */
void layout_tell_apart(struct layout_node *nodes, uint32_t count);

/* Names, separated by ','. */
char *layout_names(const struct layout_node *nodes, uint32_t count);

/* The ranks of each, in order: "0,1,2;3;4,5". A node has at least one. libpmix documents ranges of
 * them, too, and takes those for their first rank. */
char *layout_ranks(const struct layout_node *nodes, uint32_t count);

/* `size` ranks from `first` on, separated by ','. */
char *layout_peers(uint32_t first, uint32_t size);

#endif
