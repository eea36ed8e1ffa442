"""What each job of an experiment takes, by the rates of its config.

These are of training, of passes through networks and of decoding pictures, which take most of an experiment. All other
work counts as a job's start until it is measured.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.data.hdf5 import find_dataset, open_hdf5
from workflow_scripts.data.world.labels import CLASSES, NUMBERS
from workflow_scripts.dissect.layer_outputs import layer_outputs
from workflow_scripts.gallery.site_data import PICTURE_BYTES
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.prunable import prunable_weights
from workflow_scripts.plan.check import is_archive
from workflow_scripts.plan.concept_sets import is_drawn, source_settings
from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.plan.keys import Key
from workflow_scripts.plan.networks import Network
from workflow_scripts.plan.resources import DISSECTION, TESTED, TRAININGS
from workflow_scripts.run.run_times import SEVERAL
from workflow_scripts.shared.files import UserError
from workflow_scripts.train.controls.untrained_calibrated import BATCH, CALIBRATION_BATCHES

# Bytes on disk, in blocks of 4 kB, measured of the default experiment: of a picture that is drawn to classify, of a
# labelled one with its label maps, of all small files of a job.
DRAWN_PICTURE, DRAWN_CONCEPT, SMALL_FILES = 7_500, 20_600, 20_000
PACKED_LABELS = 0.05  # of the pictures that they are packed with; measured of the default experiment
UNPACKED = 1.5  # bytes for each of an archive's: a guess, of many small files that fill whole blocks
CANDIDATES = 0.14  # of the bytes of all maps: ResNet-50's last stage, benchmarks.full_size
CATEGORIES = 6  # of labels, in Broden
SET_SIZES = 3  # numbers of detectors that classes of the default experiment have, in a layer

# Rules whose jobs concern one network; the wildcards of others may be those of any network that they wait for.
OF_NETWORK = (
    *("import_network", "prune_once", "measure_network", "name_units", "draw_units"),
    *(*TRAININGS, *TESTED, *DISSECTION),
)


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


def read_sizes(experiment: Experiment) -> Sizes:
    """Return what an experiment's config says of amounts, and what follows from it; nothing is computed but shapes.

    Raises:
        UserError: the config leaves open how many pictures, classes or labels there are, and nothing is packed yet.
    """
    config = experiment.config
    images, concepts, world = config["images"], config["concepts"], config["world"]
    if images["source"] == "shapes":
        drawn = len(CLASSES)
        left = drawn - len(images["without"])
        classes = left if images["classes"] == "all" else images["classes"]
        train, test = (world[f"{split}_images"] * classes // drawn for split in ("train", "test"))
    else:
        ending = "_index.h5" if images["storage"] == "files" else ".h5"
        classes = count(experiment, "images", "classes", f"train{ending}", "classes")
        train, test = (count(experiment, "images", split, f"{split}{ending}", "labels") for split in ("train", "test"))
    if is_drawn(concepts):
        pictures, labels = world["concept_images"], len(NUMBERS)
    else:
        pictures = count(experiment, "concepts", "images", "concepts.h5", "image_name")
        labels = count(experiment, "concepts", "labels", "concepts.h5", "label_name")
    side = images["size"]
    with torch.device("meta"), torch.no_grad():
        network = build(config["network"], classes, seed=0)
        with layer_outputs(network, config["dissection"]["layers"]) as outputs:
            network(torch.zeros(1, len(images["mean"]), side, side))
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


def count(experiment: Experiment, section: str, what: str, packed: str, dataset: str) -> int:
    """Return `expect`'s number of `what`, or else how many a packed file lists."""
    expected = experiment.config[section]["expect"][what]
    if expected != "any":
        return expected
    path = Path(experiment.data, packed)
    if not path.is_file():
        raise UserError(f"config: {section}.expect.{what} is any, and nothing is packed yet: say how many to expect")
    with open_hdf5(path, dataset) as file:
        return len(find_dataset(file, dataset, np.generic, (None,)))


def archive_bytes(config: dict, kind: str) -> float | None:
    """Return the size of the archive that rules call `kind`; None if it is not known or there is none."""
    source, gigabytes = Path(source_settings(config, kind)["source"]), config["rates"].get(f"{kind}_archive", "unknown")
    if not is_archive(str(source)):
        return None
    if source.is_file():
        return source.stat().st_size
    return None if gigabytes == "unknown" else gigabytes * 1e9


class Costs:
    """What each job needs, from the rates of the config.

    Args:
        experiment: whose config has `gpus` as a number.
        sizes: as `read_sizes` returns them.
        cores: a job has at most so many threads; None gives it as many as its rule asks for.
    """

    def __init__(self, experiment: Experiment, sizes: Sizes, cores: int | None = None) -> None:
        self.experiment, self.sizes, self.cores = experiment, sizes, cores
        self.config = experiment.config
        self.drawn_pictures = sum(self.config["world"][f"{split}_images"] for split in ("train", "test"))

    def network(self, job: Job) -> Network | None:
        """Return the network that a job concerns, if it is one that is dissected."""
        if any(name not in job.wildcards for name in Key._fields):
            return None
        arm, replicate, level = (job.wildcards[name] for name in Key._fields)
        return self.experiment.networks.get(Key(arm, int(replicate), int(level)))

    def is_brought(self, job: Job) -> bool:
        """Tell whether a job is about brought networks, or what is pruned from them: rates and sizes are of others."""
        if job.rule in SEVERAL:
            ending = job.wildcards.get(SEVERAL[job.rule], "")
            design = self.experiment.designs.get(ending)
            return not design.is_trained if design else bool(ending)
        network = self.network(job) if job.rule in OF_NETWORK else None
        return network is not None and not network.design.is_trained

    def gpus(self, job: Job) -> int:
        """Return how many GPUs a job holds."""
        return self.experiment.gpus(job.rule, self.network(job))

    def threads(self, job: Job) -> int:
        """Return how many cores a job holds."""
        wanted = self.experiment.threads(job.rule, self.network(job))
        return min(wanted, self.cores or wanted)

    def work(self, job: Job) -> dict[str, float]:
        """Return the amounts of a job's work by the rate that they go at."""
        sizes, training = self.sizes, self.config["training"]
        epoch = sizes.train // training["batch_size"] * training["batch_size"]  # an incomplete batch is left out
        split = getattr(sizes, job.wildcards.get("split", "train"))
        amounts = {
            "pack_images": {"decode": split},
            "index_images": {"decode": split},
            "pack_concepts": {"decode": 2 * sizes.concepts},  # pictures, and as much again for label maps
            "init_network": {"forward": sizes.test},
            "make_control": {"forward": self.calibration(job) + sizes.test},
            **{rule: {"train": self.epochs(job) * epoch, "forward": sizes.test} for rule in TRAININGS},
            "dump_activations": {"forward": sizes.concepts},
            "rotate_units": {"forward": sizes.concepts if self.keeps_candidates else 0},
            "ablate_units": {"forward": sizes.test * self.passes},
        }
        return amounts.get(job.rule, {})

    def epochs(self, job: Job) -> int:
        """Return how many of the schedule's epochs a job trains for."""
        network = self.network(job)
        choices = network.choices if network else {}
        return choices.get("until_epoch", self.config["training"]["epochs"]) - choices.get("from_epoch", 0)

    def calibration(self, job: Job) -> int:
        """Return how many training pictures a control looks at: only that of the calibrated network does."""
        network, batch = self.network(job), min(BATCH, self.sizes.train)
        if network is None or network.recipe != "untrained_calibrated":
            return 0
        return min(CALIBRATION_BATCHES, self.sizes.train // batch) * batch

    @property
    def passes(self) -> int:
        """How often a test picture goes through a network whose units are switched off.

        Once for the last layer, if a linear classifier follows; in each other layer once for each set of units.
        """
        others = len(self.config["dissection"]["layers"]) - 1 if self.config["ablation"]["layers"] == "all" else 0
        return 1 + others * SET_SIZES * self.config["ablation"]["random_sets"]

    @property
    def keeps_candidates(self) -> bool:
        """Whether of all maps only candidates are kept."""
        return self.config["dissection"]["dump"] == "candidates"

    def speed(self, job: Job, rate: str) -> float:
        """Return how much a second a job does of the work of `rate`: cores or GPUs share it."""
        rates, threads = self.config["rates"], self.threads(job)
        if rate == "decode":
            return rates[rate] * threads
        together = rates[rate] * max(self.gpus(job), 1)
        # Networks cannot see pictures faster than these are decoded.
        decoding = self.experiment.in_files and job.rule in (*TRAININGS, *TESTED, "ablate_units")
        return min(together, rates["decode"] * threads) if decoding else together

    def seconds(self, job: Job) -> float | None:
        """Return how long a job takes; None for a brought network."""
        if self.is_brought(job):
            return None
        work = self.work(job).items()
        return self.config["rates"]["start"] + sum(amount / self.speed(job, rate) for rate, amount in work)

    def bytes(self, job: Job) -> float:
        """Return how much disk a job's outputs take in the end; nothing is counted of brought networks."""
        if self.is_brought(job):
            return 0
        sizes, config = self.sizes, self.config
        side, archive = config["images"]["size"], archive_bytes(config, job.wildcards.get("kind", "images")) or 0
        picture = 3 * side**2
        network = sizes.state + sizes.masks
        tiles = config["gallery"]["images"] * config["gallery"]["tile_bytes"]
        maps = 2 * sizes.values * config["gallery"]["images"] if config["gallery"]["enlarged_pixels"] else 0
        outputs = {
            "make_images": self.drawn_pictures * DRAWN_PICTURE,
            "make_concepts": sizes.concepts * DRAWN_CONCEPT,
            "fetch_archive": archive,
            "unpack_archive": archive * UNPACKED,
            "pack_images": picture * getattr(sizes, job.wildcards.get("split", "train")),
            "pack_concepts": picture * sizes.concepts * (1 + PACKED_LABELS),
            "init_network": network,
            "make_control": network,
            "train_dense": network + self.rewind_bytes(),
            "train_level": network,
            "dump_activations": self.maps_bytes(),
            "tally_units": 8 * sizes.units * (sizes.labels + CATEGORIES),
            "draw_units": sizes.units * tiles + maps,  # at most, but for the outlines of labels; so are the next two
            "draw_concepts": sizes.labels * tiles,
            "draw_pictures": sizes.concepts * PICTURE_BYTES,
        }
        return outputs.get(job.rule, 0) + SMALL_FILES

    def rewind_bytes(self) -> int:
        """Return the size of a rewind point: a network and, where levels take it up, its momentum."""
        return self.sizes.state + (self.sizes.momentum if self.config["pruning"]["rewind_momentum"] else 0)

    def maps_bytes(self) -> float:
        """Return the size of one network's activations.h5."""
        return self.value_bytes() * self.config["rates"]["maps"] * (CANDIDATES if self.keeps_candidates else 1)

    def value_bytes(self) -> int:
        """Return the size of the values of one network's maps."""
        width = 2 if self.config["dissection"]["precision"] == "float16" else 4
        return width * self.sizes.concepts * self.sizes.values

    def scratch_bytes(self) -> float:
        """Return what lies on disk for the time being, while each replicate trains a network and dissects another.

        A dense training saves its progress with the rewind point, keeps two such states and writes a third; before
        candidates are sorted out, about as many more lie in a scratch file. Where networks are rotated the
        candidates of a turned dump lie there, which hardly compress, and where only candidates are kept, one of all
        maps, too.
        """
        maps = self.maps_bytes() if self.keeps_candidates else 0
        if any(network.design.is_trained for network in self.experiment.rotated_networks()):
            every = self.config["rates"]["maps"] if self.keeps_candidates else 0
            maps += self.value_bytes() * (2 * CANDIDATES + every)
        progress = self.sizes.state + self.sizes.momentum + self.rewind_bytes()
        return len(self.config["replicates"]) * (3 * progress + maps)
