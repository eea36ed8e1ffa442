"""The many ways in which people save a network's weights and masks, and how each must be read."""

import argparse
import copy
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel

from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.import_network import import_network
from workflow_scripts.networks.masks import read_masks
from workflow_scripts.networks.pruning import describe_density
from workflow_scripts.networks.state_dicts import WRAPPERS, Reading
from workflow_scripts.networks.weights import load_weights
from workflow_scripts.shared.files import UserError
from workflow_scripts.train.prune_once import prune_once

State = dict[str, Tensor]
HERE = f"{__name__}:net"
NOTHING = torch.zeros(8, 3, 3, 3)  # a mask of conv1
ANOTHER = r"a different architecture from the constructor's: "


class Net(nn.Module):
    """Three weight layers, one within a container, as in checkpoints of larger networks."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer4 = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer4(self.bn1(self.conv1(x))).mean((2, 3)))


def net(seed: int = 1, **arguments: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net(**arguments)


def state() -> State:
    return net().state_dict()


def ones() -> State:
    """Entries that must not be taken for the network."""
    return {name: torch.ones_like(tensor) for name, tensor in state().items()}


def under(prefix: str, tensors: State) -> State:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without(layer: str, tensors: State) -> State:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(layer)}


def file_of(folder: Path, contents: object) -> Path:
    torch.save(contents, folder / "file.pt")
    return folder / "file.pt"


def equal(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def compiled(network: nn.Module) -> Any:
    return torch.compile(network)


def compiled_part() -> State:
    network: Any = net()
    network.layer4 = torch.compile(network.layer4)
    return network.state_dict()


def in_middle(*wrappers: str) -> State:
    middle = ".".join(["layer4", *wrappers, ""])
    return {name.replace("layer4.", middle): tensor for name, tensor in state().items()}


def by_module() -> dict[str, State]:
    nested: dict[str, State] = {}
    for name, tensor in state().items():
        module, _, own = name.rpartition(".")
        nested.setdefault(module, {})[own] = tensor
    return nested


def of_mmpretrain() -> State:
    return {("head." if name.startswith("fc") else "backbone.") + name: t for name, t in state().items()}


COUNT = torch.zeros(1)
# By name: the contents of the file, and what the log reports as left out.
TAKEN: dict[str, tuple[Callable[[], object], str | None]] = {
    "plain": (state, ""),
    "among plain values": (lambda: state() | {"epoch": 3, "arch": "net"}, "arch, epoch"),
    "two levels deep": (lambda: {"state": {"model": state(), "step": 1}}, "state.step"),
    "any key": (lambda: {"weights": state(), "arguments": ["a", 1, None]}, "arguments"),
    "a dict for each module": (by_module, ""),
    "sparse": (lambda: state() | {"fc.weight": state()["fc.weight"].to_sparse()}, ""),
    "double": (lambda: {n: t.double() if t.is_floating_point() else t for n, t in state().items()}, ""),
    "without counts of batches": (lambda: {n: t for n, t in state().items() if "num_batches" not in n}, ""),
    "DataParallel": (lambda: {"state_dict": nn.DataParallel(net()).state_dict()}, ""),
    "DataParallel in the middle": (lambda: in_middle("module"), ""),
    "compiled": (lambda: {"model": compiled(net()).state_dict()}, ""),
    "compiled part": (compiled_part, ""),
    "DDP, compiled": (lambda: {"model": under("module._orig_mod", state())}, ""),
    "FSDP and recomputation": (lambda: in_middle("_fsdp_wrapped_module", "_checkpoint_wrapped_module"), ""),
    "DeepSpeed": (lambda: {"module": state(), "optimizer": None}, "optimizer"),
    "SWA": (lambda: AveragedModel(net()).state_dict(), "n_averaged"),
    "thop": (lambda: state() | {"total_ops": COUNT, "conv1.total_params": COUNT}, "conv1.total_params, total_ops"),
    "extra state": (lambda: state() | {"fc._extra_state": {"a": 1}}, "fc._extra_state"),
    "extra state, a tensor": (lambda: state() | {"fc._extra_state": COUNT}, "fc._extra_state"),
    "torchvision's EMA": (
        lambda: {"model": state(), "model_ema": under("module", ones()) | {"n_averaged": COUNT}, "args": None},
        "args, model_ema",
    ),
    "timm": (
        lambda: {"state_dict": state(), "state_dict_ema": ones(), "args": argparse.Namespace(lr=0.1, of=["a"])},
        "args, state_dict_ema",
    ),
    "only EMA": (lambda: {"model_ema": state(), "epoch": 1}, "epoch"),
    "a best one beside the last": (lambda: {"state_dict": state(), "best_state": ones()}, "best_state"),
    "optimiser": (
        lambda: {"model": state(), "optimizer": {"state": {0: under("exp_avg", ones())}}},
        "optimizer",
    ),
    "Lightning": (lambda: {"state_dict": under("model", state()), "loops": {}}, ""),
    "Lightning with a criterion": (
        lambda: {"state_dict": under("model", state()) | {"criterion.weight": COUNT}},
        "state_dict.criterion",
    ),
    "Lightning with metrics": (
        lambda: {"state_dict": under("net", state()) | {"train_acc.tp": COUNT, "val_acc.tp": COUNT}},
        "state_dict.train_acc, state_dict.val_acc",
    ),
    "Lightning with a teacher": (
        lambda: {"state_dict": under("model", state()) | under("teacher", ones())},
        "state_dict.teacher",
    ),
    "Lightning itself the network": (lambda: {"state_dict": state() | {"loss_fn.weight": COUNT}}, "state_dict.loss_fn"),
    "mmpretrain": (
        lambda: {"meta": {"a": 1}, "state_dict": of_mmpretrain() | {"data_preprocessor.mean": COUNT}},
        "meta, state_dict.data_preprocessor",
    ),
    "MoCo": (
        lambda: {
            "state_dict": under("module.encoder_q", state())
            | under("module.encoder_k", ones())
            | {"module.queue": COUNT}
        },
        "state_dict.module.encoder_k, state_dict.module.queue",
    ),
    "gradient scaler": (
        lambda: {"model": state(), "scaler": {"scale": 1.0}, "scheduler": {"base_lrs": [0.1]}},
        "scaler, scheduler",
    ),
    "Fabric": (lambda: {"model": under("_forward_module", state())}, ""),
    "thop, DataParallel": (lambda: under("module", state()) | {"total_ops": COUNT, "module.total_ops": COUNT}, None),
    "one prefix of all": (lambda: under("some.thing", state()), ""),
}


@pytest.mark.parametrize("name", TAKEN)
def test_the_network_is_found_in_what_people_save(tmp_path, caplog, name):
    make, left = TAKEN[name]
    caplog.set_level(logging.INFO)
    network = net(2)
    assert load_weights(network, file_of(tmp_path, make())) == {}
    assert equal(network.state_dict(), state())
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path}/file.pt: took {13 if name.startswith('without') else 15} tensors")
    assert left is None or message.partition("; left out ")[2] == left


def test_numbers_of_half_precision_are_taken_as_they_are(tmp_path):
    for dtype in (torch.float16, torch.bfloat16):
        rounded = {name: t.to(dtype) if t.is_floating_point() else t for name, t in state().items()}
        network = net(2)
        load_weights(network, file_of(tmp_path, rounded))
        assert all(torch.equal(t, rounded[name].to(t.dtype)) for name, t in network.state_dict().items())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_wrappers_are_ignored_wherever_they_are(tmp_path_factory, data):
    """Any wrappers between the components of any name, below any usual prefix, at any depth of dicts."""
    wrappers = st.lists(st.sampled_from(sorted(WRAPPERS)), max_size=2)
    wrapped = {}
    for name, tensor in state().items():
        *modules, own = name.split(".")
        parts = [part for module in modules for part in (*data.draw(wrappers), module)]
        wrapped[".".join([*parts, *data.draw(wrappers), own])] = tensor
    prefix = data.draw(st.sampled_from(["", "model", "net.backbone", "module.encoder_q"]))
    contents: dict = under(prefix, wrapped) if prefix else wrapped
    for key in data.draw(st.lists(st.sampled_from(["state_dict", "ckpt", "odd"]), max_size=3)):
        contents = {key: contents, "epoch": 1, f"{key}_ema": ones()}
    network = net(2)
    load_weights(network, file_of(tmp_path_factory.mktemp("wrapped"), contents))
    assert equal(network.state_dict(), state())


@pytest.mark.parametrize(
    ("contents", "reading"),
    [
        ({"model": ones(), "model_ema": under("module", state())}, {"part": "model_ema"}),
        ({"state_dict": ones(), "state_dict_ema": state()}, {"part": "state_dict_ema"}),
        ({"a": {"net": ones()}, "b": {"net": state()}}, {"part": "b.net"}),
        ({"a": {"net": ones()}, "b": {"net": state()}}, {"part": "b"}),
        ({"student": state(), "teacher": ones()}, {"part": "student"}),
        ({"state_dict": under("student", ones()) | under("teacher", state())}, {"prefix": "teacher"}),
        ({"model": ones(), "module": state()}, {"part": "module"}),
        ({"state_dict": under("student", state()) | under("teacher", ones())}, {"prefix": "student."}),
        ({"a": under("module.encoder_q", ones()) | under("module.encoder_k", state())}, {"prefix": "encoder_k"}),
        ({"state_dict": under("a.b", state()) | {"c.weight": COUNT}}, {"prefix": "a.b"}),
        (state() | {"aux.weight": COUNT, "aux.bias": COUNT}, {"unused": ("aux",)}),
        (state() | {"aux.weight": COUNT, "aux.bias": COUNT}, {"unused": ("*.weight", "aux.bias")}),
    ],
)  # fmt: skip
def test_keys_choose_another_place(tmp_path, contents, reading):
    path = file_of(tmp_path, contents)
    try:
        network = net(2)
        load_weights(network, path)
        assert not equal(network.state_dict(), state())
    except UserError as error:  # which names the key that makes it fit
        assert any(f"{key}: " in str(error) for key in reading)
    network = net(2)
    load_weights(network, path, Reading(**reading))
    assert equal(network.state_dict(), state())


def test_a_backbone_without_its_classifier_keeps_the_one_that_was_drawn(tmp_path, caplog):
    bare = without("fc", state())
    files = (bare, {"state_dict": under("backbone", bare)}, net(classes=7).state_dict())
    for contents in files:
        path = file_of(tmp_path, contents)
        with pytest.raises(UserError, match=r"add missing: \[fc\] to it$"):
            load_weights(net(2), path)
        for missing in ("fc", "fc.*"):
            network = net(2)
            load_weights(network, path, Reading(missing=(missing,)))
            found = network.state_dict()
            assert equal(without("fc", found), bare)
            assert torch.equal(found["fc.weight"], net(2).fc.weight)
            assert "missing: fc.bias, fc.weight stay as the constructor draws them" in caplog.messages
    with pytest.raises(UserError, match=r"missing: nothing would be taken"):
        load_weights(net(2), path, Reading(missing=("*",)))
    with pytest.raises(UserError, match=r"missing: 'fx' is not a layer or tensor of the network, which has bn1\.bias"):
        load_weights(net(2), path, Reading(missing=("fx",)))


def normalised(parametrise: Callable) -> State:
    network = net()
    parametrise(network.fc)
    return network.state_dict()


NO_MASK = r"has masks in .*, but it is unclear to which weights they belong: save .* name that file under masks; or"
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "two copies": (lambda: {"a": state(), "b": ones()}, r"holds the network several times: add .* part: a, part: b$"),
    "student and teacher": (
        lambda: {"state_dict": under("student", state()) | under("teacher", ones())},
        r"add one of these .*: part: state_dict with prefix: student, part: state_dict with prefix: teacher$",
    ),
    "whole average of a network that lacks a little": (
        lambda: {"model": without("fc", state()), "model_ema": ones()},
        r"lacks fc.bias, fc.weight",
    ),
    "whole average of one with weight_norm": (
        lambda: {"model": normalised(parametrizations.weight_norm), "model_ema": ones()},
        r"original0 looks like a parametrisation",
    ),
    "Lightning's WeightAveraging": (
        lambda: {"state_dict": ones(), "current_model_state": state()},
        r"the running average under state_dict, .* add part: current_model_state or part: state_dict",
    ),
    "mmengine's EMAHook": (
        lambda: {"state_dict": ones(), "ema_state_dict": under("module", state()), "message_hub": {"a": 1}},
        r"the running average under state_dict, .* add part: ema_state_dict or part: state_dict",
    ),
    "two of which one is the outermost": (
        lambda: state() | {"model": ones()},
        r"add one of these to this network: part: model; or save only the outermost one$",
    ),
    "a layer like a metric": (lambda: state() | {"f1.weight": COUNT}, r"has f1.weight, .* add unused: \[f1\]"),
    "a dict for a layer too many": (lambda: by_module() | {"layer5": {"weight": COUNT}}, r"has layer5.weight, which"),
    "another classifier": (
        lambda: without("fc", state()) | {"fc.0.weight": COUNT},
        r"lacks fc.bias, fc.weight and has fc.0.weight.* add missing: \[fc\] and unused: \[fc.0\]",
    ),
    "masks that fit nothing": (lambda: {"state_dict": state(), "pruner": {"conv1.weight_mask": HALF}}, NO_MASK),
    "masks of a layer elsewhere": (lambda: {"model": state(), "sparsifier": {"conv1": {"mask": HALF}}}, NO_MASK),
    "one long mask": (lambda: {"state_dict": state(), "mask_vector": torch.ones(824)}, NO_MASK),
    "masks of another name": (lambda: state() | {"conv1.prune_mask": HALF}, NO_MASK),
    "a list of dicts of masks": (lambda: {"state_dict": state(), "masks": [{"conv1": HALF}]}, "masks is a list"),
    "unknown things beside an unknown prefix": (
        lambda: {"state_dict": under("resnet", state()) | {"decoder.weight": COUNT}},
        r"below resnet, and state_dict.decoder.weight beside it: if the network .* add prefix: resnet",
    ),
    "one tensor more": (
        lambda: state() | {"aux.weight": COUNT},
        ANOTHER + r"it has aux.weight, which the network lacks; .*add unused: \[aux\]",
    ),
    "one layer less": (lambda: without("layer4.1", state()), r"it lacks layer4.1.bias.*missing: \[layer4.1\]"),
    "other classes": (lambda: net(classes=7).state_dict(), r"fc.weight is 7 x 8, but the network's is 4 x 8"),
    "weight_norm": (lambda: normalised(parametrizations.weight_norm), r"original0 looks like a parametrisation"),
    "old spectral_norm": (lambda: normalised(nn.utils.spectral_norm), r"fc.weight_u looks like a parametrisation"),
    "only an optimiser": (
        lambda: {"optimizer": {"state": {0: {"momentum_buffer": COUNT}}}, "epoch": 1},
        "should hold a state dict, but only holds epoch, optimizer",
    ),
    "nothing": (dict, "but only holds an empty dict"),
    "an empty dict": (lambda: {"state_dict": {}}, "but only holds state_dict"),
    "a list": (lambda: list(state().values()), "holds a list, not a dict of tensors by name"),
    "a whole network": (net, r"holds .*Net, a whole network or other object that only running code"),
    "NumPy's arrays": (lambda: {n: t.numpy() for n, t in state().items()}, "holds NumPy objects"),
    "not finite": (lambda: state() | {"fc.bias": torch.full((4,), torch.nan)}, "fc.bias holds numbers that are not"),
    "beyond single precision": (
        lambda: state() | {"fc.bias": torch.full((4,), 1e300, dtype=torch.float64)},
        "fc.bias holds numbers that are not",
    ),
    "no data": (lambda: {n: t.to("meta") for n, t in state().items()}, "conv1.weight has no data"),
    "complex": (lambda: state() | {"fc.bias": torch.zeros(4, dtype=torch.complex64)}, "fc.bias is complex"),
    "whole numbers": (lambda: state() | {"fc.bias": torch.ones(4, dtype=torch.int8)}, "fc.bias holds whole numbers"),
    "quantised": (
        lambda: state() | {"fc.weight": torch.quantize_per_tensor(state()["fc.weight"], 0.1, 0, torch.qint8)},
        "fc.weight is quantised",
    ),
    # Two kilobytes on the disk.
    "a tensor of 10^12 numbers": (
        lambda: state() | {"fc.weight": torch.zeros(1).expand(10**6, 10**6)},
        "fc.weight is 1000000 x 1000000, but the network's is 4 x 8",
    ),
    "a name for the terminal": (
        lambda: state() | {"\x1b[31m" + 900 * "k": COUNT},
        r"it has \?\[31mk{90,100}\.\.\., which",
    ),
    "two things of one name": (lambda: {"a": {"b": COUNT}, "a.b": COUNT}, "holds two entries called a.b"),
    "a list of masks": (lambda: {"state_dict": state(), "masks": [NOTHING]}, "masks is a list: save masks as tensors"),
    "masks elsewhere": (
        lambda: {"model": {"state_dict": state()}, "pruning": {"masks": {"conv1": NOTHING}}},
        r"masks in pruning.masks, but it is unclear .* name that file under masks",
    ),
    "masks of another network": (lambda: {"state_dict": state(), "masks": {"conv9": COUNT}}, "has a mask for conv9"),
    "two masks that differ": (
        lambda: pruned_by_torch("conv1").state_dict() | {"masks": {"conv1": NOTHING}},
        "holds two different masks of conv1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:.*spectral_norm.*")
def test_unusable_files_are_refused_with_a_sentence_that_says_why(tmp_path, name):
    make, words = REFUSED[name]
    network = net(2)
    with pytest.raises(UserError, match=words) as told:
        load_weights(network, file_of(tmp_path, make()))
    assert str(told.value).startswith(f"{tmp_path}/file.pt ") or str(told.value).startswith(f"{tmp_path}/file.pt: ")
    assert "\n" not in str(told.value) and len(str(told.value)) < 1000
    assert equal(network.state_dict(), net(2).state_dict())  # nothing was half taken


def torch_script(path: Path) -> None:
    torch.jit.save(torch.jit.trace(net().eval(), torch.zeros(1, 3, 9, 9)), path)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("file/data.pkl", bytes(10**6))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (torch_script, "is TorchScript, which holds code: save only the weights"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid "), "is a Git LFS pointer"),
        (lambda path: path.write_text("\n<!DOCTYPE html><html>404</html>"), "is a web page"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text('{"weight_map": {}}'), "is JSON, perhaps the index of weights in several files"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "is an HDF5 file"),
        (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(99)), "is compressed by gzip: unpack it"),
        (lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "a"), "is a zip archive that torch has not written"),
        (lambda path: zipfile.ZipFile(path, "w").writestr("a.npy", "a"), "is an archive of NumPy arrays"),
        (zipped, "is compressed, which torch never does"),
        (lambda path: path.write_bytes(file_of(path.parent, state()).read_bytes()[:5000]), "is damaged, or another"),
        (lambda path: path.write_bytes(b"\x08\0\0\0\0\0\0\0{}"), "is damaged, or another kind of file"),
        (lambda path: path.mkdir(), "is a folder, pipe, socket or device, not a file"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_kinds_of_files_are_recognised(tmp_path, write, words):
    path = tmp_path / "weights.pt"
    write(path)
    for read in (lambda: load_weights(net(2), path), lambda: read_masks(net(2), path)):
        with pytest.raises(UserError, match=words) as told:
            read()
        assert str(path) in str(told.value)


def test_safetensors_are_known_by_their_contents(tmp_path):
    for name in ("weights.safetensors", "weights.pt"):
        safetensors.torch.save_file(under("model", state()), tmp_path / name)
        network = net(2)
        load_weights(network, tmp_path / name)
        assert equal(network.state_dict(), state())


def pruned_by_torch(*layers: str) -> Any:
    network = net()
    for layer in layers:
        prune.l1_unstructured(network.get_submodule(layer), "weight", 0.5)
    return network


HALF: torch.Tensor = pruned_by_torch("conv1").conv1.weight_mask.detach()
# By name: the masks, alone in a file or beside the weights.
MASKS: dict[str, dict] = {
    "layer": {"conv1": HALF},
    "weight": {"conv1.weight": HALF},
    "torch's buffer": {"conv1.weight_mask": HALF},
    "a layer's own": {"conv1.mask": HALF},
    "of a dict for each layer": {"conv1": {"weight": HALF}},
    "bools": {"conv1": HALF.bool()},
    "whole numbers": {"module.conv1": HALF.int()},
    "sparse": {"conv1": HALF.to_sparse()},
    "with biases": {"conv1": HALF, "fc.bias": torch.ones(4), "bn1.weight": torch.ones(8)},
    "with None": {"conv1": HALF, "fc.bias": None},
    "with a batch-norm's buffers": {"conv1": HALF, "bn1.running_mean": torch.ones(8)},
    "with a number": {"conv1": HALF, "sparsity": 0.5},
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_found_alone_in_a_dict_and_beside_the_weights(tmp_path, name):
    masks = MASKS[name]
    alone = [masks, {"mask": masks, "epoch": 1}, {"masks": masks, "state_dict": state()}]
    for contents in alone:
        found = read_masks(net(), file_of(tmp_path, contents))
        assert found.keys() == {"conv1"} and torch.equal(found["conv1"], HALF.bool())
    for key in ("mask", "masks", "mask_dict"):
        network = net(2)
        found = load_weights(network, file_of(tmp_path, {"ckpt": {"state_dict": state(), key: masks}, "epoch": 1}))
        assert found.keys() == {"conv1"} and torch.equal(found["conv1"], HALF.bool())
        assert equal(network.state_dict(), state())


@pytest.mark.parametrize("name", ["torch's buffer", "a layer's own"])
def test_masks_among_the_weights_are_applied(tmp_path, name):
    network = net(2)
    masks = load_weights(network, file_of(tmp_path, {"state_dict": under("module", state() | MASKS[name])}))
    assert masks.keys() == {"conv1"} and torch.equal(masks["conv1"], HALF.bool())
    assert torch.equal(network.conv1.weight, state()["conv1.weight"] * HALF)


def test_masks_in_a_checkpoint_are_applied_with_a_warning_for_an_empty_layer(tmp_path, caplog):
    masks = {
        "conv1.weight": torch.ones(8, 3, 3, 3),
        "layer4.0.weight": torch.zeros(8, 8, 3, 3),
        "fc.weight": torch.ones(4, 8),
    }
    path = file_of(tmp_path, {"state_dict": state(), "masks": masks})
    network, left = import_network({"constructor": HERE, "arguments": {}}, str(path), None, 0, 9)
    assert describe_density(network, left)["density"]["prunable"] == pytest.approx((216 + 32) / (216 + 576 + 32))
    assert not network.layer4[0].weight.any()
    assert any(message.startswith("no weight remains in layer4.0: ") for message in caplog.messages)
    # A file of masks of their own goes first.
    other = tmp_path / "masks.pt"
    torch.save({"conv1": NOTHING}, other)
    network, left = import_network({"constructor": HERE, "arguments": {}}, str(path), other, 0, 9)
    assert left.keys() == {"conv1"} and not network.conv1.weight.any() and network.layer4[0].weight.all()


def test_masks_that_torch_left_and_others_in_a_file_are_refused(tmp_path):
    path, other = file_of(tmp_path, pruned_by_torch("conv1").state_dict()), tmp_path / "masks.pt"
    for masks in ({"conv1": torch.ones(8, 3, 3, 3)}, {"fc": torch.ones(4, 8)}):
        torch.save(masks, other)
        with pytest.raises(UserError, match=r"masks.pt has a different mask of conv1 than .*file.pt, or none"):
            import_network({"constructor": HERE, "arguments": {}}, str(path), other, 0, 9)
    torch.save({"conv1": HALF}, other)
    _, masks = import_network({"constructor": HERE, "arguments": {}}, str(path), other, 0, 9)
    assert masks.keys() == {"conv1"}


def test_layers_of_zeros_are_accepted_with_a_warning(tmp_path, caplog):
    for zero in (["layer4.0"], ["conv1", "fc", "layer4.0"]):
        weights = {name: t * 0 if name.removesuffix(".weight") in zero else t for name, t in state().items()}
        network, masks = import_network(
            {"constructor": HERE, "arguments": {}}, str(file_of(tmp_path, weights)), None, 0, 9
        )
        remaining = {layer["name"]: layer["remaining"] for layer in describe_density(network, masks)["layers"]}
        assert [name for name in sorted(remaining) if not remaining[name]] == zero
        assert caplog.messages[-1].startswith(f"no weight remains in {', '.join(zero)}: ")


def test_torchs_pruning_is_taken_for_the_layers_that_have_it(tmp_path):
    for layers in (("conv1",), ("conv1", "layer4.0", "fc")):
        origin = pruned_by_torch(*layers)
        for contents in (origin.state_dict(), {"state_dict": nn.DataParallel(origin).state_dict()}):
            network = net(2)
            masks = load_weights(network, file_of(tmp_path, contents))
            assert masks.keys() == set(layers) and all(mask.float().mean() == 0.5 for mask in masks.values())
            assert torch.equal(network.conv1.weight, origin.conv1.weight)


def test_masks_of_another_copy_do_not_matter(tmp_path):
    averaged = {"module.conv1.weight_orig": ones()["conv1.weight"], "module.conv1.weight_mask": HALF / 2}
    averaged |= under("module", without("conv1", ones()))
    network = net(2)
    contents = {"model": pruned_by_torch("conv1").state_dict(), "model_ema": averaged}
    assert load_weights(network, file_of(tmp_path, contents)).keys() == {"conv1"}
    assert torch.equal(network.conv1.weight, state()["conv1.weight"] * HALF)


BAD_MASKS = [
    (torch.ones(()), "the mask of conv1(.weight)? is a number, but its weight is 8 x 3 x 3 x 3"),
    (torch.ones(8, 1, 1, 1), "the mask of conv1(.weight)? is 8 x 1 x 1 x 1, but its weight is 8 x 3 x 3 x 3"),
    (torch.ones(1).expand(10**6, 10**6), "the mask of conv1(.weight)? is 1000000 x 1000000"),
    (torch.full((8, 3, 3, 3), 0.5), "the mask of conv1(.weight)? holds numbers other than 0 and 1"),
    (torch.full((8, 3, 3, 3), torch.nan), "the mask of conv1(.weight)? holds numbers other than 0 and 1"),
    (torch.ones(8, 3, 3, 3, device="meta"), "the mask of conv1(.weight)? has no data"),
]


@pytest.mark.parametrize(("mask", "words"), BAD_MASKS)
def test_a_mask_that_only_seems_to_fit_is_refused_wherever_it_is(tmp_path, mask, words):
    pair = {"conv1.weight_orig": state()["conv1.weight"], "conv1.weight_mask": mask}
    beside = (
        without("conv1", state()) | pair,
        {"state_dict": state(), "masks": {"conv1": mask}},
        state() | {"conv1.weight_mask": mask},
    )
    for contents in beside:
        with pytest.raises(UserError, match=words):
            load_weights(net(), file_of(tmp_path, contents))
    with pytest.raises(UserError, match=words):
        read_masks(net(), file_of(tmp_path, {"conv1": mask}))


class Cyclic(nn.Module):
    """A module that contains itself."""

    def __init__(self) -> None:
        super().__init__()
        self.itself = self


class Lazy(nn.Module):
    """A network whose weights have no shape yet."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.LazyConv2d(4, 3)


class Expanded(nn.Module):
    """Weights that share one number in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1).expand(4, 4))


class Stateful(nn.Linear):
    """A layer whose state is not only tensors."""

    def get_extra_state(self) -> dict:
        return {"scale": 1}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Cyclic", "contains itself"),
        ("Lazy", "conv.weight has no shape yet: let it give its lazy layers their sizes"),
        ("Expanded", "numbers of .*weight share one place in memory"),
        ("quantised", "fc.* is quantised, sparse or not a tensor: build it in floating point"),
        ("stateful", "_extra_state is quantised, sparse or not a tensor: build it in floating point"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_networks_of_other_than_plain_tensors_are_refused(name, words):
    with pytest.raises(UserError, match=rf"constructor .*:{name} returns a network .*({words})"):
        build({"constructor": f"{__name__}:{name}", "arguments": {}}, None, 0)


def stateful() -> nn.Module:
    return Stateful(3, 3)


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(copy.deepcopy(net()), {nn.Linear})


def test_every_matrix_of_a_vision_transformer_counts_and_is_pruned(tmp_path):
    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    described = {"constructor": "torchvision.models:VisionTransformer", "arguments": sizes | {"num_classes": 4}}
    origin = build(described, None, seed=0)
    generator = torch.Generator().manual_seed(0)
    remaining = 0
    with torch.no_grad():
        for name, weight in origin.named_parameters():
            if weight.ndim > 1 and name not in ("class_token", "encoder.pos_embedding"):
                weight.copy_(torch.rand(weight.shape, generator=generator) < 0.1)
                remaining += int(weight.sum())
    network, masks = import_network(described, str(file_of(tmp_path, origin.state_dict())), None, 0, 32)
    density = describe_density(network, masks)["density"]
    matrices, parameters = 3072 + 2 * (768 + 256 + 2 * 512) + 64, sum(p.numel() for p in network.parameters())
    assert density["prunable"] == pytest.approx(remaining / matrices)
    assert density["all"] == pytest.approx((parameters - matrices + remaining) / parameters)
    pruned = prune_once(build(described, None, seed=0), {}, "layerwise", 0.03, [], 0)
    in_proj = pruned["encoder.layers.encoder_layer_0.self_attention.in_proj_weight"]
    assert int(in_proj.sum()) == round(0.03 * 768)
