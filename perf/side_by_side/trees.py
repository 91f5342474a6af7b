"""The two trees that are compared: their programs, and the drivers compiled with their headers and
libraries."""
import os
import pathlib
import subprocess

from side_by_side.programs import Failed, outcome, run, start

HERE = pathlib.Path(__file__).resolve().parents[2]
PERF = HERE / "perf"
PROGRAMS = ("muster", "muster-data", "muster-ckpt", "train_lm")
FLAGS = ("-std=c17", "-O2", "-D_GNU_SOURCE", "-pthread")


class Unmeasurable(Exception):
    """Nothing can be measured; str() says why."""


def compiled(out, sources, flags=(), compiler="cc"):
    """The program `out`, of sources below perf/."""
    include = out.parent / "include"
    (include / "muster").mkdir(parents=True, exist_ok=True)
    link = include / "muster" / "perf"
    if not link.is_symlink():
        link.symlink_to(PERF)
    try:
        run([compiler, *FLAGS, *[PERF / source for source in sources], *flags, f"-I{include}",
             "-o", out], limit_s=120)
    except OSError as why:
        raise Failed(f"{out.name} is not compiled: {why}") from None
    return out


class Tree:
    """`name` is this or rev; `bin` has its programs; its headers are found above them."""

    def __init__(self, name, programs, scratch):
        self.name = name
        self.bin = pathlib.Path(programs).resolve()
        self.drivers = {}
        self.scratch = scratch / name
        self.scratch.mkdir()
        for program in PROGRAMS:
            if not os.access(self.bin / program, os.X_OK):
                raise Unmeasurable(f"no program {self.bin / program}")

    def program(self, name):
        return self.bin / name

    def root(self):
        for folder in self.bin.parents:
            if (folder / "comm" / "comm.h").exists():
                return folder
        raise Failed(f"no headers of Muster above {self.bin}")

    def libraries(self):
        beside = self.bin.parent / "lib"
        return beside if (beside / "libmuster.so").exists() else self.bin

    def driver(self, name, *sources):
        """The driver `name`, of sources below perf/drivers."""
        if name not in self.drivers:
            root = self.root()
            include = self.scratch / "include" / "muster"
            include.mkdir(parents=True, exist_ok=True)
            for room in ("core", "comm", "ckpt", "dataio", "launcher"):
                if not (include / room).is_symlink():
                    (include / room).symlink_to(root / room)
            # Headers that lie flat in core name one another from the root.
            flat = [] if (root / "core" / "world").exists() else [f"-I{root}"]
            prepares = "mst_ckpt_prepare(" in (root / "ckpt" / "ckpt.h").read_text("utf-8")
            libraries = self.libraries()
            self.drivers[name] = compiled(
                self.scratch / name, [f"drivers/{source}" for source in sources],
                [*flat, f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-lmuster"]
                + ["-DPERF_CKPT_PREPARE"] * prepares)
        return self.drivers[name]

    def ranks(self, count, *command):
        """The command line of a job of `count` ranks."""
        return [self.program("muster"), "run", "--nproc", count, "--", *command]


def git(*words, cwd=HERE):
    done = subprocess.run(["git", *words], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unmeasurable((done.stderr.strip().splitlines() or [f"git {words[0]} failed"])[-1])
    return done.stdout.strip()


def commit_of(rev):
    try:
        return git("rev-parse", "--verify", f"{rev}^{{commit}}")
    except Unmeasurable as why:
        raise Unmeasurable(f"no commit {rev}, a branch, tag or hash of this repository: {why}") \
            from None


def this_commit():
    changed = git("status", "--porcelain")
    return git("rev-parse", "--short=10", "HEAD") + (" with uncommitted changes" if changed else "")


def build(folder, log):
    """A release build of the tree in `folder`; its programs."""
    jobs = os.environ.get("JOBS", str(os.cpu_count()))
    with open(log, "w", encoding="utf-8") as said:
        for command in (["cmake", "--preset", "release", "-DBUILD_TESTING=OFF"],
                        ["cmake", "--build", "--preset", "release", "-j", jobs]):
            try:
                outcome(start(command, cwd=folder, stdout=said, stderr=said), limit_s=None)
            except Failed:
                raise Unmeasurable(f"{folder} does not build: {log}") from None
    return folder / "build" / "bin"


def check_out(rev, sha):
    """The folder of commit `sha`: made, or that of an earlier run."""
    folder = HERE / "build" / "against" / sha[:10]
    if not (folder / ".git").exists():
        # --force: after make clean the folder is gone, but git still has it registered.
        git("worktree", "add", "--quiet", "--force", "--detach", str(folder), sha)
    elif git("rev-parse", "HEAD", cwd=folder) != sha or git("status", "--porcelain", cwd=folder):
        raise Unmeasurable(f"{folder} is not what {rev} was: git worktree remove --force {folder}")
    return folder
