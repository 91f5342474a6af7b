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

passed
