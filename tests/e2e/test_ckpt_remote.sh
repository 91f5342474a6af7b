#!/bin/bash
# Checkpoints in a real S3 server and a real HDFS: resumed where no local file is left, drained
# within the grace, and what happens when the server dies, refuses, or is written to by two jobs.
source "$(dirname "$0")/lib.sh"
source "$here/stores.sh"
export XDG_RUNTIME_DIR=$work

# until_true COMMAND …: a minute at most, or until the job has ended.
until_true() {
    local tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || fail "never came true: $*"
        [ -z "${job:-}" ] || kill -0 "$job" 2>/dev/null || fail "the job ended before: $*"
        read -rt 0.1 <> <(:) || :
    done
}
start() { # URI STEPS: a job in the background
    muster run --nproc 2 --grace 20 -- train_lm --data "$work/data.txt" --ckpt "$1" \
        --steps "$2" --ckpt-every 10 --batch 8 >"$work/job.out" 2>&1 &
    job=$!
}
finish() { # CODE
    ended "$1" "$job" job
    job=
    no_leftovers
    ! compgen -G "/tmp/mst-staging-*" >/dev/null || fail "staging space has a name"
}
train() { start "$@" && finish 0; }
newest() { muster ckpt ls "$1" | awk 'NR == 2 {print $1}'; }
is_newer() { [ "$(newest "$1")" -gt "$2" ]; }
kill_server() { # NAME
    kill -9 "$(awk -v name="$1" '$1 == name {print $2}' "$stores"/*/pids)"
}
start_again() { # NAME
    case $1 in
    s3) start_s3 ;;
    nn)
        setsid sh "$HDFS_RUN/nn.sh" &
        sed -i "s/^nn .*/nn $!/" "$HDFS_RUN/pids"
        ;;
    esac
}

some_text 200000 "$work/data.txt"
start_stores 17270 19300 bucket
train "$work/ckpt" 40
reference=$(final "$work/job.out")
[ -n "$reference" ] || fail "no final line"

for store in s3://bucket/some/run "webhdfs://127.0.0.1:$((HDFS_PORT + 1))/tmp/run" \
    "hdfs://127.0.0.1:$HDFS_PORT/tmp/other"; do
    say "$store: resume where no file is left"
    train "$store" 20
    train "$store" 40
    mentions "resumed at step 20, saved by 2 ranks"
    [ "$(final "$work/job.out")" = "$reference" ] || fail "another result after resuming"
    expect 0 muster ckpt ls "$store"
    mentions " 40 " " 30 " " 20 "
    ! grep -q " 10 " "$work/last.out" || fail "more than three checkpoints stay"
    expect 0 muster ckpt show "$store/step_40"
    mentions model/w2 f32
    expect 0 muster ckpt verify "$store"
    mentions "step_40: ok" "step_20: ok"
    expect 1 muster ckpt show "$store/step_41"
    mentions "no such checkpoint"

    say "$store: preemption"
    start "$store.drained" 100000
    until_true is_newer "$store.drained" 0
    kill -TERM $job
    before=$SECONDS
    finish 143
    [ $((SECONDS - before)) -lt 20 ] || fail "the drain took longer than its grace"
    drained=$(newest "$store.drained")
    start "$store.drained" $((drained + 5))
    finish 0
    mentions "resumed at step $drained"
done

# In a folder of its own, so that one can be waited for beside another.
outlive() { # STORE SERVER
    local store=$1 server=$2 stood
    work=$work/$server
    mkdir "$work"
    some_text 200000 "$work/data.txt"
    start "$store" 1000000
    until_true is_newer "$store" 0
    kill_server "$server"
    until_true grep -q "abandoned: .*training goes on" "$work/job.out"
    start_again "$server"
    until_true newest "$store"
    stood=$(newest "$store")
    until_true is_newer "$store" "$stood"
    kill -TERM $job
    finish 143
    mentions "given up after"
    expect 0 muster ckpt verify "$store"
}
say "a store's server dies, and comes back: S3 and HDFS"
outlive s3://bucket/dying s3 &
s3_test=$!
outlive "webhdfs://127.0.0.1:$((HDFS_PORT + 1))/tmp/dying" nn &
hdfs_test=$!
wait $s3_test || fail "with S3"
wait $hdfs_test || fail "with HDFS"

say "two jobs, one root"
shared=s3://bucket/shared
train_as() { # ID STEPS OPTIONS…: in the background
    muster run --nproc 1 --max-restarts 0 --job-id "$1" "${@:3}" -- train_lm \
        --data "$work/data.txt" --ckpt $shared --steps "$2" --ckpt-every 5 --batch 8 \
        >"$work/$1.out" 2>&1 &
    job=$!
}
refused() { # ID TEXT
    train_as "$1" 10
    wait "$job" && fail "$1 got the root of another job, too"
    grep -q "belongs to another job ($2" "$work/$1.out" || fail "$1 was not told whose the root is"
}
train_as first 1000000
first=$job
until_true is_newer $shared 0
refused second "job first on .*renewed .* s ago"
train_as third 1000000 --take-root
until_true grep -q "abandoned: .*taken over as epoch .*job third on" "$work/first.out"
kill -9 "$first"
wait "$first" || :
stood=$(newest $shared)
until_true is_newer $shared "$stood"
kill -9 "$job"
wait "$job" || :
refused fourth "job third on .*renewed .* s ago"
train_as third "$(($(newest $shared) + 10))"
wait "$job" || fail "the next life of a job was refused"
job=
grep -q "resumed at step" "$work/third.out" || fail "the next life of a job began anew"
expect 0 muster ckpt verify $shared

say "credentials that are refused"
expect 1 env AWS_SECRET_ACCESS_KEY=wrong muster run --nproc 2 --max-restarts 0 -- train_lm \
    --data "$work/data.txt" --ckpt s3://bucket/some/run --steps 50
mentions SignatureDoesNotMatch "the environment"
! grep -qF wrong "$work/last.out" || fail "a secret was printed"
expect 1 env AWS_ACCESS_KEY_ID=nobody muster ckpt ls s3://bucket/some/run
mentions nobody
expect 1 muster ckpt ls s3://absent/run
mentions "absent"
expect 1 env HADOOP_USER_NAME=nobody muster run --nproc 2 --max-restarts 0 -- train_lm \
    --data "$work/data.txt" --ckpt "webhdfs://127.0.0.1:$((HDFS_PORT + 1))/forbidden" --steps 50
mentions "cannot be used" nobody /forbidden
echo OK
