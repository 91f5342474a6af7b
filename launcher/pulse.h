/* Pulse: whether the other side of a link lives. Both sides send a beat every two seconds. Who is
 * silent for three of them is named; who stays away for `limit_ns` more is given up. */
/* pure */
#ifndef MUSTER_LAUNCHER_PULSE_H
#define MUSTER_LAUNCHER_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#define PULSE_BEAT_NS UINT64_C(2000000000)
#define PULSE_SILENT_NS (3 * PULSE_BEAT_NS)

enum pulse_state {
    PULSE_FINE,
    PULSE_SILENT, /* told once: from now on it is silent */
    PULSE_AWAY,   /* is still */
    PULSE_GONE,   /* has been for too long */
};

struct pulse {
    uint64_t heard_ns; /* the last sign of life */
    uint64_t looked_ns;
    uint64_t beat_ns; /* when to send the next beat */
    bool named;
};

void pulse_init(struct pulse *pulse, uint64_t now_ns);

/* Something has come. True if it was silent, and had been named. */
bool pulse_heard(struct pulse *pulse, uint64_t now_ns);

/* Its connection broke: that is as good as three missed beats, and needs no naming. */
void pulse_cut(struct pulse *pulse, uint64_t now_ns);

/* Call it about once a second, after whatever has come was read. Whoever has slept himself, stopped
 * or on a machine that was, cannot have heard the others: they get their time again. */
enum pulse_state pulse_look(struct pulse *pulse, uint64_t limit_ns, uint64_t now_ns);

/* True if a beat is due now; the next one is two seconds later. */
bool pulse_beats(struct pulse *pulse, uint64_t now_ns);

#endif
