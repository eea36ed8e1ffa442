"""The sets of labelled pictures that a config joins: the keys of each format, and the presets of published sets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

PICTURES = "pictures"  # an archive or folder of a set's pictures, if they come separately from the labels
RULES = ("label_size", "colours", "synonyms", "categories", "least_pictures", "least_pixels", "largest_share")
OF_SOURCE = {"addresses": [], "checksum": "none", "folder": "."}
OF_SET = OF_SOURCE | {"category": "object"}


@dataclass(frozen=True)
class Format:
    """A way of storing labelled pictures: the keys that its reader requires, and its optional keys."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


FORMATS = {
    "ade20k": Format((), ("pictures",)),
    "broden": Format(),
    "coco_panoptic": Format(("pictures", "annotations", "label_maps")),
    "coco_segments": Format(("pictures", "annotations")),
    "label_maps": Format(("pictures", "label_maps", "names"), ("nothing", "listed", "scenes")),
    "open_surfaces": Format((), ("channels",)),
    "parquet": Format(("files", "image"), ("annotation", "label", "names", "nothing")),
    "part_masks": Format(("pictures", "masks")),
    "pascal_context": Format((), ("pictures", "label_maps", "names")),
    "pascal_part": Format((), ("pictures", "annotations", "objects")),
    "picture_labels": Format(("pictures",), ("table",)),
}

# Keys that take no list in these formats.
ONE_PATH = {"coco_panoptic": ("pictures", "annotations", "label_maps"), "coco_segments": ("pictures",)}

# Keys of sets in general that a format does not use: its pictures are beside their labels, or its labels have
# categories.
WITHOUT = {
    "ade20k": ("category",),
    "broden": ("category", "pictures_from"),
    "open_surfaces": ("category",),
    "parquet": ("pictures_from",),
    "pascal_part": ("category",),
}
PATHS = ("annotations", "files", "label_maps", "listed", "masks", "pictures", "scenes", "table")  # paths within a set

# Published sets: a format, and the values of its keys. The config can override each key.
PRESETS: dict[str, dict[str, Any]] = {
    "sceneparse150": {
        "format": "label_maps",
        "folder": "ADEChallengeData2016",
        "pictures": "images/{}.jpg",
        "label_maps": "annotations/{}.png",
        "names": "objectInfo150.txt",
        "nothing": [0],
        "scenes": "sceneCategories.txt",
    },
    "voc": {
        "format": "label_maps",
        "folder": "VOCdevkit/VOC2012",
        "pictures": "JPEGImages/{}.jpg",
        "label_maps": "SegmentationClass/{}.png",
        "names": "voc",
        "nothing": [0, 255],
        "listed": "ImageSets/Segmentation/trainval.txt",
    },
    "coco_stuff": {
        "format": "label_maps",
        "pictures": "val2017/{}.jpg",
        "label_maps": "val2017/{}.png",
        "names": "coco_stuff",
        "nothing": [255],
    },
    "cityscapes": {
        "format": "label_maps",
        # The test pictures have no labels.
        "pictures": ["leftImg8bit/train/{}_leftImg8bit.png", "leftImg8bit/val/{}_leftImg8bit.png"],
        "label_maps": ["gtFine/train/{}_gtFine_labelIds.png", "gtFine/val/{}_gtFine_labelIds.png"],
        "names": "cityscapes",
        # The ids that its evaluation ignores.
        "nothing": [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30],
    },
    "camvid": {
        "format": "label_maps",
        "folder": "CamVid",
        "pictures": ["train/{}.png", "val/{}.png", "test/{}.png"],
        "label_maps": ["trainannot/{}.png", "valannot/{}.png", "testannot/{}.png"],
        "names": "camvid",
        "nothing": [11],
    },
    "camvid_colours": {
        "format": "label_maps",
        "pictures": "701_StillsRaw_full/{}.png",
        "label_maps": "LabeledApproved_full/{}_L.png",
        "names": "camvid_colours",
        "nothing": [[0, 0, 0]],
    },
    "msrc": {
        "format": "label_maps",
        "folder": "MSRC_ObjCategImageDatabase_v2",
        "pictures": "Images/{}.bmp",
        "label_maps": "GroundTruth/{}_GT.bmp",
        "names": "msrc",
        "nothing": [[0, 0, 0]],
    },
    "celebamask_hq": {
        "format": "part_masks",
        "folder": "CelebAMask-HQ",
        "pictures": "CelebA-HQ-img/{}.jpg",
        "masks": "CelebAMask-HQ-mask-anno/*/{}_{label}.png",
        "category": "part",
    },
    "dtd": {
        "format": "picture_labels",
        "folder": "dtd",
        "pictures": "images/{}.jpg",
        "table": "labels/labels_joint_anno.txt",
        "category": "texture",
    },
}


def complete_sets(concepts: dict) -> dict:
    """Return the config's section `concepts` with the keys of each source completed from presets and defaults."""
    return concepts | {"sources": [complete_set(item) for item in concepts["sources"]]}


def complete_set(item: dict) -> dict:
    """Return one of `concepts.sources` with all of its keys; its `format` is no longer a preset."""
    preset = PRESETS.get(item["format"], {})
    complete = OF_SET | preset | item | {"format": preset.get("format", item["format"])}
    if "pictures_from" in complete:
        complete["pictures_from"] = OF_SOURCE | complete["pictures_from"]
    return complete


def options_of(item: Mapping) -> dict[str, Any]:
    """Return the keys of a complete set that its reader takes."""
    of_format = FORMATS[item["format"]]
    return {key: item[key] for key in (*of_format.required, *of_format.optional) if key in item}


def set_mistakes(sources: list[dict]) -> Iterator[str]:
    """Yield mistakes in sets beyond each key's value: unknown or missing keys of their formats, and duplicate names."""
    names = [item["name"] for item in sources]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield f"concepts.sources: the name {name} appears {names.count(name)} times: give each set its own name"
    for item in sources:
        preset = PRESETS.get(item["format"], {})
        of_format = FORMATS[preset.get("format", item["format"])]
        known = {*of_format.required, *of_format.optional, *OF_SET, "name", "format", "source", "pictures_from"}
        known -= set(WITHOUT.get(item["format"], ()))
        place = f"concepts.sources, {item['name']}"
        for key in item.keys() - known:
            takes = ", ".join([*of_format.required, *of_format.optional]) or "none of its own"
            yield f"{place}: the format {item['format']} has no key {key}: remove it (its keys are {takes})"
        for key in ONE_PATH.get(item["format"], ()):
            if isinstance(item.get(key), list):
                yield f"{place}: {key} is a list, but the format {item['format']} takes one path: write a set for each"
        for key in PATHS:
            paths = item.get(key, [])
            for path in [paths] if isinstance(paths, str) else paths:
                if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
                    yield f"{place}: {key} has {path}, which leads out of the set: write a path within its folder"
        for key in of_format.required:
            if key not in item and key not in preset:
                yield f"{place}: the format {item['format']} needs the key {key}: docs/concept_sets.md explains it"


def is_drawn(concepts: Mapping) -> bool:
    """Tell whether the labelled pictures are those of the generated world."""
    return not concepts["sources"] and concepts["source"] == "shapes"


def kinds_of(concepts: Mapping) -> list[str]:
    """Return the names of the folders and archives that labelled pictures come from, as rules call them."""
    if not concepts["sources"]:
        return ["concepts"]
    return [
        kind
        for item in concepts["sources"]
        for kind in (kind_of(item), *([f"{kind_of(item)}_{PICTURES}"] if "pictures_from" in item else []))
    ]


def kind_of(item: Mapping) -> str:
    """Return the name that rules use for the folder or archive of a set."""
    return f"concepts_{item['name']}"


def source_settings(config: Mapping, kind: str) -> Mapping:
    """Return source, addresses, checksum and, for concepts, folder of the source that rules call `kind`."""
    for item in config["concepts"]["sources"]:
        if kind == kind_of(item):
            return item
        if kind == f"{kind_of(item)}_{PICTURES}":
            return item["pictures_from"]
    return config[kind]


def own_tables(concepts: Mapping) -> list[str]:
    """Return the user's files, outside of the sets, that name labels."""
    names = [item["names"] for item in concepts["sources"] if isinstance(item.get("names"), str)]
    return [path for path in [*names, concepts["synonyms"]] if Path(path).is_file()]
