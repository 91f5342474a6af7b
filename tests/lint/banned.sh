#!/bin/bash
# Calls that have no place in a component, or only one home.
set -euo pipefail
cd "${1:-.}"

bad=0
ban() { # PATTERN REASON HOME…: the calls are allowed in the homes only
    local pattern=$1 reason=$2 found
    shift 2
    found=$(grep -rsnE --include='*.[ch]' "(^|[^a-zA-Z0-9_.>])($pattern)\(" \
        core gpu comm ckpt dataio launcher perf examples |
        grep -vE '^[^:]+:[0-9]+: *(/?\*|//)' || :)
    for home in "$@"; do
        found=$(grep -v "^$home" <<<"$found" || :)
    done
    [ -z "$found" ] || { echo "$found"; echo "  $reason"; bad=1; }
}

ban 'strcpy|strcat|sprintf|vsprintf|gets' 'writes without a limit: use snprintf'
ban 'atoi|atol|atoll|atof' 'cannot tell an error: use strtoul and look at the end'
ban 'strtok|localtime|gmtime|rand|srand' 'keeps state behind the back'
ban 'sleep|usleep|nanosleep' 'waits have a deadline and a condition, nothing sleeps to poll'
ban 'system|popen' 'no shell'
ban 'alloca' 'no memory on the stack whose size is an input'
ban 'getenv|secure_getenv' 'the environment is read in one place per program' \
    core/world/world.c core/world/secret.c core/blob/env.c core/scratch.c launcher/opts.c
ban 'setenv|putenv|unsetenv|clearenv' 'the environment is data: build an envp for the child'
ban 'exit|_exit|abort|quick_exit' 'a library never ends the process' \
    core/cli/ launcher/main.c launcher/spawn.c launcher/guard.c launcher/redial.c launcher/mpi.c \
    launcher/pmi.c launcher/pmix_start.c launcher/cmd_ comm/mpi_module.c \
    dataio/tool/ ckpt/tool/ perf/ examples/
ban 'pidfd_[a-z_]+|sig(abbrev|descr)_np|strerror(name|desc)_np|close_range|closefrom|strlc(py|at)' \
    'newer than glibc 2.28, or not in musl: core/libc.h is the place for it'
ban 'pthread_detach' 'every thread is joined'
ban 'pthread_condattr_[a-z_]+|pthread_cond_(timed|clock)wait' \
    'core/cond.h has conditions that wait until a deadline' core/cond.c
ban 'least|smaller|min|round_up|align_up' 'core/least.h has mst_least and mst_round_up'
exit $bad
