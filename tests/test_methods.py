"""Arms of pruning and training in the plan: their networks, what these are made from, and what is refused."""

import re
from typing import Any

import pytest

from workflow_scripts.plan.arms import read_arms
from workflow_scripts.plan.experiment import Experiment
from workflow_scripts.plan.keys import Key
from workflow_scripts.plan.load import complete_config
from workflow_scripts.plan.methods import CHOICES, PUBLISHED, Method
from workflow_scripts.plan.networks import Network
from workflow_scripts.shared.files import UserError

IMP = {"name": "imp", "recipe": "imp"}
VIEW = {"size": 48, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
OWN: dict[str, Any] = {
    "name": "own",
    "recipe": "brought",
    "constructor": "torchvision.models:resnet18",
    "weights": "none",
}
OWN |= {"layers": ["layer4"], "preprocessing": VIEW}
PRUNING = {"levels": 3, "fraction": 0.25, "rewind_epoch": 2}
# Choices that need the training of the pruned arm, for arms that are not published.
PRUNED = {"mask": "global", "rounds": "straight", "weights": "kept", "schedule": "continued"}
DENSE, POINT = (Key("imp", 4, 0), "network.pt"), (Key("imp", 4, 0), "rewind.pt")
START = (Key("untrained", 4, 0), "network.pt")
MILESTONES = {"schedule": "milestones", "milestones": [2, 5, 40], "gamma": 0.1, "learning_rate": 0.5}


def arm(recipe: str, name: str = "", of: str = "imp", **more: object) -> dict:
    """An item of `arms`, by default named after its recipe."""
    return {"name": name or recipe, "recipe": recipe, "of": of} | more


def config(*arms: dict, **changes: Any) -> dict:
    changes = {"dissection": {"layers": ["stages.3"]}} | changes | {"pruning": PRUNING | changes.get("pruning", {})}
    return complete_config({"replicates": [1, 4], "arms": list(arms)} | changes) | {"gpus": 0}


def networks(*arms: dict, **changes: object) -> dict[Key, Network]:
    return Experiment(config(*arms, **changes)).networks


def like(level: int) -> tuple[Key, str]:
    return Key("imp", 4, level), "network.pt"


def mistakes_in(*arms: dict, **changes: object) -> list[str]:
    """The sentences that a config with these arms leads to."""
    with pytest.raises(UserError) as error:
        networks(*arms, **changes)
    first, *others = str(error.value).removeprefix("config: ").split("\n  ")
    assert str(error.value).startswith("config: ")
    assert not others or first == f"{len(others)} mistakes"
    return others or [first]


# Choices and files of each network, of replicate 4 and level 2 if it has levels.


@pytest.mark.parametrize(
    ("name", "parent", "choices", "needs"),
    [
        ("imp", 1, {"mask": "global", "weights": "rewound", "fraction": 0.25, "from_epoch": 2}, {"rewind": POINT}),
        (
            "imp_rewind0",
            1,
            {"mask": "global", "weights": "initial", "fraction": 0.25, "from_epoch": 0},
            {"rewind": POINT, "initial": START},
        ),
        ("lr_rewind", 1, {"mask": "global", "weights": "kept", "fraction": 0.25, "from_epoch": 2}, {}),
        (
            "finetune",
            1,
            {"mask": "global", "weights": "kept", "fraction": 0.25, "from_epoch": 2, "constant_rate": 0.003},
            {},
        ),
        ("oneshot", 0, {"mask": "global", "weights": "rewound", "from_epoch": 2}, {"rewind": POINT, "like": like(2)}),
        (
            "random_layerwise",
            0,
            {"mask": "shuffled_layerwise", "weights": "rewound", "mask_seed": [0, 2, 4], "from_epoch": 2},
            {"rewind": POINT, "like": like(2)},
        ),
        (
            "random_global",
            0,
            {"mask": "shuffled_global", "weights": "rewound", "mask_seed": [0, 2, 4], "from_epoch": 2},
            {"rewind": POINT, "like": like(2)},
        ),
        ("reinit", 0, {"mask": "same", "weights": "fresh", "seed": 1004, "from_epoch": 0}, {"like": like(2)}),
        (
            "structured",
            0,
            {"mask": "structured", "weights": "rewound", "from_epoch": 2},
            {"rewind": POINT, "like": like(2)},
        ),
    ],
)
def test_what_a_published_arms_level_is_made_from(name, parent, choices, needs):
    more = {"rate": 0.003} if name == "finetune" else {}
    found = networks(IMP, *([arm(name, **more)] if name != "imp" else []))
    network = found[name, 4, 2]
    source = Key(name if parent else "imp", 4, parent)
    assert (network.made_by, network.parent) == ("train_level", source)
    assert network.density == (None if name == "structured" else 0.75**2)  # that of whole filters is their own
    assert network.choices == choices
    assert network.needs == needs | {"parent": (source, "network.pt")}
    assert [key for key in found if key.arm == name] == [(name, replicate, n) for replicate in (1, 4) for n in range(4)]
    if name != "imp":
        first = found[name, 4, 0]
        assert (first.made_by, first.parent, first.files_of, first.density) == ("", DENSE[0], DENSE[0], 1)
        # The first round prunes the dense network.
        assert found[name, 4, 1].needs["parent"] == DENSE


def test_every_method_is_of_choices_that_there_are_and_can_be_written_by_hand():
    for name, method in PUBLISHED.items():
        assert all(getattr(method, choice) in values for choice, values in CHOICES.items())
        if name == "dense_again":
            continue
        by_name = networks(IMP, arm(name, **({"rate": 0.1} if name == "finetune" else {})))
        choices = {choice: getattr(method, choice) for choice in CHOICES}
        choices |= {"rate": 0.1} if name == "finetune" else {}
        by_hand = networks(IMP, arm("pruned", name, **choices))
        for key, network in by_name.items():
            assert (network.choices, network.needs) == (by_hand[key].choices, by_hand[key].needs)
    assert len(set(PUBLISHED.values())) == len(PUBLISHED)
    assert PUBLISHED["dense_again"] == Method("all", "straight", "rewound", "continued", order=1)


def test_the_dense_network_again():
    found = networks(IMP, arm("dense_again"))
    network = found["dense_again", 4, 0]
    assert [key for key in found if key.arm == "dense_again"] == [("dense_again", 1, 0), ("dense_again", 4, 0)]
    assert (network.made_by, network.density) == ("train_level", 1)
    assert network.choices == {"mask": "all", "weights": "rewound", "from_epoch": 2, "order": 1}
    assert network.needs == {"parent": DENSE, "rewind": POINT}
    others = networks(IMP, arm("dense_again"), arm("dense_again", "third", order=2, label="a third"))
    assert others["dense_again", 4, 0] == network
    third = others["third", 4, 0]
    assert (third.choices, third.needs) == (network.choices | {"order": 2}, network.needs)


def test_dense_networks_of_earlier_epochs_each_continue_from_the_rewind_point():
    training = {"epochs": 9}
    found = networks(IMP, arm("dense_early", epochs=[7, 3, 5]), training=training)
    assert [key.level for key in found if key[:2] == ("dense_early", 4)] == [3, 5, 7]
    for level in (3, 5, 7):
        network = found["dense_early", 4, level]
        assert (network.made_by, network.parent, network.density) == ("train_level", DENSE[0], 1)
        assert network.needs == {"parent": DENSE, "rewind": POINT}
        assert network.choices == {"mask": "all", "weights": "rewound", "from_epoch": 2, "until_epoch": level}
    more = networks(IMP, arm("dense_early", epochs=[3, 4, 5, 6, 7]), training=training)
    assert len(more) == len(found) + 2 * 2 and all(more[key] == network for key, network in found.items())


def test_smaller_networks_have_a_design_of_their_own_for_each_set_of_arguments():
    small = [{"inner": [16, 16, 16, 16]}, {"widths": [16, 16, 16, 96]}]
    plan = Experiment(config(IMP, arm("dense_small", "small", arguments=small), pruning={"exempt": ["classifier"]}))
    assert list(plan.designs) == ["", "_small.0.1", "_small.0.2"]
    arguments = plan.config["network"]["arguments"]
    for level, own in enumerate(small, 1):
        network = plan.networks["small", 4, level]
        assert network.design == plan.networks["small", 1, level].design == plan.designs[f"_small.0.{level}"]
        assert network.design.settings["arguments"] == arguments | own and network.design.is_trained
        assert (network.made_by, network.parent, network.density, network.needs) == ("train_level", None, None, {})
        assert network.choices == {
            **{"mask": "all", "weights": "fresh", "seed": 4, "from_epoch": 0, "exempt": ["classifier"]}
        }
        # They are shown the same pictures, and are not pruned.
        assert network.design.view == "" and "--levels 0 " in plan.checks(network.design)
        assert "--shapes-like" in plan.checks(network.design)
    assert "--levels 3 " in plan.checks(plan.designs[""]) and "--shapes-like" not in plan.checks(plan.designs[""])
    assert not next(found for found in plan.arms if found.name == "small").same_units


@pytest.mark.parametrize("recipe", ["oneshot", "random_layerwise", "random_global", "reinit", "structured"])
def test_arms_that_go_straight_to_a_level_may_have_some_of_the_levels(recipe):
    whole, some = networks(IMP, arm(recipe)), networks(IMP, arm(recipe, levels=[3, 1]))
    assert [key.level for key in some if key[:2] == (recipe, 4)] == [0, 1, 3]
    assert all(some[key] == whole[key] for key in some)


@pytest.mark.parametrize("recipe", ["imp_rewind0", "lr_rewind"])
def test_arms_that_go_round_by_round_may_have_the_first_levels(recipe):
    whole, some = networks(IMP, arm(recipe)), networks(IMP, arm(recipe, levels=[2, 1]))
    assert [key.level for key in some if key[:2] == (recipe, 4)] == [0, 1, 2]
    assert all(some[key] == whole[key] for key in some)


def test_the_design_of_smaller_networks_has_the_same_name_whatever_the_first_replicate():
    small = arm("dense_small", arguments=[{"inner": [16, 16, 16, 16]}])
    assert list(Experiment(config(IMP, small)).designs) == ["", "_dense_small.0.1"]
    assert list(Experiment(config(IMP, small, replicates=[7])).designs) == ["", "_dense_small.0.1"]


def test_random_places_have_a_seed_of_their_own_in_each_replicate_and_level_and_weights_one_in_each_replicate():
    fresh = SHUFFLED | {"weights": "fresh", "schedule": "whole"}
    found = networks(
        IMP,
        *(arm("random_global"), arm("random_layerwise", seed=5), arm("reinit", seed=90)),
        *(arm("pruned", "both", **fresh), arm("pruned", "seeded", **fresh, seed=70)),
    )
    keys = [(replicate, level) for replicate in (1, 4) for level in (1, 2, 3)]
    for name, places, weights in [
        ("random_global", 0, None),
        ("random_layerwise", 5, None),
        ("reinit", None, 90),
        ("both", 0, 1000),
        ("seeded", 70, 70),
    ]:
        for replicate, level in keys:
            choices = found[name, replicate, level].choices
            assert choices.get("mask_seed") == (None if places is None else [places, level, replicate])
            assert choices.get("seed") == (None if weights is None else weights + replicate)


def test_exempt_layers_are_passed_to_the_script_and_initial_networks_belong_to_their_arm():
    untrained = arm("untrained", "drawn")
    found = networks(IMP, untrained, arm("imp_rewind0"), pruning={"exempt": ["classifier", "stem"]})
    for network in found.values():
        if network.made_by == "train_level":
            assert network.choices["exempt"] == ["classifier", "stem"]
    assert found["imp_rewind0", 4, 1].needs["initial"] == (Key("drawn", 4, 0), "network.pt")


@pytest.mark.parametrize(("epochs", "rate"), [(9, 0.005), (5, 0.05), (3, 0.05), (41, 0.0005)])
def test_without_a_rate_fine_tuning_has_the_last_one_of_the_milestones(epochs, rate):
    training = MILESTONES | {"epochs": epochs}
    found = networks(IMP, arm("finetune"), training=training, pruning={"rewind_epoch": 1})
    assert found["finetune", 1, 1].choices["constant_rate"] == pytest.approx(rate)
    found = networks(IMP, arm("finetune", rate=0.7), training=training, pruning={"rewind_epoch": 1})
    assert found["finetune", 1, 1].choices["constant_rate"] == 0.7


@pytest.mark.parametrize("milestones", [[], [2], [2, 7]])
def test_milestones_without_effect_leave_no_rate_for_fine_tuning(milestones):
    training = MILESTONES | {"epochs": 2, "milestones": milestones}
    changes = {"training": training, "pruning": {"rewind_epoch": 1}}
    assert mistakes_in(IMP, arm("finetune"), **changes) == [
        "arms.finetune.rate is missing: no milestone lowers the peak, so the schedule has no low rate to continue with;"
        " write one, such as rate: 0.005"
    ]
    assert networks(IMP, arm("finetune", rate=0.02), **changes)["finetune", 1, 1].choices["constant_rate"] == 0.02


def test_users_networks_lose_a_fraction_in_as_many_rounds_as_the_level():
    straight = [arm("pruned", mask, of="own", **PRUNED | {"mask": mask}) for mask in ("global", "layerwise")]
    rounds = PRUNED | {"mask": "layerwise", "rounds": "iterative"}
    found = networks(OWN, arm("lr_rewind", of="own"), *straight, arm("pruned", "rounds", of="own", **rounds))
    dense = (Key("own", 1, 0), "network.pt")
    assert [key for key in found if key.arm == "layerwise"] == [("layerwise", 1, level) for level in range(4)]
    for name, mask in (("lr_rewind", "global"), ("rounds", "layerwise")):
        for level in (1, 2, 3):
            network = found[name, 1, level]
            before = (Key(name, 1, level - 1), "network.pt") if level > 1 else dense
            assert (network.needs, network.design) == ({"parent": before}, found["own", 1, 0].design)
            assert network.choices == {"mask": mask, "weights": "kept", "fraction": 0.25, "from_epoch": 2}
    for mask in ("global", "layerwise"):
        for level in (1, 2, 3):
            network, choices = found[mask, 1, level], {"mask": mask, "weights": "kept", "fraction": 0.25}
            assert (network.needs, network.design) == ({"parent": dense}, found["own", 1, 0].design)
            assert network.choices == choices | {"rounds": level, "from_epoch": 2}
    # What they have after that is told by their masks, for own may be sparse already.
    assert all(network.density is None for network in found.values())
    assert all(found[name, 1, 0].files_of == dense[0] for name in ("lr_rewind", "global", "layerwise", "rounds"))


def test_rounds_of_other_masks_than_the_networks_have_as_many_weights_as_imp_at_the_level():
    found = networks(IMP, arm("pruned", "rounds", **PRUNED | {"mask": "layerwise", "rounds": "iterative"}))
    network = found["rounds", 4, 2]
    assert network.needs == {"parent": (Key("rounds", 4, 1), "network.pt"), "like": like(2)}
    assert network.choices == {"mask": "layerwise", "weights": "kept", "from_epoch": 2}


def test_a_users_whole_network_may_be_trained_further():
    found = networks(OWN, arm("pruned", "tuned", of="own", **PRUNED | {"mask": "all"}))
    assert found["tuned", 1, 0].choices == {"mask": "all", "weights": "kept", "from_epoch": 2}
    assert found["tuned", 1, 0].needs == {"parent": (Key("own", 1, 0), "network.pt")}


# Nothing else runs again

EVERY = [
    arm("untrained"), arm("trained_twice"), arm("imp_rewind0"), arm("lr_rewind"), arm("finetune", rate=0.1),
    arm("oneshot"), arm("random_layerwise"), arm("random_global"), arm("reinit"), arm("structured"),
    arm("dense_again"), arm("dense_early", epochs=[3, 5]),
    arm("dense_small", arguments=[{"inner": [16, 16, 16, 16]}, {"inner": [16, 16, 32, 32]}]),
    arm("pruned", "mine", **PRUNED), OWN, arm("finetune", "own_tuned", of="own", rate=0.1),
]  # fmt: skip


def same_jobs(one: Experiment, other: Experiment) -> bool:
    """Whether the networks of `one` are made from the same files in `other`, with the same checks of their designs."""
    return all(other.networks[key] == network for key, network in one.networks.items()) and all(
        one.training_settings({}, design) == other.training_settings({}, other.designs[suffix])
        for suffix, design in one.designs.items()
    )


@pytest.mark.parametrize("index", range(len(EVERY)), ids=[item["name"] for item in EVERY])
def test_one_more_arm_changes_nothing_of_what_other_networks_are_made_from(index):
    others = [item for other, item in enumerate(EVERY) if other != index]
    if EVERY[index] is OWN:
        others = [item for item in others if item.get("of") != "own"]
    assert same_jobs(Experiment(config(IMP, *others)), Experiment(config(IMP, *EVERY)))


def test_further_levels_epochs_and_arguments_change_nothing_of_those_that_there_are():
    trained = [item for item in EVERY if item["name"] not in ("own", "own_tuned")]
    first = [{key: item[key][:1] for key in ("epochs", "arguments") if key in item} for item in trained]
    fewer = [item | lists for item, lists in zip(trained, first, strict=True)]
    less = Experiment(config(IMP, *fewer, pruning={"levels": 2}))
    assert same_jobs(less, Experiment(config(IMP, *trained)))
    # Nor does a further replicate.
    more = Experiment(config(IMP, *trained, replicates=[1, 4, 5]))
    assert same_jobs(less, more) and len(more.networks) > len(less.networks)


# Refused before anything runs

SHUFFLED = PRUNED | {"mask": "shuffled_global", "weights": "rewound"}


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (
            arm("oneshot", levels=[1, 4]),
            "arms.oneshot.levels has 4, but pruning.levels is 3: there is no such level to take masks and densities"
            " from; leave it out, or raise pruning.levels",
        ),
        (
            arm("lr_rewind", levels=[1, 3]),
            "arms.lr_rewind.levels: each round prunes the network of the round before it: write all levels from 1 on,"
            " [1, 2, 3]",
        ),
        (
            arm("finetune"),
            "arms.finetune.rate is missing: a cosine ends at 0, so the schedule has no low rate to continue with; write"
            " one, such as rate: 0.0007",
        ),
        (
            arm("pruned", "p", **PRUNED, rate=0.1),
            "arms.p.rate needs the schedule constant, but this one is continued: leave it out",
        ),
        (
            arm("pruned", "p", **PRUNED, seed=7),
            "arms.p.seed needs fresh weights or masks at random places, but this arm has neither: leave it out",
        ),
        (
            arm("reinit", seed=3),
            "arms.reinit.seed is 3, so replicate 1 would get the weights that replicate 4 started from: write a number"
            " above 4",
        ),
        (
            arm("reinit", seed=0),
            "arms.reinit.seed is 0, so replicate 1 would get the weights that replicate 1 started from: write a number"
            " above 4",
        ),
        (
            arm("pruned", "p", **PRUNED | {"mask": "all", "weights": "rewound"}),
            "arms.p would repeat the dense network bit for bit: write another order of the data, order: 1",
        ),
        (
            arm("pruned", "p", **PRUNED | {"mask": "all"}, levels=[1]),
            "arms.p.levels: with mask: all nothing is pruned, so there are no levels: leave it out",
        ),
        (
            arm("pruned", "p", **SHUFFLED | {"rounds": "iterative"}),
            "arms.p.rounds: masks at random places are drawn anew at each level: write straight",
        ),
        (
            arm("dense_early", epochs=[2, 5, 7]),
            "arms.dense_early.epochs has 2, 7: write numbers from 3 to 5, after pruning.rewind_epoch and before"
            " training.epochs",
        ),
        (
            arm("dense_small", arguments=[{"widths": [16, 16, 16, 32]}]),
            "arms.dense_small.arguments: widths [16, 16, 16, 32] change stages.3, which is dissected, but counts of"
            " units are only comparable if layers have equally many; write 96 for it, and fewer channels for other"
            " stages or for inner",
        ),
        (
            arm("dense_small", arguments=[{"inner": [16, 8, 16, 16]}]),
            "arms.dense_small.arguments.0.inner.1 is 8: write at least 16, to train it",
        ),
        (
            arm("dense_small", arguments=[{"inner": [16, 16]}]),
            "arms.dense_small.arguments.0: widths has 4, blocks has 4, strides has 4, inner has 2: write the same"
            " number of items in each, one for each stage",
        ),
        (
            arm("dense_small", arguments=[{"inner": [16, 16, 16, 16]}, {"iner": [16, 16, 16, 16]}]),
            "unknown key arms.dense_small.arguments.1.iner; did you mean inner?",
        ),
        (arm("oneshot", rate=0.1), "unknown key arms.oneshot.rate"),
        (arm("dense_again", order=0), "arms.dense_again.order is 0: write a whole number from 1 to 1000000, such as 2"),
        (arm("dense_again", seed=2), "unknown key arms.dense_again.seed"),
        (arm("oneshot", seed=2), "unknown key arms.oneshot.seed"),
        (arm("dense_again", levels=[1]), "unknown key arms.dense_again.levels"),
        (arm("oneshot", levels=[0]), "arms.oneshot.levels.0 is 0: write a whole number from 1 to 1000, such as 2"),
        (arm("pruned", "p", **PRUNED | {"mask": "largest"}), 'arms.p.mask is "largest": write "global", "layerwise",'),
    ],
)
def test_an_impossible_arm_is_refused_in_one_sentence_that_says_what_to_write(item, sentence):
    (found,) = mistakes_in(IMP, item)
    assert found.startswith(sentence)


AGAIN = "would repeat the networks of {} bit for bit: leave it out, or give it another order of the data or, if"
AGAIN += " anything is drawn, another seed"
AS_DENSE = "would repeat the dense network bit for bit: write another order of the data, order: 1"
FROM_0 = {"pruning": {"rewind_epoch": 0}}
AS_IMP = {"mask": "same", "rounds": "straight", "weights": "rewound", "schedule": "continued"}
WHOLE = {"mask": "all", "rounds": "straight", "weights": "initial", "schedule": "whole"}
TICKET = AS_IMP | {"weights": "initial", "schedule": "whole"}
THIN = {"inner": [16, 16, 16, 16]}
AT_ONE_RATE = {"mask": "global", "rounds": "iterative", "weights": "kept", "schedule": "constant"}


def second(recipe: str, **more: Any) -> dict:
    """An arm with its own label."""
    return arm(recipe, "second", label="the second one", **more)


@pytest.mark.parametrize(
    ("arms", "other", "changes"),
    [
        # What is drawn has a default seed, and a rate the milestones' last.
        *[([arm(name), second(name)], name, {}) for name in ("oneshot", "lr_rewind", "structured", "dense_again")],
        *[([arm(name), second(name)], name, {}) for name in ("random_global", "random_layerwise", "reinit")],
        ([arm("random_global"), second("random_global", seed=0)], "random_global", {}),
        ([arm("reinit", seed=1000), second("reinit")], "reinit", {}),
        ([arm("random_global", levels=[1, 2]), second("random_global", levels=[2, 3])], "random_global", {}),
        ([arm("dense_again", order=3), second("dense_again", order=3)], "dense_again", {}),
        ([arm("dense_again"), second("pruned", **WHOLE | PRUNED | {"mask": "all"}, order=1)], None, {}),
        ([arm("dense_again"), second("pruned", **AS_IMP | {"mask": "all"}, order=1)], "dense_again", {}),
        ([arm("finetune", rate=0.1), second("pruned", **AT_ONE_RATE, rate=0.1)], "finetune", {}),
        ([arm("finetune", rate=0.1), second("finetune", rate=0.2)], None, {}),
        ([arm("finetune"), second("finetune", rate=0.05)], "finetune", {"training": MILESTONES | {"epochs": 5}}),
        # The method of imp in other words.
        ([second("pruned", **AS_IMP)], "imp", {}),
        ([second("pruned", **AS_IMP | {"rounds": "iterative"})], "imp", {}),
        ([second("pruned", **AS_IMP | {"mask": "global", "rounds": "iterative"})], "imp", {}),
        ([second("pruned", **AS_IMP | {"mask": "global"})], None, {}),
        ([second("pruned", **AS_IMP, order=1)], None, {}),
        ([second("pruned", **TICKET)], None, {}),
        ([arm("pruned", "t", **TICKET), second("pruned", **TICKET | {"rounds": "iterative"})], "t", {}),
        ([arm("imp_rewind0")], None, {}),
        ([arm("imp_rewind0", "second")], "imp", FROM_0),
        ([second("pruned", **TICKET)], "imp", FROM_0),
        # Those of another network, seed or level.
        ([OWN, arm("lr_rewind"), second("lr_rewind", of="own")], None, {}),
        ([arm("random_global"), second("random_global", seed=1)], None, {}),
        ([arm("reinit"), second("reinit", seed=2000)], None, {}),
        ([arm("oneshot", levels=[1, 3]), second("oneshot", levels=[2])], None, {}),
        ([arm("dense_again"), second("dense_again", order=2)], None, {}),
        ([arm("dense_early", epochs=[3, 4]), second("dense_early", epochs=[5])], None, {}),
        (
            [arm("dense_small", arguments=[THIN]), second("dense_small", arguments=[THIN | {"stem_kernel": 3}])],
            None,
            {},
        ),
        # The dense network, and that once more.
        ([arm("trained_twice"), second("pruned", **WHOLE | {"weights": "kept"})], "trained_twice", {}),
        ([arm("trained_twice"), second("trained_twice")], "trained_twice", {}),
        ([arm("trained_twice"), second("pruned", **WHOLE | {"weights": "kept"}, order=1)], None, {}),
        ([second("pruned", **WHOLE)], "", {}),
        ([second("pruned", **WHOLE | {"rounds": "iterative"})], "", {}),
        ([second("pruned", **WHOLE, order=1)], None, {}),
        ([second("pruned", **WHOLE | {"weights": "rewound"})], None, {}),
        ([second("pruned", **WHOLE | {"weights": "rewound"})], "", FROM_0),
    ],
)
def test_an_arm_that_repeats_another_is_refused_however_it_is_written(arms, other, changes):
    """`other` is the arm that the last one would repeat, "" for the dense network, None for no arm."""
    if other is None:
        networks(IMP, *arms, **changes)
    else:
        assert mistakes_in(IMP, *arms, **changes) == [f"arms.second {AGAIN.format(other) if other else AS_DENSE}"]


def test_fresh_weights_of_a_users_network_may_have_any_replicates_seed():
    fresh = PRUNED | {"weights": "fresh", "schedule": "whole"}
    found = networks(IMP, OWN, arm("pruned", "new", of="own", **fresh, seed=0))
    assert found["new", 1, 2].choices["seed"] == 1
    (sentence,) = mistakes_in(IMP, OWN, arm("pruned", "new", **fresh, seed=0))
    assert sentence.startswith("arms.new.seed is 0, so replicate 1 would get the weights that replicate 1 started")


INNER = {"inner": [16, 16, 16, 16]}


@pytest.mark.parametrize(
    ("given", "again"),
    [
        ([{"widths": [16, 32, 64, 96]}], {"widths": [16, 32, 64, 96]}),
        ([INNER, {"widths": [16, 16, 16, 96]}, INNER], INNER),
        ([INNER, INNER | {"widths": [16, 32, 64, 96]}], INNER | {"widths": [16, 32, 64, 96]}),
    ],
)
def test_arguments_that_make_a_network_that_is_there_already_are_refused(given, again):
    assert mistakes_in(IMP, arm("dense_small", arguments=given)) == [
        f"arms.dense_small.arguments: {again} make a network that already exists: leave them out"
    ]


def test_the_plan_only_checks_widths_of_the_small_network():
    other = {"constructor": "own.module:resnet", "arguments": {"widths": [16, 32, 64, 96]}}
    small = arm("dense_small", arguments=[{"widths": [16, 16, 16, 16]}, {"widths": 3}])
    found = networks(IMP, small, network=other)
    assert found["dense_small", 4, 1].design.settings["arguments"]["widths"] == [16] * 4


def test_an_arm_of_earlier_epochs_is_refused_if_there_are_none():
    (found,) = mistakes_in(IMP, arm("dense_early", epochs=[2]), training={"epochs": 3})
    assert found == (
        "arms.dense_early.epochs: there is no epoch between pruning.rewind_epoch and training.epochs: raise"
        " training.epochs, or leave the arm out"
    )


def test_the_default_seed_of_fresh_weights_is_checked_too():
    (found,) = mistakes_in(IMP, arm("reinit"), replicates=[2, 1002])
    assert found.startswith("arms.reinit.seed is 1000, so replicate 2 would get the weights that replicate 1002")


def test_a_width_of_a_stage_that_there_is_not_is_left_to_the_check_of_the_network():
    small = [{"widths": [16, 16, 16, 96, 96], "blocks": [1] * 5, "strides": [1] * 5}]
    networks(IMP, arm("dense_small", arguments=small), dissection={"layers": ["stages.3", "stages.4"]})


OF_OWN = PRUNED | {"of": "own"}


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (
            arm("pruned", "p", **OF_OWN | {"weights": "rewound"}),
            "arms.p.weights: the weights cannot go back to the training of own, which is unknown: write kept or fresh",
        ),
        (
            arm("pruned", "p", **OF_OWN | {"weights": "initial"}),
            "arms.p.weights: the weights cannot go back to the training of own, which is unknown: write kept or fresh",
        ),
        *[
            (
                arm("pruned", "p", **OF_OWN | {"mask": mask}),
                f"arms.p.mask is {mask}, which needs the masks of an arm of the recipe imp: write one of global,"
                " layerwise, structured, all",
            )
            for mask in ("same", "shuffled_layerwise", "shuffled_global")
        ],
        (
            arm("oneshot", of="own"),
            "arms.oneshot.of is own, an arm of the recipe brought, but the recipe oneshot needs an arm of the recipe"
            " imp: name one, such as imp",
        ),
    ],
)
def test_choices_that_need_a_users_networks_training_are_refused(item, sentence):
    assert mistakes_in(IMP, OWN, item) == [sentence]


def test_pictures_must_suit_a_users_network_that_is_trained_on_them(tmp_path):
    for number in range(11):
        (tmp_path / str(number)).mkdir()
    other = OWN | {"preprocessing": VIEW | {"size": 64}}
    ordered = OWN | {"name": "ten", "test": str(tmp_path), "class_order": "number"}
    tuned = [arm("finetune", "tuned", of="own", rate=0.1), arm("lr_rewind", "ten_rewind", of="ten")]
    oblong = OWN | {"name": "oblong", "preprocessing": VIEW | {"size": [64, 48]}}
    of_oblong = arm("finetune", "of_oblong", of="oblong", rate=0.1)
    networks(other, ordered, oblong)
    assert mistakes_in(oblong, of_oblong) == [
        "arms.of_oblong trains networks of the arm oblong, whose preprocessing.size is 64x48, but training pictures are"
        " square: leave that arm out"
    ]
    assert mistakes_in(other, ordered, *tuned) == [
        "arms.tuned trains networks of the arm own, which take pictures of 64 pixels: set images.size to that number",
        "arms.ten_rewind trains networks of the arm ten, whose class_order is number, but training pictures have their"
        " classes in the order of text: rename their folders so that both agree, and leave class_order out",
    ]


def test_an_arm_of_an_unreadable_network_adds_no_mistake():
    lost = OWN | {"weights": "no/such.pt"}
    (found,) = mistakes_in(lost, arm("finetune", of="own", rate=0.1))
    assert found.startswith("arms.own.weights is 'no/such.pt', but there is no such file")


def test_all_mistakes_in_such_arms_are_reported_at_once():
    found = mistakes_in(
        IMP,
        OWN,
        arm("oneshot", levels=[9]),
        arm("finetune"),
        arm("reinit", seed=0),
        arm("dense_early", epochs=[1]),
        arm("dense_small", arguments=[{"inner": [16]}, {"widths": [16, 16, 16, 16]}]),
        arm("pruned", "p", **SHUFFLED | {"of": "own", "rounds": "iterative", "rate": 1, "seed": 1}, levels=[1, 3]),
        arm("pruned", "q", **PRUNED, seed=1),
    )
    begins = [
        *("arms.oneshot.levels has 9", "arms.finetune.rate is missing", "arms.reinit.seed is 0"),
        *("arms.dense_early.epochs has 1", "arms.dense_small.arguments: widths [16, 16, 16, 16] change stages.3"),
        *("arms.p.rounds", "arms.p.mask is shuffled_global", "arms.p.weights", "arms.p.levels", "arms.p.rate"),
        *("arms.q.seed", "arms.dense_small.arguments.0: widths has 4"),
    ]
    assert len(found) == len(begins)
    for sentence, begin in zip(found, begins, strict=True):
        assert sentence.startswith(begin)


@pytest.mark.parametrize(
    ("recipe", "listed", "values"),
    [
        ("dense_early", "epochs", ([3, 4], [4, 5])),
        ("dense_small", "arguments", ([THIN], [THIN, THIN | {"stem_kernel": 3}])),
    ],
)
def test_an_epoch_or_a_smaller_network_of_two_arms_is_refused(recipe, listed, values):
    first, other = values
    assert mistakes_in(IMP, arm(recipe, **{listed: first}), second(recipe, **{listed: other})) == [
        f"arms.second.{listed} repeats networks of {recipe}: leave them out, or put both lists into one arm"
    ]


def test_rows_of_the_table_of_arms():
    rows = {found.name: found.row for found in read_arms(config(IMP, *EVERY))[0]}
    assert all(rows[name]["role"] == "reference" for name in ("dense_again", "dense_early", "dense_small"))
    assert all(rows[name]["role"] == "curve" for name in PUBLISHED if name != "dense_again")
    for name in (*PUBLISHED, "mine", "dense_early"):
        assert (rows[name]["base"], rows[name]["starts_from"]) == ("imp", "imp")
        assert rows[name]["same_units"] == (name != "reinit")  # its levels start from weights of their own
    assert (rows["dense_small"]["starts_from"], rows["dense_small"]["same_units"]) == ("", False)
    assert (rows["mine"]["label"], rows["own_tuned"]["base"]) == ("mine", "own")
    labels = [row["label"] for row in rows.values() if row["base"] == "imp"]
    assert len(set(labels)) == len(labels) and all(re.fullmatch(r"[^_]+", label) for label in labels)


def test_each_network_is_made_by_one_rule_and_level_and_arm_say_which():
    plan = Experiment(config(IMP, *EVERY))
    rules = ("init_network", "train_dense", "train_level", "import_network")
    arms = {rule: re.compile(plan.arms_of(rule)) for rule in rules}
    levels = {rule: re.compile(plan.levels_of(rule)) for rule in ("train_level",)}
    for key, network in plan.networks.items():
        if not network.made_by:
            continue
        fitting = [rule for rule in rules if arms[rule].fullmatch(key.arm)]
        # A dense network is told from its levels by its level, which the rules say, and their order.
        fitting = [rule for rule in fitting if rule not in levels or levels[rule].fullmatch(str(key.level))]
        fitting = [rule for rule in fitting if rule != "train_dense" or key.level == 0]
        assert fitting[0] == network.made_by
        assert len(fitting) == 1 or fitting == ["train_dense", "train_level"]
