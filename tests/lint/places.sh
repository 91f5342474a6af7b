#!/bin/bash
# What pages say of places is true: a path or a source file that a page names in `backticks` exists,
# as does every file of a table whose column says `files`; ARCHITECTURE.md's rooms are the folders
# that there are, and each row of what dies names tests that there are.
set -euo pipefail
cd "${1:-.}"
bad=0
complain() { echo "$*"; bad=1; }

# Lines "page:line folder name": the name is to be found in the folder, or from the root.
candidates() { # PAGE
    awk -v folder="$(dirname "$1")" '
        function is_path(name) {
            return name ~ /^[A-Za-z0-9_.][A-Za-z0-9_.*\/-]*$/ && name !~ /^(build|demo)\// &&
                (name ~ /\// || name ~ /\.(c|h|cu|sh|py|md)$/)
        }
        # Names in backticks of one cell, or of a line; plain words count where files are listed.
        function spans(text, plain,    parts, count, i) {
            count = split(text, parts, "`")
            for (i = 2; i <= count; i += 2)
                if (is_path(parts[i]) || (plain && parts[i] ~ /^[a-z][a-z0-9_.*]*$/))
                    print FILENAME ":" FNR, folder (room ? "/" room : ""), parts[i]
        }
        /^```/ { fenced = !fenced }
        fenced || /^    / { next }
        !/^\|/ { column = 0; rooms = 0; room = ""; spans($0, 0); next }
        {
            cells = split($0, cell, /\|/)
            if (!column && !rooms) {
                for (i = 2; i < cells; i++) {
                    if (cell[i] ~ /^ *files? *$/) column = i
                    if (cell[i] ~ /^ *room *$/) rooms = i
                }
                if (!column) column = -1
            }
            if (rooms && column > 0 && split(cell[rooms], name, "`") > 1) {
                room = ""
                spans(cell[rooms], 0)
                room = name[2] == folder "/" ? "" : name[2]
            }
            for (i = 2; i < cells; i++)
                if (i != rooms || column < 0) spans(cell[i], i == column)
        }' "$1"
}
tracked=$(git ls-files 2>/dev/null) && [ -n "$tracked" ] ||
    { echo "no git checkout: which files are tracked?"; exit 77; }
# As a glob, or as the name of a source file without its ending.
exists() { compgen -G "$1" >/dev/null || compgen -G "$1.[ch]" >/dev/null || compgen -G "$1.cu" >/dev/null; }

# Slashes also stand between words: what begins with no folder's name is no path.
while read -r at folder name; do
    [[ $name != */* || -d $folder/${name%%/*} || -d ${name%%/*} ]] || continue
    exists "$folder/$name" || exists "$name" || exists "${folder%%/*}/$name" ||
        { [[ $folder = . && $name != */* ]] && grep -q "/$name$" <<<"$tracked"; } ||
        complain "$at: no $name"
done < <(grep '\.md$' <<<"$tracked" | while read -r page; do candidates "$page"; done)

# What dies has a test that drives it.
while IFS='|' read -r _ dies rest; do
    named=$(grep -oE '`(unit|sim|e2e)/[a-z0-9_]+`' <<<"${rest%|}" | tr -d '`' || :)
    [ -n "$named" ] || complain "ARCHITECTURE.md, what dies,$dies: no test"
    for name in $named; do
        [ -e "tests/$name.c" ] || [ -e "tests/e2e/test_${name#e2e/}.sh" ] ||
            complain "ARCHITECTURE.md, what dies,$dies: no test $name"
    done
done < <(sed -n '/^## What dies/,/^## /p' ARCHITECTURE.md | grep '^|' | tail -n +3)

rooms=$(sed -n '/^## The rooms/,/^## /p' ARCHITECTURE.md | awk -F'|' '/^\| `/ { print $2 }' |
    tr -d '` ' | tr , '\n' | sort)
folders=$(grep / <<<"$tracked" | grep -v '^tests/data/.*/\|^tests/fuzz/seeds/\|^tests/e2e/consumers/.*/' | xargs -n 1 dirname |
    sort -u | sed 's|$|/|' | grep -vx 'tests/')
difference=$(diff <(echo "$rooms") <(echo "$folders") | grep '^[<>]' || :)
[ -z "$difference" ] || complain "ARCHITECTURE.md's rooms (<) are not the folders (>):
$difference"
exit $bad
