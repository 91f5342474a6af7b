#!/bin/bash
# Runs of train_lm that are disturbed at a random moment, each in one of the ways below, and started
# again until they are done. A run is violated if its final loss is not that of the undisturbed run,
# a sample is shown by two steps or by none, an end has a code that tells an operator not to start
# it again, it hangs, it takes too many starts, or something is left. A way that came too late for
# its run (nobody was there any more) is tried again at another moment.
#   RUNS=n    so many runs (40); `make kills` does 500
#   SEED=n    the ways and moments of an earlier night, as it printed it
#   ONLY=way  this way only, of `kinds` below
source "$(dirname "$0")/lib.sh"
runs=${RUNS:-40}
seed=${SEED:-$RANDOM}
steps=60
batch=16
grace=10
some_text 400000 "$work/data.txt"
epoch=$(((400000 - 32) / 24 + 1))
say "$runs runs, SEED=$seed"
RANDOM=$seed

# ---- one attempt ---------------------------------------------------------------------------------

# options NAME: what every attempt of a run has in common, in $program.
options() {
    mkdir -p "$work/$1.samples"
    program=(train_lm --data "$work/data.txt" --ckpt "$work/run.ckpt" --steps "$steps" --ckpt-every 7
        --batch "$batch" --sample-log "$work/$1.samples")
}

# train NAME [OPTIONS …]: one attempt in the background, in a session of its own, as $agent.
train() {
    local name=$1
    shift
    options "$name"
    setsid muster run --nproc 2 --max-restarts 3 --grace $grace --job-id "$id" "$@" -- \
        "${program[@]}" >>"$work/$name.out" 2>&1 &
    agent=$!
}

# at_a_moment PID: waits for a random moment of an undisturbed run, an earlier one at each try, or for
# the end of this one.
at_a_moment() {
    moment=$((RANDOM % (length / tries)))
    timeout "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))" \
        tail -s 0.05 -f /dev/null --pid="$1" || :
}

ranks_of() { pgrep -P "$1" train_lm || :; }

# pick_rank PID: one of its ranks as $victim; the agent itself if it has none yet.
pick_rank() {
    local ranks
    mapfile -t ranks < <(ranks_of "$1")
    victim=$1
    [ ${#ranks[@]} = 0 ] || victim=${ranks[RANDOM % ${#ranks[@]}]}
}

# hit SIGNAL PID …: a disturbance, which counts if anybody was there.
hit() { kill "-$1" "${@:2}" 2>/dev/null && hits=$((hits + 1)) || :; }

violated() {
    violations=$((violations + 1))
    echo "VIOLATED: run $run, $kind at ${moment:-0} ms: $*"
    tail -n 20 "$work/run.out" 2>/dev/null || :
}

# ends PID SECONDS: whether it ends within that time.
ends() { timeout "$2" tail -s 0.05 -f /dev/null --pid="$1"; }

# end_of PID: how it ended, as $code. Who hangs is killed.
end_of() {
    code=0
    if ends "$1" 60; then
        wait "$1" || code=$?
    else
        kill -KILL -- "-$1" || :
        code=hangs
    fi
} 2>/dev/null

# may_start_again CODE: whether an operator would.
may_start_again() {
    case $1 in 129 | 130 | 131 | 134 | 137 | 138 | 139 | 143) return 0 ;; *) return 1 ;; esac
}

# finish: waits for $agent, and starts the run again until it is done.
finish() {
    local attempts=1
    while end_of "$agent" && [ "$code" != 0 ]; do
        may_start_again "$code" || { violated "exit code $code"; return; }
        attempts=$((attempts + 1))
        [ $attempts -le 6 ] || { violated "not done after 6 starts"; return; }
        train run
    done
    judge run
}

# judge NAME: the final line and the samples of a run that is done.
judge() {
    local got
    got=$(final "$work/$1.out") || got="no final line"
    [ "$got" = "$want" ] || violated "$got instead of $want"
    "$here/check_samples.py" "$work/$1.samples" $steps $batch $epoch >"$work/last.out" 2>&1 ||
        violated "$(cat "$work/last.out")"
    timeout 60 muster ckpt verify "$work/run.ckpt" >"$work/last.out" 2>&1 ||
        violated "$(cat "$work/last.out")"
}

# ---- the ways ------------------------------------------------------------------------------------

strike_a_rank() { pick_rank "$agent" && hit "$1" "$victim"; }
one_rank_killed() { train run && at_a_moment $agent && strike_a_rank KILL && finish; }
the_agent_killed() { train run && at_a_moment $agent && hit KILL $agent && finish; }
one_rank_crashed() { train run && at_a_moment $agent && strike_a_rank SEGV && finish; }
a_stranger_terminates_one_rank() {
    train run && at_a_moment $agent && strike_a_rank TERM && finish
}
preempted() { train run && at_a_moment $agent && hit TERM $agent && finish; }

# As Slurm, systemd and LSF do: the signal is for everybody.
preempted_as_a_group() {
    train run --term agent && at_a_moment $agent
    local ranks
    mapfile -t ranks < <(ranks_of $agent)
    hit TERM $agent "${ranks[@]}"
    finish
}

# The second one counts where it comes 250 ms later: then all ranks are killed.
interrupted_twice() {
    train run && at_a_moment $agent && hit INT $agent
    ends $agent 0.3 || hit INT $agent
    finish
}

preempted_and_then_killed() {
    train run && at_a_moment $agent && hit TERM $agent && strike_a_rank KILL && finish
}

# Who reads the output has stopped; the drain must end within the grace all the same.
a_reader_that_stopped() {
    mkfifo "$work/run.fifo"
    cat "$work/run.fifo" >>"$work/run.out" &
    local reader=$!
    options run
    setsid muster run --nproc 2 --grace $grace --job-id "$id" --log-level debug -- \
        "${program[@]}" >"$work/run.fifo" 2>&1 &
    agent=$!
    at_a_moment $agent
    kill -STOP $reader 2>/dev/null || : # gone with its job: this way came too late
    hit TERM $agent
    ends $agent $((grace + 5)) || violated "no end within the grace"
    kill -CONT $reader 2>/dev/null || :
    end_of $agent
    ends $reader 10 || violated "somebody holds the output"
    kill -KILL $reader 2>/dev/null || :
    wait $reader 2>/dev/null || :
    rm -f "$work/run.fifo"
    case $code in
        0) judge run ;;
        *) may_start_again "$code" || violated "exit code $code"
            train run
            finish ;;
    esac
}

# Readers of the root beside its job, one of them killed.
evaluators() {
    train run
    local reader
    at_a_moment $agent
    timeout 60 muster ckpt ls "$work/run.ckpt" >/dev/null 2>&1 || :
    muster ckpt verify "$work/run.ckpt" >/dev/null 2>&1 &
    reader=$!
    hit KILL $reader
    wait $reader 2>/dev/null || :
    finish
}

# The job of another id is refused as long as this one lives.
another_job_on_the_root() {
    train run
    at_a_moment $agent
    local code=0
    until [ -e "$work/run.ckpt/OWNER.1" ]; do ! ends $agent 0.02 || break; done
    timeout -k 5 60 muster run --nproc 2 --max-restarts 0 --job-id "other-$id" -- train_lm \
        --data "$work/data.txt" --ckpt "$work/run.ckpt" --steps 3 --batch $batch \
        >"$work/other.out" 2>&1 || code=$?
    if kill -0 $agent 2>/dev/null; then
        hits=1
        # it may have asked when this one had just given the root back
        [ $code = 78 ] || grep -q 'final step' "$work/run.out" ||
            violated "another job ended with $code, not 78"
    fi
    finish
}

# A pod that was given up and replaced wakes up again: it may write nothing any more.
a_zombie_pod() {
    train zombie
    local zombie=$agent pids
    at_a_moment $zombie
    pids="$zombie $(ranks_of $zombie)"
    hit STOP $pids
    cp -r "$work/zombie.samples" "$work/run.samples"
    train run
    at_a_moment $agent
    kill -CONT $pids 2>/dev/null || :
    finish
    end_of $zombie
    [ "$code" != hangs ] || violated "the zombie hangs"
}

# Two agents; one of them is killed, and whoever ended is started again.
one_of_two_nodes_killed() {
    local pids=() code starts=0 node until=$((SECONDS + 180))
    node() {
        options run
        setsid muster run --nproc 1 --nnodes 2 --node-rank "$1" --rdzv "127.0.0.1:$port" \
            --rdzv-timeout 30 --insecure --job-id "$id" -- "${program[@]}" >>"$work/run.out" 2>&1 &
        pids[$1]=$!
    }
    port=$((20000 + RANDOM % 9000))
    node 0
    node 1
    at_a_moment "${pids[0]}"
    victim=${pids[RANDOM % 2]}
    [ $((RANDOM % 2)) = 0 ] || pick_rank "$victim"
    hit KILL "$victim"
    while [ ${#pids[@]} -gt 0 ]; do
        [ $SECONDS -lt $until ] || { violated "hangs"; break; }
        for node in "${!pids[@]}"; do
            kill -0 "${pids[node]}" 2>/dev/null && continue
            code=0
            wait "${pids[node]}" 2>/dev/null || code=$?
            unset "pids[node]"
            [ $code != 0 ] || continue
            may_start_again $code || { violated "node $node: exit code $code"; break 2; }
            starts=$((starts + 1))
            [ $starts -le 8 ] || { violated "not done after $starts starts"; break 2; }
            node "$node"
        done
        read -rt 0.05 <> <(:) || :
    done
    for node in "${!pids[@]}"; do kill -KILL -- "-${pids[node]}" || :; done 2>/dev/null
    judge run
}

kinds=(one_rank_killed the_agent_killed one_rank_crashed a_stranger_terminates_one_rank preempted
    preempted_as_a_group interrupted_twice preempted_and_then_killed a_reader_that_stopped
    evaluators another_job_on_the_root a_zombie_pod one_of_two_nodes_killed)

[ -z "${ONLY:=}" ] || [[ " ${kinds[*]} " = *" $ONLY "* ]] || fail "no way $ONLY: ${kinds[*]}"

# ---- all of it -----------------------------------------------------------------------------------

violations=0
id=reference
train reference
began=$(date +%s%N)
ends $agent 120 && wait $agent || fail "the undisturbed run"
length=$((($(date +%s%N) - began) / 1000000))
want=$(final "$work/reference.out")
[ -n "$want" ] || fail "no final line"
"$here/check_samples.py" "$work/reference.samples" $steps $batch $epoch || fail "samples"

# disturbed: one run in the way $kind.
disturbed() {
    rm -rf "$work"/run.* "$work"/zombie.* "$work"/other.*
    hits=0
    id=job-$run.$tries
    $kind
    left=$(pgrep -af "$work" || :)
    [ -z "$left" ] || violated "left: $left"
    left=$(find "$work" -name 'step_*.tmp.*')
    [ -z "$left" ] || violated "left: $left"
}

declare -A count late
for run in $(seq "$runs"); do
    [ $((run % 50)) != 0 ] || say "$run of $runs, $violations violations"
    kind=${ONLY:-${kinds[(run + seed) % ${#kinds[@]}]}}
    count[$kind]=$((${count[$kind]:-0} + 1))
    for tries in 1 2 3 4 5 6; do
        disturbed
        [ $hits = 0 ] || continue 2
        late[$kind]=$((${late[$kind]:-0} + 1))
    done
    violated "came too late $tries times"
done
for kind in "${kinds[@]}"; do
    say "${count[$kind]:-0} × ${kind//_/ }, and ${late[$kind]:-0} that came too late"
done
say "$runs runs, $violations violations; $want"
[ $violations = 0 ] || fail "SEED=$seed"
passed
