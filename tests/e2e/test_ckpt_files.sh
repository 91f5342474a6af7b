#!/bin/bash
# Every committed file is read by HDF5's own tools; a flipped bit is found and named, and loading
# falls back to the step before on all ranks.
source "$(dirname "$0")/lib.sh"
some_text 200000 "$work/data.txt"

train() { # STEPS
    muster run --nproc 2 -- train_lm --data "$work/data.txt" --ckpt "$work/ckpt" --steps "$1" \
        --ckpt-every 10 --batch 8 >"$work/train.out" 2>&1 || fail "training to step $1"
}

train 30
say "h5dump and h5py"
for file in "$work"/ckpt/step_*/rank_*.h5; do
    expect 0 h5dump -H "$file"
done
mentions "GROUP \"model\"" "DATASET \"rng_state\"" muster_dtype
/usr/bin/python3 - "$work/ckpt" <<'PY' || fail "h5py"
import glob, sys
import h5py, numpy
rows = {}
for path in sorted(glob.glob(sys.argv[1] + "/step_30/rank_*.h5")):
    with h5py.File(path, "r") as file:
        def visit(name, item):
            if isinstance(item, h5py.Dataset) and not name.startswith("muster/"):
                rows[name] = rows.get(name, 0) + (item.shape[0] if item.shape else 1)
                assert numpy.isfinite(numpy.asarray(item[()], dtype="f8")).all(), name
        file.visititems(visit)
assert rows["model/w2"] == 64 and rows["model/embedding"] == 256, rows
assert rows["state/loss"] == 1, rows
print(len(rows), "tensors read by h5py")
PY
expect 0 muster ckpt verify "$work/ckpt"
expect 0 muster ckpt ls "$work/ckpt"
mentions " 30 " " 20 "
expect 0 muster ckpt show "$work/ckpt/step_30"
mentions model/w2 f32
for words in "" show "show a b" "ls $work/ckpt --jsn" "list $work/ckpt"; do
    expect 64 muster ckpt $words
done
mentions "unknown command list: ls, show or verify" "see muster-ckpt --help"
expect 64 env MST_AIO=magic muster ckpt ls "$work/ckpt"
mentions "MST_AIO=magic is none of auto, uring or threads"

say "a flipped bit in model/w2"
/usr/bin/python3 - "$work/ckpt/step_30/rank_0.h5" <<'PY'
import sys
import h5py
with h5py.File(sys.argv[1], "r") as file:
    at = file["model/w2"].id.get_offset() + 100
with open(sys.argv[1], "r+b") as file:
    file.seek(at)
    byte = file.read(1)[0]
    file.seek(at)
    file.write(bytes([byte ^ 4]))
PY
expect 1 muster ckpt verify "$work/ckpt"
mentions model/w2 "block 0"
odd=$work/$'odd\xff'
cp -r "$work/ckpt" "$odd"
truncate -s 10 "$odd/step_20/MANIFEST.json"
expect 1 muster ckpt verify "$odd/step_20"
expect 1 muster ckpt verify --json "$odd"
/usr/bin/python3 - "$work/last.out" <<'PY'
import json, sys
steps = {step["step"]: step for step in json.load(open(sys.argv[1]))}
assert not steps[20]["ok"] and not steps[30]["ok"], steps
assert all(len(steps[step]["damage"]) == 1 for step in (20, 30)), steps
PY
rm -r "$odd"
reference=$(final "$work/train.out")
train 30
grep -q "passed over a damaged checkpoint" "$work/train.out" || fail "the damage was not told"
grep -q "resumed at step 20, saved by 2 ranks" "$work/train.out" || fail "no fall back to step 20"
[ "$(final "$work/train.out")" = "$reference" ] || fail "another result after the fall back"
expect 0 muster ckpt verify "$work/ckpt"
no_leftovers
