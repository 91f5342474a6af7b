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
cp -r "$work/ckpt" "$work/frame"
printf X | dd of="$work/frame/step_20/rank_0.h5" bs=1 seek=55 conv=notrunc status=none
rm -r "$work/frame/step_30"
expect 1 muster ckpt verify "$work/frame"
mentions "rank_0.h5: HDF5 metadata (all bytes outside of tensors, which no load reads)"
expect 0 muster run --nproc 2 -- train_lm --data "$work/data.txt" --ckpt "$work/frame" \
    --steps 21 --ckpt-every 10 --batch 8
mentions "resumed at step 20"
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

say "roots that hold nothing, or are none"
mkdir "$work/empty"
for command in ls show verify; do
    expect 1 muster ckpt $command "$work/empty"
    mentions "$work/empty: no checkpoint here"
    expect 1 muster ckpt $command "$work/absent"
    mentions "$work/absent: does not exist"
done
expect 1 muster ckpt ls "$work/data.txt"

say "what lies in a root and is no file"
cp -r "$work/ckpt" "$work/odd"
rm "$work/odd/step_30/MANIFEST.json" "$work/odd/step_20/rank_1.h5"
mkfifo "$work/odd/step_30/MANIFEST.json" "$work/odd/step_20/rank_1.h5"
expect 1 timeout 20 muster ckpt ls "$work/odd"
mentions "step_30/MANIFEST.json: is no regular file"
expect 1 timeout 20 muster ckpt verify "$work/odd"
mentions "step_20/rank_1.h5: is no regular file" "step_10: ok"
expect 0 timeout 60 muster run --nproc 2 -- train_lm --data "$work/data.txt" --ckpt "$work/odd" \
    --steps 11 --ckpt-every 10 --batch 8
mentions "resumed at step 10"

say "links under names that a save uses"
mkdir "$work/linked" "$work/elsewhere"
echo precious >"$work/precious"
ln -s "$work/precious" "$work/linked/LATEST.tmp"
ln -s "$work/precious" "$work/linked/OWNER.1"
ln -s "$work/elsewhere" "$work/linked/step_10.tmp.0.1"
ln -s "$work/linked" "$work/root"
expect 0 muster run --nproc 2 -- train_lm --data "$work/data.txt" --ckpt "$work/root" \
    --steps 10 --ckpt-every 10 --batch 8
expect 0 muster ckpt verify "$work/root/step_10"
[ "$(cat "$work/precious")" = precious ] || fail "a link was written through"
[ -z "$(ls -A "$work/elsewhere")" ] || fail "a folder behind a link was written to"

say "two jobs, one root"
train_as() { # ID OPTIONS…: in the background
    local id=$1
    shift
    muster run --nproc 1 --max-restarts 0 --job-id "$id" "$@" -- train_lm --data "$work/data.txt" \
        --ckpt "$work/shared" --steps 1000000 --ckpt-every 10 --batch 8 >"$work/$id.out" 2>&1 &
}
await() { # FILE TEXT
    local tries=0
    until grep -q "$2" "$1" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || fail "$1 never said: $2"
        read -rt 0.1 <> <(:) || :
    done
}
committed() { [ -e "$work/shared/LATEST" ]; }
train_as first
first=$!
until committed; do read -rt 0.1 <> <(:) || :; done
train_as second
status=0
wait $! || status=$?
[ $status = 78 ] || fail "the second job ended with $status"
grep -q "belongs to another job (job first on " "$work/second.out" || fail "the second job was not told"
expect 0 muster ckpt ls "$work/shared"
train_as third --take-root
third=$!
await "$work/first.out" "abandoned: .*taken over as epoch .*job third on"
kill -TERM $first $third
wait $first $third || :
grep -q "abandoned" "$work/third.out" && fail "the job that has the root lost a checkpoint"
expect 0 muster ckpt verify "$work/shared"
drain() { # ID PID
    await "$work/$1.out" "resumed at step"
    kill -TERM "$2"
    wait "$2" || :
}
train_as fourth
drain fourth $!

say "an owner that was killed is followed at once"
train_as fifth
fifth=$!
await "$work/fifth.out" "resumed at step"
kill -9 $fifth
wait $fifth || :
train_as sixth
drain sixth $!
