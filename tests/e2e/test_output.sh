#!/bin/bash
# What comes out of muster run, in which form and order, and what a reader that stopped can do: nothing.
source "$(dirname "$0")/lib.sh"

say "nobody reads stderr: a drain takes no longer"
# The ranks fill it before they wait; whoever opens the pipe for writing, too, never sees its end.
mkfifo "$work/stalled"
exec 8<>"$work/stalled"
program=$work/rank
cat >"$program" <<'SH'
#!/bin/sh
trap 'exit 0' TERM
head -c 300000 /dev/zero | tr '\0' x | fold -w 100 >&2
echo full >"$0.full.$RANK"
until [ -s "$0.full.0" ] && [ -s "$0.full.1" ]; do :; done
while :; do
    head -c 3000000 /dev/zero | tr '\0' x | fold -w 100 >&2
    echo >"$0.turn.$RANK"
done
SH
chmod +x "$program"
muster run --nproc 2 --grace 10 -- "$program" >"$work/job.out" 2>"$work/stalled" 8>&- &
job=$!
until_true test -s "$program.full.0" -a -s "$program.full.1"
before=$SECONDS
kill -TERM $job
ended 143 $job job
[ $((SECONDS - before)) -lt 10 ] || fail "took $((SECONDS - before)) s of a grace of 10"
exec 8>&-
no_leftovers

say "every write ends a line"
expect 0 muster run --nproc 1 --log-level error -- sh -c \
    'printf "load"; read -r _ <"$0" || :; echo " done"; printf "1%%\r2%%\r"; printf "3%%\n"; printf "end"' \
    <(read -rt 0.3 <> <(:) || :)
printf '[0] load\n[0] … done\n[0] 3%%\n[0] end\n' >"$work/want"
diff "$work/want" "$work/last.out" || fail "other lines"

say "as they are, and raw"
expect 0 muster run --nproc 1 --no-prefix --log-level error -- printf '1%%\r\377 no end'
printf '1%%\r\377 no end' | cmp - "$work/last.out" || fail "bytes were changed"
muster run --nproc 2 --raw --log-level error -- sh -c 'printf "$RANK\r$RANK"' >"$work/out" 2>"$work/err" || fail "raw"
printf '0\r0' | cmp - "$work/out" || fail "rank 0 was changed"
printf '[1] 1\n' | cmp - "$work/err" || fail "rank 1 is not on stderr"

say "the prefix, and the standard input of rank 0"
expect 0 muster run --nproc 2 --prefix '%n.%l/%r ' --stdin 0 --log-level error -- cat <<<"fed"
[ "$(cat "$work/last.out")" = "0.0/0 fed" ] || fail "rank 0 read something else"

say "JSON: all of it, in order, whatever ranks write"
expect 3 muster run --nproc 2 --max-restarts 0 --log-format json -- sh -c \
    'printf "say \"h\303\266her\" \377\n" >&2; [ $RANK = 0 ] || exit 3; exec sleep 20'
/usr/bin/python3 - "$work/last.out" <<'PY'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
said = [line for line in lines if "rank" in line]
assert {line["rank"] for line in said} == {0, 1}, lines
assert all(line["stream"] == "stderr" and line["line"] == 'say "höher" ?' for line in said), lines
assert lines[-1]["msg"] == "job over" and all("time" in line for line in lines), lines
words = [line for line in lines if line.get("msg") == "last words"]
assert [(line["of_rank"], line["line"]) for line in words] == [(1, 'say "höher" ?')], lines
PY

say "a reader that is slow gets all of it"
muster run --nproc 1 --raw -- seq 100000 2>"$work/slow.err" | /usr/bin/python3 -c '
import os, select
while os.read(0, 32768):
    select.select([], [], [], 0.15)  # what is tested is a reader that takes its time
    print(end=".", flush=True)
' >"$work/slow.out"
[ "$(wc -c <"$work/slow.out")" -ge 18 ] || fail "a slow reader got $(wc -c <"$work/slow.out") pieces"
grep -q 'lost' "$work/slow.err" && fail "lines were lost: $(cat "$work/slow.err")"

say "no FIFO is waited for"
mkfifo "$work/secret.fifo"
expect 78 env MST_JOB_SECRET_FILE="$work/secret.fifo" muster run --nproc 1 -- true
mentions "is no regular file"

say "the end stands at the end"
expect 0 muster run --nproc 4 -- sh -c 'seq 1 20000'
tail -n 1 "$work/last.out" | grep -q 'msg="job over"' || fail "output below the end"
[ "$(grep -c '^\[[0-3]\] [0-9]*$' "$work/last.out")" = 80000 ] || fail "lines are missing"

say "a folder for each start, with its parents; nothing in the way is waited for"
for start in 1 2; do
    expect 0 muster run --nproc 1 --job-id twice --log-dir "$work/logs/deep" -- echo "start $start"
done
[ "$(cat "$work"/logs/deep/*-node_0-twice/rank_0.gen_0.log)" = "start 1
start 2" ] || fail "a start wrote over another's files"
mkfifo "$work/fifo"
expect 78 timeout 10 muster run --nproc 1 --log-dir "$work/fifo" -- true
mentions "$work/fifo"
no_leftovers
passed
