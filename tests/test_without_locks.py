"""File systems without locks: every file can be written and read, and processes on one machine still wait."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from test_workflow import TINY, copy_sources, environment

from workflow_scripts.shared.locks import ENOTSUPP

ROOT = Path(__file__).resolve().parent.parent
WRAPPER = Path(__file__).with_name("without_locks.py")
ERRORS = [errno.ENOLCK, errno.EOPNOTSUPP, ENOTSUPP]
WARNING = "this file system has no locks"


def command(number: int, *words: object) -> list[str]:
    return [sys.executable, str(WRAPPER), str(number), *map(str, words)]


def python(number: int, code: str, *arguments: object) -> list[str]:
    return command(number, sys.executable, "-c", code, *arguments)


@pytest.fixture(autouse=True, scope="module")
def needs_the_filter():
    if subprocess.run(command(errno.ENOLCK, "true")).returncode == 77:
        pytest.skip("system calls cannot be filtered here")


FILES = """
import errno, fcntl, sys
from pathlib import Path
import h5py, numpy as np
sys.path.insert(0, "tests")
import reference_dissection as reference
from workflow_scripts.data.image_index import ImageIndex, read_image_index, write_image_index
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.data.packed_images import PackedImages, read_packed_images, write_packed_images
from workflow_scripts.shared.files import start_log, whole_file
from workflow_scripts.notebook import dissect
from workflow_scripts.networks.constructors import build
from conftest import NETWORK

folder, number = Path(sys.argv[1]), int(sys.argv[2])
start_log()
try:
    fcntl.flock(open(folder / "x", "w"), fcntl.LOCK_EX)
except OSError as error:
    assert error.errno == number
else:
    raise AssertionError("locks are there")
packed = PackedImages(np.zeros((2, 4, 4, 3), np.uint8), np.arange(2), ("a", "b"))
with whole_file(folder / "train.h5") as part:
    write_packed_images(part, packed)
assert read_packed_images(folder / "train.h5").classes == ("a", "b")
sides = np.full(2, 4, np.int32)
write_image_index(folder / "index.h5", ImageIndex(("a/1", "b/1"), np.arange(2), ("a", "b"), sides, sides, "f"))
assert read_image_index(folder / "index.h5").paths == ("a/1", "b/1")
concepts = reference.Concepts(["object"], {1: ("cat", ["object"])}, 6, 6)
random = np.random.default_rng(0)
for _ in range(8):
    pixels = random.integers(0, 256, (12, 12, 3)).astype(np.uint8)
    concepts.pictures.append(reference.Picture(pixels, {"object": [random.integers(0, 2, (6, 6))]}))
reference.write_broden(concepts, folder / "set")
network = build(NETWORK, 4, seed=1)
dissect(network, "stages.0", folder / "set", mean=[0.5] * 3, std=[0.5] * 3, size=12, quantile=0.1)
pack_concepts(folder / "set", 12, folder / "concepts.h5")
dissect(network, "stages.0", folder / "concepts.h5", mean=[0.5] * 3, std=[0.5] * 3, quantile=0.1)
"""


@pytest.mark.parametrize("number", ERRORS)
def test_every_file_is_written_and_read_with_one_warning(tmp_path, number):
    run = subprocess.run(python(number, FILES, tmp_path, number), cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stderr.count(WARNING) == 1
    assert not list(tmp_path.rglob("*.lock"))


HOLDER = """
import sys
from workflow_scripts.shared import locks
from workflow_scripts.shared.files import start_log
start_log()
locks.POLL_SECONDS = 0.02
with locks.exclusive(sys.argv[1]):
    print("has it", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("killed", [False, True])
def test_two_processes_of_one_machine_wait_for_each_other(tmp_path, number, killed):
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    one, other = (python(number, HOLDER, tmp_path / "file") for _ in range(2))
    with subprocess.Popen(one, text=True, cwd=ROOT, **streams) as first:
        assert first.stdout.readline() == "has it\n"
        with subprocess.Popen(other, text=True, cwd=ROOT, **streams) as second:
            said = ""
            while "waiting for it to end" not in said:
                said += second.stderr.readline()
            assert f"process {first.pid} on" in said and WARNING in said
            if killed:
                first.kill()
                first.wait()
            else:
                first.communicate("\n")
            assert second.stdout.readline() == "has it\n"
            second.communicate("\n")
    assert second.returncode == 0
    assert not list(tmp_path.iterdir())


# With locks until the first wait, then without, as when a server enters recovery.
SECOND_CALL = """
import errno, fcntl, sys
from workflow_scripts.shared import locks
locks.POLL_SECONDS = 0.02
calls = []
def flock(file, operation):
    calls.append(operation)
    raise BlockingIOError(errno.EAGAIN, "held") if operation & fcntl.LOCK_NB else OSError(int(sys.argv[2]), "no locks")
fcntl.flock = flock
with locks.exclusive(sys.argv[1]):
    assert [bool(call & fcntl.LOCK_NB) for call in calls] == [True, False]
"""


@pytest.mark.parametrize("number", ERRORS)
def test_a_wait_that_fails_without_locks_is_not_an_error(tmp_path, number):
    words = [sys.executable, "-c", SECOND_CALL, str(tmp_path / "file"), str(number)]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert WARNING in run.stderr


def test_other_locking_errors_do_not_count_as_missing_locks(tmp_path):
    run = subprocess.run(
        python(
            errno.EIO,
            "from workflow_scripts.shared.files import *\nwith whole_file(sys.argv[1]) as part: pass",
            tmp_path,
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0 and WARNING not in run.stderr and "Input/output error" in run.stderr


@pytest.mark.rare
def test_a_whole_experiment_ends_well(tmp_path):
    folder = copy_sources(ROOT, tmp_path / "run")
    words = command(ENOTSUPP, sys.executable, "-m", "snakemake", *TINY)
    run = subprocess.run(
        words, cwd=folder, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=3600
    )
    assert run.returncode == 0, run.stdout
    assert (folder / "results/tiny/report.html").is_file()
    logs = [path.read_text() for path in (folder / "results/tiny/logs").rglob("*") if path.is_file()]
    assert {log.count(WARNING) for log in logs} == {1}  # each job says it once
    assert not any("Traceback" in said or "locked" in said for said in [*logs, run.stdout])
    assert not list((folder / "results").rglob("*.lock"))
