/* Coord: node 0's other half. Owns the listening socket and the kv server, and lends the pure
 * coordinator (launcher/rdzv.h) sockets and a clock. */
#ifndef MUSTER_LAUNCHER_COORD_H
#define MUSTER_LAUNCHER_COORD_H

#include <stdbool.h>
#include <stdint.h>

struct coord;
struct mst_err;
struct opts;

/* Listens where the other nodes and the ranks will look, and attaches node 0's own agent: *ret_fd
 * is that agent's end, the caller's. 0; -EADDRINUSE and other errors of mst_sock_listen; -ENOMEM;
 * -EIO no random bytes; all with text. */
int coord_create(const struct opts *opts, struct coord **ret_coord, int *ret_fd,
                 struct mst_err *err);

/* Closes every connection. NULL is allowed. */
void coord_destroy(struct coord *coord);

/* The port it listens on. */
uint16_t coord_port(const struct coord *coord);

/* Readable when coord_run has work; call it also a few times a second. Never blocks. */
int coord_fd(const struct coord *coord);
void coord_run(struct coord *coord);

/* Whether the agents of the other nodes have whatever was said to them, or are gone. */
bool coord_all_heard(const struct coord *coord);

#endif
