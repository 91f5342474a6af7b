/* How tests call collectives that do not just block. */
#ifndef MUSTER_TESTS_COMM_CALL_H
#define MUSTER_TESTS_COMM_CALL_H

#include "muster/comm/comm.h"

/* Started, with its request in *at. */
#define STARTED(at) (&(struct mst_call){.struct_bytes = sizeof(struct mst_call), .ret_req = (at)})

/* Blocking, done by then. */
#define BY(deadline)                                                                               \
    (&(struct mst_call){.struct_bytes = sizeof(struct mst_call), .deadline_ns = (deadline)})

#endif
