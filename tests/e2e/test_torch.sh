#!/bin/bash
# examples/tensors.py, torch_tensor.py: what they declare is what the headers say; tensors of numpy,
# of a fake device and of PyTorch go through collectives and checkpoints as they are. MUSTER_TORCH:
# a Python that has PyTorch, where the system's has none.
source "$(dirname "$0")/lib.sh"
root=$(cd "$here/../.." && pwd)
libraries=$MUSTER_BIN
[ -e "$libraries/libmuster-ckpt.so.0" ] || libraries=$(cd "$MUSTER_BIN/../lib" && pwd)
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PYTHONDONTWRITEBYTECODE=1
! nm -D "$libraries/libmuster-core.so.0" | grep '__[at]san_init' >/dev/null ||
    skip "no Python loads a build with a sanitizer"

# declared FOLDER: whether tensors.py there says what the headers say.
mkdir "$work/include"
ln -s "$root" "$work/include/muster"
declared() {
    PYTHONPATH=$1 /usr/bin/python3 - >"$work/declared.c" <<'PY' || fail "tensors.py is no program"
import ctypes, tensors
print('#include "muster/muster.h"\n#include <assert.h>')
for name, kind in vars(tensors).items():
    if name.startswith("MST_"):
        print(f'static_assert({name} == {kind}, "{name}");')
    elif name.startswith("mst_"):
        print(f'static_assert(sizeof(struct {name}) == {ctypes.sizeof(kind)}, "{name}");')
        for field, _ in kind._fields_:
            at, size = getattr(kind, field).offset, getattr(kind, field).size
            print(f'static_assert(offsetof(struct {name}, {field}) == {at}, "{name}.{field}");')
            has = f"sizeof ((struct {name} *)0)->{field}"
            print(f'static_assert({has} == {size}, "{name}.{field}");')
for name, types in (tensors.COMM | tensors.CKPT).items():
    print(f'typedef __typeof__({name}({", ".join("0" * len(types))})) answer_of_{name};')
PY
    cc -std=c17 -fsyntax-only -I "$work/include" "$work/declared.c" >"$work/last.out" 2>&1
}
# refuses TEXT SED: tensors.py with this bug is found out, by that text.
refuses() {
    sed "$2" "$root/examples/tensors.py" >"$work/tensors.py"
    ! declared "$work" || fail "not seen: $2"
    mentions "$1"
}

say "structs, numbers and functions of the headers"
declared "$root/examples" || fail "tensors.py is not as the headers are"
grep -q mst_ckpt_loaded.cursor_bytes "$work/declared.c" || fail "not all structs are compared"
refuses '"MST_F32"' 's/^MST_F16, MST_BF16, MST_F32/MST_F16, MST_F32, MST_BF16/'
refuses '"mst_call.enqueue"' 's/("queue", c_void_p), ("enqueue"/("enqueue"/'
refuses '"mst_ckpt_opts.device"' 's/("device", c_uint64)/("device", c_uint32)/'
refuses '"mst_err.text"' 's/c_char \* 240/c_char * 239/'
refuses "mst_kv_close" 's/"mst_kv_close": (c_void_p,)/"mst_kv_close": ()/'

if /usr/bin/python3 -c 'import numpy; numpy.zeros(1).__dlpack__' 2>/dev/null; then
    say "tensors of numpy, on two ranks"
    cat >"$work/arrays.py" <<'PY'
import sys, numpy, tensors

def refuses(words, function, *given):
    try:
        function(*given)
    except (ValueError, tensors.Failure) as why:
        assert words in str(why), why
    else:
        raise AssertionError(words)

with tensors.job(sys.argv[1]) as job:
    arrays = {dtype: numpy.arange(24).reshape(2, 3, 4).astype(dtype) + numpy.array(job.rank, dtype)
              for dtype in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")}
    arrays |= {"scalar": numpy.array(2.5 + job.rank), "none": numpy.zeros((0, 3))}
    for name, array in arrays.items():
        assert not array.size or tensors.look(array).data.data == array.ctypes.data
        wanted = 2 * (array - numpy.array(job.rank, array.dtype)) + numpy.array(1, array.dtype)
        job.allreduce(array)
        assert (array == wanted).all(), name
    kept = {name: array.copy() for name, array in arrays.items()}
    job.save(7, arrays)
    for array in arrays.values():
        array[...] = 0
    job.drain()
    assert job.load(arrays) == 7
    assert all((arrays[name] == kept[name]).all() for name in arrays)
    refuses("is not contiguous", job.allreduce, numpy.zeros((4, 4)).T)
    refuses("is of a type", tensors.look, numpy.zeros(1, "c8"))
    refuses("7", job.save, 7, arrays)
    refuses("f4", job.load, {"f4": numpy.zeros(3, "f4")})
    job.barrier()
    print("arrays are right")
PY
    PYTHONPATH=$root/examples \
        expect 0 muster run --nproc 2 -- /usr/bin/python3 "$work/arrays.py" "$work/ck"
    [ "$(grep -c 'arrays are right' "$work/last.out")" = 2 ] || fail "not on both ranks"
else
    lacks "no numpy: make deps-test"
fi

say "a tensor on a device, which is a fake"
LD_LIBRARY_PATH=$MUSTER_TESTS/fakes:$LD_LIBRARY_PATH PYTHONPATH=$root/examples \
    expect 0 /usr/bin/python3 "$here/device_tensor.py" "$work/ck.device"
mentions "device_tensor: OK"

for python in ${MUSTER_TORCH:-} /usr/bin/python3 ""; do
    [ -z "$python" ] || ! "$python" -c 'import torch' 2>/dev/null || break
done
if [ -n "$python" ]; then
    say "a tensor of PyTorch, on one rank and on two"
    cd "$root"
    export CUDA_VISIBLE_DEVICES=
    expect 0 "$python" examples/torch_tensor.py "$work/ck.torch"
    mentions "torch_tensor: OK on 1 ranks, cpu, step 1"
    expect 0 muster run --nproc 2 -- "$python" examples/torch_tensor.py "$work/ck.torch"
    mentions "torch_tensor: OK on 2 ranks, cpu, step 2"
    expect 0 muster ckpt verify "$work/ck.torch"
    no_leftovers
else
    lacks "no PyTorch: make deps-torch, or set MUSTER_TORCH"
fi
passed
