/* The loops of reduce_loops.h for AVX2. */
#if defined(__x86_64__)

#include <stdbool.h>

static bool usable(void)
{
    return __builtin_cpu_supports("avx2");
}

#define REDUCE_TABLE reduce_avx2
#define REDUCE_NAME "avx2"
#define REDUCE_USABLE usable
#include "muster/comm/reduce_loops.h"

#else

typedef int reduce_avx2_is_for_x86; /* ISO C wants a declaration in every file */

#endif
