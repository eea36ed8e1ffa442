"""Which weights a level keeps, for each way of choosing them."""

import pytest
import torch
from conftest import NETWORK
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.prunable import weights_of
from workflow_scripts.networks.pruning import (
    apply_masks,
    exempt_weights,
    full_masks,
    prune_by_magnitude,
    remaining_weights,
)
from workflow_scripts.plan import methods
from workflow_scripts.train.level_masks import MASKS, OF_MASKS, Pruned, Size, choose_masks
from workflow_scripts.train.selection import best_filters
from workflow_scripts.train.train_level import WEIGHTS

thorough = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**31)


@pytest.fixture(scope="module")
def dense():
    network = build(NETWORK, 4, seed=3)
    return Pruned(network, full_masks(network, []))


@pytest.fixture(scope="module")
def like():
    """Masks of another network's second round."""
    network = build(NETWORK, 4, seed=8)
    masks = full_masks(network, [])
    for _ in range(2):
        masks = prune_by_magnitude(network, masks, 0.5)
    return masks


def counts(masks):
    return {name: int(mask.sum()) for name, mask in masks.items()}


def test_a_round_and_another_arms_masks_are_taken_as_they_are(dense, like):
    found = choose_masks("global", dense, Size(fraction=0.25))
    expected = prune_by_magnitude(*dense, 0.25)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert choose_masks("same", dense, Size(like=like)) is like
    assert choose_masks("all", dense, Size()) is dense.masks


def test_the_choices_of_configs_are_those_of_the_script():
    assert (MASKS, OF_MASKS, tuple(WEIGHTS)) == (methods.MASKS, methods.OF_MASKS, methods.WEIGHTS)


def require_largest(pruned, found, groups):
    """Require that in each group of layers no kept weight is smaller than one that is pruned now."""
    weights = {name: weight.tensor.detach().abs() for name, weight in weights_of(pruned.network).items()}
    for names in groups:
        kept = torch.cat([weights[name][found[name]] for name in names])
        gone = torch.cat([weights[name][pruned.masks[name] & ~found[name]] for name in names])
        assert not gone.numel() or not kept.numel() or kept.min() >= gone.max()


@pytest.mark.parametrize("how", ["global", "layerwise"])
def test_the_largest_weights_are_kept_as_many_as_the_other_arm_has(dense, like, how):
    found = choose_masks(how, dense, Size(like=like))
    if how == "layerwise":
        assert counts(found) == counts(like)
    else:
        assert sum(counts(found).values()) == sum(counts(like).values())
        assert counts(found) != counts(like)
    require_largest(dense, found, [[name] for name in found] if how == "layerwise" else [list(found)])


def two_layers(first, second):
    """Two linear layers of these weights."""
    network = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False))
    for layer, weights in zip(network, (first, second), strict=True):
        layer.weight.data = torch.tensor(weights)
    return network


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ("global", {"0": [[1, 1, 1], [0, 0, 0]], "1": [[0, 1], [0, 0]]}),
        ("layerwise", {"0": [[1, 0, 1], [0, 0, 0]], "1": [[1, 1], [0, 0]]}),
    ],
)
def test_of_equal_weights_the_first_stay(how, kept):
    network = two_layers([[1.0, -1.0, 2.0], [1.0, -1.0, 1.0]], [[-1.0, 2.0], [1.0, 1.0]])
    like = {name: torch.tensor([1, 1, *[0] * (4 if name == "0" else 2)]).bool() for name in ("0", "1")}
    found = choose_masks(how, Pruned(network, full_masks(network, [])), Size(like=like))
    assert {name: mask.int().tolist() for name, mask in found.items()} == kept


@pytest.mark.parametrize("how", ["global", "layerwise"])
def test_a_weight_that_remains_at_zero_goes_after_those_that_are_pruned(how):
    network = two_layers([[0.0, 0.0, 3.0], [0.0, 2.0, 1.0]], [[4.0, 4.0], [4.0, 4.0]])
    masks = {"0": torch.tensor([[0, 1, 1], [0, 1, 1]]).bool(), "1": torch.ones(2, 2).bool()}
    found = choose_masks(how, Pruned(network, masks), Size(like=masks))
    assert all(torch.equal(found[name], masks[name]) for name in masks)


def brought(exempt, sparse):
    """A network like a user's, with zeros where it is sparse, and the input for pruning it."""
    network = build(NETWORK, 4, seed=5)
    masks = full_masks(network, [])
    if sparse:
        masks = prune_by_magnitude(network, masks, 0.3)
        apply_masks(network, masks)
    names = full_masks(network, exempt)
    return Pruned(network, {name: mask for name, mask in masks.items() if name in names or not mask.all()})


@pytest.mark.parametrize("fraction", [0.2, 0.37])
@pytest.mark.parametrize("sparse", [False, True], ids=["whole", "sparse"])
@pytest.mark.parametrize("exempt", [[], ["classifier"]], ids=["none", "exempt"])
@pytest.mark.parametrize("how", ["global", "layerwise"])
def test_one_step_or_many_rounds_keep_equally_many_weights_of_a_users_network(how, exempt, sparse, fraction):
    pruned = brought(exempt, sparse)
    total, left_out = sum(counts(pruned.masks).values()), exempt_weights(pruned.network, pruned.masks)
    assert (left_out > 0) == (bool(exempt) and not sparse)
    wanted = remaining_weights(total, left_out, fraction, 4)
    rounds, layers = pruned, len(pruned.masks)
    for level in (1, 2, 3, 4):
        rounds = Pruned(pruned.network, choose_masks(how, rounds, Size(fraction=fraction)))
        straight = choose_masks(how, pruned, Size(fraction=fraction, rounds=level))
        assert Size(fraction=fraction, rounds=level).count(pruned) == wanted[level]
        if how == "global":
            # No weights have changed in between, so they are the same ones, too.
            assert all(torch.equal(straight[name], rounds.masks[name]) for name in straight)
            assert sum(counts(straight).values()) == wanted[level]
            require_largest(pruned, straight, [list(straight)])
            continue
        # Each layer is rounded by itself, once or at each level.
        assert abs(sum(counts(straight).values()) - wanted[level]) <= layers / 2
        assert abs(sum(counts(rounds.masks).values()) - wanted[level]) <= level * layers / 2
        require_largest(pruned, straight, [[name] for name in straight])
        for name, mask in pruned.masks.items():
            share = wanted[level] / total
            assert abs(int(straight[name].sum()) - share * int(mask.sum())) <= 0.5


@thorough
@given(seed=seeds)
def test_shuffled_masks_have_the_counts_of_the_other_arm_at_other_places(dense, like, seed):
    within = choose_masks("shuffled_layerwise", dense, Size(like=like), seed)
    over = choose_masks("shuffled_global", dense, Size(like=like), seed)
    assert counts(within) == counts(like)
    assert sum(counts(over).values()) == sum(counts(like).values())
    for found, how in ((within, "shuffled_layerwise"), (over, "shuffled_global")):
        assert all(mask.shape == like[name].shape and mask.dtype == torch.bool for name, mask in found.items())
        assert any(not torch.equal(found[name], like[name]) for name in like)
        again = choose_masks(how, dense, Size(like=like), seed)
        assert all(torch.equal(found[name], again[name]) for name in like)
        other = choose_masks(how, dense, Size(like=like), seed + 1)
        assert any(not torch.equal(found[name], other[name]) for name in like)


def test_shuffling_is_uniform(dense):
    """Each place of a small mask is kept equally often."""
    like = {name: torch.zeros_like(mask) for name, mask in dense.masks.items()}
    name = next(iter(like))
    like[name] = (torch.arange(like[name].numel()) < 30).view_as(like[name])
    total = sum(choose_masks("shuffled_layerwise", dense, Size(like=like), seed)[name].float() for seed in range(500))
    share = 30 / like[name].numel()
    deviation = (500 * share * (1 - share)) ** 0.5
    assert (total - 500 * share).abs().max() < 5 * deviation


def test_whole_filters_stay_or_go_and_the_last_layer_stays(dense, like):
    found = choose_masks("structured", dense, Size(like=like))
    density = sum(counts(like).values()) / sum(mask.numel() for mask in like.values())
    *others, last = found
    assert found[last].all()
    for name in others:
        filters = found[name].flatten(1)
        assert (filters.all(1) | ~filters.any(1)).all()
        kept = filters.any(1)
        assert int(kept.sum()) == max(1, round(density * len(kept)))
        norms = weights_of(dense.network)[name].tensor.detach().double().abs().flatten(1).sum(1)
        assert kept.all() or norms[kept].min() >= norms[~kept].max()


def test_norms_that_are_equal_in_single_precision_are_distinguished():
    weight = torch.tensor([[2.0**24, 0.0], [2.0**24, 1.0]])
    assert best_filters(weight, "linear", 1 / 2).squeeze().tolist() == [False, True]


def test_whole_filters_are_the_share_that_the_rounds_leave(dense):
    found = choose_masks("structured", dense, Size(fraction=0.3, rounds=3))
    total = sum(mask.numel() for mask in dense.masks.values())
    density = remaining_weights(total, 0, 0.3, 3)[-1] / total
    *others, last = found
    assert found[last].all()
    for name in others:
        kept = found[name].flatten(1).any(1)
        assert int(kept.sum()) == max(1, round(density * len(kept)))


def test_pruned_weights_stay_pruned(dense, like):
    pruned = Pruned(dense.network, prune_by_magnitude(*dense, 0.5))
    for how, size in (
        ("global", Size(fraction=0.5)),
        ("global", Size(fraction=0.1, rounds=3)),
        ("layerwise", Size(fraction=0.1)),
        ("layerwise", Size(fraction=0.1, rounds=3)),
        ("structured", Size(fraction=0.1, rounds=3)),
        ("global", Size(like=like)),
        ("layerwise", Size(like=like)),
        ("structured", Size(like=like)),
    ):
        found = choose_masks(how, pruned, size)
        assert all(not (found[name] & ~pruned.masks[name]).any() for name in found)
