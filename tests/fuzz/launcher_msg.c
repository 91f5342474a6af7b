/* What the agents' codec decodes, it encodes to the same bytes. The first byte is the type. */
#include "muster/launcher/msg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct msg msg;
    uint8_t back[MSG_BYTES_MAX];
    if (size == 0 || msg_decode(data[0], data + 1, size - 1, &msg))
        return 0;
    int back_size = msg_encode(&msg, back, sizeof back);
    if (back_size < 0 || (size_t)back_size != size - 1 || memcmp(back, data + 1, size - 1) != 0)
        abort();
    return 0;
}
