#!/bin/bash
# nvcc builds every kernel for every device we name, and none spills registers or keeps a stack: what
# they move is all they touch in memory.
source "$(dirname "$0")/lib.sh"
root=$here/../..
nvcc=$(command -v "$root/build/cuda/bin/nvcc" nvcc | head -n 1 || :)
[ -n "$nvcc" ] || skip "no nvcc: make deps-cuda, or put a CUDA toolkit in the PATH"
kernels=$(sed -nE 's/^KERNEL (mst_kernel_[a-z]+)\(.*/\1/p' "$root/gpu/kernels.cu")
mkdir "$work/include" # what the build has
ln -s "$(realpath "$root")" "$work/include/muster"
[ "$(wc -w <<<"$kernels")" -ge 4 ] || fail "the kernels have another look: $kernels"

for arch in 80 90; do
    say "sm_$arch"
    expect 0 nice "$nvcc" -cubin -O3 --fmad=false -Werror all-warnings -Xptxas -v,-warn-spills \
        -arch "sm_$arch" -I "$work/include" -o "$work/kernels.cubin" "$root/gpu/kernels.cu"
    for kernel in $kernels; do
        properties=$(grep -A1 "properties for $kernel\$" "$work/last.out" || :)
        grep -q ' 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads' <<<"$properties" ||
            fail "sm_$arch: $kernel has a stack or spills"
        grep -q "$kernel" "$work/kernels.cubin" || fail "sm_$arch: no $kernel in the binary"
    done
    if grep -i 'warning' "$work/last.out"; then fail "sm_$arch: warnings"; fi
done

say "PTX"
expect 0 nice "$nvcc" -ptx -O3 --fmad=false -arch compute_90 -I "$work/include" -o "$work/kernels.ptx" \
    "$root/gpu/kernels.cu"
for kernel in $kernels; do
    grep -q "\.visible \.entry $kernel(" "$work/kernels.ptx" || fail "no $kernel in the PTX"
done
