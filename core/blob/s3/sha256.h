/* SHA-256 and its HMAC, as signatures of requests need them: libcrypto's, behind a face that pure
 * files can use. Safe from any thread. */
/* pure */
#ifndef MUSTER_CORE_BLOB_S3_SHA256_H
#define MUSTER_CORE_BLOB_S3_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32
#define SHA256_HEX_BYTES 65 /* terminator included */

void sha256(const void *data, size_t size_bytes, uint8_t ret_sum[SHA256_BYTES]);

void sha256_hmac(const void *key, size_t key_bytes, const void *data, size_t size_bytes,
                 uint8_t ret_sum[SHA256_BYTES]);

/* Of `size_bytes` bytes of a file from `offset`. 0; -EIO the file is shorter; -ENOMEM; -errno of
 * pread. */
int sha256_file(int fd, uint64_t offset, uint64_t size_bytes, uint8_t ret_sum[SHA256_BYTES]);

/* Lower-case hexadecimal digits, terminated. */
void sha256_hex(const uint8_t sum[SHA256_BYTES], char ret_text[SHA256_HEX_BYTES]);

#endif
