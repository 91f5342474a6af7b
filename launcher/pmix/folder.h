/* Folder: where ranks of MPI put files of their session, none of which outlives them. */
#ifndef MUSTER_LAUNCHER_PMIX_FOLDER_H
#define MUSTER_LAUNCHER_PMIX_FOLDER_H

#define FOLDER_BYTES 512

/* Makes one in TMPDIR or /tmp. Where it cannot be made it is "", and they have their own. */
void folder_make(char path[FOLDER_BYTES]);

/* Removes it with all that is in it, as far as that can be removed. "" is allowed. */
void folder_remove(const char *path);

#endif
