#!/bin/bash
# Every variable that a program of the house reads is in muster(1) or muster-env(7).
set -euo pipefail
cd "${1:-.}"

calls=$(grep -hoE '(getenv|get|first)\((&?reader, )?"[A-Z_0-9]+"(, "[A-Z_0-9]+")?' core/blob/env.c core/scratch.c launcher/opts.c)
ours=$(grep -rhoE '"MST_[A-Z_0-9]+"' core launcher perf --include='*.c')
bad=0
for name in $(grep -ohE '"[A-Z_0-9]+"' <<<"$calls $ours" | tr -d '"' | sort -u); do
    grep -qE "\b$name\b" launcher/man/muster.1 launcher/man/muster-env.7 && continue
    grep -rn "\"$name\"" core launcher perf
    echo "  $name: no man page says what it does"
    bad=1
done
exit $bad
