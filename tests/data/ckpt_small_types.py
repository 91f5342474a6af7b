"""Reads every code of the small element types with h5py and with h5dump. Codes are in order from 0."""
import re
import subprocess
import sys

import h5py
import numpy


def value(code, exponent_bits, mantissa_bits, bias):
    """The number that an IEEE-like code means."""
    sign = -1.0 if code >> (exponent_bits + mantissa_bits) else 1.0
    exponent = code >> mantissa_bits & ((1 << exponent_bits) - 1)
    mantissa = code & ((1 << mantissa_bits) - 1)
    if exponent == (1 << exponent_bits) - 1:
        return float("nan") if mantissa else sign * float("inf")
    if exponent == 0:
        return sign * mantissa * 2.0 ** (1 - bias - mantissa_bits)
    return sign * (1 + mantissa / 2.0**mantissa_bits) * 2.0 ** (exponent - bias)


def dumped(path, name):
    """The values of a dataset as h5dump prints them."""
    text = subprocess.run(["h5dump", "-y", "-w", "0", "-m", "%.9g", "-d", name, path],
                          check=True, capture_output=True, text=True).stdout
    data = text[text.index("DATA {") + 6:text.index("}", text.index("DATA {"))]
    return [word for word in re.split(r"[,\s]+", data) if word]


path, has_h5dump = sys.argv[1], sys.argv[2] == "1"
with h5py.File(path, "r") as file:
    for name, shape in (("f16", (5, 10, 15)), ("bf16", (8, 7, 127)), ("f8e5m2", (5, 2, 15))):
        wanted = numpy.array([value(c, *shape) for c in range(1 << (1 + shape[0] + shape[1]))])
        assert numpy.array_equal(file[name][:].astype("f8"), wanted, equal_nan=True), name
        if has_h5dump:
            numbers = numpy.array([float(word) for word in dumped(path, name)])
            assert numpy.allclose(numbers, wanted, rtol=1e-7, atol=0, equal_nan=True), name
    codes = file["f8e4m3"]
    assert codes.attrs["muster_encoding"] == b"float8_e4m3fn"
    assert codes.attrs["muster_dtype"] == b"f8e4m3"
    assert codes.dtype == "u1" and codes[:].tolist() == list(range(256))
    if has_h5dump:
        assert [int(word) for word in dumped(path, "f8e4m3")] == list(range(256))
