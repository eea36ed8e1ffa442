"""The mask rule, nesting and densities, against a slow implementation of the rule."""

import math

import pytest
import torch
from conftest import NETWORK
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.openlth_models import cifar_resnet
from workflow_scripts.networks.prunable import weights_of
from workflow_scripts.networks.pruning import (
    apply_masks,
    describe_density,
    full_masks,
    log_dense,
    prune_by_magnitude,
    remaining_weights,
)
from workflow_scripts.networks.torchvision_models import models
from workflow_scripts.shared.files import UserError


def slow_mask(weights: list[float], remaining: list[bool], exempt: int, fraction: float) -> list[bool]:
    """The rule of OpenLTH, weight by weight; `exempt` further weights are exempt."""
    left = sorted(abs(weight) for weight, keep in zip(weights, remaining, strict=True) if keep)
    threshold = left[math.ceil(fraction * (len(left) + exempt))]
    return [keep and abs(weight) > threshold for weight, keep in zip(weights, remaining, strict=True)]


class ThreeLayers(torch.nn.Module):
    """Two layers that share out `weights`, and one of zeros, which would be pruned first if it were not exempt."""

    def __init__(self, weights: list[float], exempt: int = 0) -> None:
        super().__init__()
        half = len(weights) // 2
        self.exempt = torch.nn.Linear(max(exempt, 1), 1)
        self.first = torch.nn.Linear(half, 1)
        self.second = torch.nn.Linear(len(weights) - half, 1)
        self.exempt.weight.data = torch.zeros(1, exempt)
        self.first.weight.data = torch.tensor([weights[:half]])
        self.second.weight.data = torch.tensor([weights[half:]])


@settings(deadline=None)
@given(
    weights=st.lists(
        st.floats(-2, 2, width=32).map(lambda x: round(x * 4) / 4) | st.floats(-2, 2, width=32), min_size=8, max_size=40
    ),
    exempt=st.just(0) | st.integers(1, 12),
    fraction=st.floats(0.05, 0.7),
)
def test_masks_follow_the_rule_also_with_ties_exempt_layers_and_over_several_rounds(weights, exempt, fraction):
    network = ThreeLayers(weights, exempt)
    masks = full_masks(network, ["exempt"])
    expected = [True] * len(weights)
    for _ in range(2):
        enough = math.ceil(fraction * (sum(expected) + exempt)) < sum(expected) - 1
        if enough:
            expected = slow_mask([float(w) for w in torch.tensor(weights)], expected, exempt, fraction)
        if not enough or not any(expected):
            with pytest.raises(UserError, match=r"pruning would remove all of the \d+ weights that remain: lower"):
                prune_by_magnitude(network, masks, fraction)
            break
        masks = prune_by_magnitude(network, masks, fraction)
        assert masks.keys() == {"first", "second"}
        assert torch.cat([masks["first"][0], masks["second"][0]]).tolist() == expected


def test_levels_are_nested_with_exactly_the_rules_density():
    network = build(NETWORK, 4, seed=3)
    masks = full_masks(network, ["classifier"])
    total = sum(mask.numel() for mask in masks.values())
    for remaining in remaining_weights(total, 16 * 4, 0.4, levels=6)[1:]:
        new = prune_by_magnitude(network, masks, 0.4)
        assert all((masks[name] | ~new[name]).all() for name in masks)
        assert sum(int(mask.sum()) for mask in new.values()) == remaining
        assert describe_density(network, new)["density"]["prunable"] == pytest.approx(remaining / total, abs=1e-15)
        masks = new


def test_exempt_layers_leave_as_many_weights_as_in_openlth():
    # Of a run of OpenLTH: cifar_resnet_8, 0.2 at each level, fc ignored; of all 77,360 weights, fc's 640 included.
    torch.manual_seed(0)  # weights that tie at the threshold go together, and leave one less
    network = cifar_resnet(8)
    masks = full_masks(network, ["fc"])
    for remaining in (61_887, 49_508, 39_605):
        masks = prune_by_magnitude(network, masks, 0.2)
        assert sum(int(mask.sum()) for mask in masks.values()) + 640 == remaining
    assert remaining_weights(77_360 - 640, 640, 0.2, 3) == [76_720, 61_247, 48_868, 38_965]


@settings(deadline=None)
@given(weights=st.integers(1, 200), exempt=st.integers(0, 200), fraction=st.floats(0.05, 0.9))
def test_the_predicted_counts_end_where_pruning_ends(weights, exempt, fraction):
    network = ThreeLayers([(-1.0) ** number * (1 + number) for number in range(weights + 1)], exempt)
    masks, levels = full_masks(network, ["exempt"]), 0
    with pytest.raises(UserError, match=r"pruning would remove all of the \d+ weights that remain: lower"):
        while True:
            masks = prune_by_magnitude(network, masks, fraction)
            levels += 1
    forecast = remaining_weights(weights + 1, exempt, fraction, levels)
    assert forecast[-1] == sum(int(mask.sum()) for mask in masks.values())
    with pytest.raises(
        UserError, match=f"weights that remain: set pruning.levels to {levels}, or lower pruning.fraction"
    ):
        remaining_weights(weights + 1, exempt, fraction, levels + 1)


def test_density_has_three_denominators_and_a_row_per_layer():
    network = build(NETWORK, 4, seed=3)
    masks = prune_by_magnitude(network, full_masks(network, ["classifier", "*.shortcut.*"]), 0.5)
    described = describe_density(network, masks)
    names = [name.removesuffix(".weight") for name, p in network.named_parameters() if p.ndim > 1]
    assert [(row["name"], row["kind"]) for row in described["layers"]] == [
        (name, "linear" if name == "classifier" else "conv") for name in names
    ]
    parameters = sum(p.numel() for p in network.parameters())
    weights = sum(p.numel() for p in network.parameters() if p.ndim > 1)
    prunable = sum(mask.numel() for mask in masks.values())
    pruned = sum(int((~mask).sum()) for mask in masks.values())
    assert described["parameters"] == parameters > weights > prunable
    assert described["density"] == {
        "prunable": 1 - pruned / prunable,
        "weights": 1 - pruned / weights,
        "all": 1 - pruned / parameters,
    }
    exempt = {row["name"] for row in described["layers"] if not row["prunable"]}
    assert exempt == {"classifier", "stages.1.0.shortcut.0"}
    assert sum(row["weights"] - row["remaining"] for row in described["layers"]) == pruned


def test_apply_masks_zeroes_the_pruned_weights_and_nothing_else():
    network = build(NETWORK, 4, seed=3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    masks = prune_by_magnitude(network, full_masks(network, []), 0.5)
    apply_masks(network, masks)
    for name, tensor in network.state_dict().items():
        layer = name.removesuffix(".weight")
        expected = before[name] * masks[layer] if layer in masks else before[name]
        assert torch.equal(tensor, expected)


def test_one_weight_may_remain_but_not_none():
    # Of 4 weights 0.5 takes 2 + 1, and 0.6 takes 3 + 1.
    network = ThreeLayers([1.0, -4.0, 3.0, 2.0])
    masks = full_masks(network, ["exempt"])
    left = prune_by_magnitude(network, masks, 0.5)
    assert (left["first"].tolist(), left["second"].tolist()) == ([[False, True]], [[False, False]])
    assert remaining_weights(4, 0, 0.5, 1) == [4, 1]
    with pytest.raises(UserError, match="remove all of the 4 weights that remain: lower"):
        prune_by_magnitude(network, masks, 0.6)
    with pytest.raises(UserError, match="remove all of the 4 weights that remain: lower"):
        prune_by_magnitude(ThreeLayers([1.0, -2.0, 2.0, 2.0]), masks, 0.2)  # of 1, 2, 2, 2 none is above the second
    with pytest.raises(UserError, match="remove all of the 4 weights that remain: set"):
        remaining_weights(4, 0, 0.6, 1)


def test_an_exempt_pattern_that_matches_nothing_is_refused():
    with pytest.raises(UserError, match="clasifier"):
        full_masks(build(NETWORK, 4, seed=3), ["clasifier"])


def test_a_transformers_attention_is_pruned_and_its_tokens_are_named(caplog):
    # Side 8, patches of 4, width 6, inner width 10, 5 classes; shapes after Dosovitskiy et al. 2020.
    network = models.VisionTransformer(8, 4, 2, 2, 6, 10, num_classes=5)
    pruned = {"conv": 6 * 3 * 4 * 4, "attention": 2 * 3 * 6 * 6, "linear": 2 * (6 * 6 + 6 * 10 + 10 * 6) + 5 * 6}
    dense = {"class_token": 6, "encoder.pos_embedding": (4 + 1) * 6}
    norms, biases = (2 * 2 + 1) * 2 * 6, 6 + 2 * (3 * 6 + 6 + 10 + 6) + 5
    prunable = sum(pruned.values())
    masks = full_masks(network, [])
    assert sum(mask.numel() for mask in masks.values()) == prunable
    masks = prune_by_magnitude(network, masks, 0.5)
    apply_masks(network, masks)
    attention = network.encoder.layers.encoder_layer_1.self_attention
    mask = masks["encoder.layers.encoder_layer_1.self_attention.in_proj_weight"]
    assert 0 < mask.sum() < mask.numel() and torch.equal(attention.in_proj_weight != 0, mask)
    described = describe_density(network, masks)
    gone = math.ceil(0.5 * prunable) + 1
    assert described["parameters"] == prunable + sum(dense.values()) + norms + biases
    assert described["density"] == {
        "prunable": 1 - gone / prunable,
        "weights": 1 - gone / (prunable + sum(dense.values())),
        "all": 1 - gone / described["parameters"],
    }
    rows = described["layers"]
    assert {kind: sum(row["weights"] for row in rows if row["kind"] == kind) for kind in pruned} == pruned
    left_out = {row["name"]: (row["weights"], row["remaining"], row["kind"]) for row in rows if not row["prunable"]}
    assert left_out == {name: (count, count, "matrix") for name, count in dense.items()}
    with caplog.at_level("INFO"):
        log_dense(network, masks)
        log_dense(build(NETWORK, 4, seed=3), {})
    assert caplog.messages == ["stay dense: class_token (6), encoder.pos_embedding (30)"]


class ManyKinds(nn.Module):
    """Layers of many kinds, prunable or not, two of which share their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 6, 3)
        self.line = nn.Conv1d(2, 3, 5)
        self.volume = nn.Conv3d(1, 2, 3)
        self.words = nn.Embedding(7, 4)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.norm = nn.LayerNorm((3, 5))
        self.other = nn.MultiheadAttention(4, 2, kdim=3, vdim=5)
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)
        self.two.weight = self.one.weight


def test_every_kind_of_weight_is_counted_once():
    rows = describe_density(ManyKinds(), full_masks(ManyKinds(), []))["layers"]
    assert {row["name"]: (row["kind"], row["weights"], row["prunable"]) for row in rows} == {
        "scale": ("matrix", 8, False),
        "up": ("transposed_conv", 4 * 6 * 9, True),
        "line": ("conv", 3 * 2 * 5, True),
        "volume": ("conv", 2 * 27, True),
        "words": ("embedding", 7 * 4, False),
        "norm": ("matrix", 15, False),
        "norm.bias": ("matrix", 15, False),
        "other.q_proj_weight": ("attention", 4 * 4, True),
        "other.k_proj_weight": ("attention", 4 * 3, True),
        "other.v_proj_weight": ("attention", 4 * 5, True),
        "other.out_proj": ("linear", 4 * 4, True),
        "one": ("linear", 16, True),
    }


def test_weights_pruned_by_torch_have_their_plain_names():
    network = nn.Sequential(nn.Linear(4, 2), nn.MultiheadAttention(4, 2))
    prune.random_unstructured(network[0], "weight", 3)
    prune.random_unstructured(network[1], "in_proj_weight", 5)
    weights = weights_of(network)
    assert {name: (w.parameter, w.kind, int((w.tensor == 0).sum())) for name, w in weights.items()} == {
        "0": ("0.weight", "linear", 3),
        "1.in_proj_weight": ("1.in_proj_weight", "attention", 5),
        "1.out_proj": ("1.out_proj.weight", "linear", 0),
    }
