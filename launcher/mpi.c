#include "muster/launcher/mpi.h"

#include "muster/core/clock.h"
#include "muster/launcher/elf.h"
#include "muster/launcher/helper.h"
#include "muster/launcher/procs.h"
#include "muster/launcher/program.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static_assert(MPI_LIBRARY_BYTES == ELF_NAME_BYTES, "names are copied whole");

/* ---- names ----------------------------------------------------------------------------------- */

bool mpi_is_library(const char *name)
{
    static const char *const stems[] = {"libmpi.so", "libmpi_", "libmpich", "libmpicxx",
                                        "libmpifort"};
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++) {
        if (strncmp(name, stems[i], strlen(stems[i])) == 0)
            return strstr(name, ".so") != NULL;
    }
    return false;
}

/* Of `version`, as ".so.12", or a later one of the same interface. */
static bool has_version(const char *library, const char *version)
{
    const char *found = strstr(library, version);
    return found && strchr(".", found[strlen(version)]);
}

enum mpi_family mpi_family_of(const char *library)
{
    if (strncmp(library, "libmpich", strlen("libmpich")) == 0 || has_version(library, ".so.12"))
        return MPI_FAMILY_MPICH;
    return has_version(library, ".so.40") ? MPI_FAMILY_OPEN : MPI_FAMILY_NONE;
}

const char *mpi_way(const char *library)
{
    switch (mpi_family_of(library)) {
    case MPI_FAMILY_MPICH: return "start it with --mpi=pmi1";
    case MPI_FAMILY_OPEN: return "start it with --mpi=pmix";
    default: return "start it with mpirun";
    }
}

static bool is_unserved(const char *name, enum mpi_family served)
{
    return mpi_is_library(name) && (served == MPI_FAMILY_NONE || mpi_family_of(name) != served);
}

/* ---- the program ----------------------------------------------------------------------------- */

static bool read_at(void *arg, uint64_t offset, void *bytes, size_t size_bytes)
{
    int fd = *(const int *)arg;
    return offset <= INT64_MAX &&
           pread(fd, bytes, size_bytes, (off_t)offset) == (ssize_t)size_bytes;
}

/* A FIFO in the program's place is not waited for. */
static bool file_needs(const char *path, char library[MPI_LIBRARY_BYTES])
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct elf_file file = {.read_at = read_at, .arg = &fd};
    bool needs = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
                 elf_find_library(&file, mpi_is_library, library);
    if (fd >= 0)
        (void)close(fd); /* only read */
    return needs;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* What env(1) becomes; NULL: it is told something that is not known here. */
static const char *program_of(char *const *argv)
{
    if (strcmp(base_name(argv[0]), "env") != 0)
        return argv[0];
    for (argv++; *argv; argv++) {
        const char *word = *argv;
        bool is_unset = strcmp(word, "-u") == 0 || strcmp(word, "--unset") == 0;
        if (is_unset && argv[1])
            argv++;
        else if (strcmp(word, "-i") != 0 && strcmp(word, "--") != 0 && !strchr(word, '='))
            return word[0] == '-' ? NULL : word;
    }
    return NULL;
}

bool mpi_is_needed(char *const *argv, const char *path, char library[MPI_LIBRARY_BYTES])
{
    char file[PROGRAM_PATH_BYTES];
    const char *program = program_of(argv);
    return program && program_find(program, path, file) == 0 && file_needs(file, library);
}

static const char *value_in(char *const *env, const char *name)
{
    size_t size = strlen(name);
    for (; *env; env++) {
        if (strncmp(*env, name, size) == 0 && (*env)[size] == '=')
            return *env + size + 1;
    }
    return NULL;
}

bool mpi_is_named(char *const *env, char library[MPI_LIBRARY_BYTES])
{
    const char *file = value_in(env, "MPI4PY_LIBMPI"), *abi = value_in(env, "MPI4PY_MPIABI");
    if (file && mpi_is_library(base_name(file)))
        snprintf(library, MPI_LIBRARY_BYTES, "%s", base_name(file));
    else if (abi && strcmp(abi, "openmpi") == 0)
        snprintf(library, MPI_LIBRARY_BYTES, "libmpi.so.40");
    else if (abi && (strcmp(abi, "mpich") == 0 || strcmp(abi, "impi") == 0))
        snprintf(library, MPI_LIBRARY_BYTES, "libmpi.so.12");
    else
        return false;
    return true;
}

/* ---- its processes --------------------------------------------------------------------------- */

bool mpi_is_mapped(pid_t pid, enum mpi_family served, char library[MPI_LIBRARY_BYTES])
{
    char path[32], *line = NULL;
    size_t cap = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    bool is_mapped = false;
    while (maps && !is_mapped && getline(&line, &cap, maps) > 0) {
        line[strcspn(line, "\n")] = '\0';
        const char *slash = strrchr(line, '/');
        is_mapped = slash && is_unserved(slash + 1, served);
        if (is_mapped)
            snprintf(library, MPI_LIBRARY_BYTES, "%s", slash + 1); /* it is for people: cut */
    }
    free(line);
    if (maps)
        (void)fclose(maps); /* only read */
    return is_mapped;
}

/* When a look is due after the start: for short programs, once libraries are loaded, and for what
 * is loaded late. */
static const uint32_t look_s[] = {1, 5, 30, 300};
#define LOOK_COUNT (sizeof look_s / sizeof *look_s)

void mpi_watch_start(struct mpi_watch *watch, enum mpi_family served, uint64_t now_ns)
{
    watch->served = served;
    if (watch->looks == 0)
        watch->wake_ns = now_ns + look_s[0] * MST_NS_PER_S;
}

struct look {
    enum mpi_family served;
    struct mpi_finding finding;
};

static bool look_at(pid_t pid, size_t local_rank, void *arg)
{
    struct look *look = arg;
    look->finding.local_rank = (uint32_t)local_rank;
    return mpi_is_mapped(pid, look->served, look->finding.library);
}

/* The agent's signals are blocked here, too; nothing is written but the finding. */
static _Noreturn void run_look(const struct mpi_watch *watch, const pid_t *pids, uint32_t count,
                               int agent_fd)
{
    struct look look = {.served = watch->served};
    helper_begin("muster-look", &agent_fd, 1);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* cannot fail for a valid signal */
    if (!procs_any(pids, count, look_at, &look))
        _exit(0);
    _exit(write(STDIN_FILENO, &look.finding, sizeof look.finding) != sizeof look.finding);
}

void mpi_watch_look(struct mpi_watch *watch, const pid_t *pids, uint32_t count, uint64_t now_ns)
{
    int fds[2];
    watch->looks++;
    watch->wake_ns = MST_NEVER;
    if (watch->looks < LOOK_COUNT)
        watch->wake_ns = now_ns + (look_s[watch->looks] - look_s[watch->looks - 1]) * MST_NS_PER_S;
    if (watch->fd >= 0 || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return; /* the last one hangs still, or there is nothing to look with */
    pid_t pid = fork();
    if (pid == 0)
        run_look(watch, pids, count, fds[1]);
    (void)close(fds[1]); /* a pipe: nothing to lose, here and below */
    if (pid < 0) {
        (void)close(fds[0]);
        return;
    }
    watch->fd = fds[0];
    watch->pid = pid;
}

bool mpi_watch_take(struct mpi_watch *watch, struct mpi_finding *ret_finding)
{
    struct mpi_finding finding;
    if (watch->fd < 0)
        return false;
    ssize_t size = read(watch->fd, &finding, sizeof finding);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    mpi_watch_fini(watch);
    if (size != sizeof finding)
        return false;
    watch->looks = LOOK_COUNT;
    watch->wake_ns = MST_NEVER;
    *ret_finding = finding;
    return true;
}

void mpi_watch_fini(struct mpi_watch *watch)
{
    if (watch->fd >= 0)
        (void)close(watch->fd); /* as above */
    watch->fd = -1;
    watch->pid = 0;
}
