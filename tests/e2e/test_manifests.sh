#!/bin/bash
# The Kubernetes manifests and the image: what has to fit together does, every pod's environment
# means the world that its manifest says, and the image has every library that the programs need.
source "$(dirname "$0")/lib.sh"
/usr/bin/python3 -c 'import yaml' 2>/dev/null || skip "python3-yaml is not installed"
manifests=$here/../../k8s-manifests

say "documents"
/usr/bin/python3 "$here/manifests.py" "$manifests" "$here/../data/env-vectors.json" "$work"

say "libraries of the image"
packages=$(sed -n '/ AS runtime/,/rm -rf/p' "$manifests/Dockerfile" | tr -s ' \\' '\n')
for program in muster muster-bench muster-ckpt muster-data train_lm; do
    objdump -p "$MUSTER_BIN/$program"
    ldd "$MUSTER_BIN/$program" | awk '/libmuster/ { print $3 }' | xargs -r objdump -p
done | awk '$1 == "NEEDED" { print $2 }' | sort -u >"$work/needed"
[ -s "$work/needed" ] || fail "the programs need no library at all?"
while read -r library; do
    package=$({ dpkg -S "*/$library" 2>/dev/null || :; } | sed 's/[:,].*//' | sort -u | head -n 1)
    [ "$package" = libc6 ] || [[ $library = libmuster* ]] || grep -qx "$package" <<<"$packages" || fail "the image lacks $package ($library)"
done <"$work/needed"

say "the image for mpirun has what its MPI needs of Muster"
stage() { sed -n "/ AS $1\$/,/^FROM/p" "$manifests/Dockerfile"; }
built=$(stage mpi | sed -n 's/^COPY --from=\([^ ]*\) .*/\1/p')
[ -n "$built" ] || fail "no stage builds the module for the image for mpirun"
for package in libopenmpi-dev libpmix-dev; do
    stage "$built" | grep -qw $package || fail "the stage $built has no $package: it builds no module"
done

say "an image is made of what git has, not of what was built beside it"
while read -r name; do
    grep -qxF -- "$name" "$here/../../.dockerignore" || fail ".dockerignore lacks $name"
done < <(echo .git/; cat "$here/../../.gitignore")

if command -v kubectl >/dev/null; then
    say "kustomize builds each overlay, whose image has a name that can be pulled"
    for overlay in "$manifests"/overlays/*; do
        expect 0 kubectl kustomize "$overlay"
        grep "image:" "$work/last.out" | grep -vqE 'image: muster(-mpi)?:0.1$' && fail "$overlay: another image"
        mentions "image: muster" "name: muster-ckpt" "name: muster-training"
    done
fi
no_leftovers
echo OK
