/* Waiting for another process to store a word: spin while a core is free, then give the core away,
 * then sleep on the word. Every wait ends, by the value, by an abort, or by the deadline.
 *
 * Waking a sleeper across virtual processors costs 30-50 us where a spinning reader sees the store
 * in 0.1 us, and a spinning reader without a core of its own keeps the others from working at all:
 * hence the three phases, and the count of free cores. */
#ifndef MUSTER_COMM_WAIT_H
#define MUSTER_COMM_WAIT_H

#include "muster/core/world/state.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct mst_err;
struct mst_page;

struct waiter {
    uint64_t spin_ns, yield_ns; /* a wait spins for spin_ns, yields until yield_ns, then sleeps */
    struct mst_page *page;      /* its abort word is polled; NULL = none */
    atomic_uint *failed;        /* polled: not 0 once the communicator is over */
    const atomic_uint *whose;   /* the state of the rank that is waited for; NULL: not known */
    uint32_t whose_pid;         /* its process, where no agent tells its state; 0: not known */
    atomic_uint *sleepers;      /* shared by all who wait for the same words */
};

/* Sets the phases. `core_free`: the thread that waits has a core of its own. */
void wait_set_policy(struct waiter *waiter, enum mst_wait_policy policy, bool core_free);

/* Waits until *word == value. 0; -ETIMEDOUT; -ECONNRESET the generation is aborted; -ECANCELED
 * *failed is set; -EPIPE the rank that is waited for has left. */
int wait_word(const struct waiter *waiter, atomic_uint *word, uint32_t value, uint64_t deadline_ns);

/* Stores `value` and wakes who sleeps on the word. */
void wait_post(const struct waiter *waiter, atomic_uint *word, uint32_t value);

/* Wakes every sleeper of `word`, whatever its value: they look at *failed then. */
void wait_wake(atomic_uint *word);

/* Whether there is any point in going on: 0, -ECONNRESET or -ECANCELED as above. */
int wait_alive(const struct waiter *waiter);

/* The pieces, for waits that are not for a word: a loop of poll, idle, and check when it is due. */
struct wait_state {
    uint64_t began_ns;
    uint32_t polls;
    bool patient; /* past spinning */
};

/* Between two polls: spins or yields. True once it is time to sleep instead. `state` is {0} at the
 * start of a wait. */
bool wait_idle(const struct waiter *waiter, struct wait_state *state);

/* Whether a check is due: at every poll of a patient wait, now and then of a spinning one. */
bool wait_look(const struct wait_state *state);

/* The reasons to give up: as wait_word, or 0 = go on. */
int wait_check(const struct waiter *waiter, uint64_t deadline_ns);

/* Puts a wait's -ECONNRESET into words: who aborted the generation. Returns it. */
int wait_explain(const struct waiter *waiter, struct mst_err *err);

#define WAIT_SLICE_MS 5 /* the longest sleep between two looks at the abort words */

/* The cores that this thread may run on. The ranks of a node may be bound to cores of their own, so
 * that only the union of their sets says whether there is one for each. */
void wait_cpus_here(cpu_set_t *ret_cpus);

/* How many of these cores may spin at the same time: cut by the cgroups' quota, in whole cores; at
 * least 1. `root` as in core/quota.h. */
uint32_t wait_cpus_count(const cpu_set_t *cpus, const char *root);

#endif
