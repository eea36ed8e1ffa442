"""Count, for every unit and concept, the pixels that the unit's mask and the concept share."""

import argparse
from pathlib import Path

import numpy as np

from workflow_scripts.data.hdf5 import FORMAT, create_hdf5, find_group, member_names, open_hdf5, read_attribute
from workflow_scripts.dissect.concept_data import ConceptData, require_same
from workflow_scripts.dissect.interpolation import Grid, grid, layer_knots, read_receptive_fields
from workflow_scripts.dissect.maps import LayerMaps, strict_bound
from workflow_scripts.dissect.tallies import TallySettings, own_labels, tally_layer
from workflow_scripts.dissect.unit_files import read_thresholds
from workflow_scripts.plan.protocols import BORDERS, COUNTED_IMAGES, MASKS, PLANES, SCHEMES
from workflow_scripts.shared.files import UserError, run_command, whole_file
from workflow_scripts.shared.gpus import lease_gpu, use_gpus


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
    """Write tally.h5: the integers of which every IoU is made (Bau et al. 2017, section 2.3).

    Per layer a group with, for U units, L labels and C categories, int64 `intersection` (U, L): pixels in
    the unit's mask that carry the label; `unit_area` (U, C): pixels in the mask, over the images that count
    for the category; `label_area` (L): pixels that carry the label; the layer's `threshold`, `maximum` and
    `minimum`; and bool `dead` (U): units that are constant over the whole concept set. Its attribute `knots`
    says which it has: cell centres where its units have no receptive fields. Layers lie in the dump's order.

    A unit's mask is where its interpolated map is `mask` its threshold. "above" is strict: after a ReLU a
    nearly dead unit has threshold 0, and its mask stays empty; with "at_least" it is the whole image.
    `knots`: one of SCHEMES; `border`: one of BORDERS. Images that count for a
    category are those "with_category", which carry a label of it; "with_label_in_mask", where such a label lies
    in the unit's mask; or "all". A label's category is its primary one. A pixel that carries a label in several
    `planes` counts for it "once", or, in intersections and label areas, once for "each". `receptive_fields` as
    `layer_knots` takes them.

    With `shuffle_labels`, a seed, the maps of image i meet the labels of image p(i), p a random
    permutation: a control for what IoU chance gives.

    Attributes: `format`, `activations` and `concepts` (fingerprints), `quantile` and `samples` (of the
    thresholds), `knots`, `border`, `mask`, `counted_images`, `planes`, and `shuffle_labels` (the seed, or "none").

    Raises UserError if an input is missing or damaged or the three do not belong together.
    """
    with (
        open_hdf5(activations, "maps", "concepts") as dump,
        open_hdf5(thresholds, "activations", "quantile", "samples") as cuts,
        ConceptData(concepts) as labels,
    ):
        fingerprint = read_attribute(dump, "fingerprint", str)
        require_same(thresholds, read_attribute(cuts, "activations", str), activations, fingerprint)
        require_same(activations, read_attribute(dump, "concepts", str), concepts, labels.fingerprint)
        quantile, samples = read_attribute(cuts, "quantile", float), read_attribute(cuts, "samples", str)
        layers, schemes, of_units = {}, {}, {}
        for layer in member_names(find_group(dump, "maps")):
            maps = LayerMaps(dump, layer)
            of_units[layer] = read_thresholds(cuts, layer, maps.units)
            schemes[layer], fields = layer_knots(receptive_fields, layer, knots)
            to = grid((maps.height, maps.width), (labels.height, labels.width), schemes[layer], fields, border)
            cut = strict_bound(of_units[layer].threshold, mask)
            made_for = read_attribute(dump, "candidates_mask", str) if maps.candidates else None
            require_maps(activations, maps, labels, made_for, mask, to, cut)
            in_mask = counted_images == "with_label_in_mask"
            settings = TallySettings(cut, to, labels.label_category, len(labels.category_name), in_mask)
            layers[layer] = (maps, settings)
        pairing = own_labels(len(labels.image_has_category))
        if shuffle_labels is not None:
            pairing.partner[0] = np.random.default_rng(shuffle_labels).permutation(pairing.partner[0])
        with_category, each_plane = counted_images == "with_category", planes == "each"
        device = lease_gpu()
        if device:
            from workflow_scripts.dissect import tensor_tallies

            on_device = tensor_tallies.Labels(labels, with_category, each_plane, device, threads)
            tallies = {
                layer: tensor_tallies.tally_layer(maps, on_device, settings, pairing, threads)
                for layer, (maps, settings) in layers.items()
            }
        else:
            tallies = {
                layer: tally_layer(maps, labels, settings, pairing, with_category, each_plane, threads)
                for layer, (maps, settings) in layers.items()
            }
        with whole_file(out) as part, create_hdf5(part, track_order=True) as file:
            file.attrs.update(
                format=FORMAT,
                activations=fingerprint,
                concepts=labels.fingerprint,
                quantile=quantile,
                samples=samples,
                knots=knots,
                border=border,
                mask=mask,
                counted_images=counted_images,
                planes=planes,
                shuffle_labels="none" if shuffle_labels is None else shuffle_labels,
            )
            for layer, tally in tallies.items():
                file[f"{layer}/intersection"] = tally.intersection[0].T
                file[f"{layer}/unit_area"] = tally.unit_area[0]
                file[f"{layer}/label_area"] = labels.plane_area if each_plane else labels.label_area
                file[layer].attrs["knots"] = schemes[layer]
                for name, values in of_units[layer]._asdict().items():
                    file[f"{layer}/{name}"] = values
                file[f"{layer}/dead"] = of_units[layer].maximum == of_units[layer].minimum


def require_maps(
    activations: str | Path,
    maps: LayerMaps,
    labels: ConceptData,
    made_for: str | None,
    mask: str,
    to: Grid,
    cut: np.ndarray,
) -> None:
    """Raise UserError unless a layer has all maps that the tally needs; `made_for`: the mask of candidates."""
    if maps.images != len(labels.image_has_category):
        raise UserError(f"{activations}: {maps.layer} has {maps.images} images, not the concept set's number")
    if maps.candidates and mask == "at_least" and made_for != "at_least":
        raise UserError(f"{activations} lacks maps that only reach their threshold: make it again with mask at_least")
    if maps.candidates and to.border and (cut < 0).any():
        raise UserError(
            f"{activations} lacks maps whose border of zeros is above a negative threshold: set dissection.dump to all"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--activations", required=True, help="activations.h5")
    parser.add_argument("--thresholds", required=True, help="thresholds.h5")
    parser.add_argument("--concepts", required=True, help="concepts.h5")
    parser.add_argument("--knots", choices=SCHEMES, required=True, help="where activations lie in the picture")
    parser.add_argument("--border", choices=BORDERS, required=True, help="of a map, beyond its outer activations")
    parser.add_argument("--mask", choices=MASKS, required=True, help="the threshold")
    parser.add_argument("--counted-images", choices=COUNTED_IMAGES, required=True, help="in a unit's area")
    parser.add_argument("--planes", choices=PLANES, required=True, help="count for a label, where several have it")
    parser.add_argument("--receptive-fields", type=Path, help="receptive_fields.json, for those knots")
    parser.add_argument("--shuffle-labels", type=int, metavar="SEED", help="control: pair images at random")
    parser.add_argument("--threads", type=int, default=1, help="that share out the images")
    parser.add_argument("--gpus", type=int, help="0 for none; without this one is used if there is one")
    parser.add_argument("--out", required=True, help="tally.h5 to write")
    arguments = parser.parse_args()
    use_gpus(arguments.gpus)
    tally_units(
        arguments.activations,
        arguments.thresholds,
        arguments.concepts,
        arguments.out,
        arguments.shuffle_labels,
        arguments.knots,
        arguments.mask,
        arguments.counted_images,
        read_receptive_fields(arguments.receptive_fields),
        arguments.threads,
        arguments.border,
        arguments.planes,
    )


if __name__ == "__main__":
    run_command(main)
