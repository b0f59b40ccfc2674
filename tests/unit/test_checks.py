"""Judging: how a check's end becomes an outcome, what points rest on, and whose fault what is."""

from __future__ import annotations

import textwrap
from types import SimpleNamespace

import numpy as np
import pytest

from grader import rubric, wire
from grader.checks.classifier import scales_inside
from grader.checks.hidden import cos, exp, hidden_function, log, sigmoid, sin, sqrt, square, tanh
from grader.checks.judge import Suites, judge
from grader.checks.student import Bench
from grader.errors import LabError
from grader.pools.serve import _Terminated
from grader.probe import Probe
from grader.records import Artifact, Ending, Evidence, Outcome, Tier
from grader.runner import RunFacts
from grader.session import Session, Tape

THRESHOLDS = """
[thresholds.full.accuracy]
floor = 0.5
full = 0.9
[thresholds.lite.accuracy]
floor = 0.2
full = 0.3
"""


class Here(Session):
    """A session whose questions are answered at once by a probe over a namespace in this process."""

    def __init__(self, namespace, tape=None, **options):
        super().__init__(None, None, tape or Tape(), seed=3, deadline_s=5, **options)
        self.probe = Probe(namespace)

    def _put(self, side, expr, draws, want, kind, deadline_s):
        return self.probe.answer(wire.Ask("n", expr, want, kind, deadline_s))


@pytest.fixture
def judged(make_lab):
    """Judges a suite given as the body of a file; returns the results by check id."""

    def run(
        body,
        namespace=None,
        *,
        facts=None,
        tier=Tier.FULL,
        session=None,
        spec=THRESHOLDS,
        heldout=None,
        suites=None,
        **lab,
    ):
        suite = "from grader.checks import *\nfrom grader.checks import VERIFIED, OBSERVED\n" + textwrap.dedent(body)
        made = make_lab(suite, spec=spec, **lab)
        facts = facts or RunFacts(ending=Ending.OK)
        session = session or Here(
            namespace if namespace is not None else {"f": lambda x: 2 * x, "x": [1, 2], "Thing": dict}
        )
        bench = Bench(made, facts, session, lambda path: facts.files[path])
        done = judge(made, bench, heldout, tier, suites=suites)
        run.last = done
        return {result.id: result for result in done.results}

    return run


ONE = '''
@check("a", points=10, evidence={evidence}, hint="The hint.")
def test_a(student, threshold):
    """What is asked."""
    {body}
'''


def one(judged, body, evidence="VERIFIED", **options):
    return judged(
        ONE.format(evidence=evidence, body=textwrap.indent(textwrap.dedent(body), "    ").strip()), **options
    )["a"]


# ---------------------------------------------------------------- the four outcomes


def test_a_check_that_returns_after_asking_passes_with_all_its_points(judged):
    """And shows the evidence it rests on."""
    result = one(judged, "assert_close(student.f(3.0), 6.0)")
    assert (result.outcome, result.score, result.evidence) == (Outcome.PASSED, 10.0, Evidence.VERIFIED)
    assert result.description == "What is asked."
    assert not result.hint


def test_a_wrong_answer_fails_and_says_what_was_found_expected_and_to_try(judged):
    """The expected value itself is staff's only."""
    result = one(judged, "assert_close(student.f(3.0), 7.125, what='f(3)')")
    assert (result.outcome, result.score) == (Outcome.FAILED, 0.0)
    assert result.found == "1 of 1 numbers in f(3) are wrong"
    assert result.hint == "The hint."
    assert "7.125" not in result.found + result.expected + result.hint
    assert "1.12" in result.staff_note


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("assert student.f(1) == 9, 'f(1) is not 9'", "f(1) is not 9"),
        ("student.f(1); fail('no', expected='yes', hint='try')", "no"),
        ("require(student.f(1) == 9, 'no', expected='yes', hint='try')", "no"),
    ],
)
def test_the_ways_to_fail(judged, body, found):
    """A bare assertion and the helpers alike end in FAILED, with the message as what was found."""
    result = one(judged, body)
    said = result.found.splitlines()[0]  # this pytest explains assertions of the inner one in further lines
    assert (result.outcome, said, result.score) == (Outcome.FAILED, found, 0.0)


def test_a_check_that_cannot_be_decided_here_leaves_the_maximum(judged):
    """SKIPPED with its reason, and nobody loses anything."""
    result = one(judged, "not_assessable('there is no GPU')")
    assert (result.outcome, result.rationale, result.blocked_by) == (Outcome.SKIPPED, "there is no GPU", "")
    assert rubric.total([result]) == (0.0, 0.0)


@pytest.mark.parametrize(
    "body",
    [
        "1 / 0",
        "student.f(1); raise KeyError('oops')",
        "student.nonsense(1)",
        "student.f(object())",
        "threshold('absent')",
        "import pytest; pytest.skip('no')",
        "import pytest; pytest.fail('no')",
        "student.f(1).undefined",
    ],
)
def test_an_authors_mistake_is_errored_and_never_the_students_loss_in_silence(judged, body):
    """With the traceback for staff, and not a word of it for the student."""
    result = one(judged, body)
    assert (result.outcome, result.score) == (Outcome.ERRORED, 0.0)
    assert "test_tiny.py" in result.staff_note or "threshold" in result.staff_note
    assert not result.found


def test_passing_without_asking_anything_is_errored(judged):
    """Points need evidence: an empty check is a mistake of its author's."""
    result = one(judged, "pass")
    assert (result.outcome, result.score) == (Outcome.ERRORED, 0.0)
    assert "without asking" in result.staff_note


def test_awarding_without_asking_anything_is_errored(judged):
    """Whatever it awards."""
    assert one(judged, "award(1.0)").outcome is Outcome.ERRORED


# ---------------------------------------------------------------- evidence


def test_points_that_need_verified_evidence_are_not_given_for_observed(judged):
    """The value of a variable is only the kernel's word for it."""
    body = "assert student.x.value() == [1, 2]"
    refused = one(judged, body)
    assert (refused.outcome, refused.score, refused.evidence) == (Outcome.FAILED, 0.0, Evidence.OBSERVED)
    assert "only observed" in refused.found
    given = one(judged, body, evidence="OBSERVED")
    assert (given.outcome, given.score) == (Outcome.PASSED, 10.0)


def test_a_check_is_as_strong_as_its_weakest_answer(judged):
    """One observed answer among verified ones makes the whole check observed."""
    result = one(judged, "assert student.f(3) == 6; assert student.x.value() == [1, 2]")
    assert (result.outcome, result.evidence) == (Outcome.FAILED, Evidence.OBSERVED)


def test_a_function_is_verified_by_its_behaviour_and_a_value_is_observed(judged):
    """What is graded in a function is what it does; a variable could hold anything."""
    assert one(judged, "assert student.f(3) == 6").evidence is Evidence.VERIFIED
    assert one(judged, "assert student.x.value()", evidence="OBSERVED").evidence is Evidence.OBSERVED


def test_a_file_that_the_judge_holds_is_verified(judged):
    """It was copied out before the first question."""
    facts = RunFacts(
        ending=Ending.OK, artifacts=(Artifact(path="out.txt", size=3, sha256="x"),), files={"out.txt": b"abc"}
    )
    found = one(judged, "require(student.files.first('no.txt', 'out.txt').size == 3, 'size')", facts=facts)
    assert (found.outcome, found.evidence) == (Outcome.PASSED, Evidence.VERIFIED)
    missing = one(judged, "student.files.first('no.txt')", facts=facts)
    assert missing.outcome is Outcome.FAILED
    assert "the notebook left no no.txt" in missing.found


# ---------------------------------------------------------------- needs


CHAIN = '''
@check("a", points=4, evidence=VERIFIED)
def test_a(student):
    """A."""
    {first}

@check("b", points=3, evidence=VERIFIED, needs=("a",))
def test_b(student):
    """B."""
    student.f(1)

@check("c", points=3, evidence=VERIFIED, needs=("b",))
def test_c(student):
    """C."""
    student.f(1)
'''


def chain(judged, first):
    return judged(CHAIN.format(first=first))


def test_a_check_that_needs_another_is_asked_when_that_one_earned_something(judged):
    """Partial credit is something."""
    assert [r.outcome for r in chain(judged, "student.f(1)").values()] == [Outcome.PASSED] * 3
    partial = chain(judged, "student.f(1); award(0.1)")
    assert [r.outcome for r in partial.values()] == [Outcome.FAILED, Outcome.PASSED, Outcome.PASSED]


@pytest.mark.parametrize("first", ["student.f(1); fail('no')", "1 / 0", "student.f(1); award(0.0)"])
def test_what_needs_a_check_that_earned_nothing_is_skipped_and_named(judged, first):
    """All the way down the chain; the points stay in the maximum."""
    results = chain(judged, first)
    assert (results["b"].outcome, results["b"].blocked_by) == (Outcome.SKIPPED, "a")
    assert (results["c"].outcome, results["c"].blocked_by) == (Outcome.SKIPPED, "b")
    assert rubric.total(results.values()) == (0.0, 10.0)


def test_what_needs_a_check_that_cannot_be_decided_here_leaves_the_maximum_too(judged):
    """A machine without a GPU costs nobody the points of what follows."""
    results = chain(judged, "not_assessable('there is no GPU')")
    assert [r.outcome for r in results.values()] == [Outcome.SKIPPED] * 3
    assert "cannot be decided here" in results["c"].rationale
    assert rubric.total(results.values()) == (0.0, 0.0)


def test_a_blocked_check_asks_nothing(judged):
    """Its body is not run at all."""
    asked = []
    judged(CHAIN.format(first="fail('no')"), {"f": asked.append})
    assert asked == []


# ---------------------------------------------------------------- credit


@pytest.mark.parametrize(
    ("fraction", "score", "outcome"),
    [
        (1.0, 10, Outcome.PASSED),
        (0.4, 4, Outcome.FAILED),
        (0, 0, Outcome.FAILED),
        (7, 10, Outcome.PASSED),
        (-1, 0, Outcome.FAILED),
    ],
)
def test_partial_credit_is_a_share_of_the_points(judged, fraction, score, outcome):
    """Clipped to what there is; anything below full is FAILED with a score."""
    result = one(judged, f"student.f(1); award({fraction}, found='part')")
    assert (result.score, result.outcome) == (pytest.approx(score), outcome)


def test_not_a_number_earns_nothing(judged):
    """A share that came out as NaN is no share."""
    assert one(judged, "student.f(1); award(float('nan'))").score == 0.0


def test_the_smallest_award_counts(judged):
    """Two awards in one check are two conditions."""
    result = one(judged, "student.f(1); award(0.9, found='a'); award(0.3, found='b'); award(0.6, found='c')")
    assert (result.score, result.found) == (pytest.approx(3.0), "b")


def test_a_failure_after_an_award_takes_it_back(judged):
    """The end of a check decides."""
    assert one(judged, "student.f(1); award(0.9); fail('no')").score == 0.0


def test_parts_earn_their_weights_and_name_what_is_missing(judged):
    """With the hints of the missing ones only."""
    body = """
    student.f(1)
    parts = Parts()
    parts.add("one", True, weight=3, hint="hint 1")
    parts.add("two", False, weight=1, hint="hint 2")
    parts.award(expected="both")
    """
    result = one(judged, body)
    assert (result.score, result.found, result.hint, result.expected) == (7.5, "not met yet: two", "hint 2", "both")


def test_thresholds_are_those_of_the_tier(judged):
    """The same answer earns by the table of the data it was asked on."""
    body = "student.f(1); award(1.0 if threshold('accuracy').full == {full} else 0.0)"
    assert one(judged, body.format(full=0.9)).score == 10
    assert one(judged, body.format(full=0.3), tier=Tier.LITE).score == 10


MEASURES = {
    "assert_accuracy(np.ones((4, 1)), np.array([1, 1, 1, 0]), threshold('accuracy'))": ("share", 0.75, 0.9544, 4),
    "assert_error(np.array([1, 1, 2, 2]), np.zeros(4), threshold('error'), relative_to=2.0)": ("error", 0.75, 0.5, 4),
    "threshold('accuracy'); measure(0.25)": ("number", 0.25, 0.25, 0),
}


@pytest.mark.parametrize("line", MEASURES)
def test_what_a_threshold_decides_is_recorded_for_the_staff(judged, line):
    """The statistic, the end of its interval that counts for the student, and its rows, under the threshold's name."""
    spec = "[thresholds.full]\naccuracy = {floor = 0.1, full = 0.9}\nerror = {floor = 0.9, full = 0.1}\n"
    result = one(judged, f"import numpy as np; student.f(1); {line}", spec=spec)
    kind, value, best, rows = MEASURES[line]
    name = "error" if kind == "error" else "accuracy"
    (measured,) = result.measured
    assert (measured.threshold, measured.kind, measured.value, measured.rows) == (name, kind, value, rows)
    assert measured.best == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("line", ["measure(0.5)", "threshold('accuracy'); measure(float('nan'))"])
def test_a_statistic_without_a_threshold_or_a_number_is_not_recorded(judged, line):
    """What nothing was compared with, or is no number, cannot be calibrated."""
    assert one(judged, f"student.f(1); {line}").measured == ()


def test_an_error_counts_in_units_of_another_one(judged):
    """`relative_to` stretches the threshold: half of a linear model's error is half the way to the full mark."""
    spec = "[thresholds.full.error]\nfloor = 1.0\nfull = 0.0\n"
    body = "import numpy as np; student.f(1); assert_error(np.full(4, 3.0), np.zeros(4), threshold('error'), relative_to=6.0)"
    assert one(judged, body, spec=spec).score == 5


# ---------------------------------------------------------------- what student code does


def boom(*args):
    raise ValueError("my own mistake")


class Nasty(Exception):
    def __str__(self):
        raise SystemExit


def nasty(*args):
    raise Nasty


@pytest.mark.parametrize(
    ("namespace", "found"),
    [
        ({"f": boom}, "`f(…)` raised ValueError: my own mistake"),
        ({"f": lambda x: (_ for _ in ()).throw(SystemExit(0))}, "`f(…)` raised SystemExit: 0"),
        ({"f": nasty}, "`f(…)` raised Nasty: (the exception could not be shown)"),
        ({"f": lambda: 1}, "raised TypeError"),
        ({"f": 3}, "the notebook defines no 'f'"),
        ({}, "the notebook defines no 'f'"),
        ({"f": lambda x: "\ud800"}, "not Unicode"),
        ({"f": lambda x: 2**80}, "64 bits"),
    ],
    ids=["raises", "exits", "nasty", "signature", "not callable", "missing", "surrogate", "huge"],
)
def test_student_code_that_cannot_answer_fails_the_check(judged, namespace, found):
    """It is theirs: FAILED with their exception, never ERRORED."""
    result = one(judged, "require(isinstance(student.f(1), int), 'f(1) gave something else')", namespace=namespace)
    assert (result.outcome, result.score) == (Outcome.FAILED, 0.0)
    assert found in result.found or "something else" in result.found


def picky(x):
    if x < 0:
        raise ValueError("negative")
    return x or object()


def test_an_exception_can_be_the_right_answer(judged):
    """`raises` gives the name of the class, and nothing where an answer came, of whatever kind."""
    body = "require([student.f.raises(x) for x in (-1, 1, 0, 'a')] == ['ValueError', '', '', 'TypeError'], 'other')"
    result = one(judged, body, namespace={"f": picky})
    assert (result.outcome, result.evidence, result.found) == (Outcome.PASSED, Evidence.VERIFIED, "")


def test_a_missing_function_raises_nothing_and_fails_the_check(judged):
    """What is not there is no function that refuses its arguments."""
    result = one(judged, "student.f.raises(-1)", namespace={})
    assert (result.outcome, result.score) == (Outcome.FAILED, 0.0)
    assert "the notebook defines no 'f'" in result.found


def test_a_kernel_that_is_gone_has_raised_nothing(judged):
    """A death is not the exception that was asked for."""
    gone = Session(None, None, Tape(), seed=1, deadline_s=1)
    result = one(judged, "student.f.raises(-1)", facts=RunFacts(ending=Ending.TIMEOUT), session=gone)
    assert result.outcome is Outcome.FAILED
    assert "kernel was gone" in result.found


@pytest.mark.parametrize(
    "answer",
    [
        float("nan"),
        float("inf"),
        None,
        "6",
        [6.0],
        {"a": 6.0},
        np.array([6.0]),
        np.array([[6.0]]),
        object(),
        b"6",
        np.array([True]),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_answers_of_the_wrong_kind_are_wrong_and_no_accident(judged, answer):
    """NaN, text, lists, other shapes, objects: FAILED with what was found."""
    result = one(judged, "assert_close(student.f(3.0), 6.0)", namespace={"f": lambda x: answer})
    assert (result.outcome, result.score) == (Outcome.FAILED, 0.0)
    assert result.found


def test_nan_comes_with_advice(judged):
    """It crosses, it is counted, and it is wrong."""
    result = one(judged, "as_array(student.f(1))", namespace={"f": lambda x: np.array([1.0, np.nan, np.inf])})
    assert result.found.startswith("2 of 3 numbers")
    assert "learning rate" in result.hint


def test_a_kernel_that_is_gone_fails_what_needs_it_and_says_how_the_run_ended(judged):
    """No check is ERRORED for it, and nothing hangs."""
    facts = RunFacts(ending=Ending.TIMEOUT, ending_detail="in code cell 3")
    gone = Session(None, None, Tape(), seed=1, deadline_s=1)
    result = one(judged, "student.f(1)", facts=facts, session=gone)
    assert (result.outcome, result.score) == (Outcome.FAILED, 0.0)
    assert "kernel was gone (timeout: in code cell 3)" in result.found


def test_a_replay_that_misses_says_so(judged):
    """The whole run has to be done again: nobody is scored on half a tape."""
    one(judged, "student.f(1)", session=Session(None, None, Tape(), seed=1, deadline_s=1, replay=True))
    assert judged.last.missed


# ---------------------------------------------------------------- the suite itself


TWO = """
from grader.checks import VERIFIED, check
@check("a", points=10, evidence=VERIFIED)
def test_a(student):
    '''A.'''
    student.f(1)
"""


def test_a_suite_with_a_test_that_is_no_check_is_the_labs_error(judged):
    """It would be run and count for nothing."""
    with pytest.raises(LabError):
        judged(TWO + "\ndef test_more(student):\n    pass\n")


@pytest.mark.parametrize("line", ["import absent_module", "raise RuntimeError('x')", "1 / 0"])
def test_a_suite_that_cannot_be_imported_is_the_labs_error(judged, line):
    """It names the suite and the way to look at it."""
    with pytest.raises(LabError, match=r"hidden_tests.*grader verify tiny"):
        judged(f"{line}\n{TWO}")


def test_a_lab_without_held_out_data_cannot_ask_for_any(judged):
    """The check is ERRORED, the others go on."""
    body = '''
    @check("a", points=5, evidence=VERIFIED)
    def test_a(student, heldout):
        """A."""
        student.f(1)

    @check("b", points=5, evidence=VERIFIED)
    def test_b(student):
        """B."""
        student.f(1)
    '''
    results = judged(body)
    assert [result.outcome for result in results.values()] == [Outcome.ERRORED, Outcome.PASSED]


def test_two_labs_with_files_of_one_name_do_not_meet(judged, tmp_path):
    """Suites are modules of this process; one lab's must not be taken for another's."""
    assert one(judged, "student.f(1); award(0.5)", folder=tmp_path / "one").score == 5
    assert one(judged, "student.f(1); award(0.7)", folder=tmp_path / "two").score == 7


def test_judging_leaves_the_process_as_it_was(judged, monkeypatch):
    """Environment and modules: the next lab meets a clean one."""
    import os
    import sys

    monkeypatch.setenv("PYTEST_ADDOPTS", "--definitely-not-an-option")
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # this pytest's own, which the inner one takes for its own
    before = dict(os.environ), set(sys.modules), os.getcwd()
    one(judged, "student.f(1)")
    assert dict(os.environ) == before[0]
    assert not [name for name in set(sys.modules) - before[1] if "test_tiny" in name]
    assert os.getcwd() == before[2]


def test_a_suite_does_not_run_what_lies_above_it(judged, tmp_path):
    """A conftest.py or pytest.ini above the lab is nobody's of ours."""
    (tmp_path / "conftest.py").write_text("raise RuntimeError('run')")
    (tmp_path / "pytest.ini").write_text("[pytest]\npython_files = nothing.py\n")
    assert one(judged, "student.f(1)").outcome is Outcome.PASSED


# ---------------------------------------------------------------- one submission after another


@pytest.fixture
def suites():
    """What one worker keeps of the suites that it judges by."""
    kept = Suites()
    yield kept
    kept.close()


REMEMBERS = '''
import functools, os, random, sys
import numpy as np

SEEN = []
COUNT = 0
RNG = np.random.default_rng(1)

class Memory:
    seen = []

@functools.cache
def known(what):
    SEEN.append(what)
    return len(SEEN)

def default(met=[]):
    met.append(1)
    return len(met)

@check("a", points=10, evidence=VERIFIED)
def test_a(student):
    """What is left of others."""
    global COUNT
    COUNT += 1
    Memory.seen.append(1)
    SEEN.append("one")
    os.environ["LEFT_BY_A_SUITE"] = os.environ.get("LEFT_BY_A_SUITE", "") + "x"
    sys.path.append("left")
    test_a.times = getattr(test_a, "times", 0) + 1
    student.f(1)
    left = [COUNT, len(SEEN), len(Memory.seen), known("x"), default(), test_a.times, os.environ["LEFT_BY_A_SUITE"],
            sys.path.count("left"), RNG.random(), random.random(), np.random.rand()]
    award(0.5, found=repr(left))
'''


def test_nothing_of_one_judging_reaches_the_next(judged, suites):
    """Globals, classes, caches, default arguments, both random states, environment and path: each student meets the first."""
    first, second, third = (judged(REMEMBERS, suites=suites)["a"].found for _ in range(3))
    assert first.startswith("[1, 1, 1, 2, 1, 1, 'x', 1, ")
    assert first == second == third
    assert len(suites._kept) == 1  # it was one pytest that judged all of them


def test_the_processs_own_random_numbers_go_on(judged, suites):
    """A suite that seeds the global states makes nothing else predictable."""
    import random

    np.random.seed(7)
    random.seed(7)
    expected = np.random.rand(), random.random()
    np.random.seed(7)
    random.seed(7)
    one(judged, "import random, numpy as np; random.seed(0); np.random.seed(0); student.f(1)", suites=suites)
    assert (np.random.rand(), random.random()) == expected


def test_a_suite_that_is_edited_between_two_judgings_is_collected_again(judged, suites):
    """Within the same second, and with as many bytes: a teacher who mends a check sees it mended."""
    assert one(judged, "student.f(1); award(0.5)", suites=suites).score == 5
    assert one(judged, "student.f(1); award(0.7)", suites=suites).score == 7


def test_two_labs_with_files_of_one_name_are_kept_apart(judged, suites, tmp_path):
    """Judged in turn by one worker."""
    for _ in range(2):
        assert one(judged, "student.f(1); award(0.5)", folder=tmp_path / "one", suites=suites).score == 5
        assert one(judged, "student.f(1); award(0.7)", folder=tmp_path / "two", suites=suites).score == 7


OWN_FIXTURE = '''
import pytest

@pytest.fixture(scope="session")
def log():
    return []

@check("a", points=10, evidence=VERIFIED)
def test_a(student, log{more}):
    """What a fixture remembers."""
    log.append(1)
    student.f(1)
    award(0.5, found=str(len(log)))
'''


@pytest.mark.parametrize("more", ["", ", tmp_path"], ids=["its own", "pytest's"])
def test_a_suite_with_other_fixtures_than_ours_gets_a_pytest_of_its_own(judged, suites, more):
    """What a fixture or pytest itself may remember ends with the judging."""
    assert [judged(OWN_FIXTURE.format(more=more), suites=suites)["a"].found for _ in range(2)] == ["1", "1"]
    assert not suites._kept


def test_a_suite_with_a_conftest_gets_a_pytest_of_its_own(judged, suites, tmp_path):
    """Its hooks are modules that pytest would keep."""
    folder = tmp_path / "labs" / "tiny" / "hidden_tests"
    folder.mkdir(parents=True)
    (folder / "conftest.py").write_text(
        "SEEN = []\ndef pytest_runtest_setup(item):\n    SEEN.append(1)\n    assert SEEN == [1]"
    )
    assert [one(judged, "student.f(1)", suites=suites).outcome for _ in range(2)] == [Outcome.PASSED] * 2
    assert not suites._kept


def test_a_broken_suite_is_judged_as_soon_as_it_is_mended(judged, suites):
    """The worker that met it broken keeps nothing of it."""
    for broken, why in (
        (f"1 / 0\n{TWO}", "division"),
        (ONE.format(evidence="VERIFIED", body="raise SystemExit"), "Exit"),
    ):
        with pytest.raises(LabError, match=f"cannot be run: .*{why}"):
            judged(broken, suites=suites)
        assert one(judged, "student.f(1)", suites=suites).outcome is Outcome.PASSED


def test_a_check_that_is_interrupted_leaves_no_half_judged_suite(judged, suites):
    """Ctrl-C ends the judging at once; the next one starts afresh."""
    with pytest.raises(KeyboardInterrupt):
        one(judged, "raise KeyboardInterrupt", suites=suites)
    assert not suites._kept
    assert one(judged, "student.f(1)", suites=suites).outcome is Outcome.PASSED


def test_a_worker_that_has_to_end_ends_the_judging_too(judged, suites):
    """What comes in the middle of a check is not the check's: no outcome is made of it, and so no run."""
    with pytest.raises(_Terminated):
        one(judged, "from grader.pools.serve import _Terminated; raise _Terminated", suites=suites)
    assert not suites._kept


def test_judging_again_and_again_holds_no_submission(judged, suites):
    """What was judged can be let go of: a worker's memory does not grow with the class."""
    import gc
    import weakref

    sessions = []
    for _ in range(3):
        session = Here({"f": lambda x: x})
        sessions.append(weakref.ref(session))
        one(judged, "student.f(1)", session=session, suites=suites)
    del session, judged.last
    gc.collect()
    assert [ref() for ref in sessions] == [None] * 3


# ---------------------------------------------------------------- hidden functions, remotes


@pytest.mark.parametrize(
    ("function", "here"),
    [
        (lambda x: x * x + 3 * x - 1, lambda x: x * x + 3 * x - 1),
        (lambda x: -x / 2 + 1 / x, lambda x: -x / 2 + 1 / x),
        (lambda x: 5 - x**3, lambda x: 5 - x**3),
        (lambda x: sin(x) * cos(x) + exp(-x), lambda x: np.sin(x) * np.cos(x) + np.exp(-x)),
        (lambda x: log(x) + sqrt(x) + tanh(x), lambda x: np.log(x) + np.sqrt(x) + np.tanh(x)),
        (lambda x: square(x) + sigmoid(x), lambda x: x**2 + 1 / (1 + np.exp(-x))),
    ],
)
@pytest.mark.parametrize("point", [0.7, np.array([0.5, 2.0], dtype=np.float32)], ids=["number", "array"])
def test_a_hidden_function_is_the_same_on_both_sides(function, here, point):
    """What the suite computes with it and what student code computes with it agree."""
    hidden = hidden_function(function)
    ask = wire.Ask("n", wire.Call(wire.Name("g"), (hidden.expr, wire.Const(wire.to_value(point)))))
    answer = Probe({"g": lambda f, x: f(x)}).answer(ask)
    assert answer.status == "ok", answer.fault
    assert np.allclose(wire.from_value(answer.value), here(point), rtol=1e-5)
    assert np.allclose(hidden(point), here(point), rtol=1e-5)


def test_objects_that_stay_inside_can_be_used_further(judged):
    """An instance is made, called, read and handed to another function, without ever crossing."""

    class Counter:
        def __init__(self, start):
            self.count = start

        def add(self, n):
            self.count += n
            return self.count

    body = """
    thing = student.Thing(3)
    assert thing.add.call(2, kind="mutating") == 5
    assert thing.count.value() == 5
    assert student.f(thing) == 10
    """
    result = one(judged, body, namespace={"Thing": Counter, "f": lambda counter: counter.count * 2})
    assert result.outcome is Outcome.PASSED, result.staff_note


@pytest.mark.parametrize(
    ("kinds", "scales"),
    [
        (["Rescaling", "Flatten", "Dense"], True),
        (["InputLayer", "TrueDivide", "Flatten", "Dense"], True),
        (["Reshape", "RandomTranslation", "RandomRotation", "Multiply", "Conv2D", "Dense"], True),
        (["InputLayer", "Flatten", "BatchNormalization", "Dense"], True),
        (["Flatten", "LayerNormalization", "EinsumDense"], True),
        (["Conv2D", "BatchNormalization", "Flatten", "Dense"], False),
        (["Flatten", "Dense", "Rescaling"], False),
        (["Flatten", "Dense", "Dense"], False),
        (["SeparableConv2D", "Normalization"], False),
        ([], False),
        (None, False),
    ],
)
def test_a_model_scales_its_inputs_wherever_that_happens_before_its_first_dense_or_convolutional_layer(kinds, scales):
    """Nested or not, a layer or an operation, behind a reshape or an augmentation."""
    assert scales_inside(SimpleNamespace(description=lambda: {"kinds": kinds})) is scales
