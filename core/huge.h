/* Huge: buffers in pages of 2 MiB. A request to a disk lists its memory page by page, and has room
 * for few: around the page cache, 4 KiB pages are filled at a third of the speed. Huge pages are a
 * wish; memory that has none is as good, and slower. Safe from any thread. */
#ifndef MUSTER_CORE_HUGE_H
#define MUSTER_CORE_HUGE_H

#include <stddef.h>

struct mst_err;

#define MST_HUGE_BYTES ((size_t)2 << 20)

/* At least `size_bytes` (>= 1) of zeros that nobody has touched yet: whole huge pages, kept out of
 * forked children. NULL: no memory. */
void *mst_huge_map(size_t size_bytes);

/* Gives back `size_bytes` from `base` on, in whole huge pages: what mst_huge_map gave, or its end.
 * NULL is allowed. */
void mst_huge_unmap(void *base, size_t size_bytes);

/* Asks for huge pages for the whole ones of memory of any kind, where nothing is there yet. */
void mst_huge_ask(void *data, size_t size_bytes);

/* Faults in what is missing of memory of any kind, which keeps what it holds: whoever writes there
 * next need not wait for the kernel. Whole huge pages of it are asked for as such. Blocks: what a
 * virtual machine was never given before may come at less than 1 GB/s. */
void mst_huge_populate(void *data, size_t size_bytes);

/* Whether this process may have huge pages, as far as can be told. 0; -ENOTSUP with a text that
 * says why not. `root` is put before /sys; "" outside tests. */
int mst_huge_check(const char *root, struct mst_err *err);

#endif
