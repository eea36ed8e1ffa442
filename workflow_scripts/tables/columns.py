"""The columns of the tables that an experiment has, and what their cells may be.

Tables of results come from anywhere, may be damaged, and may have been edited. So all readers check them by this list.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from workflow_scripts.plan.keys import ROLES
from workflow_scripts.plan.protocols import DETECTOR_RULES


class Kind(NamedTuple):
    """What the cells of a column may be.

    words: the same for a sentence.
    dtypes: the letters of the types that pandas reads them as, "" for text.
    low, high: the bounds of numbers.
    may_be_empty: whether an unknown number is an empty cell, which is read as NaN.
    choices: of text, if only some texts are possible.
    """

    words: str
    dtypes: str = ""
    low: float = -math.inf
    high: float = math.inf
    may_be_empty: bool = False
    choices: tuple[str, ...] = ()


TEXT = Kind("text")
FLAG = Kind("True or False", "b")
COUNT = Kind("a whole number", "i", 0, 10**15)
SOME = Kind("a whole number above 0", "i", 1, 10**15)
NUMBER = Kind("a number", "if", -1e39, 1e39)  # float32 has no larger ones
SHARE = Kind("a number from 0 to 1", "if", 0, 1)
CORRELATION = Kind("a number from -1 to 1", "if", -1, 1)


def maybe(kind: Kind) -> Kind:
    """Return the kind of cells that may also be empty."""
    return kind._replace(words=f"{kind.words}, or nothing", may_be_empty=True, dtypes=f"{kind.dtypes}f")


def one_of(*choices: str) -> Kind:
    """Return the kind of cells that are one of some texts."""
    return Kind(f"one of {', '.join(filter(None, choices))}", choices=choices)


def each(kind: Kind, *columns: str) -> dict[str, Kind]:
    """Return columns of one kind."""
    return dict.fromkeys(columns, kind)


def is_value(value: object, kind: Kind) -> bool:
    """Tell whether a value of a JSON file is as cells of a kind may be; null is an empty cell."""
    if value is None:
        return kind.may_be_empty
    if not kind.dtypes or "b" in kind.dtypes:
        return isinstance(value, bool if kind.dtypes else str)
    is_number = isinstance(value, int | float if "f" in kind.dtypes else int) and not isinstance(value, bool)
    return is_number and kind.low <= value <= kind.high  # type: ignore[operator]


NETWORK = {"arm": TEXT, "replicate": COUNT, "level": COUNT}
LAYER = NETWORK | {"layer": TEXT}
COUNTS = {"units": SOME} | each(COUNT, "detectors_a", "concepts_a", "detectors_b", "concepts_b", "dead_units")
INTERVAL = each(NUMBER, "difference") | each(maybe(NUMBER), "sd", "low90", "high90")
MEASURE = one_of("units", "concepts", "accuracy", "units_above_rotation")
AGREEMENT = each(maybe(CORRELATION), "kappa_common", "kappa_all") | each(maybe(SHARE), "jaccard", "counts_overlap")

# By table: its columns, and those of them that no two rows share.
TABLES: Mapping[str, tuple[Mapping[str, Kind], tuple[str, ...]]] = {
    "arms": (
        each(TEXT, "arm", "base", "recipe", "starts_from", "label") | {"role": one_of(*ROLES), "same_units": FLAG},
        ("arm",),
    ),
    "networks": (
        LAYER
        | COUNTS
        | each(maybe(SHARE), "density", "density_weights", "density_all", "pruned_of_all", "test_accuracy")
        | each(maybe(COUNT), "weights", "epochs_in_all", "detectors_fdr", "concepts_fdr", "detectors_fdr_and_cut")
        | each(maybe(NUMBER), "share_of_base", "fewest_fdr", "chance_detectors")
        | each(COUNT, "epochs", "pictures", "zero_threshold_units")
        | {"knots": TEXT, "detector_iou": SHARE, "detector_rule": one_of(*DETECTOR_RULES), "median_score": SHARE},
        tuple(LAYER),
    ),
    "categories": (
        LAYER | {"category": TEXT} | each(COUNT, "detectors_a", "concepts_a", "detectors_b", "concepts_b"),
        (*LAYER, "category"),
    ),
    "units": (
        LAYER
        | {"unit": COUNT, "category": TEXT, "label": TEXT, "score": SHARE, "detector": FLAG, "dead": FLAG}
        | each(maybe(SHARE), "iou_chance", "agreement", "p", "q"),
        (*LAYER, "unit"),
    ),
    "nulls": (
        LAYER
        | {"unit": COUNT, "category": TEXT, "label": TEXT, "iou": SHARE}
        | each(maybe(SHARE), "iou_chance", "null_mean", "null_max", "null_detectors", "p", "q", "p_gumbel", "agreement")
        | {"null_sd": maybe(NUMBER), "permutations": maybe(COUNT)},
        (*LAYER, "unit"),
    ),
    "epochs": (
        NETWORK | {"epoch": COUNT, "learning_rate": NUMBER, "train_loss": NUMBER, "train_accuracy": SHARE},
        (*NETWORK, "epoch"),
    ),
    "layers": (
        NETWORK
        | {"name": TEXT, "kind": TEXT, "prunable": FLAG, "weights": COUNT, "remaining": COUNT, "density": maybe(SHARE)},
        (*NETWORK, "name"),
    ),
    "split": (
        LAYER
        | each(COUNT, "groups", "halvings")
        | each(NUMBER, "detectors_half", "detectors_cv", "bias", "units_sd", "concepts_sd")
        | {"keep": maybe(NUMBER), "agreement": maybe(SHARE)}
        | AGREEMENT,
        tuple(LAYER),
    ),
    "rotations": (
        LAYER
        | {"alpha": SHARE, "seed": COUNT, "median_score": SHARE}
        | {"units": SOME}
        | each(NUMBER._replace(low=0), "detectors_a", "concepts_a", "dead_units"),
        (*LAYER, "alpha", "seed"),
    ),
    "sweep": (LAYER | COUNTS | {"choice": TEXT, "value": TEXT, "own": FLAG}, (*LAYER, "choice", "value")),
    "ablation": (
        LAYER
        | {"class": TEXT, "concept": TEXT, "by": TEXT}
        | each(COUNT, "units", "pictures", "sets")
        | each(SHARE, "p")
        | each(NUMBER, "own", "all", "random_own_mean", "random_own_sd", "random_all_mean")
        | {"accuracy": maybe(SHARE), "others": maybe(NUMBER)},
        (*LAYER, "class"),
    ),
    "classes": (NETWORK | {"class": TEXT, "pictures": COUNT, "accuracy": maybe(SHARE)}, (*NETWORK, "class")),
    "equivalence": (
        each(TEXT, "arm", "layer", "against")
        | {"level": COUNT, "measure": MEASURE, "density": maybe(SHARE), "n": COUNT}
        | {"shown": one_of("equivalent", "no loss", "not shown", "not testable")}
        | each(NUMBER, "mean", "mean_against")
        | INTERVAL
        | each(maybe(NUMBER), "margin", "smallest_change")
        | each(maybe(SHARE), "p_equivalence", "p_noninferiority", "power")
        | each(FLAG, "in_sequence", "no_loss_in_sequence"),
        ("arm", "level", "layer", "measure", "against"),
    ),
    "matched": (
        each(TEXT, "arm", "imp_arm", "layer", "follows")
        | {"level": COUNT, "measure": MEASURE, "matched_by": one_of("accuracy", "density"), "n": COUNT}
        | {name: maybe(kind) for name, kind in INTERVAL.items()}
        | {"margin": maybe(NUMBER), "p_equivalence": maybe(SHARE), "equivalent": maybe(FLAG)},
        ("arm", "level", "layer", "measure", "matched_by"),
    ),
    "correlations": (
        {"base": TEXT, "layer": TEXT, "measure": MEASURE, "replicate": COUNT, "networks": COUNT}
        | each(maybe(CORRELATION), "with_accuracy", "with_density"),
        ("base", "layer", "measure", "replicate"),
    ),
    "identity": (
        LAYER
        | {"against": TEXT, "common": maybe(COUNT), "same_name": maybe(SHARE), "rarefied_to": maybe(COUNT)}
        | each(maybe(NUMBER), "concepts_rarefied", "concepts_rarefied_against")
        | AGREEMENT,
        (*LAYER, "against"),
    ),
}
FILLED = ("arms", "networks", "units", "categories", "classes")  # tables that have rows wherever they are


def of_network(name: str) -> tuple[dict[str, Kind], tuple[str, ...]]:
    """Return the columns of one network's own table, and those that no two rows share."""
    columns, keys = TABLES[name]
    return {column: kind for column, kind in columns.items() if column not in NETWORK}, tuple(
        key for key in keys if key not in NETWORK
    )
