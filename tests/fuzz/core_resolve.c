/* An environment as execve lays it out, "NAME=value" texts ended by NUL, where "@path=text" is a
 * file and "#hostname=…" the machine's name: whatever they say, an answer that is not an error can
 * be acted upon. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "muster/core/resolve/resolve.h"

#define VARS_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int truth)
{
    if (!truth)
        abort();
}

static const char *read_file(void *arg, const char *path)
{
    char *const *vars = arg;
    size_t size = strlen(path);
    for (; *vars; vars++) {
        if (**vars == '@' && strncmp(*vars + 1, path, size) == 0 && (*vars)[size + 1] == '=')
            return *vars + size + 2;
    }
    return NULL;
}

static void check_spawn(const struct mst_plan *plan)
{
    expect(plan->local_size >= 1 && plan->role[0]);
    if (plan->node_count < 0) {
        expect(plan->elastic_min >= 1 && plan->elastic_min <= plan->elastic_max);
        expect(plan->node_rank < plan->elastic_max);
        return;
    }
    expect(plan->node_count >= 1 && plan->node_rank < plan->node_count);
    expect(plan->node_rank >= 0 || plan->elastic_min >= 1);
    expect(plan->world_size >= plan->node_count);
    expect(plan->node_count == 1 || plan->master_host[0] || plan->elastic_min >= 1);
}

/* A name of the job goes into keys and onto wires as it is. */
static void check_name(const char *name, size_t cap)
{
    expect(memchr(name, '\0', cap) != NULL);
    for (; *name; name++)
        expect(strchr("-_.", *name) || (*name >= '0' && *name <= '9') ||
               (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z'));
}

static void check_candidates(const struct mst_answer *answer)
{
    for (uint32_t i = 0; i < answer->candidate_count; i++)
        expect(mst_candidate_variables(&answer->candidates[i], 0) != NULL);
}

static void check(const struct mst_answer *answer, int result)
{
    const struct mst_plan *plan = &answer->plan;
    check_name(plan->job_id, sizeof plan->job_id);
    check_name(plan->step_id, sizeof plan->step_id);
    check_candidates(answer);
    expect(result == 0 || mst_answer_has_others(answer));
    expect(plan->mode != MST_PLAN_UNSET);
    expect((result < 0) == (plan->mode == MST_PLAN_ERROR));
    expect((result < 0) == (answer->err.text[0] != '\0') && answer->err.code == result);
    expect(answer->candidate_count <= MST_CANDIDATES_MAX);
    if (plan->mode == MST_PLAN_SPAWN)
        check_spawn(plan);
    if (plan->mode == MST_PLAN_RANK) {
        expect(plan->rank >= 0 && (plan->world_size < 0 || plan->rank < plan->world_size));
        expect(plan->world_size < 0 || plan->local_size < 0 || plan->local_rank < plan->local_size);
        expect(plan->world_size < 0 || plan->node_count < 0 || plan->node_rank < plan->node_count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *vars[VARS_MAX + 1];
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    const char *hostname = "job-worker-1";
    size_t count = 0;
    for (size_t at = 0; at < size && count < VARS_MAX; at += strlen(text + at) + 1) {
        vars[count++] = text + at;
        if (strncmp(text + at, "#hostname=", 10) == 0)
            hostname = text + at + 10;
    }
    vars[count] = NULL;
    struct mst_machine machine = {.env = vars,
                                  .hostname = hostname,
                                  .pod_ip = "10.1.2.3",
                                  .gpu_count = (uint32_t)(size % 9),
                                  .core_count = 4,
                                  .read_file = read_file,
                                  .arg = vars};
    struct mst_answer answer;
    check(&answer, mst_resolve(&machine, NULL, &answer));
    free(text);
    return 0;
}
