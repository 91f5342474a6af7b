#!/bin/bash
# Programs of libmuster under other launchers: ranks find one another at rank 0's library, and train
# and save as under muster run. torchrun's ranks are started by this script, with its variables; mpirun
# is the real one.
source "$(dirname "$0")/lib.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
unset MST_COMM MST_JOB_SECRET MST_JOB_SECRET_FILE
some_text 100000 "$work/text"
train() { # NAME COMMAND … --: train_lm behind COMMAND, into a root and a list of losses of that name
    local name=$1
    shift
    timeout 90 "$@" train_lm --data "$work/text" --ckpt "$work/$name" --batch 12 --ckpt-every 4 \
        --steps "${steps:-8}" --loss-log "$work/$name.loss"
}
same_losses() { # NAME: as muster run's, and the last checkpoint is whole
    cmp "$work/muster.loss" "$work/$1.loss" || fail "$1: other losses than under muster run"
    expect 0 muster ckpt verify "$work/$1"
    [ -e "$work/$1/step_8" ] || fail "$1: no checkpoint of the last step"
}
port=29610
torchrun_ranks() { # NAME NPROC [NAMESPACE …]: as many in each, $pids; NAME.R.out is rank R's output
    local name=$1 nproc=$2 node local_rank into
    shift 2
    local spaces=("${@:-}")
    port=$((port + 1))
    pids=()
    for node in "${!spaces[@]}"; do
        into=()
        [ -z "${spaces[node]}" ] || into=(ip netns exec "${spaces[node]}")
        for local_rank in $(seq 0 $((nproc - 1))); do
            train "$name" "${into[@]}" env -i PATH="$PATH" ${secret:+MST_JOB_SECRET="$secret"} \
                ${timeout_ms:+MST_TIMEOUT_MS="$timeout_ms"} \
                RANK=${#pids[@]} LOCAL_RANK="$local_rank" WORLD_SIZE=$((nproc * ${#spaces[@]})) \
                LOCAL_WORLD_SIZE="$nproc" GROUP_RANK="$node" MASTER_ADDR="${master:-localhost}" \
                MASTER_PORT=$port TORCHELASTIC_RUN_ID=none TORCHELASTIC_RESTART_COUNT=0 \
                sh -c 'echo $$ >"$0.$RANK.pid"; exec "$@"' "$work/$name" \
                >"$work/$name.${#pids[@]}.out" 2>&1 &
            pids+=($!)
        done
    done
}
all_end() { # CODE NAME: of the ranks
    local i
    for i in "${!pids[@]}"; do ended "$1" "${pids[i]}" "$2.$i"; done
}

say "what muster run says of it"
train muster muster run --nproc 4 -- >/dev/null 2>&1 || fail "muster run fails"
[ "$(wc -l <"$work/muster.loss")" = 8 ] || fail "not eight losses"

say "torchrun's variables, one node"
torchrun_ranks torchrun 4
all_end 0 torchrun
same_losses torchrun

say "a root that one launcher's ranks began, and another's go on with"
steps=4 train both muster run --nproc 4 -- >/dev/null 2>&1 || fail "muster run fails"
torchrun_ranks both 4
all_end 0 both
grep -q "resumed at step 4" "$work/both.0.out" || fail "it began anew"
same_losses both

if two_spaces 10.80.0; then
    say "torchrun's variables, two nodes: by a secret, or not at all"
    master=10.80.0.1 torchrun_ranks apart 2 "$a" "$b"
    all_end 1 apart
    mentions MST_JOB_SECRET_FILE MST_INSECURE=1
    [ ! -e "$work/apart.loss" ] || fail "somebody trained"
    secret=hush master=10.80.0.1 torchrun_ranks apart 2 "$a" "$b"
    all_end 0 apart
    same_losses apart
else
    lacks "two nodes: network namespaces are not permitted"
fi

one_rank() { # RANK COMMAND …: of two on this node, with the port of the last ones
    timeout 60 env -i PATH="$PATH" MST_TIMEOUT_MS="${timeout_ms:-30000}" RANK="$1" LOCAL_RANK="$1" \
        WORLD_SIZE="${world_size:-2}" LOCAL_WORLD_SIZE="${world_size:-2}" MASTER_ADDR=localhost \
        MASTER_PORT=$port TORCHELASTIC_RUN_ID=none TORCHELASTIC_RESTART_COUNT=0 "${@:2}"
}
say "a script of two programs, one behind the other"
port=$((port + 1))
one_rank 1 sh -c 'allreduce && allreduce' >"$work/job.out" 2>&1 &
job=$!
expect 0 one_rank 0 sh -c 'allreduce && allreduce'
ended 0 "$job" job

say "a rank that comes never is missed, by name"
port=$((port + 1))
code=0
timeout 60 env -i PATH="$PATH" MST_TIMEOUT_MS=2000 RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 \
    LOCAL_WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=$port allreduce >"$work/last.out" 2>&1 || code=$?
[ $code = 1 ] || fail "exit code $code instead of 1"
mentions "rank 0 serves the keys of its job" "127.0.0.1:"

say "a rank that was refused is missed by rank 0, which says why"
port=$((port + 1))
timeout_ms=4000 one_rank 0 env MST_JOB_SECRET=hush allreduce >"$work/job.out" 2>&1 &
job=$!
expect 1 one_rank 1 env MST_JOB_SECRET=hash allreduce
mentions "rank 0 serves the keys of its job" "secret"
ended 1 "$job" job
mentions "did not come in time: rank 1; refused here: 1, last 127.0.0.1:" "another job secret"

say "a rank that was killed is named, where its launcher does not end the others"
timeout_ms=80000 steps=1000000 torchrun_ranks killed 2
until_true test -s "$work/killed.loss"
timeout_ms=1000 expect 1 one_rank 1 allreduce # of another job
mentions "rank 1 has joined already" MASTER_PORT
timeout_ms=1000 world_size=3 expect 1 one_rank 2 allreduce
mentions "rank 2 counts 3 ranks, but rank 0 2"
kill -9 "$(cat "$work/killed.0.pid")"
ended 1 "${pids[1]}" killed.1
mentions "rank 0 has left, its process has ended"
wait "${pids[0]}" || :
rm -r "$work/killed" # with what it was about to save

real() { # NAME COMMAND …: ranks of a real mpirun
    local name=$1
    shift
    command -v "$1" >/dev/null || { lacks "$name: no $1"; return 0; }
    say "$name: trains and saves"
    train "$name" "$@" >"$work/last.out" 2>&1 || fail "exit code $?"
    same_losses "$name"
}
real openmpi mpirun.openmpi -n 4
port=$((port + 1))
export MASTER_ADDR=localhost MASTER_PORT=$port
real mpich mpiexec.hydra -n 4
unset MASTER_ADDR MASTER_PORT
if command -v mpiexec.hydra >/dev/null; then
    say "without an address that its launcher does not give, it is told what to set"
    expect 1 timeout 60 mpiexec.hydra -n 2 env MST_COMM=host allreduce
    mentions MASTER_ADDR MASTER_PORT
fi
no_leftovers
passed
