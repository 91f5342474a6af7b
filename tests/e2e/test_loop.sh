#!/bin/bash
# The loop that README.md shows keeps its word: left alone, preempted, killed or resized it ends with
# the same line, to the bit and to the sample; what goes wrong ends it with a reason.
source "$(dirname "$0")/lib.sh"
some_text 400000 "$work/text"
gzip -k "$work/text"
steps=3000

program=(loop)
start() { # RANKS CKPT: the job in the background, its pid in $job
    muster run --nproc "$1" --job-id "$2-$$" -- "${program[@]}" "$work/text.gz" "$work/$2" $steps >"$work/$2.out" 2>&1 &
    job=$!
}
finish() { # CODE CKPT
    ended "$1" $job "$2"
    no_leftovers
}
saved() { compgen -G "$work/$1/step_*/MANIFEST.json"; }
told() { # CKPT: `muster status` shows a checkpoint of this job
    muster status --json >"$work/status" && /usr/bin/python3 - "$work/status" "$1-$$" <<'PY'
import json, sys
job = next(j for j in json.load(open(sys.argv[1])) if j["job"] == sys.argv[2])
assert all(rank["step"] >= rank["checkpoint"] >= 100 for rank in job["ranks"])
PY
}
newest() { muster ckpt ls "$work/$1" | awk 'NR == 2 { print $1 }'; }
same_end() { # CKPT
    finish 0 "$1"
    [ "$(final "$work/$1.out")" = "$want" ] || fail "$1: $(final "$work/$1.out") instead of $want"
}

say "left alone"
start 2 alone
finish 0 alone
want=$(final "$work/alone.out")
[[ $want =~ ^final\ step=$steps\ loss=0x.*\ samples=[0-9a-f]{16}$ ]] || fail "no final line: $want"
[ "$(newest alone)" = $steps ] || fail "the last checkpoint is of step $(newest alone)"
start 2 alone
same_end alone
mentions "resumed at step $steps"

say "the newest checkpoint is damaged: the one before it is loaded, and that is said"
cp -r "$work/alone" "$work/damaged"
truncate -s -100 "$work/damaged/step_$steps/rank_1.h5"
start 2 damaged
same_end damaged
mentions "loop: passed over 1 damaged: " "rank_1.h5" "resumed at step $((steps - 100))"

say "preempted with two ranks; the same command goes on; so does one rank"
program=(sh -c 'loop "$@"; code=$?; echo "rank $RANK ends with $code"; exit $code' --)
start 2 preempted
program=(loop)
until_true saved preempted
kill -TERM $job
finish 143 preempted
mentions "rank 0 ends with 143" "rank 1 ends with 143"
stopped=$(newest preempted)
[ "$stopped" -lt $steps ] || fail "the preemption came too late"
grep -q "msg=\"all ranks stop\" step=$stopped" "$work/preempted.out" || fail "not saved where it stopped"
cp -r "$work/preempted" "$work/preempted.1"
mv "$work/preempted" "$work/preempted.2"
for ranks in 2 1; do
    start $ranks preempted.$ranks
    same_end preempted.$ranks
    mentions "resumed at step $stopped"
done

say "a rank is killed: all go on from the last checkpoint"
start 2 killed
until_true told killed
kill -9 "$(pgrep -P $job loop | tail -n 1)"
same_end killed
mentions 'gen=1 msg="generation started"' "resumed at step "

say "another text, other bytes: the loader refuses the position"
head -c 300000 "$work/text" >"$work/other"
expect 1 muster run --nproc 2 --max-restarts 0 -- loop "$work/other" "$work/alone" $((steps + 1))
mentions "loop: resume: " dataset

say "the same text, written anew: it goes on, and says so"
cp -r "$work/alone" "$work/anew"
touch -d "1 hour ago" "$work/text.gz"
expect 0 muster run --nproc 2 --max-restarts 0 -- loop "$work/text.gz" "$work/anew" $((steps + 1))
mentions "loop: a source has another time or ETag" "resumed at step $steps"

say "each rank has another text of the same size: told at the first save, and at the end"
tr 'a-y' 'b-z' <"$work/text" >"$work/text.1"
ln -s text "$work/text.0"
# shellcheck disable=SC2016 # $RANK is each rank's
expect 74 muster run --nproc 2 --max-restarts 0 -- sh -c 'exec loop "$0.$RANK" "$1" 200' "$work/text" "$work/torn"
mentions "loop: step 100 is not saved: rank 1: passed another cursor than rank 0" "loop: the last checkpoint is lost: "

say "a disk without room: told when it happens, and at the end"
if unshare -m true 2>/dev/null; then
    mkdir "$work/full"
    expect 74 unshare -m sh -c "mount -t tmpfs -o size=128k none '$work/full' &&
        exec muster run --nproc 2 --max-restarts 0 -- loop '$work/text' '$work/full' 200"
    mentions "is not saved: " "loop: the last checkpoint is lost: " "no room"
else
    lacks "mounts are not permitted"
fi

say "its command line"
expect 0 loop --help
mentions "usage: loop DATA CKPT STEPS"
for words in "" "a b" "a b 0" "a b -1" "a b 9x" "a b 9 c"; do
    # shellcheck disable=SC2086 # words of a command line
    expect 64 loop $words
done
no_leftovers
passed
