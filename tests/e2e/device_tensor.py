#!/usr/bin/env python3
"""device_tensor.py ROOT: a tensor in memory of the FAKE driver's device goes through comm and ckpt,
as a framework would hand it over, on a stream of its own and on the default one."""
import ctypes
import sys
from ctypes import byref, c_size_t, c_void_p

import tensors

cuda = ctypes.CDLL("libcuda.so.1")
capsule = ctypes.pythonapi.PyCapsule_New
capsule.argtypes, capsule.restype = (c_void_p, ctypes.c_char_p, c_void_p), ctypes.py_object
NAME = b"dltensor"  # which a capsule borrows
COUNT = 1000
Values = ctypes.c_float * COUNT
SIZE = c_size_t(ctypes.sizeof(Values))


def ask(function, *given):
    code = getattr(cuda, function)(*given)
    assert code == 0, (function, code)


def new(function, *given):
    made = c_void_p()
    ask(function, byref(made), *given)
    return made


class Tensor:
    def __init__(self, stream):
        self.stream, self.data = stream, new("cuMemAlloc_v2", SIZE)
        self.told = tensors.DLTensor(data=self.data, device_type=tensors.CUDA, ndim=1, code=2,
                                     bits=32, lanes=1, shape=(ctypes.c_int64 * 1)(COUNT))

    def __dlpack_device__(self):
        return tensors.CUDA, 0

    def __dlpack__(self, stream):
        assert stream == -1, "another order is asked for than that of the call"
        return capsule(ctypes.addressof(self.told), NAME, None)

    def copy(self, to, values):
        ask("cuMemcpyAsync", to, values, SIZE, self.stream)
        ask("cuStreamSynchronize", self.stream)

    def write(self, values):
        self.copy(self.data, byref(values))

    def read(self):
        values = Values()
        self.copy(byref(values), self.data)
        return list(values)


def try_out(job, tensor, stream):
    values = Values(*range(COUNT))
    step = job.load({"tensor": tensor}, stream) + 1
    tensor.write(values)
    job.allreduce(tensor, stream)
    job.save(step, {"tensor": tensor}, stream)
    tensor.write(Values())
    job.drain()
    assert job.load({"tensor": tensor}, stream) == step
    job.barrier()
    assert tensor.read() == list(values)


def main(root):
    ask("cuInit", 0)
    context = new("cuDevicePrimaryCtxRetain", 0)
    ask("cuCtxSetCurrent", context)
    stream = new("cuStreamCreate", 1)
    tensor = Tensor(stream)
    for number in (stream.value, tensors.DEFAULT_STREAM):
        with tensors.job(root, b"nccl") as job:
            try_out(job, tensor, number)
    assert new("cuCtxGetCurrent").value == context.value
    ask("cuStreamDestroy_v2", stream)
    ask("cuMemFree_v2", tensor.data)
    print("device_tensor: OK")


if __name__ == "__main__":
    main(sys.argv[1])
