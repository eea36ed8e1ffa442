"""What makes every job fail is found before the first one starts."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from benchmarks.gpu.commands import copy_sources
from workflow_scripts.plan.code import PACKAGE, ROOT
from workflow_scripts.plan.source_files import imported_names
from workflow_scripts.run import before_start as module
from workflow_scripts.run.before_start import (
    LIBRARIES,
    SKEW,
    require_no_future,
    require_no_hidden_module,
    require_room_for_temporary_files,
    require_writable,
)
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.interruption import INTERRUPTED

LOCK = ROOT / "envs/requirements.lock"
OPTIONAL = {"huggingface_hub", "pyarrow", "timm"}  # users may have them


def test_all_libraries_are_known():
    names: set[str] = set()
    for path in (ROOT / PACKAGE).rglob("*.py"):
        names |= {name.partition(".")[0] for name in imported_names(ast.parse(path.read_text()))}
    assert names - sys.stdlib_module_names - {PACKAGE} - OPTIONAL <= LIBRARIES
    locked = {canonical(name) for name in re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)}
    assert len(locked) > 50
    installed = {
        module
        for module, names in packages_distributions().items()
        if locked & set(map(canonical, names)) and module.isidentifier() and not module.startswith("_")
    }
    assert installed <= LIBRARIES


def canonical(name: str) -> str:
    """Return the name of a distribution as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    "file", ["random.py", "torch.py", "packaging.py", "numpy/__init__.py", "yaml.cpython-311-x86_64-linux-gnu.so"]
)
def test_a_file_that_hides_a_module_is_named(tmp_path, file):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    name = Path(file).parts[0].partition(".")[0]
    with pytest.raises(UserError, match=f"hides Python's module {name} .*: rename it"):
        require_no_hidden_module(tmp_path)


@pytest.mark.parametrize("name", ["random", "string", "re", "numpy"])
def test_commands_name_a_file_that_hides_a_module(tmp_path, name):
    (tmp_path / f"{name}.py").touch()
    command = [sys.executable, "-m", "workflow_scripts", "verify_results", "nowhere"]
    found = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=found, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path / name}.py hides Python's module {name} from every script")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv, of util-linux")
def test_a_folder_that_may_not_be_entered_is_no_harm(tmp_path):
    """Root may enter any folder, so without its powers, if it has them."""
    (tmp_path / "private").mkdir(mode=0)
    program = f"""
from pathlib import Path
from workflow_scripts.run.before_start import require_no_hidden_module, require_writable
require_no_hidden_module(Path("{tmp_path}"))
require_writable([Path("{tmp_path}/private/results/a.csv")])
"""
    powers = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    done = subprocess.run([*powers, sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].endswith(
        "private cannot be written (Permission denied): fix that, and run again"
    )


def test_files_of_ones_own_and_the_repository_are_no_harm(tmp_path):
    for name in ("my_networks.py", "random.txt", "workflow_scripts.py", "numpy/data.csv", "random"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    require_no_hidden_module(tmp_path)
    require_no_hidden_module(ROOT)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    outputs = [tmp_path / "results/a/network.pt", tmp_path / "results/b/c/units.csv"]
    require_writable(outputs)
    (tmp_path / "results/b").mkdir(parents=True)
    require_writable(outputs)
    refused = tmp_path / "results/b"
    monkeypatch.setattr(module.os, "access", lambda path, mode: path != refused)  # the tests may run as root
    with pytest.raises(UserError, match=rf"{refused} cannot be written \(Permission denied\): fix that"):
        require_writable(outputs)


def test_a_full_folder_for_temporary_files_is_named(monkeypatch):
    require_room_for_temporary_files()

    def full(**_):
        return open("/dev/full", "wb")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(UserError, match=r"temporary files, cannot be written \(No space left .*TMPDIR"):
        require_room_for_temporary_files()


def test_inputs_from_the_future_are_named(tmp_path):
    now, ahead = tmp_path / "now.h5", tmp_path / "a head.h5"
    for path, later in ((now, 0), (ahead, 3600)):
        path.touch()
        os.utime(path, (time.time() + later,) * 2)
    require_no_future([now, tmp_path / "missing.h5"])
    with pytest.raises(UserError, match=rf"{ahead}: dated in the future .*then run `touch '{ahead}'`"):
        require_no_future([now, ahead, ahead])
    os.utime(now, (time.time() + SKEW + 5,) * 2)
    with pytest.raises(UserError, match=r"and 1 more: dated in the future .* -newermt now "):
        require_no_future([now, ahead])


def dated_ahead(results: Path) -> None:
    (results / "tiny/data").mkdir(parents=True)
    path = results / "tiny/data/train.h5"
    path.touch()
    os.utime(path, (time.time() + 3600,) * 2)


def forbid(folder: Path, mode: int) -> None:
    folder.mkdir()
    folder.chmod(mode)


def records_forbidden(results: Path) -> None:
    """Snakemake's own folder can be written in part only: it keeps its log and locks, but a new file has no place."""
    folder = results.with_name(".snakemake")
    for name in ("log", "locks", "metadata", "incomplete"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o555)


def records_damaged(results: Path) -> None:
    folder = results.with_name(".snakemake") / "metadata/of_long_names"
    folder.mkdir(parents=True)
    for name, content in (("cut", b'{"a": '), ("zeros", bytes(9)), ("empty", b""), ("flipped", b'{"a": "\xe1"}')):
        (folder / name).write_bytes(content)
    (folder / "another's").symlink_to("removed meanwhile")


LOOKED_AT = {
    "a damaged record": (
        records_damaged,
        r"metadata/of_long_names/flipped, a record of Snakemake's, is damaged: remove",
    ),
    "Snakemake's records": (records_forbidden, r"\.snakemake, Snakemake's own folder, cannot be written .*: fix that"),
    "the future": (dated_ahead, r"results/tiny/data/train\.h5: dated in the future"),
    "not to be written": (lambda results: forbid(results, 0o555), r"results cannot be written \(Permission denied\)"),
    "not to be read": (lambda results: forbid(results, 0), r"results cannot be read \(Permission denied\): fix that"),
    "a file": (Path.touch, "results is not a folder, or a link that leads nowhere: move it away"),
    "a broken link": (lambda results: results.symlink_to("nowhere"), "results is not a folder, or a link that leads"),
    "no temporary files": (
        lambda results: results.with_name("tmp").mkdir(mode=0o555),
        "temporary files, cannot be written",
    ),
}


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv, of util-linux")
@pytest.mark.parametrize("name", LOOKED_AT)
def test_snakemake_looks_before_it_starts_anything(tmp_path, name):
    """Without root's powers, if the tests have them."""
    for folder in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "pictures" / folder).mkdir(parents=True)
    change, says = LOOKED_AT[name]
    change(tmp_path / "results")
    command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    command += [sys.executable, "-m", "snakemake", "--cores", "1", "--snakefile", ROOT / "Snakefile"]
    command += ["--config", "images={source: pictures}", "--configfile", ROOT / "configs/tiny.yaml"]
    temporary = {"TMPDIR": str(tmp_path / "tmp")} if name == "no temporary files" else {}
    target = "results/tiny/imp/replicate_1/level_0/network.pt"
    done = subprocess.run(
        [*command, "--", target], cwd=tmp_path, env=os.environ | temporary, capture_output=True, text=True
    )
    assert done.returncode == 1 and re.search(f"error: .*{says}", done.stderr), done.stderr
    assert "Traceback" not in done.stderr and not re.search(r"\d +start +\w", done.stderr + done.stdout)


def test_kernels_are_compiled_where_their_code_cannot_be_kept():
    code = (
        "import numpy as np\nfrom workflow_scripts.dissect.kernels import new_across\nprint(new_across(2, 3).shape)\n"
    )
    nowhere = os.environ | {"NUMBA_CACHE_DIR": "/proc/nowhere", "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=nowhere, capture_output=True, text=True)
    assert run.stdout == "(2, 3)\n", run.stderr


def test_braces_in_the_path_of_the_repository_are_refused(tmp_path):
    for name in ("a {b} c", "a {b", "a} b"):
        copy_sources(tmp_path / name)
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "-n"], cwd=tmp_path / name, capture_output=True, text=True
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path / name} has braces in its path")


def test_a_home_that_cannot_be_written_is_no_harm(tmp_path):
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "-n", "--snakefile", ROOT / "Snakefile"]
    command += ["--directory", tmp_path, "--configfile", ROOT / "configs/tiny.yaml"]
    home = os.environ | {"HOME": "/proc/nowhere"}
    home.pop("XDG_CACHE_HOME", None)
    done = subprocess.run(command, cwd=ROOT, env=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "This was a dry-run" in done.stdout + done.stderr


def test_ctrl_c_while_the_rules_are_read_ends_in_a_sentence(tmp_path):
    (tmp_path / "Snakefile").write_text(f'include: "{ROOT}/Snakefile"\nraise KeyboardInterrupt\n')
    done = subprocess.run([sys.executable, "-m", "snakemake", "-n"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT
    assert done.stderr.splitlines()[-1] == f"error: {INTERRUPTED}" and "Traceback" not in done.stderr


def test_ctrl_c_while_a_script_loads_its_modules_ends_in_a_sentence():
    program = "import sys; sys.argv = ['-m']; import workflow_scripts; raise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, f"error: {INTERRUPTED}\n")


@pytest.mark.parametrize(("error", "shown"), [("KeyboardInterrupt", False), ("ValueError", True)])
def test_ctrl_c_while_python_ends_is_not_shown(error, shown):
    """Python waits for threads at its end; a second Ctrl-C then is one that it cannot raise."""
    program = f"""
import threading
from workflow_scripts.shared.interruption import say_interruption

class Threads:
    def join(self):
        raise {error}

say_interruption()
threading._register_atexit(Threads().join)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (error in done.stderr) == ("Traceback" in done.stderr) == shown, done.stderr
