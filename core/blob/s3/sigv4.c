/* pure */
#include "muster/core/blob/s3/sigv4.h"

#include "muster/core/blob/http/escape.h"
#include "muster/core/blob/s3/sha256.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Room for a canonical request: the path, the query and the session token are its bulk. */
#define CANONICAL_BYTES 16384

/* A text that grows in the caller's memory; once something did not fit, it stays too long. */
struct text {
    char *at;
    size_t used, cap;
};

__attribute__((format(printf, 2, 3))) static void append(struct text *text, const char *format, ...)
{
    if (text->used >= text->cap)
        return;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text->at + text->used, text->cap - text->used, format, args);
    va_end(args);
    text->used += length < 0 ? text->cap : (size_t)length;
}

static bool fits(const struct text *text)
{
    return text->used < text->cap;
}

static void sort_pairs(struct sigv4_pair *pairs, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j > 0 && strcmp(pairs[j - 1].name, pairs[j].name) > 0; j--) {
            struct sigv4_pair pair = pairs[j];
            pairs[j] = pairs[j - 1];
            pairs[j - 1] = pair;
        }
}

int sigv4_query(struct sigv4_pair *pairs, size_t count, char *ret_text, size_t cap)
{
    assert(count <= SIGV4_PAIRS_MAX);
    sort_pairs(pairs, count);
    struct text out = {.at = ret_text, .cap = cap};
    append(&out, "%s", "");
    for (size_t i = 0; i < count && fits(&out); i++) {
        append(&out, "%s%s=", i ? "&" : "", pairs[i].name);
        if (!fits(&out) ||
            http_escape(pairs[i].value, false, out.at + out.used, out.cap - out.used) < 0)
            return -ENOSPC;
        out.used += strlen(out.at + out.used);
    }
    return fits(&out) ? 0 : -ENOSPC;
}

static void append_names(struct text *text, const struct sigv4_request *request)
{
    for (size_t i = 0; i < request->header_count; i++)
        append(text, "%s%s", i ? ";" : "", request->headers[i].name);
}

static int hash_canonical(const struct sigv4_request *request, char ret_hash[SHA256_HEX_BYTES])
{
    char canonical[CANONICAL_BYTES];
    struct text text = {.at = canonical, .cap = sizeof canonical};
    append(&text, "%s\n%s\n%s\n", request->method, request->path, request->query);
    for (size_t i = 0; i < request->header_count; i++)
        append(&text, "%s:%s\n", request->headers[i].name, request->headers[i].value);
    append(&text, "\n");
    append_names(&text, request);
    append(&text, "\n%s", request->payload_hash);
    if (!fits(&text))
        return -ENOSPC;
    uint8_t sum[SHA256_BYTES];
    sha256(canonical, text.used, sum);
    sha256_hex(sum, ret_hash);
    return 0;
}

/* AWS4 + secret → day → region → service → "aws4_request", each the key of the next. */
static void derive_key(const struct sigv4_scope *scope, size_t secret_bytes, const char *secret,
                       uint8_t ret_key[SHA256_BYTES])
{
    sha256_hmac(secret, secret_bytes, scope->date, 8, ret_key);
    const char *const steps[] = {scope->region, scope->service, "aws4_request"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        uint8_t key[SHA256_BYTES];
        memcpy(key, ret_key, sizeof key);
        sha256_hmac(key, sizeof key, steps[i], strlen(steps[i]), ret_key);
    }
}

int sigv4_sign(const struct sigv4_scope *scope, const struct sigv4_request *request,
               char *ret_value, size_t cap)
{
    assert(strlen(scope->date) == SIGV4_DATE_BYTES - 1);
    char canonical_hash[SHA256_HEX_BYTES], place[128], secret[256], to_sign[320];
    if (hash_canonical(request, canonical_hash) < 0)
        return -ENOSPC;
    int place_bytes = snprintf(place, sizeof place, "%.8s/%s/%s/aws4_request", scope->date,
                               scope->region, scope->service);
    int secret_bytes = snprintf(secret, sizeof secret, "AWS4%s", scope->secret_key);
    if (place_bytes >= (int)sizeof place || secret_bytes >= (int)sizeof secret)
        return -ENOSPC;
    int sign_bytes = snprintf(to_sign, sizeof to_sign, "AWS4-HMAC-SHA256\n%s\n%s\n%s", scope->date,
                              place, canonical_hash);
    uint8_t key[SHA256_BYTES], sum[SHA256_BYTES];
    derive_key(scope, (size_t)secret_bytes, secret, key);
    sha256_hmac(key, sizeof key, to_sign, (size_t)sign_bytes, sum);
    char signature[SHA256_HEX_BYTES];
    sha256_hex(sum, signature);
    struct text text = {.at = ret_value, .cap = cap};
    append(&text, "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=", scope->access_key, place);
    append_names(&text, request);
    append(&text, ",Signature=%s", signature);
    return fits(&text) ? 0 : -ENOSPC;
}
