"""Count, for every unit and concept, the pixels that the unit's mask and the concept share."""

import argparse
from pathlib import Path

from workflow_scripts.data.hdf5 import FORMAT, create_hdf5
from workflow_scripts.dissect.interpolation import read_receptive_fields
from workflow_scripts.dissect.tallied_layers import (
    Counter,
    add_tally_arguments,
    open_layers,
    pair_labels,
)
from workflow_scripts.plan.protocols import Protocol
from workflow_scripts.shared.files import run_command, whole_file
from workflow_scripts.shared.gpus import use_gpus


def tally_units(
    activations: str | Path,
    thresholds: str | Path,
    concepts: str | Path,
    out: str | Path,
    shuffle_labels: int | None = None,
    knots: str = "align_corners_false",
    mask: str = "above",
    counted_images: str = "with_category",
    receptive_fields: dict | None = None,
    threads: int = 1,
    border: str = "clamp",
    planes: str = "once",
) -> None:
    """Write tally.h5: the integers from which every IoU is computed (Bau et al. 2017, section 2.3).

    It has a group per layer with, for U units, L labels and C categories, int64 `intersection` (U, L): pixels in the
    unit's mask that carry the label; `unit_area` (U, C): pixels in the mask, over the images that count for the
    category; `label_area` (L): pixels that carry the label; the layer's `threshold`, `maximum` and `minimum`; and bool
    `dead` (U): units that are constant over the whole concept set. The group's attribute `knots` says which knots the
    layer has: cell centres if its units have no receptive fields. Layers are in the dump's order.

    A unit's mask is where its interpolated map is `mask` ("above" or "at_least") its threshold. "above" is strict:
    after a ReLU, a nearly dead unit has threshold 0 and an empty mask; with "at_least", its mask is the whole image.
    `knots` is one of SCHEMES; `border` is one of BORDERS. Images count for a category if they carry a label of it
    ("with_category"), if such a label lies in the unit's mask ("with_label_in_mask"), or always ("all"). A label's
    category is its primary one. A pixel that carries a label in several `planes` counts "once" or, in intersections and
    label areas, once for "each". `receptive_fields` is as `layer_knots` takes it.

    With `shuffle_labels`, a seed, the maps of image i meet the labels of image p(i), where p is a random permutation:
    a baseline for the IoU that chance gives.

    Attributes: `format`, `activations` and `concepts` (fingerprints), `quantile` and `samples` (of the
    thresholds), `knots`, `border`, `mask`, `counted_images`, `planes`, and `shuffle_labels` (the seed, or "none").

    Raises UserError if an input is missing or damaged or the three do not belong together.
    """
    choices = Protocol(knots=knots, border=border, mask=mask, counted_images=counted_images, planes=planes)
    with open_layers(activations, thresholds, concepts, choices, receptive_fields) as (layers, labels, attributes):
        pairing = pair_labels(len(labels.image_has_category), shuffle_labels)
        counter = Counter(labels, choices, threads)
        tallies = {name: counter.count(layer, pairing) for name, layer in layers.items()}
        with whole_file(out) as part, create_hdf5(part, track_order=True) as file:
            file.attrs.update(
                format=FORMAT,
                **attributes,
                knots=knots,
                border=border,
                mask=mask,
                counted_images=counted_images,
                planes=planes,
                shuffle_labels="none" if shuffle_labels is None else shuffle_labels,
            )
            for name, layer in layers.items():
                file[f"{name}/intersection"] = tallies[name].intersection[0].T
                file[f"{name}/unit_area"] = tallies[name].unit_area[0]
                file[f"{name}/label_area"] = labels.plane_area if planes == "each" else labels.label_area
                file[name].attrs["knots"] = layer.knots
                for column, values in layer.thresholds._asdict().items():
                    file[f"{name}/{column}"] = values
                file[f"{name}/dead"] = layer.dead


def main() -> None:
    """Tally the units of the dump that the command line names, and write tally.h5."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_tally_arguments(parser)
    parser.add_argument("--out", required=True, help="tally.h5 to write")
    args = parser.parse_args()
    use_gpus(args.gpus)
    tally_units(
        args.activations,
        args.thresholds,
        args.concepts,
        args.out,
        args.shuffle_labels,
        args.knots,
        args.mask,
        args.counted_images,
        read_receptive_fields(args.receptive_fields),
        args.threads,
        args.border,
        args.planes,
    )


if __name__ == "__main__":
    run_command(main)
