/* Hung: ranks that were told to leave and sit in the kernel instead, where no signal reaches them:
 * a file server or a device that does not answer.
 *
 *   init, per generation → expect once they are told → look when it is due
 *
 * A thread hangs that sleeps so (state D) and has not run for HUNG_AFTER_NS. One thread. */
#ifndef MUSTER_LAUNCHER_HUNG_H
#define MUSTER_LAUNCHER_HUNG_H

#include "muster/core/world/page.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ranks;

#define HUNG_EVERY_NS UINT64_C(500000000)
#define HUNG_AFTER_NS UINT64_C(1500000000)
#define HUNG_TEXT_BYTES 128

/* Of one rank. */
struct hung_seat {
    pid_t thread;      /* seen asleep in the kernel; 0: none */
    uint64_t switches; /* how often it had run by then */
    uint64_t since_ns; /* seen so for the first time */
    bool told;
};

struct hung {
    uint64_t look_ns; /* when to look next, or MST_NEVER */
    struct hung_seat seats[MST_PAGE_RANKS_MAX];
    char text[HUNG_TEXT_BYTES]; /* the first that hung: "rank 3 hangs in the kernel, in …"; empty */
};

/* Nobody has been told yet. */
void hung_init(struct hung *hung);

/* The ranks are told to leave: it is time to look. Once is enough. */
void hung_expect(struct hung *hung, uint64_t now_ns);

/* Looks at the live ranks and what they have started, logs who hangs, each once, and sets look_ns.
 * Reads /proc of all of them. */
void hung_look(struct hung *hung, const struct ranks *ranks, uint64_t now_ns);

#endif
