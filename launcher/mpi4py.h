/* Mpi4py: which MPI the mpi4py of a Python would load, as that finds out when it is imported. */
#ifndef MUSTER_LAUNCHER_MPI4PY_H
#define MUSTER_LAUNCHER_MPI4PY_H

#include <stdbool.h>

/* `python` is the file of an interpreter, as PATH has it. True: among its packages is an mpi4py, as
 * far as its folders tell, and `library`[MPI_LIBRARY_BYTES] is the name of the MPI library that it
 * is linked with, or that the dynamic loader finds for it. What the environment `env` tells mpi4py
 * of that itself is mpi_is_named's. */
bool mpi4py_finds(const char *python, char *const *env, char *library);

/* Whether `name`, with its folders, is the part of mpi4py that uses MPI. Pure. */
bool mpi4py_is_module(const char *name);

#endif
