#include "muster/launcher/signals.h"

#include <signal.h>

static enum signals_action interrupt(struct signals *signals, uint64_t now_ns)
{
    if (signals->interrupt_ns == 0) {
        signals->interrupt_ns = now_ns;
        return SIGNALS_DRAIN;
    }
    return now_ns - signals->interrupt_ns < SIGNALS_ONE_NS ? SIGNALS_NOTHING : SIGNALS_HURRY;
}

enum signals_action signals_take(struct signals *signals, int number, uint64_t now_ns)
{
    switch (number) {
    case SIGCHLD: return SIGNALS_REAP;
    case SIGTERM: return SIGNALS_DRAIN;
    case SIGINT: return interrupt(signals, now_ns);
    case SIGUSR1: return SIGNALS_CHECKPOINT;
    case SIGQUIT: return SIGNALS_REPORT;
    case SIGHUP:
    case SIGUSR2:
    case SIGWINCH:
    case SIGCONT: return SIGNALS_HAND_ON;
    default: return SIGNALS_NOTHING;
    }
}
