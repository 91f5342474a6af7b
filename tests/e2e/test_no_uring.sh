#!/bin/bash
# Under a seccomp filter that denies io_uring everything runs on threads, with the same result.
source "$(dirname "$0")/lib.sh"
deny=$MUSTER_TESTS/deny_uring
[ -x "$deny" ] || skip "deny_uring is not built"
some_text 200000 "$work/data.txt"

train() { # NAME COMMAND …
    local name=$1
    shift
    "$@" muster run --nproc 2 -- train_lm --data "$work/data.txt" --ckpt "$work/$name.ckpt" \
        --steps 20 --ckpt-every 10 --batch 8 >"$work/$name.out" 2>&1 || fail "$name"
    final "$work/$name.out"
}

free=$(train free env)
denied=$(train denied "$deny")
threads=$(train threads env MST_AIO=threads)
[ "$free" = "$denied" ] && [ "$free" = "$threads" ] || fail "$free / $denied / $threads"
expect 1 "$deny" env MST_AIO=uring muster run --max-restarts 0 --nproc 1 -- train_lm \
    --data "$work/data.txt" --ckpt "$work/forced.ckpt" --steps 1
mentions uring
for tool in "data ls $work/data.txt" "ckpt ls $work/free.ckpt"; do
    expect 1 "$deny" env MST_AIO=uring muster $tool # a machine that cannot, not a wrong word
    mentions uring
done
expect 0 env MST_AIO=threads "$deny" muster run --nproc 4 -- allreduce
no_leftovers
