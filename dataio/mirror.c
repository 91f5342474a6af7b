/* pure */
#include "muster/dataio/mirror.h"

#include "muster/core/least.h"

bool mirror_rests(const struct mirror_health *health, uint64_t now_ns)
{
    return health->failures && now_ns < health->rest_until_ns;
}

bool mirror_wants_probe(const struct mirror_health *health, uint64_t now_ns)
{
    return health->failures && now_ns >= health->rest_until_ns && !health->probed;
}

static bool is_better(const struct mirror_choice *choice, const struct mirror_choice *best)
{
    if (choice->refused != best->refused)
        return best->refused;
    if (!best->health->failures)
        return false;
    return !choice->health->failures || choice->health->rest_until_ns < best->health->rest_until_ns;
}

size_t mirror_choose(const struct mirror_choice *choices, size_t count)
{
    size_t best = count;
    for (size_t i = 0; i < count; i++)
        if (!choices[i].tried && (best == count || is_better(&choices[i], &choices[best])))
            best = i;
    return best;
}

void mirror_succeeded(struct mirror_health *health)
{
    *health = (struct mirror_health){0};
}

void mirror_failed(struct mirror_health *health, uint64_t now_ns)
{
    health->probed = false;
    if (now_ns < health->rest_until_ns)
        return;
    uint64_t rest_ns = MIRROR_REST_MIN_NS;
    for (uint32_t i = 0; i < health->failures && rest_ns < MIRROR_REST_MAX_NS; i++)
        rest_ns *= 2;
    health->failures++;
    health->rest_until_ns = now_ns + mst_least(rest_ns, MIRROR_REST_MAX_NS);
}
