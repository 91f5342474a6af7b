/* A world of threads: each is a rank with its own communicator, on simulated nodes that share a
 * kv store. Assertions stay in the main thread: a rank returns NULL, or what went wrong. */
#ifndef MUSTER_TESTS_UNIT_COMM_TEAM_H
#define MUSTER_TESTS_UNIT_COMM_TEAM_H

#include "comm_call.h"
#include "muster/comm/comm.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/kv/kv.h"
#include "muster/core/kv/store.h"
#include "muster/core/world/state.h"
#include "soon.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define TEAM_RANKS_MAX 8
#define TEAM_NODES_MAX 4

struct team;

struct team_rank {
    struct team *team;
    struct mst_world world;
    struct mst_comm *comm; /* NULL if it was not to be created */
    struct mst_kv *kv;
    pthread_t thread;
    char fault[400];
};

/* What a rank does; rank->comm is open. Returns NULL or rank->fault. */
typedef const char *(*team_fn)(struct team_rank *rank);

struct team {
    const char *name;
    const char *backend;                 /* NULL = auto */
    uint32_t node_sizes[TEAM_NODES_MAX]; /* 0 ends it */
    bool dealt;                          /* ranks go round the nodes, not node after node */
    bool inherit_shm;                    /* an agent's memfd per node, or none */
    bool by_hand;                        /* `run` creates the communicator itself, if it wants */
    uint32_t timeout_ms;                 /* 0 = SOON_MS */
    int page_fd;                         /* for rank 0's node; 0 = none */
    team_fn run;
    void *arg;

    uint32_t size;
    struct mst_kv_store *store;
    pthread_barrier_t barrier; /* of all ranks: for tests that prepare something together */
    struct team_rank ranks[TEAM_RANKS_MAX];
};

#define TEAM_CHECK(rank, condition, ...)                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)snprintf((rank)->fault, sizeof(rank)->fault, __VA_ARGS__);                       \
            return (rank)->fault;                                                                  \
        }                                                                                          \
    } while (0)

static inline int team_join(struct team_rank *rank, struct mst_err *err)
{
    uint32_t timeout_ms = rank->team->timeout_ms;
    struct mst_comm_opts opts = {.struct_bytes = sizeof opts,
                                 .backend = rank->team->backend,
                                 .timeout_ms = timeout_ms > 0 ? timeout_ms : SOON_MS};
    return mst_comm_create(&rank->world, rank->kv, &opts, &rank->comm, err);
}

static inline void *team_main(void *arg)
{
    struct team_rank *rank = arg;
    struct mst_err err = {0};
    const char *fault = NULL;
    if (mst_kv_local(rank->team->store, 1, &rank->kv) < 0)
        return "no kv handle";
    if (!rank->team->by_hand && team_join(rank, &err) < 0) {
        (void)snprintf(rank->fault, sizeof rank->fault, "create: %s", err.text);
        fault = rank->fault;
    }
    if (!fault)
        fault = rank->team->run(rank);
    mst_comm_destroy(rank->comm);
    mst_kv_close(rank->kv);
    return (void *)(uintptr_t)fault;
}

static inline void team_place_rank(struct team *team, uint32_t node_count, uint32_t node,
                                   uint32_t local_rank, int shm_fd)
{
    struct team_rank *rank = &team->ranks[team->size];
    memset(rank, 0, sizeof *rank);
    rank->team = team;
    world_init_single(&rank->world);
    rank->world.rank = team->size++;
    rank->world.local_rank = local_rank;
    rank->world.local_size = team->node_sizes[node];
    rank->world.node = node;
    rank->world.node_count = node_count;
    rank->world.generation = 1;
    rank->world.shm_fd = shm_fd;
    if (node == 0 && team->page_fd > 0)
        rank->world.page_fd = team->page_fd;
}

static inline void team_place_ranks(struct team *team, int node_fds[TEAM_NODES_MAX])
{
    uint32_t node_count = 0;
    team->size = 0;
    while (node_count < TEAM_NODES_MAX && team->node_sizes[node_count] > 0)
        node_count++;
    for (uint32_t n = 0; n < node_count; n++) {
        node_fds[n] = team->inherit_shm ? memfd_create("team", MFD_CLOEXEC) : -1;
        for (uint32_t l = 0; !team->dealt && l < team->node_sizes[n]; l++)
            team_place_rank(team, node_count, n, l, node_fds[n]);
    }
    for (uint32_t l = 0; team->dealt && l < TEAM_RANKS_MAX; l++)
        for (uint32_t n = 0; n < node_count; n++)
            if (l < team->node_sizes[n])
                team_place_rank(team, node_count, n, l, node_fds[n]);
    for (uint32_t r = 0; r < team->size; r++)
        team->ranks[r].world.size = team->size;
}

/* Runs every rank to its end and asserts that none has found a fault. */
static inline void team_run(struct team *team)
{
    int node_fds[TEAM_NODES_MAX] = {-1, -1, -1, -1};
    team_place_ranks(team, node_fds);
    assert_int_equal(mst_kv_store_create(&team->store), 0);
    assert_int_equal(pthread_barrier_init(&team->barrier, NULL, team->size), 0);
    for (uint32_t r = 0; r < team->size; r++)
        assert_int_equal(pthread_create(&team->ranks[r].thread, NULL, team_main, &team->ranks[r]),
                         0);
    uint32_t fault_count = 0;
    for (uint32_t r = 0; r < team->size; r++) {
        void *fault;
        assert_int_equal(pthread_join(team->ranks[r].thread, &fault), 0);
        if (fault)
            print_error("%s: rank %u: %s\n", team->name ? team->name : "team", r, (char *)fault);
        fault_count += fault != NULL;
    }
    (void)pthread_barrier_destroy(&team->barrier);
    mst_kv_store_destroy(team->store);
    for (uint32_t n = 0; n < TEAM_NODES_MAX; n++)
        if (node_fds[n] >= 0)
            (void)close(node_fds[n]);
    assert_int_equal(fault_count, 0);
}

#endif
