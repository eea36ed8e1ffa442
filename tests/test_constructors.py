"""Building networks from their constructors, and what a network needs to be trained."""

from itertools import pairwise

import pytest
import torch
from conftest import NETWORK
from small_networks import HERE, drawn
from torch import nn

from workflow_scripts.networks.constructors import (
    black_pictures,
    build,
    draw_norm_scales,
    require_trainable,
    show_picture,
    takes_classes,
)
from workflow_scripts.networks.torchvision_models import models
from workflow_scripts.shared.files import UserError


def none() -> None:
    """A constructor that does not make a network."""


def leaves() -> nn.Module:
    """A constructor that ends the process."""
    raise SystemExit(0)


def of_keywords(**arguments: int) -> nn.Module:
    """A constructor that takes any argument, like timm's."""
    return nn.Linear(2, arguments.get("num_classes", 3))


def of_position(num_classes: int = 3, /) -> nn.Module:
    """A constructor that takes no argument by name."""
    return nn.Linear(2, num_classes)


def flat(num_classes: int) -> nn.Module:
    """A network that relies on its maps' layout in memory."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), View(), nn.Linear(400, num_classes))


class View(nn.Module):
    """Flattens maps by `view`, which fails if channels are last in memory."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(len(x), -1)


class Auxiliary(nn.Module):
    """A network that returns more in training."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        x = self.conv(x).mean((2, 3))
        return (x, x) if self.training else x


def settings(constructor: str, **arguments: object) -> dict:
    return {"constructor": constructor, "arguments": arguments}


def own(name: str, **arguments: object) -> dict:
    return settings(f"{__name__}:{name}", **arguments)


def test_a_constructor_is_called_with_its_arguments_and_its_weights_follow_from_the_seed():
    network = build(settings("small_networks:Bringing.maker", pretrained=True), None, seed=3)
    assert (network[0].weight == 0.25).all() and not network.training
    assert torch.equal(network[7].weight, drawn(3)[7].weight)
    assert not torch.equal(network[7].weight, drawn(4)[7].weight)
    assert drawn(width=8)[0].out_channels == 8


@pytest.mark.parametrize(
    ("described", "takes", "outputs"),
    [
        (settings(HERE, classes=5), False, 5),
        (own("of_keywords"), True, 7),
        (own("of_keywords", num_classes=4), False, 4),
        (own("of_position"), False, 3),
        (settings("torchvision.models:resnet18"), True, 7),
    ],
)
def test_the_number_of_classes_is_passed_to_constructors_that_take_it(described, takes, outputs):
    network = build(described, 7, seed=0)
    assert [module for module in network.modules() if isinstance(module, nn.Linear)][-1].out_features == outputs
    assert takes_classes(described) == takes


def test_without_a_number_of_classes_only_the_arguments_count():
    assert build(own("of_keywords"), None, seed=0).out_features == 3
    with pytest.raises(UserError, match="missing 1 required positional argument: 'num_classes'"):
        build(NETWORK, None, seed=0)


def drawn_anew(widths: list[int], classes: int) -> list[torch.Tensor]:
    """The weights of a small ResNet of one block in each stage, drawn layer by layer from torch's stream."""
    convolutions = [nn.Conv2d(3, widths[0], 3, bias=False)]
    for number, (before, width) in enumerate(pairwise([widths[0], *widths])):
        convolutions += [nn.Conv2d(before, width, 3, bias=False), nn.Conv2d(width, width, 3, bias=False)]
        convolutions += [nn.Conv2d(before, width, 1, bias=False)] if number else []  # where the stride is 2
    classifier = nn.Linear(widths[-1], classes)
    for convolution in convolutions:
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return [*(convolution.weight for convolution in convolutions), classifier.weight]


@pytest.mark.parametrize("norm_init", ["as_built", "uniform"])
def test_initial_weights_are_the_constructors_and_then_batch_norms_scales_are_drawn(norm_init):
    for described, classes in ((NETWORK, 4), (settings("torchvision.models:resnet18"), 6)):
        network = build(described | {"norm_init": norm_init, "source": "ignored"}, classes, seed=5)
        with torch.random.fork_rng():
            torch.manual_seed(5)
            if described is NETWORK:
                weights = drawn_anew([16, 16], classes)
            else:
                weights = [p for p in models.resnet18(num_classes=classes).parameters() if p.ndim > 1]
            norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
            scales = [torch.rand(len(norm.weight)) if norm_init == "uniform" else 1 for norm in norms]
        found = [parameter for parameter in network.parameters() if parameter.ndim > 1]
        assert all(torch.equal(one, other) for one, other in zip(found, weights, strict=True))
        assert all(parameter.is_contiguous(memory_format=torch.channels_last) for parameter in found[:-1])
        assert all((norm.weight == scale).all() for norm, scale in zip(norms, scales, strict=True))


def test_scales_are_drawn_for_every_kind_of_batch_norm_that_has_them():
    network = nn.Sequential(nn.BatchNorm1d(500), nn.BatchNorm3d(500), nn.BatchNorm2d(5, affine=False), nn.LayerNorm(5))
    draw_norm_scales(network)
    for norm in network[:2]:
        assert 0 <= norm.weight.min() < 0.1 and 0.9 < norm.weight.max() < 1
    assert network[2].weight is None and (network[3].weight == 1).all()


def test_building_does_not_change_torchs_random_stream():
    before = torch.random.get_rng_state()
    build(NETWORK | {"norm_init": "uniform"}, 4, seed=0)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("described", "words"),
    [
        (settings("no_such_package.models:small"), "no_such_package.models:small cannot be imported"),
        (own("larger"), r"larger cannot be imported \(AttributeError"),
        (settings(HERE, depth=3), r"small failed with \{'depth': 3\} \(TypeError: .*depth"),
        (own("leaves"), r"leaves failed with \{\} \(SystemExit"),
        (own("none"), "none returns a NoneType, not a torch.nn.Module"),
        (
            settings("torch.nn:Sequential", num_classes=3),
            r"failed with \{'num_classes': 3\} .*correct it or its arguments$",
        ),
        (own("flat", width=2), "failed with .*'num_classes': 7.*num_classes is the number of the pictures' classes"),
        (
            NETWORK | {"arguments": NETWORK["arguments"] | {"blocks": [1]}},
            "^small_resnet has 2 widths, 1 blocks, 2 strides and 2 inner widths: give one of each",
        ),
    ],
)
def test_a_constructor_that_cannot_be_used_is_refused(described, words):
    with pytest.raises(UserError, match=words):
        build(described, 7, 0)


def test_where_a_constructor_failed_is_part_of_the_message(tmp_path, monkeypatch):
    (tmp_path / "user_code.py").write_text("def broken():\n    return [][1]\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"IndexError: .*user_code.py, line 2\)"):
        build(settings("user_code:broken"), None, 0)


def test_a_network_that_does_not_accept_the_picture_is_refused():
    with pytest.raises(UserError, match=r"does not accept a picture of 2 x 2 pixels .*\(RuntimeError"):
        show_picture(drawn(), 2)
    with pytest.raises(UserError, match="in single precision"):
        show_picture(drawn().half(), 12)
    with pytest.raises(UserError, match=r"Use \.reshape"):  # the pictures of all jobs have their channels last
        show_picture(build(own("flat"), 5, 0), 12)


@pytest.mark.parametrize(
    ("network", "classes", "words"),
    [
        (
            Auxiliary(),
            5,
            r"returns a tuple in training mode.*one tensor, \(images, classes\): switch its further outputs",
        ),
        (nn.Conv2d(3, 5, 3), 5, r"output for 2 pictures is \(2, 5, 10, 10\) in training mode, but should be 2 x 5"),
        (nn.Conv2d(3, 5, 3), None, "should be 2 x classes"),
        (drawn(classes=5), 6, r"is \(2, 5\) in training mode, but should be 2 x 6: .* or let it take num_classes"),
        (nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (1, -1))), None, r"is \(1, 864\)"),
    ],
)
def test_networks_that_cannot_be_trained_to_classify_are_refused(network, classes, words):
    with pytest.raises(UserError, match=words):
        require_trainable(network, black_pictures(2, 12), classes)


def test_networks_of_many_kinds_can_be_trained():
    for described in (NETWORK, settings("torchvision.models:mobilenet_v2")):
        require_trainable(build(described, 7, 0), black_pictures(2, 32), 7)
    require_trainable(drawn(classes=5), black_pictures(2, 12), None)
