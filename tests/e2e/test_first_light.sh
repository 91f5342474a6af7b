#!/bin/bash
# perf/gpu/first-light, against fakes: that it finds, compiles, carries and judges what it should. What
# a GPU does is not seen here.
source "$(dirname "$0")/lib.sh"
light=$here/../../perf/gpu/first-light
nvcc=$(command -v "$here/../../build/cuda/bin/nvcc" nvcc | head -n 1 || :)
is_fake=True
torch="not run"
! python3 -c 'import torch' 2>/dev/null || torch=right
all=0 # without kernels, or PyTorch, something is not run
[ -n "$nvcc" ] && [ "$torch" = right ] || all=2
export MUSTER_BIN MUSTER_TESTS
unset FAKE_CUDA FAKE_NCCL FAKE_SANITIZER

# rows CONDITION: what the table of the last run is.
rows() {
    /usr/bin/python3 - "$work/out/table.json" "$1" $is_fake <<'PY' || fail "not so: $1"
import json, sys
table = json.load(open(sys.argv[1]))
rows = table["rows"]
def part(name, result=None):
    return [row for row in rows if row["part"] == name and result in (None, row["result"])]
fake = sys.argv[3] == "True"
assert all(made["fake"] == fake for made in (table, *rows))
assert eval(sys.argv[2]), table
PY
}

say "the command line"
expect 0 "$light" --help
mentions "first-light [--carried DIR] [--out DIR] [--fake]" compiler device kernels sanitizer nccl \
    checkpoint batches train pytorch
expect 64 "$light" --frobnicate
mentions "usage: perf/gpu/first-light"
expect 64 "$light" --carried "$work/absent"
mentions "no folder $work/absent"
expect 64 env MUSTER_TESTS="$work" "$light" --fake --out "$work/out"
mentions "no fakes in $work" MUSTER_TESTS
expect 64 env MUSTER_BIN="$work" "$light" --carry "$work/carried"
mentions "no $work/first_light_device" MUSTER_BIN

say "what is carried along"
expect 0 "$light" --carry "$work/carried"
for program in first_light_{device,kernels,collectives,checkpoint,batches} train_lm; do
    [ -x "$work/carried/$program" ] || fail "$program is not carried"
done
for library in sodium muster-comm muster-ckpt hdf5; do
    compgen -G "$work/carried/lib$library*.so*" >/dev/null || fail "no lib$library is carried"
done
for library in libc libm libresolv; do
    ! compgen -G "$work/carried/$library.so*" || fail "a part of the C library is carried"
done
began=$SECONDS
expect $all "$light" --fake --carried "$work/carried" --out "$work/out"
say "took $((SECONDS - began)) s"
! grep -v '^FAKE' "$work/last.out" || fail "a line does not say FAKE"
rows 'table["status"] in (0, 2) and table["cards"] == ["FAKE device 0"] and table["seconds"] > 0'
rows 'len(part("device")) >= 20 and len(part("nccl", "right")) == 16 == len(part("nccl"))'
rows 'part("checkpoint", "right")[-1]["what"] == "what was saved is loaded, read and checked"'
rows "len(part('pytorch', '$torch')) == 1"
if [ -n "$nvcc" ]; then
    rows 'all(row["result"] == "right" or row["part"] == "pytorch" for row in rows)'
    rows 'len(part("compiler")) == 5'
    rows '[row["wanted"] for row in part("checkpoint")] == 2 * [None, 0.9, 0.95] + [None, 0.9, None]'
    rows 'sum(row["figure"] is not None for row in part("checkpoint")) == 8'
    rows 'len(part("kernels")) == 16 and all(row["figure"] > 0 for row in part("kernels"))'
    rows '[row["wanted"] for row in part("kernels")][:14] == 13 * [0.9] + [4]'
    rows 'len(part("batches")) == 4 and part("batches")[3]["wanted"] == 0.8 and part("batches")[3]["ratio"] > 0'
    rows 'len(part("train")) == 6 and all(row["figure"] > 1 for row in part("train"))'
    rows '[row["what"] for row in part("sanitizer")] == ["memcheck", "racecheck", "initcheck"]'
fi

say "what is compiled there"
rm "$work/carried/first_light_device" "$work/carried/first_light_kernels"
FAKE_SANITIZER=refuse expect 2 "$light" --fake --carried "$work/carried" --out "$work/out"
rows 'part("nccl", "right") and part("device", "right") and not part("device", "wrong")'
rows 'part("checkpoint", "right") and not part("checkpoint", "wrong")'
rows '"right" == part("train")[0]["result"] or "built without nvcc" == part("train")[0]["words"]'
rows 'len(part("sanitizer", "not run")) == 3'

say "what is wrong"
if [ -n "$nvcc" ]; then
    FAKE_CUDA=spoil=1 expect 1 "$light" --fake --carried "$work/carried" --out "$work/out"
    rows '"does not hold what it was given" in part("checkpoint", "wrong")[-1]["words"]'
fi
rm -r "$work/carried"
mkdir "$work/broken"
echo 'raise ImportError("libcudart is broken")' >"$work/broken/torch.py"
PYTHONPATH=$work/broken FAKE_CUDA=fail=300 FAKE_SANITIZER=errors expect 1 "$light" --fake \
    --out "$work/out"
rows '"ImportError: libcudart is broken" in part("pytorch", "wrong")[0]["words"]'
rows 'part("device", "wrong") and len(part("sanitizer", "wrong")) == 3'
rows 'all("perf/gpu/first-light --carry DIR" in part(name, "not run")[0]["words"]
          for name in ("nccl", "checkpoint", "batches", "train"))'
if [ -n "$nvcc" ]; then
    FAKE_CUDA=flip=1 expect 1 "$light" --fake --out "$work/out"
    rows 'sorted(row["what"][:4] for row in part("kernels", "wrong")) == 8 * ["cast"]'
    rows '"values differ from the host" in part("kernels", "wrong")[0]["words"]'
    rows 'len(part("sanitizer", "wrong")) == 3'
fi
FAKE_CUDA=devices=0 expect 1 "$light" --fake --out "$work/out"
rows '"no device (FAKE)" in part("kernels", "wrong")[0]["words"]'

say "no driver, and an NCCL as PyTorch brings it"
expect 0 "$light" --carry "$work/carried"
mkdir -p "$work/none" "$work/site/nvidia/nccl/lib"
touch "$work/none/libcuda.so.1"
cp "$MUSTER_TESTS/fakes/libnccl.so.2" "$work/site/nvidia/nccl/lib/"
is_fake=False
expect 1 env LD_LIBRARY_PATH="$work/none" PYTHONPATH="$work/site" "$light" --carried "$work/carried" \
    --out "$work/out"
! grep '^FAKE' "$work/last.out" || fail "a line says FAKE"
rows '"no CUDA driver" in part("kernels", "wrong")[0]["words"]'
rows '"no CUDA driver" in part("nccl", "wrong")[-1]["words"]'
no_leftovers
[ -n "$nvcc" ] || lacks "no nvcc: make deps-cuda"
passed
