#!/bin/bash
# muster run on one node: exit codes, restarts, kills, preemption, output, plan and status.
source "$(dirname "$0")/lib.sh"

waiting_rank <<'SH'
#!/bin/sh
[ "$1" = child ] || echo $$ >"$0.pid.$RANK"
[ "$1" = stubborn ] && trap '' TERM
[ "$1" = stray ] && setsid "$0" child &
while :; do read -r _ <"$0.fifo" || exit 9; done
SH

say "the command line"
expect 64 muster
expect 64 muster frobnicate
mentions "unknown command frobnicate" run env status bench
expect 0 muster help
expect 0 muster version
for command in run env status; do
    expect 0 muster $command --help
    mentions "usage: muster $command" --version
done
expect 64 muster rnu -- true
mentions "did you mean run?"
expect 64 muster run --max-restart 3 -- true
mentions "did you mean --max-restarts?" "see muster run --help"
expect 64 muster run --frobnicate -- true
mentions "unknown option --frobnicate"
expect 64 muster run --nproc 0 -- true
mentions "--nproc 0" "from 1 to 1024"
expect 64 muster run --nproc
expect 64 muster run --nproc 2
mentions "no program"
expect 64 muster run --nnodes 2 -- true
expect 64 muster status nonsense
expect 64 muster run -np
mentions "-np: needs a value"
expect 64 muster run -n 3 --nproc 2 -- true
mentions "-n 3"
expect 64 muster run --bind noen -- true
mentions "did you mean none?"
expect 64 muster run --hostfile hosts -- true
mentions "start muster run on each host"
expect 64 muster run --help=all
mentions "--help takes no value"
expect 64 muster version --frobnicate
expect 64 muster version now
expect 64 muster help run now
expect 64 muster help rnu
expect 0 muster help status
mentions "usage: muster status"
for shell in bash zsh fish; do
    expect 0 muster completion $shell
    mentions max-restarts muster-ckpt muster-data muster-bench
done
expect 64 muster completion ksh
mentions "ksh: bash, zsh or fish"

say "what muster itself says"
expect 0 muster run --nproc 2 --log-format json --log-level debug -- true
/usr/bin/python3 - "$work/last.out" <<'PY'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert {line["level"] for line in lines} == {"debug", "info"}, lines
assert sum(line["msg"] == "rank started" for line in lines) == 2, lines
assert lines[-1]["msg"] == "job over" and lines[-1]["exit"] == 0, lines
PY
expect 0 muster run --nproc 1 --log-level error -- true
[ ! -s "$work/last.out" ] || fail "a good end was told at the level of errors"
expect 127 env MST_LOG_FORMAT=json muster run --nproc 1 --log-level error -- "$work/absent"
/usr/bin/python3 -c 'import json, sys; json.loads(sys.stdin.readline())["msg"]' <"$work/last.out"
expect 78 env MST_LOG_LEVEL=loud muster run -- true
mentions MST_LOG_LEVEL=loud

say "exit codes"
expect 0 muster run --nproc 3 true
expect 1 muster run --nproc 2 --max-restarts 0 -- false
expect 70 sh -c 'ulimit -n 14; exec muster run --nproc 2 -- true'
mentions "Too many open files"
expect 127 muster run --nproc 2 -- "$work/absent"
mentions "$work/absent" "program not found"
touch "$work/plain"
expect 126 muster run --nproc 2 -- "$work/plain"
expect 78 env RANK=5 WORLD_SIZE=4 muster run -- true
mentions RANK=5 WORLD_SIZE=4
expect 64 muster run --nnodes 2 --node-rank 2 --rdzv 127.0.0.1:1 -- true
mentions "node rank 2"
expect 78 muster run --nnodes 2 --node-rank 0 --rdzv 10.9.8.7:29500 -- true
mentions MST_JOB_SECRET_FILE
expect 78 muster run --log-dir "$work/plain" -- true
mentions "$work/plain"

say "the first failing rank's code wins, after its restarts"
expect 5 muster run --nproc 3 --max-restarts 2 -- sh -c '[ $RANK != 1 ] || exit 5; exec sleep 20'
mentions 'died=1' 'exit code 5' 'restart=2 of=2'
[ "$(grep -c 'generation started' "$work/last.out")" = 3 ] || fail "not three generations"
no_leftovers

say "a restart that helps"
expect 0 muster run --nproc 2 -- sh -c '[ $MST_GENERATION = 1 ] || exit 3'
mentions 'gen=1 msg="generation started"'
! grep -q "last words" "$work/last.out" || fail "a job that ended well has last words"

say "a rank killed with -9, and what it started"
start --nproc 2 --max-restarts 0 -- "$rank" stray
until_true test -s "$rank.pid.0" -a -s "$rank.pid.1"
kill -9 "$(cat "$rank.pid.1")"
finish 137
mentions 'killed by SIGKILL'

say "the agent killed with -9"
start --nproc 2 --job-id killed-$$ -- "$rank"
until_true test -s "$rank.pid.0" -a -s "$rank.pid.1"
expect 0 muster status
mentions "job killed-$$"
kill -9 "$job"
wait "$job" || :
until_true no_rank_left
expect 0 muster status
! grep -q "job killed-$$" "$work/last.out" || fail "a killed agent is still shown"
no_leftovers

say "preemption: the signal goes to ranks that count no steps"
start --nproc 2 -- "$rank"
until_true test -s "$rank.pid.0" -a -s "$rank.pid.1"
kill -TERM "$job"
finish 143
mentions draining 'SIGTERM goes to the ranks'

say "preemption of ranks that do not listen: never past the grace"
start --nproc 2 --grace 2 -- "$rank" stubborn
until_true test -s "$rank.pid.0" -a -s "$rank.pid.1"
before=$SECONDS
kill -TERM "$job"
finish 143
[ $((SECONDS - before)) -le 3 ] || fail "took $((SECONDS - before)) s of a grace of 2"

say "status sees a running job"
start --nproc 2 --job-id seen-$$ -- "$rank"
until_true test -s "$rank.pid.0" -a -s "$rank.pid.1"
expect 0 muster status
mentions "job seen-$$: running, generation 0" "$(cat "$rank.pid.1")"
expect 0 muster status --json
mentions "\"job\": \"seen-$$\"" '"rank": 1' '"step": null'
kill -INT "$job"
finish 143

say "status sees what a training does, in columns"
some_text 400000 "$work/text"
start --nproc 2 --job-id busy-$$ -- train_lm --data "$work/text" --ckpt "$work/ckpt" --steps 1000000 \
    --ckpt-every 5 --batch 4
saved() {
    muster status --json >"$work/status" && /usr/bin/python3 - "$work/status" "busy-$$" <<'PY'
import json, sys
job = next(j for j in json.load(open(sys.argv[1])) if j["job"] == sys.argv[2])
for rank in job["ranks"]:
    op = rank["collective"]
    assert rank["step"] >= rank["checkpoint"] >= 5 and 0 <= rank["beat_age_s"] < 5
    assert op["kind"] == "allreduce" and op["op"] == "sum" and op["bytes"] == op["count"] * 4
    assert op["dtype"] == "f32" and op["result"] == 0 and op["age_s"] >= (op["took_s"] or 0)
PY
}
until_true saved
expect 0 muster status
grep -A 3 "busy-$$" "$work/last.out" | awk '
    NR == 2 { rank = index($0, "rank") + 4; beat = index($0, "beat") + 4; op = index($0, "collective") }
    NR > 2 && (substr($0, rank - 1, 2) !~ /[01] / || substr($0, beat - 2, 3) !~ / s / ||
               substr($0, op) !~ /^#[0-9]+ allreduce sum f(32|64) count [0-9]+: (running|done) /) {
        exit bad = 1
    }
    END { exit bad || NR < 4 }' || fail "the columns do not stand below their heads"
kill -TERM "$job"
finish 143

say "a preempted rank whose checkpoint is refused does not call itself drained"
export refuse=$MUSTER_TESTS/refuse_save.so
start --nproc 1 --max-restarts 0 -- sh -c \
    'LD_PRELOAD=$refuse train_lm "$@"; code=$?; echo "rank ends with $code"; exit $code' -- \
    --data "$work/text" --ckpt "$work/refused" --steps 1000000 --ckpt-every 1000000 --batch 4 \
    --loss-log "$work/loss"
until_true test -s "$work/loss"
kill -TERM "$job"
wait "$job" || :
cp "$work/job.out" "$work/last.out"
mentions "train_lm: rank 0: checkpoint: "
grep -q "rank ends with 1$" "$work/last.out" || fail "143 with nothing saved"

say "output is whole lines with the rank in front"
expect 0 muster run --nproc 4 --log-dir "$work/logs" -- sh -c \
    'i=0; while [ $i -lt 500 ]; do echo "line $i of rank $RANK"; i=$((i + 1)); done; printf tail >&2'
[ "$(grep -c '^\[[0-3]\] line [0-9]* of rank [0-3]$' "$work/last.out")" = 2000 ] || fail "torn lines"
[ "$(grep -c '^\[[0-3]\] tail$' "$work/last.out")" = 4 ] || fail "last lines lost"
[ "$(wc -l <"$work"/logs/*/rank_3.gen_0.log)" = 500 ] || fail "the rank's own file lacks lines"

say "what a rank is told, and what it is not"
expect 0 env PET_NPROC_PER_NODE=2 PET_NNODES=1 MST_JOB_SECRET=hush muster run -- sh -c 'env; ls -l /proc/self/fd'
mentions '[1] RANK=1' '[1] MST_RANK=1' '[0] LOCAL_WORLD_SIZE=2' '[0] OMP_NUM_THREADS=1' '[0] MST_KV_ADDR=127.0.0.1:'
! grep -q 'hush\|PET_' "$work/last.out" || fail "the launcher's variables reached a rank"

say "plan and environment"
expect 127 muster run --nproc 2 --dry-run -- prog arg
mentions "2 ranks on 1 nodes" "program: prog arg" "RANK=1" "cannot start prog: it is nowhere in PATH"
expect 126 muster run --nproc 2 --dry-run -- /etc/passwd
expect 0 muster run --nproc 2 --dry-run --hostname another -- prog arg
expect 0 muster run --nproc 2 --dry-run --json -- true arg
/usr/bin/python3 -c 'import json, sys; assert len(json.load(open(sys.argv[1]))["ranks"]) == 2' "$work/last.out"
expect 0 env PET_NNODES=4 PET_NPROC_PER_NODE=8 PET_NODE_RANK=3 PET_MASTER_ADDR=head \
    MST_JOB_SECRET=hush muster env --json
mentions '"world_size": 32' '"master_addr": "head"' '"master_port": 29500'

say "two agents on one machine: deadline, secret, port, and a job"
rdzv=127.0.0.1:$((20000 + $$ % 10000))
two=(muster run --nnodes 2 --rdzv "$rdzv" --nproc 1)
expect 138 env MST_JOB_SECRET=s "${two[@]}" --node-rank 1 --rdzv-timeout 1 -- true
mentions "cannot join node 0" "$rdzv"
expect 138 env MST_JOB_SECRET=s "${two[@]}" --node-rank 0 --rdzv-timeout 1 -- true
mentions "nodes are missing" "of=2 least=2"
expect 138 env MST_JOB_SECRET=s muster run --nnodes 2:3 --rdzv "$rdzv" --nproc 1 --node-rank 0 --rdzv-timeout 1 -- true
mentions "nodes are missing" "of=3 least=2"
MST_JOB_SECRET=right "${two[@]}" --node-rank 0 -- sh -c 'echo $RANK of $WORLD_SIZE' >"$work/job.out" 2>&1 &
job=$!
until_true grep -q "waiting for nodes" "$work/job.out"
expect 78 env MST_JOB_SECRET=wrong "${two[@]}" --node-rank 1 --rdzv-timeout 5 -- true
mentions "does not know our job secret"
until_true grep -q 'msg="connection refused".*says to be node 1: it has another job secret' "$work/job.out"
expect 78 env MST_JOB_SECRET=right "${two[@]}" --node-rank 0 -- true
mentions "port ${rdzv#*:}: Address already in use"
expect 0 env MST_JOB_SECRET=right "${two[@]}" --node-rank 1 -- sh -c 'echo $RANK of $WORLD_SIZE'
mentions '[1] 1 of 2'
finish 0
mentions '[0] 0 of 2'
no_leftovers
echo OK
