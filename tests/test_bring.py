"""Networks of the user's own: constructing, reading, pruning and measuring them, and the config's entries."""

import json
import os
import pickle
import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.nn.utils import prune

from workflow_scripts.networks.architectures import weights_of
from workflow_scripts.networks.checkpoints import save_network
from workflow_scripts.networks.constructors import build, construct, load_network, show_picture
from workflow_scripts.networks.import_network import import_network
from workflow_scripts.networks.masks import masks_of_zeros, read_masks
from workflow_scripts.networks.pruning import full_masks
from workflow_scripts.networks.torchvision_models import models, transforms
from workflow_scripts.networks.weights import load_weights
from workflow_scripts.plan.class_order import list_classes
from workflow_scripts.plan.own_networks import matches, read_networks, read_presets, source_of
from workflow_scripts.shared.files import UserError
from workflow_scripts.train.measure_network import measure_accuracy
from workflow_scripts.train.prune_once import METHODS, prune_once

NO_ONE_SHOT = {"methods": [], "densities": [0.5], "exempt": []}
VIEW = {"size": 12, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
HERE = f"{__name__}:small"
MASK = torch.ones(4, 3, 3, 3)


def small(width: int = 4, classes: int = 3) -> nn.Module:
    """What a user's constructor could be."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 6, 3, groups=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes),
    )  # fmt: skip


class Bringing:
    """A constructor below a class, which may bring weights, or another network."""

    @staticmethod
    def maker(pretrained: bool = False, other: bool = False) -> nn.Module:
        network = small()
        if pretrained:
            nn.init.constant_(network[0].weight, 0.25)
        return nn.Sequential(network, nn.Softmax(1)) if other else network


def none() -> None:
    """A constructor that makes no network."""


def leaves() -> nn.Module:
    """A constructor that ends the process."""
    raise SystemExit(0)


def loads(path: str) -> nn.Module:
    """A constructor that would unpickle anything."""
    torch.load(path, weights_only=False)
    return small()


def drawn(seed: int = 0, **arguments: int) -> nn.Module:
    return construct(HERE, arguments, seed)


def saved(folder: Path, network: nn.Module, name: str = "weights.pt") -> Path:
    torch.save(network.state_dict(), folder / name)
    return folder / name


def test_a_constructor_is_called_with_its_arguments_and_its_weights_follow_from_the_seed():
    network = construct(f"{__name__}:Bringing.maker", {"pretrained": True}, seed=3)
    assert (network[0].weight == 0.25).all() and not network.training
    assert torch.equal(network[7].weight, drawn(3)[7].weight)
    assert not torch.equal(network[7].weight, drawn(4)[7].weight)
    assert drawn(width=8)[0].out_channels == 8
    assert build({"constructor": HERE, "arguments": {"classes": 5}}, 2, 0)[7].out_features == 5


@pytest.mark.parametrize(
    ("constructor", "arguments", "words"),
    [
        ("no_such_package.models:small", {}, "no_such_package.models:small cannot be imported"),
        (f"{__name__}:larger", {}, r"larger cannot be imported \(AttributeError"),
        (HERE, {"depth": 3}, r"small failed with \{'depth': 3\} \(TypeError: .*depth"),
        (f"{__name__}:leaves", {}, r"leaves failed with \{\} \(SystemExit"),
        (f"{__name__}:none", {}, "none returns a NoneType, not a torch.nn.Module"),
    ],
)
def test_a_constructor_that_does_not_do_is_told(constructor, arguments, words):
    with pytest.raises(UserError, match=words):
        construct(constructor, arguments, 0)


def test_a_constructor_that_fails_is_told_with_the_place(tmp_path, monkeypatch):
    (tmp_path / "user_code.py").write_text("def broken():\n    return [][1]\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"IndexError: .*user_code.py, line 2\)"):
        construct("user_code:broken", {}, 0)


class Code:
    """What a hostile file of weights holds: it runs when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_network_that_does_not_take_the_picture_is_told():
    with pytest.raises(UserError, match=r"does not take a picture of 2 x 2 pixels .*\(RuntimeError"):
        show_picture(drawn(), 2)
    with pytest.raises(UserError, match="in single precision"):
        show_picture(drawn().half(), 12)


@pytest.mark.parametrize("old_format", [True, False])
def test_a_file_that_holds_code_is_refused_and_the_code_does_not_run(tmp_path, old_format):
    torch.save({"model": Code(tmp_path / "ran")}, tmp_path / "evil.pt", _use_new_zipfile_serialization=not old_format)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Code(tmp_path / "ran")))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(UserError, match=rf"{name} (holds .*mkdir, as a whole network or other object|is damaged)"):
            load_weights(drawn(), tmp_path / name)
        with pytest.raises(UserError, match=name):
            read_masks(drawn(), tmp_path / name)
        with pytest.raises(UserError, match="failed with"):  # nor by a constructor that asks for it
            construct(f"{__name__}:loads", {"path": str(tmp_path / name)}, 0)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UserError, match="mkdir"):
        load_weights(drawn(), tmp_path / "evil.pt")


def test_weights_are_found_in_what_people_save(tmp_path):
    origin = drawn(1)
    state = origin.state_dict()
    wrapped = {f"module.model.{name}": tensor for name, tensor in state.items()}
    files = {
        "plain.pt": state,
        "checkpoint.pt": {
            "epoch": 9,
            "best": 0.5,
            "state_dict": wrapped,
            "optimizer": {"state": {}, "param_groups": []},
        },
        "ours.pt": {"model": state, "masks": {"0": torch.ones(4, 3, 3, 3, dtype=torch.bool)}, "lineage": ""},
        "odd.pt": {"weights": state, "arguments": ["a", 1, None]},
        "old.pt": {name: tensor for name, tensor in state.items() if "num_batches" not in name},
    }
    for name, contents in files.items():
        torch.save(contents, tmp_path / name)
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    for name in [*files, "weights.safetensors"]:
        network = drawn(2)
        assert load_weights(network, tmp_path / name).keys() == ({"0"} if name == "ours.pt" else set())
        assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())


def test_pruned_by_torch_weights_are_multiplied_out_and_masks_found(tmp_path):
    origin = drawn(1)
    for place in (0, 3):
        prune.l1_unstructured(origin[place], "weight", amount=0.5)
    prune.l1_unstructured(origin[1], "weight", amount=1)  # of batch-norm: multiplied out, but no mask of ours
    torch.save(origin.state_dict(), tmp_path / "pruned.pt")
    network = drawn(2)
    masks = load_weights(network, tmp_path / "pruned.pt")
    assert masks.keys() == {"0", "3"} and all(mask.dtype == torch.bool for mask in masks.values())
    assert torch.equal(network[1].weight, origin[1].weight)
    for name, mask in masks.items():
        assert torch.equal(network[int(name)].weight, origin[int(name)].weight)
        assert mask.sum() == mask.numel() / 2 and (network[int(name)].weight[~mask] == 0).all()


class Attending(nn.Module):
    """Attention over a picture's pixels, between a transposed convolution and the classes."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.up = nn.ConvTranspose2d(3, 8, 2)
        self.attention = nn.MultiheadAttention(8, 2)
        self.classes = nn.Linear(8, 3)


def test_masks_of_attention_are_found_in_all_kinds_of_files(tmp_path):
    origin = Attending()
    prune.l1_unstructured(origin.attention, "in_proj_weight", amount=0.5)
    torch.save(origin.state_dict(), tmp_path / "pruned.pt")
    network = Attending()
    masks = load_weights(network, tmp_path / "pruned.pt")
    kept = masks.pop("attention.in_proj_weight")
    assert not masks and int(kept.sum()) == 3 * 8 * 8 / 2
    assert torch.equal(network.attention.in_proj_weight, origin.attention.in_proj_weight)
    torch.save({"attention.in_proj_weight": kept, "attention.out_proj.weight": torch.ones(8, 8)}, tmp_path / "masks.pt")
    masks = read_masks(network, tmp_path / "masks.pt")
    assert masks.keys() == {"attention.in_proj_weight", "attention.out_proj"}
    assert torch.equal(masks["attention.in_proj_weight"], kept)
    zeros = masks_of_zeros(network)  # the token, which is zero, has not been pruned
    assert zeros.keys() == {"up", "attention.in_proj_weight", "attention.out_proj", "classes"}
    assert torch.equal(zeros["attention.in_proj_weight"], kept)


def test_whole_filters_of_attention_are_rows_and_of_transposed_convolutions_columns():
    network = Attending()
    before = {name: weight.tensor.detach().clone() for name, weight in weights_of(network).items()}
    masks = prune_once(network, {}, "structured", 0.25, [], 0)
    assert masks.keys() == {"up", "attention.in_proj_weight", "attention.out_proj", "classes"}
    assert masks["classes"].all()
    for name, along, count in (("up", 1, 2), ("attention.in_proj_weight", 0, 6), ("attention.out_proj", 0, 2)):
        norms = [float(part.abs().sum()) for part in before[name].unbind(along)]
        best = sorted(range(len(norms)), key=lambda number, norms=norms: -norms[number])[:count]
        for number, part in enumerate(masks[name].unbind(along)):
            assert part.all() if number in best else not part.any()


def test_weights_of_another_architecture_are_told_by_what_differs(tmp_path):
    state = drawn().state_dict()
    cases = {
        "lacks 0.bias": {name: tensor for name, tensor in state.items() if name != "0.bias"},
        r"lacks 0.bias and has 0.norm, which": {name.replace("0.bias", "0.norm"): t for name, t in state.items()},
        r"7.weight is 5 x 6, and the network's 3 x 6": drawn(classes=5).state_dict(),
        # A prefix is no reason to call all names different.
        r"has extra.weight, which": {f"module.{n}": t for n, t in (state | {"extra.weight": torch.ones(1)}).items()},
        r"lacks 0.bias, 0.weight, 1.bias, 1.running_mean and 6 more and has a, b": {
            "a": torch.ones(1),
            "b": torch.ones(1),
        },
    }
    for words, contents in cases.items():
        torch.save(contents, tmp_path / "other.pt")
        with pytest.raises(UserError, match=f"other.pt is of another architecture.*{words}"):
            load_weights(drawn(), tmp_path / "other.pt")


def test_files_that_are_no_weights_are_told(tmp_path):
    torch.save(torch.ones(3), tmp_path / "tensor.pt")
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    state = drawn().state_dict()
    torch.save({"student": state, "teacher": state}, tmp_path / "two.pt")
    torch.save({0: torch.ones(1)}, tmp_path / "numbers.pt")
    torch.save(state | {"0.bias": torch.full((4,), torch.nan)}, tmp_path / "nan.pt")
    (tmp_path / "cut.pt").write_bytes(saved(tmp_path, drawn()).read_bytes()[:900])
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    for name, words in {
        "tensor.pt": "holds a Tensor, not a dict of tensors by name",
        "none.pt": "should hold a state dict and holds none, only epoch",
        "two.pt": "holds the network several times: add to this network one of part: student, part: teacher",
        "numbers.pt": "lacks 0.bias, .* and has 0, which",
        "nan.pt": "nan.pt: 0.bias holds what is not finite",
        "cut.pt": "cut.pt is damaged",
        "cut.safetensors": "cut.safetensors is damaged",
        "nowhere.pt": "nowhere.pt is missing",
    }.items():
        with pytest.raises(UserError, match=words):
            load_weights(drawn(), tmp_path / name)


def test_masks_go_by_the_name_of_the_layer_or_of_its_weight(tmp_path):
    network = drawn()
    mask = torch.rand(network[0].weight.shape) < 0.5
    for name, contents in enumerate(
        ({"0": mask}, {"0.weight": mask.int()}, {"model.0.weight": mask.float()}, {"masks": {"0": mask}, "model": {}})
    ):
        torch.save(contents, tmp_path / f"{name}.pt")
        masks = read_masks(network, tmp_path / f"{name}.pt")
        assert masks.keys() == {"0"} and masks["0"].dtype == torch.bool and torch.equal(masks["0"], mask)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"0.weight": torch.ones(4, 3, 3, 2)}, "the mask of 0 is 4 x 3 x 3 x 2, and its weight 4 x 3 x 3 x 3"),
        ({"0.weight": torch.full((4, 3, 3, 3), 2.0)}, "the mask of 0 holds numbers other than 0 and 1"),
        ({"0": MASK, "5": MASK}, "a mask for 5, and the network has no such weight .*: name the masks after 0, 3, 7"),
        ({"1.weight": torch.ones(4)}, "masks of biases and the like alone: name the masks after 0, 3, 7"),
        ({"0": MASK, "1.weight": torch.zeros(4)}, "the mask of 1.weight prunes a bias"),
        ({"0": MASK, "1.weight": torch.ones(())}, "the mask of 1.weight is a number, and its weight 4"),
        ({"0": MASK, "0.weight_mask": MASK, "0.mask": MASK}, "two masks of 0, one called 0.mask: save"),
        ({"masks": 1}, "should hold masks"),
    ],
)
def test_masks_of_another_network_are_told(tmp_path, contents, words):
    torch.save(contents, tmp_path / "masks.pt")
    with pytest.raises(UserError, match=words):
        read_masks(drawn(), tmp_path / "masks.pt")


def test_imported_weights_are_masked_and_without_masks_zeros_count(tmp_path):
    origin = drawn(1)
    mask = torch.rand(origin[0].weight.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    torch.save({"0.weight": mask.int()}, tmp_path / "mask.pth")
    described = {"constructor": HERE, "arguments": {}}
    network, masks = import_network(described, str(saved(tmp_path, origin)), tmp_path / "mask.pth", 0, 12)
    assert torch.equal(network[0].weight, origin[0].weight * mask) and masks.keys() == {"0"}
    torch.save(network.state_dict(), tmp_path / "zeros.pt")
    again, zeros = import_network(described, str(tmp_path / "zeros.pt"), None, 0, 12)
    assert zeros.keys() == weights_of(again).keys() and torch.equal(zeros["0"], mask) and zeros["3"].all()

    (tmp_path / "sparsity_report.json").write_text(json.dumps({"total": mask.numel(), "unpruned": int(mask.sum())}))
    import_network(described, str(tmp_path / "weights.pt"), tmp_path / "mask.pth", 0, 12)
    (tmp_path / "sparsity_report.json").write_text(json.dumps({"total": mask.numel(), "unpruned": 1}))
    with pytest.raises(UserError, match=r"mask.pth keeps \d+ of 108 weights, and .*sparsity_report.json says 1 of 108"):
        import_network(described, str(tmp_path / "weights.pt"), tmp_path / "mask.pth", 0, 12)
    (tmp_path / "sparsity_report.json").write_text("{")
    with pytest.raises(UserError, match=r"sparsity_report.json does not say"):
        import_network(described, str(tmp_path / "weights.pt"), tmp_path / "mask.pth", 0, 12)


def test_a_constructors_own_weights(tmp_path):
    described = {"constructor": f"{__name__}:Bringing.maker", "arguments": {}}
    network, masks = import_network(described, {"pretrained": True}, None, 0, 12)
    assert (network[0].weight == 0.25).all() and all(mask.all() for mask in masks.values())
    # A network that is another one besides its weights would be rebuilt wrongly.
    with pytest.raises(UserError, match=r"builds another network with \{'other': True\} than without"):
        import_network(described, {"other": True}, None, 0, 12)
    # What is kept can be loaded again, and is the same to the bit.
    save_network(tmp_path / "network.pt", network, masks)
    again, kept = load_network(tmp_path / "network.pt", described)
    assert all(
        torch.equal(a, b) for a, b in zip(again.state_dict().values(), network.state_dict().values(), strict=True)
    )
    assert kept.keys() == masks.keys()
    with pytest.raises(UserError, match=r"another architecture.*7.weight is 3 x 6, and the network's 7 x 6"):
        load_network(tmp_path / "network.pt", {"constructor": HERE, "arguments": {"classes": 7}})


densities = st.floats(0.02, 0.98)


@settings(max_examples=30, deadline=None)
@given(density=densities, seed=st.integers(0, 99))
def test_pruning_keeps_just_the_share_asked_for_and_the_right_ones(density, seed):
    weights = {name: weight.tensor.detach().clone() for name, weight in weights_of(drawn(seed)).items()}
    count = sum(weight.numel() for weight in weights.values())
    for method in ("global", "random"):
        network = drawn(seed)
        if round(density * count) == 0:
            continue
        masks = prune_once(network, full_masks(network, []), method, density, [], seed)
        assert sum(int(mask.sum()) for mask in masks.values()) == round(density * count)
        for name, weight in weights_of(network).items():
            assert torch.equal(weight.tensor, weights[name] * masks[name])
        if method == "global":
            kept = torch.cat([weights[name].abs()[mask] for name, mask in masks.items()])
            gone = torch.cat([weights[name].abs()[~mask] for name, mask in masks.items()])
            assert kept.min() >= gone.max()
    masks = prune_once(drawn(seed), {}, "layerwise", max(density, 0.1), [], seed)
    for name, mask in masks.items():
        assert int(mask.sum()) == round(max(density, 0.1) * mask.numel())
        assert not mask.any() or mask.all() or weights[name].abs()[mask].min() >= weights[name].abs()[~mask].max()


@settings(max_examples=20, deadline=None)
@given(density=densities)
def test_structured_pruning_takes_whole_filters_of_the_smallest_norm(density):
    network = drawn(width=8)
    before = {name: weight.tensor.detach().clone() for name, weight in weights_of(network).items()}
    masks = prune_once(network, {}, "structured", density, [], 0)
    assert masks["7"].all()  # the classes
    for name in ("0", "3"):
        filters = masks[name].flatten(1)
        assert (filters.all(1) | ~filters.any(1)).all()
        assert int(filters.all(1).sum()) == max(1, round(density * len(filters)))
        norms = [sum(abs(value) for value in weight.flatten().tolist()) for weight in before[name]]
        kept = [norm for norm, stays in zip(norms, filters.all(1), strict=True) if stays]
        gone = [norm for norm, stays in zip(norms, filters.all(1), strict=True) if not stays]
        assert not gone or min(kept) >= max(gone)


@settings(max_examples=20, deadline=None)
@given(one=densities, other=densities, method=st.sampled_from(sorted(METHODS)))
def test_a_sparser_network_keeps_a_part_of_what_a_denser_one_keeps(one, other, method):
    low, high = (prune_once(drawn(), {}, method, max(density, 0.2), [], 5) for density in sorted((one, other)))
    assert all((high[name] | ~mask).all() for name, mask in low.items())


def test_random_pruning_follows_from_the_seed():
    first, same, other = (prune_once(drawn(), {}, "random", 0.5, [], seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("density", [0.2, 0.45, 0.9])
def test_what_a_parent_has_pruned_stays_so_and_does_not_count(method, density):
    network = drawn(width=8)
    parent = prune_once(network, {}, "global", 0.5, [], 0)
    masks = prune_once(network, parent, method, density, [], 3)
    assert all((parent[name] | ~mask).all() for name, mask in masks.items())
    assert all(torch.equal(weight.tensor != 0, masks[name]) for name, weight in weights_of(network).items())
    kept, count = (
        sum(int(number) for number in numbers)
        for numbers in zip(*[(m.sum(), m.numel()) for m in masks.values()], strict=True)
    )
    if method in ("global", "random"):
        assert kept == min(round(density * count), round(0.5 * count))
    assert kept <= round(0.5 * count)


def test_exempt_layers_are_not_pruned_and_nothing_left_is_told():
    network = drawn()
    masks = prune_once(network, {}, "global", 0.1, ["7"], 0)
    assert masks.keys() == {"0", "3"} and network[7].weight.all()
    with pytest.raises(UserError, match=r"one_shot.densities: at 0.0001 no weight would be left"):
        prune_once(drawn(), {}, "global", 0.0001, [], 0)
    with pytest.raises(UserError, match=r"'8' matches no layer"):
        prune_once(drawn(), {}, "global", 0.5, ["8"], 0)
    # With the classes exempt, the last layer that is left is pruned all the same.
    masks = prune_once(drawn(), {}, "structured", 0.5, ["7"], 0)
    assert masks.keys() == {"0", "3"} and masks["3"].float().mean() == 0.5


class Brightest(nn.Module):
    """Classifies a picture by its brightest channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def class_folders(folder: Path) -> Path:
    """Pictures of three colours, one of nine in the wrong folder, of various sizes; the middle decides."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("blue", "green", "red")):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            height, width = rng.integers(16, 40, 2)
            picture = np.full((height, width, 3), 20, np.uint8)
            wrong = name == "green" and number == 2
            picture[height // 4 : -height // 4, width // 4 : -width // 4, 0 if wrong else label] = 220
            Image.fromarray(picture).save(folder / name / f"{number}.png")
    return folder


def test_accuracy_is_of_the_middle_of_each_picture_as_torchvision_cuts_it(tmp_path):
    folder = class_folders(tmp_path / "pictures")
    view = VIEW | {"resize": 14, "interpolation": "bicubic"}
    assert measure_accuracy(Brightest(), folder, view, workers=2) == 8 / 9

    shown = []
    network = Brightest()
    network.register_forward_pre_hook(lambda _module, inputs: shown.append(inputs[0]))
    measure_accuracy(network, folder, view, workers=1)
    interpolation = transforms.InterpolationMode.BICUBIC
    reference = transforms.Compose(
        [
            transforms.Resize(14, interpolation),
            transforms.CenterCrop(12),
            transforms.ToTensor(),
            transforms.Normalize(VIEW["mean"], VIEW["std"]),
        ]
    )
    paths = sorted(folder.rglob("*.png"))
    expected = torch.stack([reference(Image.open(path)) for path in paths])
    assert torch.allclose(torch.cat(shown), expected, atol=1e-5)


def test_accuracy_on_other_classes_is_refused(tmp_path):
    folder = class_folders(tmp_path / "pictures")
    with pytest.raises(UserError, match=r"has 3 class folders, and the network's output is \(9, 5\)"):
        measure_accuracy(drawn(classes=5), folder, VIEW | {"resize": 12, "interpolation": "bilinear"}, workers=1)


class Darkest(nn.Module):
    """Class n is a grey of 20 n."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grey = (x.mean((1, 2, 3)) * 0.25 + 0.5) * 255
        return -(grey[:, None] - 20 * torch.arange(12)).abs()


def greys(folder: Path) -> Path:
    """Class folders 0 to 11, a picture each."""
    for number in range(12):
        (folder / str(number)).mkdir(parents=True)
        Image.fromarray(np.full((16, 16, 3), 20 * number, np.uint8)).save(folder / f"{number}/x.png")
    return folder


def test_class_n_is_the_folder_that_class_order_says_it_is(tmp_path):
    folder = greys(tmp_path / "pictures")
    view = VIEW | {"resize": 12, "interpolation": "bilinear"}
    names = [str(number) for number in range(12)]
    for order, accuracy in (("number", 1), (names, 1), ("text", 2 / 12), (names[::-1], 0)):
        assert measure_accuracy(Darkest(), folder, view, 1, order) == pytest.approx(accuracy), order
    words = "from class 2 on the class folders of .*pictures are 10, 11, 2, ... as text, .*ImageFolder .* 2, 3, 4, ..."
    with pytest.raises(UserError, match=words):
        measure_accuracy(Darkest(), folder, view, 1)
    with pytest.raises(UserError, match=f"config: networks.mine.class_order is missing: {words}"):
        networks(entry(test=str(folder)))
    assert networks(entry(test=str(folder), class_order="number"))["mine", 1, 0].entry.class_order == "number"
    for wrong, words in (
        (names[:11], "networks.mine.class_order lacks '11', a class folder"),
        ([*names[:11], "12"], "networks.mine.class_order names '12', and there is no such class folder"),
        ([*names, "3"], "networks.mine.class_order names '3' more than once"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            networks(entry(test=str(folder), class_order=wrong))
    with pytest.raises(UserError, match=r"networks.mine.test is .*, which holds 0 class folders"):
        networks(entry(test=str(folder / "0")))


@pytest.mark.parametrize(
    ("by_text", "by_number"),
    [
        (["class_10", "class_2"], ["class_2", "class_10"]),
        (["Banana", "apple"], ["apple", "Banana"]),
        (["1", "x10", "x9"], ["1", "x9", "x10"]),
        (["\u0661\u0660", "\u0662"], ["\u0662", "\u0661\u0660"]),  # 10 and 2 in Arabic-Indic digits
        (["00", "01", "11"],) * 2,
        (["n01440764", "n01443537"],) * 2,
        (["a", "b1", "b2 (v10)", "b2 (v20)"],) * 2,
        (["blue", "green", "red"],) * 2,
        (["0", "00"],) * 2,
    ],
)
def test_orders_of_class_folders(tmp_path, by_text, by_number):
    from torchvision.datasets.folder import find_classes  # only after torchvision_models

    for name in by_text:
        (tmp_path / name).mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "labels.txt").touch()
    assert list_classes(tmp_path, "text") == tuple(find_classes(tmp_path)[0][1:]) == tuple(by_text)
    assert list_classes(tmp_path, "number") == tuple(by_number)
    if by_text == by_number:
        assert list_classes(tmp_path, None) == tuple(by_text)
    else:
        with pytest.raises(UserError, match="class_order is missing"):
            list_classes(tmp_path, None)


def entry(**changes: object) -> dict:
    return {"name": "mine", "constructor": HERE, "weights": "none", "layers": ["3"], "preprocessing": VIEW} | changes


def networks(*entries: dict, **one_shot: object) -> dict:
    return read_networks({"networks": list(entries), "one_shot": NO_ONE_SHOT | one_shot})


def test_an_entry_has_its_floors_and_its_one_shot_arms(tmp_path):
    weights = str(saved(tmp_path, drawn()))
    found = networks(entry(weights=weights), methods=["global", "random"], densities=[0.5, 0.1])
    assert {key: network.role for key, network in found.items()} == {
        ("mine", 1, 0): "imported",
        ("mine_untrained", 1, 0): "imported",
        ("mine_shuffled_labels", 1, 0): "shuffled",
        ("mine_global", 1, 0): "same",
        ("mine_global", 1, 1): "pruned",
        ("mine_global", 1, 2): "pruned",
        ("mine_random", 1, 0): "same",
        ("mine_random", 1, 1): "pruned",
        ("mine_random", 1, 2): "pruned",
    }
    assert found["mine", 1, 0].weights == weights and found["mine_untrained", 1, 0].weights is None
    assert [found["mine_random", 1, level].density for level in (1, 2)] == [0.5, 0.1]
    assert all(network.parent == ("mine", 1, 0) for key, network in found.items() if network.role != "imported")
    assert found["mine", 1, 0].entry.preprocessing == VIEW | {"resize": 12, "interpolation": "bilinear"}
    assert list(networks(entry(weights=weights, floors=[]))) == [("mine", 1, 0)]
    # An untrained network is its own floor.
    assert list(networks(entry(floors=["untrained"]))) == [("mine", 1, 0)]
    assert networks() == {}


def test_files_of_many_replicates_and_levels_are_found_by_a_pattern(tmp_path):
    for replicate, level in ((1, 0), (1, 10), (2, 0), (2, 3)):
        folder = tmp_path / f"run_{replicate}"
        folder.mkdir(exist_ok=True)
        saved(folder, drawn(), f"run_{replicate}_level_{level}.pt")
        torch.save({}, folder / f"mask_{level}.pt")
    (tmp_path / "run_1" / "run_2_level_0.pt").touch()  # the folder says otherwise
    (tmp_path / "run_x").mkdir()
    pattern = f"{tmp_path}/run_{{replicate}}/run_{{replicate}}_level_{{level}}.pt"
    masks = f"{tmp_path}/run_{{replicate}}/mask_{{level}}.pt"
    found = networks(entry(weights=pattern, masks=masks, floors=["untrained"]), methods=["global"])
    assert [key for key in found if key[0] == "mine"] == [
        ("mine", 1, 0),
        ("mine", 1, 10),
        ("mine", 2, 0),
        ("mine", 2, 3),
    ]
    assert found["mine", 1, 10].masks == f"{tmp_path}/run_1/mask_10.pt"
    assert [key for key in found if key[0] == "mine_untrained"] == [("mine_untrained", 1, 0), ("mine_untrained", 2, 0)]
    assert found["mine_global", 2, 1].parent == ("mine", 2, 0)
    (tmp_path / "run_2" / "mask_3.pt").unlink()
    with pytest.raises(UserError, match=r"networks.mine.masks: there is no file .*run_2/mask_3.pt"):
        networks(entry(weights=pattern, masks=masks))
    with pytest.raises(UserError, match=r"networks.mine.weights is .*level_\{level\}.pth', and there is no such file"):
        networks(entry(weights=pattern + "h"))


def test_weights_may_be_the_constructors_own():
    found = networks(entry(weights={"pretrained": True}), methods=["global"])
    assert found["mine", 1, 0].weights == {"pretrained": True}
    assert found["mine_untrained", 1, 0].weights is None and ("mine_global", 1, 1) in found


def test_entries_of_one_name_are_one_arm(tmp_path):
    weights = str(saved(tmp_path, drawn()))
    found = networks(
        entry(weights=weights, level=3, density=0.1), entry(weights=weights), methods=["random"], densities=[0.5]
    )
    assert list(found) == [
        ("mine", 1, 0),
        ("mine", 1, 3),
        ("mine_untrained", 1, 0),
        ("mine_shuffled_labels", 1, 0),
        ("mine_random", 1, 0),
        ("mine_random", 1, 1),
    ]
    assert found["mine", 1, 3].density == 0.1 and found["mine", 1, 0].density is None
    with pytest.raises(UserError, match="entries of the name mine differ in more than weights"):
        networks(entry(weights=weights), entry(weights=weights, level=1, layers=["2"]))


@settings(max_examples=50, deadline=None)
@given(name=st.text(st.sampled_from("ab[]*?.{}"), max_size=6))
def test_other_characters_of_a_pattern_mean_themselves(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("pattern")
    (folder / f"x{name}7.pt").touch()
    (folder / "xother7.pt").touch()
    assert matches(f"{folder}/x{name}{{level}}.pt", "key") == {f"{folder}/x{name}7.pt": {"level": "7"}}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([entry(), entry()], "arm mine, replicate 1, level 0 is named twice"),
        ([entry(name="imp")], "the name imp means something else"),
        ([entry(name="gallery")], "the name gallery means something else"),
        ([entry(name="untrained")], "the name untrained means something else"),
        ([entry(density=0.5, weights="{level}.pt")], "networks.mine.density is of one file without masks"),
        ([entry(density=0.5, masks="masks.pt")], "networks.mine.density is of one file without masks"),
        ([entry(arguments={"day": date(2026, 1, 1)})], "networks.mine.arguments hold more than numbers"),
        ([entry(preprocessing=VIEW | {"resize": 6})], "networks.mine.preprocessing.resize must be at least size, 12"),
        ([entry(preprocessing="R3D_18_Weights.DEFAULT")], "which is no preset of torchvision's for classifying"),
        ([entry(name="a_shuffled_labels")], "a_shuffled_labels means something else"),
        ([entry(masks="no/such.pt")], "networks.mine.masks: there is no file no/such.pt"),
        ([entry(weights="no/such.pt")], "networks.mine.weights is 'no/such.pt', and there is no such file"),
        ([entry(class_order="text")], "networks.mine.class_order is the order of the class folders in test, which is"),
        ([entry(part="ema", weights="none")], "networks.mine.part is of a file of weights: leave it out"),
        ([entry(missing=["0"], weights={"a": 1})], "networks.mine.missing is of a file of weights: leave it out"),
        ([entry(test="no/such")], "networks.mine.test is 'no/such', and there is no such folder"),
        ([entry(preprocessing="ResNet50_Weights.V9")], "'ResNet50_Weights.V9', which is no preset"),
        ([entry(preprocessing="FCN_ResNet50_Weights.DEFAULT")], "which is no preset of torchvision's for classifying"),
        ([{"name": "l", "openlth": "no/lottery", "layers": ["a"]}], "there is no folder no/lottery"),
    ],
)
def test_wrong_entries_are_told_before_anything_runs(entries, words):
    with pytest.raises(UserError, match=re.escape(words)):
        networks(*entries)


def test_what_cannot_be_measured_without_weights_that_are_missing_is_told(tmp_path):
    weights = str(saved(tmp_path, drawn()))
    for name in ("test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"networks\.mine\.missing leaves weights .*: leave out test"):
        networks(entry(weights=weights, missing=["7"], test=str(tmp_path / "test")))
    for layer in ("0", "0.conv", "0@4x4", "0#2"):
        with pytest.raises(UserError, match=rf"networks\.mine\.layers: {layer} is among the missing"):
            networks(entry(weights=weights, missing=["0"], layers=[layer]))
    reading = {"part": "ema", "missing": ["0"], "unused": ["aux"]}
    found = networks(entry(weights=weights, layers=["01"], **reading))
    assert found["mine", 1, 0].reading == reading
    assert found["mine_untrained", 1, 0].reading == {}


def test_an_entry_may_not_be_called_as_an_arm_that_follows_from_another(tmp_path):
    weights = str(saved(tmp_path, drawn()))
    for name in ("a_global", "a_untrained"):
        with pytest.raises(UserError, match=f"the name {name} is that of an arm that follows from a"):
            networks(entry(name="a", weights=weights), entry(name=name, level=7), methods=["global"])
    with pytest.raises(UserError, match=r"one_shot.methods prune the networks of your own, and networks names none"):
        networks(methods=["global"])


def test_digits_of_file_names_are_kept(tmp_path):
    for level in (0, 1, 10):
        saved(tmp_path, drawn(), f"z_{level:02}.pt")
        torch.save({}, tmp_path / f"mask_{level:02}.pt")
    found = networks(entry(weights=f"{tmp_path}/z_{{level}}.pt", masks=f"{tmp_path}/mask_{{level}}.pt", floors=[]))
    assert {key[2]: (network.weights, network.masks) for key, network in found.items()} == {
        level: (f"{tmp_path}/z_{level:02}.pt", f"{tmp_path}/mask_{level:02}.pt") for level in (0, 1, 10)
    }
    saved(tmp_path, drawn(), "z_1.pt")
    torch.save({}, tmp_path / "mask_1.pt")
    with pytest.raises(UserError, match="level 1 is named twice"):
        networks(entry(weights=f"{tmp_path}/z_{{level}}.pt", masks=f"{tmp_path}/mask_{{level}}.pt"))


def test_a_preset_of_torchvisions_says_how_pictures_are_prepared():
    found = networks(entry(preprocessing="EfficientNet_B1_Weights.IMAGENET1K_V1", floors=[]))["mine", 1, 0]
    assert found.entry.preprocessing == {
        "size": 240,
        "resize": 256,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "interpolation": "bicubic",
    }


def test_the_table_of_presets_is_torchvisions():
    presets = [
        (f"{weights.__name__}.{name}", weight.transforms())
        for weights in map(models.get_model_weights, models.list_models(module=models))
        for name, weight in weights.__members__.items()
    ]
    assert read_presets() == {
        name: {
            "size": preset.crop_size[0],
            "resize": preset.resize_size[0],
            "mean": list(preset.mean),
            "std": list(preset.std),
            "interpolation": preset.interpolation.value,
        }
        for name, preset in presets
    }


def test_the_code_of_a_constructor_is_found_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "some_package" / "models"
    package.mkdir(parents=True)
    for file, text in {
        package.parent / "__init__.py": "raise RuntimeError('imported')",
        package / "resnet.py": "two = 2",
        package / "blocks.py": "three = 3",
        tmp_path / "plain.py": "raise RuntimeError('imported')",
    }.items():
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    names = ("some_package.models.resnet:a.b", "plain:a")
    before = [source_of(name) for name in names]
    (package / "blocks.py").write_text("three = 4")  # which resnet may import
    (tmp_path / "plain.py").touch()
    after = [source_of(name) for name in names]
    assert all(before) and after[0] != before[0] and after[1] == before[1]
    (package.parent / "__init__.py").unlink()  # a package without it
    (tmp_path / "plain.py").write_text("other")
    last = [source_of(name) for name in names]
    assert last[0] not in (before[0], after[0], "") and last[1] != before[1]
    assert source_of("no_such_package.models:a") == ""


def test_of_installed_packages_and_of_this_workflow_the_module_alone_counts(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "installed"
    package.mkdir(parents=True)
    (package / "models.py").write_text("one = 1")
    (package / "other.py").write_text("two = 2")
    monkeypatch.syspath_prepend(package.parent)
    before = source_of("installed.models:a")
    (package / "other.py").write_text("two = 3")
    assert before == source_of("installed.models:a") != source_of("installed.other:a")
    assert (
        source_of("workflow_scripts.networks.openlth_models:cifar_vgg")
        != source_of("workflow_scripts.shared.files:x")
        != ""
    )
