"""The suites: each makes its data and returns its contests."""
import collections
import contextlib
import os
import random
import re
import shutil
import subprocess
import time
from functools import partial

from side_by_side import asked, machine, recovery, servers
from side_by_side.contest import Contest, Row, Sample
from side_by_side.programs import Failed, end, outcome, run, start, wall_s
from side_by_side.trees import PERF, compiled

KIB, MIB = 1 << 10, 1 << 20


def size_name(count):
    for unit, scale in (("MiB", MIB), ("KiB", KIB)):
        if count >= scale and count % scale == 0:
            return f"{count // scale} {unit}"
    return f"{count} B"


def numbers(said):
    """The numbers of the last line of a rank's output, which the launcher may have marked [0]."""
    lines = [line for line in said.splitlines() if line.strip()]
    if not lines:
        raise Failed("a driver said nothing")
    return [float(word) for word in re.sub(r"^\[\d+\] ", "", lines[-1]).split()]


class Setting:
    """What suites are made with: the two trees, peers, cores, a folder of their own."""

    def __init__(self, trees, peers, cores, folder):
        self.trees, self.peers, self.cores, self.folder = trees, peers, cores, folder
        self.number = {name: asked.number(name) for name in asked.NUMBERS}
        self.sizes = asked.sizes("SIZES")
        self.data, = asked.sizes("DATA")
        self.object, = asked.sizes("OBJECT")
        self.limits = {}
        self.closing = contextlib.ExitStack()  # what ends with the suites

    def limit(self, name, *flags):
        """The program of a limit, compiled when it is first asked for."""
        if name not in self.limits:
            sources = [f"limits/{name}.c"] + ["limits/pair.c"] * (name != "vfork")
            self.limits[name] = compiled(self.folder / f"limit-{name}", sources, flags)
        return self.limits[name]


# ---- launch --------------------------------------------------------------------------------------

HANG_S = 3  # some launchers never return, now and then, from many ranks


def start_true(row, command, extra=None, limit_s=None):
    yield Sample(row, wall_s(command, extra, limit_s) * 1e3)


def start_by_vfork(setting, row, count, true):
    return start_true(row, [setting.limit("vfork"), count, true])


def two_agents(tree, row, port, true):
    command = [tree.program("muster"), "run", "--nnodes", 2, "--nproc", 2, "--rdzv",
               f"127.0.0.1:{port}", "--rdzv-timeout", 20, "--node-rank"]
    with contextlib.ExitStack() as closing:
        began = time.perf_counter()
        agents = []
        for node in (0, 1):
            agents.append(start([*command, node, "--", true], {"MST_JOB_SECRET": "against"},
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
            closing.callback(end, agents[-1])
        for agent in agents:
            outcome(agent, 40)
        yield Sample(row, (time.perf_counter() - began) * 1e3)


def launch(setting):
    true = shutil.which("true")
    contests = []
    for count in (1, 8, 64):
        row = f"start of {count} × true"
        contest = Contest("launch", [Row(row, "ms", main=count != 8)], setting.number["STARTS"],
                          True)
        for tree in setting.trees:
            contest.enter(tree.name, tree.name, partial(start_true, row, tree.ranks(count, true)))
        for mpi in setting.peers.mpis:
            command = [mpi.launcher, "-n", count, *mpi.start, true]
            contest.enter(mpi.name, "peer",
                          partial(start_true, row, command, mpi.variables, HANG_S))
        contest.enter("vfork loop", "limit", partial(start_by_vfork, setting, row, count, true))
        contests.append(contest)
    row = "two agents, 2 ranks each"
    agents = Contest("launch", [Row(row, "ms")], setting.number["STARTS"], True)
    for tree in setting.trees:
        agents.enter(tree.name, tree.name,
                     partial(two_agents, tree, row, 20000 + os.getpid() % 10000, true))
    return contests + [agents]


# ---- comm ----------------------------------------------------------------------------------------

MAIN = {("allreduce", 8), ("allreduce", 128 * KIB), ("allreduce", 8 * MIB)}


def samples(said, kind):
    """Lines of collective.c: bytes, microseconds, the exchange before and after. Those of a place
    where the cores were for less than a fifth of a row's samples are left out."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for line in said.splitlines():
        match = re.match(r"(?:\[\d+\] )?(\d+) ([\d.]+) (\d+) (\d+)", line)
        if match:
            exchange_ns = int(match[3]), int(match[4])
            place = machine.place(exchange_ns)
            row = f"{kind} {size_name(int(match[1]))}"
            found[row][place].append(Sample(row, float(match[2]), place, exchange_ns))
    for places in found.values():
        least = sum(map(len, places.values())) / 5
        for together in places.values():
            yield from together if len(together) >= least else ()


def meeting(setting):
    """A file of zeros in which two ranks measure how far they are from each other."""
    path = setting.folder / "meeting"
    path.write_bytes(bytes(4096))
    return path


def collective_words(setting, kind, sizes):
    cores = ",".join(map(str, setting.cores))
    return [str(meeting(setting)), cores, kind, *map(str, sizes)]


def collective_of_tree(setting, tree, kind, sizes):
    program = tree.driver("collective", "collective.c", "collective_muster.c", "place.c")
    return samples(run(tree.ranks(2, program, *collective_words(setting, kind, sizes))), kind)


def collective_of_mpi(setting, mpi, variant, kind, sizes):
    words = [mpi.collective(setting.folder), *collective_words(setting, kind, sizes)]
    return samples(mpi.run(2, words, variant), kind)


def best_ring(setting, sizes):
    """Of the rings that the limit tries, the best median of each size and place."""
    program = setting.limit("exchange", "-O3", "-march=native")
    cores = ",".join(map(str, setting.cores))
    of_ring = collections.defaultdict(list)
    for line in run([program, cores, *sizes]).splitlines():
        of_ring[line.split(maxsplit=4)[4]].append(line)
    best = {}
    for lines in of_ring.values():
        together = collections.defaultdict(list)
        for sample in samples("\n".join(lines), "allreduce"):
            together[sample.row, sample.place].append(sample)
        for key, found in together.items():
            middle = sorted(found, key=lambda sample: sample.value)[len(found) // 2]
            best[key] = min(middle, best.get(key, middle), key=lambda sample: sample.value)
    return best.values()


def collective_contest(setting, kind, sizes):
    rows = [Row(f"{kind} {size_name(number)}", "µs", main=(kind, number) in MAIN)
            for number in sizes]
    contest = Contest("comm", rows, 2 if max(sizes) < MIB else 1)
    for tree in setting.trees:
        contest.enter(tree.name, tree.name,
                      partial(collective_of_tree, setting, tree, kind, sizes))
    for mpi in setting.peers.mpis:
        for variant in mpi.variants:
            contest.enter(mpi.name + variant[0], "peer",
                          partial(collective_of_mpi, setting, mpi, variant, kind, sizes))
    if kind == "allreduce" and len(setting.cores) > 1:
        contest.enter("ring of slots", "limit", partial(best_ring, setting, sizes))
    return contest


def comm(setting):
    # Sizes that take long are apart, so that turns are short: the cores move within seconds.
    parts = ([number for number in setting.sizes if number < MIB],
             [number for number in setting.sizes if MIB <= number < 32 * MIB],
             [number for number in setting.sizes if number >= 32 * MIB])
    return [*(collective_contest(setting, "allreduce", part) for part in parts if part),
            collective_contest(setting, "broadcast", [8, MIB]),
            collective_contest(setting, "reduce_scatter", [MIB])]


# ---- ckpt ----------------------------------------------------------------------------------------

STALL, DURABLE, LOAD = "a later save's stall", "save until durable", "cold load and check"


def first_stall(setting):
    return f"first save's stall, {setting.number['TRAIN_S']} s after prepare"


def saved_and_loaded(setting, tree, mib):
    folder = tree.scratch / "ckpt"
    shutil.rmtree(folder, ignore_errors=True)
    program = tree.driver("checkpoint", "checkpoint.c")
    save = tree.ranks(2, program, "save", folder, mib, setting.number["TRAIN_S"])
    first, second, durable = numbers(run(save))
    yield Sample(first_stall(setting), first * 1e3)
    yield Sample(STALL, second * 1e3)
    yield Sample(DURABLE, durable * 1e3)
    yield Sample(LOAD, numbers(run(tree.ranks(2, program, "load", folder, mib)))[0] * 1e3)
    shutil.rmtree(folder)


def of_python(setting, format_name, mib):
    folder = setting.folder / format_name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    program = PERF / "peers" / "checkpoint.py"
    durable, load = numbers(run([setting.peers.python, program, format_name, folder, mib]))
    shutil.rmtree(folder)
    yield Sample(DURABLE, durable * 1e3)
    yield Sample(LOAD, load * 1e3)


def copied(setting, mib):
    took = numbers(run([setting.limit("copy"), mib]))[0] * 1e3
    return [Sample(first_stall(setting), took), Sample(STALL, took)]


def written_and_read(setting, mib):
    program = setting.limit("direct")
    files = [setting.folder / "half-0", setting.folder / "half-1"]
    yield Sample(DURABLE, numbers(run([program, "write", mib // 2, *files]))[0] * 1e3)
    yield Sample(LOAD, numbers(run([program, "read", *files]))[0] * 1e3)
    for file in files:
        file.unlink()


def ckpt(setting):
    mib = setting.number["MIB"]
    contest = Contest("ckpt", [Row(name, "ms", main=True)
                               for name in (first_stall(setting), STALL, DURABLE, LOAD)])
    for tree in setting.trees:
        contest.enter(tree.name, tree.name, partial(saved_and_loaded, setting, tree, mib))
    for name in ("safetensors", "h5py") if setting.peers.python else ():
        contest.enter(f"{name} + fsync", "peer", partial(of_python, setting, name, mib))
    contest.enter("memory copy", "limit", partial(copied, setting, mib))
    contest.enter("direct I/O, huge pages", "limit",
                  partial(written_and_read, setting, mib))
    return [contest]


# ---- dataio --------------------------------------------------------------------------------------


def words_of(count):
    """Made words, about as compressible as English."""
    made = random.Random(1)
    vocabulary = ["".join(made.choice("etaoinshrdlu") for _ in range(made.randint(2, 9)))
                  for _ in range(4096)]
    lines = []
    while count > 0:
        line = " ".join(vocabulary[int(4096 * made.random() * made.random())]
                        for _ in range(made.randint(4, 19)))
        lines.append(line)
        count -= len(line) + 1
    return "\n".join(lines) + "\n"


def random_file(path, count):
    with open(path, "wb") as file, open("/dev/urandom", "rb") as source:
        while count > 0:
            count -= file.write(source.read(min(count, 16 * MIB)))
    return path


def tool(tree, row, *words):
    yield Sample(row, wall_s([tree.program("muster-data"), *words]) * 1e3)


def tools(setting):
    tokens = random_file(setting.folder / "tokens.bin", setting.data)
    text = setting.folder / "text"
    text.write_text(words_of(setting.data // 4), "utf-8")
    run(["gzip", text])
    for what, words in (("tokens", [tokens, "--dtype", "u16", "--elems", "1024"]),
                        ("text.gz", [f"{text}.gz"])):
        for verb in ("index", "verify"):
            row = f"muster data {verb}, {size_name(setting.data)} of {what}"
            contest = Contest("dataio", [Row(row, "ms")], 3, True)
            for tree in setting.trees:
                contest.enter(tree.name, tree.name, partial(tool, tree, row, verb, *words))
            yield contest


def read_by_loader(tree, uri, extra, told):
    """`told` makes of (seconds to open, to read, of the processor) what is yielded."""
    program = tree.driver("loader", "loader.c")
    opening, reading, cpu, _ = numbers(run([program, uri, 2048, 256], extra))
    return told(opening * 1e3, reading * 1e3, cpu * 1e3)


def forget(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def read_directly(setting, row, path):
    yield Sample(row, numbers(run([setting.limit("direct"), "read", path]))[0] * 1e3)


def stream(tree, row, share, path):
    forget(path)
    return read_by_loader(tree, str(path), None, lambda opening, reading, cpu: [
        Sample(row, reading), Sample(share, cpu / reading * 100)])


def streaming(setting):
    mib = setting.number["MIB"]
    file = random_file(setting.folder / "stream.bin", mib * MIB)
    row = f"local streaming, {size_name(mib * MIB)} in 4 KiB samples"
    share = "the processor's share of it"
    contest = Contest("dataio", [Row(row, "ms", main=True), Row(share, "%")])
    for tree in setting.trees:
        contest.enter(tree.name, tree.name, partial(stream, tree, row, share, file))
    contest.enter("direct read, huge pages", "limit",
                  partial(read_directly, setting, row, file))
    return contest


def read_by_curl(row, config):
    yield Sample(row, wall_s(["curl", "-s", "--parallel", "--parallel-immediate", "--parallel-max",
                              "8", "-K", config]) * 1e3)


def read_by_python(setting, row, how, extra, *words):
    program = PERF / "peers" / "objects.py"
    yield Sample(row, numbers(run([setting.peers.python, program, how, *words], extra))[0] * 1e3)


def read_object(tree, row, opened, store):
    return read_by_loader(tree, store.uri, store.variables, lambda opening, reading, _: [
        Sample(row, reading), Sample(opened, opening)])


def remote(setting, store):
    row = f"{store.name} loader, {size_name(setting.object)}"
    opened = f"{store.name} loader, to open it"
    contest = Contest("dataio", [Row(row, "ms", main=True), Row(opened, "ms")])
    contest.lacks = store.lacks
    if store.lacks:
        return contest
    store.put(random_file(setting.folder / "object", setting.object))
    for tree in setting.trees:
        contest.enter(tree.name, tree.name, partial(read_object, tree, row, opened, store))
    if store.name == "S3" and setting.peers.python:
        for how in ("boto3", "obstore"):
            contest.enter(f"{how}, 8 at a time", "peer",
                          partial(read_by_python, setting, row, how, store.variables, "large",
                                  "perf", "object", setting.object))
    contest.enter("curl × 8", "limit",
                  partial(read_by_curl, row, store.curl_config(setting.object)))
    return contest


def read_small(tree, row, variables):
    return read_by_loader(tree, "s3://perf/small/", variables, lambda opening, reading, _: [
        Sample(row, opening + reading)])


def small_objects(setting, s3):
    count = setting.number["OBJECTS"]
    row = f"{count} objects of 16 KiB behind 30 ms"
    contest = Contest("dataio", [Row(row, "ms", main=True)])
    contest.lacks = s3.lacks
    if s3.lacks:
        return contest
    delayed = s3.delayed(30)
    s3.put_small(count, 16 * KIB)
    for tree in setting.trees:
        contest.enter(tree.name, tree.name, partial(read_small, tree, row, delayed))
    if setting.peers.python:
        contest.enter("boto3, 16 threads", "peer",
                      partial(read_by_python, setting, row, "boto3", delayed, "small", "perf",
                              "small/", 16))
    return contest


def dataio(setting):
    s3, hdfs = servers.S3(setting), servers.WebHdfs(setting)
    contests = [*tools(setting), streaming(setting), remote(setting, s3),
                small_objects(setting, s3), remote(setting, hdfs)]
    (setting.folder / "object").unlink(missing_ok=True)
    return contests


# ---- recovery ------------------------------------------------------------------------------------


def recover(setting):
    kills = -(-setting.number["KILLS"] // setting.number["ROUNDS"])
    text = setting.folder / "words"
    text.write_text(words_of(MIB // 4), "utf-8")
    contest = Contest("recovery", [Row(recovery.MEDIAN, "ms", main=True),
                                   Row(recovery.P95, "ms", "p95", True)])
    for tree in setting.trees:
        contest.enter(tree.name, tree.name, partial(recovery.killed, tree, text, kills))
    return [contest]


SUITES = {"launch": launch, "comm": comm, "ckpt": ckpt, "dataio": dataio, "recovery": recover}
