/* Frames from any bytes: the stream gives out payloads inside its buffer or says -EBADMSG. The
 * first byte chooses the limit of a payload. */
#include "muster/core/kv/sock.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct mst_stream stream;
    mst_stream_init(&stream, -1);
    if (data[0] < 128)
        stream.payload_max = data[0];
    stream.in = malloc(size);
    if (!stream.in)
        return 0;
    stream.in_cap = size;
    stream.in_size = size - 1;
    memcpy(stream.in, data + 1, size - 1);
    uint8_t type;
    const uint8_t *payload;
    size_t size_bytes;
    while (mst_stream_next(&stream, &type, &payload, &size_bytes) == 1)
        if (payload < stream.in || payload + size_bytes > stream.in + stream.in_size)
            abort();
    mst_stream_fini(&stream);
    return 0;
}
