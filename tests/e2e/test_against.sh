#!/bin/bash
# perf/against: its command line, a row of each suite with this tree beside itself, the direction of
# the ratio, what it says when a program fails, and the table of a record.
source "$(dirname "$0")/lib.sh"
against=$here/../../perf/against
git -C "$here" rev-parse --verify --quiet HEAD >/dev/null || skip "not a git checkout"
export MUSTER_BIN MUSTER_AGAINST_BIN=$MUSTER_BIN SCRATCH=$work/scratch OUT=$work/table PEERS=
export ROUNDS=1 STARTS=1 SIZES="8 128" MIB=8 DATA=64K OBJECT=1M OBJECTS=3 KILLS=1 TRAIN_S=1

say "the command line"
expect 0 "$against" --help
mentions "perf/against [--json | --markdown] REV SUITE" launch comm ckpt dataio recovery MUSTER_AGAINST_BIN
expect 64 "$against"
expect 64 "$against" HEAD
expect 64 "$against" HEAD launch --frobnicate
mentions "--frobnicate" "usage: perf/against"
expect 64 "$against" HEAD nonsense
mentions "unknown suite nonsense" "suites: launch comm ckpt dataio recovery all"
expect 64 env ROUNDS=none "$against" HEAD launch
mentions "ROUNDS=none"
expect 64 env FAR_NS=0 "$against" HEAD launch
mentions "FAR_NS=0"
expect 64 env SIZES="8 0" "$against" HEAD comm
mentions "SIZES=8 0: sizes are numbers above 0"
expect 64 env SIZES=6 "$against" HEAD comm
mentions "SIZES=6: floats have 4 bytes each"
expect 64 env OBJECT="1M 2M" "$against" HEAD dataio
mentions "OBJECT=1M 2M: one size"
expect 64 env ROWS="(" "$against" HEAD comm
mentions "ROWS=( is not a regular expression"
expect 64 env ROWS=nothing "$against" HEAD launch
mentions "ROWS=nothing: no row of these suites has it"
expect 64 "$against" HEAD launch --record "$work/record"
mentions "--record has its own trees"
expect 2 "$against" --record "$work/record"
mentions "no table of $work/record"
expect 2 "$against" no-such-revision launch
mentions "no commit no-such-revision"
expect 2 env MUSTER_AGAINST_BIN="$work/absent" "$against" HEAD launch
mentions "no program $work/absent/muster"
mkdir "$work/lib"
touch "$work/lib/libmuster.so"
expect 2 env LD_LIBRARY_PATH="$work/lib" "$against" HEAD launch
mentions "LD_LIBRARY_PATH has $work/lib/libmuster.so"

say "a row of each suite"
expect 0 env FAR_NS=1000000000 "$against" HEAD all
mentions "above 1, this tree is faster" "1 of the 7 rounds" "not installed, so that their place has a -: Open MPI 5" \
    "curl $(curl --version | grep -oE -m 1 '[0-9]+(\.[0-9]+)+' | head -n 1)"
! grep -F -e "$MUSTER_BIN" -e "$work" "$OUT/table.md" "$OUT/table.json" || fail "the tables name places of this machine"
for form in json md; do
    [ -s "$OUT/table.$form" ] || fail "no $OUT/table.$form"
done
/usr/bin/python3 - "$OUT/table.json" "$(git -C "$here" rev-parse HEAD)" <<'PY' || fail "the rows"
import json, sys
run, *rows = map(json.loads, open(sys.argv[1]))
assert run["against"] == "HEAD" and run["commit"] == sys.argv[2] and run["rounds"] == 1, run
names = {}
for row in rows:
    names.setdefault(row["suite"], set()).add(row["row"])
    if row["this"] is None:
        assert "loader" in row["row"] or "objects" in row["row"], row
        continue
    theirs, ours = row["rev"]["value"], row["this"]["value"]
    assert row["rounds"] == 1 and (row["exchange_ns"] is not None) == (row["cores"] in ("near", "far")), row
    assert theirs > 0 and ours > 0 and row["ratio"] > 0, row
    assert row["ratio_min"] <= row["ratio"] <= row["ratio_max"], row
    assert (row["cores"] in ("near", "far", "moved", "one")) == (row["suite"] == "comm"), row
assert {suite: len(rows) for suite, rows in names.items()} == {
    "launch": 4, "comm": 5, "ckpt": 4, "dataio": 11, "recovery": 2}, names
PY
no_leftovers
[ -z "$(ls "$SCRATCH")" ] || fail "scratch folders are left"

say "interrupted, it leaves nothing"
interrupted() { # SUITE PATTERN: once a process of that command line runs
    set -m # in a job of its own SIGINT is not ignored
    OUT=$work/stopped KILLS=1000 "$against" HEAD "$1" >"$work/stopped.out" 2>&1 &
    stopped=$!
    set +m
    until_true pgrep -f "$2"
    kill -INT $stopped
    ended 130 $stopped stopped
    until_true eval '! pgrep -f "$SCRATCH/"'
    no_leftovers
    [ -z "$(ls "$SCRATCH")" ] || fail "scratch folders are left: $(find "$SCRATCH")"
}
interrupted recovery "train_lm.*$SCRATCH/"
interrupted dataio "$SCRATCH/"

say "the same record again"
expect 0 "$against" --markdown --record "$OUT/record"
cmp "$work/last.out" "$OUT/table.md" || fail "another table of the same record"
expect 0 "$against" --markdown --record "$OUT/record" "$OUT/record"
mentions "| start of 1 × true, ms | - | 2 |"

say "which side is slower"
mkdir "$work/slow" "$work/broken"
ln -s "$MUSTER_BIN"/* "$work/slow"
rm "$work/slow/muster"
cat >"$work/slow/muster" <<SH
#!/bin/sh
for i in 1 2 3 4 5 6 7 8; do "$MUSTER_BIN/muster" "\$@"; done
for i in 1 2 3 4 5 6 7 8; do "$MUSTER_BIN/muster" "\$@"; done
SH
chmod +x "$work/slow/muster"
ratio() { grep "start of 1 × true" "$OUT/table.json" | grep -o '"ratio": [0-9.]*' | sed -n '1s/.*: //p'; }
MUSTER_AGAINST_BIN=$work/slow "$against" --json HEAD launch >"$work/ratio.out" 2>&1
awk -v ratio="$(ratio)" 'BEGIN { exit !(ratio > 2) }' || fail "eight starts took $(ratio) of one"
MUSTER_BIN=$work/slow "$against" --json HEAD launch >"$work/ratio.out" 2>&1
awk -v ratio="$(ratio)" 'BEGIN { exit !(ratio > 0 && ratio < 0.5) }' || fail "the other way $(ratio)"

say "near, far, and one core"
core=$(sed -n 's/^Cpus_allowed_list:[^0-9]*\([0-9]*\).*/\1/p' /proc/self/status)
expect 0 env CORES="$core" "$against" HEAD comm
mentions " one "
expect 2 env CORES=4095 "$against" HEAD launch
mentions "CORES=4095"
if [ "$(nproc)" -gt 1 ]; then
    expect 0 env FAR_NS=1 "$against" HEAD comm
    [ "$(grep -c '^comm .* far ' "$work/last.out")" = 5 ] || fail "nothing is far by more than 1 ns"
    expect 0 env FAR_NS=1000000000 "$against" HEAD comm
    [ "$(grep -c '^comm .* near ' "$work/last.out")" = 5 ] || fail "nothing is near by less than 1 s"
fi

say "an MPI"
if command -v mpicc.openmpi mpirun.openmpi >"$work/where"; then
    expect 0 env PEERS="$work/none" "$against" HEAD comm
    mentions "Debian's Open MPI "
else
    lacks "no Open MPI"
fi

say "a program that fails is named, and does not end the others"
ln -s "$MUSTER_BIN"/* "$work/broken"
rm "$work/broken/muster"
printf '#!/bin/sh\necho "out of order"\nexit 9\n' >"$work/broken/muster"
chmod +x "$work/broken/muster"
expect 1 env MUSTER_AGAINST_BIN="$work/broken" "$against" HEAD launch
mentions "out of order" "launch: rev: failed with 9: muster" "FAILED 8 times" "vfork loop"
no_leftovers

say "the table of a record"
cat >"$work/record" <<'LINES'
{"against": "v1", "commit": "0123456789abcdef", "programs": "built", "this": "fedcba", "this_programs": "built", "rounds": 7, "machine": "a machine", "date": "today", "cores": "0,1", "far_ns": 120, "peers": {"quick": "5.1"}, "absent": ["MPICH 5"], "load": 0.5}
{"suite": "comm", "row": "allreduce 8 B", "unit": "µs", "figure": "median", "main": true, "lacks": null}
{"suite": "recovery", "row": "p95", "unit": "ms", "figure": "p95", "main": false, "lacks": null}
{"suite": "dataio", "row": "S3", "unit": "ms", "figure": "median", "main": true, "lacks": "start-s3: no /a/b/versitygw"}
LINES
/usr/bin/python3 - >>"$work/record" <<'PY'
import json
def say(row, number, who, role, place, value):
    print(json.dumps({"suite": "recovery" if row == "p95" else "comm", "row": row, "round": number, "who": who,
                      "role": role, "place": place, "value": value, "load": 1.5,
                      "exchange_ns": {"near": (50, 60), "far": (200, 210), "moved": (50, 210)}.get(place, ())}))
for number in range(1, 8):  # near in the first four rounds
    place = "near" if number < 5 else "far"
    say("allreduce 8 B", number, "this", "this", place, number)
    say("allreduce 8 B", number, "rev", "rev", place, number * 2 if number < 5 else number * 4)
    say("allreduce 8 B", number, "quick", "peer", "near", 0.5 * number)
    say("allreduce 8 B", number, "slow", "peer", "near", 9)
    say("allreduce 8 B", number, "ring", "limit", "near", 2 * number)
    for value in (10, 20, 30):
        say("p95", number, "this", "this", "", value)
        say("p95", number, "rev", "rev", "", value * 3)
say("allreduce 8 B", 1, "this", "this", "moved", 99)
print(json.dumps({"suite": "comm", "round": 1, "who": "quick", "role": "peer", "failed": "not done in 3 s"}))
PY
expect 0 "$against" --json --record "$work/record"
/usr/bin/python3 - "$work/last.out" <<'PY' || fail "the figures of a record"
import json, sys
head, near, far, p95, s3 = map(json.loads, open(sys.argv[1]))
assert (near["cores"], near["this"]["value"], near["ratio"]) == ("near", 2.5, 2), near
assert (near["exchange_ns"], far["exchange_ns"], near["rounds"], far["rounds"]) == (55, 205, 4, 3), near
assert (near["best_peer"], near["peers"]["quick"]["ratio"]) == ("quick", 0.5), near
assert (far["cores"], far["ratio"], far["ratio_min"], far["best_peer"]) == ("far", 4, 4, None), far
assert (p95["this"]["value"], p95["ratio"]) == (30, 3), p95
assert s3["this"] is None and s3["ratio"] is None, s3
PY
expect 0 "$against" --record "$work/record"
mentions "not measured: S3: start-s3: no versitygw" "FAILED 1 times: comm: quick: not done in 3 s" "-: MPICH 5" \
    "quick 5.1" "today at load 0.5" "of 36 samples of comm, 1 are in no row"
expect 0 "$against" --markdown --record "$work/record"
mentions "| allreduce 8 B, µs | near 55 ns | 4 | 2.50 | 5.00 | 2.00 | 2.00..2.00 | quick 2.00 | 0.50 | ring 8.00 | 2.00, no limit | 1.5 |"
! grep -E "far 205|p95" "$work/last.out" || fail "a page shows a place of three rounds beside one of four, or what is not a main row"
sed 's/"fedcba"/"another"/' "$work/record" >"$work/other"
expect 2 "$against" --record "$work/record" "$work/other"
mentions "this is fedcba in one, another in another"
sed 's/"place"/"where"/' "$work/record" >"$work/other"
expect 2 "$against" --record "$work/other"
mentions "$work/other is no record of this version of perf/against"
passed
