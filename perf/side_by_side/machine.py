"""The machine: which cores are used, how busy it is, and what a measurement must say of it."""
import os
import platform

from side_by_side.asked import number


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
    """Kernel, cores and their model, as /proc/cpuinfo has it where it has one."""
    told = {}
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            told.setdefault(name.strip(), value.strip())
    model = [told["model name"]] if "model name" in told else []
    model += [f"{word} {told[name]}" for word, name in
              (("family", "cpu family"), ("model", "model")) if name in told]
    system = os.uname()
    return ", ".join([f"{system.sysname} {system.release} {platform.machine()}",
                      f"{os.cpu_count()} cores", " ".join(model)]).rstrip(", ")


def place(exchange_ns):
    """Where two cores were while something ran, by an exchange between them before and after."""
    if not all(exchange_ns):
        return "one"
    far = {ns > number("FAR_NS") for ns in exchange_ns}
    return "moved" if len(far) > 1 else "far" if far.pop() else "near"
