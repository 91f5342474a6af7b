"""Runs every vector of env-vectors.json through `muster env --json`: nothing but the vector's own
environment, its files under --root. Expected fields that are null are not asked.

usage: env_vectors.py MUSTER VECTORS"""
import json
import subprocess
import sys

from vectors import try_all

KEYS = {"mode", "scheme", "scheduler", "world_size", "node_rank", "nnodes", "nproc_per_node",
        "master_addr", "master_port", "role", "elastic_min", "elastic_max", "rank", "local_rank",
        "local_size", "max_restarts", "rdzv_id", "incarnation", "job_id", "candidates", "error",
        "refused", "exit_profile", "overruled", "missing"}


def starts(expected):
    """Whether `muster run` has anything to start, or to become, there."""
    return (expected["mode"] in ("rank", "no_collective") or
            expected["mode"] == "spawn" and
            (expected.get("nnodes") or expected.get("node_rank")) is not None)


def run(muster, vector, root):
    assume = vector.get("assume", {})
    command = [muster, "env", "--json", "--root", root,
               "--local-gpus", str(assume.get("local_gpus", 0))]
    for key, flag in (("hostname", "--hostname"), ("pod_ip", "--pod-ip")):
        if key in assume:
            command += [flag, assume[key]]
    return subprocess.run(command, env=vector["env"], stdout=subprocess.PIPE, text=True,
                          timeout=30, check=False)


def faults(vector, result):
    answer = json.loads(result.stdout)
    expected = vector["expected"]
    if set(answer) != KEYS:
        yield f"keys: {sorted(set(answer) ^ KEYS)}"
    if result.returncode != (0 if starts(expected) else 78):
        yield f"exit code {result.returncode}"
    if starts(expected) != (answer["refused"] is None):
        yield f"refused: {answer['refused']!r}"
    if ("error" in expected) != bool(answer["error"]):
        yield f"error: {answer['error']!r}"
    for key in KEYS - {"error", "candidates", "scheme", "scheduler", "refused", "overruled",
                       "missing"}:
        want = expected.get(key)
        if want is not None and answer[key] != (want if want != "" else None):
            yield f"{key}: {answer[key]!r} instead of {want!r}"


def main():
    muster, path = sys.argv[1:]
    count, failed = try_all(path, lambda vector, root: faults(vector, run(muster, vector, root)))
    print(f"{count} vectors, {failed} faults")
    return failed != 0 or not count


if __name__ == "__main__":
    sys.exit(main())
