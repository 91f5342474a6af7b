/* Blank: memory of this process that holds zeros because nobody has written to it yet. Whatever is
 * put there can be taken back.
 *
 *   mst_blank_look → mst_blank_is, as often as need be → mst_blank_forget
 *   mst_blank_again      by whoever has written to what was blank
 *
 * One thread at a time; nobody else writes to the memory meanwhile. */
#ifndef MUSTER_CORE_BLANK_H
#define MUSTER_CORE_BLANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_blank_range {
    uintptr_t start, end;
};

struct mst_blank {
    int pagemap_fd;                 /* or negative */
    struct mst_blank_range *ranges; /* private and anonymous, in order of address */
    size_t range_count;
};

/* Looks which memory may be blank. Where that cannot be told (no memory, no /proc) nothing is. What
 * is mapped later is not known of. */
void mst_blank_look(struct mst_blank *ret_blank);

/* Whether it holds zeros only, and its whole pages are private, anonymous, neither there nor
 * swapped out. What a handler of page faults (userfaultfd) would bring there is not known of. */
bool mst_blank_is(const struct mst_blank *blank, const void *data, size_t size_bytes);

void mst_blank_forget(struct mst_blank *blank);

/* Makes zeros of what was blank; the kernel gets the memory back, as far as it takes it. */
void mst_blank_again(void *data, size_t size_bytes);

#endif
