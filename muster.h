/* Muster, whole: everything that a training program calls. Each of these headers also stands alone,
 * and each component is a library of its own: a program that only wants collectives includes
 * <muster/comm/comm.h> and links -lmuster, which brings libmuster-comm, libmuster-core, and nothing
 * of the others.
 *
 *   mst_world_from_env → mst_kv_dial → mst_comm_create · mst_loader_open · mst_ckpt_open
 *                                    → mst_job_open */
#ifndef MUSTER_MUSTER_H
#define MUSTER_MUSTER_H

#include "muster/ckpt/ckpt.h"
#include "muster/comm/comm.h"
#include "muster/core/clock.h"
#include "muster/core/coll.h"
#include "muster/core/dtype.h"
#include "muster/core/err.h"
#include "muster/core/kv/kv.h"
#include "muster/core/span.h"
#include "muster/core/version.h"
#include "muster/core/world/world.h"
#include "muster/dataio/dataio.h"
#include "muster/launcher/job.h"

#endif
