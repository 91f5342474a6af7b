#include "muster/launcher/pmix/folder.h"

#include "muster/core/err.h"
#include "muster/core/scratch.h"

#include <errno.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FDS_MOST 16
#define MEMORY "/dev/shm"

/* Behind the one that the environment names. */
static const char *const places[] = {"/tmp", "/var/tmp", MEMORY};
#define PLACE_COUNT (1 + sizeof places / sizeof *places)

static const char *place_at(size_t at)
{
    return at == 0 ? mst_scratch_dir() : places[at - 1];
}

static bool name_in(const char *place, const char *name, char path[FOLDER_BYTES])
{
    return snprintf(path, FOLDER_BYTES, "%s/%s", place, name) < FOLDER_BYTES;
}

/* 0; -ENAMETOOLONG; errors of mkdir. */
static int make_in(const char *place, const char *name, char ret_path[FOLDER_BYTES])
{
    char path[FOLDER_BYTES];
    if (!name_in(place, name, path))
        return -ENAMETOOLONG;
    if (mkdir(path, 0700))
        return -errno;
    memcpy(ret_path, path, sizeof path);
    return 0;
}

int folder_make(const char *name, char ret_path[FOLDER_BYTES], struct mst_err *err)
{
    int first = 0;
    for (size_t i = 0; i < PLACE_COUNT; i++) {
        int rc = make_in(place_at(i), name, ret_path);
        if (rc == 0)
            return 0;
        first = first ? first : rc;
    }
    return mst_err_set(err, first,
                       "no folder for the files of MPI's ranks can be made in %.80s (%s), /tmp, "
                       "/var/tmp or " MEMORY ": set TMPDIR to one that may be written",
                       place_at(0), mst_err_meaning(first));
}

void folder_make_shared(const char *name, const char *other, char ret_path[FOLDER_BYTES])
{
    if (make_in(MEMORY, name, ret_path))
        (void)snprintf(ret_path, FOLDER_BYTES, "%s", other); /* it fits */
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    (void)remove(path); /* what is left keeps its folder, too */
    return 0;
}

void folder_remove(const char *name)
{
    char path[FOLDER_BYTES];
    for (size_t i = 0; i < PLACE_COUNT; i++) {
        if (name_in(place_at(i), name, path))
            (void)nftw(path, remove_one, FDS_MOST, FTW_DEPTH | FTW_PHYS); /* as above */
    }
}
