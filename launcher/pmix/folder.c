#include "muster/launcher/pmix/folder.h"

#include "muster/core/scratch.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define FDS_MOST 16

void folder_make(char path[FOLDER_BYTES])
{
    int size = snprintf(path, FOLDER_BYTES, "%s/muster-pmix-XXXXXX", mst_scratch_dir());
    if (size >= FOLDER_BYTES || !mkdtemp(path))
        path[0] = '\0';
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    (void)remove(path); /* what is left keeps its folder, too */
    return 0;
}

void folder_remove(const char *path)
{
    if (path[0]) /* (void): as above */
        (void)nftw(path, remove_one, FDS_MOST, FTW_DEPTH | FTW_PHYS);
}
