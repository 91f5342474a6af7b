"""Starts a program of libmuster in every recorded environment, without muster run: whether it goes on
alone, as a rank of its launcher, or is refused with what to do instead, as the column "library" says.

usage: world_vectors.py WORLD_OF VECTORS"""
import subprocess
import sys

from vectors import put, try_all


def run(program, vector, root):
    assume = vector.get("assume", {})
    put(root, "/dev/null", "")
    for gpu in range(assume.get("local_gpus", 0)):
        put(root, f"/dev/nvidia{gpu}", "")
    env = dict(vector["env"], AS_IF_ROOT=root)
    for key, name in (("hostname", "AS_IF_HOSTNAME"), ("pod_ip", "POD_IP")):
        if key in assume:
            env[name] = assume[key]
    return subprocess.run([program], env=env, stdout=subprocess.PIPE, text=True, timeout=30,
                          check=False)


def faults(vector, result):
    expected, answer = vector["expected"], result.stdout.strip()
    want, code = "alone", 0
    if vector["library"] == "rank":
        want = f"rank {expected['rank']} of {expected['world_size']}"
    elif vector["library"] == "refused":
        want, code = "MST_WORLD=single", 1
    is_said = want in answer if code else want == answer
    if result.returncode != code or not is_said:
        yield f"not {vector['library']}, but {result.returncode}: {answer}"


def main():
    program, path = sys.argv[1:]
    count, failed = try_all(path, lambda vector, root: faults(vector, run(program, vector, root)))
    print(f"{count} environments without muster run, {failed} faults")
    return failed != 0 or not count


if __name__ == "__main__":
    sys.exit(main())
