"""An interrupted batch, and what changed since the last one: the same command does what is left, and nothing twice."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

from grader import batch, store
from grader.labs import load_lab
from grader.settings import load_settings
from tests.classes import LAB, POINTS, grade, hand_in, make_course, shares, start

pytestmark = pytest.mark.slow
CLASS = ("amy", "bob", "cleo")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A class that was interrupted in the middle: (its course, what was told, the cards that were finished then)."""
    course = make_course(tmp_path_factory.mktemp("course"))
    for student in CLASS[:2]:
        hand_in(course, student)
    hand_in(course, CLASS[2], "import pathlib, time\ntime.sleep(3)")
    with start(course, "grade", "--jobs", 1) as process:
        assert process.stderr is not None
        told = [process.stderr.readline() for _ in range(2)]  # the sandbox, and the first to finish
        os.killpg(process.pid, signal.SIGINT)
        told += process.stderr.read().splitlines()
        process.wait(60)
    finished = {folder.name for folder in store.runs(course / "report_cards")}
    return course, process.returncode, told, finished


@pytest.fixture
def course(first, tmp_path):
    """A copy of the course in which everything is graded, to change."""
    grade(first[0])
    shutil.copytree(first[0], tmp_path / "course")
    return tmp_path / "course"


def runs(course):
    return {folder.name: folder for folder in store.runs(course / "report_cards")}


def evidence(course):
    """Every file of every run."""
    folder = course / "report_cards" / LAB
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(course, name, old, new):
    path = course / "labs" / LAB / name
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_an_interrupted_batch_goes_on_where_it_ended(first):
    """Ctrl-C after the first card: that one is kept as it is, the others are run, and all have their points."""
    course, code, told, finished = first
    assert code == 130
    assert "interrupted" in told[-1]
    assert 0 < len(finished) < len(CLASS)
    before = evidence(course)
    said = grade(course)
    assert shares(said) == (len(finished), 0, len(CLASS) - len(finished))
    assert {run["student"]: run["score"] for run in said["runs"]} == dict.fromkeys(CLASS, POINTS)
    assert {path: data for path, data in evidence(course).items() if path.parts[0] in finished} == before


#: The first time it is asked, this check takes longer than anybody waits; the second line is what a suite should not do.
SLOW_CHECK = """\
    import contextlib, pathlib, time
    with contextlib.suppress({swallowed}):
        if not pathlib.Path({marker!r}).exists():
            pathlib.Path({marker!r}).touch()
            time.sleep(600)
    assert student.x.value() is not None
"""


@pytest.mark.parametrize("swallowed", ["", "BaseException"], ids=["passed on", "swallowed"])
def test_an_interrupt_in_the_middle_of_a_check_costs_no_points(tmp_path, swallowed):
    """The worker that had to end writes nothing, and the same command grades the notebook in full."""
    course = make_course(tmp_path)
    hand_in(course, "amy")
    marker = course / "asked"
    first = '"""`x` is at least 0.9."""\n'
    slow = SLOW_CHECK.format(swallowed=swallowed, marker=str(marker))
    edit(course, f"hidden_tests/test_{LAB}.py", first, first + slow)
    with start(course, "grade", "--jobs", 1) as process:
        assert process.stderr is not None
        while not marker.exists() and process.poll() is None:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        told = process.stderr.read()
        assert process.wait(60) == 130, told
    assert "no card was finished" in told
    assert "Traceback" not in told
    assert not runs(course)
    said = grade(course)
    assert [run["score"] for run in said["runs"]] == [POINTS]


def test_a_second_grader_in_the_same_folder_is_told_to_wait(tmp_path):
    """And the first one goes on undisturbed; regrading counts as well."""
    course = make_course(tmp_path)
    hand_in(course, "amy")
    (course / "report_cards").mkdir()
    with store.alone(course / "report_cards"):
        for command in ("grade", "regrade"):
            with start(course, command) as process:
                assert process.stderr is not None
                told = process.stderr.read()
            assert process.returncode == 2
            assert "report_cards: another grader is grading into this folder (wait for its end, or" in told
    assert not runs(course)
    assert grade(course)["graded"] == 1


def test_a_folder_that_cannot_be_made_is_told_of_itself(tmp_path):
    """Not of the gradebook, which would lie in it."""
    course = make_course(tmp_path)
    hand_in(course, "amy")
    (course / "file").touch()
    with start(course, "grade", "--out", "file/cards") as process:
        assert process.stderr is not None
        told = process.stderr.read()
    assert process.returncode == 2
    assert "file/cards: cannot be made: Not a directory (name another folder with --out)" in told


def test_with_nothing_to_do_nothing_is_started(course, monkeypatch):
    """No zygote, no canary, no worker: the rows come from what is kept, and no byte of it changes."""

    def refuse(*_, **__):
        raise AssertionError("something was started")

    monkeypatch.setenv("XDG_STATE_HOME", str(course / "state"))
    monkeypatch.setattr(batch, "choose", refuse)
    monkeypatch.setattr(batch.LocalPool, "_start", refuse)
    submissions = tuple(store.load(folder).submission for folder in runs(course).values())
    plan = batch.Plan(
        submissions=submissions,
        labs={LAB: load_lab(course / "labs" / LAB)},
        settings=load_settings(None, {}, {"secret": "of this class"}),
        out=course / "report_cards",
    )
    before = evidence(course)
    summary = batch.grade(plan)
    assert (summary.kept, summary.judged, summary.proof) == (3, 0, None)
    assert summary.level == min(row.level for row in summary.rows)
    assert {row.score for row in summary.rows} == {POINTS}
    assert evidence(course) == before


def test_only_what_changed_or_was_left_half_done_is_run_again(course):
    """A changed notebook, and a run whose folder was not finished; the third stands."""
    hand_in(course, "amy", "more = 1")
    half = course / "report_cards" / LAB
    (half / "bob").rename(half / ".building-0")
    (half / ".building-0" / "staff" / "result.json").unlink()
    before = evidence(course)
    said = grade(course)
    assert shares(said) == (1, 0, 2)
    after = evidence(course)
    changed = {path.parts[0] for path in after if path.parts[0] in CLASS and after[path] != before.get(path)}
    assert changed == {"amy", "bob"}
    assert {run["student"]: run["score"] for run in said["runs"]} == dict.fromkeys(CLASS, POINTS)


def test_other_points_are_given_without_running_anything(course):
    """From the tapes, in no sandbox; the next batch has nothing to do."""
    edit(course, "lab.toml", "points = 20", "points = 30")
    edit(course, f"hidden_tests/test_{LAB}.py", '"function", points=6', '"function", points=16')
    said = grade(course)
    assert shares(said) == (0, 3, 0)
    assert said["sandbox"] is None
    assert {run["score"] for run in said["runs"]} == {30.0}
    assert shares(grade(course)) == (3, 0, 0)


def test_another_course_name_is_on_every_card_though_no_verdict_changes(course):
    """The tapes are judged again, the cards rendered again, and the next batch has nothing to do."""
    (course / "course.toml").write_text('[course]\nname = "Looms and punched cards"\n', "utf-8")
    assert shares(grade(course)) == (0, 3, 0)
    for folder in runs(course).values():
        for card in ("card.html", "staff/card.html"):
            assert "Looms and punched cards" in (folder / card).read_text("utf-8")
    assert shares(grade(course)) == (3, 0, 0)


def test_a_question_that_no_tape_answers_runs_the_notebook_again(course):
    """The whole tape is replaced; who is told is the one who reads the summary."""
    old = {entry.answer.nonce for entry in store.load(runs(course)["amy"]).tape().entries}
    edit(course, f"hidden_tests/test_{LAB}.py", "for rows in (40, 7)", "for rows in (41, 7)")
    said = grade(course)
    assert shares(said) == (0, 0, 3)
    assert {run["score"] for run in said["runs"]} == {POINTS}
    assert not old & {entry.answer.nonce for entry in store.load(runs(course)["amy"]).tape().entries}


def test_a_suite_that_cannot_be_run_costs_no_kept_run(course):
    """Each stays as it is, the error is told once with the file, and mending the suite mends the batch."""
    edit(course, f"hidden_tests/test_{LAB}.py", "from grader.checks", "import nowhere\nfrom grader.checks")
    before = evidence(course)
    said = grade(course)
    assert said["exit_code"] == 4
    assert "could not be judged again and stays" in said["told"]
    assert "nowhere" in said["told"]
    assert evidence(course) == before
    edit(course, f"hidden_tests/test_{LAB}.py", "import nowhere\n", "")
    assert shares(grade(course)) == (3, 0, 0)


def test_fresh_runs_everything_again(course):
    """Whatever is kept."""
    assert shares(grade(course, "--fresh")) == (0, 0, 3)
