#!/bin/bash
# Every installed header stands alone in C11 and C++17, without a warning and without what only C has
# or what a library keeps to itself; no function hides a type; structs that may grow can be
# initialised in both, and have no padding at their end.
set -euo pipefail
root=$(cd "${1:-.}" && pwd)
cd "$root"

headers=$(tests/lint/installed)
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

# The last field of a struct of a header.
last_field() { # HEADER STRUCT
    sed -n "/^struct $2 {/,/^}/ { s,/\*.*,,; s/\[.*\];/;/; s/^    [a-z].*[ *]\([a-z0-9_]*\);.*/\1/p }" "$1" |
        tail -n 1
}

# Whoever adds a field finds no gap before it that its size would not show (core/sized.h).
ends_with_its_last_field() { # HEADER STRUCT
    local field
    field=$(last_field "$1" "$2")
    echo "_Static_assert(offsetof(struct $2, $field) + sizeof(((struct $2 *)0)->$field) ==" \
        "sizeof(struct $2), \"struct $2 has padding at its end\");"
}

hidden=$(cat $headers | awk '
    /^(struct|enum) mst_[a-z0-9_]+ \{/ { types[$2] = $1 }
    match($0, /^[a-z].*[ *]mst_[a-z0-9_]+\(/) {
        name = substr($0, RSTART, RLENGTH - 1)
        sub(/.*[ *]/, "", name)
        functions[name]
    }
    END { for (name in functions) if (name in types)
        print name ": the function hides the " types[name] " of that name in C++" }')
[ -z "$hidden" ] || { echo "$hidden"; bad=1; }

for header in $headers; do
    test=$include/test.c
    ends=$include/ends.c
    echo "#include <muster/$header>" >"$test"
    printf '#include <muster/%s>\n#include <stddef.h>\n' "$header" >"$ends"
    grep -nHE '_Alignas|_Atomic|_Generic|\batomic_|static inline|_?[sS]tatic_assert|\brestrict\b' "$header" &&
        complain "$header" "holds what C++ or another program's C has no use for"
    grep -qE '\bmst_[a-z0-9_]+\(' "$header" && ! grep -q '^extern "C" {' "$header" &&
        complain "$header" 'has no extern "C"'
    while read -r name macro; do
        [ "$macro" != - ] || { complain "$header" "struct $name begins with its size, but has no _INIT"; continue; }
        echo "extern struct $name ${name}_of; struct $name ${name}_of = $macro;" >>"$test"
        ends_with_its_last_field "$header" "$name" >>"$ends"
    done < <(sized "$header")
    for name in mst_tensor mst_sample; do # elements of arrays, which grow as well
        ! grep -q "^struct $name {" "$header" || ends_with_its_last_field "$header" "$name" >>"$ends"
    done
    for language in 'c -std=c11' 'c++ -std=c++17'; do
        read -ra options <<<"$language"
        "${CC:-cc}" -x "${options[@]}" -Wall -Wextra -Wpedantic -Wshadow -Wno-unused -Werror \
            -fsyntax-only -I "$include" "$test" || complain "$header" "is not clean in $language"
    done
    "${CC:-cc}" -x c -std=c11 -fsyntax-only -I "$include" "$ends" ||
        complain "$header" "has a struct whose end is padding"
done
exit $bad
