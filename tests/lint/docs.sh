#!/bin/bash
# The header is the manual: a function that can fail, and in an installed header every one, has a
# comment, its own or that of the group of prototypes it stands in.
set -euo pipefail
cd "${1:-.}"

installed=$(tests/lint/installed)
awk -v installed="$(tr '\n' ' ' <<<"$installed")" '
    FNR == 1 { all = index(" " installed, " " FILENAME " ") }
    FNR == 1 || /^$/ { commented = grouped = 0 }
    (all || /^(int|int64_t|uint64_t|size_t) /) && /^[a-z][a-z0-9_ ]* \**mst_[a-z0-9_]+\(/ &&
        !commented && !grouped {
        print FILENAME ":" FNR ": no comment above: " $0
        bad = 1
    }
    /^[a-z].*[ *]mst_[a-z0-9_]+\(/ { grouped = commented }
    /\*\/ *$/ { commented = 1 }
    END { exit bad }' core/*.h core/*/*.h core/*/*/*.h gpu/gpu.h comm/comm.h \
    dataio/dataio.h ckpt/ckpt.h launcher/job.h
