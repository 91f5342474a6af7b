#!/bin/bash
# perf/against: its command line, a row of each suite with this tree beside itself, the direction of
# the ratio, and what it says when a program fails.
source "$(dirname "$0")/lib.sh"
against=$here/../../perf/against
git -C "$here" rev-parse --verify --quiet HEAD >/dev/null || skip "not a git checkout"
export MUSTER_BIN MUSTER_AGAINST_BIN=$MUSTER_BIN TMPDIR=$work
export ROUNDS=1 STARTS=1 SIZES=8:128:4 ITERS=2 WARMUP=1 DATA=64K STEPS=5

say "the command line"
expect 0 "$against" --help
mentions "perf/against [--json] REV SUITE" startup launch allreduce dataio ckpt MUSTER_AGAINST_BIN
expect 64 "$against"
expect 64 "$against" HEAD
expect 64 "$against" HEAD startup startup
expect 64 "$against" HEAD startup --frobnicate
mentions "unknown option --frobnicate" "usage: perf/against"
expect 64 "$against" HEAD nonsense
mentions "unknown suite nonsense" "suites: startup launch allreduce dataio ckpt all"
expect 64 env ROUNDS=none "$against" HEAD startup
mentions "ROUNDS=none"
expect 64 env SIZES=8:128 "$against" HEAD allreduce
mentions "SIZES=8:128"
expect 64 timeout 20 env SIZES=0:128:4 "$against" HEAD allreduce
mentions "SIZES=0:128:4"
expect 2 "$against" no-such-revision startup
mentions "no commit no-such-revision"
expect 2 env MUSTER_AGAINST_BIN="$work/absent" "$against" HEAD startup
mentions "no program $work/absent/muster"
mkdir "$work/lib"
touch "$work/lib/libmuster.so"
expect 2 env LD_LIBRARY_PATH="$work/lib" "$against" HEAD startup
mentions "LD_LIBRARY_PATH has $work/lib/libmuster.so"

say "a row of each suite"
expect 0 "$against" HEAD all
mentions "above 1, this tree is faster" "1 of the 7 rounds"
awk '/^suite/ { rows = 1; next }
    rows && !/ (near|far|moved|one)$/ { print "no place of the cores: " $0; exit 1 }
    rows { seen[$1]++ }
    END {
        exit !(seen["startup"] == 1 && seen["launch"] == 2 && seen["allreduce"] == 3 &&
               seen["dataio"] == 4 && seen["ckpt"] == 4)
    }' "$work/last.out" || fail "rows are missing"

say "JSON"
"$against" --json HEAD all >"$work/json" 2>"$work/json.out" || fail "--json"
/usr/bin/python3 - "$work/json" "$(git -C "$here" rev-parse HEAD)" <<'PY' || fail "the JSON"
import json, sys
run, *rows = map(json.loads, open(sys.argv[1]))
assert run["against"] == "HEAD" and run["commit"] == sys.argv[2] and run["rounds"] == 1, run
assert len(rows) == 14, rows
for row in rows:
    theirs, ours = row["rev"]["median"], row["this"]["median"]
    assert theirs >= 0 and ours >= 0 and row["ratio"] > 0, row
    assert row["ratio_min"] == row["ratio"] == row["ratio_max"], row
    if ours > 1:
        assert abs(row["ratio"] - theirs / ours) < 0.001, row
    assert row["rev"]["rounds"] == [theirs] and row["load"] >= 0, row
    assert row["cores"] in ("near", "far", "moved", "one"), row
    assert (row["exchange_ns"] > 0) == (row["cores"] != "one"), row
    assert row["unit"] == ("us" if row["suite"] == "allreduce" else "ms"), row
PY

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
ratio() { sed -n 's/.*"ratio": \([0-9.]*\).*/\1/p' "$work/ratio.out"; }
export ROUNDS=3
MUSTER_AGAINST_BIN=$work/slow "$against" --json HEAD startup >"$work/ratio.out"
awk -v ratio="$(ratio)" 'BEGIN { exit !(ratio > 2) }' || fail "eight starts took $(ratio) of one"
MUSTER_BIN=$work/slow "$against" --json HEAD startup >"$work/ratio.out"
awk -v ratio="$(ratio)" 'BEGIN { exit !(ratio > 0 && ratio < 0.5) }' || fail "the other way $(ratio)"

say "near, far, and one core"
core=$(sed -n 's/^Cpus_allowed_list:[^0-9]*\([0-9]*\).*/\1/p' /proc/self/status)
expect 0 env CORES="$core" "$against" HEAD startup
mentions " one"
expect 2 env CORES=4095 "$against" HEAD startup
mentions "CORES=4095"
if [ "$(nproc)" -gt 1 ]; then
    expect 0 env FAR_NS=1 "$against" HEAD allreduce
    [ "$(grep -c '^allreduce .* far$' "$work/last.out")" = 3 ] || fail "nothing is far by more than 1 ns"
    expect 0 env FAR_NS=1000000000 "$against" HEAD allreduce
    [ "$(grep -c '^allreduce .* near$' "$work/last.out")" = 3 ] || fail "nothing is near by less than 1 s"
fi

say "a program that fails"
ln -s "$MUSTER_BIN"/* "$work/broken"
rm "$work/broken/muster"
printf '#!/bin/sh\necho "out of order"\nexit 9\n' >"$work/broken/muster"
chmod +x "$work/broken/muster"
expect 1 env MUSTER_AGAINST_BIN="$work/broken" "$against" HEAD startup
mentions "out of order" "rev, $work/broken: failed"
no_leftovers
[ -z "$(find "$work" -maxdepth 1 -name 'tmp.*')" ] || fail "scratch folders are left"
