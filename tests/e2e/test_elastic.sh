#!/bin/bash
# A world of one to three nodes, an agent in a network namespace each, which share a bridge: two
# start it, a third comes in in mid-run, one is killed, one is preempted; the training ends with the
# last as if nothing had happened. Then spares, and a preemption that leaves too few.
source "$(dirname "$0")/lib.sh"
export MST_JOB_SECRET=shared

spaces=()
trap delete_three EXIT
delete_three() {
    local space
    for space in "${spaces[@]}"; do
        ip netns del "$space" 2>/dev/null || :
    done
    cleanup
}
# three_spaces: network namespaces ${spaces[0…2]}, 10.78.0.1 … 3 on one bridge. 1: not permitted.
three_spaces() {
    local hub=muster-hub-$$ i space
    ip netns add "$hub" 2>/dev/null || return 1
    spaces+=("$hub")
    ip -n "$hub" link add bridge0 type bridge && ip -n "$hub" link set bridge0 up || return 1
    for i in 0 1 2; do
        space=muster-$i-$$
        ip netns add "$space" || return 1
        spaces=("${spaces[@]:0:i}" "$space" "${spaces[@]:i}")
        ip link add "veth$i" netns "$hub" type veth peer name veth0 netns "$space" &&
            ip -n "$hub" link set "veth$i" master bridge0 up &&
            ip -n "$space" addr add "10.78.0.$((i + 1))/24" dev veth0 &&
            ip -n "$space" link set lo up && ip -n "$space" link set veth0 up || return 1
    done
}
three_spaces || skip "network namespaces with a bridge are not permitted"

world=(--nnodes 1:3 --last-call 1)
declare -a pid
node() { # RANK PROGRAM …: an agent in the background, as ${pid[RANK]}, its output in RANK.out
    local rank=$1
    shift
    ip netns exec "${spaces[rank]}" muster run "${world[@]}" --node-rank "$rank" --nproc 1 \
        --rdzv 10.78.0.1:29511 --rdzv-timeout 20 --max-restarts 3 -- "$@" >"$work/$rank.out" 2>&1 9>&- &
    pid[rank]=$!
}
said() { grep -qF -- "$2" "$work/$1.out"; } # RANK TEXT
size_of() { # GENERATION: the nodes it has, as node 0 says
    grep -o "gen=$1 msg=\"generation started\" world=[0-9]*" "$work/0.out" | grep -o '[0-9]*$'
}
runs() { [ "$(size_of "$1")" = "$2" ]; } # GENERATION NODES

some_text 400000 "$work/text"
steps=500 batch=6
epoch=$(((400000 - 32) / 24 + 1))
program() { # NAME: sets the command line of the training whose files are called so
    training=(train_lm --data "$work/text" --ckpt "$work/$1.ckpt" --steps "$steps" --ckpt-every 50
        --batch "$batch" --loss-log "$work/$1.loss" --sample-log "$work/$1.samples")
    mkdir -p "$work/$1.samples"
    rm -f "$work/$1.loss"
    touch "$work/$1.loss"
}
step_of() { tail -n 1 "$work/$1.loss" | cut -d' ' -f1; }
passed_by() { [ "$(step_of "$1")" -ge "$2" ]; } # NAME STEP
await_more() { # NAME: until the training has got on by 20 steps
    local from
    from=$(step_of "$1")
    until_true passed_by "$1" $((from + 20))
}

say "the undisturbed run, on one node"
program reference
world=(--nnodes 1)
muster run --nproc 1 -- "${training[@]}" >"$work/0.out" 2>&1 || fail "no reference"
want=$(final "$work/0.out")

say "two of one to three nodes start after the last call"
world=(--nnodes 1:3 --last-call 1)
program main
node 0 "${training[@]}"
node 1 "${training[@]}"
until_true runs 0 2
said 0 'msg="enough nodes are there: last call for the others"' || fail "no last call was told"
await_more main
ip netns exec "${spaces[1]}" muster status --json >"$work/last.out"
mentions '"nodes": 2' '"nodes_min": 1' '"nodes_max": 3' '"nodes_present": 2'

say "a third comes in at a step that all agree on, which is saved"
node 2 "${training[@]}"
until_true runs 1 3
said 0 'msg="nodes come or go: all ranks save and start again" leaving="" coming="2' ||
    fail "node 0 did not say who comes"
agreed=$(grep -o 'for a world of other nodes" step=[0-9]*' "$work/0.out" | grep -o '[0-9]*$')
until_true said 0 "resumed at step $agreed, saved by 2 ranks, now 3"
await_more main

say "one is killed: the others go on without it"
kill -9 "${pid[1]}"
wait "${pid[1]}" || :
until_true runs 2 2
said 0 'msg="node lost" node=1' || fail "node 0 did not say who was lost"
await_more main

say "one is preempted: it saves, leaves with 143, and the last goes on from that step"
kill -TERM "${pid[2]}"
ended 143 "${pid[2]}" 2
until_true runs 3 1
said 0 'msg="node has left" node=2' || fail "node 0 did not say who left"
agreed=$(grep -o 'for a world of other nodes" step=[0-9]*' "$work/0.out" | tail -n 1 | grep -o '[0-9]*$')
until_true said 0 "resumed at step $agreed, saved by 2 ranks, now 1"
[ "$(grep -c "restarting all ranks" "$work/0.out")" = 1 ] || fail "who came or left cost a restart"
await_more main

say "and it ends with every sample shown once, and the loss of the undisturbed run"
ended 0 "${pid[0]}" 0
"$here/check_samples.py" "$work/main.samples" $steps $batch $epoch >"$work/last.out" 2>&1 ||
    fail "a sample was lost or shown twice"
/usr/bin/python3 - "$want" "$(final "$work/0.out")" <<'PY' || fail "the loss depends on the world"
import sys
a, b = (float.fromhex(line.split("loss=")[1].split()[0]) for line in sys.argv[1:])
print(f"loss {a:.9f} and {b:.9f}, relative difference {abs(a - b) / a:.1e}")
sys.exit(abs(a - b) > 1e-4 * a)
PY
no_leftovers

# From here on: ranks that wait, and count no steps.
waiting_rank <<'SH'
#!/bin/sh
echo $$ >"$0.pid.$RANK"
echo "generation $MST_GENERATION rank $RANK of $WORLD_SIZE on node $MST_NODE of $MST_NODE_COUNT"
read -r _ <"$0.fifo"
SH

say "a spare waits, and has the place of a node that is lost at once"
world=(--nnodes 2:2 --spares 1)
node 0 "$rank"
node 1 "$rank"
until_true runs 0 2
node 2 "$rank"
until_true said 2 "this node waits until it is let in"
runs 0 2 || fail "a spare was let in"
ip netns exec "${spaces[2]}" muster status >"$work/last.out"
mentions "waiting (until it is let in)"
kill -9 "${pid[1]}"
wait "${pid[1]}" || :
until_true said 2 "generation 1 rank 1 of 2 on node 1 of 2"

say "nobody has the place of the next: what is left is not enough, and waits for it"
kill -9 "${pid[2]}"
wait "${pid[2]}" || :
until_true said 0 'msg="waiting for nodes"'
node 1 "$rank"
until_true said 1 "generation 2 rank 1 of 2 on node 1 of 2"

say "a preemption that leaves too few is everybody's"
kill -TERM "${pid[1]}"
ended 143 "${pid[1]}" 1
ended 143 "${pid[0]}" 0
until_true no_rank_left
no_leftovers

say "ranks that count no steps get SIGTERM when a node comes in; node 0's preemption is the end"
world=(--nnodes 1:2 --last-call 1)
node 0 "$rank"
until_true said 0 "rank 0 of 1"
export PET_NNODES=1:2 PET_NODE_RANK=1 PET_RDZV_ENDPOINT=10.78.0.1:29511 PET_NPROC_PER_NODE=1
ip netns exec "${spaces[1]}" muster run -- "$rank" >"$work/1.out" 2>&1 &
pid[1]=$!
unset PET_NNODES PET_NODE_RANK PET_RDZV_ENDPOINT PET_NPROC_PER_NODE
until_true said 1 "generation 1 rank 1 of 2 on node 1 of 2"
said 0 "no rank counts steps: SIGTERM goes to the ranks" || fail "nobody told of the signal"
kill -TERM "${pid[0]}"
ended 143 "${pid[0]}" 0
ended 143 "${pid[1]}" 1
until_true no_rank_left

say "a node beyond the world stays out"
node 0 "$rank"
until_true said 0 "rank 0 of 1"
world=(--nnodes 1:2 --spares 1)
node 2 "$rank"
ended 78 "${pid[2]}" 2
mentions "node rank 2, but the job has 2 nodes"
kill -TERM "${pid[0]}"
ended 143 "${pid[0]}" 0
until_true no_rank_left
no_leftovers
echo OK
