/* Where train_lm's gradients are summed: in the model's own memory, or on a device.
 *
 * It stands on gpu/, which libmuster uses inside and does not offer. A program of your own has its
 * device's memory already: it gives comm the address, and the stream in mst_call.queue. */
#ifndef MUSTER_EXAMPLES_DEVICE_H
#define MUSTER_EXAMPLES_DEVICE_H

#include <stddef.h>
#include <stdint.h>

struct device;
struct mst_err;

/* Opens a local rank's device of "cuda" or "host", with memory for a copy of `count` floats. NULL
 * as the name = no device: then *ret_device is NULL, and stays so in all calls below. 0; -EINVAL,
 * -ENOTSUP no such device; -ENOMEM; -EIO; with text. */
int device_open(const char *name, uint32_t local_rank, size_t count, struct device **ret_device,
                struct mst_err *err);

/* NULL is allowed. */
void device_close(struct device *device);

/* Where comm is to find float `at` of `floats`: on the device, or there. */
float *device_place(const struct device *device, float *floats, size_t at);

/* Copies [at, at + count) of `floats` to the device, or back, and waits for it. 0; -ETIMEDOUT;
 * -EIO. */
int device_put(struct device *device, const float *floats, size_t at, size_t count);
int device_get(struct device *device, float *floats, size_t at, size_t count);

/* What the device said last, "" if it had nothing to say. */
const char *device_error(const struct device *device);

#endif
