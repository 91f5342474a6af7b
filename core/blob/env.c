#include "muster/core/blob/env.h"

#include <stddef.h>
#include <stdlib.h>

/* An empty variable is how shells say that there is none. */
static const char *get(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

static const char *first(const char *name, const char *other)
{
    const char *value = get(name);
    return value ? value : get(other);
}

void blob_env_read(struct blob_env *ret_env)
{
    const char *ca_file = get("AWS_CA_BUNDLE");
    *ret_env = (struct blob_env){
        .region = first("AWS_REGION", "AWS_DEFAULT_REGION"),
        .endpoint = first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        .ca_file = ca_file ? ca_file : first("CURL_CA_BUNDLE", "SSL_CERT_FILE"),
        .access_key = get("AWS_ACCESS_KEY_ID"),
        .secret_key = get("AWS_SECRET_ACCESS_KEY"),
        .session_token = get("AWS_SESSION_TOKEN"),
        .profile = first("AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
        .profile_file = get("AWS_SHARED_CREDENTIALS_FILE"),
        .config_file = get("AWS_CONFIG_FILE"),
        .role_arn = get("AWS_ROLE_ARN"),
        .role_session = get("AWS_ROLE_SESSION_NAME"),
        .identity_file = get("AWS_WEB_IDENTITY_TOKEN_FILE"),
        .sts_endpoint = get("AWS_ENDPOINT_URL_STS"),
        .container_path = get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        .container_url = get("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        .container_token = get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        .container_file = get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        .imds_disabled = get("AWS_EC2_METADATA_DISABLED"),
        .imds_endpoint = get("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
        .home = get("HOME"),
        .hadoop_conf = get("HADOOP_CONF_DIR"),
        .hadoop_user = get("HADOOP_USER_NAME"),
        .hdfs_delegation = get("MST_HDFS_DELEGATION"),
    };
}
