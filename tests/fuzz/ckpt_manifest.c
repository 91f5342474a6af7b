/* Any text as a manifest with a right checksum, and as a vote: it is refused, or what it decodes to
 * can be written and read again with the same result. */
#include "muster/ckpt/manifest.h"
#include "muster/core/crc32c.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char head[] = "{\"crc32c\":\"00000000\"";

static void check_again(const struct manifest *manifest)
{
    char *text;
    size_t size;
    if (manifest_encode(manifest, &text, &size) < 0)
        abort();
    struct manifest back = {0};
    if (manifest_decode(text, size, &back, NULL) < 0)
        abort();
    char *again;
    size_t again_size;
    if (manifest_encode(&back, &again, &again_size) < 0 || again_size != size ||
        memcmp(text, again, size) != 0)
        abort();
    (void)manifest_check_cover(&back, NULL);
    free(text);
    free(again);
    manifest_fini(&back);
}

static void try_vote(const char *text, size_t size)
{
    uint64_t shape[2] = {20, 104857};
    struct layout_tensor tensors[2];
    if (layout_tensor_init(&tensors[0], "model/w", MST_F32, 2, shape, NULL) < 0 ||
        layout_tensor_init(&tensors[1], "b", MST_BF16, 1, shape, NULL) < 0)
        abort();
    const struct manifest_ballot ballot = {.tensors = tensors, .tensor_count = 2, .fingerprint = 9};
    struct manifest_vote vote = {0};
    if (manifest_vote_decode(&ballot, text, size, &vote, NULL) == 0)
        manifest_file_fini(&vote.file);
}

/* The input is what follows the checksum. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t head_size = sizeof head - 1;
    char *text = malloc(head_size + size + 1);
    if (!text)
        return 0;
    memcpy(text, head, head_size);
    if (size > 0)
        memcpy(text + head_size, data, size);
    char digits[9];
    snprintf(digits, sizeof digits, "%08" PRIx32, mst_crc32c(0, text + head_size, size));
    memcpy(text + head_size - 9, digits, 8);
    struct manifest manifest = {0};
    struct mst_err err;
    if (manifest_decode(text, head_size + size, &manifest, &err) == 0) {
        check_again(&manifest);
        manifest_fini(&manifest);
    }
    try_vote((const char *)data, size);
    free(text);
    return 0;
}
