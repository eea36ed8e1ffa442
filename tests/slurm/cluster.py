"""A real SLURM on this machine, for tests: a controller, three nodes and two pretended GPUs, with no accounting.

Several can run at once: each has its own folder and ports, and nothing outside its folder is changed.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

DAEMONS = ["munged", "slurmctld", "slurmd"]
TOOLS = ["sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr", "sshare"]
PACKAGES = "slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"
NODES = ["node1", "node2", "gpu1"]
CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobs_completed
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MinJobAge=3600
KillWait=30
ReturnToService=2
SlurmdTimeout=20
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=DEFAULT CPUs=64 RealMemory=256000
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]}
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]}
NodeName=gpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[3]} Gres=gpu:h100:2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=cpu Nodes=node[1-2] Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=gpu Nodes=gpu1 MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=spare Nodes=node[1-2] MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=CANCEL GraceTime=60
PartitionName=urgent Nodes=node[1-2] MaxTime=INFINITE State=UP PriorityTier=2
"""
# Pretended GPUs must be device files.
GRES = "NodeName=gpu1 Name=gpu Type=h100 File=/dev/null,/dev/zero\n"
CONF_FILES = {"slurm.conf": CONF, "gres.conf": GRES}


def why_not() -> str | None:
    """Why no cluster can be started here; None if one can."""
    missing = [program for program in DAEMONS + TOOLS if shutil.which(program, path=search_path()) is None]
    if missing:
        return f"{', '.join(missing)} not found: apt-get install --no-install-recommends {PACKAGES}"
    if os.geteuid() != 0:
        return "only root can start the daemons of SLURM and munge"
    return None


def search_path() -> str:
    """The PATH on which SLURM's daemons are found, too."""
    return f"{os.environ['PATH']}{os.pathsep}/usr/sbin"


def found(program: str) -> str:
    """Where a daemon or a tool is."""
    return shutil.which(program, path=search_path()) or program


def free_ports(count: int) -> list[int]:
    """Draw ports that nobody listens on, below those that the kernel gives to outgoing connections."""
    ports: set[int] = set()
    while len(ports) < count:
        port = secrets.choice(range(20000, 32000))
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            ports.add(port)
    return list(ports)


class Cluster:
    """The daemons, started by `start` and ended by `stop`.

    Args:
        folder: for their sockets, states and logs; a short path, for a socket's has 108 bytes at most.

    Attributes:
        tools: a folder for the PATH, with the tools that speak to this cluster. SLURM_CONF does not suffice, for
            Snakemake removes it from the environment of jobs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.tools = folder, folder / "bin"
        self.daemons: dict[str, subprocess.Popen] = {}

    def start(self) -> None:
        """Start everything, and wait until the three nodes are idle."""
        self.folder.chmod(0o755)  # munge wants its socket to be in everyone's reach, and nothing else of it
        (self.folder / "run").mkdir()
        for name in ("munge", "state", "spool", "log"):
            (self.folder / name).mkdir(mode=0o700)
        self.configure()
        files = [f"--{name}-file={self.folder}/munge/{name}" for name in ("key", "pid", "seed", "log")]
        socket_file = self.folder / "run" / "munge"
        self.launch("munged", ["--foreground", f"--socket={socket_file}", *files])
        self.wait(socket_file.exists, "munged")
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait_for_nodes()

    def configure(self) -> None:
        """Write munge's key, the files of the configuration, and the tools that use it."""
        key = self.folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        host, ports = socket.gethostname().split(".")[0], free_ports(1 + len(NODES))
        for name, text in CONF_FILES.items():
            (self.folder / name).write_text(text.format(folder=self.folder, host=host, ports=ports))
        self.tools.mkdir()
        for name in TOOLS:
            tool = self.tools / name
            tool.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {found(name)} "$@"\n')
            tool.chmod(0o755)

    def start_controller(self) -> None:
        """Start the controller and wait until it answers."""
        self.launch("slurmctld", ["-D", "-f", f"{self.folder}/slurm.conf"])
        self.wait(lambda: "is UP" in run("scontrol", "ping"), "the controller")

    def start_node(self, node: str, *wrapper: str) -> None:
        """Start a node, perhaps by a command that runs its arguments."""
        self.launch("slurmd", ["-D", "-f", f"{self.folder}/slurm.conf", "-N", node], node, wrapper)

    def wait_for_nodes(self) -> None:
        """Wait until all nodes are idle."""
        idle = {f"{node} idle" for node in NODES}
        self.wait(lambda: set(run("sinfo", "-h", "-N", "-o", "%N %T").splitlines()) == idle, "the nodes")

    def kill_node(self, node: str) -> None:
        """End all processes of a node at once, as when its power fails."""
        daemon = self.daemons.pop(node)
        daemon.kill()
        daemon.wait()
        ended = set()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it may just end
                variables = (process / "environ").read_bytes()
                # Another cluster may have a node of this name.
                if f"SLURMD_NODENAME={node}\0".encode() in variables and str(self.folder).encode() in variables:
                    parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
                    is_step = (process.parent / parent / "cmdline").read_bytes().startswith(b"slurmstepd: ")
                    ended |= {int(process.name), int(parent)} if is_step else {int(process.name)}
        for number in ended:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def stop_controller(self) -> None:
        """End the controller; what it knows it keeps in its folder."""
        self.end("slurmctld")

    def launch(self, program: str, arguments: list[str], name: str = "", wrapper: tuple[str, ...] = ()) -> None:
        """Start a daemon that ends with this process, even if that is killed."""
        command = ["setpriv", "--pdeathsig", "TERM", *wrapper, found(program), *arguments]
        with open(self.folder / "log" / f"{name or program}.out", "ab") as out:
            self.daemons[name or program] = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)

    def wait(self, true: Callable[[], bool], what: str) -> None:
        """Wait for what daemons are to do; if they do not, fail with what they have said."""
        give_up = time.monotonic() + 60
        while not true():
            if time.monotonic() > give_up or any(daemon.poll() is not None for daemon in self.daemons.values()):
                words = [path.read_text(errors="replace")[-2000:] for path in (self.folder / "log").glob("*.out")]
                raise AssertionError("\n".join([f"waited for {what}", *words]))
            time.sleep(0.1)

    def end(self, name: str) -> None:
        """End a daemon, by force if it takes more than 20 seconds."""
        daemon = self.daemons.pop(name)
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def stop(self) -> None:
        """Cancel all jobs and end the daemons."""
        try:
            if "slurmctld" in self.daemons:
                run("scancel", "--full", "--user=root")
                wait_until(lambda: not run("squeue", "-h"), "the queue to empty")
        finally:
            for name in reversed(list(self.daemons)):
                self.end(name)

    def completed(self) -> list[dict[str, str]]:
        """The scheduler's records of the jobs that have ended: JobId, Name, JobState, Partition, TimeLimit, ..."""
        records = self.folder / "log" / "jobs_completed"
        lines = records.read_text().splitlines() if records.exists() else []
        return [dict(field.split("=", 1) for field in line.split() if "=" in field) for line in lines]


def run(*command: str) -> str:
    """Run one of SLURM's tools and return what it says; nothing if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout if done.returncode == 0 else ""


def wait_until(true: Callable[[], bool], what: str, seconds: float = 400) -> None:
    """Wait for something to become true, and fail if it does not."""
    give_up = time.monotonic() + seconds
    while not true():
        if time.monotonic() > give_up:
            state = [run("squeue", "--long"), run("sinfo", "--long", "--Node")]
            raise AssertionError("\n".join([f"waited {seconds} s for {what}", *state]))
        time.sleep(0.1)
