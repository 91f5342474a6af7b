/* The kernels: what they take, and what one launch of each is. Included by nvcc too. */
#ifndef MUSTER_GPU_KERNELS_H
#define MUSTER_GPU_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum kernel_id { KERNEL_PACK, KERNEL_UNPACK, KERNEL_CAST, KERNEL_SUM, KERNEL_COUNT };

enum kernel_type { KERNEL_F32, KERNEL_F16, KERNEL_BF16 };

/* Arguments travel by value: the driver allows 4096 bytes. */
#define KERNEL_PARTS_MAX 128
#define KERNEL_INPUTS_MAX 64

struct kernel_part {
    char *data;
    size_t bytes;
    size_t packed_at;
};

struct kernel_parts {
    char *packed;
    uint32_t part_count;
    struct kernel_part parts[KERNEL_PARTS_MAX];
};

struct kernel_cast {
    void *out;
    const void *in;
    size_t count;
    enum kernel_type out_type, in_type;
};

struct kernel_sum {
    void *out;
    size_t count;
    uint32_t in_count;
    enum kernel_type type;
    const void *in[KERNEL_INPUTS_MAX];
};

struct kernel_launch {
    enum kernel_id id;
    uint32_t blocks_x, blocks_y; /* of KERNEL_THREADS each; any number works */
    union {
        struct kernel_parts parts;
        struct kernel_cast cast;
        struct kernel_sum sum;
    } args;
};

#define KERNEL_THREADS 256

#endif
