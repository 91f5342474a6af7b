"""Muster for the tensors of any framework that speaks DLPack: their bytes go through collectives
and checkpoints where they are, in memory of the host or of a device.

It is as much of libmuster as torch_tensor.py needs, by ctypes. The dynamic linker finds the
libraries: where they are not installed, LD_LIBRARY_PATH names their folder. What is declared here
is as the headers have it, which tests/e2e/test_torch.sh compares."""
import contextlib
import ctypes
import errno
import math
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p

MST_I8, MST_U8, MST_I16, MST_U16, MST_I32, MST_U32, MST_I64, MST_U64 = range(8)
MST_F16, MST_BF16, MST_F32, MST_F64 = range(8, 12)
MST_SUM = 0
MST_MEM_HOST, MST_MEM_PINNED, MST_MEM_DEVICE = range(3)
DEFAULT_STREAM = 1  # where a framework says 0
TIMEOUT_MS = 60000


# ---- as in the headers ---------------------------------------------------------------------------

class mst_err(ctypes.Structure):
    _fields_ = [("code", c_int), ("text", ctypes.c_char * 240)]


class mst_span(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("size_bytes", c_size_t), ("mem", c_int)]


class mst_tensor(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("dtype", c_int), ("dim_count", c_uint32),
                ("shape", c_uint64 * 8), ("sharded", ctypes.c_bool), ("row_start", c_uint64),
                ("row_count", c_uint64), ("data", mst_span)]


class Sized(ctypes.Structure):
    """Zeros, but for its size and what is given."""

    def __init__(self, **fields):
        super().__init__(struct_bytes=ctypes.sizeof(self), **fields)


class mst_call(Sized):
    _fields_ = [("struct_bytes", c_uint32), ("deadline_ns", c_uint64), ("ret_req", c_void_p),
                ("queue", c_void_p), ("enqueue", c_uint64)]


class mst_comm_opts(Sized):
    _fields_ = [("struct_bytes", c_uint32), ("timeout_ms", c_uint32), ("backend", c_char_p)]


class mst_ckpt_opts(Sized):
    _fields_ = [("struct_bytes", c_uint32), ("keep", c_uint32), ("timeout_ms", c_uint32),
                ("uri", c_char_p), ("staging_dir", c_char_p), ("read_only", c_uint32),
                ("take_root", c_uint32), ("device", c_uint64)]


class mst_state(Sized):
    _fields_ = [("struct_bytes", c_uint32), ("tensor_bytes", c_uint32),
                ("tensors", POINTER(mst_tensor)), ("tensor_count", c_size_t), ("cursor", mst_span),
                ("stream", c_void_p)]


class mst_ckpt_loaded(Sized):
    _fields_ = [("struct_bytes", c_uint32), ("saved_world_size", c_uint32), ("step", c_uint64),
                ("skipped_count", c_uint32), ("cursor_bytes", c_size_t),
                ("cursor", ctypes.c_uint8 * 4096)]


COMM = {"mst_world_from_env": (POINTER(c_void_p), POINTER(mst_err)),
        "mst_world_destroy": (c_void_p,),
        "mst_world_local_rank": (c_void_p,),
        "mst_deadline_ms": (c_uint64,),
        "mst_kv_dial": (c_void_p, c_uint64, POINTER(c_void_p), POINTER(mst_err)),
        "mst_kv_close": (c_void_p,),
        "mst_comm_create": (c_void_p, c_void_p, POINTER(mst_comm_opts), POINTER(c_void_p),
                            POINTER(mst_err)),
        "mst_comm_destroy": (c_void_p,),
        "mst_comm_rank": (c_void_p,),
        "mst_comm_size": (c_void_p,),
        "mst_comm_error": (c_void_p,),
        "mst_comm_allreduce": (c_void_p, c_void_p, c_void_p, c_size_t, c_int, c_int,
                               POINTER(mst_call)),
        "mst_comm_barrier": (c_void_p, POINTER(mst_call))}
CKPT = {"mst_ckpt_open": (POINTER(mst_ckpt_opts), c_void_p, c_void_p, POINTER(c_void_p),
                          POINTER(mst_err)),
        "mst_ckpt_close": (c_void_p,),
        "mst_ckpt_error": (c_void_p,),
        "mst_ckpt_save": (c_void_p, c_uint64, POINTER(mst_state), c_uint64),
        "mst_ckpt_drain": (c_void_p, c_uint64),
        "mst_ckpt_load": (c_void_p, POINTER(mst_state), POINTER(mst_ckpt_loaded), c_uint64,
                          POINTER(mst_err))}


def library(name, functions):
    """Which has these functions, with the types of their arguments."""
    found = ctypes.CDLL(name)
    for function, types in functions.items():
        getattr(found, function).argtypes = types
        if function.endswith("_error"):
            getattr(found, function).restype = c_char_p
    return found


comm, ckpt = library("libmuster-comm.so.0", COMM), library("libmuster-ckpt.so.0", CKPT)
comm.mst_deadline_ms.restype = c_uint64


# ---- tensors -------------------------------------------------------------------------------------

class DLTensor(ctypes.Structure):
    """What a capsule called dltensor begins with."""
    _fields_ = [("data", c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
                ("lanes", ctypes.c_uint16), ("shape", POINTER(ctypes.c_int64)),
                ("strides", POINTER(ctypes.c_int64)), ("byte_offset", c_uint64)]


CPU, CUDA, CUDA_HOST = 1, 2, 3
MEMS = {CPU: MST_MEM_HOST, CUDA: MST_MEM_DEVICE, CUDA_HOST: MST_MEM_PINNED}
DTYPES = {(0, 8): MST_I8, (0, 16): MST_I16, (0, 32): MST_I32, (0, 64): MST_I64,
          (1, 8): MST_U8, (1, 16): MST_U16, (1, 32): MST_U32, (1, 64): MST_U64,
          (2, 16): MST_F16, (2, 32): MST_F32, (2, 64): MST_F64, (4, 16): MST_BF16}

pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.argtypes, pointer_of.restype = (ctypes.py_object, c_char_p), c_void_p


def is_in_a_row(shape, strides):
    """Whether elements follow one another, the last dimension's first."""
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides)):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def look(tensor, name=""):
    """What libmuster is told of a tensor, which it borrows. Its stream is not waited for."""
    on_cuda = tensor.__dlpack_device__()[0] == CUDA
    capsule = tensor.__dlpack__(stream=-1) if on_cuda else tensor.__dlpack__()
    dl = DLTensor.from_address(pointer_of(capsule, b"dltensor"))
    shape = dl.shape[:dl.ndim] if dl.ndim else []
    if dl.strides and 0 not in shape and not is_in_a_row(shape, dl.strides[:dl.ndim]):
        raise ValueError(f"tensor {name!r} is not contiguous")
    if dl.device_type not in MEMS or (dl.code, dl.bits) not in DTYPES or dl.lanes != 1:
        raise ValueError(f"tensor {name!r} is of a type, or on a device, that Muster does not know")
    span = mst_span((dl.data or 0) + dl.byte_offset, math.prod(shape) * dl.bits // 8,
                    MEMS[dl.device_type])
    return mst_tensor(name=name.encode(), dtype=DTYPES[dl.code, dl.bits], dim_count=dl.ndim,
                      shape=(c_uint64 * 8)(*shape), data=span)


def state(tensors, stream):
    """The same of all that a checkpoint holds: a dict of names and tensors."""
    told = (mst_tensor * len(tensors))(*(look(tensors[name], name) for name in tensors))
    return mst_state(tensor_bytes=ctypes.sizeof(mst_tensor), tensors=told, tensor_count=len(told),
                     stream=stream)


# ---- a job ---------------------------------------------------------------------------------------

class Failure(Exception):
    """A call of libmuster's, in its words."""


def check(code, text):
    if code < 0:
        raise Failure(text.decode(errors="replace"))


def soon():
    return comm.mst_deadline_ms(TIMEOUT_MS)


class Job:
    """This rank's communicator and checkpoints. A stream is the handle of a CUDA stream, never 0,
    or None where tensors are the host's."""

    def __init__(self, opened, root, backend):
        def open_one(make, end, *words):
            made, err = c_void_p(), mst_err()
            check(make(*words, byref(made), byref(err)), err.text)
            opened.callback(end, made)
            return made

        self.world = open_one(comm.mst_world_from_env, comm.mst_world_destroy)
        kv = open_one(comm.mst_kv_dial, comm.mst_kv_close, self.world, soon())
        self.comm = open_one(comm.mst_comm_create, comm.mst_comm_destroy, self.world, kv,
                             mst_comm_opts(backend=backend))
        self.ckpt = open_one(ckpt.mst_ckpt_open, ckpt.mst_ckpt_close,
                             mst_ckpt_opts(uri=root.encode()), self.world, kv)
        self.rank, self.size = comm.mst_comm_rank(self.comm), comm.mst_comm_size(self.comm)
        self.local_rank = comm.mst_world_local_rank(self.world)

    def allreduce(self, tensor, stream=None):
        """Sums it in place. With a stream that is done there, and the host does not wait for it."""
        told = look(tensor)
        call = mst_call(queue=stream, enqueue=stream is not None)
        count = math.prod(told.shape[:told.dim_count])
        check(comm.mst_comm_allreduce(self.comm, told.data.data, told.data.data, count, told.dtype,
                                      MST_SUM, call), comm.mst_comm_error(self.comm))

    def barrier(self):
        """Then all that was enqueued is done, or it is told what has failed."""
        check(comm.mst_comm_barrier(self.comm, None), comm.mst_comm_error(self.comm))

    def save(self, step, tensors, stream=None):
        """Tensors may be changed once this has returned; drain tells how it has ended."""
        check(ckpt.mst_ckpt_save(self.ckpt, step, state(tensors, stream), soon()),
              ckpt.mst_ckpt_error(self.ckpt))

    def drain(self):
        check(ckpt.mst_ckpt_drain(self.ckpt, soon()), ckpt.mst_ckpt_error(self.ckpt))

    def load(self, tensors, stream=None):
        """Fills them. The step that they were saved at, 0 if there is no checkpoint."""
        loaded, err = mst_ckpt_loaded(), mst_err()
        code = ckpt.mst_ckpt_load(self.ckpt, state(tensors, stream), loaded, soon(), err)
        if code == -errno.ENOENT:
            return 0
        check(code, err.text)
        return loaded.step


@contextlib.contextmanager
def job(root, backend=None):
    """A Job over `backend` (b"host", b"nccl" …) whose checkpoints are at `root`."""
    with contextlib.ExitStack() as opened:
        yield Job(opened, root, backend)
