"""Captions: filled from the tables, as reStructuredText and as LaTeX, which say the same."""

import re
from itertools import product

import matplotlib
import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_doctree
from docutils.nodes import paragraph
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from small_experiments import (
    BASELINES,
    CUT,
    LAYER,
    REFERENCES,
    ablate,
    arm_row,
    arms_of,
    collected,
    rotate,
    sweep,
    write_brought,
    write_experiment,
    write_network,
)

from workflow_scripts.figures.captions import FIELD, STRICT, as_latex, as_rst, escape_latex, fill_caption
from workflow_scripts.figures.draw_figures import make_figure, read_tables
from workflow_scripts.figures.facts import EXPLAINED
from workflow_scripts.figures.style import STYLE
from workflow_scripts.plan.figures import figure_names
from workflow_scripts.shared.files import UserError

FIGURES = figure_names()
SPECIAL = "%_&#${}~^\\<>|`\"'-,?!*: \n"
NAMES = st.text(st.sampled_from(SPECIAL + "ab1é"), min_size=1, max_size=12).filter(str.strip)
COMMANDS = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\textasciigrave{}": "`",
}


def plain(latex):
    """What LaTeX prints, quotes straight; fails at a special letter that is not escaped."""
    pieces = re.findall(r"\\text[a-z]+\{\}|\\[%_&#${}]|\{\}|``|''|[^\\{}%_&#$~^<>|`]", latex)
    assert "".join(pieces) == latex
    words = {"{}": "", "``": '"', "''": '"'} | COMMANDS
    return "".join(words.get(piece, piece[1:] if piece[0] == "\\" else piece) for piece in pieces)


@settings(deadline=None)
@given(NAMES)
def test_any_name_is_its_words_in_rst_and_in_latex(name):
    words = " ".join(name.split())
    [block] = publish_doctree(f"Of {as_rst(name)}, n.", settings_overrides=STRICT).findall(paragraph)
    assert block.astext() == f"Of {words}, n."
    # Apostrophes beside each other and quotes print alike.
    latex = " ".join(as_latex(f"Of {as_rst(name)}, n.").split())  # special letters can make it several lines
    assert plain(latex).split("Of ")[1] == f"{words}, n."


@settings(deadline=None)
@given(NAMES)
def test_letters_that_tex_would_join_stay_apart(name):
    assert not re.search(r"--|,,|\?`|!`|<<|>>", escape_latex(name))


def test_literals_and_emphasis_are_commands():
    assert as_latex("See ``a_b.csv`` and *this*,\nas **that**.") == (
        r"See \texttt{a\_b.csv} and \emph{this}, as \textbf{that}."
    )
    assert as_latex('Called "none" (or "some").') == "Called ``none'' (or ``some'')."
    assert as_latex("One.\n\nTwo: 5 %.") == r"One. Two: 5 \%."  # \caption takes no paragraphs


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Tables of pruned networks with every baseline and reference, three replicates, two layers of 16 units."""
    folder = tmp_path_factory.mktemp("experiment")
    networks = write_experiment(folder / "results", replicates=3, levels=2, layers=("layer3", "layer_4"))
    return read_tables(ablate(rotate(collected(networks, folder), "imp")))


@pytest.mark.parametrize("name", FIGURES)
def test_captions_are_filled_and_stay_restructured_text(name, frames):
    caption = fill_caption(name, frames)
    assert not FIELD.search(caption) and "  " not in caption
    assert max(map(len, caption.splitlines())) <= 120
    publish_doctree(caption, settings_overrides=STRICT)
    words = " ".join(caption.split())
    plain(re.sub(r"\\(texttt|emph|textbf)\{([^{}]*)\}", r"\2", as_latex(caption)))
    if name != "matched":  # there is no other arm
        assert "n = 3 replicates" in words
        assert name in ("accuracy", "layer_densities", "training_curves") or re.search(rf"(above|IoU) {CUT:g}", words)


def test_captions_say_what_the_tables_have(frames):
    units = frames["networks"]["units"].iloc[0]
    caption = " ".join(fill_caption("overview", frames).replace("\\", "").split())
    assert f"Layers: layer3 ({units} units), layer_4 ({units} units)." in caption
    assert "Thin lines: each replicate" in caption and "references (dense, trained twice)" in caption
    explained = [f"{name} ({EXPLAINED[recipe]})" for recipe, name in BASELINES.items()]
    assert f"baselines, that is, {'; '.join(explained)}." in caption
    assert "(3 of each network)" in fill_caption("rotation", frames)
    assert "19 random sets" in fill_caption("ablation", frames)


def test_captions_of_little_say_little(tmp_path):
    networks = write_experiment(tmp_path / "one", replicates=1, levels=2, comparisons=(), rule="at_least")
    frames = read_tables(collected(networks, tmp_path / "one", rule="at_least"))
    caption = " ".join(fill_caption("overview", frames).split())
    assert "n = 1 replicate." in caption and f"Layer: {as_rst(LAYER)}" in caption and "of at least 0.04" in caption
    assert not re.search("Thin|aselines|eferences|Colours", caption)
    frames = read_tables(collected(write_brought(tmp_path / "dense", "net"), tmp_path / "dense"))
    caption = " ".join(fill_caption("overview", frames).split())
    assert "Every network is dense" in caption and "Grey marks: baselines" in caption and "Thin" not in caption
    assert EXPLAINED["shuffled_labels"] in caption and EXPLAINED["untrained_calibrated"] not in caption


def experiment_of(case, folder):
    """The tables of a kind of experiment."""
    if case == "dense":
        return ablate(rotate(collected(write_brought(folder, "net", measured=True, replicates=2), folder), "net"))
    if case == "half dense":
        networks = write_brought(folder, "net", ["global", "random"], measured=True, densities=(0.5, 0.3))
        return ablate(rotate(collected(networks, folder), "net_global"))
    if case == "matched":
        networks = write_experiment(folder, replicates=3, levels=4, keep=0.5)
        arms = [*arms_of(networks), arm_row("other", "imp", starts_from="imp")]
        for replicate, level in product(range(3), range(4)):
            networks.append(write_network(folder, "other", replicate, level, 0.5**level, 1 - level / 3))
        return ablate(rotate(collected(networks, folder, arms=arms), "imp", alphas=(0.5, 1.0)))
    if case == "alone":
        return ablate(rotate(collected(write_experiment(folder, replicates=1, comparisons=()), folder), "imp"))
    networks = write_experiment(folder, replicates=3, levels=3)
    networks += [write_network(folder, "later", replicate, 0, 1.0, 0.9) for replicate in range(3)]
    again = arm_row("later", "imp", "reference", "dense_again", starts_from="imp", label="noise")
    tables = rotate(collected(networks, folder, arms=[*arms_of(networks[:-3]), again]), "imp")
    return sweep(ablate(tables), detector_iou=["0.04", "0.06"], quantile=["0.005", "0.01"], knots=["a", "b"])


def test_the_overview_points_to_rotations_only_where_there_are_any(frames, tmp_path):
    """Also where the overview alone is drawn, for which their table is not read."""
    words = "see the figure ``rotation``"
    assert words in " ".join(fill_caption("overview", frames).split())
    tables = rotate(collected(write_experiment(tmp_path), tmp_path), "imp")
    assert words in " ".join(fill_caption("overview", read_tables(tables, needs=())).split())
    tables = rotate(collected(write_experiment(tmp_path), tmp_path), "untrained")
    assert "rotation" not in fill_caption("overview", read_tables(tables))


def test_a_rewind_point_is_explained_where_lines_begin_at_one(frames):
    assert "rewind" not in fill_caption("training_curves", frames)
    later = frames["epochs"].assign(epoch=frames["epochs"]["epoch"] + 3 * (frames["epochs"]["level"] > 0))
    caption = " ".join(fill_caption("training_curves", frames | {"epochs": later}).split())
    assert "Lines that begin at epoch 4 begin at the rewind point" in caption


def test_of_rotations_only_arms_that_are_rotated_are_described(frames):
    other = frames["networks"].query("arm == 'imp'").assign(arm="other", method=1)
    several = frames | {"networks": pd.concat([frames["networks"], other])}
    assert "Colours: methods" in fill_caption("overview", several)
    assert "Colours" not in fill_caption("rotation", several)


def test_where_no_measure_is_above_0_there_is_nothing_to_relate(frames):
    none = {"accuracy %": float("nan")} | dict.fromkeys(["detectors_a", "detectors_a %", "concepts_a"], 0)
    caption = fill_caption("relative_to_dense", frames | {"networks": frames["networks"].assign(**none)})
    assert "Nothing is drawn: the dense networks have no detectors" in " ".join(caption.split())


THIN, REMAINING = r"\b[Tt]hin\b(?! and)", r"weights that remain|weights remains"
MAYBE_LEFT_OUT = (THIN, REMAINING)  # a legend or an axis says enough


def drawn_in(figure, replicates):
    """Whether a figure has what captions speak of, by the words for it."""
    lines = [line for axes in figure.axes for line in axes.lines]
    texts = [" ".join(text.get_text().split()) for text in figure.findobj(Text)]
    bounds = [(sorted(axes.get_xlim()), [list(line.get_xdata()) for line in axes.lines]) for axes in figure.axes]
    return {
        r"ertical line: 90 %": any(low <= 10 <= high and [10, 10] in places for (low, high), places in bounds),
        r"\bDotted|dotted": any(line.get_linestyle() == ":" for line in lines),
        r"rosses": any(line.get_marker() == "x" for line in lines),
        THIN: replicates > 1 and any(line.get_linewidth() == 0.7 for line in lines),
        r"baselines": any(name in text for name in BASELINES.values() for text in texts),
        r"references": any(name in text for name in (*REFERENCES.values(), "noise") for text in texts),
        r"Filled marks: shown": "shown to be equivalent" in texts,
        r"ollow marks": "not shown to be equivalent" in texts,
        r"Bars: 90 %": "90 % interval" in texts,
        r"protocol": "Protocol" in texts,
        r"quantile": "Quantile" in texts,
        r"knots": "Knots" in texts,
        r"way of counting": "Way of counting" in texts,
        r"line above a panel": any("units without overlap" in text for text in texts),
        r"adds up the others": any("other concepts" in text for text in texts),
        r"against alpha": any("Alpha" in text for text in texts),
        REMAINING: any(words in text for words in ("remaining", "of the weights") for text in texts),
        r"the data in another order": "dense, another data order" in texts,
        r"two halves": "other half of the pictures" in texts,
        r"different replicates": "other replicates" in texts,
        r"Cohen": any("(kappa)" in text for text in texts),
        r"[Aa]ccura": any("accuracy" in text.lower() for text in texts),
    }


@pytest.mark.parametrize("case", ["dense", "half dense", "matched", "alone", "much"])
def test_captions_speak_of_what_is_drawn_and_of_nothing_else(case, tmp_path):
    frames = read_tables(experiment_of(case, tmp_path))
    for name in FIGURES:
        with matplotlib.rc_context(STYLE):
            figure = make_figure(name, frames)
            words = " ".join(fill_caption(name, frames).split())
        if "Nothing is drawn" in words:
            continue
        for pattern, drawn in drawn_in(figure, frames["networks"]["replicate"].nunique()).items():
            said = bool(re.search(pattern, words))
            assert said == drawn or (drawn and pattern in MAYBE_LEFT_OUT), (name, pattern, words)


@pytest.mark.parametrize("levels", [1, 2])
def test_the_caption_of_a_figure_that_is_only_a_sentence_is_short(tmp_path, levels):
    networks = write_experiment(tmp_path, levels=levels, cut=CUT if levels == 1 else 0.99)
    tables = collected(networks, tmp_path, CUT if levels == 1 else 0.99)
    frames = read_tables(ablate(rotate(tables, "imp" if levels == 1 else "untrained")))
    frames["epochs"] = frames["epochs"][frames["epochs"]["role"] == "baseline"]
    frames["ablation"] = frames["ablation"].head(0)
    frames["networks"]["detectors_fdr"] = np.nan
    empty = []
    for name in FIGURES:
        with matplotlib.rc_context(STYLE):
            figure = make_figure(name, frames)
        words = " ".join(fill_caption(name, frames).split())
        publish_doctree(words, settings_overrides=STRICT)
        assert not FIELD.search(words)
        if not figure.axes[0].axison:
            sentence = " ".join(figure.axes[0].texts[0].get_text().split())
            assert words.replace("\\", "").endswith(f". Nothing is drawn: {sentence[0].lower()}{sentence[1:]}"), name
            assert len(words) < 400 and "|" not in words
            empty.append(name)
        else:
            assert "Nothing is drawn" not in words
    of_dense = ["relative_to_dense", "robustness", "layer_densities", "equivalence"]
    wanted = of_dense if levels == 1 else ["rotation", "concept_trajectories"]
    always = ["ablation", "significance", "matched", "identity", "training_curves"]
    assert set(empty) == {*always, *wanted}


def test_an_unknown_field_is_named(frames, monkeypatch):
    monkeypatch.setattr("workflow_scripts.figures.captions.caption_of", lambda name: "Of {replicate}.")
    with pytest.raises(
        UserError, match=r"figure overview has the field \{replicate\}; fields are measures, rotated, n, layers"
    ):
        fill_caption("overview", frames)


def test_what_is_no_field_is_left_as_it_is(frames, monkeypatch):
    text = "Of {a b} and\nmore.\n\n- {n}"
    monkeypatch.setattr("workflow_scripts.figures.captions.caption_of", lambda name: text)
    assert fill_caption("overview", frames) == "Of {a b} and\nmore.\n\n- n = 3 replicates"
