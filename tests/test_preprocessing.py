"""How pictures are shown to users' networks: as given by a config, torchvision, timm or transformers."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from workflow_scripts.plan.preprocessing import PROCESSORS, of_processor, read_preprocessing, timm_config
from workflow_scripts.shared.files import UserError
from workflow_scripts.train.measure_network import view
from workflow_scripts.train.pictures import grey, normaliser

KEY = "arms.mine.preprocessing"
HALF = {"mean": [0.5] * 3, "std": [0.25] * 3}
# Configurations as in timm, of three networks and of unsupported settings.
TIMM = {
    "net.cropped": {"crop_pct": 0.95, "crop_mode": "center"},
    "net.squeezed": {"crop_pct": 0.9, "crop_mode": "squash", "interpolation": "bilinear"},
    "net.oblong": {"input_size": (3, 240, 160), "crop_pct": 1.0, "crop_mode": "squash"},
    "net.padded": {"crop_pct": 1.0, "crop_mode": "border"},
    "net.oblong_cropped": {"input_size": (3, 240, 160), "crop_pct": 1.0, "crop_mode": "center"},
    "net.drawn": {"crop_pct": 1.0, "crop_mode": "center", "interpolation": "random"},
    "net.deep": {"input_size": (4, 224, 224), "crop_pct": 1.0, "crop_mode": "center"},
}
STAND_IN = f"""
from types import SimpleNamespace

KNOWN = {TIMM!r}
USUAL = dict(input_size=(3, 224, 224), interpolation="bicubic", mean=(0.5, 0.5, 0.25), std=(0.25, 0.5, 0.5), tag="x")

def get_pretrained_cfg(name, allow_unregistered=True):
    if name not in KNOWN:
        raise RuntimeError(f"Invalid pretrained tag for {{name}}.")
    return SimpleNamespace(**USUAL | KNOWN[name])
"""
VIT = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 224, "width": 224},
    "resample": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.25, 0.25],
}


@pytest.mark.parametrize(
    ("given", "size", "resize"),
    [
        ({"size": 32}, 32, 32),
        ({"size": 32, "resize": 40}, 32, 40),
        ({"size": [32, 32]}, 32, 32),
        ({"size": [24, 32]}, [24, 32], 32),  # so that the middle of any picture is large enough
        ({"size": [24, 32], "resize": [24, 32]}, [24, 32], [24, 32]),
        ({"size": [24, 32], "resize": [26, 33]}, [24, 32], [26, 33]),
    ],
)
def test_a_config_may_say_one_side_or_both(given, size, resize):
    wanted = {"size": size, "resize": resize, "interpolation": "bilinear"} | HALF
    assert read_preprocessing(HALF | given, KEY) == wanted


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": 32, "resize": 31}, r"preprocessing\.resize must be at least size, 32"),
        ({"size": [24, 32], "resize": 31}, r"resize must be at least size, \[24, 32\]"),
        ({"size": [24, 32], "resize": [24, 31]}, r"resize must be at least size, \[24, 32\]"),
        ({"size": 32, "mean": [0.5]}, r"mean has one number, but std has 3 numbers: write three each, or one each"),
    ],
)
def test_contradictory_settings_are_reported(given, words):
    with pytest.raises(UserError, match=words):
        read_preprocessing(HALF | given, KEY)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A package timm that knows the networks of TIMM, for this process and the processes that it starts."""
    package = tmp_path / "packages" / "timm"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "models" / "__init__.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    timm_config.cache_clear()
    yield
    timm_config.cache_clear()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("net.cropped", {"size": 224, "resize": 235, "interpolation": "bicubic"}),  # 224 / 0.95 = 235.8
        ("net.squeezed", {"size": 224, "resize": [248, 248], "interpolation": "bilinear"}),
        ("net.oblong", {"size": [240, 160], "resize": [240, 160], "interpolation": "bicubic"}),
    ],
)
def test_a_timm_network_is_shown_pictures_as_in_timm(stand_in, name, found):
    assert read_preprocessing(f"timm/{name}", KEY) == found | {"mean": [0.5, 0.5, 0.25], "std": [0.25, 0.5, 0.5]}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("net.padded", "uses timm's crop_mode border, and that is not supported: give size, mean and std"),
        ("net.oblong_cropped", "uses timm's crop_mode center, and that is not supported"),
        ("net.drawn", "asks for the interpolation random"),
        ("net.deep", "whose pictures have 4 channels, but only 1 and 3 are possible"),
        ("net.none", r"timm does not know it \(Invalid pretrained tag for net.none.\): correct the name"),
    ],
)
def test_unsupported_timm_settings_are_refused(stand_in, name, words):
    with pytest.raises(UserError, match=rf"^{KEY} is 'timm/{name}', .*{words}"):
        read_preprocessing(f"timm/{name}", KEY)


def test_without_timm_the_error_says_what_to_install(monkeypatch):
    timm_config.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="timm is not installed: pip install timm, or give size, mean and std"):
        read_preprocessing("timm/resnet18.a1_in1k", KEY)


def folder_of(folder: Path, processor: dict | list | str) -> str:
    """A folder with an image processor's file."""
    folder.mkdir(exist_ok=True)
    text = processor if isinstance(processor, str) else json.dumps(processor)
    (folder / "preprocessor_config.json").write_text(text)
    return str(folder)


def changed(**changes: object) -> dict:
    """VIT with other settings; None leaves one out."""
    return {key: value for key, value in (VIT | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("processor", "found"),
    [
        (VIT, {"size": 224, "resize": [224, 224]}),  # the whole picture is squeezed
        (changed(size=224), {"size": 224, "resize": [224, 224]}),
        (changed(size={"height": 256, "width": 192}), {"size": [256, 192], "resize": [256, 192]}),
        (changed(resample=3), {"size": 224, "resize": [224, 224], "interpolation": "bicubic"}),
        (changed(do_normalize=False), {"size": 224, "resize": [224, 224], "mean": [0.0] * 3, "std": [1.0] * 3}),
        (changed(image_mean=[0.5], image_std=[0.25]), {"size": 224, "resize": [224] * 2, "mean": [0.5], "std": [0.25]}),
        (
            changed(image_processor_type=None, feature_extractor_type="ViTFeatureExtractor"),
            {"size": 224, "resize": [224, 224]},
        ),
        (
            changed(image_processor_type="DeiTImageProcessor", size=256, crop_size=224, do_center_crop=True),
            {"size": 224, "resize": [256, 256]},
        ),
        (
            changed(image_processor_type="CLIPImageProcessorFast", size=224, crop_size={"height": 224, "width": 224}),
            {"size": 224, "resize": 224},
        ),
        (
            changed(image_processor_type="MobileNetV2ImageProcessor", size={"shortest_edge": 256}, crop_size=224),
            {"size": 224, "resize": 256},
        ),
        (
            changed(image_processor_type="ConvNextImageProcessor", size={"shortest_edge": 224}, crop_pct=0.875),
            {"size": 224, "resize": 256},
        ),
        (
            changed(image_processor_type="ConvNextImageProcessor", size={"shortest_edge": 384}, crop_pct=0.875),
            {"size": 384, "resize": [384, 384]},
        ),
    ],
)  # fmt: skip
def test_a_transformers_folder_gives_the_preprocessing(tmp_path, processor, found):
    wanted = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear"} | found
    assert read_preprocessing(folder_of(tmp_path / "net", processor), KEY) == wanted


@pytest.mark.parametrize(
    ("processor", "words"),
    [
        (changed(do_rescale=False), "has do_rescale: false, which is not supported: give size, mean and std yourself"),
        (changed(do_resize=False), "has do_resize: false, which is not supported"),
        (changed(do_pad=True), "has do_pad: true, which is not supported"),
        (changed(do_flip_channel_order=True), "has do_flip_channel_order: true, which is not supported"),
        (changed(rescale_factor=1 / 127.5), "has a rescale_factor of 0.00784.*, not 1 / 255"),
        (
            changed(image_processor_type="LevitImageProcessor"),
            "is of LevitImageProcessor, but only these are known: ViT",
        ),
        (changed(image_processor_type=None), "is of no type, but only these are known"),
        (changed(size=None), "does not say size: add it"),
        (changed(resample=None), "does not say resample: add it"),
        (changed(image_std=None), "does not say image_std: add it"),
        (changed(resample=9), "has an impossible size, .* or resample: correct it"),
        (changed(image_mean=[0.5, 0.5]), "has an impossible .*mean, standard deviation or resample"),
        (changed(image_std=[0.5, 0, 0.5]), "has an impossible .*mean, standard deviation or resample"),
        (changed(image_std=[0.5, -0.5, 0.5]), r"has an impossible .*\(std.1 is -0.5: write a number above 0"),
        (changed(image_mean=[float("nan"), 0.5, 0.5]), "is damaged, or another kind of file .it holds NaN"),
        (changed(image_std=[float("inf"), 0.5, 0.5]), "is damaged, or another kind of file .it holds Infinity"),
        (json.dumps(VIT).replace("0.25", "1e999"), r"\(std.0 is inf, which is not finite: write a number above 0"),
        (json.dumps(VIT).replace("0.25", "9" * 400), r"\(std.0 is a number of 1329 bits: write a number above 0"),
        (changed(image_mean=["0.5", 0.5, 0.5]), r'\(mean.0 is "0.5": write a number from 0 to 1'),
        (changed(image_mean=[True, 0.5, 0.5]), r"\(mean.0 is true: write a number from 0 to 1"),
        (changed(image_mean=0.5), r"\(mean is 0.5: write a list of three numbers"),
        (changed(size=10**9), r"\(size.0 is 1000000000: write a whole number from 8 to 16384"),
        (changed(size={"height": 224, "width": 10**9}), r"\(size.1 is 1000000000: write a whole number"),
        (changed(size="224"), "is damaged, or another kind of file .the size '224', which is not a whole number"),
        (changed(size=8.7), "is damaged, or another kind of file .the size 8.7, which is not a whole number"),
        (changed(crop_size=224.5), "the size 224.5, which is not a whole number"),
        (
            changed(image_processor_type="CLIPImageProcessor", size={"shortest_edge": 10**9}, crop_size=224),
            r"\(resize is 1000000000: write a whole number from 8 to 16384",
        ),
        (
            changed(image_processor_type="ConvNextImageProcessor", size=224, crop_pct=1e-300),
            r"\(resize is a number of 1005 bits: write a whole number from 8 to 16384",
        ),
        (changed(do_rescale="false"), 'has do_rescale: "false", which is not supported'),
        ('{"size": 224, "size": 256}', "is damaged, or another kind of file .it has the key 'size' twice"),
        (changed(size={"height": 0, "width": 0}), "has an impossible size"),
        (changed(image_processor_type="ConvNextImageProcessor", size=224, crop_pct=0), "is damaged, or another kind"),
        (changed(image_processor_type="CLIPImageProcessor", size=224, do_center_crop=False), "has no crop_size"),
        (changed(size={"height": 224}), "is damaged, or another kind of file"),
        ("{", "is damaged, or another kind of file"),
        ("[" * 99999, "is damaged, or another kind of file"),
        ([1], "is damaged, or another kind of file"),
    ],
)
def test_unsupported_transformers_settings_are_refused(tmp_path, processor, words):
    folder = folder_of(tmp_path / "net", processor)
    with pytest.raises(UserError, match=rf"^{KEY}: {folder}/preprocessor_config.json .*{words}"):
        read_preprocessing(folder, KEY)


def test_a_folder_without_the_file_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*/preprocessor_config.json: put it there, or give size"):
        read_preprocessing(str(tmp_path), KEY)


def hub(kept: object, fetched: object) -> ModuleType:
    """A package huggingface_hub that has a file in its cache, fetches it, or fails to."""
    module: Any = ModuleType("huggingface_hub")

    def answer(what: object) -> object:
        if isinstance(what, Exception):
            raise what
        return what

    module.try_to_load_from_cache = lambda name, file: answer(kept)
    module.hf_hub_download = lambda name, file: answer(fetched)
    return module


def test_a_name_of_transformers_is_fetched_once(tmp_path, monkeypatch):
    file = str(Path(folder_of(tmp_path / "net", VIT)) / "preprocessor_config.json")
    for kept, fetched in ((file, OSError("nothing is to be fetched")), (None, file)):
        monkeypatch.setitem(sys.modules, "huggingface_hub", hub(kept, fetched))
        assert read_preprocessing("some-one/net.v1", KEY)["resize"] == [224, 224]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub(None, OSError("no such host")))
    with pytest.raises(
        UserError, match=r"no such folder, and .* cannot be fetched \(OSError: no such host\): correct the name"
    ):
        read_preprocessing("some-one/net.v1", KEY)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as where it is not installed
    with pytest.raises(UserError, match=r"no such folder; to fetch .*, pip install transformers"):
        read_preprocessing("some-one/net.v1", KEY)


def noise(folder: Path, height: int = 70, width: int = 90, seed: int = 0) -> Path:
    """A picture of smooth noise."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), np.uint8)
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{seed}.png")
    return folder / f"{seed}.png"


def shown(path: Path, preprocessing: dict) -> torch.Tensor:
    """What a network is shown of a picture that its accuracy is measured with."""
    picture = torch.from_numpy(view(path, preprocessing, []).copy())[None]
    return normaliser(preprocessing["mean"], preprocessing["std"], torch.device("cpu"))(picture)[0]


def test_a_picture_is_cropped_or_squeezed_to_its_size(tmp_path):
    path = noise(tmp_path)
    picture = Image.open(path)
    cut = read_preprocessing(HALF | {"size": [24, 40], "resize": 50}, KEY)
    wanted = np.asarray(picture.resize((64, 50), Image.Resampling.BILINEAR))[13:37, 12:52]
    assert np.array_equal(view(path, cut, []), wanted)
    squeezed = read_preprocessing(HALF | {"size": [24, 40], "resize": [24, 40]}, KEY)
    assert np.array_equal(view(path, squeezed, []), np.asarray(picture.resize((40, 24), Image.Resampling.BILINEAR)))


def test_grey_pictures_are_pillows(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), np.uint8)
    pixels[0, 0, :4] = [[255, 255, 255], [0, 0, 0], [128, 128, 128], [1, 1, 1]]
    wanted = [np.asarray(Image.fromarray(picture).convert("L")) for picture in pixels]
    assert np.array_equal(grey(torch.from_numpy(pixels))[..., 0].numpy(), wanted)
    network_input = normaliser([0.5], [0.25], torch.device("cpu"))(torch.from_numpy(pixels))
    assert network_input.shape == (2, 1, 40, 50) and network_input.dtype == torch.float32
    assert torch.allclose(network_input[:, 0], (torch.tensor(np.array(wanted)) / 255 - 0.5) / 0.25, atol=1e-6)


# With the packages themselves, where they are installed.


@pytest.mark.parametrize(
    "name", ["resnet18.a1_in1k", "mobilenetv3_small_100.lamb_in1k", "vit_base_patch16_clip_224.openai"]
)
def test_pictures_are_those_of_timms_own_transform(tmp_path, name):
    import workflow_scripts.networks.torchvision_models  # noqa: F401 - see there

    timm = pytest.importorskip("timm")
    timm_config.cache_clear()
    preprocessing = read_preprocessing(f"timm/{name}", KEY)
    config = timm.data.resolve_data_config({}, pretrained_cfg=timm.models.get_pretrained_cfg(name).to_dict())
    transform = timm.data.create_transform(**config)
    for seed, sides in enumerate([(300, 400), (500, 330)]):
        path = noise(tmp_path, *sides, seed=seed)
        assert torch.allclose(shown(path, preprocessing), transform(Image.open(path)), atol=1e-5)


@pytest.mark.parametrize("kind", sorted(PROCESSORS))
def test_pictures_are_those_of_transformers_own_processor(tmp_path, kind):
    """But for a rounding of the resized pictures, which are tensors there and Pillow's here.

    Of an odd number of pixels to be cut away, torchvision's function, which is used here, may leave one more at the
    other side; there is none in these pictures.
    """
    import workflow_scripts.networks.torchvision_models  # noqa: F401 - see there

    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torchvision")
    processor = getattr(transformers, f"{kind}ImageProcessor")()
    processor.save_pretrained(tmp_path)
    preprocessing = of_processor(tmp_path / "preprocessor_config.json", KEY)
    for seed, sides in enumerate([(300, 450), (500, 250)]):
        path = noise(tmp_path, *sides, seed=seed)
        wanted = processor(Image.open(path), return_tensors="pt")["pixel_values"][0]
        found = shown(path, preprocessing)
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() <= 2.1 / 255 / min(preprocessing["std"])
