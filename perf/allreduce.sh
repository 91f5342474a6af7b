#!/bin/bash
# Allreduce of floats, Muster beside MPI, in the same loop (perf/bench.c, perf/peers/allreduce_mpi.c).
# The contestants take turns, whole sweeps at a time, so that a busy neighbour hits all of them; the
# table has the median of the rounds.
#
#   perf/allreduce.sh            build first: make build
#   SIZES=8:64M:4 ROUNDS=7 ITERS=20 WARMUP=5 NPROC=2 IN_PLACE=0 MUSTER_BIN=build/bin   the defaults
#
# Exit status: 0; 1 if a result was wrong or a program failed; 2 if nothing can be measured.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${SIZES:=8:64M:4}" "${ROUNDS:=7}" "${ITERS:=20}" "${WARMUP:=5}" "${NPROC:=2}" "${IN_PLACE:=0}"
: "${MUSTER_BIN:=build/bin}"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

IFS=: read -r min max factor <<<"$SIZES"
min=$(numfmt --from=iec "$min")
max=$(numfmt --from=iec "$max")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# Each prints "bytes out-of-place-us in-place-us wrong" lines.
run_muster() {
    "$MUSTER_BIN/muster-bench" allreduce --nproc "$NPROC" -b "$min" -e "$max" -f "$factor" \
        -n "$ITERS" -w "$WARMUP" | awk '/^ *[0-9]/ { print $1, $6, $10, $9 + $13 }'
}
run_ompi() {
    [ "$NPROC" -le "$(nproc)" ] || set -- --oversubscribe "$@"
    mpirun.openmpi "$@" -n "$NPROC" "$dir/openmpi" "$min" "$max" "$factor" \
        "$ITERS" "$WARMUP"
}
run_ompi_no_cma() {
    run_ompi --mca btl_vader_single_copy_mechanism none
}
run_mpich() {
    mpiexec.hydra -n "$NPROC" "$dir/mpich" "$min" "$max" "$factor" "$ITERS" "$WARMUP"
}

[ -x "$MUSTER_BIN/muster-bench" ] || { echo "no $MUSTER_BIN/muster-bench: run make build" >&2; exit 2; }
contestants=(muster)
peer=perf/peers/allreduce_mpi.c
if command -v mpicc.openmpi mpirun.openmpi >"$dir/where"; then
    mpicc.openmpi -O2 -o "$dir/openmpi" "$peer"
    contestants+=(ompi ompi_no_cma)
fi
if command -v mpicc.mpich mpiexec.hydra >"$dir/where"; then
    mpicc.mpich -O2 -o "$dir/mpich" "$peer"
    contestants+=(mpich)
fi
if [ ${#contestants[@]} -eq 1 ]; then
    echo "no MPI here: apt-get install openmpi-bin libopenmpi-dev mpich" >&2
    exit 2
fi

echo "# $(uname -srm), $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)," \
    "load $(cut -d' ' -f1-3 /proc/loadavg)"
echo "# float sum, $NPROC ranks, $ROUNDS rounds of $ITERS iterations after $WARMUP warm-ups;" \
    "medians in us, $([ "$IN_PLACE" = 1 ] && echo in place || echo out of place)"
for ((round = 1; round <= ROUNDS; round++)); do
    for who in "${contestants[@]}"; do
        [ ! -t 2 ] || printf '\rround %d of %d: %-12s' "$round" "$ROUNDS" "$who" >&2
        "run_$who" >"$dir/rows" 2>"$dir/log" || { cat "$dir/log"; echo "$who failed"; exit 1; } >&2
        awk -v who="$who" '{ print who, $0 }' "$dir/rows" >>"$dir/all"
    done
done
[ ! -t 2 ] || printf '\r%40s\r' '' >&2

# x_ompi: Open MPI as it comes over Muster; x_best: the fastest MPI variant of that size over Muster.
sort -k1,1 -k2,2n -k$((3 + IN_PLACE)),$((3 + IN_PLACE))g "$dir/all" |
    awk -v names="${contestants[*]}" -v column=$((3 + IN_PLACE)) '
    { time[$1, $2, ++seen[$1, $2]] = $column; sizes[$2] = 1; wrong += $5 }
    function median(who, size,    n) {
        n = seen[who, size]
        return (time[who, size, int((n + 1) / 2)] + time[who, size, int(n / 2) + 1]) / 2
    }
    END {
        count = split(names, name, " ")
        printf "%12s", "bytes"
        for (i = 1; i <= count; i++)
            printf " %12s", name[i]
        printf " %8s %8s\n", name[2] == "ompi" ? "x_ompi" : "x_" name[2], "x_best"
        order = "sort -n"
        for (size in sizes) {
            line = sprintf("%12d", size)
            own = median("muster", size)
            own = own > 0 ? own : 0.005
            best = 0
            for (i = 1; i <= count; i++) {
                us = median(name[i], size)
                line = line sprintf(" %12.2f", us)
                if (i > 1 && (!best || us < best))
                    best = us
            }
            print line sprintf(" %8.2f %8.2f", median(name[2], size) / own, best / own) | order
        }
        close(order)
        if (wrong) {
            print wrong " wrong elements"
            exit 1
        }
    }'
