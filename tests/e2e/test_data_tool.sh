#!/bin/sh
# muster data on good and damaged datasets: what it prints, and how it exits.
set -eu
data=${MUSTER_BIN:?}/muster-data
[ -x "$data" ] || { echo "no $data: make build first"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

fail() { echo "FAIL: $*"; exit 1; }
# want CODE PATTERN COMMAND...: the exit code, and a line that matches
want() {
    code=$1 pattern=$2
    shift 2
    got=0
    "$@" >out 2>&1 || got=$?
    [ "$got" = "$code" ] || { cat out; fail "$* exits with $got, not $code"; }
    grep -q -e "$pattern" out || { cat out; fail "$*: no line matches $pattern"; }
}

printf 'one\ntwo\n\nfour' >a.txt
head -c 300000 /dev/urandom | od -x >big.txt
gzip -k big.txt
head -c 1000 big.txt.gz >cut.txt.gz

want 0 '^samples  *4$' "$data" index a.txt
want 0 '"samples": 4' "$data" index a.txt --json
want 64 'MST_AIO=magic is none of auto, uring or threads' env MST_AIO=magic "$data" index a.txt
want 0 '^lines .* 4  a.txt$' "$data" ls a.txt
want 0 '"gzip": true' "$data" ls big.txt.gz --json
mkdir -p good bad other
cp a.txt big.txt.gz good
cp a.txt cut.txt.gz bad
tr t T <a.txt >other/a.txt
echo '{"version": 1, "sources": [{"name": "a.txt", "mirrors": ["a.txt", "other/a.txt"]}]}' \
    >x.dataset.json
want 0 '^good/a.txt: ok' "$data" verify good/
want 0 '^sources  *2$' "$data" index good/
mkdir -p good/_temporary/0 good/..2026 && cp a.txt good/_temporary/0 && cp a.txt good/..2026 && ln -s ..2026 good/..data
want 0 '^left out  *3 names that begin with . or _$' "$data" index good/
want 0 '^sources  *2$' "$data" index good/
{ cat big.txt.gz && head -c 512 /dev/zero; } >padded.txt.gz
{ cat big.txt.gz && echo junk; } >junk.txt.gz
want 0 '^padded.txt.gz: ok' "$data" verify padded.txt.gz
want 1 'damaged: .*: 5 bytes after the last gzip member' "$data" verify junk.txt.gz
want 1 '^bad/cut.txt.gz: damaged: .*ends in the middle' "$data" verify bad/
want 1 '^bad/a.txt: ok' "$data" verify bad/
mkdir -p some mixed
cp a.txt some
: >some/none.txt
cp a.txt mixed
cp a.txt mixed/b.bin
want 0 '^some/none.txt: ok, 0 B, 0 samples' "$data" verify some/
want 1 '^mixed/b.bin: damaged: it looks like another format than mixed/a.txt' "$data" verify mixed/
want 1 'no sample' "$data" verify some/none.txt
want 0 '^samples  *4$' "$data" index missing/a.txt,a.txt
want 1 '^other/a.txt: damaged: its contents are not those of a.txt' "$data" verify x.dataset.json
want 1 'a.txt has .* bytes, its mirror big.txt has' "$data" index a.txt,big.txt
want 1 'all 2 mirrors failed: .*nowhere.*nothing' "$data" index nowhere,nothing
want 1 '"ok": false' "$data" verify cut.txt.gz --json
want 1 'missing: does not exist' "$data" ls missing
want 1 'gopher' "$data" ls gopher://name/file
odd=$(printf 'odd\377.txt')
cp a.txt "$odd"
want 1 'not UTF-8' "$data" ls --json "$odd"
want 1 'not UTF-8' "$data" verify --json "$odd"
want 0 ' ok, ' "$data" verify "$odd"
want 0 '"gzip": true' "$data" --json ls big.txt.gz
want 64 '^muster-data: --elems x: a whole number from 1 to 4294967295' "$data" ls a.txt --elems x
want 64 '^muster-data: --dtype q8: a type' "$data" ls a.txt --dtype q8
want 64 '^muster-data: --format csv: auto, raw, megatron or lines' "$data" ls a.txt --format csv
want 1 'big.txt.idx: does not exist' "$data" ls big.txt --format megatron
want 0 '^raw ' "$data" ls a.txt --format raw
want 64 'unknown option --frob' "$data" ls a.txt --frob
want 64 'no command given: index, ls or verify' "$data"
want 64 'no URI given' "$data" ls
want 64 'unexpected argument b.txt' "$data" ls a.txt b.txt
want 0 '^usage:' "$data" --help

# A patch in the middle may go unseen; the full fingerprint has it. Names count for nothing.
head -c 3000000 /dev/urandom >one.raw
cp one.raw two.raw
want 0 '^fingerprint  [0-9a-f]* sampled$' "$data" index one.raw
want 0 "^$(grep fingerprint out)$" "$data" index two.raw
want 0 '^fingerprint  [0-9a-f]* full$' "$data" index one.raw --fingerprint full
full=$(grep fingerprint out)
want 0 "^$full$" "$data" index two.raw --fingerprint full
printf '%s' patched | dd of=two.raw bs=1 seek=1234567 conv=notrunc 2>/dev/null
want 0 '"fingerprint_kind": "full"' "$data" index two.raw --fingerprint full --json
! grep -q "$(echo "$full" | cut -d' ' -f3)" out || fail "a patch is not in the full fingerprint"
want 64 '^muster-data: --fingerprint some: ' "$data" index two.raw --fingerprint some

# A store that nobody has ever reached is told in seconds, not when a request's time is over.
export AWS_ACCESS_KEY_ID=k AWS_SECRET_ACCESS_KEY=s
want 1 'given up after .*does its server run, and is the endpoint (?endpoint=, AWS_ENDPOINT_URL) right' \
    timeout 20 env AWS_ENDPOINT_URL=http://127.0.0.1:1 "$data" index s3://b/x.txt
want 1 'does its server run' timeout 20 "$data" index webhdfs://127.0.0.1:1/x.txt
want 1 'AWS_SECRET_ACCESS_KEY has a newline' env AWS_SECRET_ACCESS_KEY="a
b" "$data" index s3://b/x.txt

lines=$("$data" index big.txt --json | sed -n 's/.*"samples": \([0-9]*\).*/\1/p')
[ "$lines" = "$(wc -l <big.txt)" ] || fail "$lines lines, wc says $(wc -l <big.txt)"
"$data" verify big.txt >auto.out
MST_AIO=threads "$data" verify big.txt >threads.out
cmp auto.out threads.out
want 64 'floppy' env MST_AIO=floppy "$data" verify big.txt
echo "data tool: OK"
