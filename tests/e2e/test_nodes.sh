#!/bin/bash
# Two agents in two network namespaces joined by a veth pair: a job of two nodes, a failure on the
# one, a preemption of the other, a node lost and replaced, and node 0 lost; the same for a training,
# which must end as if nothing had happened.
source "$(dirname "$0")/lib.sh"
export MST_JOB_SECRET=shared

two_spaces 10.77.0 || skip "network namespaces are not permitted"

nproc=(1 2)
options=(--max-restarts 3)
node() { # SPACE RANK OUTPUT PROGRAM …: an agent in the background; its pid is $!
    local space=$1 rank=$2 out=$3
    shift 3
    ip netns exec "$space" muster run --nnodes 2 --node-rank "$rank" --nproc "${nproc[$rank]}" \
        --rdzv 10.77.0.1:29511 --rdzv-timeout 20 "${options[@]}" -- "$@" >"$work/$out.out" 2>&1 &
}
both() { # PROGRAM …: both nodes in the background, as $first and $second
    node "$a" 0 a "$@"
    first=$!
    node "$b" 1 b "$@"
    second=$!
}
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
ended 0 $first a
mentions "[0] rank 0 of 3 at 10.77.0.1 kv 10.77.0.1:29511"
ended 0 $second b
mentions "[1] rank 1 of 3 at 10.77.0.1 kv 10.77.0.1:29511" "[2] rank 2 of 3"

say "a rank fails on one node: all ranks of both start again"
program='[ "$RANK.$MST_GENERATION" != 2.0 ] || exit 4; [ $MST_GENERATION = 1 ] || exec sleep 60'
both sh -c "$program"
ended 0 $first a
mentions "a rank of another node died" died=2 "restart=1 of=3"
ended 0 $second b
no_leftovers

say "SIGTERM to node 1 drains both"
both "$worker"
until_true test -e "$worker.up.0.0" -a -e "$worker.up.0.1" -a -e "$worker.up.0.2"
kill -TERM $second
ended 143 $first a
ended 143 $second b
no_leftovers

say "node 1 is killed and replaced: the next generation has all ranks"
rm -f "$worker".up.*
both "$worker"
until_true test -e "$worker.up.0.0" -a -e "$worker.up.0.1" -a -e "$worker.up.0.2"
kill -9 $second
wait $second || :
node "$b" 1 b "$worker"; second=$!
until_true test -e "$worker.up.1.0" -a -e "$worker.up.1.1" -a -e "$worker.up.1.2"
grep -q 'msg="node lost" node=1' "$work/a.out" || fail "node 0 did not say who was lost"

say "node 0 is killed: node 1 stops its ranks and says 138"
kill -9 $first
wait $first || :
ended 138 $second b
mentions "node 0 is lost"
no_leftovers

say "four ranks on two nodes add up"
nproc=(2 2)
both allreduce
ended 0 $second b
ended 0 $first a
mentions "allreduce: OK on 4 ranks"
no_leftovers

# From here on: a training of two ranks, one per node.
nproc=(1 1)
some_text 400000 "$work/text"
steps=200 batch=16
epoch=$(((400000 - 32) / 24 + 1))
program() { # NAME: sets the command line of the training whose files are called so
    training=(train_lm --data "$work/text" --ckpt "$work/$1.ckpt" --steps "$steps" --ckpt-every 20
        --batch "$batch" --loss-log "$work/$1.loss" --sample-log "$work/$1.samples")
    mkdir -p "$work/$1.samples"
}
await() { # NAME STEP: returns once the training has finished the step
    touch "$work/$1.loss"
    # tail ends by SIGPIPE once grep has seen the step
    timeout 30 tail -n +1 -F "$work/$1.loss" 2>/dev/null | grep -q "^$2 " || :
    grep -q "^$2 " "$work/$1.loss" || fail "$1 never came to step $2"
}
same_end() { # NAME: both nodes finish, with the result of the undisturbed run
    ended 0 $second b
    ended 0 $first a
    [ "$(final "$work/a.out")" = "$want" ] || fail "$1: $(final "$work/a.out") instead of $want"
    "$here/check_samples.py" "$work/$1.samples" $steps $batch $epoch >"$work/last.out" 2>&1 ||
        fail "$1: a sample was lost or shown twice"
    no_leftovers
}
agreed() { grep -o 'msg="all ranks stop" step=[0-9]*' "$work/$1.out" | grep -o '[0-9]*$'; }

say "a training on two nodes"
program reference
both "${training[@]}"
ended 0 $first a
want=$(final "$work/a.out")
[ -n "$want" ] || fail "no final line"
same_end reference

say "SIGTERM to node 1 in mid-run: both stop at one step, saved; the same command goes on from there"
program preempted
both "${training[@]}"
await preempted 50
kill -TERM $second
ended 143 $second b
ended 143 $first a
step=$(agreed a)
[ -n "$step" ] && [ "$step" = "$(agreed b)" ] || fail "stopped at $step and $(agreed b)"
expect 0 muster ckpt verify "$work/preempted.ckpt"
[ -e "$work/preempted.ckpt/step_$step/MANIFEST.json" ] || fail "no checkpoint of step $step"
both "${training[@]}"
same_end preempted
grep -q "resumed at step $step," "$work/a.out" || fail "did not resume at step $step"

say "kill -9 of a rank on node 1: a new generation on both"
program crashed
both "${training[@]}"
await crashed 50
kill -9 "$(pgrep -P $second train_lm)"
same_end crashed
for out in a b; do
    grep -q 'gen=1 msg="generation started"' "$work/$out.out" || fail "no new generation on $out"
done
grep -q "resumed at step [1-9]" "$work/a.out" || fail "started from the beginning"

say "kill -9 of node 1's agent: its replacement joins, and the job goes on"
program replaced
both "${training[@]}"
await replaced 50
kill -9 $second
wait $second || :
node "$b" 1 b "${training[@]}"; second=$!
same_end replaced
grep -q 'msg="node lost" node=1' "$work/a.out" || fail "node 0 did not say who was lost"
grep -q 'gen=1 msg="generation started"' "$work/b.out" || fail "the replacement joined no generation"

say "a node with the wrong secret stays out, and harms nobody"
program guarded
node "$a" 0 a "${training[@]}"; first=$!
until_true grep -q "waiting for nodes" "$work/a.out"
MST_JOB_SECRET=wrong node "$b" 1 b "${training[@]}"
ended 78 $! b
mentions "cannot join node 0"
node "$b" 1 b "${training[@]}"; second=$!
same_end guarded

say "nobody at the rendezvous: 138 at its deadline, not at that of --rdzv-timeout's default"
for address in 10.77.0.1 10.77.0.9; do # nobody listens; no such machine
    began=$(date +%s%N)
    expect 138 timeout 100 ip netns exec "$b" muster run --nnodes 2 --node-rank 1 --nproc 1 \
        --rdzv $address:29512 --rdzv-timeout 2 -- true
    mentions "cannot join node 0" "rdzv=\"$address:29512\""
    took=$((($(date +%s%N) - began) / 1000000))
    [ $took -ge 1900 ] || fail "took $took ms of a deadline of 2 s"
done
no_leftovers
echo OK
