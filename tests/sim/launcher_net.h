/* What the simulators of a job share: agents in one process with the coordinator, links between
 * them that delay messages, keep their order and lose those of an agent that is lost, and the seeds
 * that are run. Time is a counter. What the ranks of an agent do is the simulator's own. */
#ifndef MUSTER_TESTS_SIM_LAUNCHER_NET_H
#define MUSTER_TESTS_SIM_LAUNCHER_NET_H

#include "muster/core/rng.h"
#include "muster/launcher/rdzv.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NET_NODES_MAX 6
#define NET_MESSAGES_MAX 256
#define NET_TICK_NS UINT64_C(1000000)
#define NO_STEP MST_PAGE_NO_STEP

struct net_agent {
    bool up;
    bool told_end; /* and is about to go */
    uint32_t end_code;
    uint32_t local_size;
    uint32_t generation;
    uint64_t down_at;   /* tick at which teardown ends; 0: none goes on */
    uint64_t return_at; /* tick at which another one joins in its place; 0: never */
    struct mst_gate gate;
};

struct net_link {
    uint32_t incarnation; /* of its agent: what another one sent, or was sent, is lost */
    uint64_t last_at[2];  /* when the last message of each direction arrives */
};

struct net_message {
    uint64_t at, order;
    uint32_t node, incarnation;
    bool to_coordinator;
    struct msg msg;
};

struct net {
    struct mst_rng rng;
    uint64_t seed, tick, order;
    struct rdzv rdzv;
    struct rdzv_node nodes_memory[NET_NODES_MAX];
    uint32_t answered[NET_NODES_MAX];
    uint32_t count; /* of agents, those of spares too */
    struct net_agent *agents[NET_NODES_MAX];
    struct net_link links[NET_NODES_MAX];
    struct net_message messages[NET_MESSAGES_MAX];
    size_t message_count;
};

static inline uint32_t net_chance(struct net *net, uint32_t bound)
{
    return mst_rng_below(&net->rng, bound);
}

static inline uint64_t net_now(const struct net *net)
{
    return net->tick * NET_TICK_NS;
}

/* Of a *net that is 0. Chance works from here on. */
static inline void net_init(struct net *net, uint64_t seed)
{
    mst_rng_init(&net->rng, seed, 1);
    net->seed = seed;
}

/* `config` says what chance has made of the job, and who hears the coordinator. The caller gives
 * each agent its place in net->agents. */
static inline void net_open(struct net *net, const struct rdzv_config *config)
{
    struct rdzv_config own = *config;
    own.job_nonce = 1 + net->seed;
    own.version = "sim";
    snprintf(own.job_id, sizeof own.job_id, "sim");
    net->count = own.node_count + own.spare_count;
    assert_in_range(net->count, 1, NET_NODES_MAX);
    rdzv_init(&net->rdzv, &own, net->nodes_memory, net->answered, 0);
}

/* ---- messages -------------------------------------------------------------------------------- */

static inline void net_post(struct net *net, uint32_t node, bool to_coordinator,
                            const struct msg *msg)
{
    struct net_link *link = &net->links[node];
    uint64_t at = net->tick + 1 + net_chance(net, 20), *last = &link->last_at[to_coordinator];
    *last = at = at < *last ? *last : at;
    assert_true(net->message_count < NET_MESSAGES_MAX);
    net->messages[net->message_count++] = (struct net_message){
        at, net->order++, node, link->incarnation, to_coordinator, *msg};
}

/* From the coordinator to a node, or to RDZV_ALL. */
static inline void net_send(struct net *net, uint32_t node, const struct msg *msg)
{
    for (uint32_t i = 0; i < net->count; i++) {
        if ((node == RDZV_ALL || node == i) && net->agents[i]->up)
            net_post(net, i, false, msg);
    }
}

/* From node `i` to the coordinator. */
static inline void net_say(struct net *net, uint32_t i, struct msg msg)
{
    msg.generation = net->agents[i]->generation;
    net_post(net, i, true, &msg);
}

/* Takes the next message that arrives in this tick. Returns whether there is one. */
static inline bool net_take(struct net *net, struct net_message *ret_message)
{
    for (;;) {
        size_t next = net->message_count;
        for (size_t i = 0; i < net->message_count; i++) {
            const struct net_message *m = &net->messages[i];
            if (m->at <= net->tick &&
                (next == net->message_count || m->order < net->messages[next].order))
                next = i;
        }
        if (next == net->message_count)
            return false;
        *ret_message = net->messages[next];
        net->messages[next] = net->messages[--net->message_count];
        if (ret_message->incarnation == net->links[ret_message->node].incarnation)
            return true;
    }
}

static inline void net_tell_coordinator(struct net *net, const struct net_message *message)
{
    assert_int_equal(rdzv_message(&net->rdzv, message->node, &message->msg, net_now(net)), 0);
}

/* A START puts the ranks of member `i` behind the `ranks` before them. Returns how many that are
 * with its own. */
static inline uint32_t net_check_place(const struct net *net, uint32_t i, const struct msg *start,
                                       uint32_t ranks)
{
    struct msg own = *start;
    rdzv_address(&net->rdzv, i, &own);
    assert_int_equal(own.rank, ranks);
    assert_int_equal(own.local_size, net->agents[i]->local_size);
    return ranks + own.local_size;
}

/* ---- agents ---------------------------------------------------------------------------------- */

/* Of a node that is not there, with 1 … `local_most` ranks. */
static inline void net_join(struct net *net, uint32_t i, uint32_t local_most)
{
    *net->agents[i] = (struct net_agent){.up = true, .local_size = 1 + net_chance(net, local_most)};
    net->links[i].incarnation++;
    const struct msg msg = {.type = MSG_JOIN,
                            .version = "sim",
                            .local_size = net->agents[i]->local_size,
                            .node_count = net->rdzv.config.node_count,
                            .grace_ms = 1};
    net_post(net, i, true, &msg);
}

/* Whether another agent comes in this tick to where there is none. */
static inline bool net_joins(const struct net *net, uint32_t i)
{
    const struct net_agent *agent = net->agents[i];
    return !agent->up && agent->return_at > 0 && net->tick >= agent->return_at;
}

/* What is under way, both ways, is lost too. Another one joins at `return_at`, or at 0 none. */
static inline void net_lose(struct net *net, uint32_t i, uint64_t return_at)
{
    *net->agents[i] = (struct net_agent){.return_at = return_at};
    net->links[i].incarnation++;
    rdzv_lost(&net->rdzv, i, net_now(net));
}

/* The ranks of a generation are there. */
static inline void net_begin(struct net_agent *agent, uint32_t generation)
{
    agent->generation = generation;
    agent->down_at = 0;
    agent->gate = (struct mst_gate){MST_GATE_OPEN, MST_GATE_STOP, 0};
}

static inline void net_set_gate(struct net_agent *agent, enum mst_gate_state state,
                                const struct msg *msg)
{
    agent->gate = (struct mst_gate){state, (enum mst_gate_action)msg->action, msg->step};
}

static inline void net_end(struct net_agent *agent, const struct msg *msg)
{
    agent->told_end = true;
    agent->end_code = msg->code;
}

/* Whether the job is over for all: who comes too late is told the end, too. */
static inline bool net_is_over(const struct net *net)
{
    for (uint32_t i = 0; i < net->count; i++) {
        if (net->agents[i]->up && !net->agents[i]->told_end)
            return false;
    }
    return net->rdzv.state == RDZV_ENDED;
}

/* ---- seeds ----------------------------------------------------------------------------------- */

static struct {
    uint64_t first, count;
    void (*run)(uint64_t seed);
    char failed[48]; /* of the seed that runs, should it fail */
} net_seeds;

static inline void net_run_seeds(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < net_seeds.count; i++) {
        uint64_t seed = net_seeds.first + i;
        snprintf(net_seeds.failed, sizeof net_seeds.failed, "failed: seed %llu\n",
                 (unsigned long long)seed);
        net_seeds.run(seed);
    }
    net_seeds.failed[0] = '\0';
}

static inline int net_tell_seeds(void **state)
{
    (void)state;
    printf("seeds %llu … %llu\n%s", (unsigned long long)net_seeds.first,
           (unsigned long long)(net_seeds.first + net_seeds.count - 1), net_seeds.failed);
    return 0;
}

/* Of an assertion of the coordinator itself. */
static inline void net_tell_abort(int number)
{
    (void)number;
    (void)!write(STDERR_FILENO, net_seeds.failed, strlen(net_seeds.failed));
}

/* Runs seeds 1 … `count`, or those that the arguments say: the first and, if it is not one only,
 * how many. */
static inline int net_main(int argc, char **argv, uint64_t count, void (*run)(uint64_t seed))
{
    net_seeds.first = 1;
    net_seeds.count = count;
    net_seeds.run = run;
    if (argc > 1) {
        net_seeds.first = strtoull(argv[1], NULL, 10);
        net_seeds.count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    }
    (void)signal(SIGABRT, net_tell_abort);
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(net_run_seeds, net_tell_seeds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
