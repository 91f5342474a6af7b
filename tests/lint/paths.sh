#!/bin/bash
# The repository builds on any machine: no tracked file names a path of one developer's, nor the
# host of a package registry (the system's package manager knows where packages are).
set -euo pipefail
cd "${1:-.}"

paths='(^|[^A-Za-z0-9_/.~-])/(work|root|home/[a-z][a-z0-9_-]*)(/|$)'
hosts='(pypi|rubygems)\.org|pythonhosted\.org|npmjs\.(org|com)|crates\.io|proxy\.golang\.org'
hosts+='|repo1?\.maven|maven\.apache\.org|deb\.debian\.org|anaconda\.org'

[ -n "$(git ls-files 2>/dev/null)" ] || { echo "no git checkout: which files are tracked?"; exit 77; }
bad=0
search() { # PATTERN REASON
    local found
    found=$(git ls-files -z | grep -zvE '^(LICENSE|tests/lint/paths\.sh)$' |
        xargs -0r grep -HnIsE "$1" | grep -v 'xmlns=' || :)
    [ -z "$found" ] || { echo "$found"; echo "  $2"; bad=1; }
}

search "$paths" "a path of one machine: take it as an argument, or make it relative"
search "$hosts" "a package registry: name the Debian package instead"
exit $bad
