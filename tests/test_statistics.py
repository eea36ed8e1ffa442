"""Statistics of a few replicates: checks by hand, slow references, and error rates by simulation."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from workflow_scripts.dissect.name_agreement import cohens_kappa, jaccard, rarefied, ruzicka
from workflow_scripts.tables.statistics import (
    ALPHA,
    DIFFERENT,
    EQUIVALENT,
    NO_OVERLAP,
    ROUNDING,
    UNCLEAR,
    equivalence_p,
    equivalence_power,
    fisher_difference,
    fixed_sequence,
    half_width,
    interpolate,
    mean_and_sd,
    noninferiority_p,
    partial_rank_correlation,
    verdict,
    what_it_follows,
)

DRAWS = 20_000
NUMBERS = st.floats(-50, 50).map(lambda number: round(number, 3))


def p_of(differences, margin):
    """The p of equivalence for differences (..., n)."""
    return equivalence_p(*mean_and_sd(differences), np.shape(differences)[-1], margin)


# Differences of pairs


def test_three_differences_by_hand():
    mean, sd = mean_and_sd([-2, 0, -3])  # levels 83, 84, 84 minus dense 85, 84, 87
    assert (mean, sd) == pytest.approx((-1.66667, 1.52753), abs=1e-5)
    assert noninferiority_p(mean, sd, 3, 4.2667) == pytest.approx(0.0492, abs=5e-5)
    assert noninferiority_p(-mean, sd, 3, 4.2667) == pytest.approx(0.0107, abs=5e-5)  # no gain
    assert equivalence_p(mean, sd, 3, 4.2667) == pytest.approx(0.0492, abs=5e-5)
    half = half_width(sd, 3)
    assert (mean - half, mean + half) == pytest.approx((-4.242, 0.909), abs=5e-4)


@given(st.lists(NUMBERS, min_size=3, max_size=9), st.floats(0.1, 60))
def test_p_and_intervals_are_those_of_one_sided_t_tests(differences, margin):
    mean, sd = map(float, mean_and_sd(differences, 0))
    if sd < 1e-3:
        return
    n = len(differences)
    below = stats.ttest_1samp(differences, -margin, alternative="greater")
    above = stats.ttest_1samp(differences, margin, alternative="less")
    assert noninferiority_p(mean, sd, n, margin) == pytest.approx(below.pvalue, abs=1e-9)
    assert equivalence_p(mean, sd, n, margin) == pytest.approx(max(below.pvalue, above.pvalue), abs=1e-9)
    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    half = half_width(sd, n)
    assert [mean - half, mean + half] == pytest.approx([interval.low, interval.high], abs=1e-6)
    inside = -margin < interval.low and interval.high < margin
    on_the_edge = min(abs(margin + interval.low), abs(margin - interval.high)) < 1e-6
    assert on_the_edge or inside == (equivalence_p(mean, sd, n, margin) <= ALPHA)


def test_counts_that_tie_have_the_spread_of_rounding():
    mean, sd = mean_and_sd([-2, -2, -2])
    assert (mean, sd) == (-2, math.sqrt(1 / 6))
    assert 0 < equivalence_p(mean, sd, 3, 4.27) < ALPHA < equivalence_p(mean, sd, 3, 2.5)
    assert mean_and_sd([0, 0, 0, 0, 0, 0, 0, 0, 0, 1])[1] == ROUNDING  # those that nearly tie do not have less
    assert mean_and_sd([0.02, 0.02], ROUNDING / 500)[1] == pytest.approx(0.000816, abs=1e-6)
    simulated = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 100_000))
    assert (simulated[0] - simulated[1]).std() == pytest.approx(ROUNDING, rel=0.01)


def test_fewer_than_three_replicates_are_not_tested():
    for differences in ([1.0], [1.0, 1.5]):
        n = len(differences)
        mean, sd = mean_and_sd(differences)
        assert math.isnan(equivalence_p(mean, sd, n, 100)) and math.isnan(noninferiority_p(mean, sd, n, 100))
        assert math.isnan(equivalence_power(1.0, n, 100)) and math.isnan(half_width(sd, 1))
    assert half_width(1.0, 2) == pytest.approx(4.4645, abs=1e-4)  # but the interval of two is known


@pytest.mark.parametrize(
    ("ratio", "powers"),  # for 3, 4, 5, 6, 8, 10 and 15 replicates, from 100,000 draws each
    [
        (0.75, [0.06, 0.08, 0.11, 0.16, 0.28, 0.43, 0.73]),
        (1, [0.13, 0.20, 0.30, 0.41, 0.64, 0.79, 0.96]),
        (1.5, [0.33, 0.55, 0.73, 0.86, 0.97, 0.99, 1]),
        (2, [0.56, 0.83, 0.95, 0.99, 1, 1, 1]),
        (3, [0.88, 0.99, 1, 1, 1, 1, 1]),
        (5, [1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_power(ratio, powers):
    found = [equivalence_power(2.0, n, 2.0 * ratio) for n in (3, 4, 5, 6, 8, 10, 15)]
    assert found == pytest.approx(powers, abs=0.011)


def test_power_is_the_share_of_experiments_that_show_equivalence():
    random = np.random.default_rng(1)
    for n, margin in ((3, 2.0), (5, 1.2), (8, 0.9)):
        share = np.mean(p_of(random.normal(0, 100, (200_000, n)), 100 * margin) <= ALPHA)
        assert equivalence_power(100.0, n, 100 * margin) == pytest.approx(share, abs=0.004)
    assert equivalence_power(1e-9, 5, 1.0) == pytest.approx(1) and equivalence_power(1.0, 5, 0.0) == 0


@pytest.mark.parametrize("n", [2, 3, 10])
def test_without_a_margin_everything_is_unknown(n):
    for margin, mean, sd in ((math.nan, 0.5, 1.0), (1.0, math.nan, math.nan)):
        for found in (noninferiority_p, equivalence_p):
            assert math.isnan(found(np.float64(mean), sd, n, margin))
        assert math.isnan(equivalence_power(sd, n, margin))
        assert verdict(mean, sd, n, margin) == UNCLEAR


@pytest.mark.parametrize("n", [3, 5, 8])
def test_equivalence_is_shown_at_the_margin_no_more_often_than_alpha(n):
    random = np.random.default_rng(n)
    for sd in (0.3, 1, 2.5):
        p = p_of(random.normal(4, sd, (DRAWS, n)), 4)
        assert np.mean(p <= ALPHA) <= 0.055
    rounded = np.rint(random.normal(84, 0.2, (DRAWS, n))) - np.rint(random.normal(80, 0.2, (DRAWS, n)))
    assert np.mean(p_of(rounded, 4) <= ALPHA) <= 0.055  # most counts tie


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_intervals_cover_the_truth_as_often_as_they_say(n):
    mean, sd = mean_and_sd(np.random.default_rng(n).normal(7, 20, (DRAWS, n)))
    for level in (0.95, 0.9):
        covered = np.abs(mean - 7) <= half_width(sd, n, level)
        assert level - 0.01 <= covered.mean() <= level + 0.01


def test_a_sequence_ends_with_the_first_that_fails():
    assert fixed_sequence([True, True, False, True]).tolist() == [True, True, False, False]
    assert fixed_sequence([]).tolist() == []


@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_sequence_goes_too_far_no_more_often_than_alpha(n):
    """All levels share the dense networks; from the fourth level on, the true change is the margin itself."""
    random = np.random.default_rng(n)
    truth = np.array([0, 0, 0, 4.25, 4.25, 4.25, 4.25])
    levels = truth[:, None] + random.normal(0, 1.5, (DRAWS, 7, n)) - random.normal(0, 1.5, (DRAWS, 1, n))
    shown = p_of(levels, 4.25) <= ALPHA
    assert np.mean(fixed_sequence(shown)[:, 3:].any(axis=-1)) <= 0.055
    if n > 3:
        assert np.mean(shown[:, 3:].any(axis=-1)) > 0.1  # without a sequence it happens more often


# Matching


def test_interpolation_by_hand():
    accuracy, units = [0.9, 0.5, 0.7, 0.7, np.nan], [80, 20, 30, 50, 1000]
    for at, value in ((0.5, 20), (0.6, 30), (0.7, 40), (0.75, 50), (0.9, 80)):
        assert interpolate(accuracy, units, at) == pytest.approx(value)
    for at in (0.499, 0.901, np.nan):  # never outside the range
        assert math.isnan(interpolate(accuracy, units, at))
    assert interpolate([1.0], [7], 1.0) == 7 and math.isnan(interpolate([1.0], [7], 0.99))
    assert math.isnan(interpolate([], [], 1.0)) and math.isnan(interpolate([np.nan], [1], 1.0))


@given(
    st.lists(st.tuples(st.integers(0, 5), NUMBERS), min_size=1, max_size=8), st.randoms(use_true_random=False), NUMBERS
)
def test_interpolation_does_not_depend_on_order_and_stays_between_neighbours(points, random, at):
    shuffled = random.sample(points, len(points))
    found = interpolate(*zip(*points, strict=True), at / 10)
    assert interpolate(*zip(*shuffled, strict=True), at / 10) == pytest.approx(found, nan_ok=True)
    places, values = map(np.array, zip(*points, strict=True))
    assert math.isnan(found) == (not places.min() <= at / 10 <= places.max())
    if not math.isnan(found):
        means = {place: values[places == place].mean() for place in places}
        below = max(place for place in means if place <= at / 10)
        above = min(place for place in means if place >= at / 10)
        low, high = sorted((means[below], means[above]))
        assert low - 1e-9 <= found <= high + 1e-9


def test_verdicts_depend_on_whole_intervals():
    width = float(half_width(1.0, 5))
    for mean, expected in [
        (0, EQUIVALENT),
        (2.9 - width, EQUIVALENT),
        (3.1 - width, UNCLEAR),
        (-2.9 - width, UNCLEAR),
        (-3.1 - width, DIFFERENT),
        (3.1 + width, DIFFERENT),
    ]:
        assert verdict(mean, 1.0, 5, 3.0) == expected
    assert verdict(0, 0.1, 2, 3.0) == UNCLEAR and verdict(math.nan, math.nan, 0, 3.0) == NO_OVERLAP
    assert verdict(1.0, 1.0, 5, math.nan) == UNCLEAR  # the dense networks' counts are unknown


def test_what_a_count_follows():
    assert what_it_follows(EQUIVALENT, DIFFERENT) == "accuracy"
    assert what_it_follows(DIFFERENT, EQUIVALENT) == "sparsity"
    assert what_it_follows(EQUIVALENT, EQUIVALENT) == "cannot tell"
    assert what_it_follows(DIFFERENT, DIFFERENT) == "neither"
    for other in (EQUIVALENT, DIFFERENT, UNCLEAR):
        assert what_it_follows(UNCLEAR, other) == what_it_follows(other, UNCLEAR) == "undecided"
        assert what_it_follows(NO_OVERLAP, other) == what_it_follows(other, NO_OVERLAP) == NO_OVERLAP


# Correlations


def residuals(values, given):
    """The ranks of values minus their linear regression on the ranks of `given`."""
    values, given = stats.rankdata(values), stats.rankdata(given)
    return values - np.polyval(np.polyfit(given, values, 1), given)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 9)] * 3), min_size=4, max_size=20))
def test_partial_correlations_are_those_of_residuals(rows):
    one, other, given = map(np.array, zip(*rows, strict=True))
    found = partial_rank_correlation(one, other, given)
    left = [residuals(values, given) if np.ptp(given) else np.zeros(len(given)) for values in (one, other)]
    if min(np.ptp(values) for values in left) < 1e-6 or np.ptp(one) == 0 or np.ptp(other) == 0:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-6)
        assert partial_rank_correlation(other, one, given) == pytest.approx(found)


def test_undefined_partial_correlations_are_nan():
    assert math.isnan(partial_rank_correlation([1, 2, 3], [1, 3, 2], [2, 1, 3]))  # too few
    assert math.isnan(partial_rank_correlation([1, 2, 3, 4], [1, 1, 1, 1], [2, 1, 3, 4]))
    # Along one chain accuracy and density fall together.
    assert math.isnan(partial_rank_correlation([9, 8, 6, 7], [4, 3, 2, 1], [8, 4, 2, 1]))


@pytest.mark.parametrize("follows", ["accuracy", "density"])
def test_correlations_recognise_what_counts_follow_if_an_arm_is_less_accurate_at_one_density(follows):
    random = np.random.default_rng(5)
    density = np.tile(0.5 ** np.arange(8), 2)
    accuracy = 0.97 + 0.01 * np.log(density) * np.repeat([1, 3], 8) + random.normal(0, 0.004, (5, 16))
    units = 100 * (1 + np.log(density) / 8 if follows == "density" else 1 + 4 * (accuracy - 0.97))
    units = units + random.normal(0, 3, (5, 16))
    with_accuracy = [partial_rank_correlation(*values, density) for values in zip(units, accuracy, strict=True)]
    with_density = [partial_rank_correlation(one, density, other) for one, other in zip(units, accuracy, strict=True)]
    mean, sd = mean_and_sd(fisher_difference(with_accuracy, with_density), 0)
    assert abs(mean) > half_width(sd, 5) and (mean > 0) == (follows == "accuracy")


def test_fisher_differences_by_hand():
    found = fisher_difference([0.5, 1.0, -0.2], [0.5, 0.3, 0.4])
    assert found[0] == 0 and math.isnan(found[1])
    assert found[2] == pytest.approx(-0.20273 - 0.42365, abs=1e-5)


# Agreement of names


def test_kappa_by_hand():
    one, other = [0, 0, 0, 1, 1, 1, 2, 2, 3], [0, 0, 1, 1, 1, 0, 2, 2, 3]
    assert cohens_kappa(one, other) == pytest.approx(0.6897, abs=5e-5)  # (.7778 - .2840) / (1 - .2840)
    assert cohens_kappa(one, one) == 1 and cohens_kappa([0, 1], [1, 0]) == -1
    assert math.isnan(cohens_kappa([2, 2], [2, 2])) and math.isnan(cohens_kappa([], []))
    assert cohens_kappa([0, 0], [1, 1]) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_kappa_agrees_with_the_contingency_table(pairs):
    table = np.zeros((4, 4))
    for pair in pairs:
        table[pair] += 1 / len(pairs)
    chance = sum(table[name].sum() * table[:, name].sum() for name in range(4))
    wanted = (np.trace(table) - chance) / (1 - chance) if chance < 1 - 1e-12 else math.nan
    assert cohens_kappa(*zip(*pairs, strict=True)) == pytest.approx(wanted, nan_ok=True)


def test_random_names_have_a_kappa_near_0():
    random = np.random.default_rng(2)
    assert abs(cohens_kappa(random.integers(5, size=DRAWS), random.integers(5, size=DRAWS))) < 0.02


def test_overlaps_by_hand():
    one, other = {"cat": 2, "dog": 1}, {"cat": 1, "dog": 1, "car": 1}
    assert ruzicka(one, other) == 0.5 and jaccard(one, other) == pytest.approx(2 / 3)
    assert jaccard(one, {}) == ruzicka(one, {}) == 0
    assert math.isnan(jaccard([], [])) and math.isnan(ruzicka({}, {}))


@given(*[st.dictionaries(st.integers(0, 6), st.integers(1, 5))] * 2)
def test_overlaps_are_shares_and_symmetric(one, other):
    assert ruzicka(one, other) == pytest.approx(ruzicka(other, one), nan_ok=True)
    assert jaccard(one, one) == pytest.approx(1 if one else math.nan, nan_ok=True)
    things = [Counter(counts).elements() for counts in (one, other)]
    numbered = [{(name, list_[:place].count(name)) for place, name in enumerate(list_)} for list_ in map(list, things)]
    assert ruzicka(one, other) == pytest.approx(jaccard(*numbered), nan_ok=True)


def test_rarefaction_by_hand():
    assert rarefied([3, 2, 1], 3) == pytest.approx(2.25)
    assert rarefied([3, 2, 1], 6) == 3 and rarefied([3, 2, 1], 1) == pytest.approx(1) and rarefied([5], 0) == 0
    many = [40, 7, *[1] * 2001]
    assert rarefied(many, 1000) == pytest.approx(2001 * 1000 / 2048 + 2, rel=1e-2)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.data())
def test_rarefaction_agrees_with_the_hypergeometric_distribution(counts, data):
    drawn = data.draw(st.integers(0, sum(counts)))
    wanted = sum(1 - stats.hypergeom.pmf(0, sum(counts), count, drawn) for count in counts)
    assert rarefied(counts, drawn) == pytest.approx(wanted, abs=1e-9)
