#include "muster/launcher/oom.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MOUNT_V1 "/sys/fs/cgroup/memory"
#define MOUNT_V2 "/sys/fs/cgroup"
#define TEXT_BYTES 4096 /* each of these files is shorter */

static const struct {
    const char *mount, *events, *limit, *peak;
} files[] = {
    [MEMCG_V1] = {MOUNT_V1, "memory.oom_control", "memory.limit_in_bytes",
                  "memory.max_usage_in_bytes"},
    [MEMCG_V2] = {MOUNT_V2, "memory.events", "memory.max", "memory.peak"},
};

static bool read_text(const char *dir, const char *name, char text[TEXT_BYTES])
{
    char path[OOM_DIR_BYTES + 64];
    int size = snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = size < (int)sizeof path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, TEXT_BYTES - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

static bool read_kills(const struct oom_place *place, uint64_t *ret_kills)
{
    char text[TEXT_BYTES];
    return read_text(place->dir, files[place->version].events, text) &&
           memcg_count(text, "oom_kill", ret_kills);
}

static size_t mount_length(const struct oom *oom, enum memcg_version version)
{
    return strlen(oom->root) + strlen(files[version].mount);
}

/* The parent of a cgroup's folder; false at the mount. */
static bool climb(const struct oom *oom, struct oom_place *place)
{
    size_t least = mount_length(oom, place->version), size = strlen(place->dir);
    while (size > least && place->dir[size - 1] != '/')
        size--;
    if (size <= least)
        return false;
    place->dir[size - 1] = '\0';
    return true;
}

/* The cgroup of a process. In a container its path may be the host's, and only the mount is there.
 * False: it counts no kills, or nobody tells. */
static bool find_place(const struct oom *oom, pid_t pid, struct oom_place *ret_place)
{
    char text[TEXT_BYTES], proc[OOM_DIR_BYTES], path[MEMCG_PATH_BYTES];
    if (pid > 0)
        snprintf(proc, sizeof proc, "%s/proc/%d", oom->root, (int)pid);
    else
        snprintf(proc, sizeof proc, "%s/proc/self", oom->root);
    struct oom_place place = {MEMCG_NONE, "", 0};
    if (!read_text(proc, "cgroup", text) || !(place.version = memcg_find(text, path)))
        return false;
    int size = snprintf(place.dir, sizeof place.dir, "%s%s%s", oom->root,
                        files[place.version].mount, path);
    if (size >= (int)sizeof place.dir)
        return false;
    while (!read_kills(&place, &place.kills)) {
        if (!climb(oom, &place))
            return false;
    }
    *ret_place = place;
    return true;
}

static void add_place(struct oom *oom, const struct oom_place *place)
{
    for (size_t i = 0; i < oom->place_count; i++) {
        if (strcmp(oom->places[i].dir, place->dir) == 0)
            return;
    }
    if (oom->place_count < OOM_PLACES_MAX)
        oom->places[oom->place_count++] = *place;
}

void oom_init(struct oom *oom, const char *root)
{
    struct oom_place place;
    oom->root = root;
    oom->place_count = oom->rose_at = 0;
    oom_forget(oom);
    if (find_place(oom, 0, &place))
        add_place(oom, &place);
}

void oom_forget(struct oom *oom)
{
    oom->unclaimed = oom->rose_ns = 0;
}

static uint64_t read_all(struct oom *oom, uint64_t now_ns)
{
    uint64_t risen = 0, kills;
    for (size_t i = 0; i < oom->place_count; i++) {
        struct oom_place *place = &oom->places[i];
        if (!read_kills(place, &kills) || kills <= place->kills)
            continue;
        risen += kills - place->kills;
        place->kills = kills;
        oom->rose_at = i;
        oom->rose_ns = now_ns;
    }
    oom->unclaimed += risen;
    return risen;
}

uint64_t oom_look(struct oom *oom, const pid_t *pids, size_t count, uint64_t now_ns)
{
    struct oom_place place;
    uint64_t risen = read_all(oom, now_ns);
    for (size_t i = 0; i < count; i++) {
        if (pids[i] > 0 && find_place(oom, pids[i], &place))
            add_place(oom, &place);
    }
    return risen;
}

bool oom_claim(struct oom *oom, uint64_t now_ns)
{
    (void)read_all(oom, now_ns); /* what it has risen by is unclaimed, too */
    if (oom->unclaimed == 0 || now_ns - oom->rose_ns > OOM_CLAIM_NS)
        return false;
    oom->unclaimed--;
    return true;
}

static uint64_t read_bytes(const char *dir, const char *name)
{
    char text[TEXT_BYTES];
    uint64_t size_bytes = MEMCG_UNLIMITED;
    if (read_text(dir, name, text))
        (void)memcg_bytes(text, &size_bytes); /* else it stays what it is */
    return size_bytes;
}

struct oom_sizes oom_sizes(const struct oom *oom)
{
    struct oom_sizes sizes = {MEMCG_UNLIMITED, MEMCG_UNLIMITED};
    if (oom->place_count == 0)
        return sizes;
    struct oom_place place = oom->places[oom->rose_at];
    sizes.peak_bytes = read_bytes(place.dir, files[place.version].peak);
    do {
        uint64_t limit_bytes = read_bytes(place.dir, files[place.version].limit);
        if (limit_bytes < sizes.limit_bytes)
            sizes.limit_bytes = limit_bytes;
    } while (climb(oom, &place));
    return sizes;
}
