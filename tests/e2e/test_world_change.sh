#!/bin/bash
# A checkpoint of 4 ranks resumes with 3 and with 1: the same samples, the loss within 1e-4.
source "$(dirname "$0")/lib.sh"
some_text 400000 "$work/data.txt"
epoch=$(((400000 - 32) / 24 + 1))

train() { # NAME RANKS STEPS
    muster run --nproc "$2" -- train_lm --data "$work/data.txt" --ckpt "$work/$1.ckpt" \
        --steps "$3" --ckpt-every 20 --batch 24 --sample-log "$work/$1.samples" \
        >>"$work/$1.out" 2>&1 || fail "$1 with $2 ranks"
}

train whole 4 60
train saved 4 20
for ranks in 3 1; do
    cp -r "$work/saved.ckpt" "$work/to$ranks.ckpt"
    cp -r "$work/saved.samples" "$work/to$ranks.samples"
    train to$ranks "$ranks" 60
    grep -q "resumed at step 20, saved by 4 ranks, now $ranks" "$work/to$ranks.out" ||
        fail "did not resume with $ranks ranks"
    "$here/check_samples.py" "$work/to$ranks.samples" 60 24 $epoch || fail "samples"
    /usr/bin/python3 - "$(final "$work/whole.out")" "$(final "$work/to$ranks.out")" <<'PY' ||
import sys
a, b = (float.fromhex(line.split("loss=")[1].split()[0]) for line in sys.argv[1:])
print(f"loss {a:.9f} and {b:.9f}, relative difference {abs(a - b) / a:.1e}")
sys.exit(abs(a - b) > 1e-4 * a)
PY
        fail "the loss depends on the world"
done
no_leftovers
