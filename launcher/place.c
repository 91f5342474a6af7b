#include "muster/launcher/place.h"

#include "muster/core/host.h"
#include "muster/launcher/opts.h"
#include "muster/launcher/plan.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* An operator that names itself "localhost" means this pod, which the others know by its name. */
static void name_own_host(struct opts *opts)
{
    char name[OPTS_HOST_BYTES];
    if (gethostname(name, sizeof name) == 0 && memchr(name, '\0', sizeof name))
        snprintf(opts->rdzv_host, sizeof opts->rdzv_host, "%s", name);
}

/* A port that somebody names is taken as told. Two jobs on one node must not meet at a default, so
 * where a job has a name its ports follow from that. */
static void place_ports(struct opts *opts)
{
    const struct mst_plan *plan = &opts->answer->plan;
    if (plan->port_is_default && opts->meeting[0]) {
        mst_ports_derive(opts->meeting, opts->rdzv_ports);
        opts->rdzv_port_count = MST_PORTS_COUNT;
        return;
    }
    opts->rdzv_port_count = 1;
    opts->rdzv_ports[0] = plan->master_port > 0 ? (uint16_t)plan->master_port : MST_PORT_DEFAULT;
}

void place_node(struct opts *opts)
{
    const struct mst_plan *plan = &opts->answer->plan;
    opts->scheme = plan->scheme;
    opts->is_beside = plan->mode == MST_PLAN_NO_COLLECTIVE;
    opts->node_count = opts->is_beside ? 1 : (uint32_t)plan_most_nodes(plan);
    opts->node_least = !opts->is_beside && plan->node_count < 0 ? (uint32_t)plan->elastic_min : 0;
    opts->node_rank = opts->is_beside ? 0 : (uint32_t)plan->node_rank;
    opts->local_size = opts->is_beside ? 1 : (uint32_t)plan->local_size;
    opts->rdzv_port_count = 1;
    if (place_slots(opts) == 1) {
        snprintf(opts->rdzv_host, sizeof opts->rdzv_host, "127.0.0.1");
        return;
    }
    place_ports(opts);
    if (opts->rdzv_host[0]) /* by a flag, which means what it says */
        return;
    snprintf(opts->rdzv_host, sizeof opts->rdzv_host, "%s", plan->master_host);
    if (mst_host_is_local(opts->rdzv_host))
        name_own_host(opts);
}

uint32_t place_slots(const struct opts *opts)
{
    return opts->node_count + (opts->is_beside ? 0 : opts->spare_count);
}
