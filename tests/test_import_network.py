"""Reading users' networks: weights and masks from the files that people save."""

import json
import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from small_networks import HERE, Attending, drawn, saved
from torch import nn
from torch.nn.utils import prune

from workflow_scripts.networks.checkpoints import load_network, save_network
from workflow_scripts.networks.constructors import build
from workflow_scripts.networks.import_network import import_network
from workflow_scripts.networks.masks import masks_of_zeros, read_masks
from workflow_scripts.networks.prunable import weights_of
from workflow_scripts.networks.weights import load_weights
from workflow_scripts.shared.files import UserError

MASK = torch.ones(4, 3, 3, 3)


def loads(path: str) -> nn.Module:
    """A constructor that would unpickle anything."""
    torch.load(path, weights_only=False)
    return drawn()


class Code:
    """The contents of a hostile weight file: they run when they are unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        """Make unpickling create the folder."""
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("old_format", [True, False])
def test_a_file_that_holds_code_is_refused_and_the_code_does_not_run(tmp_path, old_format):
    torch.save({"model": Code(tmp_path / "ran")}, tmp_path / "evil.pt", _use_new_zipfile_serialization=not old_format)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Code(tmp_path / "ran")))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(
            UserError,
            match=rf"{name} (holds .*mkdir, a whole network or other object .*channels_{{level}}.json|is damaged)",
        ):
            load_weights(drawn(), tmp_path / name)
        with pytest.raises(UserError, match=name):
            read_masks(drawn(), tmp_path / name)
        with pytest.raises(UserError, match="failed with"):  # nor by a constructor that asks for it
            build({"constructor": f"{__name__}:loads", "arguments": {"path": str(tmp_path / name)}}, None, 0)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UserError, match="mkdir"):
        load_weights(drawn(), tmp_path / "evil.pt")


def test_weights_are_found_in_what_people_save(tmp_path):
    origin = drawn(1)
    state = origin.state_dict()
    wrapped = {f"module.model.{name}": tensor for name, tensor in state.items()}
    files = {
        "plain.pt": state,
        "checkpoint.pt": {
            "epoch": 9,
            "best": 0.5,
            "state_dict": wrapped,
            "optimizer": {"state": {}, "param_groups": []},
        },
        "ours.pt": {"model": state, "masks": {"0": torch.ones(4, 3, 3, 3, dtype=torch.bool)}, "lineage": ""},
        "odd.pt": {"weights": state, "arguments": ["a", 1, None]},
        "old.pt": {name: tensor for name, tensor in state.items() if "num_batches" not in name},
    }
    for name, contents in files.items():
        torch.save(contents, tmp_path / name)
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    for name in [*files, "weights.safetensors"]:
        network = drawn(2)
        assert load_weights(network, tmp_path / name).keys() == ({"0"} if name == "ours.pt" else set())
        assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())


def test_weights_pruned_by_torch_are_multiplied_out_and_their_masks_found(tmp_path):
    origin = drawn(1)
    for place in (0, 3):
        prune.l1_unstructured(origin[place], "weight", amount=0.5)
    prune.l1_unstructured(origin[1], "weight", amount=1)  # of batch-norm: multiplied out, but no mask of ours
    torch.save(origin.state_dict(), tmp_path / "pruned.pt")
    network = drawn(2)
    masks = load_weights(network, tmp_path / "pruned.pt")
    assert masks.keys() == {"0", "3"} and all(mask.dtype == torch.bool for mask in masks.values())
    assert torch.equal(network[1].weight, origin[1].weight)
    for name, mask in masks.items():
        assert torch.equal(network[int(name)].weight, origin[int(name)].weight)
        assert mask.sum() == mask.numel() / 2 and (network[int(name)].weight[~mask] == 0).all()


def test_masks_of_attention_are_found_in_all_kinds_of_files(tmp_path):
    origin = Attending()
    prune.l1_unstructured(origin.attention, "in_proj_weight", amount=0.5)
    torch.save(origin.state_dict(), tmp_path / "pruned.pt")
    network = Attending()
    masks = load_weights(network, tmp_path / "pruned.pt")
    kept = masks.pop("attention.in_proj_weight")
    assert not masks and int(kept.sum()) == 3 * 8 * 8 / 2
    assert torch.equal(network.attention.in_proj_weight, origin.attention.in_proj_weight)
    torch.save({"attention.in_proj_weight": kept, "attention.out_proj.weight": torch.ones(8, 8)}, tmp_path / "masks.pt")
    masks = read_masks(network, tmp_path / "masks.pt")
    assert masks.keys() == {"attention.in_proj_weight", "attention.out_proj"}
    assert torch.equal(masks["attention.in_proj_weight"], kept)
    zeros = masks_of_zeros(network)  # the token, which is zero, has not been pruned
    assert zeros.keys() == {"up", "attention.in_proj_weight", "attention.out_proj", "classes"}
    assert torch.equal(zeros["attention.in_proj_weight"], kept)


def test_weights_of_another_architecture_are_refused_with_the_difference(tmp_path):
    state = drawn().state_dict()
    cases = {
        "lacks 0.bias": {name: tensor for name, tensor in state.items() if name != "0.bias"},
        r"lacks 0.bias and has 0.norm, which": {name.replace("0.bias", "0.norm"): t for name, t in state.items()},
        r"7.weight is 5 x 6, but the network's is 3 x 6": drawn(classes=5).state_dict(),
        # A prefix is no reason to call all names different.
        r"has extra.weight, which": {f"module.{n}": t for n, t in (state | {"extra.weight": torch.ones(1)}).items()},
        r"lacks 0.bias, 0.weight, 1.bias, 1.running_mean and 6 more and has a, b": {
            "a": torch.ones(1),
            "b": torch.ones(1),
        },
    }
    for words, contents in cases.items():
        torch.save(contents, tmp_path / "other.pt")
        with pytest.raises(UserError, match=f"other.pt has a different architecture.*{words}"):
            load_weights(drawn(), tmp_path / "other.pt")


def test_files_that_are_not_weights_are_refused(tmp_path):
    torch.save(torch.ones(3), tmp_path / "tensor.pt")
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    state = drawn().state_dict()
    torch.save({"student": state, "teacher": state}, tmp_path / "two.pt")
    torch.save({0: torch.ones(1)}, tmp_path / "numbers.pt")
    torch.save(state | {"0.bias": torch.full((4,), torch.nan)}, tmp_path / "nan.pt")
    (tmp_path / "cut.pt").write_bytes(saved(tmp_path, drawn()).read_bytes()[:900])
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    for name, words in {
        "tensor.pt": "holds a Tensor, not a dict of tensors by name",
        "none.pt": "should hold a state dict, but only holds epoch",
        "two.pt": "holds the network several times: add one of these to this network: part: student, part: teacher",
        "numbers.pt": "lacks 0.bias, .* and has 0, which",
        "nan.pt": "nan.pt: 0.bias holds numbers that are not finite",
        "cut.pt": "cut.pt is damaged",
        "cut.safetensors": "cut.safetensors is damaged",
        "nowhere.pt": "nowhere.pt is missing",
    }.items():
        with pytest.raises(UserError, match=words):
            load_weights(drawn(), tmp_path / name)


def test_masks_go_by_the_name_of_the_layer_or_of_its_weight(tmp_path):
    network = drawn()
    mask = torch.rand(network[0].weight.shape) < 0.5
    for name, contents in enumerate(
        ({"0": mask}, {"0.weight": mask.int()}, {"model.0.weight": mask.float()}, {"masks": {"0": mask}, "model": {}})
    ):
        torch.save(contents, tmp_path / f"{name}.pt")
        masks = read_masks(network, tmp_path / f"{name}.pt")
        assert masks.keys() == {"0"} and masks["0"].dtype == torch.bool and torch.equal(masks["0"], mask)


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"0.weight": torch.ones(4, 3, 3, 2)}, "the mask of 0 is 4 x 3 x 3 x 2, but its weight is 4 x 3 x 3 x 3"),
        ({"0.weight": torch.full((4, 3, 3, 3), 2.0)}, "the mask of 0 holds numbers other than 0 and 1"),
        ({"0": MASK, "5": MASK}, "a mask for 5, but the network has no such weight .*: name the masks after 0, 3, 7"),
        ({"1.weight": torch.ones(4)}, "only has masks of biases and the like: name the masks after 0, 3, 7"),
        ({"0": MASK, "1.weight": torch.zeros(4)}, "the mask of 1.weight prunes a bias"),
        ({"0": MASK, "1.weight": torch.ones(())}, "the mask of 1.weight is a number, but its weight is 4"),
        ({"0": MASK, "0.weight_mask": MASK, "0.mask": MASK}, "two masks of 0, one called 0.mask: save"),
        ({"masks": 1}, "should hold masks"),
    ],
)
def test_masks_of_another_network_are_refused(tmp_path, contents, words):
    torch.save(contents, tmp_path / "masks.pt")
    with pytest.raises(UserError, match=words):
        read_masks(drawn(), tmp_path / "masks.pt")


def test_imported_weights_are_masked_and_without_masks_zeros_count(tmp_path):
    origin = drawn(1)
    mask = torch.rand(origin[0].weight.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    torch.save({"0.weight": mask.int()}, tmp_path / "mask.pth")
    described = {"constructor": HERE, "arguments": {}}
    network, masks = import_network(described, str(saved(tmp_path, origin)), tmp_path / "mask.pth", 0, 12)
    assert torch.equal(network[0].weight, origin[0].weight * mask) and masks.keys() == {"0"}
    torch.save(network.state_dict(), tmp_path / "zeros.pt")
    again, zeros = import_network(described, str(tmp_path / "zeros.pt"), None, 0, 12)
    assert zeros.keys() == weights_of(again).keys() and torch.equal(zeros["0"], mask) and zeros["3"].all()

    (tmp_path / "sparsity_report.json").write_text(json.dumps({"total": mask.numel(), "unpruned": int(mask.sum())}))
    import_network(described, str(tmp_path / "weights.pt"), tmp_path / "mask.pth", 0, 12)
    (tmp_path / "sparsity_report.json").write_text(json.dumps({"total": mask.numel(), "unpruned": 1}))
    with pytest.raises(UserError, match=r"mask.pth keeps \d+ of 108 weights, but .*sparsity_report.json says 1 of 108"):
        import_network(described, str(tmp_path / "weights.pt"), tmp_path / "mask.pth", 0, 12)
    (tmp_path / "sparsity_report.json").write_text("{")
    with pytest.raises(UserError, match=r"sparsity_report.json is damaged, or another kind of file"):
        import_network(described, str(tmp_path / "weights.pt"), tmp_path / "mask.pth", 0, 12)


def test_a_constructors_own_weights(tmp_path):
    described = {"constructor": "small_networks:Bringing.maker", "arguments": {}}
    network, masks = import_network(described, {"pretrained": True}, None, 0, 12)
    assert (network[0].weight == 0.25).all() and all(mask.all() for mask in masks.values())
    # A network that is another one besides its weights would be rebuilt wrongly.
    with pytest.raises(UserError, match=r"builds a different network with \{'other': True\} than without"):
        import_network(described, {"other": True}, None, 0, 12)
    # What is kept can be loaded again, and is the same to the bit.
    save_network(tmp_path / "network.pt", network, masks, classes=None, epochs=None)
    again, kept = load_network(tmp_path / "network.pt", described)
    assert all(
        torch.equal(a, b) for a, b in zip(again.state_dict().values(), network.state_dict().values(), strict=True)
    )
    assert kept.keys() == masks.keys()
    with pytest.raises(UserError, match=r"different architecture.*7.weight is 3 x 6, but the network's is 7 x 6"):
        load_network(tmp_path / "network.pt", {"constructor": HERE, "arguments": {"classes": 7}})
