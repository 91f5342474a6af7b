#!/bin/bash
# train_lm's model on a device: fakes of CUDA and NCCL give the bits of the host, whichever optimizer
# works there and whatever type gradients travel in; a run that one saved goes on at the other, ranks that are killed come back, and what a
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

# Of 2 samples a rank, 5 micro-batches: some are empty.
for kind in "f32 2" "bf16 1" "f16 5"; do
    read -r dtype parts <<<"$kind"
    say "gradients in $dtype, of $parts micro-batches: one loss on both, and each goes on where the other was"
    as=(--grad-dtype "$dtype" --micro-batches "$parts")
    train host.$dtype 20 "${as[@]}"
    reduced=$(final "$work/last.out")
    [ "$reduced" != "$(train f32 20 && final "$work/last.out")" ] || fail "$dtype in $parts parts is f32 in one"
    train cuda.$dtype 20 "${as[@]}" --device cuda
    same_as "$reduced"
    for from in host cuda; do
        to=$([ $from = host ] && echo cuda || echo host)
        train $from.$to.$dtype 11 "${as[@]}" --device $from
        train $from.$to.$dtype 20 "${as[@]}" --device $to
        mentions "resumed at step 11"
        same_as "$reduced"
    done
done
say "a run goes on with gradients of another type, in other parts"
train cuda.bf16 30 --grad-dtype f16 --device cuda --micro-batches 3
mentions "resumed at step 20"

say "calls of NCCL that take their time; a driver without memory, without kernels, and one that fails"
FAKE_NCCL=inprogress=3 train slow 40 --optimizer adamw --device cuda
same_as "$want"
FAKE_CUDA=launch=222 expect 1 timeout 60 muster run --nproc 2 --max-restarts 0 -- train_lm \
    --data "$work/text" --ckpt "$work/refused" --steps 1 --device cuda
mentions "train_lm: rank 0: step: cuLaunchKernel: "
for nth in 3 4 5; do # the first two are comm's
    FAKE_CUDA=memory=$nth expect 1 timeout 60 muster run --nproc 2 --max-restarts 0 -- train_lm \
        --data "$work/text" --ckpt "$work/refused" --steps 1 --device cuda --grad-dtype bf16
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
mentions "--optimizer: it is sgd here, and adamw on another rank: give all the same"

# A letter that is all there is has a gradient of almost 1 each time: 72000 of them.
say "gradients that are too large for their type: no checkpoint has what they leave"
head -c 100000 /dev/zero | tr '\0' a >"$work/letter"
expect 1 timeout 120 muster run --nproc 2 --max-restarts 0 -- train_lm --data "$work/letter" \
    --ckpt "$work/large" --steps 9 --batch 3000 --ckpt-every 1 --grad-dtype f16 --device cuda
mentions "train_lm: rank 0: step: step 1, whose loss is 5." "leaves parameters that are not finite" \
    "--lr, or --grad-dtype bf16"
! compgen -G "$work/large/step_*" || fail "there is a checkpoint"

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
