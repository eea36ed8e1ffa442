"""Folders that OpenLTH has written: what is read, what is refused, and their models."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from workflow_scripts.networks.architectures import small_resnet
from workflow_scripts.networks.import_network import import_network
from workflow_scripts.networks.openlth_models import cifar_resnet, cifar_vgg
from workflow_scripts.plan.arms import read_arms
from workflow_scripts.plan.brought import read_brought
from workflow_scripts.plan.openlth import read_model, read_networks, read_preprocessing
from workflow_scripts.shared.files import UserError

START = (0, 0)
CONFIG = {  # what there is in every config, beside arms
    "network": {"constructor": "workflow_scripts.networks.architectures:small_resnet", "arguments": {}},
    "images": {"size": 8, "mean": [0, 0, 0], "std": [1, 1, 1]},
    "dissection": {"layers": ["stages.0"]},
}


def write_level(main, level, models):
    """Models that hold their level and step, masks with as many ones as two to the power of -level."""
    main.mkdir(parents=True)
    mask = (torch.arange(64).reshape(8, 8) % 2**level == 0).int()
    for epoch, iteration in models:
        tensors = {"fc.weight": mask.float(), "fc.bias": torch.tensor([level, epoch, iteration]).float()}
        torch.save(tensors, main / f"model_ep{epoch}_it{iteration}.pth")
    torch.save({"fc.weight": mask}, main / "mask.pth")
    report = {"total": float(mask.numel()), "unpruned": float(mask.sum())}
    (main / "sparsity_report.json").write_text(json.dumps(report, indent=4))


def write_log(main, model="cifar_resnet_8_4", dataset="cifar10", steps="160ep", rewinding=None):
    """hparams.log with its sections in OpenLTH's order, and no newline at the end."""
    pretraining = [
        "Pretraining Dataset Hyperparameters\n    * dataset_name => other\n    * batch_size => 128",
        "Pretraining Training Hyperparameters\n    * optimizer_name => sgd\n    * lr => 0.1"
        f"\n    * training_steps => {rewinding}",
    ]
    sections = [
        f"Dataset Hyperparameters\n    * dataset_name => {dataset}\n    * batch_size => 128",
        f"Model Hyperparameters\n    * model_name => {model}\n    * model_init => kaiming_normal",
        *(pretraining if rewinding else []),
        "Pruning Hyperparameters\n    * pruning_strategy => sparse_global\n    * pruning_fraction => 0.2",
        f"Training Hyperparameters\n    * optimizer_name => sgd\n    * training_steps => {steps}\n    * gamma => 0.1",
    ]
    main.mkdir(parents=True, exist_ok=True)
    (main / "hparams.log").write_text("\n".join(sections))


def write_lottery(folder, levels, models=(START, (160, 0)), **log):
    """`levels` says how many each replicate has, by its number."""
    for replicate, count in levels.items():
        for level in range(count):
            write_level(folder / f"replicate_{replicate}" / f"level_{level}" / "main", level, models)
        write_log(folder / f"replicate_{replicate}" / "level_0" / "main", **log)
    return str(folder)


class OneLayer(nn.Module):
    """A network that the models of `write_level` fit."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 3)
        self.fc.weight.data = torch.zeros(8, 8)


@pytest.fixture
def lottery(tmp_path):
    return Path(write_lottery(tmp_path / "lottery_0123", {1: 4, 2: 3}))


def test_the_networks_of_all_replicates_and_levels_are_found_in_order(tmp_path):
    folder = write_lottery(tmp_path / "lottery", {2: 12, 10: 1, 1: 2})
    networks = read_networks(folder)
    wanted = [(1, 0), (1, 1), *[(2, level) for level in range(12)], (10, 0)]
    assert [network[:2] for network in networks] == wanted
    for replicate, level, weights, masks in networks:
        main = f"{folder}/replicate_{replicate}/level_{level}/main"
        assert (weights, masks) == (f"{main}/model_ep160_it0.pth", f"{main}/mask.pth")
        assert torch.load(weights)["fc.bias"].tolist() == [level, 160, 0]
        assert torch.load(masks)["fc.weight"].sum() == -(-64 // 2**level)


def test_folders_that_are_not_replicates_or_levels_are_ignored(lottery):
    before = read_networks(str(lottery))
    write_level(lottery / "replicate_1" / "level_pretrain" / "main", 0, [START])
    write_level(lottery / "replicate_1" / "level_1" / "lottery_branch_retrain_0123", 0, [START, (200, 0)])
    (lottery / "replicate_1" / "level_7").write_text("a file")
    (lottery / "replicate_1" / "old_level_9").mkdir()
    (lottery / "replicate_x").mkdir()
    (lottery / "plots").mkdir()
    for name in ("checkpoint.pth", "logger", "._model_ep160_it0.pth", "model_ep900_it0.pth.part"):
        (lottery / "replicate_1" / "level_0" / "main" / name).touch()
    assert read_networks(str(lottery)) == before
    assert len(before) == 7


def test_the_untrained_baseline_has_the_initial_weights_in_the_folder(tmp_path):
    folder = Path(write_lottery(tmp_path / "lottery", {1: 2, 2: 1}, rewinding="2ep"))
    write_lottery(folder, {3: 1}, [(2, 0), (160, 0)], rewinding="2ep")
    pretrain = folder / "replicate_1" / "level_pretrain" / "main"
    write_level(pretrain, 7, [START, (2, 0)])
    settings = {
        "name": "lottery",
        "recipe": "brought",
        "openlth": str(folder),
        "constructor": "torch.nn:Linear",
        "arguments": {"in_features": 8, "out_features": 8},
        "preprocessing": {"size": 8, "mean": [0, 0, 0], "std": [1, 1, 1]},
        "layers": ["fc"],
    }
    others = {"untrained": {}, "prune_once": {"method": "global", "densities": [0.5]}}
    arms = [{"name": f"lottery_{recipe}", "recipe": recipe, "of": "lottery"} | more for recipe, more in others.items()]
    _, found = read_arms(CONFIG | {"arms": [settings, *arms]})
    floors = {key.replicate: network for key, network in found.items() if key.arm == "lottery_untrained"}
    assert {number: (floor.made_by, floor.key.level, floor.weights) for number, floor in floors.items()} == {
        1: ("import_network", 0, f"{pretrain}/model_ep0_it0.pth"),
        2: ("import_network", 0, f"{folder}/replicate_2/level_0/main/model_ep0_it0.pth"),
        3: ("import_network", 0, None),
    }
    assert floors[3].masks is None
    assert all(network.start is None for key, network in found.items() if key.arm != "lottery")

    # The weights that stood at the start, none of which is pruned, though most are zero.
    described = {"constructor": f"{__name__}:OneLayer", "arguments": {}}
    floor = floors[1]
    network, masks = import_network(described, floor.weights, Path(floor.masks), 1, 8)
    assert torch.equal(network.fc.weight, torch.load(floor.weights)["fc.weight"])
    assert network.fc.bias.tolist() == [7, 0, 0] and int((network.fc.weight == 0).sum()) == 63
    assert masks["fc"].all()


def test_a_log_that_cannot_be_read_ends_in_a_sentence(lottery):
    log = lottery / "replicate_2" / "level_0" / "main" / "hparams.log"
    log.unlink()
    log.symlink_to("/proc/self/mem")  # which nobody can read from its beginning
    settings = {"name": "mine", "openlth": str(lottery), "layers": ["fc"]}
    with pytest.raises(UserError, match=r"arms.mine: .*hparams.log cannot be read \(Input/output error\)"):
        read_brought("mine", [settings])


@pytest.mark.parametrize(
    ("steps", "rewinding", "models", "last"),
    [
        ("160ep", None, [START, (160, 0)], "model_ep160_it0.pth"),
        ("160ep", "2ep", [(2, 0), (160, 0)], "model_ep160_it0.pth"),
        ("160ep", None, [START, (160, 0), (161, 3)], "model_ep160_it0.pth"),
        ("9it", None, [START, (0, 9)], "model_ep0_it9.pth"),
        ("50000it", "500it", [(1, 109), (9, 300), (127, 344)], "model_ep127_it344.pth"),
        ("127ep344it", "500it", [(1, 109), (127, 9), (127, 344)], "model_ep127_it344.pth"),
    ],
)
def test_the_network_is_that_at_the_end_of_training(tmp_path, steps, rewinding, models, last):
    folder = write_lottery(tmp_path / "lottery", {1: 2}, models, steps=steps, rewinding=rewinding)
    assert [Path(network.weights).name for network in read_networks(folder)] == [last, last]


@settings(max_examples=25, deadline=None)
@given(
    levels=st.dictionaries(st.integers(1, 30), st.integers(1, 13), min_size=1, max_size=3),
    start=st.tuples(st.integers(0, 12), st.integers(0, 400)),
    more=st.tuples(st.integers(0, 200), st.integers(0, 400)).filter(any),
    iterations=st.booleans(),
)
def test_any_lottery_is_read_as_it_was_written(levels, start, more, iterations):
    end = (start[0] + more[0], start[1] + more[1]) if iterations else (start[0] + more[0] + 1, 0)
    steps = "70000it" if iterations else f"{end[0]}ep"
    with tempfile.TemporaryDirectory() as folder:
        for replicate, count in levels.items():
            for level in range(count):
                main = Path(folder, f"replicate_{replicate}", f"level_{level}", "main")
                main.mkdir(parents=True)
                names = [f"model_ep{epoch}_it{iteration}.pth" for epoch, iteration in (start, end)]
                for name in (*names, "mask.pth", "sparsity_report.json"):
                    (main / name).touch()
            write_log(Path(folder, f"replicate_{replicate}", "level_0", "main"), steps=steps)
        networks = read_networks(folder)
    assert [network[:2] for network in networks] == [(r, n) for r in sorted(levels) for n in range(levels[r])]
    assert {Path(network.weights).name for network in networks} == {names[1]}


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("", r"there is no folder .*lottery_0123: name the one called lottery_"),
        ("replicate_*", r"lottery_0123 holds no replicate_1 .*: name the folder"),
        ("replicate_2/level_0", r"there is no folder .*replicate_2/level_0: copy all levels"),
        ("replicate_2/level_*", r"there is no folder .*replicate_2/level_0: copy all levels"),
        ("replicate_1/level_2", r"there is no folder .*replicate_1/level_2: copy all levels"),
        ("replicate_1/level_2/main", r"there is no file .*replicate_1/level_2/main/mask.pth: copy it"),
        ("replicate_2/level_1/main/mask.pth", r"there is no file .*replicate_2/level_1/main/mask.pth: copy it"),
        ("replicate_2/level_1/main/sparsity_report.json", r"no file .*/level_1/main/sparsity_report.json: copy it"),
        ("replicate_2/level_0/main/hparams.log", r"there is no file .*replicate_2/level_0/main/hparams.log: copy it"),
        (
            "replicate_2/level_2/main/model_ep160_it0.pth",
            r"not ended: .*/replicate_2/level_2/main has no model_ep160_it0.pth, only model_ep0_it0.pth; let OpenLTH",
        ),
        ("replicate_2/level_2/main/model_*", r"/level_2/main has no model_ep160_it0.pth, only its masks; let OpenLTH"),
    ],
)
def test_missing_files_are_reported(lottery, missing, told):
    for path in list(lottery.glob(missing)) if missing else [lottery]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=told):
        read_networks(str(lottery))


def test_training_in_iterations_has_not_ended_where_only_its_start_is_there(tmp_path):
    folder = Path(write_lottery(tmp_path / "lottery", {1: 3}, [(1, 109), (127, 344)], steps="50000it"))
    main = folder / "replicate_1" / "level_2" / "main"
    # Something later than the start, such as a person might keep.
    (main / "model_ep127_it344.pth").rename(main / "model_ep100_it0.pth")
    with pytest.raises(
        UserError, match=r"level_2/main has no model_ep127_it344.pth, only .*it109.pth, .*ep100_it0.pth;"
    ):
        read_networks(str(folder))
    shutil.rmtree(folder / "replicate_1" / "level_2")
    assert len(read_networks(str(folder))) == 2
    (folder / "replicate_1" / "level_0" / "main" / "model_ep127_it344.pth").unlink()
    with pytest.raises(UserError, match=r"level_0/main has no model of the end, 50000it, only model_ep1_it109.pth;"):
        read_networks(str(folder))


@pytest.mark.parametrize(
    ("name", "section", "read"),
    [
        ("model_name", "Model Hyperparameters", read_model),
        ("dataset_name", "Dataset Hyperparameters", read_preprocessing),
        ("training_steps", "Training Hyperparameters", read_networks),
    ],
)
def test_an_incomplete_log_is_reported(tmp_path, name, section, read):
    folder = Path(write_lottery(tmp_path / "lottery", {1: 1}, rewinding="2ep"))
    log = folder / "replicate_1" / "level_0" / "main" / "hparams.log"
    # The same line below another heading, such as that of pretraining, does not count.
    log.write_text(re.sub(rf"(?m)(^{section}$(?:\n .*)*?)\n    \* {name} => .*", r"\1", log.read_text()))
    with pytest.raises(UserError, match=rf"{log} has no {name} below '{section}': copy"):
        read(str(folder))


def test_replicates_of_different_experiments_are_refused(lottery):
    write_log(lottery / "replicate_2" / "level_0" / "main", model="cifar_vgg_16", dataset="imagenet")
    for read, name in ((read_model, "model_name"), (read_preprocessing, "dataset_name")):
        with pytest.raises(UserError, match=rf"{name} is cifar.* in .*replicate_1, but .* in .*replicate_2: put"):
            read(str(lottery))
    assert len(read_networks(str(lottery))) == 7


def read_named(tmp_path, **log):
    """What is read from a lottery with one network with this model and dataset."""
    write_log(tmp_path / "lottery" / "replicate_1" / "level_0" / "main", **log)
    return str(tmp_path / "lottery")


OWN = "workflow_scripts.networks.openlth_models"


@pytest.mark.parametrize(
    ("name", "constructor", "arguments"),
    [
        *[(f"imagenet_resnet_{depth}", f"torchvision.models:resnet{depth}", {}) for depth in (18, 34, 50, 101, 152)],
        ("imagenet_resnet_50_64", "torchvision.models:resnet50", {}),
        ("cifar_resnet_20", f"{OWN}:cifar_resnet", {"depth": 20, "width": 16}),
        ("cifar_resnet_8_4", f"{OWN}:cifar_resnet", {"depth": 8, "width": 4}),
        ("cifar_resnet_110_128", f"{OWN}:cifar_resnet", {"depth": 110, "width": 128}),
        *[(f"cifar_vgg_{depth}", f"{OWN}:cifar_vgg", {"depth": depth}) for depth in (11, 13, 16, 19)],
    ],
)
def test_models_have_constructors(tmp_path, name, constructor, arguments):
    assert read_model(read_named(tmp_path, model=name)) == (constructor, arguments)


@pytest.mark.parametrize(
    "name",
    [
        *("mnist_lenet_300_100", "imagenet_resnet_50_128", "imagenet_resnet_200", "imagenet_resnet_50_64_64"),
        *(
            "cifar_resnet_11",
            "cifar_resnet_18",
            "cifar_resnet_2",
            "cifar_resnet_20_0",
            "cifar_resnet_",
            "cifar_vgg_12",
            "cifar_vgg_16_64",
        ),
    ],
)
def test_an_unknown_model_needs_a_constructor_but_its_networks_are_read(lottery, name):
    for replicate in (1, 2):
        write_log(lottery / f"replicate_{replicate}" / "level_0" / "main", model=name)
    with pytest.raises(UserError, match=rf"model {name}, of .*lottery_0123, .*: give its constructor and arguments"):
        read_model(str(lottery))
    assert len(read_networks(str(lottery))) == 7


def test_pictures_are_prepared_as_those_of_the_dataset(tmp_path):
    normal = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "interpolation": "bilinear"}
    for dataset, size, resize in (("cifar10", 32, 32), ("imagenet", 224, 256)):
        folder = read_named(tmp_path, dataset=dataset, rewinding="2ep")
        assert read_preprocessing(folder) == {"size": size, "resize": resize, **normal}
    with pytest.raises(UserError, match=r"dataset mnist, of .*lottery, .*: give preprocessing in the config"):
        read_preprocessing(read_named(tmp_path, dataset="mnist"))


def test_reading_needs_neither_torch_nor_numpy():
    code = "import sys, workflow_scripts.plan.openlth; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def randomise(network, seed=0):
    """Also draw the values that initialisation leaves at 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in network.state_dict().values():
        if tensor.ndim == 1:
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network.eval()


@pytest.mark.parametrize(("depth", "width"), [(8, 4), (20, 16), (26, 5)])
def test_the_residual_network_is_the_small_one_under_other_names(depth, width):
    blocks = (depth - 2) // 6
    network = randomise(cifar_resnet(depth, width, num_classes=7))
    reference = small_resnet(7, [width, 2 * width, 4 * width], [blocks] * 3, [1, 2, 2], 3, 1).eval()
    outer = {"conv": "stem", "bn": "norm", "fc": "classifier"}
    renamed = {}
    for name, tensor in network.state_dict().items():
        first, rest = name.split(".", 1)
        if first == "blocks":
            number, rest = rest.split(".", 1)
            renamed[f"stages.{int(number) // blocks}.{int(number) % blocks}.{re.sub('^bn', 'norm', rest)}"] = tensor
        else:
            renamed[f"{outer[first]}.{rest}"] = tensor
    reference.load_state_dict(renamed)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network(images), reference(images), rtol=0, atol=0)


def test_the_residual_networks_have_the_published_size():
    # He et al. 2015, table 6: 0.27 and 0.85 million parameters, without projections.
    for depth, millions in ((20, 0.27), (56, 0.85)):
        network = cifar_resnet(depth)
        projections = sum(p.numel() for name, p in network.named_parameters() if "shortcut" in name)
        assert (sum(p.numel() for p in network.parameters()) - projections) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize(
    ("depth", "kept"),
    [
        (11, [0, 2, 4, 5, 7, 8, 10, 11]),
        (13, [0, 1, 3, 4, 6, 7, 9, 10, 12, 13]),
        (16, [0, 1, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16]),
        (19, [0, 1, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19]),
    ],
)
def test_vgg_pools_at_the_numbers_without_a_convolution(depth, kept):
    network = randomise(cifar_vgg(depth, num_classes=7))
    state = network.state_dict()
    assert len(kept) == depth - 3
    names = {f"layers.{i}.{name}" for i in kept for name in ("conv.weight", "conv.bias", "bn.weight", "bn.bias")}
    assert {name for name, _ in network.named_parameters()} == names | {"fc.weight", "fc.bias"}
    x = images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for i in range(kept[-1] + 1):
        if i in kept:
            layer = {name: state[f"layers.{i}.{name}"] for name in ("conv.weight", "conv.bias", "bn.weight", "bn.bias")}
            statistics = state[f"layers.{i}.bn.running_mean"], state[f"layers.{i}.bn.running_var"]
            x = F.conv2d(x, layer["conv.weight"], layer["conv.bias"], padding=1)
            x = F.batch_norm(x, *statistics, layer["bn.weight"], layer["bn.bias"]).clamp(min=0)
        else:
            x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    # OpenLTH averages 2x2 and flattens what is left, which must be one value for each of the classifier's inputs.
    x = F.linear(F.avg_pool2d(x, 2).flatten(1), state["fc.weight"], state["fc.bias"])
    assert x.shape == (2, 7)
    with torch.no_grad():
        torch.testing.assert_close(network(images), x)


def test_weights_are_drawn_by_their_fan_in():
    torch.manual_seed(0)
    for network in (cifar_resnet(8, 32), cifar_vgg(11)):
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
                deviation = module.weight.std().item()
                assert deviation * (module.weight[0].numel() / 2) ** 0.5 == pytest.approx(1, abs=0.05)


def test_depths_that_there_are_not_are_refused():
    for depth in (2, 18, 21, -4):
        with pytest.raises(UserError, match=f"no depth {depth}: give 8"):
            cifar_resnet(depth)
    with pytest.raises(UserError, match="no depth 12: give one of 11, 13, 16, 19"):
        cifar_vgg(12)
