"""The rules of the published generations of network dissection, as named sets of choices.

They come from the code of each generation: Bau et al. 2017 (NetDissect), Zhou et al. 2018 (NetDissect-Lite), Bau et al.
2018 (quick-netdissect), Bau et al. 2020 (dissect, PNAS).
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

BORDERS = ("clamp", "zero")
CELL_CENTRES = "align_corners_false"
OF_FIELDS = ("receptive_field", "receptive_field_exact")  # knots that need the positions of receptive fields
SCHEMES = (CELL_CENTRES, "align_corners_true", *OF_FIELDS)
MASKS = ("above", "at_least")
COUNTED_IMAGES = ("with_category", "with_label_in_mask", "all")
DETECTOR_RULES = {"above": ">", "at_least": "≥"}  # with the signs for figures
PLANES = ("once", "each")


@dataclass(frozen=True)
class Protocol:
    """How units are thresholded, masked and scored."""

    quantile: float = 0.005  # the share of samples above a unit's threshold
    quantile_of: str = "raw"  # samples: "raw" activations, or those of the map "upsampled" to the label maps' size
    knots: str = "receptive_field"  # where activations are in the picture: one of SCHEMES
    border: str = "clamp"  # the map beyond its outer activations: one of BORDERS
    mask: str = "above"  # strictly above the threshold, or "at_least" it
    counted_images: str = "with_category"  # images that count in a unit's area: see tally_units
    planes: str = "once"  # whether a pixel with a label in several planes counts "once", or once for "each"
    detector_iou: float = 0.04
    detector_rule: str = "above"  # strictly above detector_iou, or "at_least" it


PROTOCOLS = {
    "netdissect": Protocol(),
    "lite": Protocol(
        quantile=0.005005,
        knots="align_corners_false",
        counted_images="with_label_in_mask",
        planes="each",
        detector_rule="at_least",
    ),
    "quick": Protocol(knots="align_corners_false"),
    "pnas": Protocol(
        quantile=0.01, quantile_of="upsampled", knots="align_corners_false", border="zero", counted_images="all"
    ),
}


def resolve_protocol(dissection: dict) -> dict:
    """Return the config's section dissection with each choice that is "protocol" replaced by its protocol's."""
    named = asdict(PROTOCOLS[dissection["protocol"]])
    resolved = {key: named[key] if key in named and value == "protocol" else value for key, value in dissection.items()}
    if resolved["largest_quantile"] == "quantile":
        resolved["largest_quantile"] = resolved["quantile"]
    return resolved


def protocol_mistakes(resolved: dict) -> Iterator[str]:
    """Yield a sentence if nothing could be a detector, and for each reason why candidates do not suffice."""
    if resolved["detector_iou"] == 1 and resolved["detector_rule"] == "above":
        yield "dissection.detector_iou is 1, but no IoU is above that: lower it, for example to 0.04"
    if resolved["dump"] == "candidates":
        if resolved["quantile_of"] == "upsampled":
            yield "dissection.dump: candidates only suffice for quantiles of raw maps; set it to all"
        if resolved["quantile"] > resolved["largest_quantile"]:
            yield "dissection.largest_quantile is less than dissection.quantile; make it at least as large"
