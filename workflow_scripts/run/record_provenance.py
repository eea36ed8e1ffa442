"""Record how results were made: the config as merged, and versions, machine, dates and fingerprints of the data."""

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.data.hdf5 import find_dataset, open_hdf5, read_attribute, read_texts
from workflow_scripts.plan.check import is_archive
from workflow_scripts.plan.code import ROOT
from workflow_scripts.plan.contents import Contents, file_contents
from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.plan.load import read_config
from workflow_scripts.plan.networks import Network
from workflow_scripts.run.provenance import COMMAND, CONFIG, FORMAT, PROVENANCE
from workflow_scripts.run.run_times import read_benchmark
from workflow_scripts.shared.files import UserError, file_fingerprint, reading, run_command, whole_file
from workflow_scripts.shared.gpus import has_gpu
from workflow_scripts.shared.outside_json import read_json

SOURCES = ("Snakefile", "config.yaml", "configs", "envs", "profiles", "report", "rules", "schemas", "workflow_scripts")


def record_provenance(config: str, command: str, results: Path) -> None:
    """Write config.yaml and provenance.json into an experiment's folder.

    What is recorded of code, packages and machine is what there is now, when all other steps have run.

    Args:
        config: the text of the config as merged.
        command: how snakemake was called.
        results: the folder, with all tables, and the networks' files.

    Raises:
        UserError: a file that names what it was made from is missing or damaged.
    """
    settings = results / CONFIG
    with whole_file(settings) as part:
        part.write_text(config, encoding="utf-8")
    complete = read_config([settings])
    experiment = Experiment(complete | {"gpus": int(has_gpu()) if complete["gpus"] == "auto" else complete["gpus"]})
    packed = packed_concepts(experiment)
    provenance = {
        "format": FORMAT,
        "experiment": complete["experiment"],
        "project": describe_project(),
        "command": command,
        "again": shlex.join(["snakemake", "--cores", str(cores()), "--configfile", str(settings)]),
        "config": file_fingerprint(settings),
        **describe_dates(results / "benchmarks"),
        "python": platform.python_version(),
        "packages": describe_packages(),
        "machine": describe_machine(),
        "seeds": describe_seeds(experiment),
        "protocol": complete["dissection"],
        "training": describe_training(experiment, results / "data"),
        "labelled": {name: describe_labelled(results / "data" / name) for name in packed},
        "data": list(describe_data(experiment, results)),
        "concepts": {name: attributes(results / "data" / name, "fingerprint")["fingerprint"] for name in packed},
        "networks": describe_networks(experiment, results),
        "tables": experiment.table_names(),
        "figures": experiment.figure_names,
    }
    with whole_file(results / PROVENANCE) as part:
        part.write_text(json.dumps(provenance, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def describe_project() -> dict:
    """Return the project's name, version and commit, and whether its sources differ from that; None for not known."""
    about = ROOT / "pyproject.toml"
    project = tomllib.loads(about.read_text(encoding="utf-8"))["project"] if about.is_file() else {}
    # A copy of the sources that lies in another repository is of none of its commits.
    top = ask_git("rev-parse", "--show-toplevel")
    commit = ask_git("rev-parse", "HEAD") if top and Path(top) == ROOT else None
    changes = ask_git("status", "--porcelain", "--", *SOURCES) if commit else None
    return {
        "name": project.get("name"),
        "version": project.get("version"),
        "commit": commit,
        "changed": None if changes is None else bool(changes),
    }


def ask_git(*words: str) -> str | None:
    """Return what git says of the clone, without the line's end; None if there is no git, or no repository."""
    try:
        said = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, check=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip()


def describe_packages() -> dict[str, str | None]:
    """Return the versions of the packages that the workflow names, as they are installed; None where one is not."""
    text = (ROOT / "envs" / "requirements.txt").read_text(encoding="utf-8")
    return {name: installed(name) for name in re.findall(r"^([\w.-]+)==", text, re.M)}


def installed(name: str) -> str | None:
    """Return the version of a package; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def describe_machine() -> dict:
    """Return what this machine is, but for its name; memory in GB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    release = platform.freedesktop_os_release() if Path("/etc/os-release").is_file() else {}
    return {
        "cpu": first_match(r"^model name\s*: (.*)$", Path("/proc/cpuinfo")) or platform.machine(),
        "cores": cores(),
        "memory_gb": round(memory / 1e9, 1),
        "gpus": [
            first_match(r"^Model:\s*(.*)$", card)
            for card in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        ],
        "system": release.get("PRETTY_NAME", platform.system()),
        "kernel": f"{platform.system()} {platform.release()}",
    }


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def first_match(pattern: str, path: Path) -> str | None:
    """Return the first group of a pattern in one of the system's files; None where there is none."""
    found = re.search(pattern, path.read_text(errors="replace"), re.M) if path.is_file() else None
    return found[1].strip() if found else None


def describe_dates(benchmarks: Path) -> dict[str, str | None]:
    """Return when the first job began and the last one ended, of those that are measured, in UTC."""
    spans = []
    for path in benchmarks.rglob("*.tsv"):
        try:
            seconds = sum(float(row["s"]) for row in read_benchmark(path))
        except UserError:  # a damaged file, which the costs name
            continue
        end = path.stat().st_mtime
        spans.append((end - seconds, end))
    starts, ends = zip(*spans, strict=True) if spans else ([], [])
    return {
        "first_job": in_utc(min(starts)) if starts else None,
        "last_job": in_utc(max(ends)) if ends else None,
    }


def in_utc(seconds: float) -> str:
    """Return a time since the epoch as people and programs read it: 2026-11-30T07:06:53+00:00."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def describe_seeds(experiment: Experiment) -> dict:
    """Return the seeds of the replicates that are trained, if any, and of the generated world, or None without it."""
    drawn = any(experiment.settings(kind)["source"] == "shapes" for kind in source_kinds(experiment))
    return {
        "replicates": experiment.config["replicates"] if experiment.trains else [],
        "world": experiment.config["world"]["seed"] if drawn else None,
    }


def source_kinds(experiment: Experiment) -> list[str]:
    """Return what rules call the sources that results depend on: pictures to train with, if any, and of concepts."""
    return [*(["images"] if experiment.trains else []), *experiment.concept_kinds]


def describe_data(experiment: Experiment, results: Path) -> Iterator[dict]:
    """Yield what is known of each source of pictures and of concepts: where it comes from, and its SHA-256.

    Of an archive that is of its bytes; of the generated world, of its list of checksums; of a folder, of the names and
    contents of all its files.
    """
    for kind in source_kinds(experiment):
        settings = experiment.settings(kind)
        source = settings["source"]
        known = {"name": kind, "source": source, "addresses": settings["addresses"]}
        if source == "shapes":
            checksums = results / "data" / "shapes" / f"{kind}.sha256"
            with reading(checksums):
                yield known | {"kind": "generated", "sha256": file_fingerprint(checksums)}
        elif is_archive(source):
            yield known | {"kind": "archive", "sha256": archive_fingerprint(kind, settings, results)}
        elif kind == "images":
            for split in ("train", "test"):
                contents = Contents(experiment, results).source(kind, split)
                yield known | {"name": f"{kind}, {split}", "kind": "folder", "sha256": contents}
        else:
            yield known | {"kind": "folder", "sha256": Contents(experiment, results).source(kind)}


def archive_fingerprint(kind: str, settings: Mapping, results: Path) -> str:
    """Return the SHA-256 of an archive: of one that was fetched as its receipt has it, else remembered, or read."""
    if not settings["addresses"]:
        source = settings["source"]
        return file_contents([source], results / f"own_{kind}_archive.json")[source]
    receipt = results / "data" / f"{kind}.fetched.json"
    with reading(receipt, ValueError, KeyError, TypeError):
        digits = read_json(receipt)["sha256"]
        if not re.fullmatch("[0-9a-f]{64}", digits):
            raise ValueError(f"its sha256 is {digits[:64]!r}")
    return digits


def describe_training(experiment: Experiment, data: Path) -> dict | None:
    """Return which networks are trained, and how many classes and pictures there are; None if none is trained."""
    if not experiment.trains:
        return None
    # Where all weights come from files, and are only pruned and trained on, the config's network is none of them.
    own = any(design.is_trained for design in experiment.designs.values())
    network = experiment.config["network"] if own else {"constructor": None, "arguments": {}}
    train, test = (data / Path(experiment.pictures(split)).name for split in ("train", "test"))
    with open_hdf5(train) as training, open_hdf5(test) as testing:
        return {
            "constructor": network["constructor"],
            "arguments": network["arguments"],
            "classes": length(training, "classes"),
            "train": length(training, "labels"),
            "test": length(testing, "labels"),
        }


def describe_labelled(path: Path) -> dict:
    """Return how many pictures and labels a file of packed concepts has, and its categories."""
    with open_hdf5(path) as file:
        return {
            "pictures": length(file, "image_name"),
            "labels": length(file, "label_name"),
            "categories": read_texts(file, "category_name", (None,)),
        }


def length(file: h5py.File, dataset: str) -> int:
    """Return how long a dataset of one axis is; UserError if the file is damaged or lacks it."""
    return len(find_dataset(file, dataset, np.generic, (None,)))


def packed_concepts(experiment: Experiment) -> list[str]:
    """Return the names of the files of packed concepts."""
    return list(dict.fromkeys(Path(experiment.concepts(design)).name for design in experiment.designs.values()))


def describe_networks(experiment: Experiment, results: Path) -> list[dict]:
    """Return what names each network and its dissection: fingerprints of its files, and of yours that it came from."""
    networks = experiment.networks.values()
    own = Contents(experiment, results).networks
    return [
        describe_network(network, results) | {"own": {file: own[file] for file in network.own_files}}
        for network in networks
    ]


def describe_network(network: Network, results: Path) -> dict:
    """Return what names one network: where its files and its dissection lie, and what these say they were made from."""
    files, dissection = network.files_of.folder, network.dissection_of.folder
    dump = attributes(results / files / "activations.h5", "network", "fingerprint")
    tally = attributes(results / dissection / "tally.h5", "concepts")
    return {
        **network.key._asdict(),
        "files": files,
        "dissection": dissection,
        "network": dump["network"],
        "activations": dump["fingerprint"],
        "concepts": tally["concepts"],
    }


def attributes(path: Path, *names: str) -> dict[str, str]:
    """Return attributes of an HDF5 file; UserError if it is missing, damaged or lacks one."""
    with open_hdf5(path) as file:
        return {name: read_attribute(file, name, str) for name in names}


def main() -> None:
    """Record how the results in a folder were made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="the text of the config as merged")
    parser.add_argument("--results", type=Path, required=True, help="the experiment's folder")
    args = parser.parse_args()
    record_provenance(args.config, os.environ.get(COMMAND, ""), args.results)


if __name__ == "__main__":
    run_command(main)
