#!/bin/bash
# The floors: which component may include which. From another component only its face X/X.h is
# allowed (core: any header), and the root is the only include path.
set -euo pipefail
cd "${1:-.}"

face() { # HEADER: what a user of the library may include
    case "$1" in
    core/* | gpu/gpu.h | comm/comm.h | ckpt/ckpt.h | dataio/dataio.h | launcher/job.h) ;;
    *) return 1 ;;
    esac
}

allowed() { # FROM TO HEADER
    [ "$1" != "$2" ] || return 0
    case "$1>$2" in
    gpu\>core | comm\>core | ckpt\>core | dataio\>core | launcher\>core) ;;
    comm\>gpu | ckpt\>gpu | dataio\>gpu | perf\>* | examples\>*) face "$3" ;;
    *) return 1 ;;
    esac
}

bad=0
while IFS=: read -r file line header; do
    from=${file%%/*} to=${header%%/*}
    if [ "$to" = "$header" ]; then
        echo "$file:$line: \"$header\" is not named from the root"
        bad=1
    elif ! allowed "$from" "$to" "$header"; then
        echo "$file:$line: $from may not include $header"
        bad=1
    fi
done < <(grep -rsnoE --include='*.[ch]' '^#include "[^"]+"' \
    core gpu comm ckpt dataio launcher perf examples | sed -E 's/#include "([^"]+)"/\1/')
exit $bad
