/* Stream: a copy that passes by the caches. A store that goes through them first reads the line
 * that it overwrites, out of another core's cache if need be, and leaves it there modified; a
 * streaming store goes to memory. It pays for what is larger than the caches, and for what a core
 * reads next that shares none with this one. Elsewhere than on x86-64 it is memcpy. Safe from any
 * thread. */
#ifndef MUSTER_CORE_STREAM_H
#define MUSTER_CORE_STREAM_H

#include <stddef.h>

/* As memcpy; streams if there is so much that little of it would stay in a cache. */
void mst_stream_copy(void *to, const void *from, size_t size_bytes);

/* As memcpy; streams all whole lines of `to`. Whoever is told of the copy sees it only if
 * mst_stream_finish was called before: the release of a flag does not order streaming stores. */
void mst_stream_lines(void *to, const void *from, size_t size_bytes);
void mst_stream_finish(void);

#endif
