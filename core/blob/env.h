/* What the environment says about remote stores: the names that their own tools have for it. Read
 * in core/blob/env.c and nowhere else. */
#ifndef MUSTER_CORE_BLOB_ENV_H
#define MUSTER_CORE_BLOB_ENV_H

#include <stdbool.h>
#include <stddef.h>

#define BLOB_ENV_COPIES 32 /* more than there are fields */

struct mst_err;

/* Borrowed from the environment, NULL where a variable is missing or empty. The newline that a
 * value ends in, as one from a file does, is none of it: such a value is a copy. */
struct blob_env {
    /* the first of them that is set */
    const char *region;   /* AWS_REGION, AWS_DEFAULT_REGION */
    const char *endpoint; /* AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL */
    const char *ca_file;  /* AWS_CA_BUNDLE, CURL_CA_BUNDLE, SSL_CERT_FILE */

    const char *access_key;      /* AWS_ACCESS_KEY_ID */
    const char *secret_key;      /* AWS_SECRET_ACCESS_KEY */
    const char *session_token;   /* AWS_SESSION_TOKEN */
    const char *profile;         /* AWS_PROFILE, AWS_DEFAULT_PROFILE */
    const char *profile_file;    /* AWS_SHARED_CREDENTIALS_FILE */
    const char *config_file;     /* AWS_CONFIG_FILE */
    const char *role_arn;        /* AWS_ROLE_ARN */
    const char *role_session;    /* AWS_ROLE_SESSION_NAME */
    const char *identity_file;   /* AWS_WEB_IDENTITY_TOKEN_FILE */
    const char *sts_endpoint;    /* AWS_ENDPOINT_URL_STS */
    const char *container_path;  /* AWS_CONTAINER_CREDENTIALS_RELATIVE_URI */
    const char *container_url;   /* AWS_CONTAINER_CREDENTIALS_FULL_URI */
    const char *container_token; /* AWS_CONTAINER_AUTHORIZATION_TOKEN */
    const char *container_file;  /* AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE */
    const char *imds_disabled;   /* AWS_EC2_METADATA_DISABLED */
    const char *imds_endpoint;   /* AWS_EC2_METADATA_SERVICE_ENDPOINT */
    const char *home;            /* HOME */

    const char *hadoop_conf;     /* HADOOP_CONF_DIR */
    const char *hadoop_user;     /* HADOOP_USER_NAME */
    const char *hdfs_delegation; /* MST_HDFS_DELEGATION: a delegation token's urlString */

    char *copies[BLOB_ENV_COPIES];
    size_t copy_count;
};

/* Not safe beside a change of the environment. 0; -EINVAL one of these, or of the variables that
 * name proxies, has a control character in it, which would end a header early: the text has the
 * variable's name and not its value; -ENOMEM. */
int blob_env_read(struct blob_env *ret_env, struct mst_err *err);

/* Overwrites and frees the copies. */
void blob_env_fini(struct blob_env *env);

/* Whether there is no control character in it. */
bool blob_env_is_plain(const char *text);

#endif
