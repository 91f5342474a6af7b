/* Wrapper: programs that set something up and become another one: env, nice, numactl, timeout … */
/* pure */
#ifndef MUSTER_LAUNCHER_WRAPPER_H
#define MUSTER_LAUNCHER_WRAPPER_H

/* The words of argv, which ends with NULL, that are the program's which all wrappers before it
 * become in the end, and its arguments; argv itself if it begins with none. NULL: a wrapper is told
 * something by which it becomes no other, or by which that cannot be seen. A shell is none. */
char *const *wrapper_program(char *const *argv);

#endif
