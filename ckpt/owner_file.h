/* The record of an owner as a file of the root, locked by the process that made it for as long as
 * it lives: its death is seen at once. Functions block. */
#ifndef MUSTER_CKPT_OWNER_FILE_H
#define MUSTER_CKPT_OWNER_FILE_H

#include "muster/ckpt/owner.h"

struct tier_owner;

/* Makes OWNER.<epoch> of OWNER_BYTES, durable; it is locked before anyone can see it. An fd, whose
 * end is the lock's; -EEXIST there is one; -errno. */
int owner_file_create(int root_fd, uint64_t epoch, const char *text);

/* The same where there is no room for another file: the record of the epoch before becomes this
 * one's, whose place on the disk it has. -ENOENT there is none; -EBADMSG it is of another size. */
int owner_file_adopt(int root_fd, uint64_t epoch, const char *text);

/* Writes OWNER_BYTES over those of the file. 0; -errno. */
int owner_file_rewrite(int fd, const char *text);

/* Reads OWNER.<epoch>, and whether somebody holds it locked. 0; -ENOENT; -EBADMSG it is no regular
 * file; -errno. */
int owner_file_read(int root_fd, uint64_t epoch, struct tier_owner *ret_owner);

/* What cannot be removed stays for the next owner. */
void owner_file_remove(int root_fd, uint64_t epoch);

#endif
