#!/bin/bash
# The mpi back end under every MPI there is: the conformance cases, failures, programs with an MPI
# of their own, and the same binaries without any MPI.
source "$(dirname "$0")/lib.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export MST_TIMEOUT_MS=20000
unset MST_COMM MST_MPI_MODULE
library=$(ldd "$(command -v muster-bench)" | awk '/libmuster-comm\.so/ { print $3 }')
libraries=$(dirname "$library")
failures="late mismatch aborted absent"
mkfifo "$work/go" "$work/end"

# case_of START NAME: a failure that two ranks see, expect, and leave with 0: no success all the same.
case_of() {
    MST_COMM=mpi timeout 60 $1 -n 2 "$MUSTER_TESTS/mpi_conformance" "$2" "$work" >"$work/last.out" 2>&1 &&
        fail "$2 is a success to $1"
    [ $? != 124 ] || fail "$2 leaves a hang"
    mentions "rank 0: OK" "rank 1: OK"
}

try_mpi() { # NAME START: all tests of one MPI, whose launcher is START
    local name=$1 start=$2 failure
    say "$name: bench, conformance, communicators, forks, examples"
    expect 0 env MST_COMM=mpi timeout 120 $start -n 2 muster-bench allreduce -b 8 -e 16M -f 4 -n 5
    [ "$(awk '$3 == "float" && $9 == 0 && $13 == 0' "$work/last.out" | wc -l)" = 11 ] ||
        fail "not 11 rows without wrong elements"
    mentions "Out of bounds values : 0 OK"
    for failure in conformance communicators forked; do
        expect 0 env MST_COMM=mpi timeout 120 $start -n 2 "$MUSTER_TESTS/mpi_conformance" $failure
    done
    expect 0 env MST_COMM=mpi timeout 120 $start -n 3 "$MUSTER_TESTS/mpi_conformance" communicators
    mentions "rank 2: OK"
    expect 0 env MST_COMM=mpi timeout 60 $start -n 1 allreduce
    expect 0 timeout 60 $start -n 2 allreduce
    mentions "OK on 2 ranks"
    expect 0 timeout 60 $start -n 2 "mpi_hello-$name"
    mentions "hello from rank 1 of 2"

    say "$name: failures end in words, on both ranks"
    for failure in $failures; do case_of "$start" $failure; done
    MST_COMM=mpi timeout 60 $start -n 2 "$MUSTER_TESTS/mpi_conformance" killed >"$work/last.out" 2>&1 &&
        fail "a killed rank is a success"
    [ $? != 124 ] || fail "a killed rank leaves a hang"

    say "$name: beside the program's own MPI"
    expect 0 env MST_COMM=mpi timeout 60 $start -n 2 "$MUSTER_TESTS/mpi_guest-$name"
    timeout 60 $start -n 2 env MST_COMM=mpi "$MUSTER_TESTS/mpi_guest-$name" torn \
        >"$work/last.out" 2>&1 && fail "a torn communicator is a success"
    [ $? != 124 ] || fail "a torn communicator leaves a hang"
    mentions "leaves with 0"
    expect 1 env MST_COMM=mpi timeout 60 $start -n 2 "$MUSTER_TESTS/mpi_guest-$name" single
    mentions MPI_THREAD_SERIALIZED
    if [ "$name" = mpich ]; then # Open MPI tells its ranks what no other start is called
        expect 1 timeout 60 $start -n 2 env MST_COMM=host allreduce
        mentions "muster run" MST_COMM=mpi MASTER_ADDR
    fi
}

without_mpi() {
    say "no MPI in the library, none needed by it"
    if ldd "$library" | grep -iE 'libmpi|mpich'; then fail "libmuster is linked with an MPI"; fi
    expect 0 muster run --nproc 2 -- allreduce
    expect 0 env MST_MPI_MODULE="$work/absent.so" muster run --nproc 2 -- allreduce
    expect 1 env MST_COMM=mpi MST_MPI_MODULE="$work/absent.so" allreduce
    mentions MST_MPI_MODULE "$work/absent.so"
    expect 1 env MST_COMM=mpi MST_MPI_MODULE=libz.so.1 allreduce
    mentions "no MPI module of this release"

    say "the same binaries where no module is"
    mkdir "$work/lib" "$work/bin"
    cp "$libraries"/libmuster-{core,comm}.so.0 "$work/lib"
    cp "$(command -v muster)" "$(command -v muster-bench)" "$(command -v allreduce)" "$work/bin"
    expect 0 env LD_LIBRARY_PATH="$work/lib" PATH="$work/bin:$PATH" muster run --nproc 2 -- allreduce
    expect 0 env LD_LIBRARY_PATH="$work/lib" "$work/bin/muster-bench" allreduce --nproc 2 -e 1K
    expect 1 env LD_LIBRARY_PATH="$work/lib" MST_COMM=mpi "$work/bin/allreduce"
    mentions "libmuster-mpi-openmpi.so"
}

# Under `unshare` the MPI libraries themselves are hidden, while the module is there.
without_libraries() {
    local mpi
    unshare -m true 2>/dev/null || return 0
    say "a module whose MPI is gone"
    mpi=$(ldd "$libraries/libmuster-mpi-openmpi.so" | awk '/libmpi\.so/ { print $3 }')
    expect 1 unshare -m env MST_COMM=mpi sh -c "mount --bind /dev/null '$mpi' && exec allreduce"
    mentions "libmpi.so" MST_MPI_MODULE
    expect 0 unshare -m sh -c "mount --bind /dev/null '$mpi' && exec muster run --nproc 2 allreduce"
}

# A program of Open MPI is no rank of a muster run that has no muster-pmix, and a library that comes
# later is told of once.
under_muster() {
    local hello bare=$work/bare
    hello=$(command -v mpi_hello-openmpi)
    say "a program of Open MPI under muster run, without muster-pmix"
    mkdir "$bare"
    cp "$(command -v muster)" "$bare"
    expect 78 env PATH="$bare:/usr/bin:/bin" muster run --nproc 2 -- "$hello"
    mentions "muster-pmix" "libpmix-dev" "mpirun" "--mpi=none"
    expect 78 env PATH="$bare:/usr/bin:/bin" muster run --dry-run --nproc 2 -- "$hello"
    expect 78 env PATH="$bare:/usr/bin:/bin" muster run --mpi=pmix --nproc 2 -- true
    mentions "muster-pmix" "libpmix-dev"
    expect 78 muster run --nproc 2 --mpi=pmi1 -- mpi_hello-openmpi
    mentions "is linked with libmpi" "--mpi=pmix" "--mpi=none"
    expect 0 timeout 60 muster run --nproc 1 -- mpi_hello-openmpi
    expect 0 timeout 60 muster run --nproc 2 --mpi=none -- mpi_hello-openmpi
    [ "$(grep -c 'hello from rank 0 of 1' "$work/last.out")" = 2 ] || fail "not two worlds of one"
}

loaded_later() {
    local mpi job
    say "a library that is loaded later"
    mpi=$(ldd "$libraries/libmuster-mpi-openmpi.so" | awk '/libmpi\.so/ { print $3 }')
    muster run --nproc 2 -- sh -c 'env LD_PRELOAD="$0" sleep 60; true' "$mpi" >"$work/later.out" 2>&1 &
    job=$!
    until_true grep -q "loaded_by=0 library=\"$(basename "$(readlink -f "$mpi")")\"" "$work/later.out"
    kill $job
    wait $job || :
    [ "$(grep -c loaded_by= "$work/later.out")" = 1 ] || fail "not one warning"
    expect 78 timeout 60 muster run --nproc 2 --mpi=pmi1 -- env LD_PRELOAD="$mpi" sleep 60
    mentions "loaded_by=0" "other than the one that --mpi connects" "--mpi=pmix" "--mpi=none"
    mkdir "$work/mpi4py"
    cp "$(ldconfig -p | awk '/libz\.so\.1 / { print $NF; exit }')" "$work/mpi4py/MPI.x.so"
    expect 78 timeout 60 muster run --nproc 2 -- \
        env LD_PRELOAD="$mpi $work/mpi4py/MPI.x.so" sleep 60
    mentions "loaded_by=0" "uses an MPI by mpi4py" "--mpi=pmix" "--mpi=none"
}

without_mpi
tried=0
if [ -e "$libraries/libmuster-mpi-openmpi.so" ] && command -v mpirun.openmpi >/dev/null; then
    try_mpi openmpi mpirun.openmpi
    under_muster
    loaded_later
    without_libraries
    tried=$((tried + 1))
fi
if [ -e "$libraries/libmuster-mpi-mpich.so" ] && command -v mpiexec.hydra >/dev/null; then
    try_mpi mpich mpiexec.hydra
    tried=$((tried + 1))
fi
no_leftovers
[ $tried -gt 0 ] || skip "neither Open MPI nor MPICH is built in"
