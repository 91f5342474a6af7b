/* Collectives and reduction operators by number and name, shared by communicators, the flight
 * recorder of the node page, and whoever reads it. The numbers are sent on wires and stay in pages:
 * they never change. Later versions may add some: the counts grow with the library, and are no size
 * for a table of a program's. */
/* pure */
#ifndef MUSTER_CORE_COLL_H
#define MUSTER_CORE_COLL_H

#ifdef __cplusplus
extern "C" {
#endif

enum mst_op {
    MST_SUM,
    MST_MIN, /* a NaN in any input gives NaN */
    MST_MAX, /* likewise */
    MST_AVG, /* sum, then times 1/size in f32 or f64; integers: quotient towards zero */
    MST_OP_COUNT
};

enum mst_coll {
    MST_COLL_ALLREDUCE,
    MST_COLL_BROADCAST,
    MST_COLL_ALLGATHER,
    MST_COLL_REDUCE_SCATTER,
    MST_COLL_BARRIER,
    MST_COLL_COUNT
};

/* "allreduce" …, "sum" …; "?" for a number that is none. Static storage. Safe from any thread. */
const char *mst_coll_name(enum mst_coll coll);
const char *mst_op_name(enum mst_op op);

#ifdef __cplusplus
}
#endif

#endif
