"""Environments as they were recorded: each in a folder of its own, which has the files of its pod."""
import json
import os
import tempfile


def put(root, path, text):
    os.makedirs(os.path.dirname(root + path), exist_ok=True)
    with open(root + path, "w") as file:
        file.write(text)


def try_all(path, faults):
    """How many environments there are, and how many faults, which are printed: those that
    faults(vector, root) yields."""
    with open(path) as file:
        vectors = json.load(file)
    failed = 0
    for vector in vectors:
        with tempfile.TemporaryDirectory() as root:
            for file, text in vector.get("files", {}).items():
                put(root, file, text)
            for fault in faults(vector, root):
                failed += 1
                print(f"{vector['name']}: {fault}")
    return len(vectors), failed
