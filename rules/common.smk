"""The config's checks, the paths, and the functions that the rules share."""

import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

from workflow_scripts.plan.own_networks import SHUFFLED, Entry, read_networks
from workflow_scripts.plan.openlth import SPARSITY_REPORT
from workflow_scripts.run.slurm import jobs_left, require_answers
from workflow_scripts.plan.code import code_of
from workflow_scripts.plan.config import check_config, is_archive, network_section
from workflow_scripts.plan.contents import content_fingerprint, file_contents, own_fingerprint
from workflow_scripts.dissect.interpolation import OF_FIELDS
from workflow_scripts.plan.protocols import resolve_protocol
from workflow_scripts.plan.figures import FIGURES as ALL_FIGURES
from workflow_scripts.plan.figures import OF_ACCURACY
from workflow_scripts.run.sum_costs import clear_placeholder
from workflow_scripts.shared.files import UserError, file_fingerprint, text_fingerprint
from workflow_scripts.gallery.site_data import network_folder, site_files
from workflow_scripts.shared.gpus import has_gpu
from workflow_scripts.run.report_page import make_report
from workflow_scripts.run.terminal import tell_failures, use_terminal

try:
    check_config(config, Path(workflow.basedir) / "schemas" / "config.schema.yaml")
    config["dissection"] = resolve_protocol(config["dissection"])
    # The user's own networks, by (arm, replicate, level); with any, none is trained.
    NETWORKS = read_networks(config)
except UserError as error:
    sys.exit(f"error: {error}")

config["network"] = network_section(config)
TRAINED = Entry(
    name="",
    settings=config["network"],
    layers=tuple(config["dissection"]["layers"]),
    preprocessing={key: config["images"][key] for key in ("size", "mean", "std")} | {"interpolation": "bilinear"},
    test="none",
)
# What networks have in common, by the ending of the names of files that concern it.
ENTRIES = {f"_{network.entry.name}": network.entry for network in NETWORKS.values()} or {"": TRAINED}

RESULTS = f"results/{config['experiment']}"
DATA = f"{RESULTS}/data"
NETWORK = f"{RESULTS}/{{arm}}/replicate_{{replicate}}/level_{{level}}"
GALLERY = f"{RESULTS}/gallery"
DRAWN = network_folder("{arm}", "{replicate}", "{level}")  # within the gallery
CAPTIONS = sorted(map(str, Path("report").glob("*.rst")))
PUBLISHED_COUNTS = "workflow_scripts/tables/published_counts.csv"
SITE = [os.path.relpath(file) for file in site_files()]
GPUS = int(has_gpu()) if config["gpus"] == "auto" else config["gpus"]
TABLES = ["networks", "categories", "units", "epochs", "layers"]
FIGURES = list(ALL_FIGURES)
if NETWORKS and all(entry.test == "none" for entry in ENTRIES.values()):
    FIGURES = [figure for figure in ALL_FIGURES if figure not in OF_ACCURACY]


wildcard_constraints:
    arm=r"[A-Za-z][A-Za-z0-9_-]*",
    entry=r"(_[A-Za-z][A-Za-z0-9_-]*)?",
    view=r"(_\d+_[a-z]+)?",
    replicate=r"\d+",
    level=r"\d+",
    split=r"train|test",


def section(name):
    """One section of the config as text that changes only when a value does."""
    return json.dumps(config[name], sort_keys=True)


def named_arguments(**values):
    """Arguments as text, --NAME VALUE for each: Snakemake does not tell two values of a rule that change places."""
    words = []
    for name, value in values.items():
        words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, list | tuple) else [value])]
    return shlex.join(words)


def network_file(arm, replicate, level, name):
    """The path of one file of one network."""
    return f"{RESULTS}/{arm}/replicate_{replicate}/level_{level}/{name}"


def networks():
    """All (arm, replicate, level) that are dissected."""
    return list(NETWORKS) or [
        (arm, replicate, level)
        for replicate in config["replicates"]
        for arm, levels in [("imp", config["pruning"]["levels"] + 1)] + [(control, 1) for control in config["controls"]]
        for level in range(levels)
    ]


def source_folder(kind):
    """The folder of the source `kind`, "images" or "concepts": the user's own, or one that a rule makes."""
    source = config[kind]["source"]
    if source == "shapes":
        return f"{DATA}/shapes/{kind}"
    return f"{DATA}/{kind}" if is_archive(source) else source


def made_source(kind):
    """The source folder as an input, where a rule makes it; its checksums tell whether it has changed."""
    folder = source_folder(kind)
    return [] if folder == config[kind]["source"] else [ancient(folder), f"{folder}.sha256"]


def packed_folder(kind, split=None):
    """The folder that is packed: within the source of pictures that of `split`, or that of the concepts."""
    within = config["images"][split] if kind == "images" else config["concepts"]["folder"]
    return str(Path(source_folder(kind)) / within)


def own_contents(kind, split=None):
    """A fingerprint of the packed folder, where it is the user's own."""
    if source_folder(kind) != config[kind]["source"]:
        return ""
    folder = Path(packed_folder(kind, split))
    # CIFAR-10's binary files are named by a pattern, and the names of their classes stand beside them.
    return remembered(str(folder.parent if folder.suffix == ".bin" else folder), split or kind)


def contents_of(*files):
    """Fingerprints of small files of the user's own; those that are not there are left to the job to tell."""
    return [or_exit(own_fingerprint, file) for file in files if Path(file).is_file()]


def contents_of_code(files):
    """A fingerprint of the workflow's own files, which an archive of an earlier version gives back their old times."""
    return text_fingerprint(*map(file_fingerprint, files))


def remembered(source, name, fingerprint=content_fingerprint):
    """A fingerprint of a source's contents, read again only where files are new."""
    return or_exit(fingerprint, source, Path(f"{RESULTS}/own_{name}.json"))


def or_exit(function, *values):
    """What a function makes of the values; what it has against them ends snakemake with its sentence."""
    try:
        return function(*values)
    except UserError as error:
        sys.exit(f"error: {error}")


def archive(kind):
    """The archive of a source as an input: itself, or where it can be fetched the receipt for it."""
    source = config[kind]["source"]
    return f"{DATA}/{kind}.fetched.json" if config[kind]["addresses"] else ancient(source)


def archive_contents(kind):
    """A fingerprint of the user's own archive; that of one that can be fetched stands in the receipt."""
    return "" if config[kind]["addresses"] else remembered(config[kind]["source"], f"{kind}_archive")


def in_files():
    """Whether the pictures to classify stay in their files."""
    return config["images"]["storage"] == "files"


def require_source():
    """End with a sentence if the pictures to classify are to stay in their files and are not there."""
    source = config["images"]["source"]
    if in_files() and not is_archive(source) and not Path(source).is_dir():
        sys.exit(
            f"error: there is no folder {source} (images.source): ImageNet cannot be downloaded freely; ask for it at"
            " image-net.org, unpack it, and put or link the folder there"
        )


def require_cluster():
    """On a cluster, end with a sentence where Snakemake would wait for ever, or tell of jobs of an earlier run."""
    if not workflow.non_local_exec:
        return
    if config["gpus"] == "auto":
        sys.exit(
            "error: gpus is auto, which looks for a GPU on this machine, not on the cluster's: say how many each training"
            " gets, as in --config gpus=1"
        )
    try:
        require_answers(workflow.executor_settings.status_command)
    except UserError as error:
        sys.exit(f"error: {error}")
    left = jobs_left(Path.cwd())
    if left:
        logger.warning(
            f"Jobs of an earlier run from this folder are still in SLURM's queue: {' '.join(left)}. Trainings that run are"
            " waited for. If you have changed the config or the code since, end them all first (scancel)."
        )
    pending = [job for job, state in left.items() if state == "PENDING"]
    if pending:
        logger.warning(
            "Those that have not started would begin by deleting what is made from now on. If the run that submitted them"
            f" has ended: scancel {' '.join(pending)}"
        )


def pictures(split):
    """The pictures to classify as an input: packed, or the list of their files."""
    return f"{DATA}/{split}_index.h5" if in_files() else f"{DATA}/{split}.h5"


def expected(kind, *names):
    """The arguments for what a source should hold, where the config says it: --NAME COUNT for each name."""
    counts = config[kind]["expect"]
    return " ".join(f"--{name} {counts[name]}" for name in names if counts[name] != "any")


def test_labels(split):
    """The argument for the ground truth of test pictures that lie in no class folders."""
    labels = config["images"]["test_labels"]
    return shlex.join(["--ground-truth", labels]) if split == "test" and labels != "none" else ""


def test_label_contents(split):
    """A fingerprint of that ground truth, and of the development kit's list of classes beside it."""
    labels = Path(config["images"]["test_labels"])
    return contents_of(labels, labels.with_name("meta.mat")) if split == "test" else []


def pixel_totals():
    """The argument for the pixel totals that labels should have."""
    totals = config["concepts"]["pixel_totals"]
    return shlex.join(["--pixel-totals", totals]) if totals != "none" else ""


def network_settings():
    """The arguments of all scripts that make a network, from the config."""
    images = config["images"]
    arguments = ["--mean", *images["mean"], "--std", *images["std"], "--network", section("network")]
    if in_files():
        arguments += ["--size", images["size"], "--resize", images["test_resize"]]
        for split in ("train", "test"):
            arguments += [f"--{split}-folder", packed_folder("images", split)]
    return shlex.join(str(argument) for argument in arguments)


def network_threads(gpus):
    """How many threads a job gets that makes a network on so many GPUs."""
    return max(gpus, 1) * (config["images"]["workers"] if in_files() else 1)


def training_settings():
    """The arguments of a script that trains a network, from the config."""
    momentum = "--rewind-momentum" if config["pruning"]["rewind_momentum"] else "--no-rewind-momentum"
    return f"{network_settings()} {shlex.join(['--training', section('training')])} {momentum}"


def start_network(wildcards):
    """The network that a dense training starts from: untrained, or for the control the trained one."""
    arm = "imp" if wildcards.arm == "trained_twice" else "untrained"
    return network_file(arm, wildcards.replicate, 0, "network.pt")


def parent_network(wildcards):
    """The network of the level before."""
    return network_file("imp", wildcards.replicate, int(wildcards.level) - 1, "network.pt")


def origin(arm, replicate, level):
    """The (arm, replicate, level) whose files a network has: its own, or for a control that of the network behind it."""
    network = NETWORKS.get((arm, int(replicate), int(level)))
    if network:
        return network.parent if network.role in ("same", "shuffled") else network.key
    return ("imp", replicate, 0) if arm == SHUFFLED else (arm, replicate, level)


def dissected(name):
    """An input function for a file of the network that is dissected, for a control with shuffled labels the dense one."""
    return lambda wildcards: network_file(*origin(wildcards.arm, wildcards.replicate, wildcards.level), name)


def shuffled(wildcards):
    """Whether labels of other pictures are compared."""
    return wildcards.arm.endswith(SHUFFLED)


def brought(wildcards):
    """A network of the user's own."""
    return NETWORKS[wildcards.arm, int(wildcards.replicate), int(wildcards.level)]


def entry_of(wildcards):
    """What a network has in common with others: its settings, layers and preprocessing."""
    return brought(wildcards).entry if NETWORKS else TRAINED


def settings_of(entry):
    """The arguments of `build`, as JSON."""
    return json.dumps(entry.settings, sort_keys=True)


def concepts_of(entry):
    """The packed concepts, with pictures scaled for the networks of an entry."""
    preprocessing = entry.preprocessing
    view = "" if entry is TRAINED else f"_{preprocessing['size']}_{preprocessing['interpolation']}"
    return f"{DATA}/concepts{view}.h5"


def view_of(wildcards):
    """The size and interpolation that pictures are packed with."""
    return next(
        entry.preprocessing for entry in ENTRIES.values() if concepts_of(entry).endswith(f"{wildcards.view}.h5")
    )


def arms(*roles):
    """A regular expression of the arms of networks in these roles; without any it matches nothing."""
    return "|".join(sorted({network.arm for network in NETWORKS.values() if network.role in roles})) or "(?!)"


def tested(wildcards):
    """Whether there are pictures to test a network with."""
    return entry_of(wildcards).test != "none"


def test_pictures(entry):
    """The arguments for those pictures, and for the order of their classes where the config says it."""
    if entry.test == "none":
        return ""
    order = {} if entry.class_order is None else {"class_order": json.dumps(entry.class_order)}
    return named_arguments(test=entry.test, **order)


def test_contents(entry):
    """A fingerprint of those pictures."""
    return remembered(entry.test, f"test_{entry.name}") if entry.test != "none" else ""


def stated_density(network):
    """The argument for the density that the config states, where masks and zeros do not tell it."""
    return f"--density {network.density}" if network.role == "imported" and network.density is not None else ""


def own_files(network):
    """The files that a network is made from: weights, or what its constructor is to load, masks, the report with them."""
    weights = network.weights.values() if isinstance(network.weights, dict) else [network.weights]
    masks = [network.masks, Path(network.masks).with_name(SPARSITY_REPORT)] if network.masks else []
    return [str(file) for file in [*weights, *masks] if isinstance(file, str | Path) and Path(file).is_file()]


@cache
def contents_of_networks():
    """The fingerprints of all networks' files, by path."""
    files = {file: None for network in NETWORKS.values() for file in own_files(network)}
    return remembered(files, "networks", file_contents)


def network_contents(network):
    """Fingerprints of the files that a network is made from."""
    return [contents_of_networks()[file] for file in own_files(network)]


def candidates():
    """The argument for a dump of candidates alone: the largest quantile of interest, and how masks are taken."""
    dissection = config["dissection"]
    return (
        f"--candidates {dissection['largest_quantile']} --mask {dissection['mask']}"
        if dissection["dump"] == "candidates"
        else ""
    )


def receptive_fields(wildcards):
    """receptive_fields.json as an input, where interpolation needs to know where receptive fields lie."""
    if config["dissection"]["knots"] not in OF_FIELDS:
        return []
    return f"{DATA}/receptive_fields{'_' if NETWORKS else ''}{entry_of(wildcards).name}.json"


def samples():
    """The argument for thresholds of interpolated maps."""
    dissection = config["dissection"]
    if dissection["quantile_of"] != "upsampled":
        return ""
    return f"--upsampled {dissection['knots']} {choices('border')}"


def choices(*names):
    """The arguments for choices of the dissection, by name."""
    return " ".join(f"--{name.replace('_', '-')} {config['dissection'][name]}" for name in names)


def sample_fields(wildcards):
    """The same as `receptive_fields`, for thresholds: raw maps need no interpolation."""
    return receptive_fields(wildcards) if config["dissection"]["quantile_of"] == "upsampled" else []


def metrics_file(*network):
    """The metrics of (arm, replicate, level)."""
    return network_file(*origin(*network), "metrics.json")


def dissection_of(*network):
    """The (arm, replicate, level) that is dissected in place of another: itself, unless that is but another name."""
    return origin(*network) if network in NETWORKS and NETWORKS[network].role == "same" else network


def units_file(*network):
    """The named units of (arm, replicate, level)."""
    return network_file(*dissection_of(*network), "units.csv")


def published():
    """The networks that seem to be the one whose counts are published: torchvision's ResNet-50, first weights."""
    return [
        network
        for network in NETWORKS.values()
        if network.role == "imported"
        and network.entry.settings["constructor"] == "torchvision.models:resnet50"
        and not network.entry.settings["arguments"]
        and re.search("IMAGENET1K_V1|0676ba61", str(network.weights))
        and network.masks is None
        and [network.entry.preprocessing[key] for key in ("size", "mean", "std")]
        == [224, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
    ]


def tables():
    """All tables."""
    return expand(f"{RESULTS}/tables/{{table}}.csv", table=[*TABLES, *(["published"] if published() else [])])


def drawn_units():
    """The gallery's folders of networks."""
    return [f"{GALLERY}/{network_folder(*network)}" for network in networks() if dissection_of(*network) == network]


def other_names():
    """The arguments for networks that are other names of others."""
    folders = [[network_folder(*of) for of in (network, dissection_of(*network))] for network in networks()]
    return [shlex.join(["--other-name", *pair]) for pair in folders if pair[0] != pair[1]]


def gallery_settings():
    """What the gallery's page says of the experiment, as JSON."""
    dissection = {key: config["dissection"][key] for key in ("quantile", "detector_iou", "detector_rule")}
    pictures = {key: config["gallery"][key] for key in ("images", "tile")}
    return json.dumps({"name": config["experiment"]} | dissection | pictures)


def figures(*formats):
    """All figures in the formats given."""
    return expand(f"{RESULTS}/figures/{{figure}}.{{format}}", figure=FIGURES, format=formats)


def share_left(arm, replicate, level):
    """The share of weights that remain in a network, where the config tells it and there are several; or None."""
    if NETWORKS:
        return NETWORKS[arm, int(replicate), int(level)].density
    return (1 - config["pruning"]["fraction"]) ** int(level) if arm == "imp" else None


def clear_report():
    """Before a run, where the one before did not come to make its report, have it made now."""
    if workflow.is_main_process and not workflow.output_settings.dryrun:
        clear_placeholder(Path(f"{RESULTS}/report.html"))


def finish_run():
    """At the end of a run that was to make everything, put the report in its place and say what was found."""
    if workflow.touch or "sum_costs" not in {job.rule.name for job in workflow.dag.jobs}:
        return
    try:
        make_report(workflow, Path(f"{RESULTS}/report.html"))
    except Exception as error:
        logger.warning(f"The report was not made ({str(error).splitlines()[0]}). The same command tries again.")
    command = [sys.executable, "-m", "workflow_scripts.tables.summarise", RESULTS]
    command += ["--quantile", str(config["dissection"]["quantile"])]
    told = subprocess.run(command, capture_output=True, text=True)
    logger.info(f"\n{told.stdout or told.stderr}")
