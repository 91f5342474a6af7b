#include "muster/core/blob/s3/cred.h"

#include "muster/core/blob/env.h"
#include "muster/core/blob/s3/cred_parse.h"
#include "muster/core/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/http_script.h"

#define KEYS                                                                                       \
    "{\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\",\"Token\":\"TK\","                         \
    "\"Expiration\":\"2030-01-01T00:00:00Z\"}"

static struct http_script script;
static char folder[] = "/tmp/muster-cred-XXXXXX";

static const char *file_with(const char *name, const char *text)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    const char *const names[] = {"token", "credentials"};
    char path[128];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path); /* not every run makes both */
    }
    return rmdir(folder);
}

static void the_environment_comes_first(void **state)
{
    (void)state;
    struct blob_env env = {.access_key = "AK", .secret_key = "SK", .profile = "nobody"};
    struct cred cred;
    struct mst_err err;
    assert_int_equal(cred_find(&env, "r", &cred, &err), 0);
    assert_string_equal(cred.access_key, "AK");
    assert_string_equal(cred.token, "");
    assert_int_equal(cred.expires_s, 0);
    env.secret_key = NULL;
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    assert_non_null(strstr(err.text, "AWS_SECRET_ACCESS_KEY is not"));
}

static void a_key_is_never_cut(void **state)
{
    (void)state;
    struct cred cred;
    char token[sizeof cred.token + 1] = "";
    memset(token, 't', sizeof token - 1);
    struct blob_env env = {.access_key = "AK", .secret_key = "SK", .session_token = token};
    struct mst_err err;
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    assert_non_null(strstr(err.text, "AWS_SESSION_TOKEN is too long"));
    token[sizeof cred.token - 1] = '\0';
    assert_int_equal(cred_find(&env, "r", &cred, &err), 0);
    assert_string_equal(cred.token, token);
}

static void control_characters_never_reach_a_header(void **state)
{
    (void)state;
    struct cred cred;
    struct mst_err err;
    struct blob_env env = {.access_key = "A\nK", .secret_key = "SK"};
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    assert_non_null(strstr(err.text, "access key of the environment"));
    const char *path = file_with("credentials", "[default]\naws_access_key_id = A\n"
                                                "aws_secret_access_key = hu\tsh\n");
    env = (struct blob_env){.profile_file = path, .config_file = "/nonexistent"};
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    assert_non_null(strstr(err.text, "secret key of profile default"));
    assert_null(strstr(err.text, "hu"));
    static const char *const tokens[] = {"", "\n", "one\ntwo\n"};
    for (size_t i = 0; i < 3; i++) {
        env = (struct blob_env){.container_url = "http://127.0.0.1:1/",
                                .config_file = "/nonexistent",
                                .container_file = file_with("token", tokens[i])};
        assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
        assert_non_null(strstr(err.text, "/token: holds no token"));
    }
}

/* A text with a token of `length` bytes in it. */
static const char *with_token(const char *before, size_t length, const char *after)
{
    static char text[1 << 15];
    size_t used = strlen(before);
    assert_true(used + length + strlen(after) < sizeof text);
    memcpy(text, before, used);
    memset(text + used, 't', length);
    memcpy(text + used + length, after, strlen(after) + 1);
    return text;
}

#define TOKEN_MAX (sizeof((struct cred *)0)->token - 1)

static void a_profile_is_never_cut(void **state)
{
    (void)state;
    const char *begin = "[x]\naws_access_key_id=A\naws_secret_access_key=S\naws_session_token=";
    struct blob_env env = {.config_file = "/nonexistent", .profile = "x"};
    struct cred cred;
    struct mst_err err;
    env.profile_file = file_with("credentials", with_token(begin, TOKEN_MAX + 1, "\n"));
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    assert_string_equal(err.text, "a key or the token from profile x is too long: the limits are "
                                  "127, 127 and 4095 bytes");
    env.profile_file = file_with("credentials", with_token(begin, 6000, "\n"));
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    env.profile_file = file_with("credentials", with_token(begin, TOKEN_MAX, "\n"));
    assert_int_equal(cred_find(&env, "r", &cred, &err), 0);
    assert_int_equal(strlen(cred.token), TOKEN_MAX);
    env.profile_file = "/dev/zero"; /* never ends */
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    assert_non_null(strstr(err.text, "profile x: its file cannot be read: "));
    begin = "[x]\naws_access_key_id=A\naws_secret_access_key=";
    env.profile_file = file_with("credentials", with_token(begin, 128, "\n"));
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
}

static void profiles_are_read(void **state)
{
    (void)state;
    const char *path = file_with("credentials", "# mine\n[default]\naws_access_key_id = A1\n"
                                                "aws_secret_access_key=S1\n[other]\n"
                                                "aws_access_key_id=A2\r\n"
                                                "aws_secret_access_key =  S2 \r\n"
                                                "aws_session_token=T2\nregion = eu-west-1\n"
                                                "[half]\naws_access_key_id=A3\n");
    struct blob_env env = {.profile_file = path, .config_file = "/nonexistent"};
    struct cred cred;
    struct mst_err err;
    assert_int_equal(cred_find(&env, "r", &cred, &err), 0);
    assert_string_equal(cred.secret_key, "S1");
    env.profile = "other";
    assert_int_equal(cred_find(&env, "r", &cred, &err), 0);
    assert_string_equal(cred.access_key, "A2");
    assert_string_equal(cred.secret_key, "S2");
    assert_string_equal(cred.token, "T2");
    assert_string_equal(cred.region, "eu-west-1");
    env.profile = "half";
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    env.profile = "none";
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    assert_non_null(strstr(err.text, "profile none"));
}

/* STS is the script. */
static struct blob_env with_web_identity(void)
{
    static char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", script.port);
    return (struct blob_env){.role_arn = "arn:aws:iam::1:role/r",
                             .identity_file = file_with("token", "a.b/c\n"),
                             .sts_endpoint = url};
}

static void a_web_identity_is_exchanged(void **state)
{
    (void)state;
    script_start(&script,
                 STEPS({REPLY("200 OK", "<AssumeRoleWithWebIdentityResponse>"
                                        "<AssumeRoleWithWebIdentityResult><Credentials>"
                                        "<AccessKeyId>AK</AccessKeyId><SecretAccessKey>SK"
                                        "</SecretAccessKey><SessionToken>TK</SessionToken>"
                                        "<Expiration>2030-01-01T00:00:00Z</Expiration>"
                                        "</Credentials></AssumeRoleWithWebIdentityResult>"
                                        "</AssumeRoleWithWebIdentityResponse>"),
                        SCRIPT_CLOSE},
                       {REPLY("403 Forbidden", "<Error>Expired</Error>"), SCRIPT_CLOSE}),
                 2);
    struct blob_env env = with_web_identity();
    struct cred cred;
    struct mst_err err;
    assert_int_equal(cred_find(&env, "r", &cred, &err), 0);
    assert_string_equal(cred.token, "TK");
    assert_int_equal(cred.expires_s, 1893456000);
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    assert_non_null(strstr(err.text, "STS answers 403"));
    script_stop(&script);
    assert_non_null(strstr(script.requests[0],
                           "\r\n\r\nAction=AssumeRoleWithWebIdentity&"
                           "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=muster&"
                           "Version=2011-06-15&WebIdentityToken=a.b%2Fc"));
}

#define SESSION_BEGIN                                                                              \
    "<R><Credentials><AccessKeyId>AK</AccessKeyId><SecretAccessKey>SK</SecretAccessKey>"           \
    "<SessionToken>"
#define SESSION_END "</SessionToken></Credentials></R>"

static void a_web_identity_is_never_cut(void **state)
{
    (void)state;
    static char long_reply[8192], reply[8192];
    snprintf(long_reply, sizeof long_reply, "HTTP/1.1 200 OK\r\n\r\n%s",
             with_token(SESSION_BEGIN, TOKEN_MAX + 1, SESSION_END));
    snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\n\r\n%s",
             with_token(SESSION_BEGIN, TOKEN_MAX, SESSION_END));
    script_start(&script, STEPS({long_reply, SCRIPT_CLOSE}, {reply, SCRIPT_CLOSE}), 2);
    struct blob_env env = with_web_identity();
    struct cred cred;
    struct mst_err err;
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    assert_string_equal(err.text, "a key or the token from STS is too long: the limits are 127, "
                                  "127 and 4095 bytes");
    assert_int_equal(cred_find(&env, "r", &cred, &err), 0);
    assert_int_equal(strlen(cred.token), TOKEN_MAX);
    script_stop(&script);
    env.identity_file = file_with("token", with_token("", 16384, "\n"));
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    assert_non_null(strstr(err.text, "/token: is over 16383 bytes"));
}

static void a_container_is_asked(void **state)
{
    (void)state;
    script_start(
        &script,
        STEPS({REPLY("200 OK", KEYS), SCRIPT_CLOSE}, {REPLY("200 OK", "{}"), SCRIPT_CLOSE}), 2);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/credentials", script.port);
    struct blob_env env = {.container_url = url, .container_file = file_with("token", "jwt\n")};
    struct cred cred;
    struct mst_err err;
    assert_int_equal(cred_find(&env, "r", &cred, &err), 0);
    assert_string_equal(cred.access_key, "AK");
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    script_stop(&script);
    assert_non_null(strstr(script.requests[0], "GET /v1/credentials HTTP/1.1\r\n"));
    assert_non_null(strstr(script.requests[0], "Authorization: jwt\r\n"));
    const char *const strangers[] = {"http://10.0.0.1/", "http://127.0.0.1.evil/", "ftp://x"};
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        env.container_url = strangers[i];
        assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
        assert_non_null(strstr(err.text, "plain HTTP"));
    }
}

static void a_container_is_never_cut(void **state)
{
    (void)state;
    static char reply[8192];
    snprintf(reply, sizeof reply, "HTTP/1.1 200 OK\r\n\r\n%s",
             with_token("{\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"SK\",\"Token\":\"",
                        TOKEN_MAX + 1, "\"}"));
    script_start(&script, STEPS({reply, SCRIPT_CLOSE}), 1);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/credentials", script.port);
    struct blob_env env = {.container_url = url};
    struct cred cred;
    struct mst_err err;
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    script_stop(&script);
    assert_string_equal(err.text, "a key or the token from the container's credential endpoint is "
                                  "too long: the limits are 127, 127 and 4095 bytes");
    env.container_token = with_token("", 16384, "");
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    assert_string_equal(err.text, "AWS_CONTAINER_AUTHORIZATION_TOKEN is over 16383 bytes");
}

static void the_machine_is_asked_last(void **state)
{
    (void)state;
    script_start(&script,
                 STEPS({REPLY("200 OK", "imds-token"), SCRIPT_CLOSE},
                       {REPLY("200 OK", "role\n"), SCRIPT_CLOSE},
                       {REPLY("200 OK", KEYS), SCRIPT_CLOSE},
                       {REPLY("404 Not Found", ""), SCRIPT_CLOSE}),
                 4);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", script.port);
    struct blob_env env = {.imds_endpoint = url};
    struct cred cred;
    struct mst_err err;
    assert_int_equal(cred_find(&env, "r", &cred, &err), 0);
    assert_string_equal(cred.source, "the machine's role role");
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    script_stop(&script);
    assert_non_null(strstr(script.requests[0], "PUT /latest/api/token HTTP/1.1\r\n"));
    assert_non_null(strstr(script.requests[2], "/security-credentials/role HTTP/1.1\r\n"));
    assert_non_null(strstr(script.requests[2], "X-aws-ec2-metadata-token: imds-token\r\n"));
    env.imds_disabled = "true";
    assert_int_equal(cred_find(&env, "r", &cred, &err), -EACCES);
    assert_non_null(strstr(err.text, "no AWS credentials"));
    assert_non_null(strstr(err.text, "AWS_ACCESS_KEY_ID"));
}

static void times_are_read(void **state)
{
    (void)state;
    assert_int_equal(cred_parse_time("1970-01-02T00:00:01Z"), 86401);
    assert_int_equal(cred_parse_time("1970-01-02T00:00:01.25Z"), 86401);
    assert_int_equal(cred_parse_time("1970-01-02"), 0);
    assert_int_equal(cred_parse_time(""), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_comes_first),
        cmocka_unit_test(a_key_is_never_cut),
        cmocka_unit_test(control_characters_never_reach_a_header),
        cmocka_unit_test(profiles_are_read),
        cmocka_unit_test(a_profile_is_never_cut),
        cmocka_unit_test(a_web_identity_is_exchanged),
        cmocka_unit_test(a_web_identity_is_never_cut),
        cmocka_unit_test(a_container_is_asked),
        cmocka_unit_test(a_container_is_never_cut),
        cmocka_unit_test(the_machine_is_asked_last),
        cmocka_unit_test(times_are_read),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
