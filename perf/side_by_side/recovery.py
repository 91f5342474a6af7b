"""How long a job stands still when one of its ranks is killed."""
import os
import re
import shutil
import signal
import time

from side_by_side.contest import Sample
from side_by_side.programs import Failed, end, start

MEDIAN = "kill -9 to the next step, median"
P95 = "kill -9 to the next step, p95"
LIMIT_S = 20


class Training:
    """train_lm on two ranks, whose logs say which generation has made a step."""

    def __init__(self, tree, text):
        self.folder = tree.scratch / "train"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.log = self.folder / "samples"
        self.log.mkdir()
        self.said = open(self.folder / "said", "wb")
        command = tree.ranks(2, tree.program("train_lm"), "--data", text, "--ckpt",
                             self.folder / "ckpt", "--steps", 10**9, "--ckpt-every", 20, "--batch",
                             "8", "--sample-log", self.log)
        command[2:2] = ["--max-restarts", "1000000"]
        self.process = start(command, stdout=self.said, stderr=self.said)

    def close(self):
        self.said.close()
        end(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def rank(self, generation, rank):
        """(pid, bytes logged) of a rank, or None while it has not begun."""
        pattern = re.compile(rf"gen{generation}_rank{rank}_pid(\d+)\.log")
        for entry in os.scandir(self.log):
            match = pattern.fullmatch(entry.name)
            if match:
                return int(match[1]), entry.stat().st_size
        return None

    def await_step(self, generation, size=0):
        """Seconds until rank 0 has logged more than `size` bytes in `generation`."""
        began = time.perf_counter()
        while True:
            rank = self.rank(generation, 0)
            if rank and rank[1] > size:
                return time.perf_counter() - began
            if time.perf_counter() - began > LIMIT_S or self.process.poll() is not None:
                said = (self.folder / "said").read_text("utf-8", "replace").splitlines()
                raise Failed("\n".join([f"no step of generation {generation}"] + said[-5:]))
            time.sleep(0.001)

    def generations(self):
        names = os.listdir(self.log)
        return max(int(re.match(r"gen(\d+)", name)[1]) for name in names)

    def kill(self):
        """Kills rank 1 and returns the seconds to the next step."""
        generation = self.generations()
        os.kill(self.rank(generation, 1)[0], signal.SIGKILL)
        return self.await_step(generation + 1)


def killed(tree, text, kills):
    training = Training(tree, text)
    try:
        training.await_step(0)
        for number in range(kills):
            # A checkpoint or two, and each time another moment between them.
            training.await_step(training.generations(), 2000 + 250 * number)
            value = training.kill() * 1e3
            yield Sample(MEDIAN, value)
            yield Sample(P95, value)
    finally:
        training.close()
