#!/usr/bin/python3
"""lossy_wire.py SPACE SPACE LOSS SEED: joins two network namespaces by a wire, a device "wire0" in
each, that loses a part of the packets both ways. Ends when its standard input does."""
import ctypes
import fcntl
import os
import random
import select
import struct
import sys

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 1, 0x1000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def device(space):
    with open(f"/run/netns/{space}") as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET):
            sys.exit(f"cannot enter {space}: {os.strerror(ctypes.get_errno())}")
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"wire0", IFF_TUN | IFF_NO_PI))
    return tun


ends = [device(space) for space in sys.argv[1:3]]
loss = float(sys.argv[3])
chance = random.Random(int(sys.argv[4]))
print("up", flush=True)
while True:
    ready, _, _ = select.select(ends + [sys.stdin], [], [])
    if sys.stdin in ready:
        break
    for end in ready:
        packet = os.read(end, 65536)
        if chance.random() >= loss:
            try:
                os.write(ends[1 - ends.index(end)], packet)
            except OSError:
                pass  # the other end is not up yet, or full: that is one more loss
