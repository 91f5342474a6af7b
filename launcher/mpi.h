/* Mpi: whether a program is one of MPI's, and whether `muster run` can connect it: else each of its
 * ranks would be a world of one, and it is not started. A library that comes later is told of once
 * (h5py and VTK map it without using it), and ends the job where mpi4py uses it. */
#ifndef MUSTER_LAUNCHER_MPI_H
#define MUSTER_LAUNCHER_MPI_H

#include "muster/launcher/program.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MPI_LIBRARY_BYTES 128

/* libmpi.so.40, libmpich.so.12, libmpi_cxx.so.40, libmpifort.so.12 and their like. */
bool mpi_is_library(const char *name);

/* By what the libraries of an MPI ask who the other ranks are. */
enum mpi_family {
    MPI_FAMILY_NONE,  /* none that is known */
    MPI_FAMILY_MPICH, /* PMI-1: MPICH, and what keeps its binary interface */
    MPI_FAMILY_OPEN,  /* PMIx: Open MPI 4 and 5 */
};

/* That of an MPI library, by its name. */
enum mpi_family mpi_family_of(const char *library);

/* How ranks of that library are connected, for people: "start it with --mpi=pmi1". Static. */
const char *mpi_way(const char *library);

/* Whether a file is a program or library that needs an MPI itself; `library` is then its name. What
 * cannot be read needs none. */
bool mpi_file_needs(const char *path, char library[MPI_LIBRARY_BYTES]);

/* Whether a file is a library of MPI; `library` is then the name that it gives itself. */
bool mpi_file_is(const char *path, char library[MPI_LIBRARY_BYTES]);

/* The file that runs in the end when execvp looks in `path` (PATH's value, or NULL) for argv[0]: of
 * `env NAME=VALUE … PROGRAM` and its like (wrapper.h) the program's, of a script the interpreter's.
 * False: there is none, or it cannot be seen. */
bool mpi_find_program(char *const *argv, const char *path, char file[PROGRAM_PATH_BYTES]);

/* Whether that needs an MPI itself. */
bool mpi_is_needed(char *const *argv, const char *path, char library[MPI_LIBRARY_BYTES]);

/* Whether it is a Python that has an mpi4py among its packages; `library` is what that would load,
 * if it is imported. */
bool mpi_is_imported(char *const *argv, const char *path, char *const *env,
                     char library[MPI_LIBRARY_BYTES]);

/* What an environment says, or NULL. Pure. */
const char *mpi_value_in(char *const *env, const char *name);

/* Whether the environment tells mpi4py which MPI to load (MPI4PY_LIBMPI, MPI4PY_MPIABI); `library`
 * is then its name, or one of its family. Pure. */
bool mpi_is_named(char *const *env, char library[MPI_LIBRARY_BYTES]);

struct mpi_finding {
    uint32_t local_rank;
    bool by_mpi4py; /* which uses it, where others may just have it mapped */
    char library[MPI_LIBRARY_BYTES];
};

/* Whether a process has mapped one that does not find its ranks, as it is not `served`: then
 * *ret_finding says which. Blocks as long as the process holds its own memory's lock. */
bool mpi_is_mapped(pid_t pid, enum mpi_family served, struct mpi_finding *ret_finding);

/* The looks at running ranks, each by a child process: an agent does not wait for a rank that hangs
 * in the kernel.
 *
 *   start → at wake_ns: look → fd is readable: take → … → fini */
struct mpi_watch {
    int fd;           /* of the look under way, or -1 */
    pid_t pid;        /* of the process that looks; 0: there is none */
    uint64_t wake_ns; /* when the next one is due, or MST_NEVER */
    uint32_t looks;
    enum mpi_family served;
};

/* Begins when the ranks do. A watch that has found something, or has been ended, stays so. */
void mpi_watch_start(struct mpi_watch *watch, enum mpi_family served, uint64_t now_ns);

/* Starts a look at the processes of local ranks 0 … count-1, of which 0 is none, and at all others
 * of their sessions, as behind a shell that waits. A look that cannot be started is left out. */
void mpi_watch_look(struct mpi_watch *watch, const pid_t *pids, uint32_t count, uint64_t now_ns);

/* Reads what a look found and closes it. True, once in the life of a watch: *ret_finding. */
bool mpi_watch_take(struct mpi_watch *watch, struct mpi_finding *ret_finding);

void mpi_watch_fini(struct mpi_watch *watch);

#endif
