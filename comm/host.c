/* The life of the host back end: everything a communicator on CPUs needs, made and unmade. */
#include "muster/comm/host.h"

#include "muster/comm/host_plan.h"
#include "muster/core/world/state.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct host {
    struct comm_backend base;
    struct boot boot;
    struct flat flat;
    struct tcp tcp; /* of a leader between nodes, else zeroed */
    struct host_plan plan;
    enum mst_wait_policy policy;
};

static int open_segment(struct host *host, const struct mst_world *world, struct mst_kv *kv,
                        uint64_t deadline_ns, struct mst_err *err)
{
    struct segment *segment = &host->flat.segment;
    struct segment_place place;
    if (world->local_rank == 0) {
        int rc = segment_create(segment, world->shm_fd, world->local_size, &place, err);
        if (rc == 0 && world->local_size > 1)
            rc = boot_put_place(&host->boot, kv, world->node, &place, deadline_ns, err);
        return rc;
    }
    int rc = boot_get_place(&host->boot, kv, world->node, &place, deadline_ns, err);
    return rc < 0 ? rc
                  : segment_open(segment, world->shm_fd, world->local_rank, world->local_size,
                                 &place, err);
}

static void host_destroy(struct comm_backend *backend)
{
    struct host *host = (struct host *)backend;
    if (!host)
        return;
    tcp_close(&host->tcp);
    segment_close(&host->flat.segment);
    boot_fini(&host->boot);
    host_plan_fini(&host->plan);
    free(host->flat.streams);
    free(host);
}

int host_fail(struct comm_backend *backend, struct mst_err *err)
{
    struct host *host = (struct host *)backend;
    (void)segment_fail(&host->flat.segment, err); /* its code is err->code */
    tcp_fail(&host->tcp, err);
    return err->code;
}

static int give_up(struct host *host)
{
    host->base.err = host->flat.err;
    return host_fail(&host->base, &host->base.err);
}

/* Runs `call`, announced as `desc`. */
static int run_as(struct host *host, const struct signature_desc *desc,
                  const struct comm_call *call, uint64_t op_seq, uint64_t deadline_ns)
{
    struct segment *segment = &host->flat.segment;
    host->flat.deadline_ns = deadline_ns;
    segment_begin(segment, desc, op_seq);
    if (host->plan.node_count > 1)
        tcp_begin(&host->tcp, desc, op_seq, deadline_ns);
    int rc = wait_alive(&segment->wait);
    rc = rc < 0 ? segment_explain(segment, rc, &host->flat.err) : host_plan_run(&host->plan, call);
    return rc < 0 ? give_up(host) : 0;
}

static int host_run(struct comm_backend *backend, const struct comm_call *call, uint64_t op_seq,
                    uint64_t deadline_ns)
{
    return run_as((struct host *)backend, &call->desc, call, op_seq, deadline_ns);
}

int host_meet(struct comm_backend *backend, const struct signature_desc *desc, uint64_t op_seq,
              uint64_t deadline_ns)
{
    struct comm_call barrier = {.desc.coll = MST_COLL_BARRIER};
    return run_as((struct host *)backend, desc, &barrier, op_seq, deadline_ns);
}

int host_alive(struct comm_backend *backend, struct mst_err *err)
{
    struct host *host = (struct host *)backend;
    struct segment *segment = &host->flat.segment;
    int rc = wait_alive(&segment->wait);
    return rc < 0 ? segment_explain(segment, rc, err) : tcp_peek(&host->tcp, err);
}

void host_forget(struct comm_backend *backend, struct mst_kv *kv, uint64_t deadline_ns)
{
    boot_forget(&((struct host *)backend)->boot, kv, deadline_ns);
}

static void host_abort(struct comm_backend *backend, const struct mst_err *err)
{
    struct host *host = (struct host *)backend;
    struct mst_err copy = *err;
    (void)segment_fail(&host->flat.segment, &copy); /* an earlier failure stands */
    tcp_shutdown(&host->tcp);
}

static void host_set_threads(struct comm_backend *backend, uint32_t threads_per_rank)
{
    struct host *host = (struct host *)backend;
    segment_set_wait(&host->flat.segment, host->policy, threads_per_rank);
}

/* A barrier shows that all have come; only then may the scaffolding go. */
static int first_barrier(struct host *host, struct mst_kv *kv, uint64_t deadline_ns,
                         struct mst_err *err)
{
    struct comm_call call = {.desc.coll = MST_COLL_BARRIER};
    int rc = host_run(&host->base, &call, 0, deadline_ns);
    if (rc == 0) {
        segment_seal(&host->flat.segment);
        host_set_threads(&host->base, 1);
        rc = flat_probe(&host->flat) < 0 ? give_up(host) : 0;
    }
    if (rc < 0) {
        *err = host->base.err;
        return mst_err_wrap(err, "communicator %u", host->boot.id);
    }
    if (host->plan.rank == 0)
        boot_forget(&host->boot, kv, deadline_ns);
    return 0;
}

static int make_plan(struct host *host, const struct mst_world *world, struct mst_err *err)
{
    host->flat.streams = calloc(world->local_size, sizeof *host->flat.streams);
    if (!host->flat.streams)
        return mst_err_set(err, -ENOMEM, "no memory for a communicator's buffers");
    host->plan.flat = &host->flat;
    host->plan.tcp = &host->tcp;
    return host_plan_init(&host->plan, &host->boot, world->rank, err);
}

static int join(struct host *host, const struct mst_world *world, struct mst_kv *kv,
                struct mst_page *page, uint64_t deadline_ns, struct mst_err *err)
{
    char address[BOOT_ADDRESS_MAX] = "";
    int listen_fd = -1;
    host->boot.page = page;
    int rc = boot_next_id(kv, world, deadline_ns, &host->boot.id, err);
    if (rc == 0 && world->node_count > 1)
        rc = listen_fd = tcp_listen(world, address, err);
    if (rc >= 0)
        rc = boot_exchange(&host->boot, kv, world, address, deadline_ns, err);
    if (rc == 0)
        rc = make_plan(host, world, err);
    if (rc == 0)
        rc = open_segment(host, world, kv, deadline_ns, err);
    if (rc == 0) {
        host->flat.segment.ranks = host->plan.locals;
        segment_set_page(&host->flat.segment, page);
    }
    host->tcp.segment = &host->flat.segment;
    if (rc == 0 && listen_fd >= 0 && host->plan.leads)
        rc = tcp_connect(&host->tcp, world, &host->boot, listen_fd, deadline_ns, err);
    if (listen_fd >= 0)
        (void)close(listen_fd); /* all peers are connected, or will not be */
    return rc < 0 ? rc : first_barrier(host, kv, deadline_ns, err);
}

static int host_create(const struct mst_world *world, struct mst_kv *kv, struct mst_page *page,
                       uint64_t deadline_ns, struct comm_backend **ret_backend, struct mst_err *err)
{
    if (!kv)
        return mst_err_set(err, -ENOTSUP,
                           "the host back end has no key-value server to meet at: %s; or let "
                           "`muster run` start the ranks, or set MST_COMM=mpi",
                           world->no_kv ? world->no_kv : "the caller gave no handle");
    struct host *host = calloc(1, sizeof *host);
    if (!host)
        return mst_err_set(err, -ENOMEM, "no memory for a communicator");
    struct mst_err local_err = {0};
    host->base.ops = &comm_host_ops;
    host->flat.segment.fd = -1;
    host->policy = world->tuning.wait;
    int rc = join(host, world, kv, page, deadline_ns, &local_err);
    if (rc < 0) {
        if (host->flat.segment.head)
            (void)segment_fail(&host->flat.segment, &local_err); /* its code is rc or older */
        host_destroy(&host->base);
        return mst_err_set(err, rc, "%s", local_err.text);
    }
    host->base.comm_id = host->boot.id;
    *ret_backend = &host->base;
    return 0;
}

const struct comm_ops comm_host_ops = {.name = "host",
                                       .create = host_create,
                                       .destroy = host_destroy,
                                       .run = host_run,
                                       .abort = host_abort,
                                       .set_threads = host_set_threads};
