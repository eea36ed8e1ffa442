"""The page of findings: no sentence claims more than the tables show, and every number comes from them."""

import math
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_experiments import LAYER, ablate, arm_row, collected, complete, rotate, write_experiment
from test_compare_networks import ARMS, chain, write_tables

from workflow_scripts.findings.changes import headlines
from workflow_scripts.findings.find import find
from workflow_scripts.findings.section import Section, as_markdown
from workflow_scripts.findings.source import read_tables
from workflow_scripts.findings.words import change, number, percent
from workflow_scripts.plan.ablation import CLASS_COLUMNS, COLUMNS
from workflow_scripts.tables.collect_sweep import COLUMNS as SWEEP_COLUMNS
from workflow_scripts.tables.compare_networks import Margins, compare_networks
from workflow_scripts.tables.read_tables import read_table

MARGIN, ACCURACY_MARGIN = 0.1, 0.01
NO_PERMUTATIONS = {"detectors_fdr": np.nan, "fewest_fdr": np.nan, "chance_detectors": np.nan}
IMP = [arm_row("imp", recipe="imp", label="iterative magnitude pruning")]
SPLIT = ["arm", "replicate", "level", "layer", "keep", "agreement", "units_sd"]
SPLIT += ["kappa_common", "kappa_all", "jaccard", "counts_overlap"]
LAST = "What remains open"
COUNTED = "Does it depend on how units are counted?"
DENSE = (40, 41, 42)  # units of three replicates


# Tables by hand


def write_folder(folder, rows, arms=IMP, layers=("a",), units=(), **columns):
    """Write tables of networks and compare the networks; `columns` are further columns of networks.csv."""
    write_tables(folder, rows, arms, layers, units)
    networks = pd.read_csv(folder / "networks.csv", keep_default_na=False, na_values={"density": [""]})
    columns = {"detector_iou": 0.04, "detector_rule": "above", "share_of_base": 1.0} | NO_PERMUTATIONS | columns
    networks.assign(**columns).to_csv(folder / "networks.csv", index=False)
    complete("split", pd.DataFrame(columns=SPLIT)).to_csv(folder / "split.csv", index=False)
    complete("sweep", pd.DataFrame(columns=SWEEP_COLUMNS)).to_csv(folder / "sweep.csv", index=False)
    categories = networks[["arm", "replicate", "level", "layer", "concepts_a"]].assign(category="part")
    complete("categories", categories).to_csv(folder / "categories.csv", index=False)
    compare_networks(folder, Margins(MARGIN, ACCURACY_MARGIN))
    return folder


def edit(folder, name, **cells):
    """Set columns of a table to values, or to what a function returns for the table."""
    frame = read_table(folder / f"{name}.csv")
    frame = frame.assign(**cells)
    frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def write_rows(folder, name, rows, columns=None):
    complete(name, pd.DataFrame(rows, columns=columns)).to_csv(folder / f"{name}.csv", index=False)


def sections_of(folder):
    sections = find(read_tables(folder), MARGIN, ACCURACY_MARGIN)
    require_clean(sections)
    return sections


def texts_of(folder):
    """The paragraphs of each section, joined, by its title."""
    return {section.title: " ".join(section.paragraphs) for section in sections_of(folder)}


def cells_of(folder, title):
    """The rows of a section's table as dictionaries."""
    [section] = [section for section in sections_of(folder) if section.title == title]
    head, *rows = section.table
    return [dict(zip(head, row, strict=True)) for row in rows]


NOUNS = "detector|unit|concept|point|replicate|network|level|pair"
FORBIDDEN = re.compile(r"\b(nan|NaN|None|inf|NaT)\b|\d[eE][+-]?\d|-0(\.0+)?(?![\d.])")


def require_clean(sections):
    """Check that no number is written as Python writes it, that no sentence lacks one, and that tables are whole."""
    page = as_markdown("A page", sections)
    assert not (found := FORBIDDEN.search(page)), page[max(0, found.start() - 80) : found.end() + 20]
    for section in sections:
        for paragraph in section.paragraphs:
            assert not re.search(r"(^|[\s(])-(\s|$)", paragraph), paragraph
            assert paragraph[:1] == paragraph[:1].upper() and paragraph.endswith((".", ")")), paragraph
            assert not re.search(rf"(?<![\d.])(?<!to )1 (more |fewer )?({NOUNS})s\b", paragraph), paragraph
            assert "  " not in paragraph and " ." not in paragraph and ": ." not in paragraph, paragraph
        assert len({len(row) for row in section.table}) < 2, section.table
        assert all(isinstance(cell, str) and cell for row in section.table for cell in row), section.table
    titles = [section.title for section in sections]
    assert len(set(titles)) == len(titles)
    for block in re.findall(r"(?:^\|.*\n)+", page, re.M):
        lines = block.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1 and set(lines[1]) == set("|-:")
    return page


# The sparsest level


def equivalence_row(level, density, measure="units", arm="imp", n=3, no_loss=True, same=False, **cells):
    """A row of equivalence.csv, by default of a layer called a."""
    row = {"arm": arm, "level": level, "layer": "" if measure == "accuracy" else "a", "measure": measure}
    row |= {"against": "dense", "density": density, "n": n, "mean": 40.0, "mean_against": 41.0, "difference": -1.0}
    row |= {"sd": 1.0, "low90": -2.0, "high90": 0.5, "margin": 4.0, "smallest_change": 1.5, "p_equivalence": 0.01}
    row |= {"p_noninferiority": 0.01, "shown": "no loss" if no_loss else "not shown", "power": 0.9}
    return row | {"in_sequence": same, "no_loss_in_sequence": no_loss} | cells


def says(*rows, curves=("imp",)):
    return headlines(pd.DataFrame(rows), list(curves))


def test_a_claim_ends_at_the_first_level_that_fails_even_if_a_later_one_passes_alone():
    rows = [
        equivalence_row(1, 0.5, same=True, shown="equivalent"),
        equivalence_row(2, 0.25),
        equivalence_row(3, 0.125, no_loss=False),
        equivalence_row(4, 0.0625, no_loss=False, shown="equivalent"),  # alone: the sequence is broken
    ]
    assert says(*rows) == [
        "In a: a loss as large as the margin is ruled out for detectors (margin 4) down to 25 % of the weights. A"
        " change as large as the margin, in either direction, is ruled out for detectors (margin 4) down to 50 % of the"
        " weights."
    ]


def test_levels_are_ordered_by_density_not_by_number():
    rows = [equivalence_row(level, density) for level, density in ((1, 0.1), (2, 0.5), (3, 0.3))]
    [text] = says(*rows)
    assert "down to 10 % of the weights" in text and "30" not in text


def test_levels_of_unknown_density_are_named_by_their_number():
    [text] = says(equivalence_row(1, np.nan), equivalence_row(2, np.nan), equivalence_row(3, np.nan, no_loss=False))
    assert text.endswith("is ruled out for detectors (margin 4) down to level 2.")


def test_measures_that_never_pass_are_named_and_untested_ones_are_not():
    rows = [equivalence_row(1, 0.5), equivalence_row(1, 0.5, "concepts", no_loss=False)]
    rows.append(equivalence_row(1, 0.5, "units_above_rotation", no_loss=False, n=2, shown="not testable"))
    [text] = says(*rows)
    assert text.endswith(
        "A loss or change as large as the margin is not ruled out at any level for unique concepts (margin 4)."
    )
    assert "rotation" not in text and "either direction" not in text


def test_with_several_curves_every_claim_names_its_arm():
    rows = []
    for arm in ("imp", "other"):
        rows += [equivalence_row(1, 0.5, "accuracy", arm), equivalence_row(1, 0.5, arm=arm)]
    rows.append(equivalence_row(1, 0.5, arm="third", no_loss=False))
    texts = says(*rows, curves=("imp", "other"))
    starts = ["Of imp: a loss", "In a of imp: a loss", "Of other: a loss", "In a of other: a loss"]
    assert len(texts) == 4 and all(text.startswith(start) for text, start in zip(texts, starts, strict=True))
    assert says(*rows)[0].startswith("A loss as large as the margin is ruled out for test accuracy (margin 400 points)")


def test_headlines_come_only_from_comparisons_with_dense_networks():
    assert says(equivalence_row(1, 0.5, against="dense_again")) == [] and says(equivalence_row(1, 0.5), curves=()) == []


@settings(max_examples=30, deadline=None)
@given(
    passes=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
)
def test_headlines_of_any_sequence(passes, order):
    """The claims agree with those recomputed from what each level shows alone."""
    levels = list(range(1, len(passes) + 1))
    order.shuffle(levels)  # so that numbers say nothing about densities
    shown = ["equivalent" if same else "no loss" if no_loss else "not shown" for no_loss, same in passes]
    rows, run, same_run = [], True, True
    for place, (level, kind) in enumerate(zip(levels, shown, strict=True)):
        run, same_run = run and kind != "not shown", same_run and kind == "equivalent"
        rows.append(equivalence_row(level, 0.5 ** (place + 1), no_loss=run, same=same_run, shown=kind))
    order.shuffle(rows)
    [text] = says(*rows)
    ends = []
    for accepted in ({"equivalent", "no loss"}, {"equivalent"}):
        unbroken = next((place for place, kind in enumerate(shown) if kind not in accepted), len(shown))
        ends += [f"down to {percent(0.5**unbroken)} of the weights"] if unbroken else []
    assert re.findall(r"down to [\d.]+ % of the weights", text) == ends
    assert ("is not ruled out at any level" in text) == (not ends)


# What few replicates leave open


def test_with_two_replicates_only_the_smallest_change_that_could_be_ruled_out_is_named(tmp_path):
    rows = chain("imp", [(40, 42), (38, 37), (30, 20)], (1, 2))
    texts = texts_of(write_folder(tmp_path, rows))
    # The sd of two differences d and e is |d - e| / √2; half an interval is t(1 degree of freedom, 95 %) · sd / √2.
    smallest = [6.313752 * abs(d - e) / 2 for d, e in (((38 - 40), (37 - 42)), ((30 - 40), (20 - 42)))]
    least, most = (f"{size:.1f}" for size in smallest)
    assert texts["In short"] == (
        f"In a: changes are not tested with 2 replicates; no change of less than {least} to {most} detectors could have"
        " been ruled out."
    )
    assert "Equivalence is not tested with 2 replicates: use at least 3." in texts[LAST]
    assert not any("down to" in text or "experiments" in text for text in texts.values())
    [short] = [section for section in sections_of(tmp_path) if section.title == "In short"]
    assert not short.table
    table = next(section for section in sections_of(tmp_path) if section.title == "What changes in a")
    assert "°" not in table.note and "Losses are not tested" in table.note  # a missing mark does not mean no loss
    assert not any("°" in cell for row in table.table for cell in row)


def test_with_one_replicate_nothing_is_known_about_changes(tmp_path):
    texts = texts_of(write_folder(tmp_path, chain("imp", [(40,), (20,)], (1,))))
    assert texts["In short"] == (
        "In a: changes are not tested with 1 replicate, and it is unknown how much another training run would change."
    )
    assert "Equivalence is not tested with 1 replicate:" in texts[LAST]
    assert "How sure this is" not in texts
    assert "±" not in "".join(cells_of(tmp_path, "What changes in a")[1].values())


def test_a_level_with_too_few_replicates_ends_the_sequence(tmp_path):
    rows = chain("imp", [DENSE, DENSE, DENSE, DENSE])
    rows = [row for row in rows if not (row[2] == 2 and row[1] == 3)]  # level 2 has only two replicates
    texts = texts_of(write_folder(tmp_path, rows))
    assert "detectors (margin 4.1) down to 50 % of the weights" in texts["In short"]
    assert "down to 12.5" not in texts["In short"] and "(3 replicates)" in texts["In short"]
    note = next(section.note for section in sections_of(tmp_path) if section.title == "What changes in a")
    assert "Mean ± standard deviation over 2 to 3 replicates." in note
    marks = {row["weights"]: "°" in row["detectors"] for row in cells_of(tmp_path, "What changes in a")}
    assert marks == {"100 %": False, "50 %": False, "25 %": True, "12.5 %": True}


def test_the_error_rate_of_claims_is_stated_only_if_there_are_claims(tmp_path):
    texts = texts_of(write_folder(tmp_path, chain("imp", [DENSE, DENSE])))
    assert "in at most 5 % of experiments a cell of the table names" in texts["In short"]
    assert "of cells (6)." in texts["In short"]
    edit(tmp_path, "equivalence", shown="not testable")
    assert "5 %" not in texts_of(tmp_path)["In short"]


def test_fewer_detectors_but_more_units_above_rotation_are_reported_as_a_disagreement(tmp_path):
    folder = write_folder(tmp_path, chain("imp", [(60, 61, 62), (41, 41, 42), (10, 11, 12)]))
    write_rotations(folder, {0: 50, 1: 10, 2: 5})
    words = (
        "In a, the two counts of units disagree at 50 % of the weights: there are fewer detectors than in the dense"
        " networks, but more above rotation."
    )
    assert words in texts_of(folder)["In short"]


def test_references_are_listed_with_the_changes(tmp_path):
    arms = [*IMP, *ARMS[2:3], arm_row("longer", "imp", "reference", "trained_twice", starts_from="imp")]
    rows = chain("imp", [DENSE, (38, 37, 39)]) + chain("again", [(41, 42, 43)]) + chain("longer", [(45, 46, 47)])
    text = texts_of(write_folder(tmp_path, rows, arms))["What changes in a"]
    again = "Without pruning (again): 1 more detector (90 % interval: 0.3 to 1.7 more) and no difference in concepts"
    assert again in text
    assert "Without pruning (longer): 5 more detectors (90 % interval: 4.3 to 5.7 more)" in text


def test_the_table_in_short_says_what_the_sentences_say(tmp_path):
    counts = [(100, 100, 100), (95, 95, 95), (80, 95, 110)]
    folder = write_folder(tmp_path, chain("imp", counts))
    units, concepts = cells_of(folder, "In short")[1:]
    assert list(units.values()) == ["detectors, a", "100", "10", "50 %", "50 %"]
    assert list(concepts.values()) == ["unique concepts, a", "5", "0.5", "at no level", "at no level"]


# Losses and gains


def test_a_gain_is_never_called_a_loss(tmp_path):
    texts = texts_of(write_folder(tmp_path, chain("imp", [(20, 21, 22), (40, 41, 43), (60, 60, 63)])))
    assert "detectors (margin 2.1) " in texts["In short"] and "down to 25 % of the weights" in texts["In short"]
    assert "Detectors: more than dense at 50 % and 25 % of the weights; most at 25 % of the weights: 40" in (
        changes := texts["What changes in a"]
    )
    assert "either direction, is ruled out for detectors" not in texts["In short"] and "fewer detectors" not in changes


@pytest.mark.parametrize(
    ("difference", "low", "high", "measure", "text"),
    [
        (-5, -7.04, -3, "units", "5 fewer detectors (90 % interval: 3 to 7 fewer)"),
        (5, 3, 7, "units", "5 more detectors (90 % interval: 3 to 7 more)"),
        (-1, -3, 1, "concepts", "1 fewer concept (90 % interval: 3 fewer to 1 more)"),
        (1, np.nan, np.nan, "units_above_rotation", "1 more unit"),
        (0.04, -1, 1.08, "units", "no difference in detectors (90 % interval: 1 fewer to 1.1 more)"),
        (-0.01, -0.02, 0.001, "accuracy", "1 point lower (90 % interval: 2 lower to 0.1 higher)"),
        (-0.0004, -0.0006, -0.0002, "accuracy", "no difference in accuracy (90 % interval: 0 to 0.1 lower)"),
    ],
)
def test_differences_in_words(difference, low, high, measure, text):
    assert change({"difference": difference, "low90": low, "high90": high, "measure": measure}) == text


def test_levels_whose_interval_excludes_0_are_reported_even_if_the_change_is_within_the_margin(tmp_path):
    counts = [(100, 100, 100), (95, 95, 95), (80, 95, 110), (50, 52, 54), (10, 11, 12), (110, 111, 112)]
    folder = write_folder(tmp_path, chain("imp", counts))
    rows = read_table(folder / "equivalence.csv").query("measure == 'units'").set_index("level")
    assert rows["no_loss_in_sequence"].tolist() == [True, *[False] * 4] and rows["high90"][1] < 0 < rows["high90"][2]
    text = texts_of(folder)["What changes in a"]
    assert (
        "Detectors: fewer than dense at 50 %, 12.5 % and 6.25 % of the weights; most at 6.25 % of the weights: 89 fewer"
        " detectors (90 % interval: 87.3 to 90.7 fewer). More than dense at 3.12 % of the weights: 11 more detectors"
        " (90 % interval: 9.3 to 12.7 more)."
    ) in text
    assert "Unique concepts: the 90 % interval of the difference from dense includes 0 at every level." in text
    assert (
        "In a: lower than dense in detectors at 50 %, 12.5 % and 6.25 % of the weights (by 5 to 89). Higher than dense"
        " in detectors at 3.12 % of the weights (by 11)."
    ) in texts_of(folder)["In short"]
    cells = {row["weights"]: row["detectors"] for row in cells_of(folder, "What changes in a")}
    assert cells["100 %"] == "100.0 ± 0.0" and cells["25 %"] == "95.0 ± 15.0 (-30.3 to +20.3)\u00a0°"
    assert cells["50 %"] == "95.0 ± 0.0 (-5.7 to -4.3)"  # the sd is at least that of rounding


# What is missing


def plain(folder, **columns):
    return write_folder(folder, chain("imp", [DENSE, (38, 37, 39), (20, 15, 10)]), **columns)


def test_what_is_missing_is_named(tmp_path):
    missing = texts_of(plain(tmp_path))[LAST]
    for words in (
        "The dense networks were not trained a second time (recipe dense_again)",
        "No other arm separates the effect of sparsity from that of accuracy.",
        "No networks of iterative magnitude pruning are rotated",
        "No units of iterative magnitude pruning were switched off",
        "No labels were permuted",
        "The pictures were not halved",
        "There is no baseline",
    ):
        assert words in missing
    assert "accuracy was not measured" not in missing and "share of the weights" not in missing


def test_what_exists_is_not_called_missing(tmp_path):
    networks = write_experiment(tmp_path, replicates=3)
    texts = texts_of(ablate(rotate(collected(networks, tmp_path), "imp")))
    for words in ("rotated", "switched off", "permuted", "halved", "baseline", "measured", "not tested", "share of"):
        assert words not in texts[LAST]
    assert "dense_again" in texts[LAST] and "No other arm" in texts[LAST]


def test_random_bases_do_not_count_as_a_baseline(tmp_path):
    networks = write_experiment(tmp_path, replicates=3, comparisons=())
    missing = texts_of(rotate(collected(networks, tmp_path), "imp"))[LAST]
    assert "There is no baseline" in missing and "are rotated" not in missing


def test_without_accuracy(tmp_path):
    rows = [(*row[:4], np.nan, row[5]) for row in chain("imp", [DENSE, DENSE])]
    texts = texts_of(write_folder(tmp_path, rows))
    assert not any("ccuracy" in text for title, text in texts.items() if title not in (LAST, "What was asked"))
    assert "Test accuracy was not measured." in texts[LAST]
    assert "Test accuracy" not in texts


def test_without_densities(tmp_path):
    rows = [(*row[:3], np.nan, *row[4:]) for row in chain("imp", [DENSE, (40, 41, 41), (10, 9, 12)])]
    texts = texts_of(write_folder(tmp_path, rows))
    assert "3 replicates, 3 levels of unknown density." in texts["What was asked"]
    assert "for detectors (margin 4.1) down to level 1" in texts["In short"]
    assert "Detectors: fewer than dense at level 2: 30.7 fewer detectors" in texts["What changes in a"]
    assert "The share of the weights is unknown at some levels." in texts[LAST]
    weights = [row["weights"] for row in cells_of(tmp_path, "What changes in a")]
    assert weights == ["level 0", "level 1", "level 2"]


def test_dense_networks_alone(tmp_path):
    sections = sections_of(write_folder(tmp_path, chain("imp", [DENSE])))
    assert [section.title for section in sections] == ["What was asked", "Other networks", LAST]
    assert sections[-1].paragraphs[0].startswith("No arm has both dense networks and pruned levels")
    assert "in 3 networks." in sections[0].paragraphs[0]


def test_a_curve_that_begins_sparse_has_no_dense_networks(tmp_path):
    rows = [(*row[:3], row[3] / 2, *row[4:]) for row in chain("imp", [DENSE, (38, 37, 39)])]
    folder = write_folder(tmp_path, rows, detectors_fdr=9, fewest_fdr=1, chance_detectors=2)
    add_split(folder)
    texts = texts_of(folder)
    assert "In short" not in texts
    assert "No level is compared with dense networks" in texts[LAST]
    for words in (
        "the networks at 50 % of the weights would have a mean of 2 detectors.",
        "In a of the networks at 50 % of the weights, ",
    ):
        assert words in texts["How sure this is"]
    assert "the dense network" not in texts["How sure this is"]
    assert "loss" not in next(s.note for s in sections_of(folder) if s.title == "What changes in a")


def add_split(folder, **cells):
    networks = read_table(folder / "networks.csv")[["arm", "replicate", "level", "layer"]]
    row = {"keep": 0.996, "agreement": 0.5, "units_sd": 1.0} | cells
    split = networks.assign(**dict.fromkeys(SPLIT[7:], 0.5), **row)[SPLIT]
    complete("split", split).to_csv(folder / "split.csv", index=False)


def test_an_arm_may_be_called_na(tmp_path):
    arms = [arm_row("NA", recipe="imp", label="NA"), arm_row("nan", "NA", starts_from="NA", label="the other")]
    rows = chain("NA", [DENSE, (38, 37, 39), (30, 31, 30)]) + chain("nan", [DENSE, (37, 36, 35), (11, 9, 5)])
    texts = texts_of(write_folder(tmp_path, rows, arms, layers=("null",)))
    assert "NA: 3 replicates, with 100 %, 50 % and 25 % of the weights remaining." in texts["What was asked"]
    assert "null (100 units), in 15 networks." in texts["What was asked"]  # the other arm begins with the same three
    assert texts["Accuracy or sparsity, in null"].startswith("Each level of NA is compared with each other arm")


def test_a_layer_without_detectors(tmp_path):
    nothing = (0, 0, 0)
    rows = [(*row, 0) for row in chain("imp", [nothing, nothing, nothing])]
    folder = write_folder(tmp_path, rows, detectors_fdr=0, fewest_fdr=2, chance_detectors=0)
    add_split(folder, keep=np.nan, agreement=np.nan)
    write_sweep(folder, 0, 0, 0)
    write_rotations(folder, {0: 3, 1: 0, 2: 0})
    texts = texts_of(folder)
    assert "at any level for detectors (margin 0)" in texts["In short"]
    assert "Pictures." not in texts["How sure this is"] and "halved" not in texts[LAST]
    assert set(cells_of(folder, COUNTED)[0].values()) == {"detectors", "-"} and COUNTED in texts and not texts[COUNTED]
    assert "Are they the same units and concepts?" not in texts
    assert "Random directions" not in texts["What changes in a"]


OTHER_THRESHOLDS = {"0.02": "9 %", "0.03": "at no level", "0.06": "30 %"}


def write_sweep(folder, *counts, layer="a", replicates=(1, 2, 3)):
    """The sweep of imp: `counts` at each level; at other IoU thresholds the dense count, none, or half the count."""
    rows = []
    for level, count in enumerate(counts):
        by_threshold = {"0.04": count, "0.02": counts[0], "0.03": count if level == 0 else 0, "0.06": count // 2}
        for replicate in replicates:
            for value, found in by_threshold.items():
                row = {"arm": "imp", "replicate": replicate, "level": level, "layer": layer, "choice": "detector_iou"}
                row |= {"value": value, "own": value == "0.04", "units": 100, "detectors_a": found, "concepts_a": found}
                rows.append(row | {"detectors_b": found, "concepts_b": found, "dead_units": 0})
    write_rows(folder, "sweep", rows, SWEEP_COLUMNS)


def write_rotations(folder, counts, layer="a", replicates=(1, 2, 3)):
    """Write two rotations of each network of imp, one detector apart, and their arm; compare the tables again."""
    rows = [
        {"arm": "imp", "replicate": replicate, "level": level, "layer": layer, "units": 100, "dead_units": 0}
        | {"alpha": alpha, "seed": seed, "detectors_a": (count if alpha == 1 else 77) + seed, "concepts_a": 1}
        for level, count in counts.items()
        for replicate in replicates
        for alpha in (0.5, 1.0)
        for seed in (0, 1)
    ]
    write_rows(folder, "rotations", rows)
    arms = pd.read_csv(folder / "arms.csv", keep_default_na=False)
    pd.concat([arms, pd.DataFrame([arm_row("turned", "imp", "baseline", "rotated")])]).to_csv(
        folder / "arms.csv", index=False
    )
    compare_networks(folder, Margins(MARGIN, ACCURACY_MARGIN))


def test_permutations_of_some_networks_only(tmp_path):
    folder = plain(tmp_path)
    networks = read_table(folder / "networks.csv")
    known = np.where(networks["level"] < 2, 12.0, np.nan)
    chance = texts_of(edit(folder, "networks", detectors_fdr=known, fewest_fdr=known + 1))["How sure this is"]
    assert (
        "In a (100 units), the mean number of units that match their concept better than chance (false discovery rate"
        " 5 %) is 12 at 100 % of the weights and 12 at 50 %"
    ) in chance
    assert "at 25 %" not in chance and "With permuted labels" not in chance  # it is unknown
    assert "it can find 13 such units or more in a network, or none. It finds none in 6 networks (iterative" in chance


def test_matches_better_than_chance_in_untrained_networks_are_pointed_out_if_there_are_any(tmp_path):
    rows = chain("imp", [DENSE, (38, 37, 39)]) + chain("untrained", [(0, 0, 1)])
    arms = [*IMP, arm_row("untrained", "imp", "baseline", "untrained")]
    folder = write_folder(tmp_path, rows, arms, detectors_fdr=30, fewest_fdr=1, chance_detectors=0.034)
    chance = texts_of(folder)["How sure this is"]
    assert "; 30 in untrained networks. Such a match alone therefore does not make a unit a detector." in chance
    assert "With permuted labels, the dense networks would have a mean of 0.03 detectors." in chance
    networks = read_table(folder / "networks.csv")
    edit(folder, "networks", detectors_fdr=np.where(networks["arm"] == "imp", 30, 0))
    assert "; 0 in untrained networks. With" in texts_of(folder)["How sure this is"]


def test_shares_close_to_1_have_no_exponent(tmp_path):
    add_split(plain(tmp_path), agreement=[np.nan] * 9)
    sure = texts_of(tmp_path)["How sure this is"]
    assert "In a of the dense networks, 100 % of the detectors on one half of the pictures detect the same" in sure
    assert "by 1 detector (standard deviation)" in sure and "get the same name" not in sure


# Identity, ablation, correlations


def test_names_that_cannot_be_compared_leave_no_gap(tmp_path):
    names = [("imp", r, level, [*["ax"] * (4 - level), "by"][: 4 - level]) for r in (1, 2, 3) for level in range(3)]
    folder = write_folder(tmp_path, chain("imp", [DENSE, (38, 37, 39), (20, 15, 10)]), units=names)
    title = "Are they the same units and concepts?"
    assert "100 % at 50 % of the weights and 100 % at 25 % of the weights are detected" in texts_of(folder)[title]
    for columns in ({"same_name": np.nan, "jaccard": 0.5}, {"same_name": 0.25, "common": 4, "jaccard": np.nan}):
        text = texts_of(edit(folder, "identity", **columns))[title]
        assert ("of the concepts that the dense" in text.lower() and "50 % at 50 %" in text) == (
            columns["jaccard"] == 0.5
        )
        assert ("25 % (of 4 units)" in text and "keep their concept" in text) == (columns["same_name"] == 0.25)
    assert title not in texts_of(edit(folder, "identity", same_name=np.nan, jaccard=np.nan))


def test_concepts_that_all_replicates_detect_are_followed_by_name(tmp_path):
    dense = [["ax", "ay", "bz"], ["ax", "ay", ""], ["ax", "ay", "ay"]]
    pruned = [["ax", "", ""], ["ax", "ay", ""], ["ax", "", "bz"]]
    units = [("imp", r + 1, level, dense[r] if level == 0 else pruned[r]) for r in range(3) for level in (0, 1)]
    units += [("imp", r, 2, ["bz", "", ""]) for r in (1, 2, 3)]
    folder = write_folder(tmp_path, chain("imp", [DENSE, (38, 37, 39), (20, 15, 10)], density=0.1), units=units)
    title = "Which concepts are kept in a"
    assert texts_of(folder)[title] == (
        "2 concepts are detected in each of 3 replicates of the dense networks: x and y. Of these, at 10 % of the"
        " weights: 1 in each replicate (x), 1 in some (y), 0 in none. Of these, at 1 % of the weights: 0 in each"
        " replicate, 0 in some, 2 in none (x and y)."
    )
    assert [list(row.values()) for row in cells_of(folder, title)] == [["100 %", "5"], ["10 %", "5"], ["1 %", "5"]]


def test_a_name_in_two_categories_is_two_concepts(tmp_path):
    units = [("imp", r, level, ["mglass", "oglass" if r == 1 else "mwood"]) for r in (1, 2, 3) for level in (0, 1)]
    folder = write_folder(tmp_path, chain("imp", [DENSE, (38, 37, 39)]), units=units)
    text = texts_of(folder)["Which concepts are kept in a"]
    assert "1 concept is detected in each of 3 replicates of the dense networks: glass (m). Of these, at 50 %" in text


def test_missing_replicates_and_no_concept_that_all_replicates_detect(tmp_path):
    rows = [row for row in chain("imp", [DENSE, DENSE]) if row[1] == 1 or row[2] == 0]
    units = [("imp", r, level, ["ax", f"b{r}"]) for r in (1, 2, 3) for level in (0, 1) if r == 1 or level == 0]
    title = "Which concepts are kept in a"
    folder = write_folder(tmp_path, rows, units=units)
    assert "at 50 % of the weights (1 replicate): 1 in each replicate (x), 0 in some" in texts_of(folder)[title]
    own = [(arm, r, level, names[1:]) for arm, r, level, names in units]
    folder = write_folder(tmp_path, rows, units=own)
    assert texts_of(folder)[title] == "No concept is detected in each of 3 replicates of the dense networks."


def write_ablation(folder, rows, classes=("imp",)):
    write_rows(folder, "ablation", rows, ["arm", "replicate", "level", *COLUMNS])
    named = [
        {"arm": arm, "replicate": 1, "level": 0, "class": "cat", "pictures": 9, "accuracy": 0.5} for arm in classes
    ]
    write_rows(folder, "classes", named, ["arm", "replicate", "level", *CLASS_COLUMNS])
    return folder


def test_ablation_by_hand_and_without_any_pair(tmp_path):
    folder = plain(tmp_path)
    pairs = []
    measured = [(0, "cat", -0.25, 0.01), (0, "dog", -0.5, 0.2), (2, "cat", 0.0004, 0.5), (2, "dog", 0.0004, 0.5)]
    for level, name, own, p in measured:
        row = {
            "arm": "imp",
            "replicate": 1,
            "level": level,
            "layer": "a",
            "class": name,
            "concept": name,
            "units": 2,
        }
        row |= {"pictures": 9, "accuracy": 0.5, "own": own, "others": np.nan, "all": own, "random_own_mean": -0.01}
        pairs.append(row | {"random_own_sd": 0, "random_all_mean": 0, "p": p, "sets": 99, "by": "logits"})
    write_ablation(folder, pairs)
    title = "What the units do in a"
    dense, pruned = cells_of(folder, title)
    assert list(dense.values()) == ["100 %", "2", "2", "-37.5", "-", "-1.0", "50 %"]
    assert list(pruned.values()) == ["25 %", "2", "2", "0.0", "-", "-1.0", "0 %"]
    text = texts_of(folder)[title]
    assert "points, by -37.5 at 100 % of the weights (as many random units: -1) and 0 at 25 %" in text
    assert "In the 2 pairs of a class and a replicate with such units both in the dense networks and" in text
    assert "at 25 % of the weights minus that in the dense networks is +37.5 points." in text
    assert "switched off" not in texts_of(folder)[LAST]
    assert texts_of(write_ablation(folder, []))["What the units do"].startswith("No class is a concept")
    texts = texts_of(write_ablation(folder, [], classes=["another"]))  # the accuracy of imp was not measured
    assert "What the units do" not in texts and "were switched off" in texts[LAST]


@pytest.mark.parametrize(
    ("with_accuracy", "with_density", "words"),
    [
        ((0.9, 0.8, 0.85), (0.1, 0.2, 0.1), "detectors follow accuracy more than density. "),
        ((0.1, 0.2, 0.1), (0.9, 0.8, 0.85), "detectors follow density more than accuracy. "),
        (
            (0.1, 0.5, 0.9),
            (0.9, 0.5, 0.1),
            "it is not shown that detectors follow one of the two more than the other. ",
        ),
        (
            (-0.1, -0.1, -0.2),
            (-0.9, -0.8, -0.9),
            "it is not shown that detectors follow one of the two more than the other. ",
        ),  # both are negative
        ((1.0, 1.0, 1.0), (0.1, 0.2, 0.3), None),  # correlations of 1 have no known spread
        ((0.9, np.nan, 0.9), (0.2, 0.2, 0.1), None),
    ],
)
def test_correlations_in_words(tmp_path, with_accuracy, with_density, words):
    rows = chain("imp", [DENSE, (38, 37, 39)]) + chain("random", [DENSE, (36, 37, 35)])
    folder = write_folder(tmp_path, rows, [*IMP, arm_row("random", "imp", starts_from="imp")])
    row = {"base": "imp", "layer": "a", "measure": "units", "networks": 4}
    pairs = enumerate(zip(with_accuracy, with_density, strict=True))
    rows = [row | {"replicate": r, "with_accuracy": one, "with_density": other} for r, (one, other) in pairs]
    write_rows(folder, "correlations", rows)
    text = texts_of(folder)["Accuracy or sparsity, in a"]
    assert (words in text) if words else ("Over all networks" not in text)
    if words:
        accuracy, density = np.mean(with_accuracy), np.mean(with_density)
        assert f"is {accuracy:.2f} with accuracy (density held fixed) and {density:.2f} with density" in text


# Numbers


def test_the_numbers_on_a_page_are_those_of_the_tables(tmp_path):
    rows = chain("imp", [DENSE, (30, 32, 37), (20, 15, 10)], density=0.3)
    folder = write_folder(tmp_path, rows)
    write_rotations(folder, {0: 8, 1: 40, 2: 4})
    write_sweep(folder, 40, 38, 10)
    _, middle, sparse = cells_of(folder, "What changes in a")
    assert cells_of(folder, "Test accuracy")[0] == {"weights": "100 %", "test accuracy (%)": "90.0 ± 0.0"}
    assert middle["detectors"].startswith(f"33.0 ± {np.std((30, 32, 37), ddof=1):.1f} (")
    assert middle["units above rotation"].startswith(f"{33 - 40.5:.1f} ±")  # seeds 0 and 1, full rotations only
    assert sparse["weights"] == "9 %" and sparse["unique concepts"] == "5.0 ± 0.0 (-0.7 to +0.7)\u00a0°"
    texts = texts_of(folder)
    assert (
        "in a random basis of the units' space, against that of the units, is 8.5 against 41 at 100 % of the weights"
        " and 4.5 against 15 at 9 % of the weights. Only"
    ) in texts["What changes in a"]  # the middle level is the last, which is nearest to a tenth
    assert texts[COUNTED] == (
        "In a, the mean number of detectors over replicates stays above 90 % of dense down to 30 % of the weights, as"
        " the experiment counts. With 4 other ways to count detectors, the level reached is denser for 1, the same for"
        " 2 and sparser for 1 (from no level to 9 %)."
    )
    rows = [list(row.values()) for row in cells_of(folder, COUNTED)]
    counts = ["detectors", "concepts"]
    counts += [f"{name}, counted in each category" for name in counts]
    assert rows[:4] == [[name, "30 %"] for name in counts]
    assert rows[4:] == [[f"detectors, IoU threshold {threshold}", end] for threshold, end in OTHER_THRESHOLDS.items()]


def test_random_bases_may_have_more_detectors_than_there_are_units(tmp_path):
    folder = plain(tmp_path)
    write_rotations(folder, {0: 44.6}, replicates=(1, 2))
    # Means of replicates 1 and 2, the only ones that are rotated.
    text = texts_of(folder)["What changes in a"]
    assert "45.1 against 40.5 at 100 % of the weights." in text
    assert "In the dense networks this difference is not above 0, so there is none to lose." in text


def test_without_a_margin_nothing_is_claimed(tmp_path):
    """If dense networks have fewer detectors than random bases, units above rotation have no margin and no test."""
    folder = plain(tmp_path)
    write_rotations(folder, {0: 50, 1: 20, 2: 1})
    [short] = [section for section in sections_of(folder) if section.title == "In short"]
    assert not any("units above rotation" in text for text in [*short.paragraphs, *(row[0] for row in short.table)])
    for row in cells_of(folder, "What changes in a"):
        assert "°" not in row["units above rotation"]


def test_half_a_rotation_does_not_count_as_a_random_basis(tmp_path):
    folder = plain(tmp_path)
    write_rotations(folder, {0: 8, 1: 8, 2: 8})
    edit(folder, "rotations", alpha=lambda rotations: rotations["alpha"] / 2)
    compare_networks(folder, Margins(MARGIN, ACCURACY_MARGIN))
    assert "units above rotation" not in cells_of(folder, "What changes in a")[0]
    assert "Random directions" not in texts_of(folder)["What changes in a"]


def test_matched_arms_by_hand(tmp_path):
    """Both arms have the same densities and accuracies here, so both matched differences are those of the counts."""
    arms = [*IMP, arm_row("random", "imp", starts_from="imp", label="one-shot | random")]
    rows = chain("imp", [DENSE, (38, 39, 40), (30, 31, 32)]) + chain("random", [DENSE, (34, 35, 37), (10, 11, 11)])
    folder = write_folder(tmp_path, rows, arms)
    [row] = cells_of(folder, "Accuracy or sparsity, in a")
    assert row["compared with"] == "one-shot | random"
    wanted = np.subtract((30, 31, 32), (10, 11, 11)).mean()  # the same densities, and the same accuracies
    for cell in (row["at equal accuracy"], row["at equal density"]):
        assert cell.startswith(f"{wanted:.1f} more detectors (") and cell.endswith(") at 25 % of the weights")
    text = texts_of(folder)["Accuracy or sparsity, in a"]
    assert "There is no correction for their number." in text
    follows = (
        read_table(folder / "matched.csv").query("measure == 'units'").drop_duplicates(["arm", "level"])["follows"]
    )
    assert "Of 2 comparisons: " in text and len(follows) == 2
    assert sum(map(int, re.findall(r"in (\d+), (?:detectors|neither|it is|the arm)", text))) == 2
    assert "| one-shot \\| random |" in as_markdown("A page", sections_of(folder))


def test_several_curves_have_sections_of_their_own(tmp_path):
    arms = [arm_row("imp", recipe="imp", label="with rewinding"), arm_row("other", recipe="imp", label="without")]
    rows = chain("imp", [DENSE, DENSE]) + chain("other", [DENSE, (5, 9, 30)], density=0.2)
    folder = write_folder(tmp_path, rows, arms)
    networks = read_table(folder / "networks.csv")
    networks["layer"] = np.where(networks["arm"] == "other", "b", "a")
    write_rows(folder, "networks", networks)
    compare_networks(folder, Margins(MARGIN, ACCURACY_MARGIN))
    sections = sections_of(folder)  # this requires that titles differ
    titles = [section.title for section in sections]
    assert "In short: with rewinding" in titles and "What changes in b: without" in titles
    assert "What changes in b: with rewinding" not in titles and "What changes in a: without" not in titles
    assert [text.partition(":")[0] for text in sections[-1].paragraphs[:2]] == ["With rewinding", "Without"]


def test_curves_that_start_from_a_base_with_one_level_have_findings(tmp_path):
    """For example, two one-shot prunings of a network of the user's; the base's networks are their level 0."""
    arms = [arm_row("mine", label="mine"), arm_row("mine_untrained", "mine", "baseline", "untrained")]
    arms += [arm_row(arm, "mine", starts_from="mine", label=arm) for arm in ("global", "random")]
    rows = chain("mine", [DENSE]) + chain("mine_untrained", [(1, 2, 3)]) + chain("global", [DENSE, DENSE])
    folder = write_folder(tmp_path, rows + chain("random", [DENSE, (5, 6, 7)]), arms)
    texts = texts_of(folder)
    assert "down to 50 % of the weights" in texts["In short: global"] and "In short: mine" not in texts
    assert "at any level for detectors" in texts["In short: random"]
    assert "Detectors: fewer than dense at 50 %" in texts["What changes in a: random"]
    assert "in 12 networks." in texts["What was asked"]
    assert "Random: " in texts[LAST]
    assert [row["networks"] for row in cells_of(folder, "Other networks")] == ["mine", "mine untrained"]


def test_a_curve_may_have_a_dense_network_of_its_own(tmp_path):
    """For example, a network of the user's that is compared with another."""
    arms = [arm_row("mine", label="mine"), arm_row("other", "mine", label="other")]
    folder = write_folder(tmp_path, chain("mine", [DENSE, DENSE]) + chain("other", [(30, 31, 32)]), arms)
    assert "in 9 networks." in texts_of(folder)["What was asked"]
    [other] = cells_of(folder, "Other networks")
    assert (other["networks"], other["replicates"], other["a: detectors"]) == ("other", "3", "31.0 ± 1.0")
    [row] = read_table(folder / "equivalence.csv").query("arm == 'other' and measure == 'units'").to_dict("records")
    assert row["level"] == 0 and row["difference"] == -10


def test_both_sizes_of_a_layer_are_named(tmp_path):
    rows = chain("imp", [DENSE, DENSE])
    folder = write_folder(tmp_path, rows)
    networks = read_table(folder / "networks.csv")
    edit(folder, "networks", units=np.where(networks["level"] == 0, 100, 64))
    assert "Dissected layers: a (64 or 100 units), in 6 networks." in texts_of(folder)["What was asked"]


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        *((1.1, 3, "110 %"), (1.1, 2, "110 %"), (9.834, 2, "983 %"), (0.996, 2, "100 %"), (0.9996, 3, "100 %")),
        *((0.125, 3, "12.5 %"), (1e-7, 3, "0.00001 %"), (0.0, 3, "0 %"), (-0.0, 3, "0 %"), (1.0, 2, "100 %")),
        *((1 / 3, 3, "33.3 %"), (np.nan, 3, "-"), (0.2 + 0.1, 2, "30 %")),
    ],
)
def test_shares_in_per_cent(share, digits, text):
    assert percent(share, digits) == text


@given(st.floats(-1e6, 1e6), st.integers(0, 3))
def test_numbers_have_no_exponent_and_are_rounded_correctly(value, digits):
    text = number(value, digits)
    assert re.fullmatch(r"-?\d+(\.\d*[1-9])?", text) and text != "-0"
    assert float(text) == pytest.approx(value, abs=0.500001 * 10**-digits)
    assert not text.startswith("-") or value < 0


@given(st.floats(0, 20), st.integers(2, 3))
def test_shares_have_no_exponent(value, digits):
    text = percent(value, digits)
    assert re.fullmatch(r"\d+(\.\d+)? %", text)
    assert float(text[:-2]) == pytest.approx(100 * value, rel=0.06, abs=1e-300)


def test_markdown():
    sections = [
        Section("Some", ["One.", "Two."], [["a", "b"], ["1", "x | y"]], "The note."),
        Section("Other", [], [["a"], ["1"]]),
    ]
    assert as_markdown("Title", sections) == "\n".join(
        [
            *("# Title", "", "## Some", "", "One.", "", "Two.", ""),
            *("| a | b |", "|--:|--:|", r"| 1 | x \| y |", "", "*The note.*", ""),
            *("## Other", "", "| a |", "|--:|", "| 1 |", ""),
        ]
    )


def test_markdown_takes_no_name_for_markup():
    name = "*a* _b_ c_d `e` [f](g) <h> &i; | \\\n# j"
    escaped = r"\*a\* \_b\_ c_d \`e\` \[f\](g) \<h> \&i; \| \\ # j"
    page = as_markdown("T", [Section(name, [name], [[name], [name]], name)])
    table = f"| {escaped} |\n|--:|\n| {escaped} |"
    assert page.split("\n\n") == ["# T", f"## {escaped}", escaped, table, f"*{escaped}*\n"]


# Any tables


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    replicates=st.integers(1, 4),
    levels=st.integers(1, 4),
    missing=st.sets(
        st.sampled_from(["accuracy", "density", "permutations", "split", "rotations", "ablation", "sweep"])
    ),
)
def test_sentences_are_whole_whatever_the_tables_hold(seed, replicates, levels, missing):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        random_tables(folder, np.random.default_rng(seed), replicates, levels, missing)
        texts = texts_of(folder)
        require_claims(texts, read_table(folder / "equivalence.csv"))
        if levels == 1:
            return
        assert ("Test accuracy was not measured." in texts[LAST]) == ("accuracy" in missing)
        assert ("No labels were permuted" in texts[LAST]) == ("permutations" in missing)
        assert ("The pictures were not halved" in texts[LAST]) == ("split" in missing)
        assert ("are rotated" in texts[LAST]) == ("rotations" in missing)
        assert ("were switched off" in texts[LAST]) == ("ablation" in missing)


def random_tables(folder, random, replicates, levels, missing):
    """Tables of random numbers, chosen so that zeros and ties are frequent."""
    most = random.choice([0, 1, 3, 100])
    keep = random.choice([0.9999, 0.5, 0.01])
    arms = [*IMP, arm_row("once", "imp", starts_from="imp"), *ARMS[2:]]
    rows, units = [], []
    for arm in arms:
        for level in range(levels if arm["role"] == "curve" else 1):
            for replicate in range(replicates):
                accuracy = np.nan if "accuracy" in missing else random.integers(0, 101) / 100
                density = np.nan if "density" in missing and random.random() < 0.5 else keep**level
                count = random.integers(0, most + 1)
                rows.append((arm["arm"], replicate, level, density, accuracy, count, random.integers(0, count + 1)))
                units.append((arm["arm"], replicate, level, list(random.choice(["", "ax", "by"], 3))))
    shape = len(rows)
    columns = {
        "detectors_fdr": random.integers(0, most + 1, shape) * random.choice([1.0, np.nan], shape, p=[0.8, 0.2]),
        "fewest_fdr": float(random.integers(1, 5)),
        "chance_detectors": random.random(shape) * most,
    }
    columns["detectors_fdr"][0] = 1.0
    write_folder(folder, rows, arms, units=units, **({} if "permutations" in missing else columns))
    if "split" not in missing:
        add_split(
            folder, keep=random.choice([0, 0.5, 0.999, np.nan], shape), agreement=random.choice([1, np.nan], shape)
        )
    if "rotations" not in missing:
        counts = {level: random.integers(0, most + 2) for level in range(levels)}
        write_rotations(folder, counts, replicates=range(replicates))
    if "sweep" not in missing:
        write_sweep(folder, *random.integers(0, most + 1, levels), replicates=range(replicates))
    if "ablation" not in missing:
        row = {
            "arm": "imp",
            "replicate": 0,
            "layer": "a",
            "class": "cat",
            "concept": "cat",
            "pictures": 9,
            "by": "passes",
        }
        row |= {"accuracy": 0.5, "random_own_sd": 0.1, "random_all_mean": 0, "sets": 19, "units": 1}
        pairs = [
            row | {"level": level, "own": random.uniform(-1e-3, 1), "others": random.choice([np.nan, -1e-5, -1])}
            for level in random.choice(levels, random.integers(0, levels + 1), replace=False)
        ]
        write_ablation(folder, [pair | {"all": 0, "random_own_mean": -1e-6, "p": 0.05} for pair in pairs])


NAMES = {"units": "detectors", "concepts": "unique concepts", "accuracy": "test accuracy"}


def require_claims(texts, equivalence):
    """Check that each claim about imp ends where its levels stop passing, and that few replicates claim nothing."""
    text = texts.get("In short", "")
    for measure, name in NAMES.items():
        rows = equivalence[equivalence["measure"] == measure].query("arm == 'imp' and against == 'dense'")
        known = rows["density"].notna().all()
        rows = rows.sort_values("density", ascending=False, kind="stable") if known else rows.sort_values("level")
        run = 0
        while run < len(rows) and rows["p_noninferiority"].iloc[run] <= 0.05:
            run += 1
        claims = [
            clause
            for sentence in re.split(r"\.(?: |$)", text)
            if "loss as large as the margin is ruled out for" in sentence
            for clause in sentence.split("; ")
            if name in clause
        ]
        claim = re.search(r" down to (.*)$", "".join(claims))
        if not run:
            assert claim is None
            continue
        end = rows.iloc[run - 1]
        wanted = f"level {end['level']}" if math.isnan(end["density"]) else f"{percent(end['density'])} of the weights"
        assert claim and claim[1] == wanted
    if (equivalence.query("arm == 'imp'")["n"] < 3).all():
        assert "down to" not in text


def test_a_whole_small_experiment(tmp_path):
    networks = write_experiment(tmp_path, replicates=2)
    folder = ablate(rotate(collected(networks, tmp_path), "imp"))
    units = read_table(folder / "networks.csv").query("arm == 'imp' and level == 0")["detectors_a"]
    [table] = [section.table for section in sections_of(folder) if section.title == f"What changes in {LAYER}"]
    assert f"{units.mean():.1f} ± {units.std():.1f}" in table[1]
