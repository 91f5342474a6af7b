#!/bin/bash
# train_lm's model on a device: fakes of CUDA and NCCL give the bits of the host, whichever optimizer
# works there; a run that one saved goes on at the other, ranks that are killed come back, and what a
# device lacks is told with what to do.
source "$(dirname "$0")/lib.sh"
nvcc=$(command -v "$here/../../build/cuda/bin/nvcc" nvcc | head -n 1 || :)
fakes=$MUSTER_TESTS/fakes
export MST_TIMEOUT_MS=20000 LD_LIBRARY_PATH=$fakes
unset MST_NCCL_LIB FAKE_NCCL FAKE_CUDA
some_text 400000 "$work/text"

# train CHECKPOINTS STEPS OPTION …: two ranks, until that step.
train() {
    expect 0 timeout 60 muster run --nproc 2 --max-restarts 0 -- train_lm --data "$work/text" \
        --ckpt "$work/$1" --steps "$2" --batch 4 "${@:3}"
}
# same_as WANT: the last run's end, to the bit.
same_as() {
    [ "$(final "$work/last.out")" = "$1" ] || fail "$(final "$work/last.out") instead of $1"
}
# refused WORDS …: one step on the device fails, and says so.
refused() {
    expect 1 timeout 60 muster run --nproc 2 --max-restarts 0 -- train_lm --data "$work/text" \
        --ckpt "$work/refused" --steps 1 --device cuda
    mentions "$@" "--device host"
}

say "nothing of CUDA: what to do"
mkdir "$work/none"
touch "$work/none/libcuda.so.1" "$work/none/libnccl.so.2"
LD_LIBRARY_PATH=$work/none refused "rank 0 cannot use NCCL" libnccl.so.2
FAKE_CUDA=devices=0 refused "no device (FAKE)"
expect 64 train_lm --data "$work/text" --ckpt "$work/x" --steps 1 --device tpu
mentions "host or cuda"
expect 64 train_lm --data "$work/text" --ckpt "$work/x" --steps 1 --optimizer adam
mentions "sgd or adamw"
if [ -z "$nvcc" ]; then
    refused "this build has no kernels for GPUs"
    lacks "no nvcc: make deps-cuda"
    passed
fi

for optimizer in sgd adamw; do
    say "$optimizer: one loss on both, and each goes on where the other was"
    train host.$optimizer 40 --optimizer $optimizer
    want=$(final "$work/last.out")
    train cuda.$optimizer 40 --optimizer $optimizer --device cuda
    same_as "$want"
    for from in host cuda; do
        to=$([ $from = host ] && echo cuda || echo host)
        train $from.$to.$optimizer 23 --optimizer $optimizer --device $from
        train $from.$to.$optimizer 40 --optimizer $optimizer --device $to
        mentions "resumed at step 23"
        same_as "$want"
    done
done
[ "$want" != "$(train sgd 40 && final "$work/last.out")" ] || fail "both optimizers are one"

say "calls of NCCL that take their time; a driver without memory, without kernels, and one that fails"
FAKE_NCCL=inprogress=3 train slow 40 --optimizer adamw --device cuda
same_as "$want"
FAKE_CUDA=launch=222 expect 1 timeout 60 muster run --nproc 2 --max-restarts 0 -- train_lm \
    --data "$work/text" --ckpt "$work/refused" --steps 1 --device cuda
mentions "train_lm: rank 0: step: cuLaunchKernel: "
for nth in 3 4; do # the first two are comm's
    FAKE_CUDA=memory=$nth expect 1 timeout 60 muster run --nproc 2 --max-restarts 0 -- train_lm \
        --data "$work/text" --ckpt "$work/refused" --steps 1 --device cuda
    mentions "train_lm: rank 0: start: " "bytes for the device: cuMem" "out of memory"
done
FAKE_CUDA=fail=9 expect 1 timeout 60 muster run --nproc 2 --max-restarts 0 -- train_lm \
    --data "$work/text" --ckpt "$work/refused" --steps 9 --device cuda
mentions "an illegal memory access was encountered"

say "another optimizer than the one that saved, and ranks that disagree"
expect 1 timeout 60 muster run --nproc 2 --max-restarts 0 -- train_lm --data "$work/text" \
    --ckpt "$work/host.sgd" --steps 50 --batch 4 --optimizer adamw
mentions "train_lm: rank 0: resume: " mean/w2
# shellcheck disable=SC2016 # $RANK is each rank's
expect 1 timeout 60 muster run --nproc 2 --max-restarts 0 -- sh -c \
    'exec train_lm --data "$0" --ckpt "$1" --steps 9 --optimizer $([ $RANK = 0 ] && echo sgd || echo adamw) --lr 1' \
    "$work/text" "$work/refused"
mentions "--optimizer: "

say "a rank is killed: all come back to the device, and to the same end"
train calm 200 --ckpt-every 20 --optimizer adamw
want=$(final "$work/last.out")
muster run --nproc 2 --max-restarts 3 -- train_lm --data "$work/text" --ckpt "$work/killed" --steps 200 \
    --batch 4 --ckpt-every 20 --optimizer adamw --device cuda >"$work/killed.out" 2>&1 &
job=$!
until_true compgen -G "$work/killed/step_*/MANIFEST.json"
kill -9 "$(pgrep -P $job train_lm | tail -n 1)"
ended 0 $job killed
mentions 'gen=1 msg="generation started"' "resumed at step "
same_as "$want"
no_leftovers
passed
