#!/bin/bash
# Whole jobs over NCCL and CUDA: with fake libraries, which have faults on demand, with the real NCCL
# as far as it goes without a device, and with nothing of both.
source "$(dirname "$0")/lib.sh"
fakes=$MUSTER_TESTS/fakes
real=$here/../../build/cuda/lib/libnccl.so.2
export MST_TIMEOUT_MS=20000
unset MST_NCCL_LIB FAKE_NCCL FAKE_CUDA
run="timeout 60 muster run --nproc 2 --max-restarts 0 --"

# Libraries that are found first and are none: those of this machine are hidden.
mkdir "$work/none"
touch "$work/none/libcuda.so.1" "$work/none/libnccl.so.2"

# ending WORDS SCRIPT: both ranks of a job with this fault say so.
ending() {
    expect 1 env FAKE_NCCL="$2" $run muster-bench allreduce -b 1K -e 1K -n 5
    [ "$(grep -c "^\[[01]\] .*$1" "$work/last.out")" -ge 2 ] || fail "not both ranks say \"$1\""
}

without() {
    say "no CUDA and no NCCL: nothing is linked with them, and all the rest works"
    local program
    for program in muster muster-bench train_lm allreduce; do
        if ldd "$(command -v $program)" | grep -iE 'libcuda|libnccl'; then fail "$program is"; fi
    done
    expect 0 $run allreduce
    expect 0 $run train_lm --data "$work/text" --ckpt "$work/ckpt" --steps 9
    expect 1 env MST_COMM=nccl $run allreduce
    mentions "rank 0 cannot use NCCL" libnccl.so.2 MST_NCCL_LIB
}

real() {
    say "the real NCCL without a driver"
    expect 1 env MST_COMM=nccl MST_NCCL_LIB="$real" $run allreduce
    mentions "rank 0 cannot use NCCL: no CUDA driver" libcuda.so.1
}

faked() {
    say "fakes: bench"
    expect 0 env MST_COMM=nccl $run muster-bench allreduce -b 8 -e 16M -f 4 -n 3
    [ "$(awk '$4 == "float" && $10 == 0 && $14 == 0' "$work/last.out" | wc -l)" = 11 ] ||
        fail "not 11 rows without wrong elements"

    say "fakes: faults"
    export MST_COMM=nccl
    ending "rank 1: NCCL, async error: remote process exited" error=4,at=1
    MST_TIMEOUT_MS=500 ending "NCCL has not finished in time" hang=4
    ending "rank 0 has NCCL 2.27.0 (22700) and rank 1 has 2.28.0 (22800)" version=22700,version_step=100
    ending "unhandled cuda error" init=1
    ending "NCCL, unique id" id=2
    expect 64 env FAKE_CUDA=devices=1 $run muster-bench allreduce -b 1K -e 1K -n 5
    mentions "ranks 0 and 1 have the same device"
    expect 0 env FAKE_CUDA=devices=1,own=1 $run muster-bench allreduce -b 1K -e 1K -n 5
    expect 64 env FAKE_CUDA=devices=2 timeout 60 muster run --nproc 3 --max-restarts 0 -- \
        muster-bench allreduce -b 1K -e 1K -n 5
    mentions "rank 2 cannot use NCCL: local rank 2 has no CUDA device: this process sees 2"
    expect 137 env FAKE_NCCL=kill=4,at=1 $run muster-bench allreduce -b 1K -e 1K -n 5
    mentions "killed by SIGKILL" "the generation was aborted because of rank 1"
}

some_text 100000 "$work/text"
export LD_LIBRARY_PATH=$work/none
without
if [ -e "$real" ]; then real; else lacks "no NCCL: make deps-cuda"; fi
export LD_LIBRARY_PATH=$fakes
faked
no_leftovers
passed
