#include "muster/launcher/affinity.h"

bool affinity_share(const cpu_set_t *allowed, uint32_t local_rank, uint32_t local_size,
                    cpu_set_t *ret_share)
{
    uint64_t count = (uint64_t)CPU_COUNT(allowed), index = 0;
    if (count < local_size)
        return false;
    uint64_t first = count * local_rank / local_size;
    uint64_t end = count * (local_rank + 1) / local_size;
    CPU_ZERO(ret_share);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, allowed))
            continue;
        if (index >= first && index < end)
            CPU_SET(cpu, ret_share);
        index++;
    }
    return true;
}
