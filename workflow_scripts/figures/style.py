"""How figures look, and how they are written: the same everywhere, and the same bytes every time."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from workflow_scripts.shared.files import whole_file

BLUE, GREY, LIGHT_GREY = "#0072B2", "#666666", "#cccccc"
DENSITY_COLOURS = "viridis_r"  # even in lightness, dense dark
# Of methods: of the colour-blind safe palettes of Okabe and Ito (2008) and Tol (2021) ten that lie far apart, also for
# eyes with two kinds of cones, and those that come first farthest.
CURVE_COLOURS = (
    *(BLUE, "#E69F00", "#CC3311", "#332288", "#56B4E9"),
    *("#882255", "#CC79A7", "#117733", "#AA4499", "#009E73"),
)
CURVE_SHAPES: tuple[dict[str, Any], ...] = (  # of networks
    {"linestyle": "-", "marker": "o"},
    {"linestyle": (0, (4, 1)), "marker": "s"},
    {"linestyle": (0, (6, 1, 1, 1)), "marker": "^"},
    {"linestyle": (0, (2, 1)), "marker": "D"},
    {"linestyle": (0, (6, 1, 1, 1, 1, 1)), "marker": "v"},
    {"linestyle": (0, (8, 2, 2, 2)), "marker": "h"},
)
# Looks of baselines and references: the known recipes have the first, in this order, others those that follow.
KNOWN_BASELINES = ("untrained", "untrained_calibrated", "shuffled_labels")
BASELINE_MARKERS = ("X", "P", "*", "d", "p", "H", "8")
BASELINE_DASHES = ((5, 2), (1.5, 1.5), (6, 2, 1.5, 2), (10, 2))
BASELINE_FILLS = ("full", "none", "left")  # of the first base's baselines, of the second's, ...
KNOWN_REFERENCES = ("trained_twice",)
REFERENCE_MARKERS = ("D", "s", "^", "v", "p", "h")
# Of Tol's (2021) high-contrast scheme: accuracy, units, concepts, where they share axes; apart in grey, too.
MEASURE_COLOURS = ("#004488", "#BB5566", "#DDAA33")
# Mostly of Tol's (2021) muted scheme: as far apart in lightness as eight can be, those that follow each other farthest.
CATEGORY_COLOURS = ("#DDCC77", "#332288", "#77BBDD", "#882255", "#44AA99", "#117733", "#EEEEDD", "#CC6677")
BRODEN_CATEGORIES = ("color", "object", "part", "material", "scene", "texture")  # these have the first colours
CATEGORY_HATCHES = ("", "////", "....")  # one after the other, each with all the colours
# Of numbers of detectors: even in lightness, few pale, but not as white as none.
COUNT_COLOURS = LinearSegmentedColormap.from_list("counts", colormaps["Blues"](np.linspace(0.12, 1, 256)))

COUNT_TICKS: dict[str, Any] = {"nbins": 6, "steps": (1, 2, 5, 10), "integer": True}
REFERENCE_MARK: dict[str, Any] = {
    "markersize": 4.5,
    "color": "black",
    "markerfacecolor": "none",
    "linestyle": "none",
}
DENSE_MARK: dict[str, Any] = {"marker": "o", "markersize": 6, "markerfacecolor": "white", "linestyle": "none"}
OTHER_LINE: dict[str, Any] = {"linestyle": ":", "linewidth": 1.3}
REPLICATE_LINE: dict[str, Any] = {"linewidth": 0.7, "alpha": 0.5}
FAINT = 0.25
MEAN_LINE: dict[str, Any] = {"linewidth": 1.6, "markersize": 2.8}
REPLICATE_DOT: dict[str, Any] = {
    "marker": "o",
    "markersize": 3,
    "markeredgewidth": 0,
    "alpha": 0.5,
    "linestyle": "none",
}

TEXT_WIDTH, COLUMN_WIDTH = 7.2, 3.5  # inches: a figure across the page of a journal, or in one of its two columns
PAGE_HEIGHT = 9.5  # inches
FONT_SIZE = 7.5  # points: titles and labels of axes; lengths in inches are for this size
LEAST_SIZE = 5.0  # points: of any text, as journals ask
TRIES = 3  # at breaking labels
LABEL_ROOM = 1.05  # of a panel's axes: how long a line of their labels is, at most


def style_of(font_size: float = FONT_SIZE) -> dict[Any, Any]:
    """The settings of Matplotlib for figures whose axes have labels of that size, in points."""
    return {
        "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same font everywhere
        "font.size": font_size,
        "axes.labelsize": font_size,
        "axes.titlesize": font_size,
        "legend.fontsize": max(font_size - 0.5, LEAST_SIZE),
        "xtick.labelsize": max(font_size - 1, LEAST_SIZE),
        "ytick.labelsize": max(font_size - 1, LEAST_SIZE),
        "axes.linewidth": 0.6,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.unicode_minus": False,
        "text.parse_math": False,  # a concept may be called "$"
        "hatch.linewidth": 0.5,
        "figure.constrained_layout.w_pad": 0.06,  # inches
        "legend.frameon": False,
        "legend.handlelength": 2.8,  # so that dashes repeat
        "figure.dpi": 300,
        "pdf.fonttype": 42,  # TrueType: text stays text
        "svg.fonttype": "none",
        "svg.hashsalt": "dissection",
    }


STYLE = style_of()


def small() -> float:
    """Points of labels inside the axes."""
    return rcParams["xtick.labelsize"]


def tiny() -> float:
    """Points of numbers in cells."""
    return max(rcParams["font.size"] - 1.5, LEAST_SIZE)


def scaled(inches: float) -> float:
    """A length that holds text, in inches, given for `FONT_SIZE`, as the size in use wants it."""
    return inches * rcParams["font.size"] / FONT_SIZE


# Nothing of the day on which a figure was drawn.
METADATA = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}
FORMATS = tuple(METADATA)


def curve_look(method: int, network: int) -> dict:
    """Colour of a curve's method; marker and dashes of its network."""
    return {"color": CURVE_COLOURS[method % len(CURVE_COLOURS)], **CURVE_SHAPES[network % len(CURVE_SHAPES)]}


def baseline_line(look: int, number: int) -> dict:
    """Marker and dashes of a baseline's line; `number` counts the bases whose baselines share a panel."""
    dashes = BASELINE_DASHES[look % len(BASELINE_DASHES)]
    return baseline_mark(look, number) | {"linestyle": (0, dashes), "linewidth": 1}


def baseline_mark(look: int, number: int = 0) -> dict:
    """Marker of a baseline's points; `number` is as for `baseline_line`."""
    marker = BASELINE_MARKERS[look % len(BASELINE_MARKERS)]
    fill = BASELINE_FILLS[number % len(BASELINE_FILLS)]
    edge = 0 if fill == "full" else 0.8
    size = 7.5 if marker == "*" else 5.5
    return {
        "marker": marker,
        "color": GREY,
        "linestyle": "none",
        "markersize": size,
        "markeredgewidth": edge,
        "fillstyle": fill,
    }


def marked_at(look: int) -> tuple[float, float]:
    """Where a baseline's line has its markers, as shares of its length: those of lines that coincide lie apart."""
    count = len(BASELINE_MARKERS)
    first = (look % count + 0.5) / (2 * count)
    return first, first + 0.5


def reference_mark(look: int) -> dict:
    """Marker of a reference's points."""
    return {"marker": REFERENCE_MARKERS[look % len(REFERENCE_MARKERS)], **REFERENCE_MARK}


def category_looks(names: Sequence[str]) -> dict[str, dict]:
    """Colour and hatching of each category, for what is filled; Broden's are the same in every experiment."""
    order = [*BRODEN_CATEGORIES, *(name for name in names if name not in BRODEN_CATEGORIES)]
    return {name: category_look(order.index(name)) for name in names}


def category_look(number: int) -> dict:
    """Colour and hatching of the category at a place in their order; colours repeat with another hatching."""
    count = len(CATEGORY_COLOURS)
    return {
        "facecolor": CATEGORY_COLOURS[number % count],
        "hatch": CATEGORY_HATCHES[number // count % len(CATEGORY_HATCHES)],
        "edgecolor": "white",
        "linewidth": 0.3,
    }


def save_figure(figure: Figure, folder: str | Path, name: str) -> None:
    """Write `figure` into `folder` as name.pdf, name.svg and name.png; call it inside the settings of `style_of`."""
    fix_layout(figure)
    for form in FORMATS:
        with whole_file(Path(folder) / f"{name}.{form}") as part:
            figure.savefig(part, format=form, metadata=METADATA[form])


def break_labels(figure: Figure) -> bool:
    """Break the titles, and the labels of axes, that are longer than their panel; tell whether there were any."""
    broken = False
    for axes in [one for panel in figure.axes for one in (panel, *panel.child_axes) if isinstance(one, Axes)]:
        upright, titles = axes.yaxis.label, [axes.title, axes._left_title, axes._right_title]  # type: ignore[attr-defined]
        for text in (upright, axes.xaxis.label, *titles):
            extent = text.get_window_extent()
            length, room = (extent.height, axes.bbox.height) if text is upright else (extent.width, axes.bbox.width)
            if length > LABEL_ROOM * room:
                whole = text.get_text()
                text.set_text(break_words(whole, LABEL_ROOM * room / length))
                broken |= text.get_text() != whole
    return broken


def break_words(text: str, share: float) -> str:
    """`text` in lines that are at most that share of its longest line, where its words allow it, and about as long."""
    letters = max(1, int(share * max(map(len, text.splitlines()))))

    def wrap(line: str, most: int) -> list[str]:
        return textwrap.wrap(line, most, break_long_words=False, break_on_hyphens=False)

    lines = []
    for line in text.splitlines():
        count = len(wrap(line, letters))
        lines += wrap(line, next(most for most in range(1, letters + 1) if len(wrap(line, most)) <= count))
    return "\n".join(lines)


def fix_layout(figure: Figure) -> None:
    """Break long labels, and lay the axes out, once, at rounded places.

    The layout's solver orders its sums by addresses in memory, so that the last bits differ from run to run, and
    the SVG's identifiers hash them.
    """
    layout_engine = figure.get_layout_engine()
    for _ in range(1 + TRIES):
        if layout_engine:
            layout_engine.execute(figure)
        if not break_labels(figure):  # which makes other panels shorter
            break
    figure.set_layout_engine(None)  # with "none" Matplotlib draws once more for each file
    for axes in figure.axes:
        axes.set_position(Bbox(axes.get_position(original=True).get_points().round(6)))
