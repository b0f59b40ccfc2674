"""The sample class is graded as a class would be, and each of its notebooks scores what it deserves.

Fixed secret, lite data: so every draw is the same each time. What randomness remains is the machine's floating point.
"""

import html
import json
from pathlib import Path

import msgspec
import pytest

from grader.batch import Plan, grade
from grader.labs import find_labs
from grader.records import Ending, Outcome, Tier, Verdict
from grader.settings import Settings
from grader.submissions import collect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "submissions"

EXCELLENT, GOOD, WEAK = "student-01-excellent", "student-02-good", "student-03-weak"
NEVER, CRASHES, LEGACY = "student-04-never-finishes", "student-05-crashes-half-way", "student-06-legacy-keras"
FORGED, CHINESE, NAMES = "student-07-forged-accuracy", "student-08-chinese", "student-09-other-names"

#: (student, lab): lowest and highest score that is right, and how the run ends.
EXPECTED = {
    (EXCELLENT, "iris"): (100, 100, Ending.OK),
    (EXCELLENT, "mnist"): (100, 100, Ending.OK),
    (EXCELLENT, "checkpoints"): (100, 100, Ending.OK),
    (GOOD, "iris"): (75, 75, Ending.OK),
    (GOOD, "mnist"): (96, 96, Ending.OK),
    (GOOD, "overfitting"): (96, 96, Ending.OK),
    (WEAK, "mnist"): (24, 36, Ending.OK),
    (WEAK, "checkpoints"): (45, 45, Ending.OK),
    (NEVER, "iris"): (85, 85, Ending.TIMEOUT),
    (CRASHES, "iris"): (40, 40, Ending.CELL_ERROR),
    (CRASHES, "mnist"): (90, 90, Ending.CELL_ERROR),
    (LEGACY, "mnist"): (15, 25, Ending.CELL_ERROR),
    (LEGACY, "checkpoints"): (10, 10, Ending.CELL_ERROR),
    (EXCELLENT, "tensors_gpu"): (80, 100, Ending.OK),
    (WEAK, "tensors_gpu"): (42, 46, Ending.OK),
    (FORGED, "mnist"): (10, 16, Ending.OK),
    (CHINESE, "mnist"): (100, 100, Ending.OK),
    (NAMES, "iris"): (100, 100, Ending.OK),
    (NAMES, "imdb"): (100, 100, Ending.OK),
    (WEAK, "imdb"): (30, 30, Ending.OK),
}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The sample class, graded once: (folder of the cards, verdicts by student and lab)."""
    labs = find_labs(ROOT / "labs")
    intake = collect([SAMPLES], labs.keys(), None)
    assert not intake.errors
    out = tmp_path_factory.mktemp("cards")
    settings = Settings(secret="sample class", labs=ROOT / "labs")
    grade(Plan(submissions=intake.submissions, labs=labs, settings=settings, out=out, jobs=2, tier=Tier.LITE))
    found = [msgspec.json.decode(path.read_bytes(), type=Verdict) for path in out.glob("*/*/staff/result.json")]
    return out, {(verdict.student, verdict.lab): verdict for verdict in found}


def card(graded, student, lab):
    """The student's edition of a card."""
    return (graded[0] / lab / student / "card.html").read_text("utf-8")


def outcomes(verdict):
    """How each check that is worth points ended, by id."""
    return {check.id: check.outcome for check in verdict.checks if check.points}


def test_the_expectations_cover_the_whole_class(graded):
    """Every notebook of the sample class was graded, and every one has an expectation."""
    assert set(graded[1]) == set(EXPECTED)


@pytest.mark.parametrize(("student", "lab"), EXPECTED)
def test_each_notebook_scores_what_it_deserves(graded, student, lab):
    """The score lies in its band, out of 100, and the run ended as it should."""
    verdict = graded[1][student, lab]
    low, high, ending = EXPECTED[student, lab]
    shown = [(check.id, check.score, check.found) for check in verdict.checks if check.outcome is not Outcome.PASSED]
    assert low <= verdict.score <= high, shown
    without_gpu = 80 if lab == "tensors_gpu" else 100  # what is left where the machine has none
    assert verdict.max_score in (without_gpu, 100)
    assert verdict.ending is ending, verdict.ending_detail


def test_nothing_in_the_class_is_our_fault(graded):
    """No check errs and no run needs attention, however bad the notebook."""
    assert [key for key, verdict in graded[1].items() if verdict.needs_attention] == []
    assert all(Outcome.ERRORED not in outcomes(verdict).values() for verdict in graded[1].values())


def test_a_run_that_never_ends_is_ended_by_the_labs_limit_and_keeps_its_credit(graded):
    """The endless loop costs what comes after it; model, loss and gradients are graded."""
    verdict = graded[1][NEVER, "iris"]
    limit = verdict.limits.wall_s
    assert limit - 1 <= verdict.timings["own"] < limit + 15
    assert [name for name, outcome in outcomes(verdict).items() if outcome is not Outcome.PASSED] == ["curve"]


def test_a_forged_accuracy_counts_for_nothing(graded):
    """What the notebook prints and stores says 99.9 %; the model that trained nothing reads one digit in ten."""
    verdict = graded[1][FORGED, "mnist"]
    stored = json.loads((SAMPLES / FORGED / "mnist.ipynb").read_text("utf-8"))
    assert "0.9990" in json.dumps([cell.get("outputs") for cell in stored["cells"]])
    ends = outcomes(verdict)
    assert ends["accuracy"] is Outcome.FAILED
    assert ends["trained"] is Outcome.FAILED
    assert next(check.score for check in verdict.checks if check.id == "accuracy") == 0


@pytest.mark.parametrize(
    ("lab", "rules"),
    [("mnist", {"optimizer-lr", "nb-epoch", "predict-classes"}), ("checkpoints", {"checkpoint-weights-name"})],
)
def test_old_keras_is_told_what_to_write_instead(graded, lab, rules):
    """Each call that Keras 3 no longer knows gets advice, and the student's card shows it."""
    verdict = graded[1][LEGACY, lab]
    advice = {error.advice.rule: error.advice for error in verdict.cell_errors if error.advice}
    assert rules <= set(advice)
    shown = html.unescape(card(graded, LEGACY, lab))
    assert [rule for rule in rules if advice[rule].new not in shown] == []


def test_a_notebook_in_chinese_gets_a_card_in_chinese(graded):
    """The card speaks the language of the notebook, the title of the lab included; the others stay English."""
    assert graded[1][CHINESE, "mnist"].language == "zh"
    shown = card(graded, CHINESE, "mnist")
    assert 'lang="zh' in shown
    assert "识别手写数字" in shown
    assert [key for key, verdict in graded[1].items() if verdict.language == "zh"] == [(CHINESE, "mnist")]


def test_other_names_are_understood_and_told(graded):
    """`net` is graded as `model`, and the card says so."""
    assert "Your `net` was graded as `model`." in graded[1][NAMES, "iris"].notes


def test_only_the_forged_notebook_comes_with_outputs():
    """Samples are handed in fresh, except the one whose outputs are the point."""
    for path in SAMPLES.glob("*/*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        assert any(cell.get("outputs") for cell in cells) == (path.parent.name == FORGED)
