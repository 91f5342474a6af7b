#include "muster/ckpt/device.h"

#include "muster/core/clock.h"
#include "muster/core/err.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

int device_explain(const struct device *device, int rc, const char *what, struct mst_err *err)
{
    const char *words = mst_gpu_error(device->gpu);
    return mst_err_set(err, rc, "%s: %s: %s", mst_gpu_name(device->gpu), what,
                       *words ? words : mst_err_meaning(rc));
}

int device_open(struct device *device, const struct state *state, struct mst_err *err)
{
    if (!state_on_device(state) || device->queue)
        return 0;
    int rc = device->gpu ? 0 : mst_gpu_open(&device->opts, &device->gpu, err);
    if (rc < 0) {
        mst_err_wrap(err, "a tensor is in memory of a device");
        return rc;
    }
    rc = mst_gpu_queue_create(device->gpu, &device->queue);
    return rc < 0 ? device_explain(device, rc, "no queue", err) : 0;
}

/* A device that is asked for another one's, or for what is not there, may be lost for good. */
static int check_memory(const struct device *device, const struct mst_tensor *tensor,
                        struct mst_err *err)
{
    const struct mst_span *span = &tensor->data;
    if (span->mem != MST_MEM_DEVICE || span->size_bytes == 0)
        return 0;
    if (span->data && mst_gpu_has(device->gpu, span->data, span->size_bytes))
        return 0;
    return mst_err_set(err, -EINVAL, "tensor %.100s: its %zu bytes at %p are not in memory of %s",
                       tensor->name ? tensor->name : "", span->size_bytes, span->data,
                       mst_gpu_name(device->gpu));
}

/* One whose stream it is: the first that is there. */
static const char *tensor_there(const struct state *state)
{
    size_t i = 0;
    while (state->tensors[i].data.mem != MST_MEM_DEVICE)
        i++;
    return state->tensors[i].name ? state->tensors[i].name : "";
}

/* Text for a stream that tensors of `state` do not go by, and what to do about it. Returns rc. */
static int refuse_stream(const struct device *device, const struct state *state, int rc,
                         struct mst_err *err, const char *words)
{
    return mst_err_set(err, rc, "tensor %.40s in memory of %.30s: state.stream %p %s",
                       tensor_there(state), mst_gpu_name(device->gpu), state->stream, words);
}

static int mark_stream(const struct device *device, const struct state *state,
                       struct mst_gpu_event **ret_event, struct mst_err *err)
{
    char words[160];
    int rc = mst_gpu_event_of_stream(device->gpu, state->stream, ret_event);
    switch (rc) {
    case 0: return 0;
    case -EINVAL: return refuse_stream(device, state, rc, err, "is no stream of that device");
    case -EBUSY:
        (void)snprintf(words, sizeof words, "%s: call outside the capture",
                       mst_gpu_busy_words(state->stream));
        return refuse_stream(device, state, -ENOTSUP, err, words);
    default: return refuse_stream(device, state, rc, err, mst_err_meaning(rc));
    }
}

static int await_stream(const struct device *device, const struct state *state,
                        uint64_t deadline_ns, struct mst_err *err)
{
    struct mst_gpu_event *event = NULL;
    int rc = mark_stream(device, state, &event, err);
    if (rc < 0)
        return rc;
    rc = mst_gpu_event_wait(event, deadline_ns);
    mst_gpu_event_destroy(event);
    if (rc == -ETIMEDOUT)
        return refuse_stream(device, state, rc, err, "has not done in time what it held");
    return rc < 0 ? device_explain(device, rc, "state.stream", err) : 0;
}

int device_join(struct device *device, const struct state *state, uint64_t deadline_ns,
                struct mst_err *err)
{
    if (!state_on_device(state))
        return 0;
    int rc = device_open(device, state, err);
    if (rc == 0)
        rc = await_stream(device, state, deadline_ns, err);
    for (size_t i = 0; i < state->tensor_count && rc == 0; i++)
        rc = check_memory(device, &state->tensors[i], err);
    return rc;
}

int device_reserve(struct device *device, size_t size_bytes, struct mst_err *err)
{
    if (size_bytes <= device->sums.size_bytes)
        return 0;
    mst_gpu_free(device->gpu, &device->sums);
    int rc = mst_gpu_alloc(device->gpu, size_bytes, MST_MEM_DEVICE, &device->sums);
    return rc < 0 ? device_explain(device, rc, "no memory for checksums", err) : 0;
}

int device_copy(struct device *device, void *to, const void *from, size_t size_bytes,
                struct mst_err *err)
{
    int rc = mst_gpu_copy(device->queue, to, from, size_bytes);
    return rc < 0 ? device_explain(device, rc, "copy", err) : 0;
}

/* A queue of which nobody knows what it still holds is known to hold nothing once it has gone. */
int device_finish(struct device *device, struct mst_err *err)
{
    if (!device->queue)
        return 0;
    int rc = mst_gpu_queue_wait(device->queue, MST_NEVER);
    if (rc == 0)
        return 0;
    mst_gpu_queue_destroy(device->queue);
    device->queue = NULL;
    return device_explain(device, rc, "copies", err);
}

void device_close(struct device *device)
{
    mst_gpu_queue_destroy(device->queue);
    if (device->gpu)
        mst_gpu_free(device->gpu, &device->sums);
    mst_gpu_close(device->gpu);
    device->queue = NULL;
    device->gpu = NULL;
}
