#include "muster/launcher/procs.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What is of interest in /proc/<pid>/stat. */
struct stat_line {
    char state;
    pid_t group, session;
};

static size_t read_file(const char *path, char *text, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t size = read(fd, text, cap - 1);
    close(fd);
    text[size > 0 ? size : 0] = '\0';
    return size > 0 ? (size_t)size : 0;
}

/* The number at *text, which moves behind it and the blank that follows. */
static pid_t take_number(const char **text)
{
    pid_t number = 0;
    for (; **text >= '0' && **text <= '9'; ++*text)
        number = number * 10 + (**text - '0');
    *text += **text == ' ';
    return number;
}

/* "77 (name) S 1 77 77 …": the name may hold anything, so what follows its last bracket counts. No
 * stdio: the guard has the agent's memory as it was in the middle of its life. */
static bool read_stat(pid_t pid, struct stat_line *ret_line)
{
    char path[32] = "/proc/", text[512], digits[12];
    size_t size = 0, used = 6;
    for (pid_t rest = pid; rest > 0; rest /= 10)
        digits[size++] = (char)('0' + rest % 10);
    while (size > 0)
        path[used++] = digits[--size];
    memcpy(path + used, "/stat", sizeof "/stat");
    if (read_file(path, text, sizeof text) == 0)
        return false;
    const char *at = strrchr(text, ')');
    if (!at || strlen(at) < 5)
        return false;
    ret_line->state = at[2];
    at += 4;
    (void)take_number(&at); /* of its parent */
    ret_line->group = take_number(&at);
    ret_line->session = take_number(&at);
    return true;
}

/* The first of `leaders` whose group or session it is of; `count` if there is none. */
static size_t find_leader(const struct stat_line *line, const pid_t *leaders, size_t count)
{
    size_t i = 0;
    while (i < count &&
           (leaders[i] <= 0 || (line->group != leaders[i] && line->session != leaders[i])))
        i++;
    return i;
}

/* The kernel's own record of a directory's entry, as getdents64 gives it. */
struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short bytes;
    unsigned char type;
    char name[];
};

typedef void (*visit_fn)(pid_t id, const struct stat_line *line, void *arg);

/* Each process, or thread, that a folder of /proc names; no stdio and no memory, as above. What
 * /proc does not list, the number of a thread, it shows like a process. */
static void each_in(const char *folder, visit_fn visit, void *arg)
{
    _Alignas(struct entry) char buffer[4096];
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long size;
    while (fd >= 0 && (size = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < size;) {
            const struct entry *entry = (const struct entry *)(buffer + at);
            const char *name = entry->name;
            struct stat_line line;
            pid_t id = take_number(&name);
            if (id > 0 && read_stat(id, &line))
                visit(id, &line, arg);
            at += entry->bytes;
        }
    }
    if (fd >= 0)
        close(fd);
}

static void each_process(visit_fn visit, void *arg)
{
    each_in("/proc", visit, arg);
}

struct search {
    const pid_t *leaders;
    size_t count, found;
    int signal_number;
    bool *listens;
};

static void kill_one(pid_t pid, const struct stat_line *line, void *arg)
{
    struct search *search = arg;
    if (line->state != 'Z' && find_leader(line, search->leaders, search->count) < search->count &&
        kill(pid, SIGKILL) == 0)
        search->found++;
}

size_t procs_kill(const pid_t *leaders, size_t count)
{
    struct search search = {.leaders = leaders, .count = count};
    each_process(kill_one, &search);
    return search.found;
}

static bool catches(pid_t pid, int signal_number)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (read_file(path, text, sizeof text) == 0)
        return false;
    const char *line = strstr(text, "\nSigCgt:");
    unsigned long long caught = line ? strtoull(line + 8, NULL, 16) : 0;
    return caught >> (signal_number - 1) & 1;
}

static void ask_one(pid_t pid, const struct stat_line *line, void *arg)
{
    struct search *search = arg;
    size_t at = find_leader(line, search->leaders, search->count);
    if (at < search->count && line->state != 'Z' && !search->listens[at])
        search->listens[at] = catches(pid, search->signal_number);
}

void procs_listen(const pid_t *leaders, size_t count, int signal_number, bool *ret_listens)
{
    struct search search = {leaders, count, 0, signal_number, ret_listens};
    memset(ret_listens, 0, count * sizeof *ret_listens);
    each_process(ask_one, &search);
}

struct walk {
    const pid_t *leaders;
    size_t count;
    bool (*visit)(pid_t pid, size_t leader, void *arg);
    void *arg;
    bool is_done;
};

static void walk_one(pid_t pid, const struct stat_line *line, void *arg)
{
    struct walk *walk = arg;
    size_t at = 0;
    while (at < walk->count && walk->leaders[at] != pid)
        at++;
    if (at == walk->count)
        at = find_leader(line, walk->leaders, walk->count);
    if (!walk->is_done && at < walk->count && line->state != 'Z')
        walk->is_done = walk->visit(pid, at, walk->arg);
}

bool procs_any(const pid_t *leaders, size_t count,
               bool (*visit)(pid_t pid, size_t leader, void *arg), void *arg)
{
    struct walk walk = {leaders, count, visit, arg, false};
    each_process(walk_one, &walk);
    return walk.is_done;
}

char procs_state(pid_t pid)
{
    struct stat_line line;
    return read_stat(pid, &line) ? line.state : '?';
}

/* "<pages of addresses> <pages in memory> …" */
uint64_t procs_resident(pid_t pid)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    const char *second = read_file(path, text, sizeof text) > 0 ? strchr(text, ' ') : NULL;
    return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

const char *procs_where(pid_t pid, char text[PROCS_WHERE_BYTES])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/wchan", (int)pid);
    size_t size = read_file(path, text, PROCS_WHERE_BYTES);
    if (size == 0 || strcmp(text, "0") == 0)
        text[0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return text;
}

struct hang_search {
    const pid_t *leaders;
    size_t count;
    struct procs_hang *hangs;
};

/* What it says behind both words is "<number of times>". */
static uint64_t count_switches(pid_t thread)
{
    static const char *const words[] = {"\nvoluntary_ctxt_switches:",
                                        "\nnonvoluntary_ctxt_switches:"};
    char path[64], text[4096];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)thread);
    if (read_file(path, text, sizeof text) == 0)
        return 0;
    for (size_t i = 0; i < 2; i++) {
        const char *line = strstr(text, words[i]);
        sum += line ? strtoull(line + strlen(words[i]), NULL, 10) : 0;
    }
    return sum;
}

static void note_hang(pid_t thread, const struct stat_line *line, void *arg)
{
    struct procs_hang *hang = arg;
    if (line->state != 'D' || hang->thread)
        return;
    hang->thread = thread;
    hang->switches = count_switches(thread);
    (void)procs_where(thread, hang->where); /* it is that text */
}

/* A process whose first thread is dead counts while another is not. */
static void look_into(pid_t pid, const struct stat_line *line, void *arg)
{
    struct hang_search *search = arg;
    size_t at = find_leader(line, search->leaders, search->count);
    char folder[64];
    if (at == search->count || search->hangs[at].thread)
        return;
    snprintf(folder, sizeof folder, "/proc/%d/task", (int)pid);
    each_in(folder, note_hang, &search->hangs[at]);
}

void procs_hang(const pid_t *leaders, size_t count, struct procs_hang *ret_hangs)
{
    struct hang_search search = {leaders, count, ret_hangs};
    memset(ret_hangs, 0, count * sizeof *ret_hangs);
    each_process(look_into, &search);
}
