/* Status: a unix socket per agent, on which it tells its state as one JSON object and hangs up. Its
 * name is abstract, @muster-<uid>-<agent pid>-<random>: no file is left when the agent is killed,
 * and whoever shares the network namespace finds it in /proc/net/unix. Both sides look at who the
 * other one is: an agent answers its own user and root, and only agents of the user are asked. */
#ifndef MUSTER_LAUNCHER_STATUS_H
#define MUSTER_LAUNCHER_STATUS_H

struct mst_err;
struct node;
struct status;

/* Called with each agent's answer, a JSON text; NULL: agent `pid` is there and does not answer. */
typedef void (*status_answer_fn)(void *arg, int pid, const char *json);

/* Opens the socket. 0; -ENOMEM; errors of socket, bind and listen; with text. */
int status_create(struct status **ret_status, struct mst_err *err);

/* Closes it. NULL is allowed. */
void status_destroy(struct status *status);

/* Readable when somebody asks. */
int status_fd(const struct status *status);

/* Answers all who ask. Never blocks: who does not read loses the rest. */
void status_run(struct status *status, const struct node *node);

/* Asks every agent of this user in this network namespace. Returns how many there are, or a -errno
 * of reading /proc/net/unix. Waits two seconds for each at most. */
int status_ask_all(status_answer_fn answer, void *arg);

#endif
