#include "launcher/status.h"

#include "core/clock.h"
#include "core/err.h"
#include "core/page.h"
#include "launcher/node.h"
#include "launcher/opts.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MS 2000
#define ANSWER_BYTES_MAX (1 << 20)

struct status {
    int fd;
    bool bound;
    struct sockaddr_un address;
};

static const char *const rank_states[MST_RANK_STATE_COUNT] = {
    "empty",         "starting",    "running",  "in collective", "waiting for data",
    "checkpointing", "at the gate", "finishing"};

static int socket_address(const char *dir, const char *name, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int size = snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "%s/%s", dir, name);
    return size < (int)sizeof ret_address->sun_path ? 0 : -ENAMETOOLONG;
}

static int dial(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
        return fd;
    int result = -errno;
    close(fd);
    return result;
}

static bool is_own_socket(const struct sockaddr_un *address)
{
    struct stat info;
    return lstat(address->sun_path, &info) == 0 && S_ISSOCK(info.st_mode) &&
           info.st_uid == getuid();
}

/* Reads until the agent hangs up. The text is the caller's, NULL if it did not come in time. */
static char *read_answer(int fd)
{
    size_t used = 0;
    char *text = malloc(ANSWER_BYTES_MAX + 1);
    uint64_t deadline_ns = mst_deadline_ms(ANSWER_MS);

    while (text && used < ANSWER_BYTES_MAX) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, mst_deadline_left_ms(deadline_ns)) <= 0)
            break;
        ssize_t size = read(fd, text + used, ANSWER_BYTES_MAX - used);
        if (size <= 0) {
            text[used] = '\0';
            return text;
        }
        used += (size_t)size;
    }
    free(text);
    return NULL;
}

static bool ask_one(const struct sockaddr_un *address, status_answer_fn answer, void *arg)
{
    int fd = dial(address);
    if (fd == -ECONNREFUSED)
        (void)unlink(address->sun_path); /* its agent was killed */
    if (fd < 0)
        return false;
    char *text = answer ? read_answer(fd) : NULL;
    close(fd);
    if (text)
        answer(arg, text);
    bool answered = text != NULL;
    free(text);
    return answered;
}

int status_ask_all(const char *runtime_dir, status_answer_fn answer, void *arg)
{
    char prefix[32];
    int count = 0;
    struct dirent *entry;
    struct sockaddr_un address;
    DIR *dir = opendir(runtime_dir);

    if (!dir)
        return -errno;
    snprintf(prefix, sizeof prefix, "muster-%u-", getuid());
    while ((entry = readdir(dir))) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
            socket_address(runtime_dir, entry->d_name, &address) == 0 && is_own_socket(&address))
            count += ask_one(&address, answer, arg);
    }
    closedir(dir);
    return count;
}

int status_create(const char *runtime_dir, struct status **ret_status, struct mst_err *err)
{
    char name[64];
    int result;
    struct status *status = calloc(1, sizeof *status);
    if (!status)
        return mst_err_set(err, -ENOMEM, "no memory for the status socket");

    (void)status_ask_all(runtime_dir, NULL, NULL);
    snprintf(name, sizeof name, "muster-%u-%d.sock", getuid(), (int)getpid());
    status->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    result = status->fd < 0 ? -errno : socket_address(runtime_dir, name, &status->address);
    if (result)
        goto fail;
    (void)unlink(status->address.sun_path); /* of a dead agent with our pid */
    mode_t mask = umask(0177);
    result = bind(status->fd, (struct sockaddr *)&status->address, sizeof status->address) ? -errno
                                                                                           : 0;
    umask(mask);
    status->bound = !result;
    if (!result && listen(status->fd, 8))
        result = -errno;
    if (result)
        goto fail;
    *ret_status = status;
    return 0;

fail:
    mst_err_set(err, result, "status socket %s/%s: %s", runtime_dir, name, strerror(-result));
    status_destroy(status);
    return result;
}

void status_destroy(struct status *status)
{
    if (!status)
        return;
    if (status->fd >= 0)
        close(status->fd);
    if (status->bound)
        (void)unlink(status->address.sun_path);
    free(status);
}

int status_fd(const struct status *status)
{
    return status->fd;
}

static json_t *step_json(uint64_t step)
{
    return step == MST_PAGE_NO_STEP ? json_null() : json_integer((json_int_t)step);
}

static double seconds_since(uint64_t then_ns, uint64_t now_ns)
{
    return now_ns > then_ns ? (double)(now_ns - then_ns) / (double)MST_NS_PER_S : 0;
}

/* The rank writes its entries while we read: a torn one is shown once and gone the next time. */
static json_t *collective_json(struct mst_page *page, uint32_t local_rank, uint64_t op_count,
                               uint64_t now_ns)
{
    if (op_count == 0)
        return json_null();
    struct mst_page_op op = *mst_page_op(page, local_rank, op_count - 1);
    return json_pack("{s:I, s:i, s:I, s:b, s:f}", "seq", (json_int_t)op.seq, "kind", (int)op.kind,
                     "count", (json_int_t)op.count, "done", op.done_ns != 0, "age_s",
                     seconds_since(op.enter_ns, now_ns));
}

static json_t *rank_json(const struct ranks *ranks, uint32_t local_rank, uint64_t now_ns)
{
    struct mst_page_slot *slot = mst_page_slot(ranks->page, local_rank);
    unsigned state = atomic_load(&slot->state);
    uint64_t beat_ns = atomic_load(&slot->beat_ns);
    bool alive = ranks->procs[local_rank].pid > 0;

    return json_pack(
        "{s:i, s:i, s:b, s:s, s:o, s:o, s:o, s:o}", "rank", (int)(ranks->first_rank + local_rank),
        "pid", (int)atomic_load(&slot->pid), "alive", alive, "state",
        state < MST_RANK_STATE_COUNT ? rank_states[state] : "?", "step",
        step_json(atomic_load(&slot->step)), "beat_age_s",
        beat_ns ? json_real(seconds_since(beat_ns, now_ns)) : json_null(), "checkpoint",
        step_json(atomic_load(&slot->ckpt_step)), "collective",
        collective_json(ranks->page, local_rank, atomic_load(&slot->op_count), now_ns));
}

static char *node_text(const struct node *node)
{
    uint64_t now_ns = mst_now_ns();
    json_t *ranks = json_array();

    for (uint32_t i = 0; node->ranks.page && i < node->ranks.local_size; i++)
        json_array_append_new(ranks, rank_json(&node->ranks, i, now_ns));
    const char *job_id = node->start.job_id[0] ? node->start.job_id : node->opts->job_id;
    json_t *root = json_pack(
        "{s:s, s:i, s:i, s:i, s:i, s:s, s:b, s:s, s:o}", "job", job_id, "agent_pid", (int)getpid(),
        "node", (int)node->opts->node_rank, "nodes", (int)node->opts->node_count, "generation",
        (int)node->start.generation, "state", super_name(node->super.state), "draining",
        node->stopping, "program", node->opts->argv[0], "ranks", ranks);
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

static bool is_ours(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == getuid() || peer.uid == 0);
}

void status_run(struct status *status, const struct node *node)
{
    int fd;

    while ((fd = accept4(status->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        int room = ANSWER_BYTES_MAX;
        char *text = is_ours(fd) ? node_text(node) : NULL;
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        if (text)
            (void)send(fd, text, strlen(text), MSG_NOSIGNAL); /* or the asker sees a cut answer */
        free(text);
        close(fd);
    }
}
