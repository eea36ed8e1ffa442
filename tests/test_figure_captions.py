"""Captions: filled from the tables, as reStructuredText and as LaTeX, which say the same."""

import re

import matplotlib
import numpy as np
import pytest
from docutils.core import publish_doctree
from docutils.nodes import paragraph
from hypothesis import given, settings
from hypothesis import strategies as st
from small_experiments import CUT, LAYER, ablate, collected, rotate, write_brought, write_experiment

from workflow_scripts.figures.captions import FIELD, STRICT, as_latex, as_rst, escape_latex, fill_caption
from workflow_scripts.figures.draw_figures import make_figure, read_tables
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
    if name == "matched":  # there is no other arm
        return
    assert "n = 3 replicates" in words
    assert name in ("accuracy", "layer_densities", "training_curves") or re.search(rf"(above|IoU) {CUT:g}", words)
    plain(re.sub(r"\\(texttt|emph|textbf)\{([^{}]*)\}", r"\2", as_latex(caption)))


def test_captions_say_what_the_tables_have(frames):
    units = frames["networks"]["units"].iloc[0]
    caption = " ".join(fill_caption("overview", frames).replace("\\", "").split())
    assert f"Layers: layer3 ({units} units), layer_4 ({units} units)." in caption
    for words in ("Thin lines: each replicate", "baselines (untrained; untrained, calibrated; dense, labels shuffled)"):
        assert words in caption
    assert "references (dense, trained twice)" in caption
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
            assert len(words) < 350 and "|" not in words
            empty.append(name)
        else:
            assert "Nothing is drawn" not in words
    of_dense = ["relative_to_dense", "robustness", "layer_densities", "equivalence"]
    wanted = of_dense if levels == 1 else ["rotation", "concept_trajectories"]
    always = ["ablation", "significance", "matched", "identity", "training_curves"]
    assert set(empty) == {*always, *wanted}


def test_an_unknown_field_is_named(frames, monkeypatch):
    monkeypatch.setattr("workflow_scripts.figures.captions.caption_of", lambda name: "Of {replicate}.")
    with pytest.raises(UserError, match=r"figure overview has the field \{replicate\}; fields are n, layers, detector"):
        fill_caption("overview", frames)


def test_what_is_no_field_is_left_as_it_is(frames, monkeypatch):
    text = "Of {a b} and\nmore.\n\n- {n}"
    monkeypatch.setattr("workflow_scripts.figures.captions.caption_of", lambda name: text)
    assert fill_caption("overview", frames) == "Of {a b} and\nmore.\n\n- n = 3 replicates"
