#!/bin/bash
# Programs of MPICH, of what is compatible with it, and of Open MPI, as they are, under muster run: no
# mpirun, no ssh. MPICH 5, Intel MPI and Open MPI 5 too, where `make deps-peers` has put them.
source "$(dirname "$0")/lib.sh"
export MST_JOB_SECRET=shared
peers=${PEERS:-$here/../../build/peers}
export TMPDIR=$work/tmp
mkdir "$TMPDIR"
export I_MPI_ROOT=$peers/intel FI_PROVIDER_PATH=$peers/intel/lib I_MPI_FABRICS=shm

# How PROGRAM's ranks are connected: mpi_ends is built for each MPI under its name.
served() {
    case "$1" in
    *openmpi*) echo pmix ;;
    *) echo pmi1 ;;
    esac
}

try_one_node() { # PROGRAM
    local mpi
    mpi=$(served "$1")
    say "$1: ranks of one node"
    expect 0 timeout 60 muster run --nproc 4 -- "$1"
    mentions "rank 0 of 4: sum 10" "rank 1 of 4: sum 10" "rank 2 of 4: sum 10" "rank 3 of 4: sum 10"
    expect 0 timeout 60 muster run --nproc 2 --mpi="$mpi" -- sh -c 'exec "$0"' "$1"
    mentions "rank 1 of 2: sum 3"
    printf '#!%s well\n' "$1" >"$work/script"
    chmod +x "$work/script"
    expect 0 timeout 60 muster run --nproc 2 -- nice -n 1 timeout -k 1 50 env A=1 "$work/script"
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
    expect 0 timeout 60 muster run --nproc 2 --max-restarts 1 --mpi="$mpi" -- \
        sh -c '[ $MST_GENERATION = 1 ] || set -- aborts; exec "$0" "$@"' "$1"
    mentions "rank 1 of 2: sum 3" "MPI_Abort"
}

# No file of a job is left, in $TMPDIR or in memory, in which MPICH leaves some. muster-pmix outlives its agent by what it has to
# clear up.
no_file_left() {
    [ -z "$(ls "$TMPDIR")" ] && ! ls -d /dev/shm/{muster-pmix,vader,sm_segment}* 2>/dev/null
}

staying() { # PROGRAM: a job in the background, as $job, whose rank 1 stays where it is
    rm -f "$work/job.out"
    muster run --nproc 2 --max-restarts 0 -- "$1" stays >"$work/job.out" 2>&1 &
    job=$!
    until_true grep -q "it stays" "$work/job.out"
}

server_of() { # JOB NAME: the number of the process of that name that its agent has started
    local pid
    for pid in $(cat "/proc/$1/task/$1/children"); do
        [ "$(cat "/proc/$pid/comm")" != "$2" ] || echo "$pid"
    done
}

try_kills() { # PROGRAM of Open MPI
    local name=muster-pmix
    say "$1: $name is killed, the agent, or both"
    staying "$1"
    kill -9 "$(server_of $job "$name")"
    ended 1 $job job
    mentions "$name, which connects them, has died: killed by SIGKILL"
    until_true no_file_left
    staying "$1"
    kill -9 $job
    wait $job 2>/dev/null || :
    until_true no_file_left
    staying "$1"
    kill -9 "$(server_of $job "$name")" $job
    wait $job 2>/dev/null || :
    until_true no_file_left
}

read_only() { # FOLDERS COMMAND …: runs it where nothing can be written in those
    unshare -m sh -c 'for place in $0; do mount --bind "$place" "$place" &&
        mount -o remount,ro,bind "$place"; done; exec "$@"' "$@"
}

try_read_only() { # PROGRAM
    unshare -m true 2>/dev/null || return 0
    say "$1: where no folder can be made"
    expect 0 read_only "$TMPDIR" timeout 60 muster run --nproc 2 -- "$1"
    mentions "rank 1 of 2: sum 3"
    expect 78 read_only "$TMPDIR /tmp /var/tmp /dev/shm" timeout 60 muster run --nproc 2 -- "$1"
    mentions "Read-only file system" "set TMPDIR to one that may be written"
    no_file_left || fail "there is a file left"
}

# What begins in muster-pmix's place tells what the job ends with, not the ranks that it leaves.
try_starts() {
    local bare=$work/bare
    mkdir "$bare"
    cp "$(command -v muster)" "$bare"
    say "muster-pmix that does not start"
    printf '#!/bin/sh\nexit 127\n' >"$bare/muster-pmix"
    chmod +x "$bare/muster-pmix"
    expect 78 timeout 60 "$bare/muster" run --nproc 2 --mpi=pmix -- sleep 60
    mentions "ranks of MPI cannot go on" "libpmix2"
    printf '#!/bin/sh\nkill -9 $$\n' >"$bare/muster-pmix"
    expect 1 timeout 60 "$bare/muster" run --nproc 2 --mpi=pmix --max-restarts 0 -- sleep 60
    mentions "ended before it was ready (killed by SIGKILL)"
    ! grep "rank died" "$work/last.out" || fail "a rank is blamed for it"
}

# An agent in the background, in its own namespace, on one host of one name.
node() { # SPACE RANK NPROC PROGRAM
    ip netns exec "$1" timeout 60 muster run --nnodes 2 --node-rank "$2" --nproc "$3" \
        --rdzv 10.79.0.1:29511 --rdzv-timeout 20 --max-restarts 0 --mpi="${mpi:-auto}" \
        -- "$4" "${5:-well}" \
        >"$work/$2.out" 2>&1 &
}

try_two_nodes() { # PROGRAM
    local first second
    say "$1: two nodes, even and uneven"
    node "$a" 0 2 "$1"; first=$!
    node "$b" 1 2 "$1"; second=$!
    ended 0 $first 0
    mentions "rank 0 of 4: sum 10" "rank 1 of 4: sum 10"
    ended 0 $second 1
    mentions "rank 2 of 4: sum 10" "rank 3 of 4: sum 10"
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
    mpi=$(served "$1") node "$b" 1 1 true; second=$!
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

# What no fence of all has brought: asked of the other node, met by some, or refused.
try_parts() {
    local first second program=$MUSTER_TESTS/pmix_parts told
    say "PMIx: words of others, fences of some, on one node and on two"
    expect 0 timeout 60 muster run --nproc 4 --mpi=pmix --max-restarts 0 -- "$program"
    mentions "rank 0 of 4: OK" "rank 3 of 4: OK"
    [ -n "$spaces" ] || return 0
    for told in well silent; do
        mpi=pmix node "$a" 0 2 "$program" $told; first=$!
        mpi=pmix node "$b" 1 2 "$program" $told; second=$!
        ended 0 $first 0
        mentions "rank 0 of 4: OK" "rank 1 of 4: OK"
        ended 0 $second 1
        mentions "rank 2 of 4: OK" "rank 3 of 4: OK"
    done
}

# mpi_parts of the MPI that has built PROGRAM, with all told at the start, and with each when it is
# asked for.
try_groups() { # PROGRAM
    local first second
    say "$1: communicators of some, on two nodes"
    for OMPI_MCA_pmix_base_async_modex in 0 1; do
        export OMPI_MCA_pmix_base_async_modex
        node "$a" 0 2 "$1"; first=$!
        node "$b" 1 2 "$1"; second=$!
        ended 0 $first 0
        mentions "rank 0 of 4: OK" "rank 1 of 4: OK"
        ended 0 $second 1
        mentions "rank 2 of 4: OK" "rank 3 of 4: OK"
    done
    unset OMPI_MCA_pmix_base_async_modex
}

programs=()
[ ! -x "$MUSTER_TESTS/mpi_ends-mpich" ] || programs+=("$MUSTER_TESTS/mpi_ends-mpich")
if [ -x "$peers/mpich/bin/mpicc" ]; then
    for program in ends parts; do
        "$peers/mpich/bin/mpicc" -o "$work/mpi_$program-mpich5" "$here/mpi_$program.c" \
            -Wl,-rpath,"$peers/mpich/lib"
    done
    programs+=("$work/mpi_ends-mpich5")
fi
if [ -e "$peers/intel/include/mpi.h" ]; then
    for program in ends parts; do
        cc -o "$work/mpi_$program-intel" "$here/mpi_$program.c" -I"$peers/intel/include" \
            -L"$peers/intel/lib" -Wl,-rpath,"$peers/intel/lib" -lmpi
    done
    programs+=("$work/mpi_ends-intel")
fi
if [ -x "$MUSTER_BIN/muster-pmix" ]; then
    [ ! -x "$MUSTER_TESTS/mpi_ends-openmpi" ] || programs+=("$MUSTER_TESTS/mpi_ends-openmpi")
    if [ -x "$peers/openmpi/bin/mpicc" ]; then
        export OPAL_PREFIX=$peers/openmpi
        for program in ends parts; do
            "$peers/openmpi/bin/mpicc" -o "$work/mpi_$program-openmpi5" "$here/mpi_$program.c" \
                -Wl,-rpath,"$peers/openmpi/lib"
        done
        unset OPAL_PREFIX
        programs+=("$work/mpi_ends-openmpi5")
    fi
else
    lacks "Open MPI: this is built without libpmix"
fi
[ ${#programs[@]} -gt 0 ] || skip "there is no MPI"

spaces=yes
two_spaces 10.79.0 || spaces=
[ -n "$spaces" ] || lacks "two nodes: network namespaces are not permitted"

for protocol in $(for program in "${programs[@]}"; do served "$program"; done | sort -u); do
    say "a program without MPI is left alone by $protocol"
    expect 0 muster run --nproc 2 --mpi="$protocol" -- true
    expect 3 muster run --nproc 2 --mpi="$protocol" --max-restarts 0 -- sh -c 'exit 3'
    expect 127 muster run --nproc 2 --mpi="$protocol" -- "$work/absent"
    mentions "cannot start $work/absent"
    expect 0 muster run --nproc 2 --mpi="$protocol" -- env
    [ "$(grep -cE '] PMIX?_RANK=' "$work/last.out")" = 2 ] || fail "not one PMI is set"
    ! grep MST_PMIX_FD "$work/last.out" || fail "a rank is told of what it has got already"

    if [ "$protocol" = pmi1 ]; then
        say "the second program of a script is told that it has no connection left"
        program=$(for one in "${programs[@]}"; do [ "$(served "$one")" != pmi1 ] || echo "$one"; done | head -1)
        expect 141 timeout 60 muster run --nproc 2 --mpi=pmi1 --max-restarts 0 -- sh -c '"$0"; "$0"' "$program"
        mentions "a second program of MPI behind the first"
    fi

    [ -n "$spaces" ] || continue
    say "a node that serves none is told by $protocol"
    mpi=$protocol node "$a" 0 1 sleep 60; first=$!
    mpi=none node "$b" 1 1 sleep 60; second=$!
    ended 1 $first 0
    mentions "give --mpi=$protocol on each"
    ended 1 $second 1
done

for program in "${programs[@]}"; do
    unset OPAL_PREFIX
    [ "$program" != "$work/mpi_ends-openmpi5" ] || export OPAL_PREFIX=$peers/openmpi
    try_one_node "$program"
    if [ "$(served "$program")" = pmix ]; then
        try_kills "$program"
        try_read_only "$program"
    fi
    [ -n "$spaces" ] || continue
    try_two_nodes "$program"
    try_groups "${program/mpi_ends/mpi_parts}"
done
if [ -x "$MUSTER_BIN/muster-pmix" ]; then
    unset OPAL_PREFIX
    try_starts
    try_parts
fi
until_true no_file_left
no_leftovers
passed
