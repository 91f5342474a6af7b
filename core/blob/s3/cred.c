#include "muster/core/blob/s3/cred.h"

#include "muster/core/blob/env.h"
#include "muster/core/blob/http/http.h"
#include "muster/core/blob/s3/cred_parse.h"
#include "muster/core/blob/s3/sigv4.h"
#include "muster/core/blob/s3/xml.h"
#include "muster/core/clock.h"
#include "muster/core/err.h"
#include "muster/core/file.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SERVICE_TIMEOUT_MS 2000 /* IMDS does not answer at all behind a hop limit of 1 */
#define TOKEN_BYTES 16384       /* of an identity token's file */
#define PROFILES_BYTES ((size_t)1 << 20)

/* A place where credentials may be. 0: they are in *cred; -ENOENT: it is not set up; -EACCES: it
 * is, and gave none. */
typedef int (*place_fn)(const struct blob_env *env, const char *region, struct cred *cred,
                        struct mst_err *err);

static void set_source(struct cred *cred, const char *source)
{
    (void)snprintf(cred->source, sizeof cred->source, "%s", source); /* fits: all are ours */
}

/* Reads a small text file whole. Its length, -ENOENT, -EFBIG if it is not below `cap`, or another
 * -errno. */
static int read_text(const char *path, char *text, size_t cap)
{
    FILE *file = mst_file_read(path);
    if (!file)
        return -errno;
    size_t length = fread(text, 1, cap, file);
    bool failed = ferror(file);
    (void)fclose(file); /* read only */
    if (failed || length == cap)
        return failed ? -EIO : -EFBIG;
    text[length] = '\0';
    return (int)length;
}

/* A newline at the end of a token's file is none of it; anywhere else it would end a header. */
static int read_token(const char *path, char *token, size_t cap, struct mst_err *err)
{
    int rc = read_text(path, token, cap);
    while (rc > 0 && strchr("\r\n", token[rc - 1]))
        token[--rc] = '\0';
    if (rc == -EFBIG)
        return mst_err_set(err, -EACCES, "%s: is over %zu bytes", path, cap - 1);
    if (rc < 0)
        return mst_err_set(err, -EACCES, "%s: cannot be read: %s", path, mst_file_meaning(rc));
    if (rc == 0 || !blob_env_is_plain(token))
        return mst_err_set(
            err, -EACCES, "%s: holds no token: it is empty, or has control characters in it", path);
    return 0;
}

/* A cut key would only be a wrong one. `what` and `where` say whose it is. */
static int too_long(const char *what, const char *where, struct mst_err *err)
{
    const struct cred *cred = NULL;
    return mst_err_set(err, -EACCES, "%s%.80s is too long: the limits are %zu, %zu and %zu bytes",
                       what, where, sizeof cred->access_key - 1, sizeof cred->secret_key - 1,
                       sizeof cred->token - 1);
}

static bool keep(char *field, size_t cap, const char *value)
{
    return (size_t)snprintf(field, cap, "%s", value) < cap;
}

static int from_environment(const struct blob_env *env, const char *region, struct cred *cred,
                            struct mst_err *err)
{
    (void)region;
    if (!env->access_key && !env->secret_key)
        return -ENOENT;
    if (!env->access_key || !env->secret_key)
        return mst_err_set(err, -EACCES, "AWS_%s is set and AWS_%s is not; set both or none",
                           env->access_key ? "ACCESS_KEY_ID" : "SECRET_ACCESS_KEY",
                           env->access_key ? "SECRET_ACCESS_KEY" : "ACCESS_KEY_ID");
    const char *token = env->session_token ? env->session_token : "";
    if (!keep(cred->access_key, sizeof cred->access_key, env->access_key) ||
        !keep(cred->secret_key, sizeof cred->secret_key, env->secret_key) ||
        !keep(cred->token, sizeof cred->token, token))
        return too_long("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN", "", err);
    set_source(cred, "the environment");
    return 0;
}

/* Adds what one file says of the profile. 0 also if it says nothing or is not there, or, where
 * nobody named it, cannot be opened; as cred_parse_profile; -EFBIG; -ENOMEM; -errno of the open. */
static int add_profile_file(const char *path, const char *home, const char *name,
                            const char *profile, struct cred *cred)
{
    char own[512];
    if (!path && home)
        (void)snprintf(own, sizeof own, "%s/.aws/%s", home, name); /* cut, it is not found */
    if (!path && !home)
        return 0;
    char *text = malloc(PROFILES_BYTES);
    int rc = text ? read_text(path ? path : own, text, PROFILES_BYTES) : -ENOMEM;
    if (rc >= 0) {
        rc = cred_parse_profile(text, profile, cred);
        OPENSSL_cleanse(text, strlen(text));
    } else if (!path && rc != -EFBIG && rc != -ENOMEM) {
        rc = 0; /* HOME may be another user's */
    }
    free(text);
    return rc == -ENOENT ? 0 : rc;
}

static int from_profile(const struct blob_env *env, const char *region, struct cred *cred,
                        struct mst_err *err)
{
    (void)region;
    const char *profile = env->profile ? env->profile : "default";
    int rc = add_profile_file(env->config_file, env->home, "config", profile, cred);
    if (rc == 0)
        rc = add_profile_file(env->profile_file, env->home, "credentials", profile, cred);
    if (rc == -ENOSPC)
        return too_long("a key or the token from profile ", profile, err);
    if (rc == -EINVAL)
        return mst_err_set(err, -EACCES, "profile %s has a part of the access key only", profile);
    if (rc < 0)
        return mst_err_set(err, -EACCES,
                           "profile %s: its file cannot be read: %s; the limit is "
                           "%zu bytes",
                           profile, mst_file_meaning(rc), PROFILES_BYTES - 1);
    if (cred->access_key[0]) {
        (void)snprintf(cred->source, sizeof cred->source, "profile %.80s", profile); /* fits */
        return 0;
    }
    if (env->profile)
        return mst_err_set(err, -EACCES,
                           "profile %s (AWS_PROFILE) has no access key in ~/.aws/credentials",
                           profile);
    return -ENOENT;
}

/* One exchange with a credential service. Its text, to be freed, or NULL with the error's text. */
static char *ask(struct http_request *request, bool direct, const char *ca_file, const char *whom,
                 struct mst_err *err)
{
    request->deadline_ns = mst_deadline_ms(SERVICE_TIMEOUT_MS);
    struct http *http = NULL;
    int rc = http_create(&(struct http_opts){.depth = 1, .direct = direct, .ca_file = ca_file},
                         &http, err);
    if (rc == 0)
        rc = http_start(http, request);
    const struct http_answer *answer = NULL;
    while (rc == 0 && !http_next(http, &answer))
        rc = http_step(http, MST_NEVER);
    char *text = NULL;
    if (!answer || answer->rc < 0)
        mst_err_set(err, -EACCES, "%s does not answer: %s", whom,
                    answer ? answer->why : mst_err_meaning(rc));
    else if (answer->status != 200)
        mst_err_set(err, -EACCES, "%s answers %d: %.100s", whom, answer->status, answer->text);
    else if (!(text = strdup(answer->text)))
        mst_err_set(err, -ENOMEM, "no memory for credentials");
    http_destroy(http);
    return text;
}

static void take_session(const struct s3_session *session, struct cred *cred)
{
    /* Each has as much room there as here. */
    (void)snprintf(cred->access_key, sizeof cred->access_key, "%s", session->access_key);
    (void)snprintf(cred->secret_key, sizeof cred->secret_key, "%s", session->secret_key);
    (void)snprintf(cred->token, sizeof cred->token, "%s", session->token);
    cred->expires_s = cred_parse_time(session->expiration);
}

/* The form of AssumeRoleWithWebIdentity: the token is what proves it, so nothing is signed. */
static int make_sts_form(const struct blob_env *env, const char *identity, char *form, size_t cap)
{
    struct sigv4_pair pairs[] = {
        {"Action", "AssumeRoleWithWebIdentity"},
        {"RoleArn", env->role_arn},
        {"RoleSessionName", env->role_session ? env->role_session : "muster"},
        {"Version", "2011-06-15"},
        {"WebIdentityToken", identity},
    };
    return sigv4_query(pairs, sizeof pairs / sizeof *pairs, form, cap);
}

static int ask_sts(const struct blob_env *env, const char *region, const char *form,
                   struct cred *cred, struct mst_err *err)
{
    struct http_request request;
    http_request_init(&request, HTTP_POST);
    request.body = form;
    request.body_bytes = strlen(form);
    int rc = env->sts_endpoint
                 ? http_request_url(&request, "%s/", env->sts_endpoint)
                 : http_request_url(&request, "https://sts.%s.amazonaws.com/", region);
    if (rc == 0)
        rc = http_request_header(&request, "Content-Type: application/x-www-form-urlencoded");
    char *text = rc == 0 ? ask(&request, false, env->ca_file, "STS", err) : NULL;
    http_request_fini(&request);
    if (!text)
        return -EACCES;
    struct s3_session session;
    rc = s3_xml_session(text, strlen(text), &session);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    if (rc == -ENOSPC)
        return too_long("a key or the token from STS", "", err);
    if (rc < 0)
        return mst_err_set(err, -EACCES, "STS answers something that holds no credentials");
    take_session(&session, cred);
    OPENSSL_cleanse(&session, sizeof session);
    return 0;
}

static int from_web_identity(const struct blob_env *env, const char *region, struct cred *cred,
                             struct mst_err *err)
{
    if (!env->identity_file || !env->role_arn)
        return -ENOENT;
    char identity[TOKEN_BYTES], form[3 * TOKEN_BYTES];
    int rc = read_token(env->identity_file, identity, sizeof identity, err);
    if (rc == 0 && make_sts_form(env, identity, form, sizeof form) < 0)
        rc = mst_err_set(err, -EACCES, "%s: the identity token is too long", env->identity_file);
    if (rc == 0)
        rc = ask_sts(env, region, form, cred, err);
    OPENSSL_cleanse(identity, sizeof identity);
    OPENSSL_cleanse(form, sizeof form);
    /* It fits. */
    (void)snprintf(cred->source, sizeof cred->source, "web identity, role %.60s", env->role_arn);
    return rc;
}

/* Credentials go over plain HTTP only to this machine and to the addresses that the platforms keep
 * for it. */
static bool is_trusted(const char *url)
{
    static const char *const plain[] = {"http://127.0.0.1",      "http://localhost",
                                        "http://[::1]",          "http://169.254.170.2",
                                        "http://169.254.170.23", "http://[fd00:ec2::23]"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        size_t length = strlen(plain[i]);
        if (strncmp(url, plain[i], length) == 0 && (!url[length] || strchr(":/", url[length])))
            return true;
    }
    return strncmp(url, "https://", 8) == 0;
}

static int ask_json(struct http_request *request, const char *whom, struct cred *cred,
                    struct mst_err *err)
{
    char *text = ask(request, true, NULL, whom, err);
    if (!text)
        return -EACCES;
    int rc = cred_parse_json(text, strlen(text), cred);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    if (rc == -ENOSPC)
        return too_long("a key or the token from ", whom, err);
    if (rc < 0)
        return mst_err_set(err, -EACCES, "%s answers something that holds no credentials", whom);
    return 0;
}

static int from_container(const struct blob_env *env, const char *region, struct cred *cred,
                          struct mst_err *err)
{
    (void)region;
    if (!env->container_url && !env->container_path)
        return -ENOENT;
    char token[TOKEN_BYTES] = "";
    int rc = 0;
    if (env->container_file) /* it is rotated: read anew each time */
        rc = read_token(env->container_file, token, sizeof token, err);
    else if (env->container_token && !keep(token, sizeof token, env->container_token))
        rc = mst_err_set(err, -EACCES, "AWS_CONTAINER_AUTHORIZATION_TOKEN is over %zu bytes",
                         sizeof token - 1);
    if (rc == 0 && !env->container_path && !is_trusted(env->container_url))
        rc = mst_err_set(err, -EACCES,
                         "AWS_CONTAINER_CREDENTIALS_FULL_URI %.80s: plain HTTP is for this "
                         "machine's own addresses only",
                         env->container_url);
    if (rc < 0)
        return rc;
    struct http_request request;
    http_request_init(&request, HTTP_GET);
    rc = env->container_path
             ? http_request_url(&request, "http://169.254.170.2%s", env->container_path)
             : http_request_url(&request, "%s", env->container_url);
    if (rc == 0 && token[0])
        rc = http_request_header(&request, "Authorization: %s", token);
    if (rc == 0)
        rc = ask_json(&request, "the container's credential endpoint", cred, err);
    http_request_fini(&request);
    set_source(cred, "the container's credential endpoint");
    return rc;
}

static char *ask_imds(enum http_method method, const char *base, const char *path,
                      const char *header, const char *value, struct mst_err *err)
{
    struct http_request request;
    http_request_init(&request, method);
    int rc = http_request_url(&request, "%s/latest/%s", base, path);
    if (rc == 0)
        rc = http_request_header(&request, "%s: %s", header, value);
    char *text = rc == 0 ? ask(&request, true, NULL, "the metadata service", err) : NULL;
    http_request_fini(&request);
    return text;
}

/* A role's name → its credentials. */
static int ask_role(const char *base, const char *token, char *role, struct cred *cred,
                    struct mst_err *err)
{
    role[strcspn(role, "\r\n")] = '\0';
    char path[256]; /* room for a role's name, which has 64 bytes at most */
    (void)snprintf(path, sizeof path, "meta-data/iam/security-credentials/%s", role);
    char *text = ask_imds(HTTP_GET, base, path, "X-aws-ec2-metadata-token", token, err);
    if (!text)
        return -EACCES;
    int rc = cred_parse_json(text, strlen(text), cred);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    (void)snprintf(cred->source, sizeof cred->source, "the machine's role %.60s", role); /* fits */
    if (rc == -ENOSPC)
        return too_long("a key or the token from ", cred->source, err);
    return rc < 0 ? mst_err_set(err, -EACCES,
                                "the metadata service gives no credentials for role "
                                "%s",
                                role)
                  : 0;
}

static int from_metadata(const struct blob_env *env, const char *region, struct cred *cred,
                         struct mst_err *err)
{
    (void)region;
    if (env->imds_disabled && strcasecmp(env->imds_disabled, "true") == 0)
        return -ENOENT;
    const char *base = env->imds_endpoint ? env->imds_endpoint : "http://169.254.169.254";
    char *token = ask_imds(HTTP_PUT, base, "api/token", "X-aws-ec2-metadata-token-ttl-seconds",
                           "21600", err);
    if (!token)
        return -ENOENT; /* most machines are not in that cloud */
    char *role = ask_imds(HTTP_GET, base, "meta-data/iam/security-credentials/",
                          "X-aws-ec2-metadata-token", token, err);
    int rc = role ? ask_role(base, token, role, cred, err) : -ENOENT;
    free(role);
    free(token);
    return rc;
}

/* A control character in a header would end it early. */
static int check_plain(const struct cred *cred, struct mst_err *err)
{
    const char *what = !blob_env_is_plain(cred->access_key)   ? "access key"
                       : !blob_env_is_plain(cred->secret_key) ? "secret key"
                       : !blob_env_is_plain(cred->token)      ? "session token"
                                                              : NULL;
    if (!what)
        return 0;
    return mst_err_set(err, -EACCES, "the %s of %s has a control character in it: set it anew",
                       what, cred->source);
}

int cred_find(const struct blob_env *env, const char *region, struct cred *ret_cred,
              struct mst_err *err)
{
    static const place_fn places[] = {from_environment, from_profile, from_web_identity,
                                      from_container, from_metadata};
    int rc = -ENOENT;
    struct cred cred = {0};
    for (size_t i = 0; rc == -ENOENT && i < sizeof places / sizeof *places; i++)
        rc = places[i](env, region, &cred, err);
    if (rc == 0)
        rc = check_plain(&cred, err);
    if (rc == 0)
        *ret_cred = cred;
    cred_wipe(&cred);
    if (rc == -ENOENT)
        return mst_err_set(err, -EACCES,
                           "no AWS credentials: none in AWS_ACCESS_KEY_ID, ~/.aws/credentials, "
                           "AWS_WEB_IDENTITY_TOKEN_FILE, the container's endpoint or the metadata "
                           "service");
    return rc;
}

void cred_wipe(struct cred *cred)
{
    OPENSSL_cleanse(cred->secret_key, sizeof cred->secret_key);
    OPENSSL_cleanse(cred->token, sizeof cred->token);
}
