#!/bin/bash
# What `make install` puts down is enough for strangers: programs in C11 and C++17 that know only
# pkg-config, or only CMake's find_package, linked with the libraries or with the archive, compile
# without a warning and run; nothing of ours gets in the way of theirs.
source "$(dirname "$0")/lib.sh"
root=$(cd "$here/../.." && pwd)
[ -f "$root/build/release/cmake_install.cmake" ] || skip "no release build: make build"
consumers=$here/consumers
strict=(-Wall -Wextra -Wpedantic -Werror)

cmake --install "$root/build/release" --prefix "$work/there" >/dev/null
mv "$work/there" "$work/prefix" # an installed tree may be moved
prefix=$work/prefix
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib
head -c 4096 /dev/urandom >"$work/tokens"

# tries PROGRAM: it runs, and if it is more than a collective it reads, saves and loads.
tries() {
    local arguments=()
    case $(basename "$1") in
    whole*) arguments=("$work/tokens" "$(mktemp -d "$work/ckpt.XXXX")") ;;
    loop*) arguments=("$work/tokens" "$(mktemp -d "$work/ckpt.XXXX")" 10) ;;
    esac
    expect 0 "$1" "${arguments[@]}"
}

# loads PROGRAM PATTERN: a library that matches is loaded with it.
loads() { grep -qE "$2" <<<"$(ldd "$1")"; }

build() { # PROGRAM SOURCE FLAG …
    local program=$work/$1 source=$2
    shift 2
    if [[ $program == *cxx ]]; then
        c++ -std=c++17 "${strict[@]}" -x c++ "$source" -x none "$@" -o "$program"
    else
        cc -std=c11 "${strict[@]}" "$source" "$@" -o "$program"
    fi
    tries "$program"
}

say "pkg-config: shared and static, C and C++"
read -ra flags <<<"$(pkg-config --cflags --libs muster)"
read -ra static_flags <<<"$(pkg-config --cflags --libs muster-static)"
for language in c cxx; do
    build "collective.$language" "$consumers/collective.c" "${flags[@]}"
    build "whole.$language" "$consumers/whole.c" "${flags[@]}"
    build "collective.static.$language" "$consumers/collective.c" "${static_flags[@]}"
    build "whole.static.$language" "$consumers/whole.c" "${static_flags[@]}"
done
build loop.c "$root/examples/loop.c" "${flags[@]}"
build loop.static.c "$root/examples/loop.c" "${static_flags[@]}"
say "as ranks of a job"
expect 0 muster run --nproc 2 -- "$work/collective.c"
mentions "sum over 2 ranks: 2"
expect 0 muster run --nproc 2 -- "$work/collective.static.c"

say "who wants collectives loads neither HDF5 nor curl"
for program in collective.c collective.cxx collective.static.c; do
    ! loads "$work/$program" 'hdf5|curl|libmuster-(io|data|ckpt)' || fail "$(ldd "$work/$program")"
done
loads "$work/whole.c" libmuster-ckpt || fail "the whole program loads no libmuster-ckpt"
! loads "$work/whole.static.c" libmuster || fail "the static program loads libmuster"

say "a project with headers and functions of its own by the same names"
read -ra own_flags <<<"-I$consumers/own ${flags[*]}"
build own "$consumers/own/main.c" "${own_flags[@]}"
build own.static "$consumers/own/main.c" -I"$consumers/own" "${static_flags[@]}"
mentions "own log: started"

say "CMake"
cmake -S "$consumers" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_FLAGS="${strict[*]}" -DCMAKE_CXX_FLAGS="${strict[*]}" >/dev/null
cmake --build "$work/build" >"$work/build.out"
for program in {collective,whole}-{muster,muster_static}{,-cxx} own-static collective-comm; do
    LD_LIBRARY_PATH='' tries "$work/build/$program"
done
! loads "$work/build/collective-muster" 'hdf5|curl' || fail "CMake's program loads HDF5 or curl"

say "programs of an older and a newer minor version"
# changes NAME HEADER SED: the headers NAME, of which HEADER is changed by SED.
changes() {
    [ -d "$work/$1" ] || cp -r "$prefix/include" "$work/$1"
    sed -i -E "$3" "$work/$1/muster/$2"
    ! cmp -s "$work/$1/muster/$2" "$prefix/include/muster/$2" || fail "no edit"
}
against() { # NAME PROGRAM FLAG …
    local name=$1 program=$2
    shift 2
    cc -std=c11 -I"$work/$name" "$consumers/$program.c" -L"$prefix/lib" -lmuster -Wl,-rpath-link,"$prefix/lib" \
        "$@" -o "$work/$program.$name"
}
changes older comm/comm.h \
    '/^struct mst_comm_stats \{/,/^\}/ { /busy_ns/d }; /^struct mst_comm_opts \{/,/^\}/ { /backend;/d }'
against older grown
expect 0 "$work/grown.older"
mentions "stats 0 operations 1"
more='s/^\}/    unsigned long long shiny;\n}/'
changes newer comm/comm.h "/^struct mst_comm_(stats|opts) \\{/,/^\\}/ $more"
against newer grown -DSHINY=0
expect 0 "$work/grown.newer"
mentions "stats 0 operations 1" "shiny 0"
against newer grown -DSHINY=1
expect 1 "$work/grown.newer"
mentions "create -95" "MST_COMM_OPTS_INIT" "which this libmuster"

say "arrays of theirs: samples and tensors"
printf onetwo.. >"$work/records"
arrays() { # CODE NAME: what was compiled against the headers NAME
    expect "$1" "$work/arrays.$2" "$work/records" "$(mktemp -d "$work/ckpt.XXXX")"
    mentions "sample onet" "sample wo.."
}
changes older dataio/dataio.h '/^struct mst_sample \{/,/^\}/ { /index;/d }'
against older arrays
arrays 0 older
mentions "tensors onet wo.."
changes newer dataio/dataio.h "/^struct mst_sample \\{/,/^\\}/ $more"
changes newer ckpt/ckpt.h "/^struct mst_tensor \\{/,/^\\}/ $more"
against newer arrays -DSHINY=0
arrays 0 newer
[ "$(grep -c '^shiny 0$' "$work/last.out")" = 2 ] || fail "samples have what this library does not know"
mentions "tensors onet wo.."
against newer arrays -DSHINY=1
arrays 1 newer
mentions "save -95 tensor second: " "which this libmuster"

say "versions in the names"
grep -q 'MUSTER_0.1.*mst_comm_create' <<<"$(objdump -T "$work/collective.c")" || fail "unversioned names"
grep -q 'SONAME.*libmuster-comm.so.0$' <<<"$(objdump -p "$prefix/lib/libmuster-comm.so")" || fail "SONAME"

say "the installed programs run, each says what it does"
unset LD_LIBRARY_PATH
pmix=
[ ! -x "$MUSTER_BIN/muster-pmix" ] || pmix=muster-pmix
for program in muster muster-bench muster-data muster-ckpt $pmix; do
    expect 0 "$prefix/bin/$program" --help
    expect 0 "$prefix/bin/$program" --version
done
