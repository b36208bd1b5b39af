"""A Slurm cluster of this one machine, for as long as a test needs it: munged, slurmctld and slurmd in a folder."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

DAEMONS = {name: f"/usr/sbin:/sbin:{os.environ.get('PATH', '')}" for name in ("munged", "slurmctld", "slurmd")}
PATIENCE = 60.0  # seconds; a machine that builds other things meanwhile is slow

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=2
SlurmdTimeout=20
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,sched_interval=1,bf_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=500 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    absent = [name for name, path in DAEMONS.items() if not shutil.which(name, path=path)]
    if absent:
        return f"Slurm is not installed (no {', '.join(absent)}): apt-get install slurm-wlm munge"
    return "" if find_spec("submitit") else "submitit is not installed: pip install '.[cluster]'"


@dataclass(frozen=True)
class Cluster:
    """A running cluster; the commands find it by `SLURM_CONF`."""

    conf: Path

    def ask(self, *words: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(words, capture_output=True, text=True, env=self.environ, timeout=PATIENCE)
        assert done.returncode == 0, (words, done.stderr, self.logs)
        return done.stdout.strip()

    def jobs(self) -> dict[str, str]:
        """Every job's state by its number."""
        lines = self.ask("squeue", "--states=all", "--array", "--noheader", "--format=%i|%T").splitlines()
        return {number: state for number, _, state in (line.strip().partition("|") for line in lines)}

    def hurry(self, job: str) -> None:
        """Let a requeued job start now: Slurm would let it wait two minutes."""
        until = time.monotonic() + PATIENCE
        while self.jobs()[job] != "PENDING":
            assert time.monotonic() < until, (job, self.jobs(), self.logs)
            time.sleep(0.1)
        self.ask("scontrol", "update", f"JobId={job}", "StartTime=now")

    @property
    def environ(self) -> dict[str, str]:
        """This process's environment, the cluster in place of any other."""
        others = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))}
        return others | {"SLURM_CONF": str(self.conf)}

    @property
    def logs(self) -> str:
        """The ends of the daemons' logs."""
        return "\n".join(log.read_text()[-2000:] for log in self.conf.parent.glob("*.log"))


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster of one node with two processors, gone afterwards with all its jobs."""
    with ExitStack() as stack:
        # Sockets need short paths, and munged a folder that others cannot write.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True)))
        folder.chmod(0o755)
        cluster = Cluster(_configure(folder))
        stack.enter_context(_daemon(cluster, "munged", *_munge_options(folder)))
        _until(cluster, lambda: (folder / "munge.socket").exists())
        for name in ("slurmctld", "slurmd"):
            stack.enter_context(_daemon(cluster, name, "-D"))
        _until(cluster, lambda: _state(cluster) == "idle")
        stack.callback(_clear, cluster)
        yield cluster


def _configure(folder: Path) -> Path:
    """Write the configuration and the key that the daemons share."""
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o700)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    if _version() >= (
        23,
        2,
    ):  # those look for control groups even where no plugin uses them; older ones know no such word
        (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
    conf = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    settings = {"host": host, "user": getpass.getuser(), "ports": _free_ports(2), "cpus": min(2, os.cpu_count() or 1)}
    conf.write_text(CONF.format(folder=folder, **settings))
    return conf


def _version() -> tuple[int, int]:
    """Year and month of the installed Slurm."""
    path = shutil.which("slurmd", path=DAEMONS["slurmd"])
    assert path is not None
    told = subprocess.run([path, "-V"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)", told)
    assert found is not None, told
    return int(found[1]), int(found[2])


def _munge_options(folder: Path) -> list[str]:
    """The words that keep munged in its folder."""
    own = folder / "munge"
    files = {"key-file": own / "key", "pid-file": own / "pid", "seed-file": own / "seed", "log-file": own / "log"}
    return [
        "--foreground", "--force", f"--socket={folder}/munge.socket", *(f"--{name}={at}" for name, at in files.items())
    ]  # fmt: skip


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def _daemon(cluster: Cluster, name: str, *words: str) -> Iterator[None]:
    """A daemon in the foreground, stopped afterwards."""
    path = shutil.which(name, path=DAEMONS[name])
    assert path is not None
    output = (cluster.conf.parent / f"{name}.output.log").open("w")
    with output, subprocess.Popen([path, *words], env=cluster.environ, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _state(cluster: Cluster) -> str:
    """The node's state; empty while the controller does not answer."""
    done = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, env=cluster.environ)
    return done.stdout.strip()


def _clear(cluster: Cluster) -> None:
    """End all jobs, or their processes would outlive the daemons."""
    cluster.ask("scancel", "--me")
    _until(cluster, lambda: not {"RUNNING", "COMPLETING"} & set(cluster.jobs().values()))


def _until(cluster: Cluster, holds: object) -> None:
    """Wait until something holds."""
    assert callable(holds)
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, cluster.logs
        time.sleep(0.1)
