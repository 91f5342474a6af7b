/* Status: a unix socket per agent, on which it tells its state as one JSON object and hangs up. The
 * file is <runtime dir>/muster-<uid>-<agent pid>.sock, mode 0600, and answers its owner only. */
#ifndef MUSTER_LAUNCHER_STATUS_H
#define MUSTER_LAUNCHER_STATUS_H

struct mst_err;
struct node;
struct status;

/* Called with each agent's answer, an owned JSON text. */
typedef void (*status_answer_fn)(void *arg, const char *json);

/* Opens the socket; removes those of this user's dead agents first. 0; -ENOMEM; errors of bind with
 * text. */
int status_create(const char *runtime_dir, struct status **ret_status, struct mst_err *err);

/* Closes and removes it. NULL is allowed. */
void status_destroy(struct status *status);

/* Readable when somebody asks. */
int status_fd(const struct status *status);

/* Answers all who ask. Never blocks: who does not read loses the rest. */
void status_run(struct status *status, const struct node *node);

/* Asks every live agent of this user and removes the sockets of dead ones. Returns how many
 * answered, or a -errno of opendir. Waits two seconds for each at most. */
int status_ask_all(const char *runtime_dir, status_answer_fn answer, void *arg);

#endif
