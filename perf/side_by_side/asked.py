"""What the environment asks for: perf/against --help has the variables."""
import os
import re

NUMBERS = {"ROUNDS": "7", "STARTS": "5", "MIB": "1024", "OBJECTS": "300", "KILLS": "60",
           "TRAIN_S": "45", "FAR_NS": "120", "LIMIT_S": "90"}
SIZES = {"SIZES": "8 128 8K 128K 512K 2M 8M 32M 128M", "DATA": "64M", "OBJECT": "256M"}
FLOAT_BYTES = 4


class Wrong(Exception):
    """str() says which variable is, and how."""


def number(name):
    text = os.environ.get(name, NUMBERS[name])
    if not text.isdigit() or not int(text):
        raise Wrong(f"{name}={text} is not a number above 0")
    return int(text)


def sizes(name):
    """Bytes, of words such as 8 or 128K."""
    words = os.environ.get(name, SIZES[name]).split()
    matches = [re.fullmatch(r"(\d+)([KMG]?)", word) for word in words]
    if not words or not all(match and int(match[1]) for match in matches):
        raise Wrong(f"{name}={' '.join(words)}: sizes are numbers above 0, of K, M or G")
    return [int(match[1]) << 10 * " KMG".index(match[2] or " ") for match in matches]


def rows():
    """What a row's name has, to be measured."""
    try:
        return re.compile(os.environ.get("ROWS", ""))
    except re.error as why:
        raise Wrong(f"ROWS={os.environ['ROWS']} is not a regular expression: {why}") from None


def check():
    for name in NUMBERS:
        number(name)
    for name in SIZES:
        if len(sizes(name)) > 1 and name != "SIZES":
            raise Wrong(f"{name}={os.environ[name]}: one size")
    if any(size % FLOAT_BYTES for size in sizes("SIZES")):
        raise Wrong(f"SIZES={os.environ['SIZES']}: floats have {FLOAT_BYTES} bytes each")
    rows()
