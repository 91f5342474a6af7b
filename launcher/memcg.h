/* Memcg: what the kernel says of a memory cgroup, version 1 or 2, read from the text of its files:
 * where it lies, how many of its processes were killed for want of memory, limit and peak. */
/* pure */
#ifndef MUSTER_LAUNCHER_MEMCG_H
#define MUSTER_LAUNCHER_MEMCG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMCG_PATH_BYTES 1024
#define MEMCG_UNLIMITED UINT64_MAX

enum memcg_version { MEMCG_NONE, MEMCG_V1, MEMCG_V2 };

/* Whose memory controller counts, by the text of /proc/<pid>/cgroup, and the cgroup's path from the
 * mount on; where version 1 has that controller, version 2 has not. MEMCG_NONE, and `path`
 * untouched: nobody, or a path that is too long. */
enum memcg_version memcg_find(const char *text, char path[MEMCG_PATH_BYTES]);

/* The number behind the word `key` of a line, as in memory.events and memory.oom_control. False,
 * and *ret_count untouched, if there is no such line. */
bool memcg_count(const char *text, const char *key, uint64_t *ret_count);

/* A file that is one number of bytes, or "max"; what no machine has is MEMCG_UNLIMITED, too. False,
 * and *ret_bytes untouched, for another text. */
bool memcg_bytes(const char *text, uint64_t *ret_bytes);

/* "64.0 MiB", "1.5 GiB", "none" for MEMCG_UNLIMITED, into `text`, which it returns. */
const char *memcg_size(uint64_t size_bytes, char *text, size_t cap);

#endif
