#include "muster/launcher/pmix/host.h"

#include "muster/core/err.h"
#include "muster/launcher/pmix_env.h"

#include <errno.h>
#include <pmix.h>
#include <pmix_server.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What a thread of libpmix has asked. */
struct question {
    struct host_event event;        /* first */
    pmix_op_cbfunc_t go_on;         /* NULL: nobody waits, or */
    pmix_modex_cbfunc_t go_on_with; /* for a fence, or another's words */
    void *argument;                 /* of that */
    struct question *next;
};

static struct {
    int fd;
    bool serves;
    pmix_nspace_t job;
    uint32_t size, first_rank, local_size;
    char shared[512];
    struct {
        pthread_mutex_t lock;
        struct question *first, **last;
    } locked;
} host = {.fd = -1, .locked = {PTHREAD_MUTEX_INITIALIZER, NULL, &host.locked.first}};

/* ---- what libpmix's threads ask -------------------------------------------------------------- */

static pmix_status_t add(struct question question)
{
    struct question *own = malloc(sizeof *own);
    uint64_t one = 1;
    if (!own)
        return PMIX_ERR_NOMEM;
    *own = question;
    pthread_mutex_lock(&host.locked.lock);
    *host.locked.last = own;
    host.locked.last = &own->next;
    pthread_mutex_unlock(&host.locked.lock);
    (void)!write(host.fd, &one, sizeof one); /* what is full is readable already */
    return PMIX_SUCCESS;
}

static pmix_status_t add_of_one(enum host_kind kind, const pmix_proc_t *rank, int status,
                                pmix_op_cbfunc_t go_on, void *argument)
{
    return add((struct question){.event = {.kind = kind, .rank = rank->rank, .status = status},
                                 .go_on = go_on,
                                 .argument = argument});
}

static pmix_status_t on_connected(const pmix_proc_t *rank, void *object, pmix_info_t *info,
                                  size_t info_count, pmix_op_cbfunc_t go_on, void *argument)
{
    (void)object;
    (void)info;
    (void)info_count;
    return add_of_one(HOST_CONNECTED, rank, 0, go_on, argument);
}

static pmix_status_t on_finalized(const pmix_proc_t *rank, void *object, pmix_op_cbfunc_t go_on,
                                  void *argument)
{
    (void)object;
    return add_of_one(HOST_FINALIZED, rank, 0, go_on, argument);
}

static pmix_status_t on_abort(const pmix_proc_t *rank, void *object, int status, const char *text,
                              pmix_proc_t *ranks, size_t rank_count, pmix_op_cbfunc_t go_on,
                              void *argument)
{
    (void)object;
    (void)text;
    (void)ranks;
    (void)rank_count;
    return add_of_one(HOST_ABORTED, rank, status, go_on, argument);
}

/* Who takes part, as the event has it; -ENOTSUP not ranks of this job alone; -ENOMEM. */
static int take_ranks(const pmix_proc_t *ranks, size_t count, struct host_event *event)
{
    bool has_node = false;
    event->ranks = calloc(count + host.local_size, sizeof *event->ranks);
    for (size_t i = 0; event->ranks && i < count; i++) {
        uint32_t rank = ranks[i].rank;
        bool is_node = rank == PMIX_RANK_LOCAL_NODE || rank == PMIX_RANK_LOCAL_PEERS;
        if (strncmp(ranks[i].nspace, host.job, PMIX_MAX_NSLEN) != 0)
            return -ENOTSUP;
        if (rank == PMIX_RANK_WILDCARD || (!is_node && count == host.size)) {
            free(event->ranks);
            event->ranks = NULL;
            return 0;
        }
        for (uint32_t k = 0; is_node && !has_node && k < host.local_size; k++)
            event->ranks[event->rank_count++] = host.first_rank + k;
        has_node = has_node || is_node;
        if (!is_node)
            event->ranks[event->rank_count++] = rank;
    }
    return event->ranks ? 0 : -ENOMEM;
}

static pmix_status_t on_fence(const pmix_proc_t *ranks, size_t rank_count, const pmix_info_t *info,
                              size_t info_count, char *data, size_t size_bytes,
                              pmix_modex_cbfunc_t go_on, void *argument)
{
    (void)info;
    (void)info_count;
    struct question question = {
        .event = {.kind = HOST_FENCED, .data = data, .size_bytes = size_bytes},
        .go_on_with = go_on,
        .argument = argument};
    /* An error that is returned here reaches the last of those who have come, and no other. */
    question.event.status = take_ranks(ranks, rank_count, &question.event);
    pmix_status_t status = add(question);
    if (status != PMIX_SUCCESS)
        free(question.event.ranks);
    return status;
}

/* With nobody to ask, libpmix leaves all but the last of them waiting. */
static pmix_status_t on_connect(const pmix_proc_t *ranks, size_t rank_count,
                                const pmix_info_t *info, size_t info_count, pmix_op_cbfunc_t go_on,
                                void *argument)
{
    (void)ranks;
    (void)rank_count;
    (void)info;
    (void)info_count;
    (void)go_on;
    (void)argument;
    return PMIX_ERR_NOT_SUPPORTED;
}

static pmix_status_t on_asked(const pmix_proc_t *rank, const pmix_info_t *info, size_t info_count,
                              pmix_modex_cbfunc_t go_on, void *argument)
{
    (void)info;
    (void)info_count;
    if (strncmp(rank->nspace, host.job, PMIX_MAX_NSLEN) != 0 || rank->rank >= host.size)
        return PMIX_ERR_NOT_FOUND;
    return add((struct question){.event = {.kind = HOST_ASKED, .rank = rank->rank},
                                 .go_on_with = go_on,
                                 .argument = argument});
}

/* libpmix's own bytes stay its own. */
static void on_given(pmix_status_t status, char *data, size_t size_bytes, void *argument)
{
    struct question question = {.event = {.kind = HOST_GIVEN, .id = (uint32_t)(uintptr_t)argument}};
    question.event.data = malloc(size_bytes + 1);
    if (question.event.data && size_bytes > 0)
        memcpy(question.event.data, data, size_bytes);
    question.event.size_bytes = size_bytes;
    question.event.status = status != PMIX_SUCCESS ? -ENOENT : !question.event.data ? -ENOMEM : 0;
    if (add(question) != PMIX_SUCCESS)
        free(question.event.data); /* who asks is told so in the end */
}

/* Nobody here does more than libpmix itself, which removes the files that ranks name to it if there
 * is somebody to ask about all else. */
static pmix_status_t on_job_control(const pmix_proc_t *rank, const pmix_proc_t *targets,
                                    size_t target_count, const pmix_info_t *info, size_t info_count,
                                    pmix_info_cbfunc_t go_on, void *argument)
{
    (void)rank;
    (void)targets;
    (void)target_count;
    (void)info;
    (void)info_count;
    (void)go_on;
    (void)argument;
    return PMIX_ERR_NOT_SUPPORTED;
}

/* Without `group` libpmix refuses groups: those of its version 4 and 5 tell one another of them in
 * different bytes, by which a rank would allocate what there is. */
static pmix_server_module_t module = {.client_connected2 = on_connected,
                                      .client_finalized = on_finalized,
                                      .abort = on_abort,
                                      .fence_nb = on_fence,
                                      .direct_modex = on_asked,
                                      .connect = on_connect,
                                      .disconnect = on_connect,
                                      .job_control = on_job_control};

int host_fd(void)
{
    return host.fd;
}

struct host_event *host_take(void)
{
    uint64_t count;
    (void)!read(host.fd, &count, sizeof count); /* the queue says it, too */
    pthread_mutex_lock(&host.locked.lock);
    struct question *first = host.locked.first;
    host.locked.first = first ? first->next : NULL;
    if (!host.locked.first)
        host.locked.last = &host.locked.first;
    pthread_mutex_unlock(&host.locked.lock);
    return first ? &first->event : NULL;
}

static pmix_status_t status_of(int rc)
{
    return rc == 0          ? PMIX_SUCCESS
           : rc == -ENOTSUP ? PMIX_ERR_NOT_SUPPORTED
           : rc == -ENOENT  ? PMIX_ERR_NOT_FOUND
                            : PMIX_ERROR;
}

static void release(void *bytes)
{
    free(bytes);
}

static void free_question(struct question *question)
{
    free(question->event.ranks);
    free(question->event.data);
    free(question);
}

void host_answer(struct host_event *event, int rc, char *data, size_t size_bytes)
{
    struct question *question = (struct question *)event;
    if (question->go_on_with)
        question->go_on_with(status_of(rc), data, size_bytes, question->argument, release, data);
    else if (question->go_on)
        question->go_on(status_of(rc), question->argument);
    free_question(question);
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static int refuse(pmix_status_t status, const char *what, struct mst_err *err)
{
    return mst_err_set(err, -EIO, "libpmix: %s: %s", what, PMIx_Error_string(status));
}

static bool is_done(pmix_status_t status)
{
    return status == PMIX_SUCCESS || status == PMIX_OPERATION_SUCCEEDED;
}

static int begin(const struct host_facts *facts, struct mst_err *err)
{
    pmix_info_t info[3];
    host.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (host.fd < 0)
        return mst_err_set(err, -errno, "eventfd: %s", mst_err_meaning(errno));
    for (size_t i = 0; i < 3; i++)
        PMIX_INFO_CONSTRUCT(&info[i]);
    PMIX_INFO_LOAD(&info[0], PMIX_HOSTNAME, facts->host, PMIX_STRING);
    PMIX_INFO_LOAD(&info[1], PMIX_SERVER_TMPDIR, facts->folder, PMIX_STRING);
    PMIX_INFO_LOAD(&info[2], PMIX_SYSTEM_TMPDIR, facts->folder, PMIX_STRING);
    pmix_status_t status = PMIx_server_init(&module, info, 3);
    for (size_t i = 0; i < 3; i++)
        PMIX_INFO_DESTRUCT(&info[i]);
    host.serves = is_done(status);
    return host.serves ? 0 : refuse(status, "it does not start", err);
}

static int register_job(const struct host_facts *facts, struct mst_err *err)
{
    char *nodes = NULL, *ranks = NULL;
    const uint32_t appnum = 0;
    pmix_status_t status = PMIx_generate_regex(facts->names, &nodes);
    if (is_done(status))
        status = PMIx_generate_ppn(facts->ranks, &ranks);
    const struct {
        const char *key;
        const void *value;
        pmix_data_type_t type;
    } said[] = {{PMIX_JOBID, facts->job, PMIX_STRING},
                {PMIX_UNIV_SIZE, &facts->size, PMIX_UINT32},
                {PMIX_JOB_SIZE, &facts->size, PMIX_UINT32},
                {PMIX_MAX_PROCS, &facts->size, PMIX_UINT32},
                {PMIX_NUM_NODES, &facts->node_count, PMIX_UINT32},
                {PMIX_NODE_MAP, nodes, PMIX_REGEX},
                {PMIX_PROC_MAP, ranks, PMIX_REGEX},
                {PMIX_LOCAL_SIZE, &facts->local_size, PMIX_UINT32},
                {PMIX_LOCAL_PEERS, facts->peers, PMIX_STRING},
                {PMIX_LOCALLDR, &facts->first_rank, PMIX_PROC_RANK},
                {PMIX_APPNUM, &appnum, PMIX_UINT32},
                {PMIX_TMPDIR, facts->folder, PMIX_STRING},
                {PMIX_NSDIR, facts->folder, PMIX_STRING}};
    enum { COUNT = sizeof said / sizeof *said };
    pmix_info_t info[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        PMIX_INFO_CONSTRUCT(&info[i]);
        PMIX_INFO_LOAD(&info[i], said[i].key, said[i].value, said[i].type);
    }
    if (is_done(status))
        status = PMIx_server_register_nspace(host.job, (int)facts->local_size, info, COUNT, NULL,
                                             NULL);
    for (size_t i = 0; i < COUNT; i++)
        PMIX_INFO_DESTRUCT(&info[i]);
    free(nodes);
    free(ranks);
    return is_done(status) ? 0 : refuse(status, "it does not take the job", err);
}

static pmix_proc_t name_of(uint32_t rank)
{
    pmix_proc_t name = {.rank = rank};
    memcpy(name.nspace, host.job, sizeof name.nspace);
    return name;
}

static int register_ranks(const struct host_facts *facts, struct mst_err *err)
{
    pmix_status_t status = PMIX_SUCCESS;
    for (uint32_t i = 0; is_done(status) && i < facts->local_size; i++) {
        pmix_proc_t name = name_of(facts->first_rank + i);
        status = PMIx_server_register_client(&name, getuid(), getgid(), NULL, NULL, NULL);
    }
    return is_done(status) ? 0 : refuse(status, "it does not take a rank", err);
}

int host_start(const struct host_facts *facts, struct mst_err *err)
{
    (void)snprintf(host.job, sizeof host.job, "%s", facts->job);
    host.size = facts->size;
    host.first_rank = facts->first_rank;
    host.local_size = facts->local_size;
    (void)snprintf(host.shared, sizeof host.shared, "%s", facts->shared);
    int rc = begin(facts, err);
    if (rc == 0)
        rc = register_job(facts, err);
    return rc ? rc : register_ranks(facts, err);
}

void host_stop(void)
{
    if (!host.serves)
        return;
    for (uint32_t i = 0; i < host.local_size; i++) { /* with each go the files that it has named */
        pmix_proc_t name = name_of(host.first_rank + i);
        PMIx_server_deregister_client(&name, NULL, NULL);
    }
    PMIx_server_deregister_nspace(host.job, NULL, NULL);
    (void)PMIx_server_finalize(); /* there is nothing behind it */
}

/* What Open MPI asks of its own launcher. Without a daemon's address, which it never asks anything,
 * Open MPI 4 takes a rank for a world of one, and says nothing. What ranks share in memory lies
 * where it is removed with them, and where another node's of this machine does not: Open MPI 4
 * names it by the host's name. */
static long add_open_mpi(char *bytes, size_t cap)
{
    char daemon[] = "OMPI_MCA_orte_local_daemon_uri=0.0;tcp://127.0.0.1:1";
    char places[3][sizeof host.shared + 64],
        *vars[] = {daemon, places[0], places[1], places[2], NULL};
    static const char *const names[] = {"btl_vader", "btl_sm", "osc_sm"};
    for (size_t i = 0; i < 3; i++)
        (void)snprintf(places[i], sizeof places[i], "OMPI_MCA_%s_backing_directory=%s", names[i],
                       host.shared); /* it fits */
    return pmix_env_encode(vars, bytes, cap);
}

int host_ask(uint32_t rank, uint32_t id)
{
    pmix_proc_t name = name_of(rank);
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): it comes back as it is */
    pmix_status_t status = PMIx_server_dmodex_request(&name, on_given, (void *)(uintptr_t)id);
    return status == PMIX_SUCCESS ? 0 : -EIO;
}

long host_variables(uint32_t rank, char *bytes, size_t cap, struct mst_err *err)
{
    pmix_proc_t name = name_of(rank);
    char **vars = NULL;
    pmix_status_t status = PMIx_server_setup_fork(&name, &vars);
    if (!is_done(status))
        return refuse(status, "it names no variables", err);
    long size = pmix_env_encode(vars, bytes, cap), more = 0;
    if (size >= 0)
        more = add_open_mpi(bytes + size, cap - (size_t)size);
    PMIX_ARGV_FREE(vars);
    if (size >= 0 && more >= 0)
        return size + more;
    int rc = (int)(size < 0 ? size : more);
    return mst_err_set(err, rc, "the variables of rank %u: %s", rank, mst_err_meaning(rc));
}
