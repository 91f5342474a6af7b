/* pure */
#include "muster/ckpt/reshard.h"

#include "muster/core/least.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static int compare_boxes(const void *a, const void *b)
{
    const struct reshard_box *x = a, *y = b;
    if (x->tensor != y->tensor)
        return x->tensor < y->tensor ? -1 : 1;
    return (x->row_start > y->row_start) - (x->row_start < y->row_start);
}

void reshard_sort(struct reshard_box *boxes, size_t count)
{
    if (count > 0)
        qsort(boxes, count, sizeof *boxes, compare_boxes);
}

/* The first box whose tensor is >= `tensor`. */
static size_t lower_bound(const struct reshard_box *boxes, size_t count, uint64_t tensor)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (boxes[middle].tensor < tensor)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct reshard_slice reshard_slice(const struct reshard_box *boxes, size_t count, uint32_t tensor)
{
    size_t first = lower_bound(boxes, count, tensor);
    size_t end = lower_bound(boxes, count, (uint64_t)tensor + 1);
    assert(first <= end && end <= count);
    return (struct reshard_slice){boxes + first, end - first};
}

static uint64_t end_of(const struct reshard_box *box)
{
    return box->row_start + box->row_count;
}

int64_t reshard_plan(const struct reshard_slice *slice, uint64_t row_start, uint64_t row_count,
                     struct reshard_piece *pieces, size_t cap, uint64_t *ret_row)
{
    uint64_t next = row_start, end = row_start + row_count;
    size_t piece_count = 0;
    for (size_t i = 0; i < slice->count && slice->boxes[i].row_start < end; i++) {
        const struct reshard_box *box = &slice->boxes[i];
        uint64_t stop = mst_least(end_of(box), end);
        if (box->row_count == 0 || stop <= row_start)
            continue;
        if (box->row_start > next)
            break;
        if (box->row_start < next && next > row_start) {
            *ret_row = box->row_start > row_start ? box->row_start : row_start;
            return -EBADMSG;
        }
        if (piece_count == cap)
            return -ENOSPC;
        pieces[piece_count++] = (struct reshard_piece){(uint32_t)i, next, stop - next};
        next = stop;
    }
    if (next < end) {
        *ret_row = next;
        return -EBADMSG;
    }
    assert(next == end); /* the pieces follow one another from the first row to the last */
    return (int64_t)piece_count;
}
