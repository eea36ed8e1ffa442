"""The experiment that the config asks for, and the input functions that the rules share.

A `localrule` runs beside snakemake, even on a cluster: it takes seconds, or needs the internet.
"""

import logging
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

from workflow_scripts.shared.interruption import say_interruption

say_interruption()
logging.raiseExceptions = False  # on a full disk Snakemake's log would show a traceback for each message

from workflow_scripts.gallery.site_data import site_files
from workflow_scripts.plan.code import ROOT, code_fingerprint, files_in, let_jobs_find_package
from workflow_scripts.plan.contents import Contents
from workflow_scripts.plan.experiment import ABLATION_TABLES, COMPARED, Experiment, listed, named_arguments
from workflow_scripts.plan.experiment import TABLES as COLLECTED
from workflow_scripts.plan.figures import module_of
from workflow_scripts.plan.load import complete_config, config_text
from workflow_scripts.plan.keys import Key
from workflow_scripts.run.before_start import (
    require_folder,
    require_no_future,
    require_no_hidden_module,
    require_plain_root,
    require_readable_records,
    require_room_for_records,
    require_room_for_temporary_files,
    require_writable,
)
from workflow_scripts.run.executors import require_executor, require_shared_files
from workflow_scripts.run.failures import Failures
from workflow_scripts.run.provenance import COMMAND
from workflow_scripts.run.terminal import outlive_terminal, use_terminal
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.gpus import has_gpu
from workflow_scripts.shared.limits import set_limits
from workflow_scripts.shared.printable import sentences
from workflow_scripts.shared.sizes import size_text


def or_exit(function, *values):
    """Return a function's result; a `UserError` ends snakemake with its message."""
    try:
        return function(*values)
    except UserError as error:
        sys.exit(f"error: {sentences(str(error))}")


or_exit(require_shared_files, workflow.storage_settings)
or_exit(let_jobs_find_package)
or_exit(require_no_hidden_module, Path.cwd())
or_exit(require_plain_root, ROOT)
if workflow.is_main_process:
    outlive_terminal()
    if not workflow.output_settings.dryrun:
        or_exit(require_room_for_records, Path(".snakemake"))
    or_exit(require_readable_records, Path(".snakemake"))
    os.environ[COMMAND] = shlex.join(["snakemake", *sys.argv[1:]])

# The values of --configfile, --config or another workflow's module statement are laid over the default here.
is_main = workflow.modifier.is_main_snakefile()
on_command_line = workflow.config_settings.config if is_main else {}
config = or_exit(complete_config, config, workflow.configfiles, on_command_line)
set_limits(config["limits"])
GPUS_WANTED = config["gpus"]
config["gpus"] = int(has_gpu()) if GPUS_WANTED == "auto" else GPUS_WANTED
EXPERIMENT = or_exit(Experiment, config)
RESULTS, DATA, GALLERY = EXPERIMENT.results, EXPERIMENT.data, EXPERIMENT.gallery
FOLDER = Key("{arm}", "{replicate}", "{level}").folder
NETWORK, LOGS, TIMES = f"{RESULTS}/{FOLDER}", f"{RESULTS}/logs/{FOLDER}", f"{RESULTS}/benchmarks/{FOLDER}"
# Adds the prefix that another workflow gave this one: for paths that are not inputs or outputs.
placed = workflow.modifier.modify_path
or_exit(require_folder, Path(placed(RESULTS)))
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


def verbatim(value):
    """Return a function for a parameter: in a plain text Snakemake takes {x} for a wildcard; its linter forbids paths."""
    return lambda wildcards: value


def network(wildcards):
    """Return a job's network."""
    return or_exit(EXPERIMENT.network, key(wildcards))


def key(wildcards):
    """Return the arm, replicate and level of a job's network."""
    return Key(wildcards.arm, int(wildcards.replicate), int(wildcards.level))


def design(wildcards):
    """Return how a job's network is built, shown pictures and dissected."""
    return network(wildcards).design


def concepts(wildcards):
    """Return the labelled pictures as a job's network takes them."""
    return EXPERIMENT.concepts(design(wildcards))


def fields(wildcards):
    """Return the receptive fields of its units, if maps are interpolated by them."""
    return EXPERIMENT.fields(design(wildcards))


def fields_argument(wildcards, input):
    """Return the argument for the file of receptive fields, if it is an input."""
    return named_arguments(receptive_fields=input.fields) if input.fields else ""


def shuffle_argument(wildcards):
    """Return the argument that compares maps with the labels of other pictures, if the network is that baseline."""
    return f"--shuffle-labels {wildcards.replicate}" if network(wildcards).shuffled else ""


def of_network(name):
    """Return an input function for a file of the dissected network; with shuffled labels, of the original network."""
    return lambda wildcards: EXPERIMENT.file(network(wildcards).files_of, name)


def of_parent(name):
    """Return an input function for a file of the network that a job's network starts from."""
    return lambda wildcards: EXPERIMENT.file(network(wildcards).parent, name)


def needed(wildcards):
    """Return the files of other networks that a network is made from, by argument."""
    return or_exit(EXPERIMENT.needed, key(wildcards))


def made_source(kind):
    """Return the source folder as an input, if a rule makes it; its checksums show whether it has changed."""
    folder = EXPERIMENT.source(kind)
    return [ancient(folder), f"{folder}.sha256"] if EXPERIMENT.is_made(kind) else []


def made_concepts():
    """Return the folders of labelled pictures as inputs, if rules make them."""
    return [path for kind in EXPERIMENT.concept_kinds for path in made_source(kind)]


def packed_folder(kind, split=None):
    """Return the folder to pack, as a script finds it."""
    folder = EXPERIMENT.packed_folder(kind, split)
    return str(placed(folder)) if EXPERIMENT.is_made(kind) else folder


def test_labels(wildcards):
    """Return the argument for the ground truth of pictures that are not in class folders."""
    labels, is_made = EXPERIMENT.test_labels(wildcards.split) or ("", False)
    return named_arguments(ground_truth=placed(labels) if is_made else labels) if labels else ""


def show_summary():
    """Show the summary of findings at the end of a run that has made it."""
    if not workflow.touch and "write_report" in {job.rule.name for job in workflow.dag.jobs}:
        logger.info(f"\n{Path(f'{RESULTS}/summary.txt').read_text()}")
