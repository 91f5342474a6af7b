/* Procs: what /proc says about the processes of ranks: who belongs to a rank, whether it listens to
 * a signal, and what it hangs in. Nothing here fails: what cannot be read is not there. */
#ifndef MUSTER_LAUNCHER_PROCS_H
#define MUSTER_LAUNCHER_PROCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Sends SIGKILL to every process, zombies excepted, whose process group or session is one of
 * `leaders`. Returns how many there were. Async-signal-safe. */
size_t procs_kill(const pid_t *leaders, size_t count);

/* Of each of `leaders` (0 is none), whether a process of its session or group has set a handler for
 * the signal: one look at /proc for all of them. */
void procs_listen(const pid_t *leaders, size_t count, int signal_number, bool *ret_listens);

/* Calls `visit` for each of `leaders` and every process of its session or group, zombies excepted,
 * with the number of that leader, until it says true. Whether it did. */
bool procs_any(const pid_t *leaders, size_t count,
               bool (*visit)(pid_t pid, size_t leader, void *arg), void *arg);

/* The state letter of a process: 'R', 'S', 'D' (in the kernel, where no signal reaches it), 'Z' …;
 * '?' if there is none. */
char procs_state(pid_t pid);

/* The memory of a process that is resident, in bytes; 0 if there is none. */
uint64_t procs_resident(pid_t pid);

#define PROCS_WHERE_BYTES 64

/* The kernel function that the process sleeps in, "" if that is not told, into `text`, which it
 * returns. */
const char *procs_where(pid_t pid, char text[PROCS_WHERE_BYTES]);

/* A thread that sleeps in the kernel, where no signal reaches it. */
struct procs_hang {
    pid_t thread;      /* 0: there is none */
    uint64_t switches; /* how often it has left a processor: the same again, and it has not run */
    char where[PROCS_WHERE_BYTES]; /* as procs_where says it */
};

/* Of each of `leaders` (0 is none), such a thread of a process of its session or group: one look at
 * /proc for all of them. */
void procs_hang(const pid_t *leaders, size_t count, struct procs_hang *ret_hangs);

#endif
