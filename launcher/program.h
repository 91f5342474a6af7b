/* Program: which file execvp takes for a name, and why it takes none. */
#ifndef MUSTER_LAUNCHER_PROGRAM_H
#define MUSTER_LAUNCHER_PROGRAM_H

#include <stdbool.h>

#define PROGRAM_PATH_BYTES 4096

struct mst_err;

/* The file that would be executed for `name`, which without a '/' is looked for in `path` (PATH's
 * value, or NULL). 0; -ENOENT there is none; -EACCES it may not be executed, or is no file; errors
 * of stat. A script's interpreter is not looked for. */
int program_find(const char *name, const char *path, char ret_file[PROGRAM_PATH_BYTES]);

/* The name that `name` has in the folder of this process's own program, whether or not it is there.
 * False: the folder is not known, or its name too long. */
bool program_beside(const char *name, char ret_file[PROGRAM_PATH_BYTES]);

/* Returns rc, the -errno of program_find, of fork or of execvp for `name`, with a text that says
 * what is to be done. */
int program_refuse(const char *name, int rc, struct mst_err *err);

#endif
