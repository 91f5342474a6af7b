/* Any text as the record of an owner with a right checksum: it is refused, or what it decodes to
 * can be written and read again with the same result. */
#include "muster/ckpt/fields.h"
#include "muster/ckpt/owner.h"

#include <stdlib.h>
#include <string.h>

/* The input is what follows the checksum. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char head[] = FIELDS_SEAL;
    char text[OWNER_BYTES];
    memset(text, ' ', sizeof text);
    memcpy(text, head, sizeof head - 1);
    if (size > sizeof text - sizeof head)
        size = sizeof text - sizeof head;
    if (size > 0)
        memcpy(text + sizeof head - 1, data, size);
    fields_seal(text, sizeof text);
    struct owner owner, back;
    if (owner_decode(text, sizeof text, &owner, NULL) < 0)
        return 0;
    char first[OWNER_BYTES], second[OWNER_BYTES];
    owner_encode(&owner, first);
    if (owner_decode(first, sizeof first, &back, NULL) < 0)
        abort();
    owner_encode(&back, second);
    if (memcmp(first, second, sizeof first) != 0)
        abort();
    (void)owner_hides(&back, back.token, back.epoch);
    return 0;
}
