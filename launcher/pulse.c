/* pure */
#include "muster/launcher/pulse.h"

#include "muster/core/least.h"

void pulse_init(struct pulse *pulse, uint64_t now_ns)
{
    *pulse = (struct pulse){.heard_ns = now_ns, .looked_ns = now_ns, .beat_ns = now_ns};
}

bool pulse_heard(struct pulse *pulse, uint64_t now_ns)
{
    bool was_named = pulse->named;
    pulse->heard_ns = now_ns;
    pulse->named = false;
    return was_named;
}

void pulse_cut(struct pulse *pulse, uint64_t now_ns)
{
    pulse->heard_ns = now_ns - PULSE_SILENT_NS;
    pulse->named = true;
}

enum pulse_state pulse_look(struct pulse *pulse, uint64_t limit_ns, uint64_t now_ns)
{
    uint64_t slept_ns = now_ns - pulse->looked_ns;
    pulse->looked_ns = now_ns;
    if (slept_ns > 2 * PULSE_BEAT_NS)
        pulse->heard_ns = mst_least(pulse->heard_ns + slept_ns, now_ns);
    uint64_t silent_ns = now_ns - pulse->heard_ns;
    if (silent_ns < PULSE_SILENT_NS)
        return PULSE_FINE;
    if (silent_ns >= PULSE_SILENT_NS + limit_ns)
        return PULSE_GONE;
    if (pulse->named)
        return PULSE_AWAY;
    pulse->named = true;
    return PULSE_SILENT;
}

bool pulse_beats(struct pulse *pulse, uint64_t now_ns)
{
    if (now_ns < pulse->beat_ns)
        return false;
    pulse->beat_ns = now_ns + PULSE_BEAT_NS;
    return true;
}
