"""What defines each arm, bit for bit: masks, starting weights, pictures, schedule, budget; also after a kill.

Networks are made by the scripts, with the arguments that the plan has for them.
"""

import json
import logging
import math
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from conftest import NETWORK, TRAINING

from workflow_scripts.data.packed_images import read_packed_images, write_packed_images
from workflow_scripts.networks.checkpoints import load_network, load_tensors, save_network
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.pruning import apply_masks, full_masks, prune_by_magnitude, remaining_weights
from workflow_scripts.plan.experiment import Experiment, named_arguments
from workflow_scripts.plan.keys import Key
from workflow_scripts.plan.load import complete_config
from workflow_scripts.plan.networks import Network
from workflow_scripts.shared.files import UserError
from workflow_scripts.train import init_network, train_dense, train_level
from workflow_scripts.train.pictures import MemoryPictures
from workflow_scripts.train.training import Trainer

EPOCHS, REWIND, LEVELS, FRACTION, RATE = 5, 1, 2, 0.4, 0.003
SHOWN = 32  # pictures in an epoch: two batches of 16
SCRIPTS = {"init_network": init_network, "train_dense": train_dense, "train_level": train_level}
ARGUMENTS = NETWORK["arguments"] | {"widths": [24, 16]}
SMALLER = [{"inner": [16, 16]}, {"widths": [16, 16]}]
EARLY = [2, 4]
CONTINUED = ("imp", "lr_rewind", "oneshot", "random_layerwise", "random_global", "structured", "layerwise")
WHOLE = ("imp_rewind0", "reinit")
ITERATIVE = ("imp_rewind0", "lr_rewind", "finetune")
REWOUND = ("imp", "oneshot", "random_layerwise", "random_global", "structured")


def of_imp(name: str, **more: object) -> dict:
    return {"name": name, "recipe": name, "of": "imp"} | more


KEPT = {"recipe": "pruned", "mask": "layerwise", "rounds": "iterative", "weights": "kept", "schedule": "continued"}
ARMS = [
    {"name": "imp", "recipe": "imp"},
    of_imp("untrained"),
    of_imp("trained_twice"),
    *map(of_imp, ("imp_rewind0", "lr_rewind", "oneshot", "random_layerwise", "random_global", "reinit", "structured")),
    of_imp("finetune", rate=RATE),
    of_imp("layerwise", **KEPT),
    of_imp("dense_again"),
    of_imp("dense_early", epochs=EARLY),
    of_imp("dense_small", arguments=SMALLER),
]
PRUNED = [*ITERATIVE, *REWOUND, "reinit", "layerwise"]


class Watched(Trainer):
    """Remembers its starting state, and the pictures that it was shown in each epoch."""

    last: "Watched"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.first: dict | None = None
        self.shown: dict[int, list[bytes]] = {}
        Watched.last = self

    def train_to(self, last_epoch: int) -> None:
        self.first = self.first or self.state()
        super().train_to(last_epoch)

    def add_gradients(self, pictures, labels, number, last):
        self.shown.setdefault(self.epoch + 1, []).append(pictures.numpy().tobytes() + labels.numpy().tobytes())
        super().add_gradients(pictures, labels, number, last)


class Made(NamedTuple):
    """A network that a script has made."""

    folder: Path
    trainer: Watched | None

    @property
    def tensors(self) -> dict:
        return load_tensors(self.folder / "network.pt")

    @property
    def masks(self) -> dict:
        return self.tensors["masks"]

    @property
    def metrics(self) -> dict:
        return json.loads((self.folder / "metrics.json").read_text())

    @property
    def rates(self) -> list[tuple[int, float]]:
        return [(row["epoch"], row["learning_rate"]) for row in self.metrics["epochs"]]


def experiment(*arms: dict, **changes: Any) -> Experiment:
    """An experiment whose trainings take a fraction of a second."""
    pruning = {"levels": LEVELS, "fraction": FRACTION, "rewind_epoch": REWIND} | changes.pop("pruning", {})
    config = {
        "replicates": [1],
        "network": {"arguments": ARGUMENTS},
        "images": {"size": 16},
        "training": TRAINING | {"epochs": EPOCHS, "crop_ratio": [0.8, 1.25]},
        "dissection": {"layers": ["stages.1"]},
        "pruning": pruning,
    }
    return Experiment(complete_config(config | changes | {"arms": list(arms)}) | {"gpus": 0})


def make(plan: Experiment, folder: Path, network: Network, out: Path | None = None, trainer: type = Watched) -> Made:
    """Run the script that makes a network, as its rule does, beside the others in `folder` or in `out`."""
    out = out or folder / network.key.folder
    out.mkdir(parents=True, exist_ok=True)
    words = ["script", "--replicate", network.key.replicate, "--gpus", 0, "--out", out / "network.pt"]
    words += ["--metrics", out / "metrics.json", "--train", folder / "pictures.h5", "--test", folder / "pictures.h5"]
    if network.made_by == "init_network":
        words += [*shlex.split(plan.network_settings({})), "--precision", "float32"]
    else:
        words += [*shlex.split(plan.training_settings({}, network.design)), "--code", "as it is"]
    if network.made_by == "train_dense":
        assert network.parent
        words += ["--initial", folder / network.parent.folder / "network.pt", "--rewind", out / "rewind.pt"]
        words += ["--rewind-epoch", plan.config["pruning"]["rewind_epoch"]]
    needs = {name: folder / key.folder / file for name, (key, file) in network.needs.items()}
    words += shlex.split(named_arguments(**needs, **network.choices))
    script = SCRIPTS[network.made_by]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(word) for word in words])
        if network.made_by != "init_network":
            patch.setattr(script, "Trainer", trainer)
        script.main()
    return Made(out, None if network.made_by == "init_network" else Watched.last)


def make_all(plan: Experiment, folder: Path) -> dict[Key, Made]:
    """Make all networks of an experiment, in the order of their dependencies."""
    first = {"untrained": 0, "imp": 1}
    order = sorted(plan.networks.values(), key=lambda network: first.get(network.key.arm, 2))
    return {network.key: make(plan, folder, network) for network in order if network.made_by in SCRIPTS}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """With such small networks, several threads take longer than one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def plan() -> Experiment:
    return experiment(*ARMS)


@pytest.fixture(scope="module")
def folder(packed, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("arms")
    write_packed_images(folder / "pictures.h5", packed)
    return folder


@pytest.fixture(scope="module")
def made(plan, folder) -> dict[Key, Made]:
    return make_all(plan, folder)


@pytest.fixture(scope="module")
def dense(made) -> Made:
    return made["imp", 1, 0]


@pytest.fixture(scope="module")
def rewind_point(dense) -> dict:
    return load_tensors(dense.folder / "rewind.pt")


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def masked(tensors: dict, masks: dict) -> dict:
    """Tensors by name of the parameter, with what the masks prune at zero."""
    return {name: tensor * masks.get(name.removesuffix(".weight"), 1) for name, tensor in tensors.items()}


def counts(masks: dict) -> dict[str, int]:
    return {name: int(mask.sum()) for name, mask in masks.items()}


def levels(made: dict, *names: str) -> list[tuple[Key, Made, Made]]:
    """The pruned networks of these arms, each with iterative magnitude pruning's at its level."""
    found = [key for key in made if key.arm in names and key.level]
    return [(key, made[key], made["imp", 1, key.level]) for key in found]


# Masks


def test_arms_have_as_many_weights_in_each_layer_as_imp_where_that_is_promised(made):
    found = levels(made, "random_layerwise", "reinit", "layerwise")
    assert len(found) == 3 * LEVELS
    for key, network, imp in found:
        assert counts(network.masks) == counts(imp.masks)
        if key.arm == "random_layerwise":
            assert not same(network.masks, imp.masks)
        if key.arm == "reinit":
            assert same(network.masks, imp.masks)


def test_arms_have_as_many_weights_in_all_as_imp_where_that_is_promised(made):
    found = levels(made, "oneshot", "random_global", *ITERATIVE)
    assert len(found) == 5 * LEVELS
    for _, network, imp in found:
        assert sum(counts(network.masks).values()) == sum(counts(imp.masks).values())
        assert network.metrics["density"] == imp.metrics["density"]
    # By layer they are their own.
    assert all(counts(network.masks) != counts(imp.masks) for _, network, imp in levels(made, "random_global"))
    assert counts(made["oneshot", 1, 2].masks) != counts(made["imp", 1, 2].masks)
    # The first round prunes the same network by the same rule.
    assert same(made["oneshot", 1, 1].masks, made["imp", 1, 1].masks)


def test_each_round_prunes_what_the_round_before_has_left(made):
    for name in ("imp", *ITERATIVE, "layerwise"):
        first, second = (made[name, 1, level].masks for level in (1, 2))
        assert all(not (second[layer] & ~first[layer]).any() for layer in first)
        assert sum(counts(second).values()) < sum(counts(first).values())


def test_random_masks_differ_at_each_level(made):
    for name in ("random_layerwise", "random_global"):
        first, second = (made[name, 1, level].masks for level in (1, 2))
        assert any((second[layer] & ~first[layer]).any() for layer in first)


@pytest.mark.parametrize("name", ["random_layerwise", "random_global"])
def test_another_seed_replicate_or_level_gives_other_places_of_as_many_weights(plan, folder, made, tmp_path, name):
    """The places that other jobs draw are compared for the masks of one level, with all else equal."""
    network = plan.networks[name, 1, 2]
    assert network.choices["mask_seed"] == [0, 2, 1]
    seeded = experiment(ARMS[0], of_imp(name, seed=6)).networks[name, 1, 2]
    assert seeded.choices["mask_seed"] == [6, 2, 1]
    found = [made[name, 1, 2]]
    for seeds in (seeded.choices["mask_seed"], [0, 2, 2], [0, 1, 2], [2, 0, 1]):
        other = replace(network, choices=network.choices | {"mask_seed": seeds})
        found.append(make(plan, folder, other, tmp_path / "-".join(map(str, seeds))))
    for one, other in combinations(found, 2):
        assert not same(one.masks, other.masks)
        assert sum(counts(one.masks).values()) == sum(counts(other.masks).values())
        assert name == "random_global" or counts(one.masks) == counts(other.masks)


def test_places_and_weights_are_drawn_by_seeds_of_their_own(plan, folder, made, tmp_path):
    method = {"mask": "shuffled_global", "rounds": "straight", "weights": "fresh", "schedule": "whole"}
    network = experiment(ARMS[0], of_imp("both", recipe="pruned", **method)).networks["both", 1, 1]
    assert (network.choices["mask_seed"], network.choices["seed"]) == ([0, 1, 1], 1001)
    both = make(plan, folder, network, tmp_path / "both")
    weights = build(plan.trained.settings, 4, seed=1001).state_dict()
    assert same(both.masks, made["random_global", 1, 1].masks)
    assert same(both.trainer.first["model"], masked(weights, both.masks))
    other = replace(network, choices=network.choices | {"seed": 1002})
    assert same(make(plan, folder, other, tmp_path / "weights").masks, both.masks)
    other = replace(network, choices=network.choices | {"mask_seed": [1, 1, 1]})
    elsewhere = make(plan, folder, other, tmp_path / "places")
    assert not same(elsewhere.masks, both.masks)
    assert same(elsewhere.trainer.first["model"], masked(weights, elsewhere.masks))


def test_whole_filters_are_kept_in_all_layers_but_the_last_and_their_density_is_recorded(made):
    for _, network, imp in levels(made, "structured"):
        density = imp.metrics["density"]["prunable"]
        *others, last = network.masks
        assert last == "classifier" and network.masks[last].all()
        for name in others:
            filters = network.masks[name].flatten(1)
            assert (filters.all(1) | ~filters.any(1)).all()
            # A layer of n filters cannot come nearer to the share.
            assert abs(int(filters.any(1).sum()) - density * len(filters)) <= 0.5
        kept = sum(counts(network.masks).values()) / sum(mask.numel() for mask in network.masks.values())
        assert math.isclose(network.metrics["density"]["prunable"], kept) and kept != density


@pytest.mark.parametrize("name", PRUNED)
def test_pruned_weights_are_zero_at_the_end_and_the_others_were_trained(made, name):
    for level in range(1, LEVELS + 1):
        network = made[name, 1, level]
        model, masks, start = network.tensors["model"], network.masks, network.trainer.first["model"]
        assert same(model, masked(model, masks))
        assert all((model[f"{layer}.weight"] != start[f"{layer}.weight"]).any() for layer in masks)


# What the weights start from


@pytest.mark.parametrize("name", REWOUND)
def test_rewound_weights_and_their_momentum_are_those_of_the_rewind_point(made, rewind_point, name):
    for _, network, _ in levels(made, name):
        first, masks = network.trainer.first, network.masks
        assert first["epoch"] == rewind_point["epoch"] == REWIND
        assert same(first["model"], masked(rewind_point["model"], masks))
        assert same(first["momentum"], masked(rewind_point["momentum"], masks)) and first["momentum"]


def test_weights_rewound_to_the_start_are_the_initial_ones(made):
    initial = made["untrained", 1, 0].tensors["model"]
    assert same(made["imp", 1, 0].trainer.first["model"], initial)
    for _, network, _ in levels(made, "imp_rewind0"):
        assert same(network.trainer.first["model"], masked(initial, network.masks))
        assert network.trainer.first["epoch"] == 0


@pytest.mark.parametrize("name", ["lr_rewind", "finetune", "layerwise"])
def test_weights_that_are_kept_are_the_parents_with_its_batch_norm(made, name):
    for key, network, _ in levels(made, name):
        parent = made[name if key.level > 1 else "imp", 1, key.level - 1].tensors["model"]
        assert same(network.trainer.first["model"], masked(parent, network.masks))
        assert network.trainer.first["epoch"] == REWIND
        assert any("running_mean" in tensor for tensor in parent)


def test_fresh_weights_are_new_to_the_experiment_and_the_same_at_all_levels(made, plan):
    settings = plan.trained.settings
    expected = build(settings, 4, seed=1001).state_dict()
    for _, network, _ in levels(made, "reinit"):
        assert same(network.trainer.first["model"], masked(expected, network.masks))
    initial = made["untrained", 1, 0].tensors["model"]
    assert all(torch.ne(expected[f"{name}.weight"], initial[f"{name}.weight"]).any() for name in network.masks)


def test_smaller_networks_start_from_weights_of_their_own_and_keep_all(made, plan, dense):
    parameters = [dense.metrics["parameters"]]
    for level, arguments in enumerate(SMALLER, 1):
        network = made["dense_small", 1, level]
        settings = plan.networks["dense_small", 1, level].design.settings
        assert settings["arguments"] == ARGUMENTS | arguments
        assert same(network.trainer.first["model"], build(settings, 4, seed=1).state_dict())
        assert all(mask.all() for mask in network.masks.values())
        load_network(network.folder / "network.pt", settings)
        parameters.append(network.metrics["parameters"])
    assert parameters[0] > max(parameters[1:])


@pytest.mark.parametrize("name", [*ITERATIVE, "layerwise", "reinit", "dense_small"])
def test_only_a_rewind_point_brings_momentum(made, name):
    assert all(network.trainer.first["momentum"] == {} for _, network, _ in levels(made, name))


# Pictures and schedule


def test_all_arms_but_one_see_in_each_epoch_the_pictures_that_the_dense_network_saw(made, dense):
    assert sorted(dense.trainer.shown) == list(range(1, EPOCHS + 1))
    assert len({shown for epoch in dense.trainer.shown.values() for shown in epoch}) == 2 * EPOCHS
    seen = set()
    for key, network in made.items():
        if network.trainer and key.arm != "dense_again":
            assert network.trainer.shown.items() <= dense.trainer.shown.items()
            seen.add((key.arm, min(network.trainer.shown), max(network.trainer.shown)))
    continued = {(name, REWIND + 1, EPOCHS) for name in (*CONTINUED, "finetune")}
    whole = {(name, 1, EPOCHS) for name in ("imp", *WHOLE, "dense_small", "trained_twice")}
    assert seen == continued | whole | {("dense_early", 2, 2), ("dense_early", 2, 4)}


def test_arms_are_trained_by_the_dense_schedule_or_at_the_given_rate(made, dense):
    assert [epoch for epoch, _ in dense.rates] == list(range(1, EPOCHS + 1))
    assert len({rate for _, rate in dense.rates}) == EPOCHS
    for _, network, _ in levels(made, *CONTINUED):
        assert network.rates == dense.rates[REWIND:]
    for _, network, _ in levels(made, *WHOLE, "dense_small"):
        assert network.rates == dense.rates
    for _, network, _ in levels(made, "finetune"):
        assert network.rates == [(epoch, RATE) for epoch in range(REWIND + 1, EPOCHS + 1)]
    assert made["dense_again", 1, 0].rates == dense.rates[REWIND:]


# Dense networks


def test_dense_again_continues_from_the_rewind_point_with_another_order(made, dense, rewind_point):
    again = made["dense_again", 1, 0]
    for kind in ("model", "momentum"):
        assert same(again.trainer.first[kind], rewind_point[kind])
    assert sorted(again.trainer.shown) == list(range(REWIND + 1, EPOCHS + 1))
    for epoch, shown in again.trainer.shown.items():
        assert not set(shown) & set(dense.trainer.shown[epoch])
    assert not same(again.tensors["model"], dense.tensors["model"])
    assert all(mask.all() for mask in again.masks.values())


def test_in_order_0_it_equals_the_dense_network_bit_for_bit(plan, folder, made, dense, tmp_path):
    network = plan.networks["dense_again", 1, 0]
    found = make(plan, folder, replace(network, choices=network.choices | {"order": 0}), tmp_path)
    assert (tmp_path / "network.pt").read_bytes() == (dense.folder / "network.pt").read_bytes()
    assert found.metrics["epochs"] == dense.metrics["epochs"][REWIND:]
    assert found.metrics["test_accuracy"] == dense.metrics["test_accuracy"]


def test_trained_from_its_end_by_the_whole_schedule_it_is_the_network_that_is_trained_twice(folder, made, tmp_path):
    """So the plan refuses one beside the other."""
    method = {"mask": "all", "rounds": "straight", "weights": "kept", "schedule": "whole"}
    network = experiment(ARMS[0], of_imp("whole", recipe="pruned", **method)).networks["whole", 1, 0]
    found, twice = make(experiment(ARMS[0]), folder, network, tmp_path), made["trained_twice", 1, 0]
    assert same(found.tensors["model"], twice.tensors["model"])
    assert found.metrics == twice.metrics


def states_of_dense_training(plan: Experiment, folder: Path) -> list[dict]:
    """The state of a dense training at the end of each epoch, from 0 on."""
    start = folder / "untrained/replicate_1/level_0/network.pt"
    images, momentum = plan.config["images"], plan.config["pruning"]["rewind_momentum"]
    packed = read_packed_images(folder / "pictures.h5")
    pictures = MemoryPictures(packed, images["mean"], images["std"], torch.device("cpu"))
    trainer = Trainer(*load_network(start, plan.trained.settings), pictures, plan.config["training"], 1)
    states = [trainer.state()]
    for epoch in range(1, EPOCHS + 1):
        trainer.train_to(epoch)
        if epoch == REWIND and not momentum:
            trainer.optimizer.state.clear()
        states.append(trainer.state())
    return states


@pytest.mark.parametrize("momentum", [True, False])
def test_a_dense_network_of_an_earlier_epoch_equals_that_state_of_the_dense_training(packed, tmp_path, momentum):
    write_packed_images(tmp_path / "pictures.h5", packed)
    arms = [ARMS[0], of_imp("untrained"), of_imp("dense_early", epochs=EARLY[::-1])]
    plan = experiment(*arms, pruning={"rewind_momentum": momentum, "levels": 0})
    made = make_all(plan, tmp_path)
    states = states_of_dense_training(plan, tmp_path)
    assert same(made["imp", 1, 0].tensors["model"], states[EPOCHS]["model"])
    assert bool(load_tensors(made["imp", 1, 0].folder / "rewind.pt")["momentum"]) == momentum
    rows = made["imp", 1, 0].metrics["epochs"]
    for epoch in EARLY:
        network = made["dense_early", 1, epoch]
        assert same(network.tensors["model"], states[epoch]["model"])
        assert network.metrics["epochs"] == rows[REWIND:epoch]
        last = network.trainer.state()
        assert last["epoch"] == epoch and same(last["momentum"], states[epoch]["momentum"]) and last["momentum"]
        files = sorted(path.name for path in network.folder.iterdir() if path.is_file())
        assert files == ["metrics.json", "network.pt"]


# The budget


@pytest.mark.parametrize(
    ("name", "level", "epochs", "in_all"),
    [
        ("untrained", 0, 0, 0),
        ("imp", 0, EPOCHS, EPOCHS),
        ("trained_twice", 0, EPOCHS, 2 * EPOCHS),
        ("dense_again", 0, EPOCHS - REWIND, EPOCHS),
        *[("dense_small", level, EPOCHS, EPOCHS) for level in (1, 2)],
        ("dense_early", 2, 1, 2),
        ("dense_early", 4, 3, 4),
        *[(name, level, EPOCHS - REWIND, EPOCHS) for name in REWOUND for level in (1, 2)],
        *[(name, level, EPOCHS, EPOCHS) for name in WHOLE for level in (1, 2)],
        *[
            (name, level, EPOCHS - REWIND, EPOCHS + level * (EPOCHS - REWIND))
            for name in ("lr_rewind", "finetune", "layerwise")
            for level in (1, 2)
        ],
    ],
)
def test_the_budget_has_the_epochs_and_pictures_of_the_network_and_the_epochs_since_its_weights_were_drawn(
    made, name, level, epochs, in_all
):
    network = made[name, 1, level]
    assert network.metrics["budget"] == {"epochs": epochs, "pictures": SHOWN * epochs, "epochs_in_all": in_all}
    assert network.tensors["epochs"] == in_all


# Files of another training


@pytest.fixture(scope="module")
def other(packed, tmp_path_factory) -> Path:
    """Networks of another training, of the same replicate."""
    folder = tmp_path_factory.mktemp("other")
    write_packed_images(folder / "pictures.h5", replace(packed, images=255 - packed.images))
    make_all(experiment(ARMS[0], of_imp("untrained"), pruning={"levels": 1}), folder)
    return folder


@pytest.mark.parametrize(
    ("name", "level", "file", "words"),
    [
        ("imp", 1, "rewind", r"level_0/network\.pt does not come from the training of .*rewind\.pt: run both again"),
        ("imp", 1, "parent", r"level_0/network\.pt does not come from the training of .*rewind\.pt: run both again"),
        ("oneshot", 1, "like", r"level_1/network\.pt does not come from the training of .*rewind\.pt: run both again"),
        ("reinit", 1, "like", r"level_1/network\.pt does not come from the training of .*level_0/network\.pt"),
        ("imp_rewind0", 1, "rewind", r"level_0/network\.pt does not come from the training of .*rewind\.pt"),
        ("dense_early", 2, "rewind", r"network\.pt does not come from the training of .*rewind\.pt: run both again"),
    ],
)
def test_files_of_another_training_are_refused(plan, folder, made, other, tmp_path, name, level, file, words):
    network = plan.networks[name, 1, level]
    key, own = network.needs[file]
    (folder / "other").unlink(missing_ok=True)
    (folder / "other").symlink_to(other)
    elsewhere = key._replace(arm=f"other/{key.arm}")
    with pytest.raises(UserError, match=words):
        make(plan, folder, replace(network, needs=network.needs | {file: (elsewhere, own)}), tmp_path)
    assert not (tmp_path / "network.pt").exists()


def test_initial_weights_of_another_training_are_refused(plan, folder, made, tmp_path):
    network = plan.networks["imp_rewind0", 1, 1]
    another = network.needs | {"initial": (network.parent, "network.pt")}
    with pytest.raises(UserError, match=r"level_0/network\.pt is not what the training of .*rewind\.pt started from"):
        make(plan, folder, replace(network, needs=another), tmp_path)
    assert not (tmp_path / "network.pt").exists()


def test_a_rewind_point_of_other_settings_is_refused(folder, made, tmp_path):
    others = experiment(*ARMS, training=TRAINING | {"epochs": EPOCHS, "learning_rate": 0.02})
    for key in (("oneshot", 1, 1), ("dense_early", 1, 2), ("dense_early", 1, 4)):
        with pytest.raises(UserError, match=r"rewind\.pt was made with other pictures or settings"):
            make(others, folder, others.networks[key], tmp_path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--mask same --fraction 0.5", "--mask same needs --like"),
        ("--mask shuffled_global --fraction 0.5", "--mask shuffled_global needs --like"),
        ("--mask layerwise --rounds 2", "--mask layerwise needs --like or --fraction"),
        ("--mask global --density 0.5", "unrecognized arguments: --density 0.5"),
        ("--mask all", "--weights kept needs --parent"),
        ("--mask all --weights rewound", "--weights rewound needs --rewind"),
        ("--mask all --weights initial --rewind rewind.pt", "--weights initial needs --initial"),
        ("--mask all --weights initial --initial network.pt", "--weights initial needs --rewind"),
    ],
)
def test_arguments_must_say_how_many_weights_stay_and_what_they_start_from(
    plan, tmp_path, capsys, monkeypatch, words, sentence
):
    given = ["--replicate", 1, "--gpus", 0, "--out", tmp_path / "network.pt", "--metrics", tmp_path / "metrics.json"]
    given += ["--train", "no.h5", "--test", "no.h5", *shlex.split(plan.training_settings({})), "--code", "as it is"]
    given += ["--weights", "kept", "--from-epoch", 0, *words.split()]
    monkeypatch.setattr(sys, "argv", ["script", *map(str, given)])
    with pytest.raises(SystemExit):
        train_level.main()
    assert capsys.readouterr().err.strip().endswith(f"error: {sentence}")


# Users' networks

OWN: dict[str, Any] = {"name": "own", "recipe": "brought", "weights": "none", "layers": ["stages.1"]}
OWN |= {"constructor": "workflow_scripts.networks.architectures:small_resnet"}
OWN |= {"preprocessing": {"size": 16, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}


def bring(
    classes: int, folder: Path, sparse: bool = False, **more: object
) -> tuple[Experiment, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """An experiment with a user's network for `classes` classes, in `folder`; its weights and masks."""
    straight = {"rounds": "straight", "weights": "fresh", "schedule": "whole", "seed": 50}
    arms = [
        OWN | {"arguments": ARGUMENTS | {"num_classes": classes}},
        {"name": "tuned", "recipe": "finetune", "of": "own", "rate": RATE},
        KEPT | {"name": "layers", "of": "own"},
        KEPT | {"name": "filters", "of": "own", "mask": "structured"},
        KEPT | {"name": "new", "of": "own"} | straight,
        KEPT | {"name": "at_once", "of": "own", "mask": "global"} | straight,
    ]
    plan = experiment(*arms, **more)
    own = plan.networks[Key("own", 1, 0)]
    network = build(own.design.settings, None, seed=9)
    masks = full_masks(network, [])
    if sparse:
        masks = prune_by_magnitude(network, masks, 0.3)
        apply_masks(network, masks)
    (folder / own.key.folder).mkdir(parents=True)
    save_network(folder / own.key.folder / "network.pt", network, masks, classes=None, epochs=None)
    return plan, network.state_dict(), masks


@pytest.mark.parametrize("sparse", [False, True], ids=["whole", "sparse"])
@pytest.mark.parametrize("exempt", [[], ["classifier"]], ids=["none", "exempt"])
def test_a_users_network_is_pruned_and_trained_further(packed, tmp_path, exempt, sparse):
    write_packed_images(tmp_path / "pictures.h5", packed)
    plan, weights, own = bring(4, tmp_path, sparse, pruning={"exempt": exempt})
    made = make_all(plan, tmp_path)
    assert len(made) == 5 * LEVELS
    # What was pruned of a layer that is exempt stays so, and that layer is pruned with the others.
    own = {name: mask for name, mask in own.items() if name not in exempt or not mask.all()}
    left_out = build(plan.networks["own", 1, 0].design.settings, None, 0).classifier.weight.numel() * (
        "classifier" not in own
    )
    total = sum(counts(own).values())
    wanted = remaining_weights(total, left_out, FRACTION, LEVELS)
    for key, network in made.items():
        assert network.masks.keys() == own.keys()
        first, kept = network.trainer.first["model"], network.masks
        assert all(not (kept[name] & ~own[name]).any() for name in own)
        assert network.tensors["classes"] is None and network.tensors["lineage"] == ""
        if key.arm in ("new", "at_once"):
            assert same(first, masked(build(plan.networks[key].design.settings, None, seed=51).state_dict(), kept))
            epochs, in_all = EPOCHS, EPOCHS
        else:
            parent = made[key.arm, 1, key.level - 1].tensors["model"] if key.level > 1 else weights
            assert same(first, masked(parent, kept))
            epochs, in_all = EPOCHS - REWIND, None
        assert network.metrics["budget"] == {"epochs": epochs, "pictures": SHOWN * epochs, "epochs_in_all": in_all}
        if key.arm in ("tuned", "at_once"):
            assert sum(counts(kept).values()) == wanted[key.level]
        if key.arm == "new":
            share = wanted[key.level] / total
            assert counts(kept) == {name: round(share * int(mask.sum())) for name, mask in own.items()}
        if key.arm == "layers":  # each layer is rounded at each level
            assert abs(sum(counts(kept).values()) - wanted[key.level]) <= key.level * len(own) / 2
        if key.arm == "filters":
            before = made["filters", 1, key.level - 1].masks if key.level > 1 else own
            (_, left) = remaining_weights(sum(counts(before).values()), left_out, FRACTION, 1)
            share = left / sum(mask.numel() for mask in own.values())
            for name in set(own) - {"classifier"}:
                filters = kept[name].flatten(1).any(1)
                assert int(filters.sum()) == max(1, round(share * len(filters)))
    assert made["tuned", 1, 1].rates == [(epoch, RATE) for epoch in range(REWIND + 1, EPOCHS + 1)]


def test_a_network_of_another_number_of_classes_is_refused_in_one_sentence(packed, tmp_path):
    write_packed_images(tmp_path / "pictures.h5", packed)
    plan, *_ = bring(7, tmp_path)
    with pytest.raises(UserError, match=r"output for 2 pictures is \(2, 7\) .* should be 2 x 4") as error:
        make(plan, tmp_path, plan.networks["tuned", 1, 1])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "tuned/replicate_1/level_1/network.pt").exists()


# Killed, or stopped, and run again


class Killed(BaseException):
    """Ends a training like a signal that cannot be caught."""


def ending(epoch: int, killed: bool) -> type[Watched]:
    """A trainer that ends after the first step of an epoch, counted from 0."""

    class Ending(Watched):
        def stop_if_asked(self) -> None:
            if (self.epoch, self.step) == (epoch, 1):
                if killed:
                    raise Killed
                assert self.kept
                self.kept.stop_asked = True
            super().stop_if_asked()

    return Ending


KINDS = [("imp", 2), ("imp_rewind0", 1), ("imp_rewind0", 2), ("lr_rewind", 2), ("finetune", 1), ("structured", 1)]
KINDS += [("random_layerwise", 2), ("reinit", 1), ("dense_again", 0), ("dense_early", 4), ("dense_small", 1)]


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped"])
@pytest.mark.parametrize(("name", "level"), KINDS)
def test_killed_in_the_middle_and_run_again_any_arm_ends_with_the_same_bytes(
    plan, folder, made, tmp_path, caplog, name, level, killed
):
    caplog.set_level(logging.INFO)
    network, undisturbed = plan.networks[name, 1, level], made[name, 1, level]
    second = min(undisturbed.trainer.shown)  # its second epoch, counted from 0
    with pytest.raises(Killed if killed else UserError):
        make(plan, folder, network, tmp_path, ending(second, killed))
    assert not (tmp_path / "network.pt").exists()
    again = make(plan, folder, network, tmp_path)
    assert f"continuing after {second} epochs and {0 if killed else 1} steps" in caplog.text
    assert min(again.trainer.shown) == second + 1
    files = ["metrics.json", "network.pt"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == files
    for file in files:
        assert (tmp_path / file).read_bytes() == (undisturbed.folder / file).read_bytes()


def test_an_arm_with_another_choice_does_not_continue_from_the_first_ones_state(plan, folder, made, tmp_path, caplog):
    network = plan.networks["finetune", 1, 1]
    with pytest.raises(Killed):
        make(plan, folder, network, tmp_path, ending(REWIND + 1, killed=True))
    other = replace(network, choices=network.choices | {"constant_rate": 0.001})
    make(plan, folder, other, tmp_path)
    assert "belongs to another recipe: starting over" in caplog.text
    assert Made(tmp_path, None).rates == [(epoch, 0.001) for epoch in range(REWIND + 1, EPOCHS + 1)]
