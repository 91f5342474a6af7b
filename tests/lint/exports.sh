#!/bin/bash
# What leaves the library is what an installed header declares: the headers that CMakeLists.txt
# installs, and nothing that is not mst_*.
set -euo pipefail
cd "${1:-.}"

library=build/lib/libmuster.so
[ -e "$library" ] || { echo "no $library; run make build"; exit 77; }

headers=$(awk '/^foreach\(header/ { inside = 1 } inside; inside && /\)/ { exit }' CMakeLists.txt |
    grep -oE '[a-z]+(/[a-z0-9_]+)+' | sed 's/$/.h/')
[ -n "$headers" ] || { echo "CMakeLists.txt: no list of installed headers"; exit 1; }

bad=0
while read -r symbol; do
    case $symbol in
    mst_*) grep -qE "[ *]$symbol\(" $headers && continue ;;
    esac
    defined=$(grep -rnE --include='*.c' "^[a-z].*[ *]$symbol\(" core gpu comm dataio ckpt launcher |
        head -1 | cut -d: -f1,2 || :)
    echo "${defined:-$library}: $symbol is exported, but no installed header declares it"
    bad=1
done < <(nm -D --defined-only "$library" | awk '$2 ~ /[TDBRW]/ { sub(/@.*/, "", $3); print $3 }')
exit $bad
