"""Forward passes: fused and compiled networks have the maps of the plain one; otherwise passes are plain."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest
import torch
from conftest import NETWORK
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from workflow_scripts.dissect.dump_activations import stored
from workflow_scripts.dissect.forward_passes import ForwardPass, fuse_batch_norms, largest_difference
from workflow_scripts.dissect.layer_outputs import layer_outputs
from workflow_scripts.networks.constructors import build
from workflow_scripts.shared import memory


class Parts(nn.Module):
    """Convolutions and batch-norms, some of which cannot be fused."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.grouped, self.norm = nn.Conv2d(8, 8, 3, groups=4), nn.BatchNorm2d(8, affine=False)
        self.used_twice, self.of_used_twice = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.run_twice, self.of_first, self.of_second = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.by_batch, self.batch_norm = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, track_running_stats=False)
        self.alone = nn.BatchNorm2d(8)
        self.named, self.norm_named = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.alias = self.norm_named
        self.weighted, self.of_weighted = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1)), nn.BatchNorm2d(8)
        self.hooked, self.of_hooked = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.hooked.register_forward_hook(lambda _module, _inputs, output: output + 1)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3))
        self.of_block = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.grouped(self.plain(x)))
        once = self.used_twice(x)
        x = self.of_used_twice(once) + once
        x = self.of_second(self.run_twice(self.of_first(self.run_twice(x))))
        x = self.alone(torch.relu(self.batch_norm(self.by_batch(x))))
        x = self.of_weighted(self.weighted(self.alias(self.named(x))))
        return self.of_block(self.block(self.of_hooked(self.hooked(x)))).mean((2, 3))


def drawn(network: nn.Module, seed: int = 0) -> nn.Module:
    """A network in double precision and evaluation mode, with all numbers drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    network.double().eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.5 + 0.1)
                if name.endswith("var"):
                    tensor.abs_().add_(0.01)
    return network


def outputs_of(network: nn.Module, layers: list[str], pictures: Tensor) -> dict[str, Tensor]:
    with layer_outputs(network, layers) as outputs, torch.no_grad():
        outputs["logits"] = network(pictures)
        return dict(outputs)


def pictures(count: int = 3, side: int = 9) -> Tensor:
    return torch.randn(count, side, side, 3, generator=torch.Generator().manual_seed(1)).permute(0, 3, 1, 2)


FUSED = {"plain.0": "plain.1", "grouped": "norm", "block.2": "of_block"}


@pytest.mark.parametrize(
    ("layers", "left"),
    [
        ([], []),
        (["plain"], []),
        (["plain.0"], ["plain.0"]),
        (["plain.1"], ["plain.0"]),
        (["grouped", "norm"], ["grouped"]),
        (["block"], ["block.2"]),
        (["block.0", "of_block"], ["block.2"]),
        (["block.1", "run_twice#2"], []),
    ],
)
def test_all_pairs_that_may_be_fused_are_fused_and_no_layer_changes(layers, left):
    network = drawn(Parts())
    shown = pictures().double()
    expected = outputs_of(network, layers, shown)
    names = [name for name, _ in network.named_modules()]
    with layer_outputs(network, layers):
        replaced = fuse_batch_norms(network)
    assert replaced.keys() == {name for pair in FUSED.items() if pair[0] not in left for name in pair}
    assert [name for name, _ in network.named_modules()] == names
    found = outputs_of(network, layers, shown)
    assert found.keys() == expected.keys()
    for name, output in expected.items():
        torch.testing.assert_close(found[name], output, rtol=1e-9, atol=1e-9)


class BatchNormAct2d(nn.BatchNorm2d):
    """A stand-in for timm's class."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


@pytest.mark.parametrize(("package", "fused"), [("timm.layers.norm_act", True), ("mine", False)])
def test_a_norm_with_its_activation_is_fused_if_its_class_is_known(monkeypatch, package, fused):
    monkeypatch.setattr(BatchNormAct2d, "__module__", package)
    network = drawn(nn.Sequential(nn.Conv2d(3, 5, 3), BatchNormAct2d(5), nn.Conv2d(5, 4, 1), nn.Flatten()))
    shown = pictures().double()
    expected = outputs_of(network, ["1.act"], shown)
    with layer_outputs(network, ["1.act"]):
        assert bool(fuse_batch_norms(network)) == fused
    found = outputs_of(network, ["1.act"], shown)
    for name, output in expected.items():
        torch.testing.assert_close(found[name], output, rtol=1e-9, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["convolution", "grouped", "norm", "relu"]), min_size=1, max_size=8),
    st.integers(0, 99),
    st.data(),
)
def test_any_chain_keeps_the_outputs_of_any_layers(kinds, seed, data):
    make = {
        "convolution": lambda: nn.Conv2d(4, 4, 3, padding=1),
        "grouped": lambda: nn.Conv2d(4, 4, 1, groups=2, bias=False),
        "norm": lambda: nn.BatchNorm2d(4),
        "relu": lambda: nn.ReLU(inplace=True),
    }
    network = drawn(nn.Sequential(nn.Conv2d(3, 4, 1), *(make[kind]() for kind in kinds), nn.Flatten()), seed)
    layers = data.draw(st.lists(st.sampled_from([str(place) for place in range(len(kinds) + 1)]), unique=True))
    shown = pictures(2, 5).double()
    expected = outputs_of(network, layers, shown)
    with layer_outputs(network, layers):
        fuse_batch_norms(network)
    found = outputs_of(network, layers, shown)
    for name, output in expected.items():
        torch.testing.assert_close(found[name], output, rtol=1e-8, atol=1e-8 * float(output.abs().max()))


def run(network: nn.Module, layers: list[str], execution: str, shown: list[Tensor], **options: str) -> list[dict]:
    """The maps of each portion of pictures."""
    with layer_outputs(network, layers, partial(stored, precision="float32")) as outputs:
        maps_of = ForwardPass(network, outputs, execution=execution, **options)
        return [maps_of(portion) for portion in shown]


class Standardised(nn.Conv2d):
    """A convolution that standardises its weights."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


class Branching(nn.Module):
    """A network whose path depends on its pictures."""

    def __init__(self, make: Callable = nn.Conv2d) -> None:
        super().__init__()
        self.convolution, self.norm = make(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.convolution(x))
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("network", "layer", "words"),
    [
        (Branching, "norm", "the network cannot be fused (TraceError: symbolically traced variables cannot be used"),
        (
            lambda: nn.Sequential(
                nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), Standardised(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
            ),
            "4",
            "the network cannot be fused (maps would differ by at most ",
        ),
    ],
)
@pytest.mark.parametrize("forward", ["float32", "bfloat16"])
def test_a_network_that_cannot_be_fused_runs_plain_and_a_line_says_so(caplog, network, layer, words, forward):
    caplog.set_level(logging.INFO)
    made = drawn(network()).float()
    shown = [pictures(3), pictures(2)]
    expected = run(made, [layer], "plain", shown, forward=forward)
    modules = dict(made.named_modules())
    found = run(made, [layer], "fused", shown, forward=forward)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one[layer], other[layer])
    assert dict(made.named_modules()) == modules
    [record] = caplog.records
    assert record.message.startswith(words) and record.message.endswith("): its passes are plain")


@pytest.mark.parametrize("forward", ["float32", "bfloat16"])
def test_a_fused_network_has_the_maps_of_the_plain_one(caplog, forward):
    caplog.set_level(logging.INFO)
    layers = ["stages.0", "stages.0.0.conv1", "stages.1"]
    shown = [pictures(4), pictures(3)]
    expected = run(build(NETWORK, 4, seed=1), layers, "plain", shown)
    made = build(NETWORK, 4, seed=1)
    found = run(made, layers, "fused", shown, forward=forward)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in build(NETWORK, 4, seed=1).modules())
    [record] = caplog.records
    assert record.message.startswith(f"the network is fused ({norms - 1} batch-norms): ")
    assert [name for name, module in made.named_modules() if isinstance(module, nn.BatchNorm2d)] == ["stages.0.0.norm1"]
    near = 1e-5 if forward == "float32" else 0.05
    for one, exact in zip(found, expected, strict=True):
        for layer in layers:
            torch.testing.assert_close(one[layer], exact[layer], rtol=near, atol=near * float(exact[layer].abs().max()))


def test_a_network_that_cannot_be_compiled_runs_plain_and_a_line_says_so(caplog):
    caplog.set_level(logging.INFO)
    made = drawn(Branching()).float()
    shown = [pictures(3), pictures(2)]
    expected = run(made, ["norm"], "plain", shown)
    found = run(made, ["norm"], "compiled", shown)
    assert all(torch.equal(one["norm"], other["norm"]) for one, other in zip(found, expected, strict=True))
    [message] = [record.message for record in caplog.records if record.name == "root"]
    assert message.startswith("the network cannot be compiled (Unsupported: ") and message.endswith("passes are plain")


def test_without_a_compiler_the_network_runs_plain_and_a_line_says_so(caplog, monkeypatch, tmp_path):
    import torch._inductor.config as inductor

    caplog.set_level(logging.INFO)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    made = build(NETWORK, 4, seed=1)
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        found = run(made, ["stages.1"], "compiled", [pictures(3)])
    expected = run(made, ["stages.1"], "plain", [pictures(3)])
    assert torch.equal(found[0]["stages.1"], expected[0]["stages.1"])
    [message] = [record.message for record in caplog.records if record.name == "root"]
    assert message.startswith("the network cannot be compiled (") and message.endswith("its passes are plain")


@pytest.mark.rare
@pytest.mark.parametrize("forward", ["float32", "bfloat16"])
def test_a_compiled_network_has_the_maps_of_the_plain_one(caplog, forward):
    caplog.set_level(logging.INFO)
    layers = ["stages.0.0.conv1", "stages.0.0.norm2", "stages.1"]
    made = build(NETWORK, 4, seed=1)
    shown = [pictures(4), pictures(4).flip(0), pictures(4)[:3], pictures(4)[2:]]
    expected = run(made, layers, "plain", shown)
    found, again = (run(made, layers, "compiled", shown, forward=forward) for _ in range(2))
    assert sum("the network is compiled: " in record.message for record in caplog.records) == 2
    for one, twice, exact in zip(found, again, expected, strict=True):
        for layer in layers:
            assert one[layer].shape == exact[layer].shape
            assert torch.equal(one[layer], twice[layer])
            near = 1e-5 if forward == "float32" else 0.05
            torch.testing.assert_close(one[layer], exact[layer], rtol=near, atol=near * float(exact[layer].abs().max()))


def test_differences_are_shares_of_a_layers_largest_value():
    expected = {"a": torch.tensor([0.0, -4.0]), "dead": torch.zeros(3)}
    assert largest_difference(expected, expected) == 0
    assert largest_difference(expected | {"a": torch.tensor([1.0, -4.0])}, expected) == 0.25
    assert largest_difference(expected | {"dead": torch.tensor([0, 0, 1e-6])}, expected) > 1e9
    assert not largest_difference(expected | {"a": torch.tensor([float("nan"), 0])}, expected) <= 1e9


TOUCH = """
import ctypes, resource, sys
import numpy as np
from workflow_scripts.shared import memory
if sys.argv[1] == "kept":
    memory.keep_freed_memory()
else:
    ctypes.CDLL(None).mallopt(memory.M_MMAP_THRESHOLD, 2**20)
for turn in range(12):
    if turn == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = np.ones(3 * 2**23, np.uint8)
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)  # pages that the system gave
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_freed_memory_is_kept():
    plain_pages = os.environ | {"NUMPY_MADVISE_HUGEPAGE": "0"}
    returned, kept = (
        int(
            subprocess.run(
                [sys.executable, "-c", TOUCH, how], capture_output=True, text=True, check=True, env=plain_pages
            ).stdout
        )
        for how in ("returned", "kept")
    )
    assert kept < 100 and returned > 1000


def test_without_glibc_memory_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _name: object())
    memory.keep_freed_memory()
