"""Training: rewinding, lasting masks, schedules, data order, and reproducible bytes."""

import argparse
import json
import math
import shutil
import sys
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from conftest import NETWORK, RESNET50, TRAINING
from torch import nn

from workflow_scripts.data.packed_images import write_packed_images
from workflow_scripts.networks import precisions
from workflow_scripts.networks.checkpoints import load_network, load_tensors, save_network, save_tensors
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.prunable import weights_of
from workflow_scripts.networks.pruning import full_masks, prune_by_magnitude, remaining_weights
from workflow_scripts.shared.files import UserError
from workflow_scripts.train import init_network
from workflow_scripts.train import train_dense as train_dense_script
from workflow_scripts.train import train_level as train_level_script
from workflow_scripts.train.arguments import load_pictures
from workflow_scripts.train.train_dense import train_dense
from workflow_scripts.train.train_level import train_level
from workflow_scripts.train.training import Trainer, accuracy, learning_rate

CPU = torch.device("cpu")
OLD = {"model": {"w": torch.zeros(2, 2)}, "masks": {"w": torch.ones(2, 2)}}  # does not say how many classes, or epochs
# A round of iterative magnitude pruning with rewinding, as arguments of train_level.
ROUND = ["--mask", "global", "--fraction", 0.5, "--weights", "rewound", "--from-epoch", 1]


def tensors_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def dense(pictures):
    network = build(NETWORK, 4, seed=1)
    masks = full_masks(network, [])
    trainer = Trainer(network, masks, pictures, TRAINING, 1)
    rewind_point = train_dense(trainer, rewind_epoch=1)
    return network, masks, rewind_point, trainer.history


def everything(pictures):
    """All pictures as one batch."""
    return next(iter(pictures.plain([np.arange(len(pictures))])))[0]


def copy_of(network):
    other = build(NETWORK, 4, seed=0)
    other.load_state_dict(network.state_dict())
    return other


def test_training_learns_the_easy_pictures(dense, pictures):
    network, _, _, history = dense
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    network.train()
    before = tensors_of(network)
    measured = accuracy(network, pictures, "float32")
    assert same(tensors_of(network), before)  # batch-norm's statistics, too
    network.eval()
    guesses = network(everything(pictures)).argmax(1)
    right = sum(int(guess == label) for guess, label in zip(guesses, pictures.labels, strict=True))
    assert measured == right / len(pictures) > 0.5


def test_training_twice_gives_the_same_bytes(dense, pictures, tmp_path):
    for name in ("first", "second"):
        network = build(NETWORK, 4, seed=1)
        train_dense(Trainer(network, full_masks(network, []), pictures, TRAINING, 1), rewind_epoch=1)
        save_network(tmp_path / name, network, full_masks(network, []), 4, 3)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert same(tensors_of(load_network(tmp_path / "first", NETWORK)[0]), tensors_of(dense[0]))


def test_stopping_at_the_rewind_point_does_not_change_the_dense_network(dense, pictures):
    network = build(NETWORK, 4, seed=1)
    trainer = Trainer(network, full_masks(network, []), pictures, TRAINING, 1)
    trainer.train_to(TRAINING["epochs"])
    assert same(tensors_of(network), tensors_of(dense[0]))


def test_rewinding_restores_every_tensor(dense, pictures):
    network, _, rewind_point, _ = dense
    at_rewind = build(NETWORK, 4, seed=1)
    reference = Trainer(at_rewind, full_masks(at_rewind, []), pictures, TRAINING, 1)
    reference.train_to(1)
    other = copy_of(network)
    masks = prune_by_magnitude(other, full_masks(other, []), 0.5)
    trainer = Trainer(other, masks, pictures, TRAINING, 1)
    trainer.rewind(rewind_point)
    expected = reference.state()
    assert trainer.epoch == expected["epoch"] == 1
    masked = {f"{name}.weight": mask for name, mask in masks.items()}
    for kind in ("model", "momentum"):
        got = trainer.state()[kind]
        assert got.keys() == expected[kind].keys()
        for name, tensor in expected[kind].items():
            assert torch.equal(got[name], tensor * masked[name] if name in masked else tensor), (kind, name)
    names = expected["model"].keys()
    assert any("running_mean" in name for name in names)
    assert any("num_batches_tracked" in name for name in names)


def test_retraining_with_all_weights_repeats_the_dense_network(dense, pictures):
    # Schedule, data order and momentum go on at the rewind point, so nothing tells the two apart.
    network, masks, rewind_point, _ = dense
    other = copy_of(network)
    trainer = Trainer(other, masks, pictures, TRAINING, 1)
    trainer.rewind(rewind_point)
    trainer.train_to(TRAINING["epochs"])
    assert same(tensors_of(other), tensors_of(network))


def test_retraining_in_half_precision_continues_with_the_dense_networks_loss_scale(pictures, monkeypatch):
    # With so large a factor gradients overflow at first: steps are left out, and each time the factor is halved.
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, init_scale=2.0**19))
    networks = [build(NETWORK, 4, seed=1) for _ in range(2)]
    first, second = (
        Trainer(network, full_masks(network, []), pictures, TRAINING | {"precision": "float16"}, 1)
        for network in networks
    )
    rewind_point = train_dense(first, rewind_epoch=1)
    assert first.scaler.get_scale() < 2.0**19 and not same(tensors_of(networks[0]), rewind_point["model"])
    train_level(second, rewind_point)
    assert same(*map(tensors_of, networks)) and second.history == first.history[1:]


def restarted(network, masks, pictures, state) -> dict:
    """Train `network` further from the weights of `state` with a new torch optimiser; return its tensors."""
    network.load_state_dict(state["model"])
    for name, mask in masks.items():
        network.get_submodule(name).weight.data.mul_(mask)
    kinds = {name: TRAINING[name] for name in ("momentum", "nesterov", "weight_decay")}
    optimizer = torch.optim.SGD(network.parameters(), lr=1, **kinds)
    network.train()
    for epoch in range(state["epoch"], TRAINING["epochs"]):
        drawn = pictures.draw_augmentation(TRAINING, (1,), epoch)
        batches = list(drawn.order[:32].split(16))
        for step, (images, labels) in enumerate(pictures.augmented(batches, drawn)):
            optimizer.param_groups[0]["lr"] = learning_rate(2 * epoch + step, 2, TRAINING)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
            for name, mask in masks.items():
                network.get_submodule(name).weight.data.mul_(mask)
    return tensors_of(network)


def test_without_momentum_dense_network_and_level_restart_it_at_the_rewind_point(dense, pictures):
    network = build(NETWORK, 4, seed=1)
    masks = full_masks(network, [])
    rewind_point = train_dense(Trainer(network, masks, pictures, TRAINING, 1), 1, rewind_momentum=False)
    assert same(rewind_point["model"], dense[2]["model"]) and rewind_point["momentum"] == {} != dense[2]["momentum"]
    assert same(tensors_of(network), restarted(copy_of(network), {}, pictures, rewind_point))
    assert not same(tensors_of(network), tensors_of(dense[0]))
    masks = prune_by_magnitude(network, masks, 0.5)
    expected = restarted(copy_of(network), masks, pictures, rewind_point)
    train_level(Trainer(network, masks, pictures, TRAINING, 1), rewind_point)
    assert same(tensors_of(network), expected)


def test_pruned_weights_stay_zero_in_every_forward_pass(dense, pictures):
    network, masks, rewind_point, _ = dense
    other = copy_of(network)
    seen = []
    new_masks = prune_by_magnitude(other, masks, 0.6)

    def watch(module, _inputs):
        name = next(name for name, candidate in other.named_modules() if candidate is module)
        seen.append((name, int(torch.count_nonzero(module.weight[~new_masks[name]]))))

    for name in new_masks:
        other.get_submodule(name).register_forward_pre_hook(watch)
    trainer = Trainer(other, new_masks, pictures, TRAINING, 1)
    train_level(trainer, rewind_point)
    assert [row["epoch"] for row in trainer.history] == [2, 3]
    assert len(seen) == 4 * len(new_masks)
    assert all(alive == 0 for _, alive in seen)
    for name, mask in new_masks.items():
        weight = other.get_submodule(name).weight
        assert torch.count_nonzero(weight[~mask]) == 0
        assert torch.count_nonzero(weight[mask]) == mask.sum()


def test_order_and_augmentation_depend_on_seed_and_epoch_alone(pictures):
    first = pictures.draw_augmentation(TRAINING, (1,), 2)
    again = pictures.draw_augmentation(TRAINING, (1,), 2)
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in ("order", "down", "right", "flip"))
    assert sorted(first.order.tolist()) == list(range(len(pictures)))
    assert set(first.down.tolist()) <= set(range(-2, 3))
    for other in (((1,), 3), ((2,), 2), ((2**31 + 1, 1), 2)):
        assert not torch.equal(first.order, pictures.draw_augmentation(TRAINING, *other).order)


def test_no_two_epochs_of_any_replicate_or_order_are_alike(pictures):
    network = build(NETWORK, 4, seed=1)
    orders = set()
    for replicate, order in product((1, 2, 3), (0, 1, 2)):
        trainer = Trainer(network, full_masks(network, []), pictures, TRAINING, replicate, order=order)
        for epoch in range(4):
            drawn = pictures.draw_augmentation(TRAINING, trainer.seed, epoch)
            orders.add(tuple(drawn.order.tolist()))
    assert len(orders) == 3 * 3 * 4


def test_augmented_pictures_are_shifted_and_flipped_as_drawn(packed, pictures):
    drawn = pictures.draw_augmentation(TRAINING, (5,), 0)
    index = torch.tensor([3, 17, 8, 30])
    seen, labels = next(pictures.augmented([index], drawn))
    assert labels.tolist() == packed.labels[index.numpy()].tolist()
    size = packed.images.shape[1]
    for row, i in enumerate(index.tolist()):
        for y in range(size):
            for x in range(size):
                column = size - 1 - x if drawn.flip[i] else x
                source = packed.images[
                    i,
                    np.clip(y + int(drawn.down[i]), 0, size - 1),
                    np.clip(column + int(drawn.right[i]), 0, size - 1),
                ]
                expected = (source / 255 - np.array([0.5, 0.4, 0.3])) / np.array([0.25, 0.2, 0.3])
                np.testing.assert_allclose(seen[row, :, y, x].numpy(), expected, atol=1e-5)


def test_learning_rate_warms_up_then_falls_by_cosine_or_milestones():
    cosine = TRAINING | {"epochs": 10, "warmup_epochs": 2}
    rates = [learning_rate(step, 5, cosine) for step in range(50)]
    np.testing.assert_allclose(rates[:10], 0.05 * np.arange(1, 11) / 10)
    np.testing.assert_allclose(rates[10:], 0.025 * (1 + np.cos(np.pi * np.arange(40) / 40)))
    steps = TRAINING | {"epochs": 10, "warmup_epochs": 1, "schedule": "milestones", "milestones": [3, 6], "gamma": 0.1}
    rates = [learning_rate(step, 5, steps) for step in range(50)]
    np.testing.assert_allclose(rates[5:15], 0.05)
    np.testing.assert_allclose(rates[15:30], 0.005)
    np.testing.assert_allclose(rates[30:], 0.0005)


def test_the_history_has_the_rate_of_each_epochs_last_step(dense):
    # Two steps an epoch: the first epoch warms up to 0.05, and the cosine takes the four steps after that to 0.
    cosines = [math.cos(math.pi * step / 4) for step in (1, 3)]
    expected = [0.05, *(0.05 * (1 + cosine) / 2 for cosine in cosines)]
    assert [row["learning_rate"] for row in dense[3]] == pytest.approx(expected)


def test_replicates_start_from_different_weights_and_the_same_one_from_the_same():
    first, again, other = (tensors_of(build(NETWORK, 4, seed)) for seed in (1, 1, 2))
    assert same(first, again)
    assert not torch.equal(first["stem.weight"], other["stem.weight"])


def test_resnet50_has_the_same_interface():
    network = build(RESNET50, 1000, seed=0)
    assert sum(p.numel() for p in network.parameters()) == 25_557_032
    masks = full_masks(network, ["fc", "*.downsample.*"])
    assert sum(mask.numel() for mask in masks.values()) == 23_454_912 - 2_768_896
    assert network.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


def test_a_checkpoint_that_holds_code_is_refused_and_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"model": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(UserError, match=r"bomb\.pt"):
        load_tensors(tmp_path / "bomb.pt")
    assert not (tmp_path / "ran").exists()


def test_a_damaged_checkpoint_and_one_of_another_network_are_refused(dense, tmp_path):
    save_network(tmp_path / "network.pt", dense[0], dense[1], 4, 3)
    content = (tmp_path / "network.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"cut\.pt"):
        load_tensors(tmp_path / "cut.pt")
    wider = NETWORK | {"arguments": NETWORK["arguments"] | {"widths": [16, 32]}}
    with pytest.raises(UserError, match=r"network\.pt has a different architecture .*is 16 x 16"):
        load_network(tmp_path / "network.pt", wider)


@pytest.mark.parametrize("contents", [{}, {"model": {}}, {"model": {"w": torch.zeros(2, 2)}}, {"masks": {}}, OLD])
def test_a_file_of_tensors_without_a_network_is_refused(tmp_path, contents):
    save_tensors(tmp_path / "rewind.pt", contents)
    with pytest.raises(UserError, match=r"rewind\.pt does not hold a network with its masks"):
        load_network(tmp_path / "rewind.pt", NETWORK)


def test_saved_tensors_do_not_depend_on_the_files_name(dense, tmp_path):
    save_tensors(tmp_path / "a.pt", dense[2])
    save_tensors(tmp_path / "b.pt", dense[2])
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_too_few_pictures_are_refused(pictures):
    network = build(NETWORK, 4, seed=1)
    with pytest.raises(UserError, match="batch_size"):
        Trainer(network, full_masks(network, []), pictures, TRAINING | {"batch_size": 64}, 1)


def call(module, folder, replicate, name, *more, pictures="pictures.h5", network=NETWORK):
    """Run a script on the packed pictures in a folder, where it writes the network `name`."""
    words = ["script", "--train", folder / pictures, "--test", folder / pictures]
    words += ["--mean", 0.5, 0.5, 0.5, "--std", 1, 1, 1, "--network", json.dumps(network)]
    words += ["--replicate", replicate, "--out", folder / name, "--metrics", folder / f"{name}.json", *more]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(word) for word in words])
        module.main()


class Stochastic(nn.Module):
    """A network with dropout, attention, a batch-norm without statistics, and two names for one layer."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, stride=2)
        self.norm = nn.BatchNorm2d(width, track_running_stats=False)
        self.attention = nn.MultiheadAttention(width, 2, dropout=0.1, batch_first=True)
        self.one = nn.Linear(width, width)
        self.two = self.one
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(width, num_classes))

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x))).flatten(2).transpose(1, 2)
        x = x + self.attention(x, x, x)[0]
        return self.head(self.two(torch.relu(self.one(x))).mean(1))


@pytest.mark.parametrize(
    "network",
    [
        {"constructor": f"{__name__}:Stochastic", "arguments": {"width": 8}, "source": "abc"},
        {"constructor": "torchvision.models:mobilenet_v3_small", "arguments": {"width_mult": 0.3}},
        {"constructor": "workflow_scripts.networks.openlth_models:cifar_vgg", "arguments": {"depth": 11}},
    ],
    ids=["own", "torchvision", "openlth"],
)
def test_any_constructors_network_is_trained_pruned_and_loaded_again(packed, tmp_path, network):
    write_packed_images(tmp_path / "pictures.h5", replace(packed, images=packed.images.repeat(3, 1).repeat(3, 2)))
    training = ["--training", json.dumps(TRAINING | {"micro_batch": 8, "epochs": 2}), "--code", "as it is"]
    call(init_network, tmp_path, 1, "start.pt", "--precision", "float32", network=network)
    rewind = ["--rewind", tmp_path / "rewind.pt", *training]
    dense = ["--initial", tmp_path / "start.pt", "--rewind-epoch", 1, *rewind]
    call(train_dense_script, tmp_path, 1, "dense.pt", *dense, network=network)
    level = ["--parent", tmp_path / "dense.pt", *ROUND, *rewind]
    call(train_level_script, tmp_path, 1, "level.pt", *level, network=network)
    trained, masks = load_network(tmp_path / "level.pt", network)
    started, _ = load_network(tmp_path / "start.pt", network)
    assert not trained.training and trained(torch.zeros(2, 3, 36, 36)).shape == (2, 4)
    weights = weights_of(trained)
    assert all((weights[name].tensor[~mask] == 0).all() for name, mask in masks.items())
    assert not same(tensors_of(trained), tensors_of(started))
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert kept == remaining_weights(sum(mask.numel() for mask in masks.values()), 0, 0.5, 1)[1]


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            {"constructor": "small_networks:small", "arguments": {}},
            r"output for 2 pictures is \(2, 3\) .* should be 2 x 4",
        ),
        (
            {"constructor": "torchvision.models:googlenet", "arguments": {"init_weights": False}},
            "returns a GoogLeNetOutputs in training mode",
        ),
    ],
)
def test_a_network_that_cannot_learn_these_classes_is_refused_before_it_is_trained(packed, tmp_path, network, words):
    write_packed_images(tmp_path / "pictures.h5", replace(packed, images=packed.images.repeat(6, 1).repeat(6, 2)))
    with pytest.raises(UserError, match=words):
        call(init_network, tmp_path, 1, "start.pt", "--precision", "float32", network=network)
    assert not (tmp_path / "start.pt").exists()


def test_a_level_refuses_a_rewind_point_of_another_training(packed, tmp_path):
    write_packed_images(tmp_path / "pictures.h5", packed)
    write_packed_images(tmp_path / "others.h5", replace(packed, images=255 - packed.images))
    training = ["--training", json.dumps(TRAINING), "--code", "as it is"]
    for replicate in (1, 2):
        start, rewind = tmp_path / f"start_{replicate}.pt", tmp_path / f"rewind_{replicate}.pt"
        call(init_network, tmp_path, replicate, start.name, "--precision", "float32")
        dense = ["--initial", start, "--rewind", rewind, "--rewind-epoch", 1, *training]
        call(train_dense_script, tmp_path, replicate, f"dense_{replicate}.pt", *dense)
    level = ["--parent", tmp_path / "dense_1.pt", *ROUND, *training, "--rewind"]
    call(train_level_script, tmp_path, 1, "level.pt", *level, tmp_path / "rewind_1.pt")
    assert (tmp_path / "level.pt").exists()
    with pytest.raises(UserError, match=r"dense_1\.pt does not come from the training of .*rewind_2\.pt"):
        call(train_level_script, tmp_path, 1, "wrong.pt", *level, tmp_path / "rewind_2.pt")
    with pytest.raises(UserError, match="another replicate"):
        call(train_level_script, tmp_path, 2, "wrong.pt", *level, tmp_path / "rewind_1.pt")
    with pytest.raises(UserError, match="other pictures"):
        call(train_level_script, tmp_path, 1, "wrong.pt", *level, tmp_path / "rewind_1.pt", pictures="others.h5")
    with pytest.raises(UserError, match="settings"):
        call(train_level_script, tmp_path, 1, "wrong.pt", *level, tmp_path / "rewind_1.pt", "--no-rewind-momentum")
    assert not (tmp_path / "wrong.pt").exists()


def test_auto_is_the_precision_that_the_machine_computes_and_a_level_refuses_another(packed, tmp_path, monkeypatch):
    write_packed_images(tmp_path / "pictures.h5", packed)

    def options(precision):
        return ["--training", json.dumps(TRAINING | {"precision": precision}), "--code", "as it is"]

    monkeypatch.setattr(precisions, "computes_bfloat16", lambda device_type: False)
    call(init_network, tmp_path, 1, "start.pt", "--precision", "auto")
    dense = ["--initial", tmp_path / "start.pt", "--rewind-epoch", 1]
    for precision in ("auto", "float32"):
        out = ["--rewind", tmp_path / f"{precision}_rewind.pt", *options(precision)]
        call(train_dense_script, tmp_path, 1, f"{precision}.pt", *dense, *out)
    assert (tmp_path / "auto.pt").read_bytes() == (tmp_path / "float32.pt").read_bytes()
    level = ["--parent", tmp_path / "auto.pt", "--rewind", tmp_path / "auto_rewind.pt", *ROUND, *options("auto")]
    call(train_level_script, tmp_path, 1, "level.pt", *level)
    monkeypatch.setattr(precisions, "computes_bfloat16", lambda device_type: True)
    with pytest.raises(UserError, match="in another precision than bfloat16: make it again, or set"):
        call(train_level_script, tmp_path, 1, "wrong.pt", *level)


def test_training_and_test_pictures_of_different_classes_are_refused(packed, tmp_path):
    write_packed_images(tmp_path / "train.h5", packed)
    write_packed_images(tmp_path / "test.h5", replace(packed, classes=("a", "b", "c", "e")))
    folders = {"train_folder": None, "test_folder": None}
    args = argparse.Namespace(
        train=tmp_path / "train.h5", test=tmp_path / "test.h5", mean=[0.5] * 3, std=[1.0] * 3, **folders
    )
    with pytest.raises(UserError, match="'d'"):
        load_pictures(args, CPU)


def test_a_diverging_training_is_reported(pictures):
    network = build(NETWORK, 4, seed=1)
    trainer = Trainer(network, full_masks(network, []), pictures, TRAINING | {"learning_rate": 1e30}, 1)
    with pytest.raises(UserError, match="learning_rate"):
        trainer.train_to(3)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_other_precisions_train_similarly(pictures, dense, precision):
    network = build(NETWORK, 4, seed=1)
    trainer = Trainer(network, full_masks(network, []), pictures, TRAINING | {"precision": precision}, 1)
    trainer.train_to(3)
    assert not same(tensors_of(network), tensors_of(dense[0]))
    for row, other in zip(trainer.history, dense[3], strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=0.03)


@pytest.mark.rare
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_training_does_the_same(pictures, dense, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    network = build(NETWORK, 4, seed=1)
    trainer = Trainer(network, full_masks(network, []), pictures, TRAINING | {"compile": True}, 1)
    trainer.train_to(3)
    for row, other in zip(trainer.history, dense[3], strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)
    assert trainer.state()["model"].keys() == tensors_of(dense[0]).keys()


def test_batch_norm_may_start_from_random_scales_as_in_openlth():
    ones, uniform = (build(NETWORK | {"norm_init": init}, 4, seed=1) for init in ("as_built", "uniform"))
    assert (ones.norm.weight == 1).all()
    scales = torch.cat([module.weight for module in uniform.modules() if isinstance(module, torch.nn.BatchNorm2d)])
    assert 0 <= scales.min() < 0.1 and 0.9 < scales.max() < 1
    assert torch.equal(ones.stem.weight, uniform.stem.weight)
