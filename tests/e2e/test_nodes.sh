#!/bin/bash
# Two agents in two network namespaces joined by a veth pair: a job of two nodes, a failure on the
# one, a preemption of the other, a node lost and replaced, and node 0 lost.
source "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$work MST_JOB_SECRET=shared
unset RANK WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT MST_JOB_SECRET_FILE

a=muster-a-$$
b=muster-b-$$
delete_spaces() {
    ip netns del "$a" 2>/dev/null || :
    ip netns del "$b" 2>/dev/null || :
    cleanup
}
trap delete_spaces EXIT
ip netns add "$a" 2>/dev/null && ip netns add "$b" || skip "network namespaces are not permitted"
ip link add veth0 netns "$a" type veth peer name veth0 netns "$b"
ip -n "$a" addr add 10.77.0.1/24 dev veth0
ip -n "$b" addr add 10.77.0.2/24 dev veth0
for space in "$a" "$b"; do
    ip -n "$space" link set lo up
    ip -n "$space" link set veth0 up
done

until_true() { # COMMAND …: ten seconds at most
    local tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "never came true: $*"
        read -rt 0.05 <> <(:) || :
    done
}
node() { # SPACE RANK OUTPUT PROGRAM …: an agent in the background; its pid is $!
    local space=$1 rank=$2 out=$3
    shift 3
    ip netns exec "$space" muster run --nnodes 2 --node-rank "$rank" --nproc $((rank + 1)) \
        --rdzv 10.77.0.1:29511 --rdzv-timeout 20 "${options[@]}" -- "$@" >"$work/$out.out" 2>&1 &
}
finish() { # CODE PID OUTPUT
    local got=0
    wait "$2" || got=$?
    cp "$work/$3.out" "$work/last.out"
    [ "$got" = "$1" ] || fail "node $3: exit code $got instead of $1"
}
options=(--max-restarts 3)
# Waits until the file named by its argument exists, as a rank that works would.
worker=$work/worker
cat >"$worker" <<'SH'
#!/bin/sh
echo "generation $MST_GENERATION rank $RANK of $WORLD_SIZE, node $MST_NODE, kv $MST_KV_ADDR"
: >"$0.up.$MST_GENERATION.$RANK"
exec sleep 60
SH
chmod +x "$worker"

say "three ranks on two nodes"
node "$b" 1 b sh -c 'echo "rank $RANK of $WORLD_SIZE at $MASTER_ADDR kv $MST_KV_ADDR"'; second=$!
node "$a" 0 a sh -c 'echo "rank $RANK of $WORLD_SIZE at $MASTER_ADDR kv $MST_KV_ADDR"'; first=$!
finish 0 $first a
mentions "[0] rank 0 of 3 at 10.77.0.1 kv 10.77.0.1:29511"
finish 0 $second b
mentions "[1] rank 1 of 3 at 10.77.0.1 kv 10.77.0.1:29511" "[2] rank 2 of 3"

say "a rank fails on one node: all ranks of both start again"
program='[ "$RANK.$MST_GENERATION" != 2.0 ] || exit 4; [ $MST_GENERATION = 1 ] || exec sleep 60'
node "$a" 0 a sh -c "$program"; first=$!
node "$b" 1 b sh -c "$program"; second=$!
finish 0 $first a
mentions "a rank of another node died" died=2 "restart=1 of=3"
finish 0 $second b
no_leftovers

say "SIGTERM to node 1 drains both"
node "$a" 0 a "$worker"; first=$!
node "$b" 1 b "$worker"; second=$!
until_true test -e "$worker.up.0.0" -a -e "$worker.up.0.1" -a -e "$worker.up.0.2"
kill -TERM $second
finish 143 $first a
finish 143 $second b
no_leftovers

say "node 1 is killed and replaced: the next generation has all ranks"
rm -f "$worker".up.*
node "$a" 0 a "$worker"; first=$!
node "$b" 1 b "$worker"; second=$!
until_true test -e "$worker.up.0.0" -a -e "$worker.up.0.1" -a -e "$worker.up.0.2"
kill -9 $second
wait $second || :
node "$b" 1 b "$worker"; second=$!
until_true test -e "$worker.up.1.0" -a -e "$worker.up.1.1" -a -e "$worker.up.1.2"
grep -q 'msg="node lost" node=1' "$work/a.out" || fail "node 0 did not say who was lost"

say "node 0 is killed: node 1 stops its ranks and says 138"
kill -9 $first
wait $first || :
finish 138 $second b
mentions "node 0 is lost"
expect 0 muster status # removes the sockets of killed agents
mentions "no job runs here"
no_leftovers
echo OK
