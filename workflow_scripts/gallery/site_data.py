"""The gallery's data: scripts and sheets of pictures, which a page that was opened from disk may load.

A page opened from disk may not read files, but it may run scripts and show pictures. So each data script calls one
function of the page's, with JSON: experiment.js calls gallery.experiment({...}), all others gallery.data(name, {...}),
where the name is their path without its ending:

experiment.js                          how was dissected, and a list of all networks
detectors.js                           which units of all networks detect which concept
concepts/concepts.js                   every label of the concept set
concepts/sheet_<s>.webp                example pictures of the labels, a row for each of UNITS_PER_SHEET
pictures/names.js                      [the file name of each picture of the concept set]
pictures/sheet_<s>.webp                pictures to enlarge, PICTURES_PER_ROW in each of as many rows
<network>/layer_<i>.js                 the units of a network's i-th layer
<network>/layer_<i>_histograms.js      how often they have which activation
<network>/layer_<i>_maps_<n>.js        the maps of UNITS_PER_SCRIPT of them
<network>/sheets/layer_<i>_<s>.webp    their pictures, a row for each of UNITS_PER_SHEET

<network> is networks/<arm>/replicate_<r>/level_<n>, layers have the config's order. The first view loads experiment.js
and one layer's script; the others are loaded when they are looked at. What a layer's script says:

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
outlined    whether the pictures show the outline of the unit's best concept; not where labels are shuffled

A layer's histograms: `samples`, how many activations each unit has; `low`, for each unit; `counts`, for each unit how
many activations lie in each of equal bins from `low`, exclusive, to its maximum. All others are at or below `low`.

A layer's maps: `size` (h, w) of a map; `half`, whether values have half precision; `border`, how many knots of zeros
surround it; `rows` and `columns`, between which two knots each row and column of the label map lies, and the weight of
the second (`interpolation.Grid`); `units`, of each the `cut` that its mask exceeds, `values`, base64 of its pictures'
maps (little-endian), and `labels`, for each picture the mask of the unit's best concept, as lengths of runs row by row,
the first outside, or null.

All labels: `labels`, [name, position of the category] of each; `pictures`, how many carry it; `share`, of all pixels;
`image`, its examples, those with the most of its pixels. All detectors: `labels` as above, and for each network of
experiment.js and each of its layers [unit, position in `labels`, unit, position, ...].
"""

import json
from pathlib import Path

from workflow_scripts.plan.keys import Key
from workflow_scripts.shared.files import reading, require_file

SITE = Path(__file__).resolve().with_name("site")
UNITS_PER_SCRIPT = 64  # whose maps are loaded together
PICTURES_PER_ROW = 4  # of those that are enlarged, in as many rows
PICTURE_BYTES = 7_500  # that one of them may take, at most: all of Broden's 63,305 take 475 MB
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


def write_layer(folder: Path, network: str, script: str, columns: dict) -> None:
    """Write a script of a network's layer, as "layer_0", into the folder that is to be the network's."""
    write_data(folder / f"{script}.js", f"{network}/{script}", columns)


def write_data(path: Path, name: str, contents: object) -> None:
    """Write a data script; `name` is its path within the gallery, without its ending."""
    write_call(path, "data", name, contents)


def read_call(path: Path) -> list:
    """Return the arguments of the call that a data script is; UserError if it is missing or damaged."""
    require_file(path, "run snakemake again")
    with reading(path, ValueError, RecursionError):
        text = path.read_text()
        return json.loads(f"[{text[text.index('(') + 1 : text.rindex(')')]}]")


def write_call(path: Path, function: str, *arguments: object) -> None:
    """Write a script that calls a function of the page's."""
    text = ", ".join(json.dumps(argument, separators=(",", ":")) for argument in arguments)
    path.write_text(f"gallery.{function}({text});\n")
