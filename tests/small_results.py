"""A whole folder of results, small and made up, as the report shows it and `verify_results` takes it."""

import hashlib
import json
from pathlib import Path

import h5py
from small_experiments import ablate, arms_of, collected, rotate, write_experiment

from workflow_scripts.data.hdf5 import FORMAT as HDF5_FORMAT
from workflow_scripts.plan.experiment import ABLATION_TABLES, COMPARED, TABLES
from workflow_scripts.plan.load import config_text, read_config
from workflow_scripts.run.list_checksums import list_checksums
from workflow_scripts.run.provenance import CHECKSUMS, FORMAT
from workflow_scripts.run.sum_costs import COLUMNS

ALL_TABLES = [*TABLES, "rotations", *COMPARED, "sweep", *ABLATION_TABLES]
FIGURES = ["relative_to_dense", "overview", "iou_distribution", "training_curves"]
REPLICATES, LEVELS = 3, 3


def digest(*parts: object) -> str:
    """A SHA-256 of our choice."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def write_results(results: Path, seed: str = "one") -> Path:
    """Write all files of an experiment but for logs; another seed gives another experiment, with a level more."""
    networks = write_experiment(results, replicates=REPLICATES, levels=LEVELS + (seed != "one"))
    ablate(rotate(collected(networks, results, arms=arms_of(networks)), "imp"))
    rows = [write_large_files(results, network, seed) for network in networks]
    concepts = {"concepts.h5": digest("concepts", seed)}
    write_attributes(results / "data" / "concepts.h5", fingerprint=concepts["concepts.h5"])
    (results / "data" / "concepts.verified.json").write_text(json.dumps({"images": 2000}))
    for name in FIGURES:
        (results / "figures").mkdir(exist_ok=True)
        (results / "figures" / f"{name}.rst").write_text(f"What *{name}* shows & why. More of <it>.\n")
        (results / "figures" / f"{name}.tex").write_text(f"What \\emph{{{name}}} shows.\n")
        for ending in ("pdf", "svg", "png"):
            (results / "figures" / f"{name}.{ending}").write_text(SVG.replace("seed", seed))
    (results / "gallery" / "networks").mkdir(parents=True)
    (results / "gallery" / "index.html").write_text("<!DOCTYPE html><title>gallery</title>")
    (results / "gallery" / "networks" / "units.jpg").write_bytes(b"pictures")
    (results / "costs.csv").write_text(f"{','.join(COLUMNS)}\ntrain_dense,2,3.5,1.0,2.5,7.0,512.0\n")
    (results / "config.yaml").write_text(config_text(read_config([])))
    for name in ("report.html", "findings.md", "summary.txt"):
        (results / name).write_text(f"{name} of {seed}\n")
    write_facts(results, facts(results, rows, concepts))
    list_checksums(results, results / CHECKSUMS)
    return results


SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="500" height="200"><text y="50">seed</text></svg>'


def write_large_files(results: Path, network, seed: str) -> dict:
    """Write a network and its dissection, as far as they name what they were made from; what provenance says of it."""
    key = {"arm": network.arm, "replicate": network.replicate, "level": network.level}
    folder = f"{network.arm}/replicate_{network.replicate}/level_{network.level}"
    weights = repr((key, seed)).encode()
    names = {"network": hashlib.sha256(weights).hexdigest(), "activations": digest(key, seed)}
    names["concepts"] = digest("concepts", seed)
    (results / folder / "network.pt").write_bytes(weights)
    write_attributes(
        results / folder / "activations.h5",
        network=names["network"],
        fingerprint=names["activations"],
        concepts=names["concepts"],
    )
    write_attributes(results / folder / "thresholds.h5", activations=names["activations"])
    write_attributes(results / folder / "tally.h5", activations=names["activations"], concepts=names["concepts"])
    return {**key, "files": folder, "dissection": folder, **names, "own": {}}


def write_attributes(path: Path, **attributes: str) -> None:
    """Write an HDF5 file of our format with these attributes and nothing else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs.update(format=HDF5_FORMAT, **attributes)


def facts(results: Path, networks: list[dict], concepts: dict[str, str]) -> dict:
    """What provenance.json says."""
    config = read_config([])
    return {
        "format": FORMAT,
        "experiment": "one",
        "project": {"name": "dissecting", "version": "1.2.3", "commit": "c0ffee" * 6, "changed": False},
        "command": "snakemake --cores 3",
        "again": "snakemake --cores 3 --configfile results/one/config.yaml",
        "config": hashlib.sha256((results / "config.yaml").read_bytes()).hexdigest(),
        "first_job": "2026-01-02T03:04:05+00:00",
        "last_job": "2026-01-02T04:04:05+00:00",
        "python": "3.11.7",
        "packages": {"torch": "2.13.0", "timm": None},
        "machine": {
            "cpu": "a <CPU>", "cores": 3, "memory_gb": 12.5, "gpus": ["a GPU"], "system": "an OS", "kernel": "Linux 6"
        },
        "seeds": {"replicates": [0, 1, 2], "world": 2019},
        "protocol": config["dissection"],
        "training": {
            "constructor": "a_network", "arguments": {"widths": [4, 8]}, "classes": 5, "train": 1234, "test": 56
        },
        "labelled": {"concepts.h5": {"pictures": 2000, "labels": 77, "categories": ["object", "<part>"]}},
        "data": [
            {"name": "images", "kind": "archive", "source": "data/a.zip", "addresses": [], "sha256": digest("images")},
            {"name": "concepts", "kind": "folder", "source": "con & cepts", "addresses": [], "sha256": digest("set")},
        ],
        "concepts": concepts,
        "networks": networks,
        "tables": ALL_TABLES,
        "figures": FIGURES,
    }  # fmt: skip


def read_facts(results: Path) -> dict:
    """What provenance.json says in a folder."""
    return json.loads((results / "provenance.json").read_text())


def write_facts(results: Path, facts: object) -> None:
    """Let provenance.json say something."""
    (results / "provenance.json").write_text(json.dumps(facts))
