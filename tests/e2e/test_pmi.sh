#!/bin/bash
# Programs of MPICH and of what is compatible with it, as they are, under muster run: no mpirun, no
# ssh. MPICH 5 and Intel MPI too, where `make deps-peers` has put them.
source "$(dirname "$0")/lib.sh"
export MST_JOB_SECRET=shared
peers=${PEERS:-$here/../../build/peers}
export I_MPI_ROOT=$peers/intel FI_PROVIDER_PATH=$peers/intel/lib I_MPI_FABRICS=shm

try_one_node() { # PROGRAM
    say "$1: ranks of one node"
    expect 0 timeout 60 muster run --nproc 3 -- "$1"
    mentions "rank 0 of 3: sum 6" "rank 1 of 3: sum 6" "rank 2 of 3: sum 6"
    expect 0 timeout 60 muster run --nproc 2 --mpi=pmi1 -- sh -c 'exec "$0"' "$1"
    mentions "rank 1 of 2: sum 3"

    say "$1: failures are named, and end"
    expect 5 timeout 60 muster run --nproc 3 --max-restarts 0 -- "$1" aborts
    mentions 'of_rank=1 because="it has called MPI_Abort"' 'because="exit code 5"'
    expect 1 timeout 60 muster run --nproc 3 --max-restarts 0 -- "$1" unfinished
    mentions 'of_rank=1 because="it has ended without MPI_Finalize"'
    expect 1 timeout 60 muster run --nproc 3 --max-restarts 0 -- "$1" orphans
    mentions 'of_rank=1 because="it has ended without MPI_Finalize"'
    expect 1 timeout 60 muster run --nproc 3 --max-restarts 0 -- "$1" outside
    mentions 'of_rank=1 because="it has ended without MPI_Init'
    expect 137 timeout 60 muster run --nproc 3 --max-restarts 0 -- "$1" killed
    mentions 'died=1' 'killed by SIGKILL'

    say "$1: ranks start again with the generation"
    expect 0 timeout 60 muster run --nproc 2 --max-restarts 1 --mpi=pmi1 -- \
        sh -c '[ $MST_GENERATION = 1 ] || set -- aborts; exec "$0" "$@"' "$1"
    mentions "rank 1 of 2: sum 3" "MPI_Abort"
}

node() { # SPACE RANK NPROC PROGRAM: an agent in the background, in its own namespace
    ip netns exec "$1" timeout 60 muster run --nnodes 2 --node-rank "$2" --nproc "$3" \
        --rdzv 10.79.0.1:29511 --rdzv-timeout 20 --max-restarts 0 --mpi="${mpi:-auto}" \
        -- "$4" "${5:-well}" \
        >"$work/$2.out" 2>&1 &
}

try_two_nodes() { # PROGRAM
    local first second
    say "$1: two nodes, uneven"
    node "$a" 0 1 "$1"; first=$!
    node "$b" 1 2 "$1"; second=$!
    ended 0 $first 0
    mentions "rank 0 of 3: sum 6"
    ended 0 $second 1
    mentions "rank 1 of 3: sum 6" "rank 2 of 3: sum 6"

    say "$1: two nodes, of which one leaves without MPI_Init, late or at once"
    node "$a" 0 1 "$1" outside; first=$!
    node "$b" 1 1 "$1" outside; second=$!
    ended 1 $first 0
    mentions "it waits for rank 1, which has ended without MPI_Init"
    ended 1 $second 1
    node "$a" 0 1 "$1" outside; first=$!
    mpi=pmi1 node "$b" 1 1 true; second=$!
    ended 1 $first 0
    mentions "it waits for rank 1, which has ended without MPI_Init"
    ended 1 $second 1

    say "$1: two nodes, a rank aborts"
    node "$a" 0 1 "$1" aborts; first=$!
    node "$b" 1 2 "$1" aborts; second=$!
    ended 5 $first 0
    ended 5 $second 1
    mentions 'of_rank=1 because="it has called MPI_Abort"'
}

programs=()
[ ! -x "$MUSTER_TESTS/mpi_ends-mpich" ] || programs+=("$MUSTER_TESTS/mpi_ends-mpich")
if [ -x "$peers/mpich/bin/mpicc" ]; then
    "$peers/mpich/bin/mpicc" -o "$work/mpich5" "$here/mpi_ends.c" -Wl,-rpath,"$peers/mpich/lib"
    programs+=("$work/mpich5")
fi
if [ -e "$peers/intel/include/mpi.h" ]; then
    cc -o "$work/intel" "$here/mpi_ends.c" -I"$peers/intel/include" -L"$peers/intel/lib" \
        -Wl,-rpath,"$peers/intel/lib" -lmpi
    programs+=("$work/intel")
fi
[ ${#programs[@]} -gt 0 ] || skip "there is no MPICH, and nothing compatible with it"

spaces=yes
two_spaces 10.79.0 || spaces=
[ -n "$spaces" ] || lacks "two nodes: network namespaces are not permitted"

say "a program without MPI is left alone"
expect 0 muster run --nproc 2 --mpi=pmi1 -- true
expect 3 muster run --nproc 2 --mpi=pmi1 --max-restarts 0 -- sh -c 'exit 3'

if [ -n "$spaces" ]; then
    say "a node that serves none is told"
    node "$a" 0 1 "${programs[0]}"; first=$!
    ip netns exec "$b" timeout 60 muster run --nnodes 2 --node-rank 1 --nproc 1 --mpi=none \
        --rdzv 10.79.0.1:29511 --rdzv-timeout 20 --max-restarts 0 -- sleep 60 >"$work/1.out" 2>&1 &
    second=$!
    ended 1 $first 0
    mentions "give --mpi=pmi1 on each"
    ended 1 $second 1
fi

for program in "${programs[@]}"; do
    try_one_node "$program"
    [ -z "$spaces" ] || try_two_nodes "$program"
done
no_leftovers
passed
