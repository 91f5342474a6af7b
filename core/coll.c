/* pure */
#include "muster/core/coll.h"

static const char *const coll_names[MST_COLL_COUNT] = {
    [MST_COLL_ALLREDUCE] = "allreduce", [MST_COLL_BROADCAST] = "broadcast",
    [MST_COLL_ALLGATHER] = "allgather", [MST_COLL_REDUCE_SCATTER] = "reduce_scatter",
    [MST_COLL_BARRIER] = "barrier",
};

static const char *const op_names[MST_OP_COUNT] = {
    [MST_SUM] = "sum", [MST_MIN] = "min", [MST_MAX] = "max", [MST_AVG] = "avg"};

const char *mst_coll_name(enum mst_coll coll)
{
    return (unsigned)coll < MST_COLL_COUNT ? coll_names[coll] : "?";
}

const char *mst_op_name(enum mst_op op)
{
    return (unsigned)op < MST_OP_COUNT ? op_names[op] : "?";
}
