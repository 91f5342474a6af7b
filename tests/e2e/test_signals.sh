#!/bin/bash
# Signals, from whomever to whomever, and what muster run inherits: what a job ends with, what is
# saved, and what is left.
source "$(dirname "$0")/lib.sh"

waiting_rank <<'SH'
#!/bin/sh
echo $$ >"$0.pid.$RANK"
read -r _ <"$0.fifo"
SH
both_run() { test -s "$rank.pid.0" -a -s "$rank.pid.1"; }
term_ranks() { cat "$rank".pid.* | xargs kill -TERM; }

say "a parent that ignores SIGCHLD, closed descriptors, signals blocked"
expect 0 timeout 20 env --ignore-signal=CHLD muster run --nproc 2 --max-restarts 0 -- true
expect 7 timeout 20 env --ignore-signal=CHLD muster run --nproc 2 --max-restarts 0 -- sh -c 'exit 7'
expect 0 muster run --nproc 1 -- sh -c 'echo heard >"$1"' - "$work/heard" <&- >&- 2>&-
[ "$(cat "$work/heard")" = heard ] || fail "closed descriptors kept a rank from its work"
expect 0 env --block-signal=TERM --ignore-signal=TERM,PIPE,HUP muster run --nproc 1 -- \
    grep -E '^Sig(Blk|Ign)' /proc/self/status
mentions $'SigBlk:\t0000000000000000'
ignored=$((16#$(sed -n 's/.*SigIgn:\t//p' "$work/last.out")))
# 32 and 33 are the C library's own: whoever ignores them hands that on.
[ $((ignored & ~0x180000000)) = 1 ] || fail "a rank ignores $ignored"

say "the limit of descriptors is raised for the agent only"
expect 0 sh -c 'ulimit -Sn 64; exec muster run --nproc 40 -- sh -c "ulimit -Sn"'
[ "$(grep -c '^\[[0-9]*\] 64$' "$work/last.out")" = 40 ] || fail "a rank has another limit"

say "no HOME, no name, no umask worth the word, a user whom nobody knows"
as=()
[ "$(id -u)" != 0 ] || as=(setpriv --reuid 54321 --regid 54321 --clear-groups)
chmod 777 "$work"
expect 0 env -i PATH="$PATH" "${as[@]}" sh -c 'umask 777; exec muster run --nproc 2 -- sh -c "cd /; umask"'
mentions '[1] 0777'

say "SIGTERM to one rank is a failure, and is not called a preemption"
start --nproc 2 --max-restarts 0 -- "$rank"
until_true both_run
kill -TERM "$(cat "$rank.pid.1")"
finish 1
mentions 'died=1' 'killed by SIGTERM'
expect 1 muster run --nproc 2 --max-restarts 0 -- sh -c 'exit 143'
expect 0 muster run --nproc 2 -- sh -c '[ $MST_GENERATION = 1 ] || exit 143'

say "SIGTERM while node 0 is still to be reached"
blocks_signals() { grep -q '^SigBlk:.*7ffbfeff$' "/proc/$job/status"; }
start --nnodes 2 --node-rank 1 --rdzv 127.0.0.1:9 --insecure -- "$rank"
until_true blocks_signals
kill -TERM "$job"
finish 143
mentions 'told to stop before node 0 was reached'

say "SIGTERM to all, ranks first: ranks that count no steps"
start --nproc 2 --max-restarts 0 -- "$rank"
until_true both_run
term_ranks
kill -TERM "$job"
finish 143
mentions draining

say "SIGTERM to all while the agent hears it for its ranks, which ignore it: ranks that count no steps"
start --nproc 2 --term agent --grace 20 -- "$rank"
until_true both_run
before=$SECONDS
term_ranks
kill -TERM "$job"
finish 143
[ $((SECONDS - before)) -le 10 ] || fail "waited for ranks that do not listen"

say "SIGTERM to all, several times, while the agent hears it for its ranks: the step is saved"
some_text 400000 "$work/text"
steps() { [ -s "$work/loss" ] && [ "$(wc -l <"$work/loss")" -ge 3 ]; }
train() { # options …
    rm -rf "$work/ckpt" "$work/loss"
    start --nproc 2 --max-restarts 0 "$@" -- train_lm --data "$work/text" --ckpt "$work/ckpt" \
        --steps 1000000 --ckpt-every 1000000 --batch 4 --loss-log "$work/loss"
    until_true steps
}
for sign in SLURM_JOB_ID LSB_JOBID PBS_JOBID INVOCATION_ID; do
    (
        export $sign=7
        train --nnodes 1
        mapfile -t all < <(pgrep -f "$work/text")
        kill -TERM "${all[@]}"
        kill -TERM "$job"
        finish 143
    )
    cp "$work/job.out" "$work/last.out"
    mentions "all ranks stop"
    compgen -G "$work/ckpt/step_*" >/dev/null || fail "$sign: nothing was saved"
done

say "a program that tells every tenth step is drained"
cat >"$work/tenth.py" <<'PY'
import ctypes, sys
lib = ctypes.CDLL(sys.argv[1])
err = ctypes.create_string_buffer(4096)
world, job = ctypes.c_void_p(), ctypes.c_void_p()
assert lib.mst_world_from_env(ctypes.byref(world), err) == 0
assert lib.mst_job_open(world, ctypes.byref(job), err) == 0
lib.mst_job_step.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64]
verdict, step = 0, 0
while verdict == 0:
    step += 10
    verdict = lib.mst_job_step(job, step, 2**64 - 1)
    print("step", step, flush=True) if step == 10 else None
print("verdict", verdict, "at", step, step % 10)
sys.exit(143 if verdict == 2 else 1)
PY
lib=$(ls "$MUSTER_BIN"/libmuster-core.so "$MUSTER_BIN"/../lib/libmuster-core.so 2>/dev/null | head -n 1 || :)
if [ -n "$lib" ]; then
    start --nproc 2 -- python3 "$work/tenth.py" "$lib"
    until_true grep -q "^\[1\] step 10" "$work/job.out"
    kill -TERM "$job"
    finish 143
    [ "$(grep -o 'verdict 2 at [0-9]* 0' "$work/last.out" | sort -u | wc -l)" = 1 ] ||
        fail "the ranks stopped at different steps"
fi

say "SIGQUIT asks what the ranks do; SIGINT twice is the end of patience"
start --nproc 2 -- sh -c 'trap "" TERM; exec "$0"' "$rank"
until_true both_run
kill -QUIT "$job"
until_true grep -q 'msg="rank" of_rank=1 .*state=S' "$work/job.out"
kill -INT "$job"
until_true grep -q draining "$work/job.out"
gone() { ! kill -INT "$job"; }
until_true gone
finish 130
mentions "interrupted again"

say "what a wrapper started dies with an agent that is killed"
start --nproc 2 -- sh -c '"$0"; echo done' "$rank"
until_true both_run
kill -9 "$job"
wait "$job" || :
until_true no_rank_left
no_leftovers

say "a last save that is lost"
cat >"$work/lost.py" <<'PY'
# What ckpt writes into the rank's line: its last save was abandoned.
import mmap, os, struct
page = mmap.mmap(int(os.environ["MST_PAGE_FD"]), 0)
struct.pack_into("<Q", page, 192 + 64 * int(os.environ["MST_LOCAL_RANK"]) + 40, 7)
PY
expect 74 muster run --nproc 2 -- python3 "$work/lost.py"
mentions "the last checkpoint was abandoned" "lost_step=7" 'what="finished, but the last checkpoint is lost"'
expect 0 muster run --nproc 2 --ignore-save-errors -- python3 "$work/lost.py"
mentions "the last checkpoint was abandoned"

say "a disk that is full: programs whose last checkpoint is lost say 74"
mkdir "$work/full"
full() { # COMMAND …: ends with 74, as its checkpoint finds no room
    # shellcheck disable=SC2016 # for the inner shell
    expect 74 unshare -m sh -c 'mount -t tmpfs -o size=64k none "$0" && exec "$@"' "$work/full" "$@"
    mentions "the last checkpoint is lost"
}
if unshare -m true 2>/dev/null; then
    full muster run --nproc 2 --max-restarts 0 -- train_lm --data "$work/text" \
        --ckpt "$work/full/ckpt" --steps 4 --ckpt-every 2 --batch 8
    full muster run --nproc 1 --max-restarts 0 -- loop "$work/text" "$work/full/ckpt" 3
    full muster run --nproc 3 --max-restarts 0 -- resume --ckpt "$work/full/ckpt" --steps 3
else
    lacks "a full disk: mounts are not permitted"
fi
passed
