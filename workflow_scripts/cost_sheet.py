"""What an experiment will cost: jobs, GPU and core hours, the longest chain and disk, before anything runs.

    python -m workflow_scripts.cost_sheet --configfile configs/paper.yaml

The jobs are Snakemake's own (`snakemake --dag`); those that are finished cost nothing more. A job takes `rates.start`
seconds and its amount of work over the config's rate for it. As soon as jobs of a rule have run in this experiment,
all others of the rule are taken to last as long as the median of what Snakemake has measured of them in
`results/<experiment>/benchmarks`. (Of a training that was interrupted or handed out once more, it has measured the
last attempt alone; the median bears some of these. After a change of the config, what was measured before it counts.)
"""

import argparse
import math
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median

import numpy as np
import torch
from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

from workflow_scripts import forecast
from workflow_scripts.config import check_config, is_archive, network_section
from workflow_scripts.data.hdf5 import find_dataset, open_hdf5
from workflow_scripts.data.shapes.labels import CLASSES, NUMBERS
from workflow_scripts.dissect.layer_outputs import layer_outputs
from workflow_scripts.dissect.protocols import resolve_protocol
from workflow_scripts.files import UserError, run_command
from workflow_scripts.gpu import has_gpu
from workflow_scripts.run_times import BENCHMARKS, read_benchmarks
from workflow_scripts.train.calibrate_network import BATCH, CALIBRATION_BATCHES
from workflow_scripts.train.networks import build_network, prunable_weights

TRAININGS = ("train_dense", "train_level")
UNTRAINED = ("init_network", "calibrate_network")
DISSECTION = ("dump_activations", "find_thresholds", "tally_units")
# Bytes on disk, in blocks of 4 kB, measured of the default experiment: of a picture that is drawn to classify, of a
# labelled one with its label maps, of all small files of a job.
DRAWN_PICTURE, DRAWN_CONCEPT, SMALL_FILES = 7_500, 20_600, 20_000
PACKED_LABELS = 0.05  # of the pictures that they are packed with; measured of the default experiment
UNPACKED = 1.5  # bytes for each of an archive's: a guess, of many small files that fill whole blocks
CANDIDATES = 0.14  # of the bytes of all maps: ResNet-50's last stage, benchmarks.full_size
CATEGORIES = 6  # of labels, in Broden


@dataclass(frozen=True)
class Job:
    """A node of Snakemake's graph: `needs` are the jobs that it waits for."""

    rule: str
    wildcards: dict[str, str]
    finished: bool
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Sizes:
    """How much there is to work on.

    Counts of `train` and `test` pictures, `concepts` (labelled pictures), `labels`, and for one network the dissected
    `units` and the `values` of their maps in one picture; bytes of its `state` (parameters and batch-norm's
    statistics), of its `momentum`, and of its `masks`.
    """

    train: int
    test: int
    concepts: int
    labels: int
    units: int
    values: int
    state: int
    momentum: int
    masks: int


def read_config(configfiles: list[Path], gpus: int | None = None) -> dict:
    """Return the config as the rules see it, `gpus` a number: the one given, or else the config's.

    Raises:
        UserError: as `check_config`, and for files that are not there.
    """
    config: dict = {}
    for file in [Path("config.yaml"), *configfiles]:
        try:
            update_config(config, load_configfile(file))
        except (OSError, WorkflowError) as error:
            raise UserError(
                f"{file} cannot be read ({error}): give a YAML file, from the repository's folder"
            ) from None
    check_config(config, "schemas/config.schema.yaml")
    config["dissection"] = resolve_protocol(config["dissection"])
    if gpus is not None:
        config["gpus"] = gpus
    elif config["gpus"] == "auto":
        config["gpus"] = int(has_gpu())
    return config


def list_jobs(configfiles: list[Path]) -> dict[str, Job]:
    """Return all jobs of the experiment by Snakemake's number; UserError with its words if it cannot list them."""
    more = ["--configfile", *map(str, configfiles)] if configfiles else []
    run = subprocess.run([sys.executable, "-m", "snakemake", "--dag", *more], capture_output=True, text=True)
    if run.returncode:
        words = re.search(r"^\S*(Error|Exception|error:).*", run.stderr, re.M | re.S)
        raise UserError("snakemake cannot list the jobs: " + " ".join((words[0] if words else run.stderr).split()))
    return parse_dot(run.stdout)


def parse_dot(text: str) -> dict[str, Job]:
    """Return the jobs of a graph that `snakemake --dag` has printed, without `all`.

    A node is labelled with those wildcards that its dependencies lack; a finished job has a dashed line.
    """
    needs = defaultdict(list)
    for before, after in re.findall(r"^\s*(\d+) -> (\d+)$", text, re.M):
        needs[after].append(before)
    nodes = re.findall(r'^\s*(\d+)\[label = "([^"]*)".*style="([^"]*)"', text, re.M)
    own = {node: dict(line.split(": ", 1) for line in label.split(r"\n")[1:]) for node, label, _ in nodes}
    jobs = {}
    for node, label, style in nodes:
        wildcards: dict[str, str] = {}
        for before in needs[node]:
            wildcards |= own[before]
        jobs[node] = Job(label.split(r"\n")[0], wildcards | own[node], "dashed" in style, tuple(needs[node]))
    return {node: job for node, job in jobs.items() if job.rule != "all"}


def read_sizes(config: dict) -> Sizes:
    """Return what the config says of amounts, and what follows from it; nothing is computed but shapes.

    Raises:
        UserError: the config leaves open how many pictures, classes or labels there are, and nothing is packed yet.
    """
    images, concepts, world = config["images"], config["concepts"], config["world"]
    if images["source"] == "shapes":
        classes, train, test = len(CLASSES), world["train_images"], world["test_images"]
    else:
        ending = "_index.h5" if images["storage"] == "files" else ".h5"
        classes = count(config, "images", "classes", f"train{ending}", "classes")
        train, test = (count(config, "images", split, f"{split}{ending}", "labels") for split in ("train", "test"))
    if concepts["source"] == "shapes":
        pictures, labels = world["concept_images"], len(NUMBERS)
    else:
        pictures = count(config, "concepts", "images", "concepts.h5", "image_name")
        labels = count(config, "concepts", "labels", "concepts.h5", "label_name")
    side = images["size"]
    with torch.device("meta"), torch.no_grad():
        network = build_network(network_section(config), classes, seed=0).eval()
        with layer_outputs(network, config["dissection"]["layers"]) as outputs:
            network(torch.zeros(1, 3, side, side))
    prunable = prunable_weights(network, config["pruning"]["exempt"]).values()
    return Sizes(
        train=train,
        test=test,
        concepts=pictures,
        labels=labels,
        units=sum(output.shape[1] for output in outputs.values()),
        values=sum(output.numel() for output in outputs.values()),
        state=sum(tensor.nbytes for tensor in network.state_dict().values()),
        momentum=sum(parameter.nbytes for parameter in network.parameters()),
        masks=sum(weight.numel() for weight in prunable),
    )


def count(config: dict, section: str, what: str, packed: str, dataset: str) -> int:
    """Return `expect`'s number of `what`, or else how many a packed file lists."""
    expected = config[section]["expect"][what]
    if expected != "any":
        return expected
    path = Path("results") / config["experiment"] / "data" / packed
    if not path.is_file():
        raise UserError(f"config: {section}.expect.{what} is any, and nothing is packed yet: say how many to expect")
    with open_hdf5(path, dataset) as file:
        return len(find_dataset(file, dataset, np.generic, (None,)))


def archive_bytes(config: dict, kind: str) -> float | None:
    """Return the size of the archive of `kind`, "images" or "concepts"; None if it is not known or there is none."""
    source, said = Path(config[kind]["source"]), config["rates"][f"{kind}_archive"]
    if not is_archive(str(source)):
        return None
    if source.is_file():
        return source.stat().st_size
    return None if said == "unknown" else said * 1e9


class Costs:
    """What each job needs, from the rates of the config.

    Args:
        config: as `read_config` returns it.
        sizes: as `read_sizes` returns them.
        cores: a job has at most so many threads; None gives it as many as its rule asks for.
    """

    def __init__(self, config: dict, sizes: Sizes, cores: int | None = None) -> None:
        self.config, self.sizes, self.cores = config, sizes, cores
        self.in_files = config["images"]["storage"] == "files"

    def gpus(self, job: Job) -> int:
        """Return how many GPUs a job holds."""
        if job.rule in TRAININGS:
            return self.config["gpus"]
        on_one = job.rule in (*UNTRAINED, *DISSECTION) and job.wildcards.get("arm") != "shuffled_labels"
        return min(self.config["gpus"], 1) if on_one else 0

    def threads(self, job: Job) -> int:
        """Return how many cores a job holds."""
        decoding = job.rule in ("find_thresholds", "tally_units") and self.gpus(job)
        wanted = 8 if decoding or job.rule in ("make_images", "make_concepts") else 1
        if job.rule in (*TRAININGS, *UNTRAINED):
            wanted = max(self.gpus(job), 1)
        if self.in_files and job.rule in ("index_images", *TRAININGS, *UNTRAINED):
            wanted *= self.config["images"]["workers"]
        return min(wanted, self.cores or wanted)

    def work(self, job: Job) -> dict[str, int]:
        """Return the amounts of a job's work by the rate that they go at; what takes but seconds is left to `start`."""
        sizes, training = self.sizes, self.config["training"]
        epoch = sizes.train // training["batch_size"] * training["batch_size"]  # an incomplete batch is left out
        rewound = training["epochs"] - self.config["pruning"]["rewind_epoch"]
        calibration = min(CALIBRATION_BATCHES * BATCH, sizes.train // min(BATCH, sizes.train) * min(BATCH, sizes.train))
        split = getattr(sizes, job.wildcards.get("split", "train"))
        amounts = {
            "make_images": {"draw": sizes.train + sizes.test},
            "make_concepts": {"draw": 2 * sizes.concepts},  # pictures, and as much again for label maps
            "pack_images": {"decode": split},
            "index_images": {"decode": split},
            "pack_concepts": {"decode": 2 * sizes.concepts},
            "init_network": {"forward": sizes.test},
            "calibrate_network": {"forward": calibration + sizes.test},
            "train_dense": {"train": training["epochs"] * epoch, "forward": sizes.test},
            "train_level": {"train": rewound * epoch, "forward": sizes.test},
            "dump_activations": {"forward": sizes.concepts},
            "find_thresholds": {"thresholds": sizes.concepts * sizes.values},
            "tally_units": {"tally": sizes.concepts * sizes.units},
            "draw_units": {"tiles": sizes.units * self.config["gallery"]["images"]},
        }
        return amounts.get(job.rule, {})

    def speed(self, job: Job, rate: str) -> float:
        """Return how much a second a job does of the work of `rate`: cores or GPUs share it."""
        rates, threads = self.config["rates"], self.threads(job)
        if rate in ("thresholds", "tally"):
            return rates[rate] * 1e6 * threads
        if rate in ("draw", "decode"):
            return rates[rate] * threads
        together = rates[rate] * max(self.gpus(job), 1)
        # Networks cannot see pictures faster than these are decoded.
        decoding = self.in_files and job.rule in (*TRAININGS, *UNTRAINED)
        return min(together, rates["decode"] * threads) if decoding else together

    def seconds(self, job: Job) -> float:
        """Return how long a job takes."""
        work = self.work(job).items()
        return self.config["rates"]["start"] + sum(amount / self.speed(job, rate) for rate, amount in work)

    def bytes(self, job: Job) -> float:
        """Return how much disk a job's outputs take in the end."""
        sizes, config = self.sizes, self.config
        side, archive = config["images"]["size"], archive_bytes(config, job.wildcards.get("kind", "images")) or 0
        picture = 3 * side**2
        network = sizes.state + sizes.masks
        outputs = {
            "make_images": (sizes.train + sizes.test) * DRAWN_PICTURE,
            "make_concepts": sizes.concepts * DRAWN_CONCEPT,
            "fetch_archive": archive,
            "unpack_archive": archive * UNPACKED,
            "pack_images": picture * getattr(sizes, job.wildcards.get("split", "train")),
            "pack_concepts": picture * sizes.concepts * (1 + PACKED_LABELS),
            "init_network": network,
            "calibrate_network": network,
            "train_dense": network + self.rewind_bytes(),
            "train_level": network,
            "dump_activations": self.maps_bytes(),
            "tally_units": 8 * sizes.units * (sizes.labels + CATEGORIES),
            "draw_units": sizes.units * config["gallery"]["images"] * config["gallery"]["tile_bytes"],  # at most
        }
        return outputs.get(job.rule, 0) + SMALL_FILES

    def rewind_bytes(self) -> int:
        """Return the size of a rewind point: a network and, where levels take it up, its momentum."""
        return self.sizes.state + (self.sizes.momentum if self.config["pruning"]["rewind_momentum"] else 0)

    def maps_bytes(self) -> float:
        """Return the size of one network's activations.h5."""
        dissection = self.config["dissection"]
        width = 2 if dissection["precision"] == "float16" else 4
        share = self.config["rates"]["maps"] * (CANDIDATES if dissection["dump"] == "candidates" else 1)
        return width * self.sizes.concepts * self.sizes.values * share

    def scratch_bytes(self) -> float:
        """Return what lies on disk for the time being, while each replicate trains a network and dissects another.

        A dense training saves its progress with the rewind point, keeps two such states and writes a third; before
        candidates are sorted out, about as many more lie in a scratch file.
        """
        candidates = self.maps_bytes() if self.config["dissection"]["dump"] == "candidates" else 0
        progress = self.sizes.state + self.sizes.momentum + self.rewind_bytes()
        return len(self.config["replicates"]) * (3 * progress + candidates)


def benchmark_name(job: Job) -> str:
    """Return the name, without its ending, of the file that Snakemake writes a job's run time to."""
    return BENCHMARKS.get(job.rule, job.rule).format(**job.wildcards)


def longest_chain(jobs: dict[str, Job], seconds: Callable[[Job], float]) -> tuple[float, list[Job]]:
    """Return how long the jobs take that must follow one another, and these jobs in order."""
    times = {node: seconds(job) for node, job in jobs.items()}
    total, nodes = forecast.longest_chain(times, lambda node: jobs[node].needs)
    return total, [jobs[node] for node in nodes]


def print_sheet(jobs: dict[str, Job], costs: Costs, measured: dict[str, list[float]]) -> None:
    """Print the sheet of all `jobs` of an experiment."""

    def seconds(job: Job) -> float:
        if job.finished:
            return 0
        times = measured.get(benchmark_name(job))
        return median(times) if times else costs.seconds(job)

    left = sorted((job for job in jobs.values() if not job.finished), key=lambda job: job.rule)
    print(f"{len(left)} jobs to run, {len(jobs) - len(left)} finished\n")
    print(f"{'rule':<21} {'jobs':>5} {'each':>10} {'GPU hours':>11} {'core hours':>11}  from")
    gpu_total = core_total = 0.0
    for rule, group in groupby(left, key=lambda job: job.rule):
        same = list(group)
        each = sum(map(seconds, same)) / len(same)
        gpu = sum(costs.gpus(job) * seconds(job) for job in same) / 3600
        core = sum(costs.threads(job) * seconds(job) for job in same) / 3600
        times = [len(measured.get(name, [])) for name in {benchmark_name(job) for job in same}]
        source = f"measured ({sum(times)})" if all(times) else "rate"
        print(f"{rule:<21} {len(same):>5} {duration(each):>10} {gpu:>11,.3f} {core:>11,.3f}  {source}")
        gpu_total, core_total = gpu_total + gpu, core_total + core
    print(f"{'total':<21} {len(left):>5} {'':>10} {gpu_total:>11,.3f} {core_total:>11,.3f}\n")
    total, chain = longest_chain(jobs, seconds)
    if left:
        what, hours = ("GPUs", gpu_total) if gpu_total else ("cores", core_total)
        hours_too = f" ({total / 3600:,.1f} hours)" if total > 86400 else ""
        print(f"longest chain: {duration(total)}{hours_too}: {summary(chain)}")
        print(
            f"more than {math.ceil(hours * 3600 / total)} {what} do not help, for the chain's jobs follow one another"
        )
    end = sum(map(costs.bytes, jobs.values()))
    print(f"disk: {size(end)} at the end, {size(end + costs.scratch_bytes())} at its peak")
    print(f"not counted: {'; '.join(not_counted(jobs, costs.config))}")


def summary(chain: list[Job]) -> str:
    """Return the rules of a chain's jobs that are left, in order, those that repeat counted."""
    rules = (job.rule for job in chain if not job.finished)
    runs = [(rule, len(list(same))) for rule, same in groupby(rules)]
    return ", ".join(rule if times == 1 else f"{times} x {rule}" for rule, times in runs)


def not_counted(jobs: dict[str, Job], config: dict) -> list[str]:
    """Return what the sheet leaves out."""
    left_out = ["waiting for free cores and GPUs", "failures", "data of your own"]
    if any(job.rule in ("fetch_archive", "unpack_archive") for job in jobs.values()):
        left_out.append("the time to fetch and unpack archives")
    for kind in ("images", "concepts"):
        if is_archive(config[kind]["source"]) and archive_bytes(config, kind) is None:
            left_out.append(f"the disk that {config[kind]['source']} takes, for its size is not known")
    return left_out


def duration(seconds: float) -> str:
    """Return a time in the unit that reads best."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def size(number: float) -> str:
    """Return bytes in the unit that reads best."""
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.0f} MB"


def cost_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for what the jobs depend on."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", type=Path, nargs="+", default=[], help="as for snakemake")
    parser.add_argument("--gpus", type=int, help="for each training, in place of the config's: for another machine")
    parser.add_argument("--cores", type=int, help="a job has at most so many threads, as with snakemake --cores")
    return parser


def main() -> None:
    args = cost_parser(__doc__).parse_args()
    config = read_config(args.configfile, args.gpus)
    if config["networks"]:
        raise UserError(
            "the cost sheet is for trainings, and with networks of your own there are none: snakemake -n lists the jobs"
        )
    costs = Costs(config, read_sizes(config), args.cores)
    print_sheet(list_jobs(args.configfile), costs, read_benchmarks(config["experiment"]))


if __name__ == "__main__":
    run_command(main)
