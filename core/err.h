/* Errors: an int on every path, a text only where somebody will read it.
 *
 * A function answers >= 0 for good and one of these -errno codes for bad:
 *   -EINVAL      the caller's fault: an argument or option out of range
 *   -ENOMEM      memory, or a budget the caller set, is used up
 *   -ETIMEDOUT   the caller's deadline passed
 *   -ECONNRESET  a peer is lost (its process, node or connection), or the generation was aborted
 *   -EPROTO      a peer broke the protocol, or called another collective than we did
 *   -EBADMSG     stored or received bytes fail their checksum or format
 *   -ESTALE      the generation of the call or the peer is an older one
 *   -EACCES      the peer could not prove that it knows the job secret
 *   -ECANCELED   aborted or closed by this process itself
 *   -ENOSPC      no room: disk, quota, or a buffer of the caller's that is too small
 *   -ENOENT -EEXIST -EAGAIN (not yet) -ENOTSUP (this back end or build lacks it) -EIO
 * Other codes come unchanged from the system call that gave them.
 *
 * struct mst_err carries the text. It is filled by create, open, parse and restore calls only,
 * never allocates, and may be NULL everywhere. One owner at a time; functions are safe from any
 * thread on different structs. It is frozen: no version of the library adds a field. */
#ifndef MUSTER_CORE_ERR_H
#define MUSTER_CORE_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

#define MST_ERRNO_MAX 4095 /* the kernel's limit: a larger number is no errno */

struct mst_err {
    int code;       /* 0, or the -errno that the failing call returned */
    char text[240]; /* names the object, the value and the next step; always terminated */
};

/* Writes `code` and the text. Returns `code`, so that a failing path is one line: return
 * mst_err_set(err, -EINVAL, …). `err` may be NULL. A text that does not fit loses
 * its middle, so that it ends with the next step. Never fails. */
int mst_err_set(struct mst_err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<text>: " in front of what `err` says and keeps its code: called where the object is known
 * ("shard 3 of …"). What does not fit is cut as above. Returns the code. `err` may be NULL, then 0
 * is returned. */
int mst_err_wrap(struct mst_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What the code means, in a few words, for programs that have no struct mst_err. Accepts either
 * sign; static storage; safe from any thread. */
const char *mst_err_meaning(int code);

#ifdef __cplusplus
}
#endif

#endif
