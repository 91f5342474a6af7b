/* Stream: copies that mind the caches of other cores. A store that goes through a cache first reads
 * the line that it overwrites, out of another core's cache if need be, and leaves it modified; one
 * that streams passes by the caches and goes to memory. It pays for what is larger than they are,
 * and for what a core reads next that shares none with this one. Elsewhere than on x86-64 all is
 * memcpy. Safe from any thread. */
#ifndef MUSTER_CORE_STREAM_H
#define MUSTER_CORE_STREAM_H

#include <stddef.h>

/* As memcpy; streams if there is so much that little of it would stay in a cache. */
void mst_stream_copy(void *to, const void *from, size_t size_bytes);

/* As memcpy; streams all whole lines of `to`. Whoever is told of the copy sees it only if
 * mst_stream_finish was called before: the release of a flag does not order streaming stores. */
void mst_stream_lines(void *to, const void *from, size_t size_bytes);
void mst_stream_finish(void);

/* As memcpy, of what another core has stored and will store to again, and nobody else reads: takes
 * its lines as if to write them. A store to a line that two cores share takes longer than one to a
 * line that moves between them. */
void mst_stream_take(void *to, const void *from, size_t size_bytes);

#endif
