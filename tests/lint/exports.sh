#!/bin/bash
# What a program may use is what an installed header declares: the names of muster.map, the
# prototypes of the installed headers, and what leaves the libraries are one set of at most 90.
# Whatever else leaves them is mst_*, under a node that says that it is private. The libraries are
# those in MUSTER_LIB, which ctest sets to its build's.
set -euo pipefail
cd "${1:-.}"

bad=0
complain() { # NAMES TEXT
    [ -z "$1" ] || { sed "s/\$/: $2/" <<<"$1"; bad=1; }
}
# Comments out, then names before a parenthesis.
headers=$(tests/lint/installed)
declared=$(for header in $headers; do
    sed -E ':a; N; $!ba; s#/\*([^*]|\*[^/])*\*/##g' "$header"
done | grep -oE '\bmst_[a-z0-9_]+\(' | tr -d '(' | sort -u)
mapped=$(grep -oE '\bmst_[a-z0-9_]+;' muster.map | tr -d ';' | sort)
complain "$(comm -23 <(echo "$declared") <(echo "$mapped"))" "is declared in an installed header, but not in muster.map"
complain "$(comm -13 <(echo "$declared") <(echo "$mapped"))" "is in muster.map, but no installed header declares it"
complain "$(uniq -d <<<"$mapped")" "is twice in muster.map"
[ "$(wc -l <<<"$mapped")" -le 90 ] || { echo "muster.map: more than 90 names"; bad=1; }

if [ -z "${MUSTER_LIB:-}" ]; then
    [ $bad = 0 ] || exit 1
    echo "no MUSTER_LIB: ctest -R lint/exports looks at the libraries"
    exit 77
fi
libraries=("$MUSTER_LIB"/libmuster-{core,io,comm,data,ckpt}.so)
left=$(nm -D --defined-only "${libraries[@]}" | awk '$2 ~ /[TDBRW]/ { print $3 }')
complain "$(comm -13 <(sed -n 's/@@MUSTER_[0-9.]*$//p' <<<"$left" | sort) <(echo "$mapped"))" "is in muster.map, but no library defines it"
complain "$(grep -vE '^mst_[a-z0-9_]+@@MUSTER_(PRIVATE_)?[0-9.]+$|^MUSTER_' <<<"$left" || :)" "leaves a library"
global=$(nm "$MUSTER_LIB/libmuster.a" | awk 'NF == 3 && $2 ~ /[TDBRWVC]/ && $3 !~ /^mst_/ { print $3 }')
complain "$global" "is global in libmuster.a"
exit $bad
