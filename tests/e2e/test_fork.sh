#!/bin/bash
# A program that forks after every open, as data loaders and subprocesses do, trains on: its
# children are refused, and disturb nothing when they close all that they inherited and exit.
source "$(dirname "$0")/lib.sh"
some_text 200000 "$work/data.txt"
user=$MUSTER_TESTS/fork_user

say "without forks"
expect 0 muster run --nproc 2 -- "$user" "$work/data.txt" "$work/plain.ckpt" 40 plain
plain=$(grep -o 'final [0-9a-f]*' "$work/last.out")

for aio in uring threads; do
    say "forks, reading with $aio"
    expect 0 env MST_AIO=$aio muster run --nproc 2 --max-restarts 0 -- \
        "$user" "$work/data.txt" "$work/$aio.ckpt" 40 fork
    mentions "$plain children 9" # some dozens
    expect 0 muster ckpt verify "$work/$aio.ckpt"
    [ -d "$work/$aio.ckpt/step_40" ] || fail "the last step is not saved"
done
no_leftovers
passed
