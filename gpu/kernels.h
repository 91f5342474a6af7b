/* The kernels: what they take, and what one launch of each is. Included by nvcc too. */
#ifndef MUSTER_GPU_KERNELS_H
#define MUSTER_GPU_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum kernel_id { KERNEL_CAST, KERNEL_SUM, KERNEL_SGD, KERNEL_ADAMW, KERNEL_CRC32C, KERNEL_COUNT };

enum kernel_type { KERNEL_F32, KERNEL_F16, KERNEL_BF16, KERNEL_F8E4M3, KERNEL_F8E5M2 };

/* Arguments travel by value: the driver allows 4096 bytes. */
#define KERNEL_INPUTS_MAX 64

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

struct kernel_sgd {
    float *params, *momentum;
    const float *grads;
    size_t count;
    float grad_scale, momentum_decay, lr;
};

struct kernel_adamw {
    float *params, *means, *squares;
    const float *grads;
    size_t count;
    float grad_scale, mean_blend, square_decay, square_blend, square_bias_root, epsilon;
    float param_decay, step_size;
};

/* A lane is what one thread takes of a segment, and a row a word of each lane. */
#define KERNEL_CRC_LANES 256
#define KERNEL_CRC_ROWS 64
#define KERNEL_CRC_BYTES (4 * KERNEL_CRC_LANES * KERNEL_CRC_ROWS) /* of a segment */

struct kernel_crc32c {
    const char *data;
    size_t bytes;
    uint32_t block_bytes; /* whole segments */
    uint32_t *sums;       /* one for each block, 0 before */
};

struct kernel_launch {
    enum kernel_id id;
    uint32_t blocks; /* of KERNEL_THREADS each; any number works */
    union {
        struct kernel_cast cast;
        struct kernel_sum sum;
        struct kernel_sgd sgd;
        struct kernel_adamw adamw;
        struct kernel_crc32c crc32c;
    } args;
};

#define KERNEL_THREADS 256

#endif
