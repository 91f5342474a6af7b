#!/bin/bash
# The floors: which component, and which room of core, may include which. From another component only
# its face X/X.h is allowed (core: any header). Every header of ours is named as users name it,
# "muster/…" from the root. perf/rendezvous plays agents, of other revisions too: it is left out.
set -euo pipefail
cd "${1:-.}"

face() { # HEADER: what another component may include
    case "$1" in
    core/* | gpu/gpu.h | comm/comm.h | ckpt/ckpt.h | dataio/dataio.h | launcher/job.h | muster.h) ;;
    *) return 1 ;;
    esac
}

room() { # FILE: its component, and in core its room
    case "$1" in
    core/*/*) cut -d/ -f1,2 <<<"$1" ;;
    *) echo "${1%%/*}" ;;
    esac
}

allowed() { # FROM TO HEADER
    [ "$1" != "$2" ] || return 0
    case "$1>$2" in
    core/*\>core | core/world\>core/resolve | core/kv\>core/world | core/blob\>core/aio) ;;
    core*\>*) return 1 ;;
    gpu\>core* | comm\>core* | ckpt\>core* | dataio\>core* | launcher\>core*) ;;
    comm\>gpu | ckpt\>gpu | dataio\>gpu | perf\>* | examples\>*) face "$3" ;;
    *) return 1 ;;
    esac
}

# Inside blob: back ends on http, which stands on blob's own files.
allowed_in_blob() { # FILE HEADER
    local from=${1#core/blob/} to=${2#core/blob/}
    case "${from%%/*}>${to%%/*}" in
    *\>*.h | http\>http | s3\>s3 | hdfs\>hdfs | s3\>http | hdfs\>http) ;;
    *) return 1 ;;
    esac
}

bad=0
while IFS=: read -r file line header; do
    inside=${header#muster/}
    if [ "$inside" = "$header" ]; then
        echo "$file:$line: \"$header\" is not named from the root as \"muster/…\""
        bad=1
    elif ! allowed "$(room "$file")" "$(room "$inside")" "$inside"; then
        echo "$file:$line: $(room "$file") may not include $inside"
        bad=1
    elif [[ $file == core/blob/* && $inside == core/blob/* ]] && ! allowed_in_blob "$file" "$inside"; then
        echo "$file:$line: ${file#core/blob/} may not include $inside"
        bad=1
    fi
done < <(grep -rsnoE --include='*.[ch]' --exclude-dir=rendezvous '^#include "[^"]+"' \
    core gpu comm ckpt dataio launcher perf examples | sed -E 's/#include "([^"]+)"/\1/')
exit $bad
