# Sourced by the end-to-end tests: programs on PATH, a scratch folder, expectations, leftovers.
set -euo pipefail
: "${MUSTER_BIN:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../build/bin" && pwd)}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH=$MUSTER_BIN:$PATH
work=$(mktemp -d -t muster-e2e-XXXXXX)
text=/usr/share/dictd/gcide.dict.dz
lacking=
# A world that this shell may be part of is none of the test's.
unset RANK WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT MST_JOB_SECRET MST_JOB_SECRET_FILE MST_COMM

cleanup() {
    local pids
    pids=$(pgrep -f "$work" || :)
    [ -z "$pids" ] || kill -9 $pids 2>/dev/null || :
    rm -rf "$work"
}
trap cleanup EXIT

say() { echo "-- $*"; }
skip() {
    echo "skipped: $*"
    exit 77
}
# lacks TEXT: a part cannot be tried here. The test goes on, and passed ends it as skipped.
lacks() {
    say "not tried: $*"
    lacking+=${lacking:+; }$*
}
passed() {
    [ -z "$lacking" ] || skip "$lacking"
    echo OK
}
fail() {
    echo "FAILED: $*" >&2
    tail -n 30 "$work"/*.out >&2 2>/dev/null || :
    exit 1
}

# expect CODE COMMAND …: runs it with its output in $work/last.out and checks its exit code.
expect() {
    local want=$1 got=0
    shift
    "$@" >"$work/last.out" 2>&1 || got=$?
    [ "$got" = "$want" ] || fail "exit code $got instead of $want: $*"
}

# ended CODE PID NAME: waits for a program in the background, whose output is $work/NAME.out, and
# checks its exit code.
ended() {
    local got=0
    wait "$2" || got=$?
    cp "$work/$3.out" "$work/last.out"
    [ "$got" = "$1" ] || fail "$3: exit code $got instead of $1"
}

# mentions TEXT …: the last output contains each of them.
mentions() {
    local text
    for text in "$@"; do
        grep -qF -- "$text" "$work/last.out" || fail "output lacks \"$text\""
    done
}

# until_true COMMAND …: waits for it to succeed, ten seconds at most.
until_true() {
    local tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "never came true: $*"
        read -rt 0.05 <> <(:) || :
    done
}

# two_spaces NETWORK: network namespaces $a and $b, which are NETWORK.1 and NETWORK.2 to each other,
# until the test ends. 1: they are not permitted.
two_spaces() {
    local space
    a=muster-a-$$
    b=muster-b-$$
    trap delete_spaces EXIT
    ip netns add "$a" 2>/dev/null && ip netns add "$b" || return 1
    ip link add veth0 netns "$a" type veth peer name veth0 netns "$b" &&
        ip -n "$a" addr add "$1.1/24" dev veth0 && ip -n "$b" addr add "$1.2/24" dev veth0 ||
        fail "the namespaces cannot be joined"
    for space in "$a" "$b"; do
        ip -n "$space" link set lo up && ip -n "$space" link set veth0 up ||
            fail "no network in $space"
    done
}
delete_spaces() {
    ip netns del "$a" 2>/dev/null || :
    ip netns del "$b" 2>/dev/null || :
    cleanup
}

# waiting_rank: $rank, a program made of the standard input's lines. It names itself by this folder,
# so that no_leftovers sees it, writes its pid into $rank.pid.$RANK, and waits for $rank.fifo, which
# nothing is ever written to.
waiting_rank() {
    rank=$work/rank
    cat >"$rank"
    chmod +x "$rank"
    mkfifo "$rank.fifo"
    exec 9<>"$rank.fifo"
}

# start OPTIONS …: muster run in the background, as $job, in a group of its own with its agent.
start() {
    rm -f "$rank".pid.*
    setsid muster run "$@" >"$work/job.out" 2>&1 9>&- &
    job=$!
}

# finish CODE: waits for $job, which ends with CODE and leaves nothing.
finish() {
    ended "$1" "$job" job
    until_true no_rank_left
    no_leftovers
}
no_rank_left() { ! pgrep -f "$rank"; }

# some_text BYTES FILE: that much real text.
some_text() {
    [ -r $text ] || skip "dict-gcide is not installed"
    # gzip ends by SIGPIPE once head has enough
    { gzip -dc <$text 2>/dev/null || :; } | head -c "$1" >"$2"
}

# final FILE: the last "final …" line of a run's output.
final() { grep -o 'final step=.*' "$1" | tail -n 1; }

# No process of this test, no half-made checkpoint is left. (Sockets and memory of an agent have no
# file: they go with it.)
no_leftovers() {
    local left
    left=$(pgrep -af "$work" || :)
    [ -z "$left" ] || fail "processes left: $left"
    left=$(find "$work" -name 'step_*.tmp.*')
    [ -z "$left" ] || fail "files left: $left"
}
