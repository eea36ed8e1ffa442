"""The formats of `concepts.sources`, and the reader of each."""

from pathlib import Path

from workflow_scripts.data.concept_sets.ade20k import Ade20k
from workflow_scripts.data.concept_sets.broden import Broden
from workflow_scripts.data.concept_sets.coco import CocoPanoptic, CocoSegments
from workflow_scripts.data.concept_sets.joined import JoinedSet, Rules, read_synonyms
from workflow_scripts.data.concept_sets.label_maps import LabelMaps
from workflow_scripts.data.concept_sets.open_surfaces import OpenSurfaces
from workflow_scripts.data.concept_sets.parquet import Parquet
from workflow_scripts.data.concept_sets.part_masks import PartMasks
from workflow_scripts.data.concept_sets.pascal import PascalContext, PascalPart
from workflow_scripts.data.concept_sets.picture_labels import PictureLabels
from workflow_scripts.data.concept_sets.reader import Reader
from workflow_scripts.shared.files import UserError

READERS = {
    "ade20k": Ade20k,
    "broden": Broden,
    "coco_panoptic": CocoPanoptic,
    "coco_segments": CocoSegments,
    "label_maps": LabelMaps,
    "open_surfaces": OpenSurfaces,
    "parquet": Parquet,
    "part_masks": PartMasks,
    "pascal_context": PascalContext,
    "pascal_part": PascalPart,
    "picture_labels": PictureLabels,
}


def read_joined(sets: list[dict], rules: dict, threads: int = 1) -> JoinedSet:
    """Read sets, and join them.

    Args:
        sets: for each, its name, format, folder, pictures_folder, category and options.
        rules: the keys of the config's `concepts` that say how to join them.
        threads: threads that decode label maps, if these are counted first.

    Raises:
        UserError: as in the readers, `read_synonyms` and `JoinedSet`.
    """
    return JoinedSet(
        {item["name"]: read_set(item) for item in sets},
        Rules(
            side=rules["label_size"],
            colours=rules["colours"],
            synonyms=read_synonyms(rules["synonyms"]),
            categories=rules["categories"],
            least_pictures=rules["least_pictures"],
            least_pixels=rules["least_pixels"],
            largest_share=rules["largest_share"],
        ),
        threads,
    )


def read_set(item: dict) -> Reader:
    """Open one set, as in `read_joined`; raises its reader's UserError with the name of the set."""
    reader = READERS[item["format"]]
    try:
        return reader(Path(item["folder"]), Path(item["pictures_folder"]), item["category"], **item["options"])
    except UserError as error:
        raise UserError(f"concepts.sources, {item['name']}: {error}") from error
