#!/bin/bash
# What connects agents, when it is bad: a wire that loses packets, node 0 that hangs or differs, two
# jobs on the same nodes, and graces of which one is short.
source "$(dirname "$0")/lib.sh"
export MST_JOB_SECRET=shared

a=muster-la-$$
b=muster-lb-$$
delete_spaces() {
    exec 9>&-
    ip netns del "$a" 2>/dev/null || :
    ip netns del "$b" 2>/dev/null || :
    cleanup
}
trap delete_spaces EXIT
ip netns add "$a" 2>/dev/null && ip netns add "$b" || skip "network namespaces are not permitted"
[ -c /dev/net/tun ] || skip "no /dev/net/tun"
loss=0.3 seed=${SEED:-$RANDOM}
mkfifo "$work/end"
"$here/lossy_wire.py" "$a" "$b" $loss "$seed" <"$work/end" >"$work/wire.out" 2>&1 &
exec 9>"$work/end"
until_true grep -q up "$work/wire.out"
octet=1
for space in "$a" "$b"; do
    ip -n "$space" link set lo up
    ip -n "$space" addr add 10.78.0.$octet/24 dev wire0
    ip -n "$space" link set wire0 up
    octet=2
done
node() { # SPACE RANK OUTPUT [OPTION …] -- PROGRAM …: an agent in the background; its pid is $!
    local space=$1 rank=$2 out=$3
    shift 3
    ip netns exec "$space" muster run --nnodes 2 --node-rank "$rank" --nproc 1 \
        --rdzv 10.78.0.1:29511 "$@" >"$work/$out.out" 2>&1 &
}

say "30 % of all packets are lost, seed $seed: a job ends right"
node "$a" 0 a --rdzv-timeout 60 -- allreduce; first=$!
node "$b" 1 b --rdzv-timeout 60 -- allreduce; second=$!
ended 0 $first a
mentions "allreduce: OK on 2 ranks"
ended 0 $second b
! grep -q 'msg="node lost"' "$work/a.out" || fail "a node was lost whose agent lived"
no_leftovers() { # but for the wire
    local left
    left=$(pgrep -af "$work" | grep -v lossy_wire || :)
    [ -z "$left" ] || fail "processes left: $left"
}
no_leftovers

# From here on both agents are in one namespace, where nothing is lost.
local_node() { # RANK OUTPUT [OPTION …] -- PROGRAM …: as node
    local rank=$1 out=$2
    shift 2
    ip netns exec "$a" muster run --nnodes 2 --node-rank "$rank" --nproc 1 --rdzv 127.0.0.1:29512 \
        "$@" >"$work/$out.out" 2>&1 &
}
begun() { until_true grep -q "generation started" "$work/$1.out"; }

say "node 0 hangs: the other node names it, and gives it up"
local_node 0 a --peer-timeout 2 -- sleep 100; first=$!
local_node 1 b --peer-timeout 2 -- sleep 100; second=$!
begun a
begun b
kill -STOP $first
ended 138 $second b
mentions "node 0 is silent" "node 0 is lost"
kill -KILL $first
wait $first 2>/dev/null || :
no_leftovers

say "a node hangs: node 0 names it, gives it up, and ends"
local_node 0 a --peer-timeout 2 --rdzv-timeout 3 -- sleep 100; first=$!
local_node 1 b --peer-timeout 2 --rdzv-timeout 3 -- sleep 100; second=$!
begun a
begun b
kill -STOP $second
ended 138 $first a
mentions 'msg="node is silent" node="1 (' "node lost" "nodes are missing" 'missing="1 ('
kill -CONT $second
ended 138 $second b
mentions "node 0 has given this node up: it was silent for too long"
no_leftovers

say "a hang that ends in time is nobody's loss"
local_node 0 a -- sleep 15; first=$!
local_node 1 b -- sleep 15; second=$!
begun a
begun b
kill -STOP $second
until_true grep -q "node is silent" "$work/a.out"
kill -CONT $second
ended 0 $second b
ended 0 $first a
mentions "node is heard again"
no_leftovers

say "a number of nodes that differs is told on both sides"
local_node 0 a --rdzv-timeout 4 -- true; first=$!
expect 78 ip netns exec "$a" muster run --nnodes 3 --node-rank 1 --nproc 1 --rdzv 127.0.0.1:29512 -- true
mentions "counts 3 nodes and node 0 counts 2"
ended 138 $first a
mentions "counts 3 nodes and node 0 counts 2"

say "ranks of the job that are counted differently are told on both sides; node 0's restarts count"
local_node 0 a -n 2 --rdzv-timeout 4 -- true; first=$!
expect 78 ip netns exec "$a" muster run --nnodes 2 --node-rank 1 -n 4 --rdzv 127.0.0.1:29512 -- true
mentions "-n 4" "-n 2"
ended 138 $first a
mentions "-n 4" "-n 2"
local_node 0 a --max-restarts 2 -- sh -c 'echo "may restart $TORCHELASTIC_MAX_RESTARTS"'; first=$!
local_node 1 b --max-restarts 1 -- sh -c 'echo "may restart $TORCHELASTIC_MAX_RESTARTS"'; second=$!
ended 0 $first a
mentions "may restart 2"
ended 0 $second b
mentions "may restart 2" "node 0's --max-restarts counts"

say "the shortest grace is everybody's, and its end breaks no protocol"
deaf=(sh -c 'trap "" TERM; echo up; while :; do sleep 0.1; done')
local_node 0 a --grace 20 -- "${deaf[@]}"; first=$!
local_node 1 b --grace 5 -- "${deaf[@]}"; second=$!
until_true grep -q "0\] up" "$work/a.out"
until_true grep -q "1\] up" "$work/b.out"
kill -TERM $first
ended 143 $first a
mentions "draining\" grace_ms=5000"
! grep -q "broke the protocol" "$work/a.out" || fail "the end of a grace was taken for nonsense"
ended 143 $second b
no_leftovers

say "two jobs on the same nodes, with one secret: two worlds, on ports of their own"
pids=()
for job in 4711_1 4711_2; do
    for rank in 0 1; do
        env MST_NNODES=2 MST_NODE_RANK=$rank MST_MASTER_ADDR="$(hostname)" muster run --job-id $job \
            --nproc 1 --rdzv-timeout 20 -- sh -c 'echo "$MST_JOB_ID: $RANK of $WORLD_SIZE"; exec allreduce' \
            >"$work/$job.$rank.out" 2>&1 &
        pids+=($!)
    done
done
i=0
for job in 4711_1 4711_2; do
    for rank in 0 1; do
        ended 0 "${pids[i++]}" $job.$rank
        mentions "$job: $rank of 2"
    done
done
no_leftovers

say "a node that strays into another job is refused, and both names are told"
local_node 0 a --job-id mine --rdzv-timeout 4 -- true; first=$!
expect 78 ip netns exec "$a" muster run --nnodes 2 --node-rank 1 --nproc 1 --rdzv 127.0.0.1:29512 \
    --job-id yours -- true
mentions mine yours
ended 138 $first a
mentions mine yours
no_leftovers
echo OK
