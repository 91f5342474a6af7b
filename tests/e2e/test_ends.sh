#!/bin/bash
# Why a job ended, as those are told who have to do something about it.
source "$(dirname "$0")/lib.sh"

# cause_in FILE COMMAND …: runs it with FILE as /dev/termination-log, in a /dev that it sees alone.
cause_in() {
    : >"$1"
    mkdir -p "$work/dev"
    unshare -m sh -ec 'mount -t tmpfs none "$0"
        for name in null zero full random urandom termination-log; do : >"$0/$name"; done
        for name in null zero full random urandom; do mount --bind "/dev/$name" "$0/$name"; done
        mkdir "$0/shm" && ln -s /proc/self/fd "$0/fd" && mount --bind "$1" "$0/termination-log"
        mount --rbind "$0" /dev
        shift
        exec "$@"' "$work/dev" "$@"
}
if cause_in "$work/cause" true 2>/dev/null; then
    sees_cause=yes
else
    sees_cause=
    lacks "what stands in /dev/termination-log: no mount namespace of our own"
fi

# limited BYTES COMMAND …: runs it in a cgroup of its own. 1: this machine allows none.
memory=/sys/fs/cgroup/memory/muster-e2e-$$
[ -e /sys/fs/cgroup/cgroup.controllers ] && memory=/sys/fs/cgroup/muster-e2e-$$
make_group() {
    mkdir "$memory" 2>/dev/null || return 1
    trap 'cleanup; rmdir "$memory" 2>/dev/null || :' EXIT
    [ -e "$memory/memory.max" ] || [ -e "$memory/memory.limit_in_bytes" ]
}
limited() {
    local limit=$memory/memory.max
    [ -e "$limit" ] || limit=$memory/memory.limit_in_bytes
    echo "$1" >"$limit"
    shift
    sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$memory" "$@"
}

say "a rank that the kernel kills for want of memory"
if make_group; then
    # rank 0 holds 40 MB and waits; rank 1 takes what there is not
    eats='import os, time
rank = int(os.environ["RANK"])
kept = b"x" * (40 << 20)
while rank == 1: kept += b"x" * (8 << 20)
time.sleep(60)'
    eat() { limited 157286400 muster run --nproc 2 --max-restarts 0 -- /usr/bin/python3 -c "$eats"; }
    expect 137 eat
    mentions 'died=1' 'out of memory: killed by the kernel (limit 150.0 MiB, peak 150.0 MiB); it had' \
        'beside it rank 0 has' 'the victim need not be the culprit' \
        'msg="job over" exit=137 what="out of memory'
    if [ $sees_cause ]; then
        expect 137 cause_in "$work/cause" bash -c "$(declare -f limited eat); memory=$memory
            eats=\$0; eat" "$eats"
        grep -q '^muster: rank 1: out of memory: killed by the kernel (limit' "$work/cause" ||
            fail "the cause is not told: $(cat "$work/cause")"
    fi

    eat() {
        limited 157286400 muster run --nproc 2 --max-restarts 0 --exit-profile kubeflow -- \
            /usr/bin/python3 -c "$eats"
    }
    expect 71 eat
    mentions 'profile=kubeflow own=137 exit=71'

    say "and one that somebody kills is not said to be one"
    killed() { limited 157286400 muster run --nproc 1 --max-restarts 0 -- sh -c 'kill -9 $$'; }
    expect 137 killed
    mentions 'killed by SIGKILL'
    ! grep -q 'out of memory' "$work/last.out" || fail "a kill is taken for want of memory"
else
    lacks "a rank that the kernel kills: no memory cgroup can be made"
fi
no_leftovers

say "a rank that hangs in the kernel is named while it is to leave"
# who starts a program waits in the kernel for a child that opens a pipe; both hear no SIGTERM
cat >"$work/hang" <<'PY'
import os, sys
fifo = sys.argv[1]
if os.environ["RANK"] == "0":
    open(fifo + ".in", "w").write("x")
    os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, fifo, os.O_RDONLY, 0)])
while not os.path.exists(fifo + ".in"): pass
sys.exit(5)
PY
mkfifo "$work/hung"
hang() { muster run --nproc 2 --max-restarts 0 -- /usr/bin/python3 "$work/hang" "$work/hung"; }
expect 5 hang
mentions 'msg="a rank that is to leave hangs in the kernel" of_rank=0' 'state=D in="' \
    'msg="job over" exit=5 what="exit code 5; rank 0 hangs in the kernel, in '
if [ $sees_cause ]; then
    rm "$work/hung.in"
    expect 5 cause_in "$work/cause" muster run --nproc 2 --max-restarts 0 -- \
        /usr/bin/python3 "$work/hang" "$work/hung"
    grep -q '^muster: rank 1: exit code 5; rank 0 hangs in the kernel, in ' "$work/cause" ||
        fail "the cause does not name the rank: $(cat "$work/cause")"
fi
no_leftovers

waiting_rank <<'SH'
#!/bin/sh
echo $$ >"$0.pid.$RANK"
while :; do read -r _ <"$0.fifo" || exit 9; done
SH

say "what a program of torch says of its exception"
cat >"$work/records" <<'PY'
import json, os, sys
if os.environ["RANK"] == "1":
    with open(os.environ["TORCHELASTIC_ERROR_FILE"], "w") as file:
        json.dump({"message": {"message": "RuntimeError: loss is NaN\nat step 7", "extraInfo": {
            "py_callstack": "Traceback", "timestamp": "1760000000"}}}, file)
    sys.exit(1)
import signal
signal.pause()
PY
record() { muster run --nproc 2 --max-restarts 0 -- /usr/bin/python3 "$work/records"; }
expect 1 env TORCHELASTIC_ERROR_FILE="$work/elsewhere" bash -c "$(declare -f record); work=$work; record"
mentions 'died=1' 'what="exit code 1: RuntimeError: loss is NaN at step 7"' \
    'msg="job over" exit=1 what="exit code 1: RuntimeError: loss is NaN at step 7"'
[ ! -e "$work/elsewhere" ] || fail "the error file of the launcher around this one was written"
no_leftovers

say "all nodes tell the same cause"
two=(muster run --insecure --nnodes 2 --nproc 1 --rdzv "127.0.0.1:$((10000 + $$ % 10000))" --max-restarts 0)
"${two[@]}" --node-rank 1 -- /usr/bin/python3 "$work/records" >"$work/b.out" 2>&1 &
second=$!
"${two[@]}" --node-rank 0 -- /usr/bin/python3 "$work/records" >"$work/a.out" 2>&1 &
first=$!
ended 1 $first a
mentions 'a rank of another node died" died=1 what="exit code 1: RuntimeError: loss is NaN' \
    'msg="job over" exit=1 what="exit code 1: RuntimeError: loss is NaN at step 7"'
ended 1 $second b
mentions 'msg="job over" exit=1 what="exit code 1: RuntimeError: loss is NaN at step 7"'

say "exit codes as those want them who start jobs again"
pytorchjob=(env PET_NNODES=1 PET_NPROC_PER_NODE=1 WORLD_SIZE=1 RANK=0 MASTER_ADDR=localhost MASTER_PORT=23456)
expect 0 "${pytorchjob[@]}" muster env --explain
mentions 'exit codes: as kubeflow wants them (PyTorchJob)'
expect 0 muster env --explain --exit-profile flyte
mentions 'exit codes: as flyte wants them (given)'
expect 0 muster env
mentions 'exit_profile    plain'
expect 64 muster run --exit-profile argo -- true
mentions kubeflow batch
dies=(--nproc 1 -- sh -c 'kill -9 $$')
expect 137 muster run --max-restarts 1 "${dies[@]}"
expect 137 "${pytorchjob[@]}" muster run --max-restarts 0 "${dies[@]}"
expect 1 "${pytorchjob[@]}" muster run --max-restarts 1 "${dies[@]}"
mentions 'profile=kubeflow own=137 exit=1'
expect 137 "${pytorchjob[@]}" muster run --exit-profile plain --max-restarts 1 "${dies[@]}"
expect 101 muster run --exit-profile paddle --max-restarts 0 "${dies[@]}"
expect 7 muster run --exit-profile paddle --max-restarts 0 --nproc 1 -- sh -c 'exit 7'
expect 127 muster run --exit-profile paddle --nproc 1 -- "$work/absent"
start --nproc 2 --exit-profile flyte -- "$rank"
until_true test -s "$rank.pid.0" -a -s "$rank.pid.1"
kill -TERM "$job"
finish 137
mentions 'msg="job over" exit=143 what="preempted' 'profile=flyte own=143 exit=137'

say "status knows the last failure"
start --nproc 1 --job-id failed-$$ -- sh -c '[ $MST_GENERATION = 0 ] && exit 3; exec "$0"' "$rank"
until_true test -s "$rank.pid.0"
expect 0 muster status
mentions "job failed-$$: running, generation 1" "last failure: rank 0: exit code 3"
expect 0 muster status --json
mentions '"last_failure"' '"what": "exit code 3"'
kill -TERM "$job"
finish 143

say "a job has its own time"
start --nproc 2 --deadline 1 -- "$rank"
finish 124
mentions "the job's deadline has passed" 'SIGTERM goes to the ranks' 'msg="job over" exit=124'
start --nproc 2 --deadline 1 --grace 2 -- sh -c 'trap "" TERM; while :; do sleep 0.1; done'
finish 124
mentions 'the grace is nearly over' 'msg="job over" exit=124'
expect 124 env MST_JOB_START=1000 muster run --nproc 1 --deadline 86400 -- "$rank"
expect 78 env MST_JOB_START=monday muster run --nproc 1 --deadline 86400 -- true
mentions MST_JOB_START=monday
expect 124 muster run --nnodes 2 --node-rank 1 --rdzv 127.0.0.1:1 --insecure --deadline 1 -- true
mentions 'cannot join node 0'
if [ $sees_cause ]; then
    grep -q "^muster: cannot join node 0 at 127.0.0.1:1: " <(
        cause_in "$work/cause" muster run --nnodes 2 --node-rank 1 --rdzv 127.0.0.1:1 --insecure \
            --deadline 1 -- true 2>/dev/null || :
        cat "$work/cause"
    ) || fail "the cause does not say who was not met: $(cat "$work/cause")"
    expect 78 cause_in "$work/cause" env RANK=5 WORLD_SIZE=4 muster run -- true
    grep -q '^muster: .*RANK=5' "$work/cause" || fail "the cause: $(cat "$work/cause")"
fi
no_leftovers

passed
