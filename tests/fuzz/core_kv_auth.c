/* The acceptor against any frames: each is a type byte, a size byte and a payload. Nobody who does
 * not know the secret is ever let in. */
#include "muster/core/err.h"
#include "muster/core/kv/auth.h"
#include "muster/core/kv/sock.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t secret[] = "not in the corpus";
    struct mst_stream stream;
    mst_stream_init(&stream, -1); /* what is put on it fails to be written, and is dropped */
    struct mst_auth_acceptor acceptor;
    mst_auth_acceptor_init(
        &acceptor, &(struct mst_auth_terms){.secret = secret, .secret_bytes = sizeof secret});
    struct mst_err err;
    while (size >= 2) {
        size_t size_bytes = data[1] < size - 2 ? data[1] : size - 2;
        if (mst_auth_acceptor_step(&acceptor, &stream, data[0], data + 2, size_bytes, &err) == 1)
            abort();
        data += 2 + size_bytes;
        size -= 2 + size_bytes;
    }
    mst_stream_fini(&stream);
    return 0;
}
