#!/usr/bin/env python3
"""checkpoint.py safetensors|h5py DIR MIB: what perf/drivers/checkpoint.c saves and loads, by
another format: two processes, each with a file of its own. Prints the seconds of a save, until it
is durable, and of a load in fresh processes of files that were dropped from memory, the slower
one's."""
import multiprocessing
import os
import sys
import time

FORMAT, DIR, MIB = sys.argv[1], sys.argv[2], int(sys.argv[3])
RANKS, TENSORS, COLUMNS = 2, 64, 1024
ROWS = (MIB << 20) // TENSORS // COLUMNS // 4 // RANKS


def tensors(rank):
    import numpy
    made = numpy.random.default_rng(rank)
    return {f"layer{i:02}": made.random((ROWS, COLUMNS), dtype=numpy.float32)
            for i in range(TENSORS)}


def path(rank):
    return os.path.join(DIR, f"rank{rank}")


def fsync(name, drop=False):
    fd = os.open(name, os.O_RDONLY)
    os.fsync(fd)
    if drop:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def write(name, state):
    if FORMAT == "h5py":
        import h5py
        with h5py.File(name, "w", libver="latest") as file:
            for key, value in state.items():
                file.create_dataset(key, data=value)
    else:
        from safetensors.numpy import save_file
        save_file(state, name)
    fsync(name)
    fsync(DIR)


def read(name):
    if FORMAT == "h5py":
        import h5py
        import numpy
        state = {key: numpy.empty((ROWS, COLUMNS), numpy.float32) for key in h5py.File(name)}
        with h5py.File(name) as file:
            for key, value in state.items():
                file[key].read_direct(value)
        return state
    from safetensors.numpy import load_file
    return load_file(name)


def timed(meet, times, work):
    meet.wait()
    began = time.perf_counter()
    result = work()
    times.put(time.perf_counter() - began)
    return result


def save(rank, meet, times):
    state = tensors(rank)
    timed(meet, times, lambda: write(path(rank), state))


def load(rank, meet, times):
    import numpy
    __import__("h5py" if FORMAT == "h5py" else "safetensors.numpy")
    fsync(path(rank), drop=True)
    state = timed(meet, times, lambda: read(path(rank)))
    for key, value in tensors(rank).items():
        if not numpy.array_equal(value, state[key]):
            raise SystemExit("checkpoint.py: wrong bytes")


def slowest(work):
    """Seconds of the slower of two new processes."""
    meet, times = multiprocessing.Barrier(RANKS), multiprocessing.Queue()
    ranks = [multiprocessing.Process(target=work, args=(rank, meet, times))
             for rank in range(RANKS)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    if any(rank.exitcode for rank in ranks):
        sys.exit("checkpoint.py: a process failed")
    return max(times.get() for _ in ranks)


print(f"{slowest(save):.6f} {slowest(load):.6f}")
