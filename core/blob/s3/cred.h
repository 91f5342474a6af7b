/* cred: AWS credentials, from wherever this machine, pod or user has them. */
#ifndef MUSTER_CORE_BLOB_S3_CRED_H
#define MUSTER_CORE_BLOB_S3_CRED_H

#include <stdint.h>

struct blob_env;
struct mst_err;

struct cred {
    char access_key[128], secret_key[128];
    char token[4096];  /* "" for those of a user */
    char source[96];   /* where they came from, for texts */
    int64_t expires_s; /* Unix; 0: never */
    char region[48];   /* what the profile says, or "" */
};

/* Looks, in this order, into: the environment; the profile's sections of ~/.aws/credentials and
 * ~/.aws/config; the web identity that Kubernetes hands to service accounts (STS); the container's
 * endpoint (ECS, EKS pod identity); the machine's metadata service (IMDSv2). The first that is set
 * up counts, even if it then fails: what was meant to be used must not be replaced in silence.
 * Blocks; each exchange with a service ends after 2 s.
 * 0; -EACCES none are set up, with the places, or the one that is did not give any. */
int cred_find(const struct blob_env *env, const char *region, struct cred *ret_cred,
              struct mst_err *err);

/* Overwrites the secrets. */
void cred_wipe(struct cred *cred);

#endif
