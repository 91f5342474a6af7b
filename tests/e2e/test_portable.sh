#!/bin/bash
# The launcher for any image (make portable): what it needs of one, that it and the ordinary one
# understand each other, and that it is PID 1 of a Debian 11, a Debian 13 and an image with nothing
# in it.
source "$(dirname "$0")/lib.sh"

portable=$(realpath -m "$here/../../build/portable")
roots=$(realpath -m "$here/../../build/roots")
[ -x "$portable/muster-aarch64-static" ] || skip "no programs in build/portable: make portable"
[ "$(uname -m)" = x86_64 ] || skip "only x86-64 can start all of them, aarch64's in an emulator"

needs() { readelf -dW "$portable/$1" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' | sort | xargs; }

say "a small file that needs of an image what glibc 2.28 has, or nothing"
for arch in x86_64 aarch64; do
    for program in muster-$arch muster-$arch-static; do
        size=$(stat -c %s "$portable/$program")
        [ "$size" -le 400000 ] || fail "$program has $size bytes"
    done
    [ "$(needs muster-$arch)" = "libc.so.6 libpthread.so.0" ] ||
        fail "muster-$arch needs $(needs muster-$arch)"
    [ -z "$(needs muster-$arch-static)" ] || fail "muster-$arch-static needs something"
    newest=$(readelf -VW "$portable/muster-$arch" | grep -oE 'GLIBC_[0-9.]+' | sort -Vu | tail -n 1)
    [ "$(printf '%s\nGLIBC_2.28\n' "$newest" | sort -V | tail -n 1)" = GLIBC_2.28 ] ||
        fail "muster-$arch needs $newest"
done

say "each says what it is"
version=$(muster --version)
expect 0 "$portable/muster-x86_64" --version
[ "$(cat "$work/last.out")" = "$version" ] || fail "another version than $version"
expect 0 "$portable/muster-x86_64-static" --version
mentions "$version" "static: names are resolved by resolv.conf and hosts"

say "agents and ranks of both builds are one job"
export MST_JOB_SECRET=shared
rdzv=127.0.0.1:29517
node() { # RANK PROGRAM OUTPUT: an agent of the job in the background; its pid is $!
    "$2" run --nnodes 2 --node-rank "$1" --nproc 2 --rdzv $rdzv --rdzv-timeout 20 -- \
        allreduce >"$work/$3.out" 2>&1 &
}
together() { # PROGRAM PROGRAM
    node 0 "$1" a; first=$!
    node 1 "$2" b; second=$!
    ended 0 $second b
    ended 0 $first a
    mentions "allreduce: OK on 4 ranks"
}
for program in "$portable/muster-x86_64" "$portable/muster-x86_64-static"; do
    together muster "$program"
    together "$program" muster
    node 0 "$program" a; first=$!
    until_true grep -q "waiting for nodes" "$work/a.out"
    MST_JOB_SECRET=wrong node 1 muster b
    ended 78 $! b
    mentions "cannot join node 0"
    node 1 muster b; second=$!
    ended 0 $second b
    ended 0 $first a
done

say "the other architecture"
command -v qemu-aarch64-static >/dev/null && [ -d /usr/aarch64-linux-gnu/lib ] ||
    skip "no qemu-user-static or no libc6-arm64-cross: make deps-roots"
for program in muster-aarch64 muster-aarch64-static; do
    run=(qemu-aarch64-static -L /usr/aarch64-linux-gnu "$portable/$program")
    expect 0 "${run[@]}" --version
    mentions "$version"
    expect 0 "${run[@]}" run --nproc 2 -- sh -c 'echo "rank $RANK of $WORLD_SIZE"'
    mentions "[0] rank 0 of 2" "[1] rank 1 of 2"
done
no_leftovers

# A name server that knows every name, for an image without a C library.
cat >"$work/dns.py" <<'PY'
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.77.0.53", 53))
while True:
    query, peer = server.recvfrom(512)
    question = query[12:query.index(0, 12) + 5]
    known = question[-4:-2] == b"\0\1"  # A, no AAAA
    server.sendto(query[:2] + b"\x81\x80\0\1\0" + bytes([known]) + bytes(4) + question +
                  (b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1" if known else b""), peer)
PY
mkdir "$work/etc"
echo "127.0.0.1 node-zero" >"$work/etc/hosts"
echo "nameserver 127.77.0.53" >"$work/etc/resolv.conf"

# inside ROOT PROGRAM ARG …: PROGRAM as PID 1 of a container of that root, as /muster; nothing is
# written to the root.
inside() {
    local root=$1 program=$2
    shift 2
    unshare --mount --pid --fork bash -euc '
        root=$1 program=$2 work=$3
        shift 3
        mkdir -p "$work/tmp" "$work/root"
        mount -t tmpfs none "$work/tmp"
        mkdir "$work/tmp/upper" "$work/tmp/work"
        mount -t overlay -o "lowerdir=$root,upperdir=$work/tmp/upper,workdir=$work/tmp/work" \
            overlay "$work/root"
        cd "$work/root"
        mkdir -p proc dev etc
        mount -t proc proc proc
        mount --rbind /dev dev
        cp "$program" muster
        cp -r "$work/etc/." etc
        exec chroot . /muster "$@"' inside "$root" "$program" "$work" "$@"
}
[ -d "$roots/trixie" ] || skip "no systems in build/roots: make deps-roots, as root"
mkdir "$work/empty"
inside "$work/empty" "$portable/muster-x86_64-static" --version >"$work/last.out" 2>&1 ||
    skip "namespaces and overlays are not permitted: $(cat "$work/last.out")"

node_zero() { # with one rank, in the background
    muster run --nnodes 2 --node-rank 0 --nproc 1 --rdzv $rdzv --rdzv-timeout 20 -- \
        sh -c 'echo "rank $RANK of $WORLD_SIZE"' >"$work/a.out" 2>&1 &
    first=$!
}
joins=(run --nnodes 2 --node-rank 1 --nproc 2 --rdzv-timeout 20 --rdzv)
for suite in bullseye trixie; do
    for program in muster-x86_64 muster-x86_64-static; do
        say "$program is PID 1 of $suite"
        expect 3 inside "$roots/$suite" "$portable/$program" run --nproc 2 --max-restarts 0 -- \
            sh -c 'echo "rank $RANK of $WORLD_SIZE, child of $PPID"; exit 3'
        mentions "rank 0 of 2, child of 1" "rank 1 of 2, child of 1"
        node_zero
        expect 0 inside "$roots/$suite" "$portable/$program" "${joins[@]}" node-zero:29517 -- \
            sh -c 'echo "rank $RANK of $WORLD_SIZE"'
        mentions "[1] rank 1 of 3" "[2] rank 2 of 3"
        ended 0 $first a
    done
done

say "the static one needs nothing in the image, and asks the name server"
python3 "$work/dns.py" >"$work/dns.out" 2>&1 &
dns=$!
node_zero
expect 0 inside "$work/empty" "$portable/muster-x86_64-static" "${joins[@]}" muster.test:29517 -- \
    /muster env --json
kill $dns
mentions '"rank": 1' '"rank": 2'
ended 0 $first a
no_leftovers
echo OK
