#include "muster/core/blob/s3/sha256.h"

#include "muster/core/file.h"
#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

void sha256(const void *data, size_t size_bytes, uint8_t ret_sum[SHA256_BYTES])
{
    static_assert(SHA256_BYTES == SHA256_DIGEST_LENGTH, "the size of a SHA-256");
    SHA256(data, size_bytes, ret_sum);
}

void sha256_hmac(const void *key, size_t key_bytes, const void *data, size_t size_bytes,
                 uint8_t ret_sum[SHA256_BYTES])
{
    unsigned int length = SHA256_BYTES;
    /* Fails only where a build of OpenSSL has no SHA-256. */
    (void)HMAC(EVP_sha256(), key, (int)key_bytes, data, size_bytes, ret_sum, &length);
}

static int hash_file(EVP_MD_CTX *context, int fd, uint64_t offset, uint64_t size_bytes)
{
    uint8_t chunk[1 << 16];
    while (size_bytes > 0) {
        size_t want = mst_least(size_bytes, sizeof chunk);
        int64_t got = mst_file_pread(fd, chunk, want, offset);
        if (got <= 0)
            return got < 0 ? (int)got : -EIO;
        if (!EVP_DigestUpdate(context, chunk, (size_t)got))
            return -ENOMEM;
        offset += (uint64_t)got;
        size_bytes -= (uint64_t)got;
    }
    return 0;
}

int sha256_file(int fd, uint64_t offset, uint64_t size_bytes, uint8_t ret_sum[SHA256_BYTES])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int rc = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) ? 0 : -ENOMEM;
    if (rc == 0)
        rc = hash_file(context, fd, offset, size_bytes);
    if (rc == 0 && !EVP_DigestFinal_ex(context, ret_sum, NULL))
        rc = -ENOMEM;
    EVP_MD_CTX_free(context);
    return rc;
}

void sha256_hex(const uint8_t sum[SHA256_BYTES], char ret_text[SHA256_HEX_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        ret_text[2 * i] = digits[sum[i] >> 4];
        ret_text[2 * i + 1] = digits[sum[i] & 15];
    }
    ret_text[SHA256_HEX_BYTES - 1] = '\0';
}
