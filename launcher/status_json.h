/* Status_json: what an agent knows of its node, as one JSON object. */
#ifndef MUSTER_LAUNCHER_STATUS_JSON_H
#define MUSTER_LAUNCHER_STATUS_JSON_H

struct node;

/* The caller frees the text. NULL: no memory.
 *
 *   job, program, agent_pid, node, nodes, generation, max_restarts, state, draining, kv,
 *   stop_step (agreed by a drain, or null), ranks: [
 *     rank, pid, alive, state, step, beat_age_s, checkpoint, collective (each of the last four null
 *     before the first): seq, comm, kind, op and dtype (null where it has none), count, bytes,
 *     signature, done, result, age_s (since it began), took_s (null while it runs)
 *   ] */
char *status_json(const struct node *node);

#endif
