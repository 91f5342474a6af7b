#!/bin/bash
# Every Python program is one, and uses what it imports and defines.
set -euo pipefail
cd "${1:-.}"

command -v pyflakes3 >/dev/null || { echo "pyflakes3 is not installed"; exit 77; }
[ -n "$(git ls-files 2>/dev/null)" ] || { echo "no git checkout: which files are tracked?"; exit 77; }
{ git ls-files -z '*.py' && git grep -lzE '^#!.*python'; } | sort -zu | xargs -0r pyflakes3
