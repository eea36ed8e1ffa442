"""What the tests on a real SLURM share: a cluster, and the experiment whose training is disturbed.

A module of its own, for pytest imports fixtures before the tests that use them.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from cluster import Cluster, run, wait_until, why_not
from slurm_runs import FAULTS, LEVEL, LOG, NETWORK, snakemake, started
from test_workflow import ROOT, copy_sources


@pytest.fixture(scope="session")
def programs():
    """Skip a test, before anything is made for it, where no cluster can be started."""
    reason = why_not()
    if reason and os.environ.get("NEED_SLURM"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def cluster(programs):
    """A running cluster, whose tools are on the PATH."""
    with tempfile.TemporaryDirectory(prefix="slurm_") as folder, pytest.MonkeyPatch.context() as patch:
        cluster = Cluster(Path(folder))
        patch.setenv("PATH", str(cluster.tools), prepend=os.pathsep)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="session")
def sources(programs, tmp_path_factory):
    """A clone whose user has edited the profile's two lines."""
    folder = copy_sources(ROOT, tmp_path_factory.mktemp("slurm") / "clone")
    (folder / "tests" / "slurm").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "slurm" / "faults.yaml", folder / "tests" / "slurm")
    profile = folder / "profiles" / "slurm" / "profile.yaml"
    text = profile.read_text()
    assert text.count("your_partition") == text.count("your_account") == 1
    profile.write_text(text.replace("your_partition", "cpu,gpu").replace("your_account", "tests"))
    return folder


@pytest.fixture(scope="session")
def undisturbed(sources, tmp_path_factory):
    """A dense and a pruned network, trained on this machine, with no cluster."""
    folder = Path(shutil.copytree(sources, tmp_path_factory.mktemp("undisturbed") / "run"))
    done = snakemake(folder, NETWORK, "--cores", "2", *FAULTS)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def before_level(cluster, undisturbed, tmp_path):
    """The same, but that the pruned network is still to be trained."""
    folder = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    for made in (folder / LEVEL, folder / LOG):
        shutil.rmtree(made) if made.is_dir() else made.unlink()
    yield folder
    while started:
        started.pop().kill()
    run("scancel", "--full", "--user=root")
    wait_until(lambda: not run("squeue", "-h"), "the queue to empty")
