"""The experiment that the config asks for, and the input functions that the rules share.

What is a `localrule` runs beside snakemake, also on a cluster: it takes seconds, or needs the internet.
"""

import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

if not find_spec("workflow_scripts"):
    sys.exit("error: the package workflow_scripts is not beside this Snakefile: name the Snakefile of a whole clone")
if not find_spec("fcntl"):
    sys.exit(
        "error: this system cannot lock files as Linux does: on Windows, run the workflow in its subsystem for Linux"
    )

from workflow_scripts.gallery.site_data import site_files
from workflow_scripts.plan.code import ROOT, code_fingerprint, files_in, let_jobs_find_package
from workflow_scripts.plan.contents import Contents
from workflow_scripts.plan.experiment import ABLATION_TABLES, COMPARED, Experiment, named_arguments
from workflow_scripts.plan.experiment import TABLES as COLLECTED
from workflow_scripts.plan.figures import module_of
from workflow_scripts.plan.load import complete_config, config_text
from workflow_scripts.plan.keys import Key
from workflow_scripts.run.executors import require_executor, require_shared_files
from workflow_scripts.run.failures import Failures
from workflow_scripts.run.provenance import COMMAND
from workflow_scripts.run.terminal import use_terminal
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.gpus import has_gpu
from workflow_scripts.shared.sizes import size_text


def or_exit(function, *values):
    """What a function makes of the values; what it has against them ends snakemake with its sentence."""
    try:
        return function(*values)
    except UserError as error:
        sys.exit(f"error: {error}")


or_exit(require_shared_files, workflow.storage_settings)
or_exit(let_jobs_find_package)
if workflow.is_main_process:
    os.environ[COMMAND] = shlex.join(["snakemake", *sys.argv[1:]])

# What --configfile, --config or another workflow's module statement gives is laid over the default here.
is_main = workflow.modifier.is_main_snakefile()
on_command_line = workflow.config_settings.config if is_main else {}
config = or_exit(complete_config, config, workflow.configfiles, on_command_line)
GPUS_WANTED = config["gpus"]
config["gpus"] = int(has_gpu()) if GPUS_WANTED == "auto" else GPUS_WANTED
EXPERIMENT = or_exit(Experiment, config)
RESULTS, DATA, GALLERY = EXPERIMENT.results, EXPERIMENT.data, EXPERIMENT.gallery
FOLDER = Key("{arm}", "{replicate}", "{level}").folder
NETWORK, LOGS, TIMES = f"{RESULTS}/{FOLDER}", f"{RESULTS}/logs/{FOLDER}", f"{RESULTS}/benchmarks/{FOLDER}"
# Where this workflow, used by another with a prefix, has what lies at a path: for paths that are no input or output.
placed = workflow.modifier.modify_path
KINDS = "|".join(["images", *EXPERIMENT.concept_kinds])  # of sources that may be archives
CONTENTS = Contents(EXPERIMENT, Path(placed(RESULTS)))
TERMINAL = use_terminal(workflow, config, EXPERIMENT.density) if is_main else None
FAILURES = Failures()
logger.addHandler(FAILURES)


wildcard_constraints:
    arm=r"[A-Za-z][A-Za-z0-9_-]*",
    suffix=r"(_[A-Za-z][A-Za-z0-9_-]*(\.\d+\.\d+)?)?",
    view=r"(_\d+(x\d+)?_[a-z]+)?",
    replicate=r"\d+",
    level=r"\d+",
    split=r"train|test",


def network(wildcards):
    """The network of a job."""
    return or_exit(EXPERIMENT.network, key(wildcards))


def key(wildcards):
    """The names of a job's network."""
    return Key(wildcards.arm, int(wildcards.replicate), int(wildcards.level))


def design(wildcards):
    """How a job's network is built, shown pictures and dissected."""
    return network(wildcards).design


def concepts(wildcards):
    """The labelled pictures as a job's network takes them."""
    return EXPERIMENT.concepts(design(wildcards))


def fields(wildcards):
    """Where its units look, if maps are to be interpolated by that."""
    return EXPERIMENT.fields(design(wildcards))


def fields_argument(wildcards, input):
    """The argument for the file that says so, where it is an input."""
    return named_arguments(receptive_fields=input.fields) if input.fields else ""


def shuffle_argument(wildcards):
    """The argument by which maps meet the labels of other pictures, where the network is such a control."""
    return f"--shuffle-labels {wildcards.replicate}" if network(wildcards).shuffled else ""


def of_network(name):
    """An input function for a file of the network that is dissected: itself, or the one that it is but for labels."""
    return lambda wildcards: EXPERIMENT.file(network(wildcards).files_of, name)


def of_parent(name):
    """An input function for a file of the network that a job's network starts from."""
    return lambda wildcards: EXPERIMENT.file(network(wildcards).parent, name)


def needed(wildcards):
    """Files of other networks that a network is made from, by the argument that each is."""
    return or_exit(EXPERIMENT.needed, key(wildcards))


def made_source(kind):
    """The source folder as an input, where a rule makes it; its checksums tell whether it has changed."""
    folder = EXPERIMENT.source(kind)
    return [ancient(folder), f"{folder}.sha256"] if EXPERIMENT.is_made(kind) else []


def made_concepts():
    """The folders of labelled pictures as inputs, where rules make them."""
    return [path for kind in EXPERIMENT.concept_kinds for path in made_source(kind)]


def packed_folder(kind, split=None):
    """The folder that is packed, as a script finds it."""
    folder = EXPERIMENT.packed_folder(kind, split)
    return str(placed(folder)) if EXPERIMENT.is_made(kind) else folder


def test_labels(wildcards):
    """The argument for the ground truth of pictures that lie in no class folders."""
    labels, is_made = EXPERIMENT.test_labels(wildcards.split) or ("", False)
    return named_arguments(ground_truth=placed(labels) if is_made else labels) if labels else ""


def show_summary():
    """At the end of a run that has made it, show what was found."""
    if not workflow.touch and "write_report" in {job.rule.name for job in workflow.dag.jobs}:
        logger.info(f"\n{Path(f'{RESULTS}/summary.txt').read_text()}")
