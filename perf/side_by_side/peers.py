"""What Muster is compared with, where it is installed: below PEERS (build/peers, which `make
deps-peers` fills); Debian's MPIs where there is no newer one."""
import os
import pathlib
import re
import shutil

from side_by_side.programs import Failed, run
from side_by_side.trees import HERE, compiled

ROOT = {f"{who}_ALLOW_RUN_AS_ROOT{sure}": "1"
        for who in ("OMPI", "PRTE") for sure in ("", "_CONFIRM")}
GATHER = {"MPIR_CVAR_ALLREDUCE_POSIX_INTRA_ALGORITHM": "release_gather",
          "MPIR_CVAR_ALLREDUCE_COMPOSITION": "3"}


PACKAGES = ("safetensors", "h5py", "boto3", "obstore")


def version(command, extra=None):
    """What a program says first that looks like a version."""
    try:
        found = re.search(r"\d+(\.\d+)+", run(command, extra))
    except (Failed, OSError):
        found = None
    return found[0] if found else "unknown"


class Mpi:
    """One MPI: how its programs are compiled and started. `variants` are (name, words of the
    command line, variables) that are measured one beside another."""

    def __init__(self, name, compiler, launcher, start, variables, variants=(("", (), {}),)):
        self.name, self.compiler, self.launcher = name, compiler, launcher
        self.start, self.variables, self.variants = start, variables, variants
        self.program = None

    def installed(self):
        return shutil.which(self.compiler[0]) and shutil.which(self.launcher)

    def collective(self, folder):
        """The driver, compiled for this MPI when it is first asked for."""
        command, *flags = self.compiler
        self.program = self.program or compiled(
            folder / f"collective-{re.sub('[^A-Za-z0-9]', '-', self.name)}",
            ["drivers/collective.c", "drivers/place.c", "peers/collective_mpi.c"], flags, command)
        return self.program

    def run(self, count, words, variant=("", (), {}), limit_s=30):
        return run([self.launcher, "-n", count, *self.start, *variant[1], *words],
                   {**self.variables, **variant[2]}, limit_s)


class Peers:
    """`absent` names what is not here, which the table says. What an MPI whose time was over leaves
    behind goes with `scratch`."""

    def __init__(self, scratch):
        asked = os.environ.get("PEERS", str(HERE / "build" / "peers"))
        self.folder = pathlib.Path(asked or "/nonexistent").absolute()
        python = self.folder / "python" / "bin" / "python"
        self.python = python if python.exists() else None
        self.mpis, self.absent = [], []
        for mpi, instead in ((self.open_mpi(), self.debian_open_mpi()),
                             (self.mpich(), self.debian_mpich()), (self.intel(), None)):
            found = mpi if mpi.installed() or not asked else instead
            if not mpi.installed():
                self.absent.append(mpi.name)
            if found and found.installed():
                found.variables = {**found.variables, "TMPDIR": str(scratch)}
                self.mpis.append(found)
        if not self.python:
            self.absent += PACKAGES

    def versions(self):
        """Of everything that is here, by name."""
        told = {mpi.name: version([mpi.launcher, "--version"], mpi.variables) for mpi in self.mpis}
        if self.python:
            told |= {name: version([self.python, "-c", "import importlib.metadata as told; "
                                    f"print(told.version('{name}'))"]) for name in PACKAGES}
        if shutil.which("curl"):
            told["curl"] = version(["curl", "--version"])
        return told

    def open_mpi(self):
        home = self.folder / "openmpi"
        return Mpi("Open MPI 5", [str(home / "bin/mpicc")], str(home / "bin/mpirun"),
                   ("--bind-to", "none", "--map-by", ":OVERSUBSCRIBE"), ROOT,
                   (("", ("--mca", "pml", "ob1"), {}),
                    (" without CMA", ("--mca", "pml", "ob1", "--mca", "smsc", "^cma"), {})))

    def mpich(self):
        home = self.folder / "mpich"
        return Mpi("MPICH 5", [str(home / "bin/mpicc")], str(home / "bin/mpiexec"), (), {},
                   (("", (), {}), (" release_gather", (), GATHER)))

    def intel(self):
        home = self.folder / "intel"
        compiler = "cc" if home.exists() else ""
        return Mpi("Intel MPI", [compiler, f"-I{home}/include", f"-L{home}/lib",
                                 f"-Wl,-rpath,{home}/lib", "-lmpi"],
                   str(home / "bin/mpiexec.hydra"), (),
                   {"I_MPI_ROOT": str(home), "FI_PROVIDER_PATH": f"{home}/lib",
                    "I_MPI_FABRICS": "shm"})

    def debian_open_mpi(self):
        return Mpi("Debian's Open MPI", ["mpicc.openmpi"], "mpirun.openmpi",
                   ("--bind-to", "none", "--oversubscribe"), ROOT,
                   (("", ("--mca", "btl_vader_single_copy_mechanism", "none"), {}),))

    def debian_mpich(self):
        return Mpi("Debian's MPICH", ["mpicc.mpich"], "mpiexec.hydra", (), {})
