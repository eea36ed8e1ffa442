"""Activation dumps: the maps are those of the network, and layers that cannot be dissected are refused."""

import logging
from functools import partial

import h5py
import numpy as np
import pytest
import reference_dissection as reference
import torch
from conftest import NETWORK, RESNET50

from workflow_scripts.data.hdf5 import FORMAT
from workflow_scripts.data.pack_concepts import pack_concepts
from workflow_scripts.dissect import dump_activations as dump_module
from workflow_scripts.dissect import forward_passes as forward_module
from workflow_scripts.dissect import map_writers
from workflow_scripts.dissect.check_network import check_network
from workflow_scripts.dissect.dump_activations import dump_activations, picture_batches
from workflow_scripts.dissect.find_thresholds import find_thresholds
from workflow_scripts.dissect.maps import LayerMaps
from workflow_scripts.dissect.order_statistics import LargestSamples
from workflow_scripts.dissect.tally_units import tally_units
from workflow_scripts.networks.constructors import build
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.gpus import has_gpu
from workflow_scripts.train import pictures as pictures_module

MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.2, 0.3]


@pytest.fixture
def concepts(tmp_path):
    path = tmp_path / "concepts.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.random.default_rng(0).integers(0, 256, (7, 12, 12, 3), dtype=np.uint8)
        file.attrs.update(fingerprint="c" * 64, format=FORMAT)
    return path


def run(network, concepts, out, layers=("stages.0", "stages.1"), precision="float16", name="n" * 64, **options):
    dump_activations(network, list(layers), concepts, MEAN, STD, precision, name, out, **options)


@pytest.mark.parametrize(
    ("precision", "batch", "at_once", "passes"),
    [
        ("float16", 250, 2**19, [7]),
        ("float16", 3, 2**19, [3, 3, 1]),
        ("float32", 3, 2**19, [3, 3, 1]),
        ("float16", 5, 2 * 12 * 12, [2, 2, 1, 2]),
        ("float16", 250, 1, [1] * 7),
    ],
)
def test_maps_are_the_networks_in_evaluation_mode(concepts, tmp_path, monkeypatch, precision, batch, at_once, passes):
    monkeypatch.setattr(dump_module, "BATCH", batch)
    monkeypatch.setattr(pictures_module, "PIXELS_AT_ONCE", at_once)
    network = build(NETWORK, 4, seed=1)
    seen = []
    network.register_forward_pre_hook(lambda _network, inputs: seen.append(len(inputs[0])))
    run(network, concepts, tmp_path / "activations.h5", precision=precision)
    if not has_gpu():
        assert seen == passes
    with h5py.File(concepts) as file:
        pictures = (file["images"][:] / 255 - np.array(MEAN)) / np.array(STD)
    x = torch.from_numpy(pictures.astype(np.float32)).permute(0, 3, 1, 2)
    reference = build(NETWORK, 4, seed=1).eval()
    with torch.no_grad():
        x = torch.relu(reference.norm(reference.stem(x)))
        expected = [x := stage(x) for stage in reference.stages]
    with h5py.File(tmp_path / "activations.h5") as file:
        for i, maps in enumerate(expected):
            stored = file[f"maps/stages.{i}"]
            assert stored.dtype == precision
            assert stored.shape == tuple(maps.shape)
            tolerance = {"rtol": 1e-3, "atol": 1e-3} if precision == "float16" else {"rtol": 1e-4, "atol": 1e-5}
            np.testing.assert_allclose(stored[:].astype(np.float32), maps.numpy(), **tolerance)
        assert file.attrs["concepts"] == "c" * 64


def test_the_fingerprint_covers_everything_a_dump_depends_on(concepts, tmp_path):
    variants = [
        {},
        {"name": "m" * 64},
        {"layers": ["stages.0"]},
        {"precision": "float32"},
        {"forward": "bfloat16"},
        {"execution": "fused"},
        {"candidates": (0.1, "above")},
        {"candidates": (0.2, "above")},
        {"candidates": (0.1, "at_least")},
    ]
    fingerprints = []
    for i, variant in enumerate(variants):
        run(build(NETWORK, 4, seed=1), concepts, tmp_path / f"{i}.h5", **variant)
        with h5py.File(tmp_path / f"{i}.h5") as file:
            fingerprints.append(file.attrs["fingerprint"])
    assert len(set(fingerprints)) == len(variants)
    run(build(NETWORK, 4, seed=1), concepts, tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "0.h5").read_bytes()


@pytest.mark.parametrize(
    ("weight", "precision"), [(float("inf"), "float32"), (3e5, "float16"), (float("nan"), "float16")]
)
@pytest.mark.parametrize("candidates", [None, (0.1, "above")])
def test_values_that_are_not_finite_are_refused_naming_layer_and_unit(
    concepts, tmp_path, weight, precision, candidates
):
    network = build(NETWORK, 4, seed=1)
    with torch.no_grad():
        network.stages[1][0].norm2.bias[5] = weight
    with pytest.raises(UserError, match=r"stages\.1, unit 5"):
        run(network, concepts, tmp_path / "activations.h5", precision=precision, candidates=candidates)
    assert not list(tmp_path.glob("activations*"))


def advice(weight: float, forward: str, precision: str) -> str | None:
    """The advice that the error must give if `weight` is added to a unit, or None if there is no error."""
    if not np.isfinite(weight):
        return "in any precision, because of the network's weights or the pictures' mean and std"
    if weight > 65504 and forward == "float16":
        return "in a pass in float16, but not in float32: set dissection.forward to float32 or bfloat16"
    if weight > 65504 and precision == "float16":
        return "has values outside the range of float16: set dissection.precision to float32"
    return None


@pytest.mark.parametrize("precision", ["float16", "float32"])
@pytest.mark.parametrize("forward", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("weight", [np.nan, np.inf, 3e5, 3.0])
@pytest.mark.parametrize("candidates", [None, (0.1, "above")])
def test_the_error_for_a_value_that_is_not_finite_gives_the_right_advice(
    concepts, tmp_path, weight, forward, precision, candidates
):
    network = build(NETWORK, 4, seed=1)
    with torch.no_grad():
        network.stages[1][0].norm2.bias[5] = weight
    dump = {"precision": precision, "forward": forward, "candidates": candidates}
    if (words := advice(weight, forward, precision)) is None:
        run(network, concepts, tmp_path / "a.h5", **dump)
        return
    with pytest.raises(UserError) as error:
        run(network, concepts, tmp_path / "a.h5", **dump)
    assert str(error.value).startswith("layer stages.1, unit 5 ") and words in str(error.value)
    assert ("set dissection" in str(error.value)) == np.isfinite(weight)
    assert not list(tmp_path.glob("a.h5*"))


def test_infinite_pictures_are_not_blamed_on_precision(concepts, tmp_path):
    network = build(NETWORK, 4, seed=1)
    with pytest.raises(UserError, match="because of the network's weights or the pictures' mean and std"):
        dump_activations(network, ["stages.0"], concepts, MEAN, [0.0, 1, 1], "float16", "n", tmp_path / "a.h5")


@pytest.mark.parametrize("forward", ["bfloat16", "float16"])
def test_a_forward_pass_of_low_precision_is_close(concepts, tmp_path, forward):
    network = build(NETWORK, 4, seed=1)
    run(network, concepts, tmp_path / "float32.h5", precision="float32")
    run(network, concepts, tmp_path / "low.h5", precision="float32", forward=forward)
    with h5py.File(tmp_path / "float32.h5") as whole, h5py.File(tmp_path / "low.h5") as low:
        for layer in ("stages.0", "stages.1"):
            exact, found = whole[f"maps/{layer}"][:], low[f"maps/{layer}"][:]
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, exact, rtol=0.05, atol=0.05 * exact.std())
            assert (found != exact).any()


@pytest.mark.parametrize("execution", ["fused", pytest.param("compiled", marks=pytest.mark.rare)])
def test_other_executions_of_a_network_have_the_same_maps(concepts, tmp_path, monkeypatch, caplog, execution):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(dump_module, "BATCH", 4)  # of seven pictures
    run(build(NETWORK, 4, seed=1), concepts, tmp_path / "plain.h5", precision="float32")
    run(build(NETWORK, 4, seed=1), concepts, tmp_path / "other.h5", precision="float32", execution=execution)
    with h5py.File(tmp_path / "plain.h5") as plain, h5py.File(tmp_path / "other.h5") as other:
        for layer in ("stages.0", "stages.1"):
            exact, found = plain[f"maps/{layer}"][:], other[f"maps/{layer}"][:]
            np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5 * exact.max())
    assert sum(f"the network is {execution}" in record.message for record in caplog.records) == 1


def test_the_error_says_if_only_another_execution_makes_values_infinite(concepts, tmp_path, monkeypatch):
    def overflow(_pass, pictures):
        return {layer: torch.full((len(pictures), 2, 3, 3), np.inf) for layer in ("stages.0", "stages.1")}

    monkeypatch.setattr(forward_module.ForwardPass, "choose", lambda self, pictures: partial(overflow, self))
    with pytest.raises(UserError, match=r"stages\.0, unit 0 .* not in a plain one: set dissection.execution to plain"):
        run(build(NETWORK, 4, seed=1), concepts, tmp_path / "a.h5", execution="compiled")


@pytest.mark.parametrize("candidates", [None, (0.1, "above")])
def test_an_error_in_writing_ends_the_dump_and_leaves_nothing(concepts, tmp_path, monkeypatch, candidates):
    def full(_writer, _maps):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dump_module, "BATCH", 2)
    for writer in (map_writers.AllMaps, map_writers.Candidates):
        monkeypatch.setattr(writer, "add", full)
    with pytest.raises(UserError, match=r"a\.h5 cannot be written \(No space left .*make room"):
        run(build(NETWORK, 4, seed=1), concepts, tmp_path / "a.h5", candidates=candidates)
    assert not list(tmp_path.glob("a.h5*"))


@pytest.mark.filterwarnings("ignore:.*pin_memory.*")
def test_another_process_decodes_the_same_batches(tmp_path):
    path = tmp_path / "concepts.h5"
    pictures = np.random.default_rng(0).integers(0, 256, (dump_module.BATCH + 3, 4, 4, 3), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        file["images"] = pictures
        file.attrs["format"] = FORMAT
    alone, helped = (list(picture_batches(path, workers)) for workers in (0, 1))
    assert [len(batch) for batch in alone] == [dump_module.BATCH, 3]
    assert all(torch.equal(one, other) for one, other in zip(alone, helped, strict=True))
    assert (torch.cat(alone).numpy() == pictures).all()


# Dumps of candidates


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A concept set of 9 pictures with labels; some are dark, so that bounds rise with later ones."""
    folder = tmp_path_factory.mktemp("labelled")
    random = np.random.default_rng(3)
    labels = {1: ("cat", ["object"]), 2: ("leg", ["part"]), 3: ("street", ["object"])}
    concepts = reference.Concepts(["object", "part"], labels, 10, 9)
    for place in range(9):
        planes = [random.choice([0, number], (10, 9)) for number in (1, 2)]
        cells = {"object": [planes[0], 3][: 1 + place % 2], "part": [planes[1]]}
        pixels = random.integers(0, 30 + 25 * place, (12, 12, 3)).astype(np.uint8)
        concepts.pictures.append(reference.Picture(pixels, cells))
    reference.write_broden(concepts, folder / "set")
    pack_concepts(folder / "set", 12, folder / "concepts.h5")
    return folder / "concepts.h5"


@pytest.fixture
def often(monkeypatch):
    """Make bounds rise after every batch of two pictures."""
    add = LargestSamples.add

    def add_and_raise(largest, *arguments):
        add(largest, *arguments)
        largest.raise_floors()

    monkeypatch.setattr(dump_module, "BATCH", 2)
    monkeypatch.setattr(LargestSamples, "add", add_and_raise)


def dissect(dump, quantile, concepts, mask):
    """The thresholds and tallies of a dump: {path in the file: values}."""
    thresholds, tally = dump.with_suffix(".thresholds"), dump.with_suffix(".tally")
    find_thresholds(dump, quantile, thresholds)
    tally_units(dump, thresholds, concepts, tally, mask=mask)
    found = {}
    for path in (thresholds, tally):
        with h5py.File(path) as file:
            for layer, group in file.items():
                found |= {f"{path.suffix} {layer} {name}": values[:] for name, values in group.items()}
    return found


@pytest.mark.parametrize("precision", ["float16", "float32"])
@pytest.mark.parametrize(("made_for", "masks"), [("above", ["above"]), ("at_least", ["above", "at_least"])])
def test_candidates_give_the_same_thresholds_and_tallies(labelled, tmp_path, often, precision, made_for, masks):
    network = build(NETWORK, 4, seed=1)
    with torch.no_grad():
        network.stages[1][0].norm2.bias -= torch.linspace(0, 4, 16)  # some units are rarely active, or never
    everything, some = tmp_path / "everything.h5", tmp_path / "some.h5"
    run(network, labelled, everything, precision=precision)
    run(network, labelled, some, precision=precision, candidates=(0.04, made_for))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["everything.h5", "some.h5"]
    for quantile in (0.04, 0.015):
        for mask in masks:
            expected, found = (dissect(dump, quantile, labelled, mask) for dump in (everything, some))
            assert expected.keys() == found.keys() and len(expected) == 2 * (3 + 7)
            for name, values in expected.items():
                assert (values == found[name]).all(), name
    kept = total = 0
    with h5py.File(everything) as whole, h5py.File(some) as part:
        assert (part.attrs["candidates_quantile"], part.attrs["candidates_mask"]) == (0.04, made_for)
        for layer in ("stages.0", "stages.1"):
            maps, candidates = whole[f"maps/{layer}"][:], LayerMaps(part, layer)
            most = maps.max((2, 3)).astype(np.float32)
            active = most > candidates.bound if made_for == "above" else most >= candidates.bound
            images, units = active.nonzero()
            assert candidates.unit_rows.read(0, len(units)).tolist() == units.tolist()
            assert np.diff(candidates.start).tolist() == active.sum(1).tolist()
            assert candidates.values[:].tobytes() == maps[images, units].tobytes()
            kept, total = kept + len(units), total + active.size
    assert 0 < kept < total


def test_candidates_are_refused_for_purposes_they_were_not_kept_for(labelled, tmp_path):
    dump, out = tmp_path / "some.h5", tmp_path / "out.h5"
    run(build(NETWORK, 4, seed=1), labelled, dump, candidates=(0.05, "above"))
    with pytest.raises(UserError, match=r"some\.h5 .* up to 0\.05"):
        find_thresholds(dump, 0.06, out)
    with pytest.raises(UserError, match=r"some\.h5 .* of raw maps"):
        find_thresholds(dump, 0.01, out, "align_corners_false", labelled)
    find_thresholds(dump, 0.05, tmp_path / "thresholds.h5")
    with pytest.raises(UserError, match=r"some\.h5 .* mask at_least"):
        tally_units(dump, tmp_path / "thresholds.h5", labelled, out, mask="at_least")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some.h5", "thresholds.h5"]


def test_layers_without_maps_and_unknown_layers_are_refused(concepts, tmp_path):
    network = build(NETWORK, 4, seed=1)
    with pytest.raises(UserError, match="classifier"):
        run(network, concepts, tmp_path / "activations.h5", layers=["classifier"])
    with pytest.raises(UserError, match=r"stages\.9"):
        run(network, concepts, tmp_path / "activations.h5", layers=["stages.9"])
    assert not list(tmp_path.glob("activations*"))


def test_outputs_that_later_layers_change_in_place_are_kept_unchanged(concepts, tmp_path):
    network = build(RESNET50, 4, seed=1)
    run(network, concepts, tmp_path / "activations.h5", layers=["layer1.0.bn1", "layer1.0"])
    with h5py.File(tmp_path / "activations.h5") as file:
        assert file["maps/layer1.0.bn1"][:].min() < 0
        assert file["maps/layer1.0"][:].min() == 0
    with pytest.raises(UserError, match=r"layer1\.0\.relu runs 3 times"):
        run(network, concepts, tmp_path / "relu.h5", layers=["layer1.0.relu"])


def test_the_check_before_training_finds_what_would_fail_after_it():
    found = check_network(NETWORK, 12, ["stages.1"], ["classifier"], levels=2, fraction=0.5, trained=True)
    assert found["units, height and width of each layer"] == {"stages.1": [16, 3, 3]}
    network = build(NETWORK, 4, seed=0)
    weights = sum(p.numel() for name, p in network.named_parameters() if p.ndim == 4)
    levels = found["weights at each level, at most"]
    exempt = 16 * 2  # the classifier of two classes: with more, fewer weights remain
    gone = [-(-(remaining + exempt) // 2) + 1 for remaining in levels]
    assert levels == [weights, weights - gone[0], levels[1] - gone[1]]
    for change, words in [
        ({"layers": ["stages.4"]}, "stages.4"),
        ({"layers": ["classifier"]}, "classifier"),
        ({"exempt": ["nothing*"]}, "nothing"),
        ({"levels": 40}, "pruning.levels"),
    ]:
        sound = {"layers": ["stages.1"], "exempt": [], "levels": 2, "fraction": 0.5}
        with pytest.raises(UserError, match=words.replace(".", r"\.")):
            check_network(NETWORK, 12, **sound | change, trained=True)


def test_a_smaller_network_must_have_fewer_prunable_weights_and_the_same_shapes():
    arguments = NETWORK["arguments"]
    sound = {"size": 12, "layers": ["stages.1"], "levels": 0, "fraction": 0.5, "trained": True, "shapes_like": NETWORK}

    def check(exempt: list[str], **changes: object) -> dict:
        return check_network(NETWORK | {"arguments": arguments | changes}, exempt=exempt, **sound)

    found = check([], widths=[8, 16])
    assert found["units, height and width of each layer"]["stages.1"][0] == arguments["widths"][1]
    dense = check_network(NETWORK, exempt=[], **sound | {"shapes_like": None})
    (most,) = dense["weights at each level, at most"]
    assert found["weights at each level, at most"][0] < most
    words = f"the smaller network has {most:,} weights that can be pruned, and the dense one {most:,}: choose arguments"
    for changes in ({}, {"stem_stride": 1}):  # a different network with as many weights
        with pytest.raises(UserError, match=words):
            check([], **changes)
    with pytest.raises(UserError, match=f"and the dense one {most:,}: choose arguments that leave it fewer"):
        check([], widths=[32, 16])
    with pytest.raises(UserError, match=r"of stages\.1 is 8 x 3 x 3 .*, and 16 x 3 x 3 in the dense one: counts"):
        check([], widths=[16, 8])
    with pytest.raises(UserError, match=r"of stages\.1 is 16 x 6 x 6 .*, and 16 x 3 x 3 in the dense one: counts"):
        check([], widths=[8, 16], stem_stride=1)
    # The size of an exempt layer does not count.
    with pytest.raises(UserError, match="choose arguments that leave it fewer"):
        check(["stages.0*", "stages.1*", "stem"], widths=[8, 16])


def test_a_network_is_checked_for_training_only_if_it_will_be_trained():
    """The network returns two tensors in training mode."""
    twofold = {"constructor": "torchvision.models:googlenet", "arguments": {"num_classes": 3, "init_weights": False}}
    sound = {"size": 64, "layers": ["inception5b"], "exempt": [], "levels": 0, "fraction": 0.5}
    assert check_network(twofold, **sound)["weights at each level, at most"]
    with pytest.raises(UserError, match="returns a GoogLeNetOutputs in training mode"):
        check_network(twofold, **sound, trained=True)
    alone = twofold | {"arguments": twofold["arguments"] | {"aux_logits": False}}
    assert check_network(alone, **sound, trained=True)
