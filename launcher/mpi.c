#include "muster/launcher/mpi.h"

#include "muster/core/clock.h"
#include "muster/core/file.h"
#include "muster/launcher/elf.h"
#include "muster/launcher/helper.h"
#include "muster/launcher/mpi4py.h"
#include "muster/launcher/procs.h"
#include "muster/launcher/program.h"
#include "muster/launcher/wrapper.h"

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

#define SCRIPTS_MAX 4 /* each the interpreter of the one before; the kernel's limit is 5 */

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

/* ---- a file ---------------------------------------------------------------------------------- */

static bool read_at(void *arg, uint64_t offset, void *bytes, size_t size_bytes)
{
    int fd = *(const int *)arg;
    return offset <= INT64_MAX &&
           pread(fd, bytes, size_bytes, (off_t)offset) == (ssize_t)size_bytes;
}

/* A FIFO in the file's place is not waited for. */
static bool open_file(const char *path, int *fd)
{
    struct stat info;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return *fd >= 0 && fstat(*fd, &info) == 0 && S_ISREG(info.st_mode);
}

bool mpi_file_needs(const char *path, char library[MPI_LIBRARY_BYTES])
{
    int fd;
    struct elf_file file = {.read_at = read_at, .arg = &fd};
    bool needs = open_file(path, &fd) && elf_find_library(&file, mpi_is_library, library);
    mst_file_close(&fd);
    return needs;
}

bool mpi_file_is(const char *path, char library[MPI_LIBRARY_BYTES])
{
    int fd;
    char name[ELF_NAME_BYTES];
    struct elf_file file = {.read_at = read_at, .arg = &fd};
    bool is_mpi = open_file(path, &fd) && elf_name(&file, name) && mpi_is_library(name);
    mst_file_close(&fd);
    if (is_mpi)
        memcpy(library, name, sizeof name);
    return is_mpi;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- what runs ------------------------------------------------------------------------------- */

/* The next word of *at, and *at behind it. NULL: there is none. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, " \t");
    size_t size = strcspn(word, " \t");
    *at = word + size;
    if (**at)
        *(*at)++ = '\0';
    return size > 0 ? word : NULL;
}

/* What `#!` names in a script: its interpreter, or what env(1) looks for there. False: it is none.
 */
static bool find_interpreter(const char *script, const char *path, char file[PROGRAM_PATH_BYTES])
{
    char line[256] = "", *at = line + 2;
    int fd = open(script, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t size = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        (void)close(fd); /* only read */
    if (size < 2 || line[0] != '#' || line[1] != '!')
        return false;
    line[strcspn(line, "\n")] = '\0';
    const char *word = next_word(&at);
    if (!word || strcmp(base_name(word), "env") != 0)
        return word && program_find(word, path, file) == 0;
    do
        word = next_word(&at);
    while (word && (word[0] == '-' || strchr(word, '=')));
    return word && program_find(word, path, file) == 0;
}

bool mpi_find_program(char *const *argv, const char *path, char file[PROGRAM_PATH_BYTES])
{
    char interpreter[PROGRAM_PATH_BYTES];
    char *const *program = wrapper_program(argv);
    if (!program || program_find(*program, path, file))
        return false;
    for (int i = 0; i < SCRIPTS_MAX && find_interpreter(file, path, interpreter); i++)
        memcpy(file, interpreter, sizeof interpreter);
    return true;
}

bool mpi_is_needed(char *const *argv, const char *path, char library[MPI_LIBRARY_BYTES])
{
    char file[PROGRAM_PATH_BYTES];
    return mpi_find_program(argv, path, file) && mpi_file_needs(file, library);
}

bool mpi_is_imported(char *const *argv, const char *path, char *const *env,
                     char library[MPI_LIBRARY_BYTES])
{
    char file[PROGRAM_PATH_BYTES];
    return mpi_find_program(argv, path, file) &&
           strncmp(base_name(file), "python", strlen("python")) == 0 &&
           mpi4py_finds(file, env, library);
}

const char *mpi_value_in(char *const *env, const char *name)
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
    const char *file = mpi_value_in(env, "MPI4PY_LIBMPI"),
               *abi = mpi_value_in(env, "MPI4PY_MPIABI");
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

/* A line that names a library, and whether there is one more of those that are looked for. */
static void look_at_line(const char *line, enum mpi_family served, struct mpi_finding *finding)
{
    const char *slash = strrchr(line, '/');
    if (slash && !finding->library[0] && is_unserved(slash + 1, served))
        snprintf(finding->library, MPI_LIBRARY_BYTES, "%s", slash + 1); /* it is for people: cut */
    finding->by_mpi4py = finding->by_mpi4py || mpi4py_is_module(line);
}

bool mpi_is_mapped(pid_t pid, enum mpi_family served, struct mpi_finding *ret_finding)
{
    char path[32], *line = NULL;
    size_t cap = 0;
    struct mpi_finding finding = {0};
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    while (maps && getline(&line, &cap, maps) > 0) {
        line[strcspn(line, "\n")] = '\0';
        look_at_line(line, served, &finding);
    }
    free(line);
    if (maps)
        (void)fclose(maps); /* only read */
    if (finding.library[0])
        *ret_finding = finding;
    return finding.library[0] != '\0';
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

static bool look_at_process(pid_t pid, size_t local_rank, void *arg)
{
    struct look *look = arg;
    bool is_found = mpi_is_mapped(pid, look->served, &look->finding);
    look->finding.local_rank = (uint32_t)local_rank;
    return is_found;
}

/* The agent's signals are blocked here, too; nothing is written but the finding. */
static _Noreturn void run_look(const struct mpi_watch *watch, const pid_t *pids, uint32_t count,
                               int agent_fd)
{
    struct look look = {.served = watch->served};
    helper_begin("muster-look", &agent_fd, 1);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* cannot fail for a valid signal */
    if (!procs_any(pids, count, look_at_process, &look))
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
