/* The loops of reduce_loops.h for AVX-512 F, BW, VL and DQ. */
#if defined(__x86_64__)

#include <stdbool.h>

static bool usable(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

#define REDUCE_TABLE reduce_avx512
#define REDUCE_NAME "avx512"
#define REDUCE_USABLE usable
#include "muster/comm/reduce_loops.h"

#else

typedef int reduce_avx512_is_for_x86; /* ISO C wants a declaration in every file */

#endif
