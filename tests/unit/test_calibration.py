"""Calibration: fits, bounds and fair marks are what they claim; runs are kept; only what was asked for is written."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader import rubric
from grader.calibration import bounds, fits, kept, report, trials, written
from grader.errors import LabError, UsageError
from grader.grading import ungraded
from grader.labs import load_lab
from grader.labs.starter import reference_path
from grader.records import Ending, Level, Measured, Threshold, Tier
from grader.settings import Settings
from grader.submissions import Cell, Submission
from grader.worker import GradingWorker

LABS = Path(__file__).resolve().parents[2] / "labs"
RISING, FALLING = Threshold(floor=0.7, full=0.9), Threshold(floor=1.0, full=0.9)


def shares(counts, rows):
    """Measured accuracies: so many right of ``rows``, as `assert_accuracy` records them."""
    return [
        Measured(
            threshold="accuracy",
            kind="share",
            value=int(k) / rows,
            best=rubric.wilson(int(k), rows)[1],
            rows=rows,
        )
        for k in counts
    ]


def numbers(values, kind="number", doubt=0.0):
    return [Measured(threshold="t", kind=kind, value=float(v), best=float(v) - doubt) for v in values]


# ---------------------------------------------------------------- fits


def test_no_loss_in_n_runs_means_at_most_three_in_n():
    """The rule of three, and Clopper and Pearson's end where something was lost."""
    assert fits.share_of(0, 1000) == pytest.approx(3 / 1000, rel=0.01)
    assert fits.share_of(2, 50) == pytest.approx(0.1206, abs=1e-3)
    assert fits.share_of(0, 0) == fits.share_of(5, 5) == 1.0


@given(st.integers(0, 40), st.integers(1, 60))
def test_an_upper_end_lies_above_what_was_seen_and_falls_with_more_runs(count, runs):
    """More runs with the same losses never make the upper end larger."""
    upper = fits.share_of(min(count, runs), runs)
    assert min(count, runs) / runs <= upper <= 1.0
    assert fits.share_of(min(count, runs), runs + 10) <= upper + 1e-9


def test_normal_data_is_rarely_rejected_and_skewed_data_nearly_always():
    """The Anderson-Darling probability is uniform on normal samples and tiny on exponential ones."""
    generator = np.random.default_rng(1)
    normal = [fits.anderson_darling(generator.normal(3, 2, 60)) for _ in range(400)]
    skewed = [fits.anderson_darling(generator.exponential(1, 60)) for _ in range(50)]
    assert 0.02 < np.mean(np.array(normal) < 0.05) < 0.09
    assert 0.4 < np.mean(np.array(normal) < 0.5) < 0.6
    assert np.mean(np.array(skewed) < 0.05) > 0.95


@pytest.mark.parametrize("distance", [2.0, 3.3])
def test_the_upper_end_of_a_normal_fit_covers_the_truth_in_19_samples_of_20(distance):
    """Confidence is what is promised: over samples of 60 runs, the bound lies below the true probability in some 5 %."""
    generator = np.random.default_rng(2)
    truth = NormalDist().cdf(-distance)
    samples = [fits.fit_normal(generator.normal(size=60), fits.IDENTITY) for _ in range(600)]
    covered = np.mean([fit.upper(-distance) >= truth for fit in samples])
    assert 0.92 <= covered <= 0.98


def test_too_few_runs_exclude_nothing():
    """With seven runs a normal fit has no upper end below 1."""
    assert fits.fit_normal(np.arange(7.0), fits.IDENTITY).upper(-1000) == 1.0


def test_a_small_pool_gives_the_hypergeometric_distribution():
    """30 of 150 flowers, eight of them difficult: the textbook's numbers, found in a sample, with a lighter tail."""
    expected = [
        math.comb(142, k) * math.comb(8, 30 - k) / math.comb(150, 30) if 30 - k <= 8 else 0.0 for k in range(31)
    ]
    assert np.exp(fits.log_pmf(142 / 150, np.array([-1 / 150]), 30)[0]) == pytest.approx(expected, abs=1e-9)
    drawn = np.random.default_rng(16).hypergeometric(142, 8, 30, 2000)
    found = fits.fit_counts(drawn, 30)
    assert found.model == "hypergeometric"
    assert found.estimate(24) < fits.below(found.share, 0.0, 30)[24] / 5


@given(st.floats(0.01, 0.99), st.sampled_from([0.0, 0.01, 0.3, 1.0]), st.integers(1, 60))
def test_the_beta_binomial_is_a_distribution_with_that_mean(share, theta, rows):
    """Its probabilities add up to 1 and its mean is ``share`` of the rows, whatever the overdispersion."""
    pmf = np.exp(fits.log_pmf(share, np.array([theta]), rows)[0])
    assert pmf.sum() == pytest.approx(1)
    assert pmf @ np.arange(rows + 1) == pytest.approx(share * rows)


def test_without_overdispersion_it_is_the_binomial_distribution():
    """Theta 0 gives the textbook's numbers."""
    expected = [math.comb(30, k) * 0.9**k * 0.1 ** (30 - k) for k in range(31)]
    assert np.exp(fits.log_pmf(0.9, np.zeros(1), 30)[0]) == pytest.approx(expected)


def test_overdispersion_is_found_where_there_is_some_and_only_there():
    """Counts from one share fit a binomial; counts whose share varies do not."""
    generator = np.random.default_rng(3)
    plain = fits.fit_counts(generator.binomial(30, 0.9, 300), 30)
    varied = fits.fit_counts(generator.binomial(30, generator.beta(9, 1, 300)), 30)
    assert plain.theta < 0.01
    assert varied.theta == pytest.approx(0.1, rel=0.5)
    assert plain.goodness > 0.05
    assert varied.estimate(20) > 50 * plain.estimate(20)


def test_a_bound_on_counts_covers_the_truth():
    """The bootstrapped upper end lies above the true probability in about 19 samples of 20."""
    generator = np.random.default_rng(4)
    truth = fits.below(0.9, 0.0, 30)[23]
    fitted = [fits.fit_counts(generator.binomial(30, 0.9, 60), 30) for _ in range(20)]
    assert np.mean([fit.upper(23) >= truth for fit in fitted]) >= 0.85


def test_where_no_normal_distribution_fits_a_heavier_tail_is_taken():
    """Runs with a long lower tail get an exponential one, and a larger probability than a normal fit gives."""
    generator = np.random.default_rng(5)
    values = 1 - generator.exponential(0.02, 200) ** 1.3
    sample, threshold = numbers(values), Threshold(floor=0.5, full=0.7)
    found = bounds.bound(sample, threshold)
    assert "exponential" in found.model
    assert found.estimate > fits.fit_normal(values, fits.IDENTITY).estimate(0.7)
    assert found.fits


def test_a_fit_that_is_bad_is_said_to_be():
    """Two far clusters fit neither a normal distribution nor, in so few runs, a tail."""
    found = bounds.bound(
        numbers([0.2] * 15 + [0.9] * 15 + list(np.linspace(0.2, 0.21, 9))), Threshold(floor=0, full=0.1)
    )
    assert not found.fits


# ---------------------------------------------------------------- bounds and fair marks


@given(st.integers(0, 60), st.sampled_from([Threshold(floor=0.5, full=0.8), RISING, Threshold(floor=0.1, full=1.0)]))
def test_full_marks_are_those_the_rubric_gives_for_shares(count, threshold):
    """Benefit of the doubt included, and the smallest count that earns all is found."""
    (measured,) = shares([count], 60)
    full = rubric.accuracy_credit(count, 60, threshold).fraction >= 1
    assert bounds.earns_full(measured, threshold) is full
    assert (count >= bounds.right_for(threshold, 60)) is full


@settings(max_examples=25)  # each is a bootstrap
@given(st.floats(0.3, 2.0), st.floats(0.01, 0.5))
def test_full_marks_are_those_the_rubric_gives_for_errors(mean, spread):
    """What assert_error records decides as its credit does."""
    rows = mean + spread * np.linspace(-0.5, 0.5, 20)
    credit = rubric.error_credit(rows, FALLING)
    measured = Measured(threshold="error", kind="error", value=credit.value, best=credit.lo)
    assert bounds.earns_full(measured, FALLING) is (credit.fraction >= 1)


def test_a_mark_far_below_holds_and_one_within_the_spread_does_not():
    """The bound tells a fair mark from a strict one, and counts what was lost."""
    counts = np.random.default_rng(6).binomial(800, np.random.default_rng(7).normal(0.94, 0.003, 80))
    far = bounds.bound(shares(counts, 800), Threshold(floor=0.8, full=0.91))
    near = bounds.bound(shares(counts, 800), Threshold(floor=0.8, full=0.95))
    assert far.holds
    assert far.lost == 0
    assert not near.holds
    assert near.estimate >= near.lost / 80 > 0


def test_what_was_seen_is_not_argued_away_by_a_fit():
    """One loss in eighty runs keeps the bound above 1 %, however far off the fit says it is."""
    values = [*np.random.default_rng(8).normal(0.9, 0.01, 79), 0.2]
    assert bounds.bound(numbers(values), Threshold(floor=0.1, full=0.5)).upper > 0.01


def test_an_error_that_does_not_clear_the_floor_counts_as_lost():
    """Doubt reaches the full mark there, but helps nobody beyond the floor."""
    values = np.random.default_rng(9).normal(0.95, 0.03, 100)
    found = bounds.bound(numbers(values, "error", doubt=0.3), FALLING)
    assert found.estimate == pytest.approx(NormalDist(0.95, 0.03).cdf(0.95 - 0.05), rel=0.6)


def test_what_cannot_be_negative_is_fitted_by_its_logarithm():
    """A plain normal distribution of a skewed ratio fits few runs well, and has a share of them below zero."""
    values = np.exp(np.random.default_rng(21).normal(0, 0.5, 12))
    plain = bounds.bound(numbers(values), Threshold(floor=0.0, full=0.1))
    ratio = bounds.bound(numbers(values), Threshold(floor=0.0, full=0.1, positive=True))
    assert (plain.model, ratio.model) == ("normal", "normal (log)")
    assert plain.fits
    assert ratio.estimate == pytest.approx(fits.fit_normal(values, fits.LOG).estimate(0.1))
    assert plain.estimate > bounds.RISK
    assert ratio.estimate < bounds.RISK


def test_few_runs_are_never_enough():
    """Seven runs without a loss prove nothing, and propose nothing."""
    sample = shares([30] * 7, 30)
    found = bounds.bound(sample, RISING)
    assert (found.upper, found.goodness) == (1.0, None)
    assert bounds.fair_full(sample, RISING) is None


SAMPLES = {
    "many rows": (shares(np.random.default_rng(10).binomial(800, 0.94, 80), 800), Threshold(floor=0.8, full=0.93)),
    "few rows": (shares(np.random.default_rng(11).binomial(30, 0.97, 80), 30), Threshold(floor=0.3, full=0.9)),
    "number": (numbers(np.random.default_rng(12).normal(0.43, 0.05, 80)), Threshold(floor=0.0, full=0.2)),
    "less is better": (numbers(np.random.default_rng(13).normal(0.4, 0.04, 80)), Threshold(floor=0.9, full=0.6)),
    "error": (numbers(np.random.default_rng(14).normal(0.7, 0.03, 80), "error", 0.1), Threshold(floor=1.2, full=0.9)),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_fair_mark_holds_and_a_stricter_one_does_not(name):
    """The proposed mark is the strictest one whose bound is at most a thousandth."""
    sample, present = SAMPLES[name]
    full = bounds.fair_full(sample, present)
    assert full is not None
    step = (0.03 if name == "few rows" else 0.01) * (1 if present.full > present.floor else -1)
    assert bounds.bound(sample, Threshold(floor=present.floor, full=full)).holds
    assert not bounds.bound(sample, Threshold(floor=present.floor, full=full + step)).holds


def test_where_no_mark_beyond_the_floor_is_fair_none_is_proposed():
    """A floor amid the correct solutions leaves no room."""
    assert bounds.fair_full(numbers(np.linspace(0.3, 0.9, 60)), Threshold(floor=0.5, full=0.7)) is None


# ---------------------------------------------------------------- trials and what is kept of them


def style(name, text="x = 1", *, baseline=False, checks=()):
    submission = Submission(
        student=name,
        slug=name,
        lab="tiny",
        source=name,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        size=9,
        cells=(Cell(kind="code", source=text), Cell(kind="markdown", source="set_random_seed(1)")),
    )
    return trials.Style(name=name, submission=submission, baseline=baseline, checks=checks)


def run_of(which, number, **fields):
    return kept.Run(style=which.name, number=number, notebook=which.digest, suite="00000000", seconds=1.0, **fields)


ONE, TWO, LINEAR = style("one"), style("two", "y = 2"), style("linear", "z = 3", baseline=True)


def test_runs_are_dealt_evenly_and_go_on_where_they_stopped():
    """Every style grows alike; what is kept is not done again, and no number comes twice for a style."""
    first = trials.missing([], (ONE, TWO, LINEAR), 5)
    assert sorted((trial.style.name, trial.number) for trial in first if not trial.style.baseline) == [
        *(("one", number) for number in (1, 2, 3)),
        *(("two", number) for number in (1, 2)),
    ]
    assert sum(trial.style.baseline for trial in first) == trials.BASELINE_RUNS
    assert {trial.style.name for trial in first[:3]} == {"one", "two", "linear"}
    done = [run_of(trial.style, trial.number) for trial in first]
    assert trials.missing(done, (ONE, TWO, LINEAR), 5) == []
    more = trials.missing(done, (ONE, TWO, LINEAR), 6)
    assert [(trial.style.name, trial.number) for trial in more] == [("two", 3)]


def test_runs_of_a_notebook_that_changed_do_not_count():
    """They stay in the file, and their numbers are not used again."""
    changed = style("one", "x = 7")
    old = [run_of(ONE, 1), run_of(ONE, 2)]
    assert trials.current(old, (changed,)) == []
    assert [trial.number for trial in trials.missing(old, (changed,), 2)] == [3, 4]


def test_a_trial_gives_its_number_to_every_seed_of_the_code():
    """Not to prose; and other numbers are other bytes, which meet another draw."""
    text = "keras.utils.set_random_seed(1)\nnp.random.seed( 42 )\nrng = default_rng(1)"
    first, second = (trials.seeded(style("one", text).submission, number) for number in (5, 6))
    assert first.cells[0].source == "keras.utils.set_random_seed(5)\nnp.random.seed(5)\nrng = default_rng(1)"
    assert first.cells[1].source == "set_random_seed(1)"
    assert first.sha256 != second.sha256


def test_runs_are_kept_a_line_each_and_read_back(tmp_path):
    """A hundred runs with a measured check take less than 20 kB, and nothing is lost."""
    figure = kept.Figure(threshold="accuracy", kind="share", value=0.966667, best=0.994091, rows=30)
    runs = [run_of(ONE, number, measured={"accuracy": (figure,)}, lost={"curve": 0.5}) for number in range(100)]
    path = kept.kept_path(tmp_path, Tier.LITE)
    kept.write_runs(path, "tiny", Tier.LITE, runs)
    assert kept.read_runs(path) == runs
    assert len(path.read_text().splitlines()) == 102
    assert path.stat().st_size < 20_000
    assert kept.read_runs(tmp_path / "absent.json") == []


@pytest.mark.parametrize("text", ["", "{", '{"schema": 9, "lab": "tiny", "tier": "lite", "runs": []}'])
def test_kept_runs_that_cannot_be_read_are_an_error_that_names_the_file(tmp_path, text):
    """Nothing is overwritten in silence."""
    path = tmp_path / "lite.json"
    path.write_text(text)
    with pytest.raises(LabError, match=r"lite\.json.*--fresh"):
        kept.read_runs(path)


# ---------------------------------------------------------------- the report and what is written

SUITE = '''
from grader.checks import VERIFIED, assert_accuracy, check

@check("reads", points=6, evidence=VERIFIED)
def test_reads(student, threshold):
    """Reads."""

@check("other", points=4, evidence=VERIFIED)
def test_other(student):
    """Other."""
'''
SPEC = """
# why these marks
[thresholds.full.accuracy]
floor = 0.7
full = 0.9  # measured

[thresholds.lite.accuracy]
floor = 0.6
full = 0.8
"""


@pytest.fixture
def lab(make_lab):
    return make_lab(SUITE, spec=SPEC, contract={})


def measured_runs(which, counts, rows=800, **fields):
    figures = [
        kept.Figure(threshold="accuracy", kind="share", value=m.value, best=m.best, rows=m.rows)
        for m in shares(counts, rows)
    ]
    return [run_of(which, at, measured={"reads": (figure,)}, **fields) for at, figure in enumerate(figures, 1)]


def weighed(lab, counts, also=(), tier=Tier.FULL):
    return report.weigh(lab, tier, [*measured_runs(ONE, counts), *also], (ONE, LINEAR))


GOOD = np.random.default_rng(15).binomial(800, 0.96, 80)


def test_a_lab_whose_marks_are_fair_holds(lab):
    """The bound is small, no other check cost a point, and nothing is complained of."""
    found = weighed(lab, GOOD)
    assert found.holds
    assert report.complaints(found) == []
    assert [(loss.check, loss.lost, loss.runs) for loss in found.losses] == [("other", 0, 80)]
    assert found.losses[0].upper == pytest.approx(3 / 80, rel=0.02)


def test_a_mark_that_is_too_strict_is_told_from_one_with_too_few_runs(lab):
    """Both fail; the one wants another mark, the other more runs."""
    (strict,) = report.complaints(weighed(lab, GOOD - 60))
    assert "too strict: one misses" in strict
    (few,) = report.complaints(weighed(lab, GOOD[:9] - 40))
    assert "too few runs of one (9)" in few


def test_a_point_lost_at_another_check_is_complained_of(lab):
    """A correct solution that loses a point anywhere is a defect, and its style is named."""
    (text,) = report.complaints(weighed(lab, GOOD, [run_of(ONE, 99, lost={"other": 0.5})]))
    assert text == "other: correct solutions lost points in 1 of 81 runs (one)"


def test_a_baseline_proposes_the_floor_and_counts_for_nothing_else(lab):
    """Its runs are no runs of correct solutions; one that earns most of the points is told."""
    found = weighed(lab, GOOD, measured_runs(LINEAR, [700, 704, 708], lost={"other": 0.0}))
    assert found.runs == 80
    assert found.holds
    assert found.weighed[0].floor == 0.88
    assert any("lax: the baseline linear earns" in text for text in report.warnings(found))


def test_a_baseline_of_one_check_says_nothing_of_the_others(lab):
    """A network without dropout is no lesser effort where the penalty is measured: neither floor nor warning comes of it."""
    runs = [*measured_runs(ONE, GOOD), *measured_runs(LINEAR, [700, 704, 708])]
    for checks, floor in ((("reads",), 0.88), (("other",), None)):
        found = report.weigh(lab, Tier.FULL, runs, (ONE, style("linear", "z = 3", baseline=True, checks=checks)))
        assert found.weighed[0].floor == floor
        assert any("lax" in text for text in report.warnings(found)) is (floor is not None)
        assert found.runs == 80


def test_a_baseline_of_a_check_that_does_not_exist_is_an_error(make_lab):
    """A slip of the pen would otherwise measure nothing, in silence."""
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {},
        "cells": [
            {
                "cell_type": "code",
                "id": "a",
                "metadata": {},
                "outputs": [],
                "execution_count": None,
                "source": "### BEGIN SOLUTION\nx = 1\n### END SOLUTION",
            }
        ],
    }
    lab = make_lab(SUITE, spec=SPEC, contract={})
    solution = reference_path(lab.folder.parent, lab.id)
    solution.parent.mkdir(exist_ok=True)
    solution.write_text(json.dumps(notebook))
    (lab.folder / "mutants").mkdir(exist_ok=True)
    mutant = lab.folder / "mutants" / "none.toml"
    text = 'description = "None."\nlow = 0\nhigh = 5\nbaseline = ["{}"]\n[[replace]]\nold = "x = 1"\nnew = "x = 2"\n'
    mutant.write_text(text.format("reads"))
    assert [one.checks for one in trials.styles(lab) if one.baseline] == [("reads",)]
    mutant.write_text(text.format("read"))
    with pytest.raises(LabError, match=r"none\.toml.*'read'.*reads, other"):
        trials.styles(lab)


def test_without_runs_nothing_holds(lab):
    """An empty calibration is no proof."""
    found = weighed(lab, [])
    assert not found.holds
    assert report.complaints(found)


def test_the_table_replaces_itself_and_leaves_the_prose(lab):
    """Both tiers have their own part; what people wrote before, between and after stays."""
    path = lab.folder / "calibration.md"
    path.write_text("# Calibration\n\nWhy.\n")
    written.write_table(lab.folder, weighed(lab, GOOD))
    written.write_table(lab.folder, weighed(lab, GOOD, tier=Tier.LITE))
    path.write_text(path.read_text() + "\n## Limits\n\nNone.\n")
    before = path.read_text()
    written.write_table(lab.folder, weighed(lab, GOOD))
    assert path.read_text() == before
    written.write_table(lab.folder, weighed(lab, GOOD[:40]))
    after = path.read_text()
    assert after.startswith("# Calibration\n\nWhy.\n")
    assert after.endswith("## Limits\n\nNone.\n")
    assert (after.count("(full tier)"), after.count("(lite tier)")) == (1, 1)
    assert "40 runs of correct solutions" in after


def test_only_the_marks_of_that_tier_are_written_and_the_lab_still_loads(lab):
    """Comments and the other tier stay; a stricter floor is taken from the baseline."""
    found = weighed(lab, GOOD, measured_runs(LINEAR, [600, 604, 608]))
    changed = written.write_thresholds(lab.folder, found)
    again = load_lab(lab.folder)
    assert again.threshold(Tier.FULL, "accuracy") == Threshold(floor=0.755, full=found.weighed[0].full)
    assert again.threshold(Tier.LITE, "accuracy") == Threshold(floor=0.6, full=0.8)
    text = (lab.folder / "lab.toml").read_text()
    assert "# why these marks" in text
    assert "# measured" in text
    assert len(changed) == 2


def test_a_baseline_below_the_floor_does_not_lower_it(lab):
    """A floor is chosen for more reasons than one baseline."""
    written.write_thresholds(lab.folder, weighed(lab, GOOD, measured_runs(LINEAR, [80, 80, 80])))
    assert load_lab(lab.folder).threshold(Tier.FULL, "accuracy").floor == 0.7


def test_a_baseline_as_good_as_a_correct_solution_does_not_cross_the_full_mark(lab):
    """The floor stays where it is; the full mark is written."""
    found = weighed(lab, GOOD, measured_runs(LINEAR, [780, 780, 780]))
    written.write_thresholds(lab.folder, found)
    assert load_lab(lab.folder).threshold(Tier.FULL, "accuracy") == Threshold(floor=0.7, full=found.weighed[0].full)


def test_thresholds_are_not_changed_on_a_few_runs(lab):
    """A fair mark of 59 runs says more of their number than of the lab: nothing is written."""
    before = (lab.folder / "lab.toml").read_text()
    with pytest.raises(UsageError, match="59 runs of one are too few"):
        written.write_thresholds(lab.folder, weighed(lab, GOOD[:59]))
    assert (lab.folder / "lab.toml").read_text() == before


@pytest.mark.parametrize(("share", "text"), [(0.0, "< 0.001 %"), (0.00021, "0.021 %"), (0.03, "3 %"), (0.999, "100 %")])
def test_probabilities_are_shown_as_percentages(share, text):
    """Small ones keep their digits."""
    assert report.percent(share) == text


@dataclass(frozen=True)
class Runs(GradingWorker.Factory):
    """Makes workers that start no sandbox: they do ``meanwhile``, and note whether the trial's data is still there."""

    meanwhile: object = None
    there: list = field(default_factory=list)

    def __call__(self, slot):
        factory = self

        class Worker(GradingWorker):
            def graded(self, setting, submission, tell):
                factory.meanwhile()
                factory.there.append(setting.mounted.is_dir())
                return ungraded(setting, submission, Ending.TIMEOUT, "")

        return Worker(self, slot)


def test_a_trial_keeps_its_data_while_another_style_of_the_same_number_ends(tmp_path):
    """Trials of one number are of one course. Whoever ended first took the data of the other, which lost its points."""
    iris = load_lab(LABS / "iris")
    reference, other = (style for style in trials.styles(iris)[:2])

    def worker(slot, meanwhile):
        runs = Runs(None, "", {}, "", "", meanwhile=meanwhile)
        made = trials.CalibrationWorker.Factory(runs, tmp_path, iris, Settings(labs=LABS), Level.L0, Tier.LITE)
        return runs.there, made(slot)

    second_there, second = worker(1, lambda: None)
    first_there, first = worker(0, lambda: second(trials.Trial(style=other, number=7), print))
    first(trials.Trial(style=reference, number=7), print)
    assert (first_there, second_there) == ([True], [True])
