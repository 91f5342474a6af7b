"""Starts a program of libmuster in every recorded environment, without muster run: whether it goes on
alone, as a rank of its launcher, or is refused with what to do instead, as the column "library" says.

usage: world_vectors.py WORLD_OF VECTORS"""
import json
import os
import subprocess
import sys
import tempfile


def put(root, path, text):
    os.makedirs(os.path.dirname(root + path), exist_ok=True)
    with open(root + path, "w") as file:
        file.write(text)


def run(program, vector, root):
    assume = vector.get("assume", {})
    for path, text in vector.get("files", {}).items():
        put(root, path, text)
    put(root, "/dev/null", "")
    for gpu in range(assume.get("local_gpus", 0)):
        put(root, f"/dev/nvidia{gpu}", "")
    env = dict(vector["env"], AS_IF_ROOT=root)
    for key, name in (("hostname", "AS_IF_HOSTNAME"), ("pod_ip", "POD_IP")):
        if key in assume:
            env[name] = assume[key]
    return subprocess.run([program], env=env, stdout=subprocess.PIPE, text=True, timeout=30,
                          check=False)


def fault(vector, result):
    expected, answer = vector["expected"], result.stdout.strip()
    if vector["library"] == "refused":
        return result.returncode != 1 or "MST_WORLD=single" not in answer
    want = "alone"
    if vector["library"] == "rank":
        want = f"rank {expected['rank']} of {expected['world_size']}"
    return result.returncode != 0 or answer != want


def main():
    program, path = sys.argv[1:]
    with open(path) as file:
        vectors = json.load(file)
    failed = 0
    for vector in vectors:
        with tempfile.TemporaryDirectory() as root:
            result = run(program, vector, root)
        if fault(vector, result):
            failed += 1
            print(f"{vector['name']}: not {vector['library']}, but {result.returncode}: "
                  f"{result.stdout.strip()}")
    print(f"{len(vectors)} environments without muster run, {failed} faults")
    return failed != 0 or not vectors


if __name__ == "__main__":
    sys.exit(main())
