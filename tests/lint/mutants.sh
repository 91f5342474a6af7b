#!/bin/bash
# The bugs that `make mutate` puts in still find their places.
set -euo pipefail
cd "${1:-.}"
exec tests/mutate/run --stale
