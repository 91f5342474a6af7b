#!/bin/bash
# A file headed "pure" computes and does nothing else: ISO C headers only, and only pure headers,
# types and constants of ours.
set -euo pipefail
cd "${1:-.}"

iso='assert|complex|ctype|errno|float|inttypes|iso646|limits|math|stdalign|stdarg|stdatomic|stdbool'
iso+='|stddef|stdint|stdio|stdlib|stdnoreturn|string|tgmath|uchar|wchar|wctype'
calls='fopen|fdopen|fread|fwrite|fprintf|printf|puts|malloc|calloc|realloc|strdup|free|getenv'
calls+='|time|clock|rand|srand|exit|abort|system|remove|rename|tmpfile'
calls+='|mst_(aio|auth|deadline|kv|page|sock|stream|world_from)_[a-z_]+|log_line|mst_now_ns'
bad=0
while read -r file; do
    if grep -HnE '^#include <' "$file" | grep -vE "<($iso)\.h>"; then
        echo "$file: a pure file includes ISO C headers only"
        bad=1
    fi
    if grep -HnE "(^|[^a-zA-Z0-9_.>])($calls)\(" "$file" | grep -vE '^[^:]+:[0-9]+: *(/?\*|//)'; then
        echo "$file: a pure file has no I/O, clock or memory of its own"
        bad=1
    fi
done < <(grep -lrsE --include='*.[ch]' '^/\* pure \*/$' core gpu comm ckpt dataio launcher)
exit $bad
