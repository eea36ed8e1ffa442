"""Networks of transformers: made from a configuration, with logits in their output."""

import json
import sys
from pathlib import Path

import pytest
import torch
from small_networks import VIEW, greys
from torch import Tensor, nn

from workflow_scripts.dissect.check_network import check_network
from workflow_scripts.list_layers import list_layers
from workflow_scripts.networks.constructors import build, takes_classes
from workflow_scripts.networks.import_network import import_network
from workflow_scripts.plan.designs import source_of
from workflow_scripts.shared.files import UserError
from workflow_scripts.train.measure_network import measure_accuracy

HERE = __name__


class Configuration:
    """Like those of transformers: made from the contents of a file, which it completes."""

    def __init__(self, width: int, labels: int) -> None:
        self.width, self.labels = width, labels

    @classmethod
    def from_dict(cls, values: dict) -> "Configuration":
        labels = values.get("num_labels", len(values.get("id2label", "ab")))
        return cls(values["width"], labels)


class Output(dict):
    """Like the ModelOutput of transformers: a dict whose values are also attributes."""

    __getattr__ = dict.__getitem__


class Classifier(nn.Module):
    """Like a class of transformers: one argument, the configuration, and a named output."""

    config_class = Configuration

    def __init__(self, config: Configuration) -> None:
        super().__init__()
        self.config = config
        self.maps = nn.Conv2d(3, config.width, 3)
        self.classifier = nn.Linear(config.width, config.labels)

    def forward(self, pixel_values: Tensor | None = None) -> Output:
        maps = self.maps(pixel_values)
        return Output(logits=self.classifier(maps.mean((2, 3))), hidden_states=maps)

    @classmethod
    def from_pretrained(
        cls, folder: str, config: Configuration, dtype: torch.dtype, output_loading_info: bool
    ) -> tuple["Classifier", dict]:
        """Load what a folder has, and keep what was drawn where it has nothing."""
        network = cls(config).to(dtype)
        missing, _ = network.load_state_dict(torch.load(Path(folder) / "weights.pt"), strict=False)
        assert output_loading_info
        return network, {"missing_keys": set(missing)}


class Headless(Classifier):
    """One without a head."""

    def forward(self, pixel_values: Tensor | None = None) -> Output:
        return Output(last_hidden_state=self.maps(pixel_values))


def described(name: str = "Classifier", **arguments: object) -> dict:
    return {"constructor": f"{HERE}:{name}", "arguments": {"width": 5, "model_type": "own", **arguments}}


def test_a_class_is_made_with_the_configuration_that_the_arguments_are():
    network = build(described(id2label={"0": "a", "1": "b", "2": "c"}), None, seed=0)
    assert network.maps.out_channels == 5
    logits = network(torch.ones(2, 3, 8, 8))
    assert isinstance(logits, Tensor) and logits.shape == (2, 3)
    assert torch.equal(logits, network.forward(torch.ones(2, 3, 8, 8))["logits"])
    with pytest.raises(UserError, match=r"constructor .*:Classifier failed with .* \(KeyError: 'width'"):
        build({"constructor": f"{HERE}:Classifier", "arguments": {}}, None, seed=0)


def test_its_layers_are_dissected_and_its_classes_are_those_of_the_pictures():
    found = check_network(described(), 8, ["maps"], [], levels=1, fraction=0.5, trained=True)
    assert found["units, height and width of each layer"] == {"maps": [5, 6, 6]}
    assert takes_classes(described()) and not takes_classes(described(num_labels=4))
    assert build(described(), 7, seed=0).classifier.out_features == 7
    assert build(described(num_labels=4), 7, seed=0).classifier.out_features == 4
    assert [row[0] for row in list_layers(build(described(), 7, seed=0), 8)] == ["maps", "classifier"]


def test_its_accuracy_is_that_of_its_logits(tmp_path):
    view = VIEW | {"resize": 12, "interpolation": "bilinear"}
    network = build(described(num_labels=12), None, seed=0)
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.copy_(torch.arange(12) == 3)
    assert measure_accuracy(network, greys(tmp_path), view, 1, "number") == 1 / 12
    with pytest.raises(UserError, match="the network's output is Output: give the folder of the classes"):
        measure_accuracy(build(described("Headless"), None, seed=0), tmp_path, view, 1, "number")


def test_weights_are_loaded_from_a_given_folder(tmp_path):
    torch.save(build(described(), None, seed=3).state_dict(), tmp_path / "weights.pt")
    weights = {"pretrained_model_name_or_path": str(tmp_path)}
    network, _ = import_network(described(), weights, None, 0, 8)
    assert torch.equal(network.maps.weight, build(described(), None, seed=3).maps.weight)
    torch.save({"maps.weight": network.maps.weight.data}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"lacks 3 tensors of Classifier, such as classifier\.bias, which would"):
        import_network(described(), weights, None, 0, 8)
    with pytest.raises(UserError, match=r"Classifier failed with .*none"):
        import_network(described(), {"pretrained_model_name_or_path": str(tmp_path / "none")}, None, 0, 8)


def test_a_network_of_transformers_itself(tmp_path):
    """With random weights: from its state dict and from its folder, it is the same network."""
    import workflow_scripts.networks.torchvision_models  # noqa: F401 - see there

    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8, num_labels=3)
    own = transformers.ViTForImageClassification(config).eval()
    own.save_pretrained(tmp_path)
    torch.save(own.state_dict(), tmp_path / "weights.pt")
    constructor = "transformers:ViTForImageClassification"
    settings = {"constructor": constructor, "arguments": json.loads((tmp_path / "config.json").read_text())}
    pictures = torch.rand(2, 3, 32, 32)
    for weights in (str(tmp_path / "weights.pt"), {"pretrained_model_name_or_path": str(tmp_path)}):
        network, _ = import_network(settings, weights, None, 0, 32)
        assert torch.equal(network(pictures), own(pictures).logits)
    own.vit.save_pretrained(tmp_path / "headless")
    with pytest.raises(UserError, match=r"headless lacks 2 tensors of ViTFor.*, as classifier\.bias"):
        import_network(settings, {"pretrained_model_name_or_path": str(tmp_path / "headless")}, None, 0, 32)
    listed = {name: output for name, _, output in list_layers(network, 32)}
    assert listed["vit.layers.0"] == "17 tokens x 16 channels: write vit.layers.0@4x4"
    assert build(settings | {"arguments": sizes | {"image_size": 32}}, 5, 0)(pictures).shape == (2, 5)
    assert source_of(constructor) != ""


def test_a_network_of_timms_itself(tmp_path):
    import workflow_scripts.networks.torchvision_models  # noqa: F401 - see there

    timm = pytest.importorskip("timm")
    settings = {"constructor": "timm:create_model", "arguments": {"model_name": "resnet18.a1_in1k"}}
    own = timm.create_model("resnet18", num_classes=1000).eval()
    torch.save(own.state_dict(), tmp_path / "weights.pt")
    network, _ = import_network(settings, str(tmp_path / "weights.pt"), None, 0, 64)
    pictures = torch.rand(2, 3, 64, 64)
    assert torch.equal(network(pictures), own(pictures))
    found = check_network(settings, 64, ["layer4"], [], levels=0, fraction=0.5)
    assert found["units, height and width of each layer"] == {"layer4": [512, 2, 2]}
    assert "timm" in sys.modules and build(settings, 7, seed=0)(pictures).shape == (2, 7)
