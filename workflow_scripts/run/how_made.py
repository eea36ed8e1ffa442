"""The section of the report that says how the results were made, from provenance.json."""

import json
import shlex
from collections.abc import Iterator
from html import escape

from workflow_scripts.findings.words import counted, decimal, joined, percent
from workflow_scripts.plan.protocols import DETECTOR_RULES
from workflow_scripts.run.page import html_table, link
from workflow_scripts.run.provenance import CHECKSUMS, CONFIG, PROVENANCE

NOT_KNOWN = "not known"
SAMPLES = {"raw": "its activations", "upsampled": "the values of its upsampled maps"}
KNOTS = {
    "receptive_field": "at the centres of their receptive fields, rounded to pixels",
    "receptive_field_exact": "at the centres of their receptive fields",
    "align_corners_false": "at the centres of equal cells",
    "align_corners_true": "on a grid from the first pixel to the last",
}
BORDERS = {"clamp": "stays as it is there", "zero": "falls to zero"}
MASKS = {"above": "above", "at_least": "at or above"}
COUNTED = {
    "with_category": "the pictures with a label of the concept's category",
    "with_label_in_mask": "the pictures in which the unit's mask meets a label of the concept's category",
    "all": "all pictures",
}


def show_how_made(facts: dict, results: str) -> list[str]:
    """Return the section's parts.

    Args:
        facts: of provenance.json.
        results: the experiment's folder, as commands name it.
    """
    verify = f"python -m workflow_scripts verify_results {shlex.quote(results)}"
    entries = {
        "To make it again": f"<pre>{escape(commands(facts))}</pre>",
        "How snakemake was called": f"<code>{escape(facts['command'] or NOT_KNOWN)}</code>",
        "Config": f"{link(CONFIG)} has all keys as the run had them. {escape(seeds(facts['seeds']))}",
        "Code": escape(code(facts["project"])),
        "Jobs": escape(f"The first began at {when(facts['first_job'])}, the last ended at {when(facts['last_job'])}."),
        "Machine": escape(machine(facts["machine"])),
        "Dissection": escape(in_words(facts["protocol"])),
        "Software": escape(software(facts)),
    }
    return [
        f"<dl>{''.join(f'<dt>{name}</dt><dd>{text}</dd>' for name, text in entries.items())}</dl>",
        *data_table(facts),
        f"<p>{link(PROVENANCE)} has all of this for programs, {link(CHECKSUMS)} the checksums of the files."
        f" <code>{escape(verify)}</code> verifies this folder, or a copy of it.</p>",
    ]


def show_experiment(facts: dict) -> str:
    """Return what was trained and dissected, with which pictures; `facts` are those of provenance.json."""
    drawn = {source["name"] for source in facts["data"] if source["kind"] == "generated"}
    entries = []
    if training := facts["training"]:
        arguments = ", ".join(f"{name}={json.dumps(value)}" for name, value in training["arguments"].items())
        pictures = "generated pictures" if "images" in drawn else "pictures"
        network = f"{training['constructor']}({arguments})" if training["constructor"] else "networks from files"
        entries.append(
            f"Trained: {network}, with {training['train']:,} {pictures} of"
            f" {training['classes']:,} classes; tested with {training['test']:,} others."
        )
    pictures = "generated pictures" if "concepts" in drawn else "pictures"
    for labelled in facts["labelled"].values():
        categories = joined(labelled["categories"])
        entries.append(
            f"Dissected with {labelled['pictures']:,} {pictures}, which have {labelled['labels']:,} labels of"
            f" {counted(len(labelled['categories']), 'kind')}: {categories}."
        )
    return "".join(f"<p>{escape(text)}</p>" for text in dict.fromkeys(entries))


def commands(facts: dict) -> str:
    """Return the commands that make the results again, in a clone."""
    commit = facts["project"]["commit"]
    return "\n".join([*([f"git checkout {commit}"] if commit else []), facts["again"]])


def seeds(facts: dict) -> str:
    """Return the seeds in a sentence; "" if nothing is drawn."""
    replicates = list(map(str, facts["replicates"]))
    found = [f"{joined(replicates)} of the replicates"] if replicates else []
    found += [] if facts["world"] is None else [f"{facts['world']} of the generated world"]
    return f"Seeds: {', '.join(found)}." if found else ""


def code(project: dict) -> str:
    """Return which code it was."""
    name, version = project["name"] or "This project", project["version"] or NOT_KNOWN
    if project["commit"] is None:
        return f"{name}, version {version}; the commit is {NOT_KNOWN}, for it did not run in a clone."
    changed = "with changes that no commit has" if project["changed"] else "without changes"
    return f"{name}, version {version}, commit {project['commit']}, {changed}."


def when(time: str | None) -> str:
    """Return a time for people: "2026-11-30 07:06:53 UTC"."""
    return NOT_KNOWN if time is None else time.replace("T", " ").replace("+00:00", " UTC")


def machine(facts: dict) -> str:
    """Return what the machine is."""
    gpus = joined(facts["gpus"]) if facts["gpus"] else "no NVIDIA GPU"
    return (
        f"{facts['cpu']}, {counted(facts['cores'], 'core')}, {facts['memory_gb']:g} GB of memory; {gpus};"
        f" {facts['system']} ({facts['kernel']}). It is the machine that snakemake ran on; on a cluster jobs ran on"
        " others."
    )


def software(facts: dict) -> str:
    """Return the versions of Python and of the packages."""
    packages = (f"{name} {version or 'not installed'}" for name, version in facts["packages"].items())
    return f"Python {facts['python']}, {', '.join(packages)}."


def in_words(protocol: dict) -> str:
    """Return what a dissection does; `protocol` is the config's section, as resolved."""
    rule, iou = DETECTOR_RULES[protocol["detector_rule"]], decimal(protocol["detector_iou"])
    again = "; a pixel that carries a label in several planes counts for each" if protocol["planes"] == "each" else ""
    return (
        f"Protocol {protocol['protocol']}. A unit's threshold is what {percent(protocol['quantile'])} of"
        f" {SAMPLES[protocol['quantile_of']]} lie above. Its mask is where its map, upsampled bilinearly to the label"
        f" map, is {MASKS[protocol['mask']]} the threshold; activations are placed {KNOTS[protocol['knots']]}, and"
        f" beyond the outermost the map {BORDERS[protocol['border']]}. The IoU of mask and concept is of the pixels of"
        f" {COUNTED[protocol['counted_images']]}{again}. A unit is a detector if its best IoU is {rule} {iou}. Forward"
        f" passes in {protocol['forward']}, maps kept in {protocol['precision']}."
    )


def data_table(facts: dict) -> Iterator[str]:
    """Yield the table of what the results were made from: pictures, concepts, and brought weights."""
    rows = [[source["name"], source["kind"], source["source"], source["sha256"]] for source in facts["data"]]
    rows += [["concepts, packed", "made here", f"data/{name}", digest] for name, digest in facts["concepts"].items()]
    own = {path: digest for network in facts["networks"] for path, digest in network["own"].items()}
    rows += [["weights", "file", path, digest] for path, digest in own.items()]
    yield html_table("Data", [["what", "kind", "source", "SHA-256"], *rows])
    yield (
        "<p>The SHA-256 of generated pictures is that of their list of checksums, of a folder that of the names and"
        " contents of its files, and of packed concepts that of their contents: sha256sum gives another for the file."
        "</p>"
    )
