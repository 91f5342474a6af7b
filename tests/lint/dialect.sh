#!/bin/bash
# One hand: what a script can tell of STYLE.md without false alarms. The rest is example.
set -euo pipefail
cd "${1:-.}"
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- core gpu comm ckpt dataio launcher perf examples tests

# Columns are characters, and one of awk's two kinds counts bytes.
found=$(find "$@" -name '*.[ch]' | sort | LC_ALL=C.UTF-8 xargs grep -HnE '^.{101}' || :)
[ -z "$found" ] || { echo "$found"; echo "  a line has 100 columns"; exit 1; }

find "$@" -name '*.[ch]' | sort | xargs awk '
    function complain(line, text) {
        print FILENAME ":" line ": " text
        bad = 1
    }
    # Parameters of the function whose head, from its name on, is in `head`.
    function parameters(    i, c, depth, count) {
        for (i = index(head, "("); i <= length(head); i++) {
            c = substr(head, i, 1)
            if (c == "(") depth++
            if (c == ")" && --depth == 0) break
            if (c == "," && depth == 1) count++
        }
        return count + 1
    }
    # A collective is called as in MPI and NCCL, and libpmix calls as it does; fakes and wraps have the
    # parameters of the real one.
    function head_ends() {
        if (FILENAME !~ /^tests\// && head !~ /[ *](mst_comm_[a-z_]+\(|on_[a-z_]+\(const pmix_)/ &&
            parameters() > 6)
            complain(head_line, "more than six parameters: a struct is missing")
        name = head
        sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
        head = ""
    }

    FNR == 1 { body = 0; head = "" }
    /^\/[*\/] ?[-=*#~][-=*#~]/ && (length($0) != 100 || !/^\/\* ---- [^- ].* -+( \*\/)?$/) {
        complain(FNR, "a section begins as /* ---- name ---- */, to column 100")
    }
    head == "" && !body && /^[a-z].*[ *][a-z_0-9]+\(/ && !/^(typedef|extern "C")/ { head_line = FNR; head = $0 }
    head != "" && head_line != FNR { head = head " " $0 }
    head != "" && /[;{]/ { head_ends() }
    /^\{/ {
        if (head != "") head_ends()
        body = FNR; asserts = 0
    }
    /^\}/ {
        if (body && name ~ /_locked$/ && FILENAME !~ /^tests\// && !asserts)
            complain(body, name " does not assert that its lock is held")
        body = 0; name = ""
    }
    !body { next }
    /^$/ { complain(FNR, "a blank line in a function: they stand between functions") }
    /mst_lock_is_held\(/ { asserts = 1 }
    /\(void\)pthread_(mutex_(init|lock|unlock|destroy)|cond_(wait|signal|broadcast|destroy))\(/ {
        complain(FNR, "a plain mutex and a condition need no (void)")
    }
    /[^a-z_]strerror\(/ && FILENAME != "core/err.c" && FILENAME !~ /^tests\// {
        complain(FNR, "strerror: mst_err_meaning")
    }
    /^ +int ([a-z_]+( = [^,;(]*)?, )*(r|ret|res|result|retval|rv)( = |;|,)/ || /^ +int (code|err|status) = mst_/ {
        complain(FNR, "the result of a call is rc")
    }
    END { exit bad }'
