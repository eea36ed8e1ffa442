"""Pruning a network once: which weights stay."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import Attending, drawn

from workflow_scripts.networks.prunable import weights_of
from workflow_scripts.networks.pruning import full_masks
from workflow_scripts.shared.files import UserError
from workflow_scripts.train.prune_once import METHODS, prune_once

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
def test_weights_pruned_in_the_parent_stay_pruned_and_do_not_count(method, density):
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


def test_exempt_layers_are_not_pruned_and_pruning_all_weights_is_refused():
    network = drawn()
    masks = prune_once(network, {}, "global", 0.1, ["7"], 0)
    assert masks.keys() == {"0", "3"} and network[7].weight.all()
    with pytest.raises(UserError, match=r"densities: at 0.0001 no weight would remain"):
        prune_once(drawn(), {}, "global", 0.0001, [], 0)
    with pytest.raises(UserError, match=r"'8' matches no layer"):
        prune_once(drawn(), {}, "global", 0.5, ["8"], 0)
    # With the classes exempt, the last layer that is left is pruned all the same.
    masks = prune_once(drawn(), {}, "structured", 0.5, ["7"], 0)
    assert masks.keys() == {"0", "3"} and masks["3"].float().mean() == 0.5


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
