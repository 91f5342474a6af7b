/* Volcano's plugins. pytorch: MASTER_ADDR, WORLD_SIZE and RANK count its nodes. mpi: MPI_HOST on
 * the master. svc: a list of hosts per task, named by the user, which together are the world. (Its
 * tensorflow plugin is TF_CONFIG's.) The task index counts inside one task and is no rank. */
/* pure */
#include "muster/core/resolve/hosts.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FOLDER "/etc/volcano/"
#define TASK_BYTES 64

static int read_pytorch(const struct mst_machine *machine, struct mst_plan *plan,
                        struct mst_err *err)
{
    static const struct resolve_number numbers[] = {
        RESOLVE_NUMBER("WORLD_SIZE", node_count, 1, RESOLVE_NODES_MAX, true),
        RESOLVE_NUMBER("RANK", node_rank, 0, RESOLVE_NODES_MAX, true),
        RESOLVE_MASTER_PORT("MASTER_PORT"),
    };
    plan->scheduler = "Volcano (pytorch)";
    plan->mode = MST_PLAN_SPAWN;
    int rc = resolve_numbers(machine, numbers, RESOLVE_COUNT(numbers), plan, err);
    if (rc < 0)
        return rc;
    resolve_role(plan, plan->node_rank == 0 ? "master" : "worker");
    return resolve_master(machine, "MASTER_ADDR", plan, err);
}

static int read_mpi(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    const char *text = resolve_text(machine, "MPI_HOST");
    plan->scheduler = "Volcano (mpi)";
    plan->mode = MST_PLAN_CONTROL;
    plan->local_size = 1;
    plan->node_count = 0;
    plan->default_port = MST_UNKNOWN;
    resolve_role(plan, "launcher");
    char host[MST_HOST_BYTES];
    int rc;
    for (; (rc = resolve_names_next(&text, host, sizeof host, err)) > 0; plan->node_count++) {
        if (plan->node_count == 0)
            memcpy(plan->master_host, host, sizeof plan->master_host);
        if (!resolve_is_self(machine, host))
            continue;
        plan->mode = MST_PLAN_SPAWN;
        plan->node_rank = plan->node_count;
    }
    plan->world_size = plan->node_count;
    return rc;
}

/* One task's name, in the form that a variable's and a file's share: lower case with dashes. */
struct task {
    char name[TASK_BYTES];
    const char *hosts; /* NULL: in the file of that name */
};

static int order(const struct task *task)
{
    static const char *const leaders[] = {"master", "chief", "leader", "launcher"};
    int count = (int)(sizeof leaders / sizeof *leaders);
    for (int i = 0; i < count; i++) {
        if (strcmp(task->name, leaders[i]) == 0)
            return i;
    }
    return count;
}

static bool stands_before(const struct task *a, const struct task *b)
{
    int a_order = order(a), b_order = order(b);
    return a_order != b_order ? a_order < b_order : strcmp(a->name, b->name) < 0;
}

static void fold(const char *name, size_t size, struct task *task)
{
    size = size < TASK_BYTES ? size : TASK_BYTES - 1;
    for (size_t i = 0; i < size; i++)
        task->name[i] = name[i] == '_' ? '-' : (char)tolower((unsigned char)name[i]);
    task->name[size] = '\0';
}

/* "VC_<TASK>_HOSTS=…" */
static bool read_variable(const char *var, struct task *task)
{
    const char *equals = strchr(var, '=');
    if (!equals || strncmp(var, "VC_", 3) != 0 || equals - var < 10 ||
        strncmp(equals - 6, "_HOSTS", 6) != 0)
        return false;
    fold(var + 3, (size_t)(equals - var) - 9, task);
    task->hosts = equals + 1;
    return true;
}

/* "<task>.host", one a line. */
static bool next_file(const char **names, struct task *task)
{
    char name[MST_HOST_BYTES];
    while (resolve_names_next(names, name, sizeof name, NULL) > 0) {
        size_t size = strlen(name);
        if (size <= 5 || strcmp(name + size - 5, ".host") != 0)
            continue;
        fold(name, size - 5, task);
        task->hosts = NULL;
        return true;
    }
    return false;
}

/* Keeps `task` in *best if it stands behind `last` (NULL: always) and before what *best has. */
static void consider(const struct task *task, const struct task *last, struct task *best)
{
    if (last && !stands_before(last, task))
        return;
    if (!best->name[0] || stands_before(task, best))
        *best = *task;
}

/* The task that stands next behind `last` (NULL: the first of all), or false. Over about 1100 pods
 * Volcano leaves the variables out, and the files are the only list. */
static bool next_task(const struct mst_machine *machine, const struct task *last,
                      struct task *ret_task)
{
    struct task task, best = {.name = ""};
    bool has_variables = false;
    for (char *const *var = machine->env; *var; var++) {
        if (!read_variable(*var, &task))
            continue;
        has_variables = true;
        consider(&task, last, &best);
    }
    const char *names = has_variables ? NULL : machine->read_file(machine->arg, FOLDER);
    while (names && next_file(&names, &task))
        consider(&task, last, &best);
    if (!best.name[0])
        return false;
    *ret_task = best;
    return true;
}

/* The file keeps the case and the dashes that the user gave the task: folding finds it again. */
static const char *read_task_file(const struct mst_machine *machine, const struct task *task)
{
    const char *names = machine->read_file(machine->arg, FOLDER);
    char path[MST_HOST_BYTES + sizeof FOLDER], name[MST_HOST_BYTES];
    while (names && resolve_names_next(&names, name, sizeof name, NULL) > 0) {
        const char *one = name;
        struct task other;
        if (!next_file(&one, &other) || strcmp(other.name, task->name) != 0)
            continue;
        (void)snprintf(path, sizeof path, FOLDER "%s", name); /* room for both */
        return machine->read_file(machine->arg, path);
    }
    return NULL;
}

static int add_hosts(const struct mst_machine *machine, const struct task *task,
                     struct mst_plan *plan, struct mst_err *err)
{
    const char *text = task->hosts ? task->hosts : read_task_file(machine, task);
    int rc = text ? 1 : -ENOENT;
    char host[MST_HOST_BYTES];
    for (; rc > 0 && (rc = resolve_names_next(&text, host, sizeof host, err)) > 0;
         plan->node_count++) {
        if (plan->node_count == RESOLVE_NODES_MAX)
            return mst_err_set(err, -EINVAL, "Volcano lists over %d hosts", RESOLVE_NODES_MAX);
        if (plan->node_count == 0)
            memcpy(plan->master_host, host, sizeof plan->master_host);
        if (plan->node_rank >= 0 || !resolve_is_self(machine, host))
            continue;
        plan->node_rank = plan->node_count;
        resolve_role(plan, task->name);
    }
    return rc == -ENOENT ? mst_err_set(err, -EINVAL, FOLDER "%s.host cannot be read", task->name)
                         : rc;
}

static int read_svc(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    struct task task, last;
    bool found = next_task(machine, NULL, &task);
    if (!found) /* the index alone: completed by whoever knows the size, or refused */
        return 0;
    plan->mode = MST_PLAN_SPAWN;
    plan->node_count = 0;
    for (; found; last = task, found = next_task(machine, &last, &task)) {
        int rc = add_hosts(machine, &task, plan, err);
        if (rc < 0)
            return rc;
    }
    if (plan->node_rank < 0)
        return mst_err_set(err, -EINVAL,
                           "this is host %.80s, and none of Volcano's %lld: keep the pod's host "
                           "name, or give --hostname",
                           machine->hostname, (long long)plan->node_count);
    return 0;
}

/* Its plugin env tells the index, svc the lists: a job may have either alone. */
static bool is_task(const struct mst_machine *machine)
{
    struct task task;
    if (resolve_any_set(machine, "VC_TASK_INDEX VK_TASK_INDEX"))
        return true;
    for (char *const *var = machine->env; *var; var++) {
        if (read_variable(*var, &task))
            return true;
    }
    return false;
}

int resolve_volcano(const struct mst_machine *machine, struct mst_plan *plan, struct mst_err *err)
{
    if (!is_task(machine) || resolve_any_set(machine, "TF_CONFIG PET_NNODES"))
        return 0;
    plan->default_port = MST_PORT_DEFAULT;
    int rc;
    if (resolve_text(machine, "MPI_HOST"))
        rc = read_mpi(machine, plan, err);
    else if (resolve_is_set(machine, "MASTER_ADDR") && resolve_is_set(machine, "WORLD_SIZE"))
        rc = read_pytorch(machine, plan, err);
    else
        rc = read_svc(machine, plan, err);
    return rc < 0 ? rc : 1;
}
