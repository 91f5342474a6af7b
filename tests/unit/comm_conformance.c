/* The conformance cases on host, with threads as ranks, in worlds of several shapes. */
#include "comm_cases.h"
#include "comm_team.h"

static void together(void *arg)
{
    struct team *team = arg;
    (void)pthread_barrier_wait(&team->barrier);
}

static void sort_by_node(const struct team *team, uint32_t order[TEAM_RANKS_MAX])
{
    uint32_t next = 0;
    for (uint32_t n = 0; n < TEAM_NODES_MAX; n++)
        for (uint32_t r = 0; r < team->size; r++) /* local ranks rise with the ranks */
            if (team->ranks[r].world.node == n)
                order[next++] = r;
}

static const char *run_cases(struct team_rank *rank)
{
    struct team *team = rank->team;
    uint32_t order[TEAM_RANKS_MAX];
    sort_by_node(team, order);
    struct cases_rank view = {
        .comm = rank->comm,
        .rank = rank->world.rank,
        .size = team->size,
        .node_sizes = team->node_sizes,
        .order = order,
        .expected = team->arg,
        .together = together,
        .arg = team,
    };
    const char *fault = cases_run(&view);
    TEAM_CHECK(rank, !fault, "%s", fault);
    return NULL;
}

static void run_world(struct team *team)
{
    team->run = run_cases;
    team->arg = malloc(cases_bytes(TEAM_RANKS_MAX));
    assert_non_null(team->arg);
    team_run(team);
    free(team->arg);
}

#define WORLD(test, ...)                                                                           \
    static void test(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        struct team team = {.name = #test, .node_sizes = {__VA_ARGS__}};                           \
        run_world(&team);                                                                          \
    }

WORLD(one_rank, 1)
WORLD(three_ranks_on_one_node, 3)
WORLD(four_ranks_on_one_node, 4)
WORLD(five_ranks_on_one_node, 5)
WORLD(two_nodes_of_two, 2, 2)
WORLD(three_nodes_of_one, 1, 1, 1)

static void two_ranks_on_an_inherited_segment(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {2}, .inherit_shm = true};
    run_world(&team);
}

static void nodes_of_one_and_three(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {1, 3}, .inherit_shm = true};
    run_world(&team);
}

/* Rank 0 here, rank 1 there, …: no node's blocks lie side by side. */
static void ranks_dealt_to_nodes_of_three_and_two(void **state)
{
    (void)state;
    struct team team = {.name = __func__, .node_sizes = {3, 2}, .dealt = true};
    run_world(&team);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rank),
        cmocka_unit_test(two_ranks_on_an_inherited_segment),
        cmocka_unit_test(three_ranks_on_one_node),
        cmocka_unit_test(four_ranks_on_one_node),
        cmocka_unit_test(five_ranks_on_one_node),
        cmocka_unit_test(two_nodes_of_two),
        cmocka_unit_test(nodes_of_one_and_three),
        cmocka_unit_test(three_nodes_of_one),
        cmocka_unit_test(ranks_dealt_to_nodes_of_three_and_two),
    };
    cases_init();
    return cmocka_run_group_tests_name("comm_conformance", tests, NULL, NULL);
}
