"""The gallery's data: scripts and sheets of pictures, which a page that was opened from disk may load.

A page opened from disk may not read files, but it may run scripts and show pictures. So each data script calls one
function of the page's, with JSON:

experiment.js                          gallery.experiment({...}): how was dissected, and a list of all networks
<network>/layer_<i>.js                 gallery.layer("<network>/layer_<i>", {...}): the units of a network's i-th layer
<network>/sheets/layer_<i>_<s>.webp    their pictures, a row for each of UNITS_PER_SHEET units

<network> is networks/<arm>/replicate_<r>/level_<n>, layers have the config's order. What a layer's script says:

labels      [name, position among the experiment's categories] of each concept that `best` refers to
best        for each unit position in `labels`, IoU, position, IoU, ... by falling IoU; the first IoU is exact
slot        for each unit where its pictures are: sheet slot // UNITS_PER_SHEET, row slot % UNITS_PER_SHEET; by falling
            IoU, so that units that are looked at together lie together
shown       for each unit how many pictures it has, from the left of the row; the rest of the row is blank
image       for each unit their numbers in the concept set
chance      for each unit the IoU that chance gives it with its best concept: nulls.csv's iou_chance to six digits
agreement   for each unit how often a random half of the pictures gives it the same best concept, from 0 to 1 in three
            digits; without a concept both say nothing
threshold, maximum    of each unit's activations
dead        the units that are constant over the concept set
"""

import json
from pathlib import Path

from workflow_scripts.plan.keys import Key

SITE = Path(__file__).resolve().with_name("site")
UNITS_PER_SHEET = 4  # few enough that scattered units load little, enough that there are not too many files


def site_files() -> list[Path]:
    """The files that the page is made of."""
    return sorted(file for file in SITE.iterdir() if file.suffix in (".html", ".css", ".js"))


def network_folder(arm: str, replicate: int, level: int) -> str:
    """The folder of a network within the gallery's."""
    return f"networks/{Key(arm, replicate, level).folder}"


def sheet_file(folder: Path, layer: int, number: int) -> Path:
    """The file of a sheet in a network's folder."""
    return folder / "sheets" / f"layer_{layer}_{number}.webp"


def write_layer(folder: Path, network: str, layer: int, columns: dict) -> None:
    """Write the data script of a network's layer, given by its place, into the folder that is to be the network's."""
    write_call(folder / f"layer_{layer}.js", "layer", f"{network}/layer_{layer}", columns)


def write_call(path: Path, function: str, *arguments: object) -> None:
    """Write a script that calls a function of the page's."""
    text = ", ".join(json.dumps(argument, separators=(",", ":")) for argument in arguments)
    path.write_text(f"gallery.{function}({text});\n")
