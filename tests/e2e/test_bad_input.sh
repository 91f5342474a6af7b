#!/bin/bash
# Damaged data and bad places for checkpoints: a clear error, and nothing lost.
source "$(dirname "$0")/lib.sh"
some_text 200000 "$work/data.txt"

lm() { # options …: one rank, no restarts
    muster run --nproc 1 --max-restarts 0 -- train_lm --steps 2 --batch 4 "$@"
}

say "train_lm's own options"
expect 64 train_lm --steps
expect 64 train_lm --data x --ckpt y --steps nine
mentions "--steps nine"
expect 64 train_lm --data x --ckpt y --steps 1.5
mentions "--steps 1.5: a whole number from 1 to 1000000000000"
expect 64 train_lm --data x --steps 2
mentions "--ckpt URI is needed"
expect 64 train_lm --data x --ckpt y --steps 2 --micro-batches 65
mentions --micro-batches
expect 64 train_lm --data x --ckpt y --steps 2 --grad-dtype f64
mentions "f32, bf16 or f16"
expect 64 train_lm --data x --ckpt y --steps 2 --lr 1000
mentions "--lr 1000: a number from 1e-06 to 100"
expect 64 resume --ckpt y --steps 0
expect 64 allreduce nonsense
for program in train_lm resume allreduce; do
    expect 0 $program --help
    mentions "usage: $program" --version
done

say "data that is missing or damaged"
expect 1 lm --data "$work/absent.txt" --ckpt "$work/ckpt"
mentions absent.txt
gzip -c "$work/data.txt" >"$work/whole.txt.gz"
head -c 30000 "$work/whole.txt.gz" >"$work/cut.txt.gz"
expect 1 lm --data "$work/cut.txt.gz" --ckpt "$work/ckpt"
mentions cut.txt.gz
expect 1 muster data verify "$work/cut.txt.gz"
mentions cut.txt.gz

say "ranks with other options"
for option in --batch --lr --ckpt-every --micro-batches; do
    expect 1 muster run --nproc 2 --max-restarts 0 -- sh -c "exec train_lm $option \$((4 + RANK)) \"\$@\"" lm \
        --steps 2 --data "$work/data.txt" --ckpt "$work/ckpt"
    mentions "$option: it is 5 here, and from 4 to 5 on all ranks"
done
# shellcheck disable=SC2016 # $RANK is each rank's
expect 1 muster run --nproc 2 --max-restarts 0 -- sh -c \
    'exec train_lm --grad-dtype $([ $RANK = 0 ] && echo bf16 || echo f16) "$@"' lm \
    --steps 2 --data "$work/data.txt" --ckpt "$work/ckpt"
mentions "--grad-dtype: it is f16 here, and bf16 on another rank: give all the same"

say "a Megatron index that does not match its tokens"
/usr/bin/python3 - "$work/tokens" <<'PY'
import struct, sys
lengths = [100, 50, 250]
pointers = [0, 200, 300]
open(sys.argv[1] + ".bin", "wb").write(bytes(2 * sum(lengths)))
open(sys.argv[1] + ".idx", "wb").write(
    b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, 3, 2) + struct.pack("<3i", *lengths)
    + struct.pack("<3q", *pointers) + struct.pack("<2q", 0, 3))
PY
expect 0 muster data verify "$work/tokens.bin"
truncate -s 700 "$work/tokens.bin"
expect 1 muster data verify "$work/tokens.bin"
mentions tokens.bin 700 800
head -c 60 "$work/tokens.idx" >"$work/short" && mv "$work/short" "$work/tokens.idx"
expect 1 muster data verify "$work/tokens.bin"
mentions tokens.idx

say "a checkpoint folder that cannot be made"
touch "$work/file"
expect 1 lm --data "$work/data.txt" --ckpt "$work/file/ckpt"
mentions "$work/file"

say "what no restart cures is started once"
once() { # TEXT COMMAND …: it ends with 1, and says the text
    local text=$1
    shift
    expect 1 muster run --nproc 2 -- "$@"
    mentions "$text" "a restart cannot help"
    [ "$(grep -c 'generation started' "$work/last.out")" = 1 ] || fail "$* was started again"
}
seq 100 400 >"$work/other.txt"
once "MST_COMM=foo is none of" env MST_COMM=foo allreduce
once "$work/file" train_lm --batch 4 --steps 2 --data "$work/data.txt" --ckpt "$work/file"
expect 0 muster run --nproc 2 -- train_lm --batch 4 --steps 2 --data "$work/data.txt" --ckpt "$work/kept"
once "saved on another dataset" train_lm --batch 4 --steps 4 --data "$work/other.txt" --ckpt "$work/kept"

say "a full disk: training goes on, the older checkpoint stands"
disk=$work/disk
mkdir "$disk"
mount -t tmpfs -o size=2m tmpfs "$disk" 2>/dev/null || skip "mounting a small tmpfs is not permitted"
trap 'umount "$disk" 2>/dev/null || :; cleanup' EXIT
expect 0 lm --data "$work/data.txt" --ckpt "$disk/ckpt"
head -c 8m /dev/zero >"$disk/filler" 2>/dev/null || :
expect 74 muster run --nproc 2 --max-restarts 0 -- train_lm --batch 4 --steps 30 --ckpt-every 10 \
    --data "$work/data.txt" --ckpt "$disk/ckpt"
mentions "resumed at step 2" abandoned "training goes on" "steps=28" "last checkpoint is lost"
expect 0 muster ckpt verify "$disk/ckpt"
expect 0 muster ckpt ls "$disk/ckpt"
mentions " 2 "
rm "$disk/filler"
expect 0 resume --ckpt "$disk/numbers" --steps 1
head -c 8m /dev/zero >"$disk/filler" 2>/dev/null || :
expect 74 muster run --nproc 1 --max-restarts 0 -- resume --ckpt "$disk/numbers" --steps 250
mentions "resume: step " " is not saved: " "resume: the last checkpoint is lost: "
mount -o remount,ro "$disk"
expect 1 lm --data "$work/data.txt" --ckpt "$disk/other"
mentions "$disk/other" "ead-only"
no_leftovers
