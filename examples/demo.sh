#!/bin/bash
# The demo: two ranks train on real text, are preempted, resume, lose a rank, resume, finish; the
# result must be that of a run which nothing disturbed, bit for bit. Leaves demo/loss.svg.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$PWD/build/bin
data=${DATA:-/usr/share/dictd/gcide.dict.dz}
steps=${STEPS:-900}
grace=30
rm -rf demo
mkdir -p demo
trap 'jobs -p | xargs -r kill 2>/dev/null || :' EXIT

give_up() {
    echo "demo: FAILED: $*" >&2
    exit 1
}

# train NAME: starts the job in the background; its checkpoints and losses are those of NAME.
train() {
    "$bin/muster" run --nproc 2 --grace $grace --max-restarts 3 -- "$bin/train_lm" \
        --data "$data" --ckpt "demo/$1.ckpt" --steps "$steps" --ckpt-every 100 \
        --loss-log "demo/$1.loss" >>"demo/$1.log" 2>&1 &
    agent=$!
}

# await NAME STEP: returns once the run has finished STEP.
await() {
    touch "demo/$1.loss"
    # tail ends by SIGPIPE once grep has seen the step
    tail -n +1 -F "demo/$1.loss" --pid=$agent 2>/dev/null | grep -q "^$2 " || :
    kill -0 $agent 2>/dev/null || give_up "$1 ended before step $2: see demo/$1.log"
}

finish() {
    local code=0
    wait $agent || code=$?
    [ $code = "$1" ] || { tail -n 20 demo/*.log >&2; give_up "exit code $code instead of $1"; }
}

field() { # NAME KEY of the last stats line
    grep -o "stats .*" "demo/$1.log" | tail -n 1 | grep -o "$2=[^ ]*" | cut -d= -f2
}
final() { grep -o "final step=.*" "demo/$1.log" | tail -n 1; }
row() { printf '%-34s %7s %9s %10s %15s %12s\n' "$@"; }
stats() { # TITLE NAME
    row "$1" "$(field "$2" steps)" "$(field "$2" generation)" "$(field "$2" tokens_per_s)" \
        "$(field "$2" allreduce_share)" "$(field "$2" ckpt_stall_ms)" >>demo/table
}

row "part" "steps" "restarts" "tokens/s" "allreduce share" "stall ms" >demo/table

echo "1. two ranks train on $(basename "$data"); SIGTERM at step $((steps / 3))"
train job
await job $((steps / 3))
began=$(date +%s%N)
kill -TERM $agent
finish 143
took=$((($(date +%s%N) - began) / 1000000))
[ $took -lt $((grace * 1000)) ] || give_up "draining took $took ms of $grace s"
step=$("$bin/muster" ckpt ls --json demo/job.ckpt | grep -o '"step": *[0-9]*' | grep -o '[0-9]*' |
    sort -n | tail -n 1)
echo "   exit 143 after $took ms; checkpoint of step $step is committed"
stats "preempted" job

echo "2. the same command again; kill -9 of rank 1 at step $((steps * 2 / 3))"
train job
await job $((steps * 2 / 3))
grep -q "resumed at step $step" demo/job.log || give_up "did not resume at step $step"
kill -9 "$(pgrep -P $agent train_lm | tail -n 1)"
finish 0
stats "resumed, rank lost, resumed" job
[ "$(field job generation)" = 1 ] || give_up "expected one new generation"

echo "3. the same training, undisturbed"
train reference
finish 0
stats "undisturbed" reference

gnuplot <<'PLOT' || give_up "gnuplot"
set terminal svg size 900,420 font "sans,12"
set output "demo/loss.svg"
set xlabel "step"
set ylabel "loss, nats per byte"
set logscale y
set grid
plot "demo/reference.loss" with lines lw 4 lc rgb "#c9d6e8" title "undisturbed", \
     "demo/job.loss" with lines lw 1 lc rgb "#1f4e9e" title "preempted, killed, resumed"
PLOT

echo
cat demo/table
echo
grep -o "the model writes:.*" demo/reference.log | tail -n 1
echo "disturbed:   $(final job)"
echo "undisturbed: $(final reference)"
[ -n "$(final job)" ] && [ "$(final job)" = "$(final reference)" ] || give_up "the results differ"
echo "demo: OK, preempted in $took ms, one rank killed, same bits: $(final job)"
