/* Version: what this library is. The headers' own version is a constant, so that a program can tell
 * what it was compiled against from what it runs with. */
#ifndef MUSTER_CORE_VERSION_H
#define MUSTER_CORE_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

#define MUSTER_VERSION_MAJOR 0
#define MUSTER_VERSION_MINOR 1
#define MUSTER_VERSION_PATCH 0
#define MUSTER_VERSION "0.1.0"

/* MUSTER_VERSION of the library that is loaded. Static storage; safe from any thread. */
const char *mst_version(void);

#ifdef __cplusplus
}
#endif

#endif
