#!/usr/bin/env python3
"""A tensor of PyTorch's is summed over all ranks, saved, cleared and loaded again, and all of that
where it is: on the GPU if there is one, in order with PyTorch's current stream, else on the host.

  torch_tensor.py ROOT    where checkpoints are, or will be"""
import ctypes
import sys

import torch

import tensors


def find_place(on_gpu):
    """Where PyTorch works now: the driver's context, and the stream."""
    if not on_gpu:
        return None, None
    context = ctypes.c_void_p()
    ctypes.CDLL("libcuda.so.1").cuCtxGetCurrent(ctypes.byref(context))
    return context.value, torch.cuda.current_stream().cuda_stream or tensors.DEFAULT_STREAM


def main(root):
    on_gpu = torch.cuda.is_available()
    with tensors.job(root, b"nccl" if on_gpu else None) as job:
        if on_gpu:
            torch.cuda.set_device(job.local_rank if torch.cuda.device_count() > 1 else 0)
        weights = torch.ones(1000, 1000, device="cuda" if on_gpu else "cpu")
        state, place = {"weights": weights}, find_place(on_gpu)
        stream = place[1]
        step = job.load(state, stream) + 1
        expected = (weights + 1) * job.size
        weights += 1
        job.allreduce(weights, stream)  # on a GPU it is enqueued behind that, and nobody waits
        job.save(step, state, stream)
        weights.zero_()  # which the checkpoint has nothing of
        job.drain()
        loaded = job.load(state, stream)
        job.barrier()  # tells what went wrong with the sum
        assert loaded == step and torch.equal(weights, expected)
        assert find_place(on_gpu) == place
        if job.rank == 0:
            name = torch.cuda.get_device_name() if on_gpu else "cpu"
            print(f"torch_tensor: OK on {job.size} ranks, {name}, step {step}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: torch_tensor.py ROOT")
    main(sys.argv[1])
