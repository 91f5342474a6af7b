#!/bin/bash
# What `make install` puts down is enough for a stranger: a program that knows only pkg-config, and
# one that knows only CMake's find_package, compile against it and run.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
[ -f "$root/build/release/cmake_install.cmake" ] || { echo "no release build: make build"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$root/build/release" --prefix "$work/there" >/dev/null
mv "$work/there" "$work/prefix" # an installed tree may be moved
prefix=$work/prefix

cat >"$work/hello.c" <<'C'
#include <muster/comm/comm.h>
#include <muster/core/err.h>
#include <muster/core/kv/kv.h>
#include <muster/core/world/world.h>

#include <stdio.h>

int main(void)
{
    struct mst_world *world = NULL;
    struct mst_err err = {0};
    struct mst_kv *kv = NULL;
    struct mst_comm *comm = NULL;
    double sum = 0, one = 1;
    if (mst_world_single(&world) < 0 || mst_kv_dial(world, UINT64_MAX, &kv, &err) < 0 ||
        mst_comm_create(world, kv, NULL, &comm, &err) < 0 ||
        mst_comm_allreduce(comm, &one, &sum, 1, MST_F64, MST_SUM, NULL) < 0)
        fprintf(stderr, "%s\n", err.text);
    printf("sum over %u ranks: %.0f\n", mst_world_size(world), sum);
    mst_comm_destroy(comm);
    mst_kv_close(kv);
    mst_world_destroy(world);
    return sum == 1 ? 0 : 1;
}
C
mkdir "$work/project"
cat >"$work/project/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(hello C)
find_package(muster 0.1 CONFIG REQUIRED)
add_executable(hello ../hello.c)
target_link_libraries(hello PRIVATE muster::muster)
CMAKE

echo "pkg-config, shared"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
read -ra flags <<<"$(pkg-config --cflags --libs muster)"
cc -std=c17 -Wall -Wextra -Wpedantic -Werror -o "$work/shared" "$work/hello.c" "${flags[@]}"
LD_LIBRARY_PATH=$prefix/lib "$work/shared"

echo "pkg-config, static"
read -ra flags <<<"$(pkg-config --static --libs muster)"
flags=("${flags[@]/-lmuster/-l:libmuster.a}")
read -ra cflags <<<"$(pkg-config --cflags muster)"
cc -std=c17 -o "$work/static" "$work/hello.c" "${cflags[@]}" "${flags[@]}"
"$work/static"

echo "CMake"
cmake -S "$work/project" -B "$work/project/build" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$work/project/build" >/dev/null
"$work/project/build/hello"

echo "only mst_ symbols leave the library"
if nm -D --defined-only "$prefix/lib/libmuster.so" | grep -v ' mst_'; then
    exit 1
fi

echo "the installed programs find it"
for program in muster muster-bench muster-data muster-ckpt; do
    "$prefix/bin/$program" --help >/dev/null
done
