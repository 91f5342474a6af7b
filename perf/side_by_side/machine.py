"""The machine: which cores are used, how busy it is, and what a measurement must say of it."""
import os
import platform


def far_ns():
    return int(os.environ.get("FAR_NS", "120"))


def use_cores():
    """Binds this process, and so everything that it starts, to CORES, else to the first two."""
    allowed = sorted(os.sched_getaffinity(0))
    asked = os.environ.get("CORES")
    cores = [int(core) for core in asked.split(",")] if asked else allowed[:2]
    os.sched_setaffinity(0, cores)
    return cores


def load():
    return os.getloadavg()[0]


def describe():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = [line.split(": ", 1)[1].strip() for line in lines if line.startswith("model name")]
    system = os.uname()
    return (f"{system.sysname} {system.release} {platform.machine()}, {os.cpu_count()} cores"
            + (f", {names[0]}" if names else ""))


def place(before_ns, after_ns):
    """Where two cores were while something ran, by an exchange between them before and after."""
    if not before_ns or not after_ns:
        return "one"
    before_far, after_far = before_ns > far_ns(), after_ns > far_ns()
    if before_far != after_far:
        return "moved"
    return "far" if before_far else "near"
