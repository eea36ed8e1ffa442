"""The test accuracy of users' networks, and the order of their classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import VIEW, drawn, greys
from torch import nn

from workflow_scripts.networks.torchvision_models import transforms
from workflow_scripts.plan.class_order import list_classes
from workflow_scripts.shared.files import UserError
from workflow_scripts.train import measure_network
from workflow_scripts.train.measure_network import measure_accuracy


class Brightest(nn.Module):
    """Classifies a picture by its brightest channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def class_folders(folder: Path) -> Path:
    """Pictures of three colours and various sizes, one of nine in the wrong folder; the centre decides."""
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


def test_accuracy_uses_torchvisions_centre_crop_of_each_picture(tmp_path):
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
    with pytest.raises(UserError, match=r"has 3 class folders, but the network's output is \(9, 5\)"):
        measure_accuracy(drawn(classes=5), folder, VIEW | {"resize": 12, "interpolation": "bilinear"}, workers=1)


@pytest.mark.parametrize("resize", [16384, [16384, 16384], [8, 10**9]])
def test_pictures_that_would_become_too_large_are_refused(tmp_path, resize):
    folder = class_folders(tmp_path / "pictures")
    view = VIEW | {"resize": resize, "interpolation": "bilinear"}
    with pytest.raises(
        UserError, match=r"(scaled|resize has) .* pixels: .* raise limits.picture_megapixels in the config"
    ):
        measure_accuracy(drawn(classes=3), folder, view, workers=1)


def test_fewer_large_pictures_are_held_at_once(tmp_path, monkeypatch):
    folder, view = greys(tmp_path / "pictures"), VIEW | {"resize": 12, "interpolation": "bilinear"}
    sizes = []
    monkeypatch.setattr(measure_network, "BATCH_PIXELS", 5 * 12 * 12)
    monkeypatch.setattr(measure_network, "portions", lambda pictures, _: sizes.append(len(pictures)) or (pictures,))
    measure_accuracy(Darkest(), folder, view, 1, "number")
    assert max(sizes) <= 5 and sum(sizes) == 12


UNDECIDED = "from class 2 on, the class folders of .*pictures are 10, 11, 2, ... as text, .*ImageFolder .* 2, 3, 4, ..."


class Darkest(nn.Module):
    """Class n is a grey of 20 n."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grey = (x.mean((1, 2, 3)) * 0.25 + 0.5) * 255
        return -(grey[:, None] - 20 * torch.arange(12)).abs()


def test_class_order_decides_the_folder_of_each_class(tmp_path):
    folder = greys(tmp_path / "pictures")
    view = VIEW | {"resize": 12, "interpolation": "bilinear"}
    names = [str(number) for number in range(12)]
    for order, accuracy in (("number", 1), (names, 1), ("text", 2 / 12), (names[::-1], 0)):
        assert measure_accuracy(Darkest(), folder, view, 1, order) == pytest.approx(accuracy), order
    with pytest.raises(UserError, match=UNDECIDED):
        measure_accuracy(Darkest(), folder, view, 1)


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
