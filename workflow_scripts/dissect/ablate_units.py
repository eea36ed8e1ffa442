"""Switch off the units that detect a class, and count what the network no longer classifies correctly.

Writes ablation.csv, a row for each layer and class whose concept has detectors, and classes.csv, a row for each class.

A unit is off when its channel is zero at the layer's output, for all places and pictures: the ablation of Bau et al.
(2020, "Understanding the role of individual units in a deep neural network", PNAS 117). There, units are chosen by
their effect on each class; here, by their names, which come only from labelled pictures, and compared with as many
random units. The network runs in single precision, whatever precision its test accuracy was measured with, so that
changes are not due to rounding; accuracies can therefore differ slightly from that in metrics.json.
"""

import argparse
import csv
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workflow_scripts.dissect.class_pictures import FolderPictures
from workflow_scripts.dissect.concept_data import ConceptData
from workflow_scripts.dissect.layer_outputs import find_module, layer_grids, layer_names, layer_outputs
from workflow_scripts.networks.checkpoints import load_network
from workflow_scripts.plan.ablation import CLASS_COLUMNS, COLUMNS, advice
from workflow_scripts.shared.files import UserError, reading, require_file, run_command, whole_file
from workflow_scripts.shared.gpus import lease_gpu, use_gpus
from workflow_scripts.shared.memory import keep_freed_memory
from workflow_scripts.shared.progress import Progress
from workflow_scripts.train.arguments import open_pictures
from workflow_scripts.train.training import PlainPictures

BATCH = 100  # pictures
TOLERANCE = 1e-4  # share of the largest logit; float32 sums in another order differ by a hundredth of that


class Units(NamedTuple):
    """The units of a layer, as in units.csv: names of best concepts, `detector` and `dead` bool (U,)."""

    label: np.ndarray
    detector: np.ndarray
    dead: np.ndarray


class Sets(NamedTuple):
    """Sets of units to switch off: `own` by class number; `random` by size, int64 (sets, size)."""

    own: dict[int, np.ndarray]
    random: dict[int, np.ndarray]

    def all(self) -> list[np.ndarray]:
        """Return all sets in a list: those of classes, then the random ones."""
        return [*self.own.values(), *(units for of_size in self.random.values() for units in of_size)]


class Right(NamedTuple):
    """How many pictures of each class a network classifies correctly, for C classes.

    pictures, before: int64 (C,): all pictures, and those that the whole network classifies correctly.
    after: by layer, int64 (sets, C): the same with each set off. by: "logits" or "passes", see `count_right`.
    """

    pictures: np.ndarray
    before: np.ndarray
    after: dict[str, np.ndarray]
    by: dict[str, str]


def ablate_units(
    network: nn.Module,
    layers: Sequence[str],
    units: dict[str, Units],
    pictures: PlainPictures,
    concepts: Sequence[str],
    random_sets: int,
    replicate: int,
) -> tuple[list[dict], list[dict]]:
    """Return the rows of ablation.csv and of classes.csv.

    Changes of accuracy are shares, negative if pictures are lost: `own` of the class's pictures, `others` of all other
    pictures, `all` of all. `p` is the share of random sets, including the class's own set, that lose as much of the
    class or more (Phipson and Smyth 2010: never 0).

    Args:
        network: on the device of `pictures`; it is set to evaluation mode.
        layers: as `layer_outputs` takes them.
        units: the units by the layers' names.
        pictures: the test pictures.
        concepts: the name of each class's concept.
        random_sets: the number of sets drawn for each size.
        replicate: as `draw_sets` takes it.

    Raises:
        UserError: as in `count_right`.
    """
    grids = dict(zip(layer_names(list(layers)), layers, strict=True))
    sets = {name: choose_sets(units[name], concepts, random_sets, replicate) for name in grids}
    chosen = {grids[name]: of_layer.all() for name, of_layer in sets.items() if of_layer.own}
    right = count_right(network, pictures, chosen, {name: len(of_layer.dead) for name, of_layer in units.items()})
    rows = [row for name in right.by for row in ablation_rows(name, sets[name], right, pictures.classes, concepts)]
    accuracy = [share(*counts) for counts in zip(right.before, right.pictures, strict=True)]
    of_classes = zip(map(readable, pictures.classes), right.pictures, accuracy, strict=True)
    return rows, [dict(zip(CLASS_COLUMNS, row, strict=True)) for row in of_classes]


def choose_sets(units: Units, concepts: Sequence[str], random_sets: int, replicate: int) -> Sets:
    """Return the units that detect each class's concept, and random sets of each size that these have.

    Only live units are switched off: a constant unit cannot distinguish pictures.
    """
    live = ~units.dead
    own = {
        number: np.flatnonzero(units.detector & live & (units.label == name)) for number, name in enumerate(concepts)
    }
    own = {number: detectors for number, detectors in own.items() if len(detectors)}
    sizes = sorted({len(detectors) for detectors in own.values()})
    return Sets(own, {size: draw_sets(np.flatnonzero(live), size, random_sets, replicate) for size in sizes})


def draw_sets(live: np.ndarray, size: int, random_sets: int, replicate: int) -> np.ndarray:
    """Draw random sets of live units without replacement: int64 (random_sets, size).

    The seed depends only on replicate and size. So all classes with as many detectors share the sets, and so do all
    levels of a replicate, as far as the same units are live.
    """
    rng = np.random.default_rng([replicate, size])
    return np.stack([rng.choice(live, size, replace=False) for _ in range(random_sets)])


@torch.no_grad()
def count_right(
    network: nn.Module, pictures: PlainPictures, layers: dict[str, list[np.ndarray]], widths: dict[str, int]
) -> Right:
    """Count the pictures that are classified correctly, by the network and with each set of a layer's units off.

    If a linear classifier sees only the mean of a layer's maps, the logits without the units S are
    logits - W[:, S] f_S, with weights W and means f: this is exact and needs no further pass ("logits"). Computing the
    logits of the first batch from the mean shows whether this holds. Otherwise each batch goes through the network once
    more for each set ("passes"): with random sets of five sizes, 100 of each, an evaluation takes 500 times as long.

    Only the maps of one batch are in memory at a time.

    Args:
        network: on the device of `pictures`; it is set to evaluation mode.
        pictures: the test pictures.
        layers: sets of units by layer, as `layer_outputs` takes it.
        widths: the number of units that each layer must have, by name.

    Raises:
        UserError: as in `layer_outputs`, the network's output does not fit the classes, or a layer has other units.
    """
    classes = len(pictures.classes)
    network.eval()
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False  # so that float32 is not reduced to TF32
    names = dict(zip(layers, layer_names(list(layers)), strict=True))
    shown, before = (torch.zeros(classes, dtype=torch.float64) for _ in range(2))  # counts, exact up to 2 ** 53
    after = {
        name: torch.zeros(len(sets), classes, dtype=torch.float64)
        for name, sets in zip(names.values(), layers.values(), strict=True)
    }
    readouts: dict[str, Tensor | None] = {}
    progress, done = Progress("test pictures", len(pictures)), 0
    positions = np.arange(len(pictures))
    batches = [positions[start : start + BATCH] for start in range(0, len(positions), BATCH)]
    for batch, labels in pictures.plain(batches):
        with layer_outputs(network, list(layers)) as maps:
            logits = network(batch)
        require_classes(logits, classes)
        of_classes = F.one_hot(labels, classes).double()
        shown += of_classes.sum(0).cpu()
        before += ((logits.argmax(1) == labels).double() @ of_classes).cpu()
        for layer, sets in layers.items():
            name = names[layer]
            means = maps.pop(name).mean((2, 3))
            if means.shape[1] != widths[name]:
                raise UserError(
                    f"{name} has {means.shape[1]} units, but {widths[name]} in units.csv: dissect that network again"
                )
            if name not in readouts:
                readouts[name] = find_readout(network, means, logits)
            readout = readouts[name]
            if readout is None:
                predicted = predict_by_passes(network, batch, layer, sets)
            else:
                predicted = predict_by_logits(logits, means, readout, sets)
            for number, found in enumerate(predicted):
                after[name][number] += ((found == labels).double() @ of_classes).cpu()
        done += len(batch)
        progress.log(done)
    progress.finish()
    by = {name: "passes" if readout is None else "logits" for name, readout in readouts.items()}
    counts = {name: counts.numpy().astype(np.int64) for name, counts in after.items()}
    return Right(shown.numpy().astype(np.int64), before.numpy().astype(np.int64), counts, by)


def require_classes(logits: object, classes: int) -> None:
    """Raise UserError unless a network outputs a number for each class of the pictures."""
    if not isinstance(logits, Tensor) or logits.shape[1:] != (classes,):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(
            f"the test pictures have {classes} classes, and the network's output is {found}: give the pictures of the"
            " classes that it was trained for, or set ablation.layers to none"
        )


def find_readout(network: nn.Module, means: Tensor, logits: Tensor) -> Tensor | None:
    """Return the weights (C, U) of the last linear layer if it makes the logits from the means of maps, else None.

    `means` (n, U) are those of one layer, `logits` (n, C) those of the same pictures.
    """
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1].weight.shape != (logits.shape[1], means.shape[1]):
        return None
    off = (linear[-1](means) - logits).abs().max()
    return linear[-1].weight if off <= TOLERANCE * logits.abs().max() else None


def predict_by_logits(logits: Tensor, means: Tensor, weights: Tensor, sets: list[np.ndarray]) -> Iterator[Tensor]:
    """Yield for each set of units the predicted classes, int64 (n,), without what these units add to the logits."""
    logits, means, weights = logits.double(), means.double(), weights.double()
    for units in sets:
        index = torch.from_numpy(units).to(means.device)
        yield (logits - means[:, index] @ weights[:, index].T).argmax(1)


def predict_by_passes(network: nn.Module, pictures: Tensor, layer: str, sets: list[np.ndarray]) -> Iterator[Tensor]:
    """Yield for each set of a layer's units the predicted classes, int64 (n,), with these units off."""
    for units in sets:
        with switched_off(network, layer, units):
            yield network(pictures).argmax(1)


@contextmanager
def switched_off(network: nn.Module, layer: str, units: np.ndarray) -> Iterator[None]:
    """Set the channels `units` of a layer's output to zero in each pass, including tokens that are not places.

    `layer` is as `layer_outputs` takes it, and must have passed it without an error.
    """
    [(name, grid)] = layer_grids([layer]).items()
    module, _, wanted = name.partition("#")
    runs = 0  # so far in this pass

    def start(_network: nn.Module, _inputs: tuple[Tensor, ...]) -> None:
        nonlocal runs
        runs = 0

    def switch_off(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        nonlocal runs
        runs += 1
        if runs != int(wanted or 1):
            return output
        return output.index_fill(1 if grid is None else -1, torch.from_numpy(units).to(output.device), 0)

    hooks = [network.register_forward_pre_hook(start), find_module(network, module).register_forward_hook(switch_off)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def ablation_rows(
    layer: str, sets: Sets, right: Right, classes: Sequence[str], concepts: Sequence[str]
) -> Iterator[dict]:
    """Yield the rows of a layer, as `ablate_units` describes them; a class without pictures has no row."""
    after = right.after[layer]
    ends = np.cumsum([len(sets.own), *map(len, sets.random.values())])
    random = {size: after[start:end] for size, start, end in zip(sets.random, ends, ends[1:], strict=False)}
    for (number, units), own in zip(sets.own.items(), after, strict=False):
        pictures = int(right.pictures[number])
        if pictures == 0:
            continue
        changed, random_changed = own - right.before, random[len(units)] - right.before
        random_own = random_changed[:, number]
        as_much = int((random_own <= changed[number]).sum())
        every, others = int(right.pictures.sum()), int(right.pictures.sum()) - pictures
        values = [
            *(layer, readable(classes[number]), concepts[number], len(units), pictures),
            share(right.before[number], pictures),
            *(share(changed[number], pictures), share(changed.sum() - changed[number], others)),
            share(changed.sum(), every),
            *(share(random_own.mean(), pictures), share(random_own.std(ddof=1), pictures)),
            share(random_changed.sum(1).mean(), every),
            *((1 + as_much) / (1 + len(random_own)), len(random_own), right.by[layer]),
        ]
        yield dict(zip(COLUMNS, values, strict=True))


def share(count: float, pictures: int) -> float | str:
    """Return `count` as a share of `pictures`; an empty cell if there are none."""
    return float(count / pictures) if pictures else ""


def readable(name: str) -> str:
    """Return the name of a class in a form that tables can hold: folders may have names in other encodings."""
    return os.fsencode(name).decode(errors="replace")


def concepts_of(classes: Sequence[str], given: dict[str, str], labels: Sequence[str], source: str | Path) -> list[str]:
    """Return the name of each class's concept: the one in `given`, or else the class's own name.

    Classes in `given` that are missing here may belong to another network: `collect_ablation` checks that.

    Raises:
        UserError: a concept in `given` is not among `labels`, the names in `source`.
    """
    for name, concept in given.items():
        if concept not in labels:
            raise UserError(
                f"ablation.classes.{name} is the concept {concept!r}, which {source} does not have;"
                f" {advice(concept, labels)}"
            )
    return [given.get(name, name) for name in classes]


def read_units(path: Path, layers: Sequence[str]) -> dict[str, Units]:
    """Return the units of `layers`, by name, from a network's units.csv.

    Raises:
        UserError: the file is missing or damaged; a layer has no units there, or not each once and in order; or a flag
            is neither True nor False.
    """
    require_file(path, "name the network's units first")
    names = ("layer", "unit", "label", "detector", "dead")
    with reading(path, ValueError, KeyError, csv.Error), open(path, newline="", encoding="utf-8") as file:
        rows = [[row[name] for name in names] for row in csv.DictReader(file)]
    units = {}
    for layer in layers:
        of_layer = [row[1:] for row in rows if row[0] == layer]
        if not of_layer:
            raise UserError(f"{path} has no units of the layer {layer}: dissect that network again")
        number, label, detector, dead = np.array(of_layer, dtype=object).T
        if number.tolist() != [str(place) for place in range(len(of_layer))]:
            raise UserError(f"{path} does not have each unit of layer {layer} once: name that network's units again")
        if not np.isin(np.concatenate([detector, dead]).astype(str), ["True", "False"]).all():
            raise UserError(f"{path} has flags other than True and False in {layer}: name that network's units again")
        units[layer] = Units(label, detector == "True", dead == "True")
    return units


def read_pictures(args: argparse.Namespace, device: torch.device) -> PlainPictures:
    """Return the test pictures, prepared as for measuring the network's accuracy."""
    if args.test:
        return FolderPictures(args.test, args.preprocessing, args.workers, args.class_order, device)
    settings = argparse.Namespace(**args.preprocessing, workers=args.workers)
    return open_pictures(args.packed, args.folder, settings, device)


def write_rows(path: Path, columns: list[str], rows: list[dict]) -> None:
    """Write a table."""
    with whole_file(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Switch off units as the command line says, and write ablation.csv and classes.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, required=True, help="network.pt")
    parser.add_argument("--settings", type=json.loads, required=True, help="JSON, as `build` takes it")
    parser.add_argument("--layers", nargs="+", required=True, help="the layers whose units are switched off")
    parser.add_argument("--units", type=Path, required=True, help="units.csv")
    parser.add_argument("--concepts", type=Path, required=True, help="concepts.h5")
    parser.add_argument("--classes", type=json.loads, required=True, help="JSON: concepts by class, if names differ")
    parser.add_argument("--random-sets", type=int, required=True, help="random sets for each number of detectors")
    parser.add_argument("--replicate", type=int, required=True, help="seeds the random sets")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--packed", type=Path, help="packed test pictures, or their index")
    source.add_argument("--test", type=Path, help="class folders of test pictures")
    parser.add_argument("--folder", type=Path, help="the folder of an index's files")
    parser.add_argument(
        "--class-order", type=json.loads, help='JSON: "text", "number" or a list of the folders\' names'
    )
    parser.add_argument("--preprocessing", type=json.loads, required=True, help="JSON: size, resize, mean and so on")
    parser.add_argument("--workers", type=int, default=1, help="threads that decode")
    parser.add_argument("--gpus", type=int, help="0 for none; by default one is used if there is one")
    parser.add_argument("--out", type=Path, required=True, help="ablation.csv to write")
    parser.add_argument("--out-classes", type=Path, required=True, help="classes.csv to write")
    args = parser.parse_args()
    use_gpus(args.gpus)
    keep_freed_memory()
    device = torch.device(lease_gpu() or "cpu")
    pictures = read_pictures(args, device)
    with ConceptData(args.concepts) as data:
        concepts = concepts_of(pictures.classes, args.classes, data.label_name, args.concepts)
    units = read_units(args.units, layer_names(args.layers))
    network, _ = load_network(args.network, args.settings)
    network.to(device)
    rows, classes = ablate_units(network, args.layers, units, pictures, concepts, args.random_sets, args.replicate)
    write_rows(args.out, COLUMNS, rows)
    write_rows(args.out_classes, CLASS_COLUMNS, classes)


if __name__ == "__main__":
    run_command(main)
