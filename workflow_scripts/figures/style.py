"""How figures look, and how they are written: the same everywhere, and the same bytes every time."""

from pathlib import Path

from matplotlib.figure import Figure

from workflow_scripts.files import whole_file

# The colour-blind safe palette of Okabe and Ito (2008).
BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
)
GREY, LIGHT_GREY = "#666666", "#cccccc"
DENSITY_COLOURS = "viridis_r"  # even in lightness, dense dark
CURVE_COLOURS = (BLUE, ORANGE, SKY, "black")  # the other colours are the floors'
CURVE_SHAPES = (  # one after the other, each with all the colours
    {"linestyle": "-", "marker": "o"},
    {"linestyle": (0, (4, 1)), "marker": "s"},
    {"linestyle": (0, (6, 1, 1, 1)), "marker": "^"},
)

TEXT_WIDTH = 7.2  # inches: a figure across the page of a journal
SMALL = 6.5  # points: labels inside the axes

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so it is the same font everywhere
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "legend.fontsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": False,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # TrueType: text stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "dissection",
}

# Nothing of the day on which a figure was drawn.
METADATA = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}
FORMATS = tuple(METADATA)


def save_figure(figure: Figure, folder: str | Path, name: str) -> None:
    """Write `figure` into `folder` as name.pdf, name.svg and name.png; call it inside `STYLE`."""
    for form in FORMATS:
        with whole_file(Path(folder) / f"{name}.{form}") as part:
            figure.savefig(part, format=form, metadata=METADATA[form])
