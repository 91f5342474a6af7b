#include "muster/ckpt/warmer.h"

#include "muster/core/huge.h"
#include "muster/core/least.h"

void warmer_go_on(struct warmer *warmer, size_t size_bytes)
{
    while (size_bytes > 0 && warmer->tensor < warmer->state->tensor_count) {
        const struct mst_span *span = &warmer->state->tensors[warmer->tensor].data;
        size_t piece_bytes = mst_least(span->size_bytes - warmer->at, size_bytes);
        if (span->mem != MST_MEM_DEVICE)
            mst_huge_populate((uint8_t *)span->data + warmer->at, piece_bytes);
        size_bytes -= piece_bytes;
        warmer->at += piece_bytes;
        if (warmer->at == span->size_bytes) {
            warmer->tensor++;
            warmer->at = 0;
        }
    }
}
