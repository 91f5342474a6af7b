#!/bin/bash
# Every installed header stands alone in C11 and C++17, without a warning and without what only C has
# or what a library keeps to itself; structs that may grow can be initialised in both.
set -euo pipefail
root=$(cd "${1:-.}" && pwd)
cd "$root"

headers=$(sed -n '/^set(public_headers/,/)/p' CMakeLists.txt | tr -d '()' |
    sed 's/set//; s/public_headers//')
[ -n "$headers" ] || { echo "CMakeLists.txt: no list of installed headers"; exit 1; }
include=$(mktemp -d)
trap 'rm -rf "$include"' EXIT
ln -s "$root" "$include/muster"
bad=0

complain() { # HEADER TEXT
    echo "$1: $2"
    bad=1
}

# "<struct> <macro>" of each struct of a header that says its size, "-" if no macro begins with it.
sized() {
    awk '
        /^struct [a-z0-9_]+ \{/ { name = $2 }
        /^\}/ { name = "" }
        name != "" && / struct_bytes;/ { structs[name] = "-" }
        /^#define MST_[A-Z0-9_]+_INIT/ { macro = $2 }
        macro != "" && match($0, /sizeof\(struct [a-z0-9_]+\)/) {
            first = substr($0, RSTART + 14, RLENGTH - 15)
            if (first in structs) structs[first] = macro
            macro = ""
        }
        END { for (name in structs) print name, structs[name] }' "$1"
}

for header in $headers; do
    header=$header.h
    test=$include/test.c
    echo "#include <muster/$header>" >"$test"
    grep -nHE '_Alignas|_Atomic|_Generic|\batomic_|static inline|_?[sS]tatic_assert|\brestrict\b' "$header" &&
        complain "$header" "holds what C++ or another program's C has no use for"
    grep -qE '\bmst_[a-z0-9_]+\(' "$header" && ! grep -q '^extern "C" {' "$header" &&
        complain "$header" 'has no extern "C"'
    while read -r name macro; do
        [ "$macro" != - ] || { complain "$header" "struct $name begins with its size, but has no _INIT"; continue; }
        echo "extern struct $name ${name}_of; struct $name ${name}_of = $macro;" >>"$test"
    done < <(sized "$header")
    for language in 'c -std=c11' 'c++ -std=c++17'; do
        read -ra options <<<"$language"
        "${CC:-cc}" -x "${options[@]}" -Wall -Wextra -Wpedantic -Wno-unused -Werror -fsyntax-only \
            -I "$include" "$test" || complain "$header" "is not clean in $language"
    done
done
exit $bad
