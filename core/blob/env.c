#include "muster/core/blob/env.h"

#include "muster/core/err.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool blob_env_is_plain(const char *text)
{
    while ((unsigned char)*text >= ' ' && *text != '\177')
        text++;
    return *text == '\0';
}

struct reader {
    struct blob_env *env;
    int rc;
    struct mst_err *err;
};

static const char *keep(struct reader *reader, const char *value, size_t length)
{
    struct blob_env *env = reader->env;
    assert(env->copy_count < BLOB_ENV_COPIES);
    char *copy = strndup(value, length);
    if (!copy) {
        reader->rc = mst_err_set(reader->err, -ENOMEM, "no memory for the environment");
        return NULL;
    }
    env->copies[env->copy_count++] = copy;
    return copy;
}

static void refuse(struct reader *reader, const char *name)
{
    if (reader->rc == 0)
        reader->rc = mst_err_set(reader->err, -EINVAL,
                                 "%s has a newline or another control character in it, which no "
                                 "such value has: set it anew",
                                 name);
}

/* An empty variable is how shells say that there is none. */
static const char *get(struct reader *reader, const char *name)
{
    const char *value = getenv(name);
    size_t whole = value ? strlen(value) : 0, length = whole;
    while (length > 0 && strchr("\r\n", value[length - 1]))
        length--;
    if (length == 0)
        return NULL;
    if (length < whole)
        value = keep(reader, value, length);
    if (value && !blob_env_is_plain(value))
        refuse(reader, name);
    return value;
}

static const char *first(struct reader *reader, const char *name, const char *other)
{
    const char *value = get(reader, name);
    return value ? value : get(reader, other);
}

/* libcurl reads them itself, as they are. */
static void check_proxies(struct reader *reader)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                        "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && !blob_env_is_plain(value))
            refuse(reader, names[i]);
    }
}

static void read_aws(struct reader *reader, struct blob_env *env)
{
    env->region = first(reader, "AWS_REGION", "AWS_DEFAULT_REGION");
    env->endpoint = first(reader, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL");
    env->access_key = get(reader, "AWS_ACCESS_KEY_ID");
    env->secret_key = get(reader, "AWS_SECRET_ACCESS_KEY");
    env->session_token = get(reader, "AWS_SESSION_TOKEN");
    env->profile = first(reader, "AWS_PROFILE", "AWS_DEFAULT_PROFILE");
    env->profile_file = get(reader, "AWS_SHARED_CREDENTIALS_FILE");
    env->config_file = get(reader, "AWS_CONFIG_FILE");
    env->role_arn = get(reader, "AWS_ROLE_ARN");
    env->role_session = get(reader, "AWS_ROLE_SESSION_NAME");
    env->identity_file = get(reader, "AWS_WEB_IDENTITY_TOKEN_FILE");
    env->sts_endpoint = get(reader, "AWS_ENDPOINT_URL_STS");
    env->container_path = get(reader, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    env->container_url = get(reader, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    env->container_token = get(reader, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
    env->container_file = get(reader, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    env->imds_disabled = get(reader, "AWS_EC2_METADATA_DISABLED");
    env->imds_endpoint = get(reader, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
}

int blob_env_read(struct blob_env *ret_env, struct mst_err *err)
{
    struct blob_env env = {0};
    struct reader reader = {.env = &env, .err = err};
    read_aws(&reader, &env);
    env.ca_file = get(&reader, "AWS_CA_BUNDLE");
    if (!env.ca_file)
        env.ca_file = first(&reader, "CURL_CA_BUNDLE", "SSL_CERT_FILE");
    env.home = get(&reader, "HOME");
    env.hadoop_conf = get(&reader, "HADOOP_CONF_DIR");
    env.hadoop_user = get(&reader, "HADOOP_USER_NAME");
    env.hdfs_delegation = get(&reader, "MST_HDFS_DELEGATION");
    check_proxies(&reader);
    if (reader.rc) {
        blob_env_fini(&env);
        return reader.rc;
    }
    *ret_env = env;
    return 0;
}

void blob_env_fini(struct blob_env *env)
{
    for (size_t i = 0; i < env->copy_count; i++) {
        explicit_bzero(env->copies[i], strlen(env->copies[i]));
        free(env->copies[i]);
    }
    *env = (struct blob_env){0};
}
