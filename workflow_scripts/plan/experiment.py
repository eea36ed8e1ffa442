"""An experiment: everything that a config asks for, in the form that the rules need."""

import json
import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from workflow_scripts.plan.arms import initial_arm, read_arms
from workflow_scripts.plan.check import is_archive
from workflow_scripts.plan.concept_sets import PICTURES, RULES, kind_of, kinds_of, options_of, source_settings
from workflow_scripts.plan.designs import Design, trained_design
from workflow_scripts.plan.figures import figure_names
from workflow_scripts.plan.keys import BASELINE, CURVE, REFERENCE, Key
from workflow_scripts.plan.network_words import as_words
from workflow_scripts.plan.networks import Network
from workflow_scripts.plan.protocols import OF_FIELDS
from workflow_scripts.plan.replicates import require_replicates
from workflow_scripts.plan.resources import TESTED, TRAININGS, gpus_of, threads_of
from workflow_scripts.plan.robustness import own_choices, own_value, text_of, to_json, variations
from workflow_scripts.plan.rotations import Rotations, all_of, rotated_arms
from workflow_scripts.shared.concept_names import table_name
from workflow_scripts.shared.files import UserError

TABLES = ("networks", "arms", "categories", "units", "epochs", "layers", "nulls", "split")
COMPARED = ("equivalence", "matched", "correlations", "identity")  # made from TABLES
ABLATION_TABLES = ("ablation", "classes")


class Experiment:
    """What a config asks for: arms, networks, files, and the arguments of scripts.

    Paths are relative to the folder that snakemake runs in, and are within `results/<experiment>`.

    Args:
        config: as `complete_config` returns it, with a number for `gpus`.

    Raises:
        UserError: as in `read_arms`, `require_replicates` and `figure_names`.
    """

    def __init__(self, config: dict) -> None:
        self.config = config
        self.arms, self.networks = read_arms(config)
        require_replicates({arm.name: arm.role for arm in self.arms}, self.networks, config["statistics"]["test"])
        self.rotated = rotated_arms(config["arms"])
        self.variations = variations(config)  # other choices with which units are counted again
        self.trained = trained_design(config)
        self.designs = {network.design.suffix: network.design for network in self.networks.values()}
        self.results = f"results/{config['experiment']}"
        self.data = f"{self.results}/data"
        self.gallery = f"{self.results}/gallery"
        tested = any(map(self.is_tested, self.of_chosen_arms("figures")))
        measured = {"accuracy": tested, "rotations": self.rotated, "ablation": self.ablated_networks()}
        measured["epochs"] = any(map(self.is_trained, self.of_chosen_arms("figures")))
        self.figure_names = figure_names([name for name, found in measured.items() if found])  # in order

    # Networks

    def arms_of(self, *rules: str) -> str:
        """Return a regular expression of the arms with networks that one of these rules makes; it may match nothing."""
        arms = {network.key.arm for network in self.networks.values() if network.made_by in rules}
        if "init_network" in rules and any(arm.recipe == "imp" for arm in self.arms):
            arms.add(initial_arm(self.config))  # trainings start from it, even if it is not among the arms
        return "|".join(sorted(arms)) or "(?!)"

    def levels_of(self, rule: str) -> str:
        """Return a regular expression of the levels of the networks that a rule makes; it may match nothing."""
        levels = {network.key.level for network in self.networks.values() if network.made_by == rule}
        return "|".join(map(str, sorted(levels))) or "(?!)"

    @property
    def trains(self) -> bool:
        """Whether networks are made from pictures here, and not only imported."""
        return any(network.made_by in (*TRAININGS, *TESTED) for network in self.networks.values())

    def first_design(self) -> Design:
        """Return the design of the first arm's networks."""
        return next(iter(self.designs.values()))

    def density(self, arm: str, replicate: str, level: str) -> float | None:
        """Return the share of weights that remain in a network, if the config gives it."""
        network = self.networks.get(Key(arm, int(replicate), int(level)))
        return network.density if network else None

    def network(self, key: Key) -> Network:
        """Return a network by its key; raise UserError if there is none."""
        network = self.networks.get(key)
        if network is None:
            raise UserError(f"the experiment has no network {key.folder}: correct the file that you asked for")
        return network

    def of_chosen_arms(self, section: str) -> list[Network]:
        """Return the networks of the arms that a section of the config chooses."""
        chosen = self.config[section]["arms"]
        return [network for network in self.networks.values() if chosen == "all" or network.key.arm in chosen]

    def is_tested(self, network: Network) -> bool:
        """Tell whether the accuracy of a network is measured."""
        measured = self.networks.get(network.files_of, network)
        return self.tests_on_images(measured) or measured.design.test != "none"

    def is_trained(self, network: Network) -> bool:
        """Tell whether a network of a curve or a reference is trained here, also one that is listed once more."""
        role = next(arm.role for arm in self.arms if arm.name == network.key.arm)
        return role != BASELINE and self.networks.get(network.files_of, network).made_by in TRAININGS

    def tests_on_images(self, network: Network) -> bool:
        """Tell whether a network is tested on the pictures of the config's images; those made from them are."""
        return network.made_by in (*TRAININGS, *TESTED)

    def rotated_networks(self) -> list[Network]:
        """Return the networks whose layers are rotated; one may be there under several names."""
        return [network for network in self.networks.values() if network.key.arm in self.rotated]

    def curves(self) -> list[Network]:
        """Return the networks of arms that are curves; one may be there under several names."""
        curves = {arm.name for arm in self.arms if arm.role == CURVE}
        return [network for network in self.networks.values() if network.key.arm in curves]

    def rotations(self, key: Key) -> Rotations:
        """Return how the layers of a network are rotated, given any of its keys."""
        arms = [network.key.arm for network in self.rotated_networks() if network.files_of == key]
        if not arms:
            raise UserError(f"no arm of the recipe rotated applies to {key.folder}: add one, or ask for another file")
        return all_of(self.rotated[arm] for arm in arms)

    def ablated_networks(self) -> list[Network]:
        """Return the networks whose units are switched off: tested curves and references; names may share a network."""
        if self.config["ablation"]["layers"] == "none":
            return []
        arms = {arm.name for arm in self.arms if arm.role in (CURVE, REFERENCE)}
        return [
            network
            for network in self.networks.values()
            if network.key.arm in arms and self.is_tested(network) and not network.shuffled
        ]

    def published(self) -> list[Network]:
        """Return the networks that seem to be the one with published counts: torchvision's first ResNet-50."""
        return [
            network
            for network in self.networks.values()
            if network.made_by == "import_network"
            and network.design.settings["constructor"] == "torchvision.models:resnet50"
            and not network.design.settings["arguments"]
            and re.search("IMAGENET1K_V1|0676ba61", str(network.weights))
            and network.masks is None
            and [network.design.preprocessing[key] for key in ("size", "mean", "std")]
            == [224, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
        ]

    # Files

    def file(self, key: Key, name: str) -> str:
        """Return the path of one file of one network."""
        return f"{self.results}/{key.folder}/{name}"

    def concepts(self, design: Design) -> str:
        """Return the packed concepts, with pictures scaled for networks of this design."""
        return f"{self.data}/concepts{design.view}.h5"

    def fields(self, design: Design) -> list[str]:
        """Return the file of receptive fields, if interpolation needs their positions."""
        needed = self.config["dissection"]["knots"] in OF_FIELDS
        return [f"{self.data}/receptive_fields{design.suffix}.json"] if needed else []

    def sweep_fields(self, design: Design) -> list[str]:
        """Return the same for the other choices with which units are counted again."""
        needed = any(variation.choices.knots in OF_FIELDS for variation in self.variations)
        return [f"{self.data}/receptive_fields{design.suffix}.json"] if needed else []

    def sample_fields(self, design: Design) -> list[str]:
        """Return the same for thresholds: raw maps need no interpolation."""
        return self.fields(design) if self.config["dissection"]["quantile_of"] == "upsampled" else []

    def needed(self, key: Key) -> dict[str, str]:
        """Return the files of others that a network is made from; raise UserError if it is a second name of another."""
        network = self.network(key)
        if not network.made_by:
            raise UserError(f"{key.folder} is a second name of {network.files_of.folder}: ask for a file of that")
        return {name: self.file(*place) for name, place in network.needs.items()}

    def metrics(self) -> list[str]:
        """Return the metrics files of all networks; networks that share files share this one, too."""
        return [self.file(network.files_of, "metrics.json") for network in self.networks.values()]

    def units(self) -> list[str]:
        """Return the files of named units of all networks, likewise."""
        return [self.file(network.dissection_of, "units.csv") for network in self.networks.values()]

    def validation(self, name: str) -> list[str]:
        """Return a validation file of the units of all networks, likewise."""
        return [self.file(network.dissection_of, name) for network in self.networks.values()]

    def table_names(self) -> list[str]:
        """Return the names of all tables."""
        return [
            *TABLES,
            *(["rotations"] if self.rotated else []),
            *COMPARED,
            "sweep",
            *(ABLATION_TABLES if self.ablated_networks() else []),
            *(["published"] if self.published() else []),
        ]

    def tables(self) -> list[str]:
        """Return all tables."""
        return [f"{self.results}/tables/{name}.csv" for name in self.table_names()]

    def figures(self, *endings: str) -> list[str]:
        """Return all figures in the given formats."""
        return [f"{self.results}/figures/{name}.{ending}" for name in self.figure_names for ending in endings]

    def drawn(self, network: Network) -> str:
        """Return the gallery's folder for a network."""
        return f"{self.gallery}/networks/{network.dissection_of.folder}"

    def all_drawn(self) -> list[str]:
        """Return the gallery's folders for all networks that it shows, each once."""
        return list(dict.fromkeys(map(self.drawn, self.of_chosen_arms("gallery"))))

    def drawn_once(self) -> list[str]:
        """Return the gallery's folders that belong to no network: examples of concepts, and pictures to enlarge."""
        names = ["concepts", "pictures"] if self.config["gallery"]["enlarged_pixels"] else ["concepts"]
        return [f"{self.gallery}/{name}" for name in names]

    def checked(self) -> list[str]:
        """Return the files that the checks write; the checks run first, so that they fail before other jobs."""
        return [
            *(f"{self.data}/network{suffix}.json" for suffix in self.designs),
            f"{self.data}/concepts.verified.json",
        ]

    # Pictures

    @property
    def concept_kinds(self) -> list[str]:
        """The names that rules use for the sources of labelled pictures: "concepts", or one for each joined set."""
        return kinds_of(self.config["concepts"])

    def settings(self, kind: str) -> Mapping:
        """Return the config's settings of the source that rules call `kind`."""
        return source_settings(self.config, kind)

    def source(self, kind: str) -> str:
        """Return the folder of the source `kind`, such as "images": the user's own, or one that a rule makes."""
        source = self.settings(kind)["source"]
        if source == "shapes":
            return f"{self.data}/shapes/{kind}"
        return f"{self.data}/{kind}" if is_archive(source) else source

    def is_made(self, kind: str) -> bool:
        """Tell whether a rule makes the source folder."""
        return self.source(kind) != self.settings(kind)["source"]

    def packed_folder(self, kind: str, split: str | None = None) -> str:
        """Return the folder that is packed: that of `split` within the source of pictures, or that of the concepts."""
        settings = self.settings(kind)
        return str(Path(self.source(kind)) / settings[split if kind == "images" else "folder"])

    def test_labels(self, split: str) -> tuple[str, bool] | None:
        """Return the ground truth of pictures that are not in class folders, and whether a rule makes it.

        It is a file of the user or, if there is none of that name, one within the source.
        """
        labels = self.config["images"]["test_labels"]
        if split == "train" or labels == "none":
            return None
        if os.path.isfile(labels):  # unlike Path's, it does not raise if permissions are missing
            return labels, False
        within = str(Path(self.source("images")) / labels)
        return within, self.is_made("images") and within != labels

    def test_label_files(self, split: str) -> list[Path]:
        """Return the user's files for it: the ground truth, and the development kit's list of classes beside it."""
        labels, is_made = self.test_labels(split) or ("", True)
        return [] if is_made else [Path(labels), Path(labels).with_name("meta.mat")]

    @property
    def in_files(self) -> bool:
        """Whether the pictures to classify stay in their files."""
        return self.config["images"]["storage"] == "files"

    def require_source(self) -> None:
        """Raise UserError if the training pictures should stay in their files but do not exist."""
        source = self.config["images"]["source"]
        if self.trains and self.in_files and not is_archive(source) and not Path(source).is_dir():
            raise UserError(
                f"there is no folder {source} (images.source): ImageNet cannot be downloaded freely; ask for it at"
                " image-net.org, unpack it, and put or link the folder there"
            )

    def pictures(self, split: str) -> str:
        """Return the pictures to classify: packed, or the list of their files."""
        return f"{self.data}/{split}_index.h5" if self.in_files else f"{self.data}/{split}.h5"

    def view(self, suffix: str) -> dict:
        """Return the preprocessing with which pictures are packed for designs of this view."""
        return next(design.preprocessing for design in self.designs.values() if design.view == suffix)

    # Arguments of scripts

    def concept_tables(self, folder_of: Callable[[str], str]) -> str:
        """Return the argument for the folder of a set in Broden's layout; "" where sets are joined.

        Args:
            folder_of: like `packed_folder`, but the path that the rule uses.
        """
        return "" if self.config["concepts"]["sources"] else named_arguments(folder=folder_of("concepts"))

    def concept_pictures(self, folder_of: Callable[[str], str]) -> str:
        """Return the arguments for the labelled pictures: their folder, or the sets and how they are joined."""
        if not self.config["concepts"]["sources"]:
            return self.concept_tables(folder_of)
        sets, rules = self.joined_sets(folder_of)
        return named_arguments(sets=json.dumps(sets, sort_keys=True), rules=json.dumps(rules, sort_keys=True))

    def joined_sets(self, folder_of: Callable[[str], str]) -> tuple[list[dict], dict]:
        """Return the sets that are joined, and how, as `read_joined` takes them; `folder_of` as in `concept_tables`."""
        concepts = self.config["concepts"]
        sets = []
        for item in concepts["sources"]:
            kind = kind_of(item)
            of_pictures = f"{kind}_{PICTURES}" if "pictures_from" in item else kind
            sets.append(
                {key: item[key] for key in ("name", "format", "category")}
                | {"folder": folder_of(kind), "pictures_folder": folder_of(of_pictures), "options": options_of(item)}
            )
        return sets, {key: concepts[key] for key in RULES}

    def section(self, name: str) -> str:
        """Return one section of the config as text that changes only when a value does."""
        return json.dumps(self.config[name], sort_keys=True)

    def choices(self, *names: str) -> str:
        """Return the arguments for these choices of the dissection."""
        return named_arguments(**{name: self.config["dissection"][name] for name in names})

    def candidates(self) -> str:
        """Return the arguments for a dump of only candidates: their largest quantile, and the rule for masks."""
        dissection = self.config["dissection"]
        if dissection["dump"] != "candidates":
            return ""
        return named_arguments(candidates=dissection["largest_quantile"], mask=dissection["mask"])

    def permutations(self) -> str:
        """Return the argument for the permutations of labels."""
        permutations = self.config["statistics"]["permutations"]
        return named_arguments(permutations=0 if permutations == "none" else permutations)

    def margins(self) -> str:
        """Return the arguments for the margins within which a difference counts as no change."""
        return named_arguments(**{name: self.config["statistics"][name] for name in ("margin", "accuracy_margin")})

    def turns(self, key: Key) -> str:
        """Return the arguments for the rotations of a network's layers."""
        alphas, seeds = self.rotations(key)
        return named_arguments(alphas=alphas, seeds=list(range(1, seeds + 1)))

    def sweep(self) -> str:
        """Return the argument for the other choices with which a network's units are counted again."""
        return named_arguments(variations=to_json(self.variations))

    def swept_values(self) -> str:
        """Return the arguments for the values in the table of these counts: --values CHOICE OWN OTHER..."""
        dissection, found = self.config["dissection"], self.variations
        values = {choice: [own_value(choice, own_choices(dissection))] for choice, *_ in found}
        for choice, value, _ in found:
            values[choice].append(value)
        thresholds = map(text_of, [dissection["detector_iou"], *self.config["robustness"]["detector_ious"]])
        values = {"detector_iou": list(dict.fromkeys(thresholds))} | values
        return " ".join(named_arguments(values=[choice, *of_choice]) for choice, of_choice in values.items())

    def rotated_arms(self) -> str:
        """Return the arguments for the rotations that each arm asks for: --rotated ARM SEEDS ALPHA..."""
        return " ".join(
            named_arguments(rotated=[arm, rotations.seeds, *rotations.alphas])
            for arm, rotations in self.rotated.items()
        )

    def ablation(self, network: Network, folder: str | None) -> str:
        """Return the arguments for switching off units of a network: layers, sets, and how pictures are shown to it.

        Args:
            network: the network whose units are switched off.
            folder: of the pictures, if the network is made from pictures and tested with picture files.
        """
        design, ablation, images = network.design, self.config["ablation"], self.config["images"]
        layers = design.layers if ablation["layers"] == "all" else design.layers[-1:]
        preprocessing, arguments = design.preprocessing, {}
        if self.tests_on_images(network) and self.in_files:
            preprocessing = preprocessing | {"size": images["size"], "resize": images["test_resize"]}
            arguments = {"folder": folder}
        sets = named_arguments(
            layers=layers,
            random_sets=ablation["random_sets"],
            classes=json.dumps(
                {table_name(name): table_name(concept) for name, concept in ablation["classes"].items()},
                sort_keys=True,
            ),
            preprocessing=json.dumps(preprocessing, sort_keys=True),
            **arguments,
        )
        return sets if self.tests_on_images(network) else f"{sets} {self.test_pictures(design)}"

    def given_classes(self) -> str:
        """Return the argument for the classes that the config assigns to concepts, for any network."""
        return named_arguments(given=json.dumps(sorted(map(table_name, self.config["ablation"]["classes"]))))

    def samples(self) -> str:
        """Return the argument for thresholds of interpolated maps."""
        dissection = self.config["dissection"]
        if dissection["quantile_of"] != "upsampled":
            return ""
        return named_arguments(upsampled=dissection["knots"], border=dissection["border"])

    def network_settings(self, folders: dict[str, str], design: Design | None = None) -> str:
        """Return the arguments of scripts that make a network.

        `folders`, by split, have the pictures that stay in files; `design` is the network's, if it is not the config's.
        """
        images, design = self.config["images"], design or self.trained
        arguments = {key: design.preprocessing[key] for key in ("mean", "std")} | {"network": design.settings_text}
        if self.in_files:
            arguments |= {"size": images["size"], "resize": images["test_resize"]}
            arguments |= {f"{split}_folder": folder for split, folder in folders.items()}
        return named_arguments(**arguments)

    def training_settings(self, folders: dict[str, str], design: Design | None = None) -> str:
        """Return the arguments of a script that trains a network; otherwise like `network_settings`."""
        momentum = "--rewind-momentum" if self.config["pruning"]["rewind_momentum"] else "--no-rewind-momentum"
        training = named_arguments(training=self.section("training"))
        return f"{self.network_settings(folders, design)} {training} {momentum}"

    def checks(self, design: Design) -> str:
        """Return the arguments of the check that networks of a design can be pruned to the last level and dissected."""
        pruning = self.config["pruning"]
        networks = [network for network in self.networks.values() if network.design.suffix == design.suffix]
        once = {layer for network in networks if network.made_by == "prune_once" for layer in network.exempt}
        levels = [
            network.key.level
            for network in networks
            if network.made_by in TRAININGS and network.choices.get("mask", "all") != "all"
        ]
        trained = any(network.made_by in TRAININGS for network in networks)
        like = {"shapes_like": self.trained.settings_text} if design.is_trained and design.suffix else {}
        return named_arguments(
            network=design.settings_text,
            **design.shown,
            layers=design.layers,
            exempt=pruning["exempt"] if trained else sorted(once),
            levels=max(levels, default=0),
            fraction=pruning["fraction"],
            **like,
        ) + trained_flag(design)

    def geometry(self, design: Design) -> str:
        """Return the arguments for finding the receptive fields of a design's units."""
        shown = named_arguments(network=design.settings_text, **design.shown, layers=design.layers)
        return shown + trained_flag(design)

    def dump(self, design: Design) -> str:
        """Return the arguments for passing pictures through a network and keeping its maps."""
        dissection = self.config["dissection"]
        return named_arguments(
            layers=design.layers,
            mean=design.preprocessing["mean"],
            std=design.preprocessing["std"],
            precision=dissection["precision"],
            forward=dissection["forward"],
            execution=dissection["execution"],
        )

    def stated_density(self, network: Network) -> str:
        """Return the argument for the density that the config gives, if masks and zeros do not show it."""
        stated = network.made_by == "import_network" and network.density is not None
        return named_arguments(density=network.density) if stated else ""

    def expected(self, kind: str, *names: str) -> str:
        """Return the arguments for a source's expected contents, where the config has them: --NAME COUNT for each."""
        counts = self.config[kind]["expect"]
        return named_arguments(**{name: counts[name] for name in names if counts[name] != "any"})

    def narrowed(self) -> str:
        """Return the arguments that choose classes of pictures."""
        images = self.config["images"]
        return named_arguments(classes=images["classes"], without=json.dumps(images["without"]))

    def pixel_totals(self) -> str:
        """Return the argument for the expected pixel totals of labels."""
        totals = self.config["concepts"]["pixel_totals"]
        return named_arguments(pixel_totals=totals) if totals != "none" else ""

    def test_pictures(self, design: Design) -> str:
        """Return the arguments for test pictures, and for the order of their classes if the config gives it."""
        if design.test == "none":
            return ""
        order = {} if design.class_order is None else {"class_order": json.dumps(design.class_order)}
        return named_arguments(test=design.test, **order)

    def arm_rows(self) -> str:
        """Return the rows of arms.csv, as JSON."""
        return json.dumps([arm.row for arm in self.arms])

    def collected(self) -> str:
        """Return the arguments for all networks, and for those that have only the metrics of others."""
        networks = self.networks.values()
        measured = {network.key: network.files_of for network in networks if network.files_of != network.dissection_of}
        return listed(networks={network.key: network.dissection_of for network in networks}, measured=measured)

    def drawn_networks(self) -> str:
        """Return the argument for all networks that the gallery shows, each once."""
        drawn = [network.dissection_of for network in self.of_chosen_arms("gallery")]
        return listed(networks={key: key for key in drawn})

    def other_names(self) -> str:
        """Return the argument for networks that the gallery has under other names."""
        networks = {network.key: network.dissection_of for network in self.of_chosen_arms("gallery")}
        return listed(other_names={key: other for key, other in networks.items() if key != other})

    def chosen_arms(self, section: str) -> str:
        """Return the arguments for the arms that a section of the config chooses; empty if it chooses all."""
        chosen = self.config[section]["arms"]
        return "" if chosen == "all" else " ".join(named_arguments(arm=name) for name in chosen)

    def gallery_settings(self) -> str:
        """Return what the gallery's page says about the experiment, as JSON."""
        dissection = {key: self.config["dissection"][key] for key in ("quantile", "detector_iou", "detector_rule")}
        pictures = {key: self.config["gallery"][key] for key in ("images", "tile", "enlarged_pixels")}
        return json.dumps({"name": self.config["experiment"]} | dissection | pictures)

    # Resources

    def gpus(self, rule: str, network: Network | None = None) -> int:
        """Return how many GPUs a job of a rule holds; some depend on the network."""
        return gpus_of(rule, self.config, **traits(network))

    def threads(self, rule: str, network: Network | None = None) -> int:
        """Return how many threads it requests."""
        return threads_of(rule, self.config, **traits(network))


def traits(network: Network | None) -> dict[str, bool]:
    """Return what a job's resources depend on, as arguments of `gpus_of`."""
    return {} if network is None else {"shuffled": network.shuffled, "tested": network.design.test != "none"}


def trained_flag(design: Design) -> str:
    """Return the flag that tells a script that the number of classes follows from the pictures."""
    return " --trained" if design.is_trained else ""


def listed(**networks: Mapping[Key, Key]) -> str:
    """Return arguments for many networks, --NAME and the words for an arm for each; see `as_words`."""
    return " ".join(named_arguments(**{name: words}) for name, others in networks.items() for words in as_words(others))


def named_arguments(**values: object) -> str:
    """Return arguments as text, --NAME VALUE for each: Snakemake does not notice when two values swap places.

    It is --NAME=VALUE if a value would be taken for another argument.
    """
    words = []
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, str) and value.startswith("-"):
            words.append(f"{option}={value}")
        else:
            words += [option, *map(str, value if isinstance(value, list | tuple) else [value])]
    return shlex.join(words)
