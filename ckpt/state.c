#include "muster/ckpt/state.h"

#include "muster/ckpt/manifest.h"
#include "muster/core/err.h"
#include "muster/core/least.h"
#include "muster/core/sized.h"
#include "muster/core/version.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* No tensor of ours comes near it: a larger size is memory that nobody initialised. */
#define TENSOR_BYTES_MAX 65536

/* What every program's tensor has, whatever headers it knows: name, type and shape. */
#define TENSOR_BYTES_MIN offsetof(struct mst_tensor, sharded)

static bool is_plausible(uint32_t tensor_bytes)
{
    return tensor_bytes >= TENSOR_BYTES_MIN && tensor_bytes <= TENSOR_BYTES_MAX &&
           tensor_bytes % _Alignof(struct mst_tensor) == 0;
}

static int check(const struct mst_state *known, struct mst_err *err)
{
    if (!is_plausible(known->tensor_bytes))
        return mst_err_set(err, -EINVAL,
                           "a struct mst_state whose tensor_bytes, %" PRIu32 ", is not the size of "
                           "a struct mst_tensor: begin it with MST_STATE_INIT",
                           known->tensor_bytes);
    if (!known->tensors && known->tensor_count > 0)
        return mst_err_set(err, -EINVAL, "%zu tensors, but state.tensors is NULL",
                           known->tensor_count);
    if (known->tensor_count > MANIFEST_TENSORS_MAX)
        return mst_err_set(err, -EINVAL, "%zu tensors, at most %" PRIu32 ": join small ones",
                           known->tensor_count, MANIFEST_TENSORS_MAX);
    if (known->cursor.size_bytes > MST_CKPT_CURSOR_MAX)
        return mst_err_set(err, -EINVAL, "a cursor of %zu bytes, at most %d",
                           known->cursor.size_bytes, MST_CKPT_CURSOR_MAX);
    return 0;
}

static int take_tensor(struct mst_tensor *ret_tensor, const uint8_t *given, size_t given_bytes,
                       struct mst_err *err)
{
    struct mst_tensor tensor = {0};
    memcpy(&tensor, given, mst_least(given_bytes, sizeof tensor));
    for (size_t i = sizeof tensor; i < given_bytes; i++)
        if (given[i])
            return mst_err_set(err, -ENOTSUP,
                               "tensor %.100s: the program sets a field behind byte %zu of struct "
                               "mst_tensor, which this libmuster %s does not know: install the one "
                               "that it was built with",
                               tensor.name ? tensor.name : "", sizeof tensor, mst_version());
    *ret_tensor = tensor;
    return 0;
}

/* Tensors of the program's size → tensors of ours. */
static int copy_tensors(struct state *state, size_t given_bytes, struct mst_err *err)
{
    const uint8_t *given = (const uint8_t *)state->tensors;
    state->copies = calloc(state->tensor_count + 1, sizeof *state->copies);
    if (!state->copies)
        return mst_err_set(err, -ENOMEM, "no memory for %zu tensors", state->tensor_count);
    state->tensors = state->copies;
    int rc = 0;
    for (size_t i = 0; i < state->tensor_count && rc == 0; i++)
        rc = take_tensor(&state->copies[i], given + i * given_bytes, given_bytes, err);
    return rc;
}

int state_take(struct state *ret_state, const struct mst_state *given, struct mst_err *err)
{
    struct mst_state known;
    int rc = mst_sized_take(&known, sizeof known, given, "MST_STATE_INIT", err);
    if (rc == 0)
        rc = check(&known, err);
    if (rc < 0)
        return rc;
    struct state state = {.tensors = known.tensors,
                          .tensor_count = known.tensor_count,
                          .cursor = known.cursor,
                          .stream = known.stream};
    if (known.tensor_bytes != sizeof *known.tensors)
        rc = copy_tensors(&state, known.tensor_bytes, err);
    if (rc < 0) {
        state_fini(&state);
        return rc;
    }
    *ret_state = state;
    return 0;
}

bool state_on_device(const struct state *state)
{
    for (size_t i = 0; i < state->tensor_count; i++)
        if (state->tensors[i].data.mem == MST_MEM_DEVICE)
            return true;
    return false;
}

void state_fini(struct state *state)
{
    free(state->copies);
    *state = (struct state){0};
}
