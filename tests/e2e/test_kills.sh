#!/bin/bash
# Runs of train_lm, each killed with -9 (a rank or the agent) at a random moment and restarted until
# done: every final loss equals the undisturbed one, every sample is shown once, nothing is left.
source "$(dirname "$0")/lib.sh"
runs=${RUNS:-100}
seed=${SEED:-$RANDOM}
steps=60
batch=16
some_text 400000 "$work/data.txt"
epoch=$(((400000 - 32) / 24 + 1))
say "$runs runs, SEED=$seed"
RANDOM=$seed

# train NAME: one attempt in the background.
train() {
    mkdir -p "$work/$1.samples"
    muster run --nproc 2 --max-restarts 3 -- train_lm --data "$work/data.txt" \
        --ckpt "$work/$1.ckpt" --steps $steps --ckpt-every 7 --batch $batch \
        --sample-log "$work/$1.samples" --loss-log "$work/$1.loss" >>"$work/$1.out" 2>&1 &
    agent=$!
}

# victim: the agent, or one of its ranks if there is one by now.
victim() {
    local ranks
    mapfile -t ranks < <(pgrep -P $agent train_lm || :)
    if [ $((RANDOM % 3)) = 0 ] || [ ${#ranks[@]} = 0 ]; then
        echo $agent
    else
        echo "${ranks[RANDOM % ${#ranks[@]}]}"
    fi
}

train reference
began=$(date +%s%N)
wait $agent || fail "the undisturbed run"
length=$((($(date +%s%N) - began) / 1000000))
want=$(final "$work/reference.out")
[ -n "$want" ] || fail "no final line"
"$here/check_samples.py" "$work/reference.samples" $steps $batch $epoch || fail "samples"

killed_agents=0
for run in $(seq "$runs"); do
    name=run
    rm -rf "$work/$name".*
    train $name
    moment=$((RANDOM % length))
    # The random moment is what is tested: wait for it, or for the end of the run.
    timeout "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))" tail -f /dev/null --pid=$agent || :
    pid=$(victim)
    [ "$pid" != $agent ] || killed_agents=$((killed_agents + 1))
    kill -9 "$pid" 2>/dev/null || :
    attempts=1
    until wait $agent; do
        attempts=$((attempts + 1))
        [ $attempts -le 5 ] || fail "run $run: not done after $attempts attempts"
        train $name
    done 2>/dev/null
    got=$(final "$work/$name.out")
    [ "$got" = "$want" ] || fail "run $run, killed at $moment ms: $got instead of $want"
    "$here/check_samples.py" "$work/$name.samples" $steps $batch $epoch >"$work/last.out" 2>&1 ||
        fail "run $run, killed at $moment ms: $(cat "$work/last.out")"
    no_leftovers
done
say "$runs runs end like the undisturbed one; agents killed: $killed_agents; $want"
