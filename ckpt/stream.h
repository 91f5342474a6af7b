/* Stream: a copy that passes by the caches, for what is larger than they are: a store that goes
 * through them first reads the line that it overwrites. */
#ifndef MUSTER_CKPT_STREAM_H
#define MUSTER_CKPT_STREAM_H

#include <stddef.h>

/* As memcpy. Safe from any thread. */
void stream_copy(void *to, const void *from, size_t size_bytes);

#endif
