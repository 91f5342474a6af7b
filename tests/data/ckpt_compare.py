"""Reads a checkpoint's HDF5 files with h5py and compares every tensor byte with the test's rule."""
import json
import os
import sys

import h5py
import numpy

step_dir, seed = sys.argv[1], int(sys.argv[2])
MASK = (1 << 64) - 1


def expected(tensor, start, count):
    with numpy.errstate(over="ignore"):
        base = numpy.uint64(((seed * 31 + tensor) * 0x9E3779B97F4A7C15) & MASK)
        x = base + numpy.arange(start, start + count, dtype=numpy.uint64)
        x ^= x >> numpy.uint64(29)
        x *= numpy.uint64(0xBF58476D1CE4E5B9)
        return (x >> numpy.uint64(32)).astype(numpy.uint8).tobytes()


manifest = json.load(open(os.path.join(step_dir, "MANIFEST.json")))
seen = 0
for entry in manifest["files"]:
    with h5py.File(os.path.join(step_dir, entry["name"]), "r") as file:
        assert file["muster/step"][()] == manifest["step"]
        table = file["muster/crc32c"][:]
        for part in entry["parts"]:
            tensor = manifest["tensors"][part["tensor"]]
            dataset = file[tensor["name"]]
            attributes = dataset.attrs
            assert attributes["muster_dtype"].decode() == tensor["dtype"]
            assert list(attributes.get("muster_shape", [])) == tensor["shape"]
            assert attributes["muster_row_start"] == part["row"]
            assert list(dataset.shape) == ([part["rows"]] + tensor["shape"][1:])[: len(tensor["shape"])]
            raw = numpy.empty(dataset.shape, "V%d" % dataset.id.get_type().get_size())
            dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, raw, mtype=dataset.id.get_type())
            row_bytes = raw.nbytes // part["rows"]
            assert raw.tobytes() == expected(part["tensor"], part["row"] * row_bytes, raw.nbytes)
            blocks = len(part["crc32c"]) // 8
            first = int(attributes["muster_block_first"])
            said = "".join("%08x" % crc for crc in table[first : first + blocks])
            assert said == part["crc32c"]
            seen += 1
assert seen > 0
