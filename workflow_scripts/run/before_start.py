"""What is checked before the first job starts, because every job would fail by it, some only after hours."""

import errno
import importlib.machinery
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from pathlib import Path

from workflow_scripts.plan.code import PACKAGE
from workflow_scripts.shared.files import UserError, reading, remedy

# The modules of the libraries that scripts import, and of those that these import in turn: envs/requirements.lock.
LIBRARIES = frozenset(
    [
        *("PIL", "annotated_types", "argparse_dataclass", "attr", "attrs", "certifi", "charset_normalizer"),
        *("conda_inject", "configargparse", "connection_pool", "contourpy", "cramjam", "cycler", "dateutil"),
        *("docutils", "dpath", "fastjsonschema", "filelock", "fontTools", "fsspec", "functorch", "git", "gitdb"),
        *("greenlet", "h5py", "hdf5plugin", "humanfriendly", "idna", "immutables", "isympy", "jinja2"),
        *("jsonschema", "jsonschema_specifications", "jupyter", "jupyter_core", "kiwisolver", "llvmlite"),
        *("markupsafe", "matplotlib", "mpl_toolkits", "mpmath", "nbformat", "networkx", "numba", "numpy"),
        *("packaging", "pandas", "platformdirs", "psutil", "pulp", "pycocotools", "pydantic", "pydantic_core"),
        *("pygments", "pylab", "pyparsing", "referencing", "requests", "rpds", "safetensors", "scipy"),
        *("setuptools", "simplejpeg", "smart_open", "smmap", "snakemake", "snakemake_executor_plugin_slurm"),
        *("snakemake_executor_plugin_slurm_jobstep", "snakemake_interface_common"),
        *("snakemake_interface_executor_plugins", "snakemake_interface_logger_plugins"),
        *("snakemake_interface_report_plugins", "snakemake_interface_scheduler_plugins"),
        *("snakemake_interface_storage_plugins", "sqlalchemy", "sqlmodel", "sympy", "tabulate", "tenacity"),
        *("throttler", "torch", "torchgen", "torchvision", "traitlets", "typing_extensions", "typing_inspection"),
        *("tzdata", "urllib3", "wrapt", "yaml", "yte"),
    ]
)
ENDINGS = tuple(importlib.machinery.all_suffixes())
RECORDS = ("metadata", "incomplete", "locks")  # folders of Snakemake's own, whose files it reads as it starts
SKEW = 60  # seconds that the clocks of a cluster's machines may differ


def require_no_hidden_module(folder: Path) -> None:
    """Raise UserError if a file in the folder where scripts run has the name of a module that they import.

    Python looks there first, for users' constructors are there.
    """
    known = (sys.stdlib_module_names | LIBRARIES) - {PACKAGE}
    with reading(folder):
        paths = sorted(folder.iterdir())
    for path in paths:
        # os.path says "no" where a folder may not be entered; Path would raise PermissionError.
        is_package = any(os.path.exists(path / f"__init__{ending}") for ending in ENDINGS)
        name = path.name.partition(".")[0] if path.name.endswith(ENDINGS) else path.name if is_package else ""
        if name in known:
            raise UserError(f"{path} hides Python's module {name} from every script that runs there: rename it")


def require_plain_root(root: Path) -> None:
    """Raise UserError if the path of the repository has braces, which Snakemake would take for wildcards."""
    if set("{}") & set(str(root)):
        raise UserError(
            f"{root} has braces in its path, which Snakemake takes for wildcards: move or rename that folder"
        )


def require_folder(folder: Path) -> None:
    """Raise UserError if a folder, or one that it is in, is something else or may not be used when planning."""
    for place in (*reversed(folder.parents), folder):
        if os.path.lexists(place):
            if not os.path.isdir(place):
                raise UserError(f"{place} is not a folder, or a link that leads nowhere: move it away, and run again")
            if not os.access(place, os.R_OK | os.X_OK if place == folder else os.X_OK):
                raise UserError(f"{place} cannot be read ({os.strerror(errno.EACCES)}): fix that, and run again")


def require_writable(outputs: Iterable[str | Path]) -> None:
    """Raise UserError if a folder cannot be written where a job that is to run has an output."""
    for folder in sorted({Path(path).parent for path in outputs}):
        there = next(place for place in (folder, *folder.parents) if os.path.exists(place))
        if not os.access(there, os.W_OK | os.X_OK):
            reason = os.strerror(errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES)
            raise UserError(f"{there} cannot be written ({reason}): fix that, and run again")


def require_room_for_temporary_files() -> None:
    """Raise UserError unless 1 MB can be written where temporary files go: Snakemake, for one, fails without."""
    folder = os.environ.get("TMPDIR") or tempfile.gettempdir()  # Python alone would try others
    if reason := lack_in(folder):
        raise UserError(
            f"{folder}, the folder for temporary files, cannot be written ({reason}): make room there, or set TMPDIR to"
            " another folder"
        )


def require_room_for_records(folder: Path) -> None:
    """Raise UserError unless 1 MB can be written where Snakemake records what it does."""
    if folder.is_dir() and (reason := lack_in(folder)):
        raise UserError(
            f"{folder}, Snakemake's own folder, cannot be written ({reason}): {remedy(reason)}, and run again"
        )


def require_readable_records(folder: Path) -> None:
    """Raise UserError for a record of Snakemake's that a disk has damaged: every start would end in a traceback.

    What is merely cut off, or full of zeros, Snakemake leaves out by itself.
    """
    for place, _, names in chain.from_iterable(os.walk(folder / name) for name in RECORDS):
        for path in (Path(place) / name for name in names):
            with reading(path), suppress(FileNotFoundError):  # another snakemake that runs may have removed it
                try:
                    path.read_text(encoding="utf-8")
                except UnicodeDecodeError:
                    raise UserError(
                        f"{path}, a record of Snakemake's, is damaged: remove it, and run again; no result is lost"
                    ) from None


def lack_in(folder: str | Path) -> str:
    """Return why 1 MB cannot be written in a folder; "" if it can be."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(10**6))
            file.flush()
    except OSError as error:
        return os.strerror(error.errno or errno.EIO)
    return ""


def require_no_future(inputs: Iterable[str | Path]) -> None:
    """Raise UserError if an input of a job that is to run is dated in the future.

    Snakemake would reject the job's outputs, as older than their inputs, after the job has made them.
    """
    latest = time.time() + SKEW
    future = [path for path in sorted(set(map(str, inputs))) if changed(path) > latest]
    if future:
        more = f" and {len(future) - 1} more" if len(future) > 1 else ""
        date = time.strftime("%Y-%m-%d %H:%M", time.localtime(changed(future[0])))
        touch = "find . -newermt now -exec touch {} +" if more else f"touch {shlex.quote(future[0])}"
        raise UserError(
            f"{future[0]}{more}: dated in the future ({date}), so that Snakemake would reject whatever is made from it:"
            f" set the clock right, then run `{touch}`"
        )


def changed(path: str) -> float:
    """Return when a file or folder last changed, in seconds; 0 if it is not there yet."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0
