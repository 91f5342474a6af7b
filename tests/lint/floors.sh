#!/bin/bash
# The floors: which component may include which. From another component only its face X/X.h is
# allowed (core: any header), and the root is the only include path.
set -euo pipefail
cd "${1:-.}"

allowed() { # FROM TO
    case "$1>$2" in
    core\>core | gpu\>gpu | gpu\>core) ;;
    comm\>comm | comm\>gpu | comm\>core) ;;
    ckpt\>ckpt | ckpt\>gpu | ckpt\>core) ;;
    dataio\>dataio | dataio\>gpu | dataio\>core) ;;
    launcher\>launcher | launcher\>core) ;;
    *) return 1 ;;
    esac
}

bad=0
complain() {
    echo "$1"
    bad=1
}

while IFS=: read -r file line header; do
    from=${file%%/*} to=${header%%/*}
    case $from in core | gpu | comm | ckpt | dataio | launcher) ;; *) continue ;; esac
    if [ "$to" = "$header" ]; then
        complain "$file:$line: \"$header\" is not named from the root"
    elif ! allowed "$from" "$to"; then
        complain "$file:$line: $from may not include $header"
    elif [ "$from" != "$to" ] && [ "$to" = gpu ] && [ "$header" != gpu/gpu.h ]; then
        complain "$file:$line: gpu has one face, gpu/gpu.h"
    fi
done < <(grep -rsnoE --include='*.[ch]' '^#include "[^"]+"' core gpu comm ckpt dataio launcher |
    sed -E 's/#include "([^"]+)"/\1/')
exit $bad
