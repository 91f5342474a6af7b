/* Lists of hosts: MPI hostfiles, discover_hosts.sh, and lists of names. */
/* pure */
#ifndef MUSTER_CORE_RESOLVE_HOSTS_H
#define MUSTER_CORE_RESOLVE_HOSTS_H

#include "muster/core/resolve/parser.h"

struct resolve_host {
    char name[MST_HOST_BYTES];
    int64_t slots; /* MST_UNKNOWN if the line does not say */
};

struct resolve_hosts {
    int64_t count, slots; /* hosts, and slots of them all */
    int64_t each;         /* slots of every host, MST_UNKNOWN if they differ */
    int64_t self, self_slots;
    char first[MST_HOST_BYTES];
};

/* The next host of a hostfile at *text, which moves behind it. Open MPI writes "user@host slots=N",
 * Hydra "host:N" (a count, no port), discover_hosts.sh "echo host:N"; # starts a comment.
 * 1; 0 at the end; -EINVAL with text. */
int resolve_hosts_next(const char **text, struct resolve_host *ret_host, struct mst_err *err);

/* Sums a hostfile up; a host without slots has default_slots. A host on two lines that follow one
 * another is one host with the slots of both. With `by_ordinal` the order is that of the names'
 * numbers instead of the lines'. 0; -EINVAL with text, also if there is no host. */
int resolve_hosts_sum(const struct mst_machine *machine, const char *text, int64_t default_slots,
                      bool by_ordinal, struct resolve_hosts *ret_hosts, struct mst_err *err);

/* The next name of a list separated by commas, blanks or newlines. As resolve_hosts_next. */
int resolve_names_next(const char **text, char *name, size_t cap, struct mst_err *err);

#endif
