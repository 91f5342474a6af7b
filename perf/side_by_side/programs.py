"""Programs that are run and measured: each has a time limit, and what it started ends with it."""
import contextlib
import os
import signal
import subprocess
import time

from side_by_side.asked import number

# A world that this process may be part of is not the one to measure.
WORLD = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "MST_JOB_SECRET",
         "MST_JOB_SECRET_FILE")


class Failed(Exception):
    """What was run and how it ended; str() is for people, its first line for a table."""


def environment(extra=None):
    kept = {name: value for name, value in os.environ.items() if name not in WORLD}
    return {**kept, **(extra or {})}


def start(command, extra=None, **options):
    """In a session of its own, so that end() reaches all of it."""
    return subprocess.Popen([str(word) for word in command], env=environment(extra),
                            stdin=subprocess.DEVNULL, start_new_session=True, **options)


def end(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def outcome(process, limit_s):
    """What a program that was started has said, once it has ended well, or Failed."""
    name = os.path.basename(str(process.args[0]))
    try:
        said, complained = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise Failed(f"not done in {limit_s:.0f} s: {name}") from None
    finally:
        end(process)
    if process.returncode:
        lines = ((complained or "") + (said or "")).strip().splitlines()[-5:]
        raise Failed("\n".join([f"failed with {process.returncode}: {name}",
                                f"command: {' '.join(process.args)}"] + lines))
    return said


def run(command, extra=None, limit_s=None, **options):
    """Standard output of a program that ends well, or Failed."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return outcome(start(command, extra, **options), limit_s or number("LIMIT_S"))


def wall_s(command, extra=None, limit_s=None):
    """Seconds of a program on the wall, its start included."""
    began = time.perf_counter()
    run(command, extra, limit_s)
    return time.perf_counter() - began
