"""The config's checks, the paths, and the functions that the rules share."""

import json
import shlex
import sys
from pathlib import Path

from workflow_scripts.cluster import jobs_left, require_answers
from workflow_scripts.code_inputs import code_of
from workflow_scripts.config import check_config, content_fingerprint, is_archive, network_section
from workflow_scripts.dissect.protocols import resolve_protocol
from workflow_scripts.files import UserError, file_fingerprint
from workflow_scripts.gpu import has_gpu

try:
    check_config(config, Path(workflow.basedir) / "schemas" / "config.schema.yaml")
    config["dissection"] = resolve_protocol(config["dissection"])
except UserError as error:
    sys.exit(f"error: {error}")

config["network"] = network_section(config)

RESULTS = f"results/{config['experiment']}"
DATA = f"{RESULTS}/data"
NETWORK = f"{RESULTS}/{{arm}}/replicate_{{replicate}}/level_{{level}}"
GPUS = int(has_gpu()) if config["gpus"] == "auto" else config["gpus"]
TABLES = ["networks", "categories", "units", "epochs", "layers"]
FIGURES = [
    "overview",
    "accuracy",
    "interpretable_units",
    "unique_concepts",
    "units_by_category",
    "concepts_by_category",
    "iou_distribution",
]


wildcard_constraints:
    arm=r"[a-z_]+",
    replicate=r"\d+",
    level=r"\d+",
    split=r"train|test",


def section(name):
    """One section of the config as text that changes only when a value does."""
    return json.dumps(config[name], sort_keys=True)


def network_file(arm, replicate, level, name):
    """The path of one file of one network."""
    return f"{RESULTS}/{arm}/replicate_{replicate}/level_{level}/{name}"


def networks():
    """All (arm, replicate, level) that are dissected."""
    return [
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
    """A fingerprint of small files of the user's own; those that are not there are left to the job to tell."""
    return [file_fingerprint(file) for file in files if Path(file).is_file()]


def remembered(source, name):
    """A fingerprint of a source's contents, read again only where files are new."""
    return content_fingerprint(source, Path(f"{RESULTS}/own_{name}.json"))


def archive(kind):
    """The archive of a source as an input: itself, or where it can be fetched the receipt for it."""
    source = config[kind]["source"]
    return f"{DATA}/{kind}.fetched.json" if config[kind]["addresses"] else source


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
    return f"{network_settings()} {shlex.join(['--training', section('training')])}"


def start_network(wildcards):
    """The network that a dense training starts from: untrained, or for the control the trained one."""
    arm = "imp" if wildcards.arm == "trained_twice" else "untrained"
    return network_file(arm, wildcards.replicate, 0, "network.pt")


def parent_network(wildcards):
    """The network of the level before."""
    return network_file("imp", wildcards.replicate, int(wildcards.level) - 1, "network.pt")


def dissected(name):
    """An input function for a file of the network that is dissected, for the shuffled control the dense one."""

    def find(wildcards):
        if wildcards.arm == "shuffled_labels":
            return network_file("imp", wildcards.replicate, 0, name)
        return network_file(wildcards.arm, wildcards.replicate, wildcards.level, name)

    return find


def candidates():
    """The argument for a dump of candidates alone: the largest quantile of interest, and how masks are taken."""
    dissection = config["dissection"]
    return (
        f"--candidates {dissection['largest_quantile']} --mask {dissection['mask']}"
        if dissection["dump"] == "candidates"
        else ""
    )


def receptive_fields():
    """receptive_fields.json as an input, where interpolation needs to know where receptive fields lie."""
    return f"{DATA}/receptive_fields.json" if config["dissection"]["knots"] == "receptive_field" else []


def samples():
    """The argument for thresholds of interpolated maps."""
    dissection = config["dissection"]
    return f"--upsampled {dissection['knots']}" if dissection["quantile_of"] == "upsampled" else ""


def sample_fields():
    """The same as `receptive_fields`, for thresholds: raw maps need no interpolation."""
    return receptive_fields() if config["dissection"]["quantile_of"] == "upsampled" else []


def metrics_file(arm, replicate, level):
    """A network's metrics; those of the shuffled control are the dense network's."""
    return network_file("imp" if arm == "shuffled_labels" else arm, replicate, level, "metrics.json")


def tables():
    """All tables."""
    return expand(f"{RESULTS}/tables/{{table}}.csv", table=TABLES)


def figures(*formats):
    """All figures in the formats given."""
    return expand(f"{RESULTS}/figures/{{figure}}.{{format}}", figure=FIGURES, format=formats)
