#!/bin/bash
# The Kubernetes manifests and the image: what has to fit together does, every pod's environment
# means the world that its manifest says, and the image has every library that the programs need.
source "$(dirname "$0")/lib.sh"
/usr/bin/python3 -c 'import yaml' 2>/dev/null || skip "python3-yaml is not installed"
manifests=$here/../../k8s-manifests

say "documents"
/usr/bin/python3 "$here/manifests.py" "$manifests/base" "$here/../data/env-vectors.json" "$work"

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

say "an image is made of what git has, not of what was built beside it"
while read -r name; do
    grep -qxF -- "$name" "$here/../../.dockerignore" || fail ".dockerignore lacks $name"
done < <(echo .git/; cat "$here/../../.gitignore")

if command -v kubectl >/dev/null; then
    say "kustomize builds the base"
    expect 0 kubectl kustomize "$manifests/base"
    mentions "image: muster:0.1" "image: muster-mpi:0.1" "kind: PyTorchJob" "kind: TrainJob" \
        "kind: MPIJob" "kind: JobSet" "completionMode: Indexed"
fi
no_leftovers
echo OK
