#!/bin/bash
# Every variable that a program of the house reads is in muster(1) or muster-env(7).
set -euo pipefail
cd "${1:-.}"

bad=0
while read -r name; do
    grep -qE "\b$name\b" launcher/man/muster.1 launcher/man/muster-env.7 && continue
    grep -rn "\"$name\"" core launcher perf | head -1
    echo "  $name: no man page says what it does"
    bad=1
done < <({
    grep -rhoE '(getenv|get|first)\("[A-Z_0-9]+"(, "[A-Z_0-9]+")?' core/blob/env.c launcher/opts.c
    grep -rhoE '"MST_[A-Z_0-9]+"' core launcher perf --include='*.c'
} | grep -oE '"[A-Z_0-9]+"' | tr -d '"' | sort -u)
exit $bad
