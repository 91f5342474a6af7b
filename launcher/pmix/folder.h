/* Folder: where ranks of MPI put files of their session, none of which outlives them. */
#ifndef MUSTER_LAUNCHER_PMIX_FOLDER_H
#define MUSTER_LAUNCHER_PMIX_FOLDER_H

struct mst_err;

#define FOLDER_BYTES 512

/* Makes the folder `name`, which nobody else may have, in the first place that takes it: TMPDIR,
 * /tmp, /var/tmp, /dev/shm. 0, and its path; with text errors of mkdir in the first place. */
int folder_make(const char *name, char ret_path[FOLDER_BYTES], struct mst_err *err);

/* Makes one of that name in /dev/shm, for what ranks share in memory; where that cannot be, it is
 * `other`, one that is made. */
void folder_make_shared(const char *name, const char *other, char ret_path[FOLDER_BYTES]);

/* Removes what has that name in any of these places, with all that is in it, as far as it can be
 * removed. */
void folder_remove(const char *name);

#endif
