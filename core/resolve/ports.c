/* pure */
#include "muster/core/resolve/ports.h"

#include "muster/core/rng.h"

#define RANGE (MST_PORTS_LAST - MST_PORTS_FIRST + 1)
#define STRIDE 2251 /* four of them stay apart */

void mst_ports_derive(const char *job, uint16_t ports[MST_PORTS_COUNT])
{
    uint64_t hash = 0;
    for (const char *at = job; *at; at++)
        hash = mst_mix64(hash ^ (uint8_t)*at);
    uint32_t first = (uint32_t)(hash % RANGE);
    for (uint32_t i = 0; i < MST_PORTS_COUNT; i++)
        ports[i] = (uint16_t)(MST_PORTS_FIRST + (first + i * STRIDE) % RANGE);
}
