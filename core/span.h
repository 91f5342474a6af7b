/* Span: bytes and where they live. Components hand memory to one another as spans, and nothing
 * else. A span borrows: whoever made the memory frees it. Both structs are frozen: no version of
 * the library adds a field. */
#ifndef MUSTER_CORE_SPAN_H
#define MUSTER_CORE_SPAN_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Later versions may add kinds of memory. */
enum mst_mem {
    MST_MEM_HOST,   /* ordinary memory of this process */
    MST_MEM_PINNED, /* host memory that a device can reach by DMA */
    MST_MEM_DEVICE, /* memory of the device that this rank drives */
};

struct mst_span {
    void *data;
    size_t size_bytes;
    enum mst_mem mem;
};

struct mst_cspan {
    const void *data;
    size_t size_bytes;
    enum mst_mem mem;
};

#ifdef __cplusplus
}
#endif

#endif
