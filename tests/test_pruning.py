"""The mask rule, nesting, densities: against a slow reading of the rule."""

import math

import pytest
import torch
from conftest import NETWORK
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.files import UserError
from workflow_scripts.train.networks import build_network, weight_layers
from workflow_scripts.train.pruning import apply_masks, describe_density, full_masks, prune_by_magnitude


def slow_mask(weights: list[float], remaining: list[bool], fraction: float) -> list[bool]:
    """The rule of OpenLTH, weight by weight."""
    left = sorted(abs(weight) for weight, keep in zip(weights, remaining, strict=True) if keep)
    threshold = left[math.ceil(fraction * len(left))]
    return [keep and abs(weight) > threshold for weight, keep in zip(weights, remaining, strict=True)]


class TwoLayers(torch.nn.Module):
    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        half = len(weights) // 2
        self.first = torch.nn.Linear(half, 1)
        self.second = torch.nn.Linear(len(weights) - half, 1)
        self.first.weight.data = torch.tensor([weights[:half]])
        self.second.weight.data = torch.tensor([weights[half:]])


@settings(deadline=None)
@given(
    weights=st.lists(
        st.floats(-2, 2, width=32).map(lambda x: round(x * 4) / 4) | st.floats(-2, 2, width=32), min_size=8, max_size=40
    ),
    fraction=st.floats(0.05, 0.7),
)
def test_masks_follow_the_rule_also_with_ties_and_over_several_rounds(weights, fraction):
    network = TwoLayers(weights)
    masks = full_masks(network, [])
    expected = [True] * len(weights)
    for _ in range(2):
        if math.ceil(fraction * sum(expected)) >= sum(expected) - 1:
            break
        expected = slow_mask([float(w) for w in torch.tensor(weights)], expected, fraction)
        masks = prune_by_magnitude(network, masks, fraction)
        assert torch.cat([masks["first"][0], masks["second"][0]]).tolist() == expected


def test_levels_are_nested_with_exactly_the_rules_density():
    network = build_network(NETWORK, 4, seed=3)
    masks = full_masks(network, ["classifier"])
    total = remaining = sum(mask.numel() for mask in masks.values())
    for _ in range(6):
        new = prune_by_magnitude(network, masks, 0.4)
        assert all((masks[name] | ~new[name]).all() for name in masks)
        remaining -= math.ceil(0.4 * remaining) + 1
        assert sum(int(mask.sum()) for mask in new.values()) == remaining
        assert describe_density(network, new)["density"]["prunable"] == pytest.approx(remaining / total, abs=1e-15)
        masks = new


def test_density_has_three_denominators_and_a_row_per_layer():
    network = build_network(NETWORK, 4, seed=3)
    masks = prune_by_magnitude(network, full_masks(network, ["classifier", "*.shortcut.*"]), 0.5)
    described = describe_density(network, masks)
    layers = weight_layers(network)
    assert [row["name"] for row in described["layers"]] == list(layers)
    parameters = sum(p.numel() for p in network.parameters())
    weights = sum(layer.weight.numel() for layer in layers.values())
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
    network = build_network(NETWORK, 4, seed=3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    masks = prune_by_magnitude(network, full_masks(network, []), 0.5)
    apply_masks(network, masks)
    for name, tensor in network.state_dict().items():
        layer = name.removesuffix(".weight")
        expected = before[name] * masks[layer] if layer in masks else before[name]
        assert torch.equal(tensor, expected)


def test_pruning_everything_away_is_refused():
    network = TwoLayers([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(UserError, match="levels"):
        prune_by_magnitude(network, full_masks(network, []), 0.9)


def test_an_exempt_pattern_that_matches_nothing_is_refused():
    with pytest.raises(UserError, match="clasifier"):
        full_masks(build_network(NETWORK, 4, seed=3), ["clasifier"])
