"""What of a batch is done already: which change means judging again, which means running again, and which nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace

import msgspec
import pytest

from grader import provenance, store
from grader.grading import ungraded
from grader.labs import load_lab
from grader.provenance import basis
from grader.records import Ending, Gpus, Level, Outcome, Received
from grader.resume import sort_out
from grader.settings import load_settings
from grader.submissions import Cell, Submission
from grader.worker import prepare

SUITE = '''
from grader.checks import OBSERVED, check

@check("value", points=10, evidence=OBSERVED, hint="Write x = 1.")
def test_value(student):
    """`x` is one."""
    assert student.x.value() == 1
'''
SUBMISSION = Submission(
    student="amy",
    slug="amy",
    lab="tiny",
    source="amy/tiny.ipynb",
    sha256="ab" * 32,
    size=5,
    cells=(Cell("code", "x = 1"),),
)
ENVIRONMENT = {"python": "3.11.1", "tensorflow": "2.21.0"}


class Course:
    """A lab, a submission and its kept run, to change and to sort again."""

    def __init__(self, lab, out, monkeypatch):
        self.lab, self.out, self.patch = lab, out, monkeypatch
        self.settings, self.name, self.submission, self.level = (
            load_settings(None, {}, {"secret": "s"}),
            "",
            SUBMISSION,
            0,
        )
        self.environment(ENVIRONMENT)
        self.offer(Gpus())

    def environment(self, found):
        self.patch.setattr(provenance, "environment", lambda python: found)

    def offer(self, gpus):
        self.patch.setattr(provenance.gpu, "inventory", lambda: gpus)

    def setting(self):
        return prepare(load_lab(self.lab.folder), self.settings, Level.L2)

    def basis(self):
        return basis(self.setting(), self.name, "python")

    def keep(self, ending=Ending.OK):
        graded = ungraded(self.setting(), self.submission, ending, "")
        graded = replace(graded, facts=msgspec.structs.replace(graded.facts, files={"notes.txt": b"hello"}))
        cards = {"student": "s", "staff": "t"}
        return store.save(self.out, self.submission, graded, cards, self.basis().of(self.submission))

    def todo(self):
        (kept,) = sort_out(self.out, [self.submission], {"tiny": self.basis()}, Level(self.level))
        return kept.todo


@pytest.fixture
def course(make_lab, tmp_path, monkeypatch):
    return Course(make_lab(SUITE, contract={"x": "value"}), tmp_path / "out", monkeypatch)


def edit(course, name, old, new):
    path = course.lab.folder / name
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def received(course):
    told = Received(at="2030-01-31T12:00:00+00:00", known="given")
    course.submission = msgspec.structs.replace(course.submission, attempt=2, received=told)


def set_to(name, value):
    def change(course):
        course.settings = msgspec.structs.replace(course.settings, **{name: value})

    return change


def translate(course):
    (course.lab.folder / "locale").mkdir()
    (course.lab.folder / "locale" / "zh.po").write_text('msgid "a"\nmsgstr "b"\n', "utf-8")


NOTHING = {
    "another path to the same bytes": lambda c: setattr(
        c, "submission", msgspec.structs.replace(c.submission, source="a.zip: amy/tiny.ipynb")
    ),
    "a public suite": lambda c: (c.lab.folder / "public_tests" / "test_tiny.py").write_text("", "utf-8"),
    "a folder of bytecode": lambda c: (c.lab.folder / "hidden_tests" / "__pycache__").mkdir(),
    "jobs": set_to("jobs", 3),
    "the level that it was run at is demanded": lambda c: setattr(c, "level", 2),
}
JUDGE = {
    "a hint": lambda c: edit(c, "hidden_tests/test_tiny.py", "Write x = 1.", "Try x = 1."),
    "points": lambda c: (
        edit(c, "hidden_tests/test_tiny.py", "points=10", "points=12"),
        edit(c, "lab.toml", "points = 10", "points = 12"),
    ),
    "a title": lambda c: edit(c, "lab.toml", "A tiny lab", "A small lab"),
    "a translation": translate,
    "the language": set_to("language", "zh"),
    "the course's name": lambda c: setattr(c, "name", "Deep learning"),
    "when it was handed in": received,
}
RUN = {
    "the notebook": lambda c: setattr(c, "submission", msgspec.structs.replace(c.submission, sha256="cd" * 32)),
    "a limit of the lab": lambda c: edit(c, "lab.toml", "wall_s = 20", "wall_s = 25"),
    "a limit of the course": set_to("limits", {"memory_mb": 700}),
    "the contract": lambda c: edit(c, "lab.toml", "[contract.x]", '[contract.x]\naliases = ["y"]'),
    "the files that are kept": lambda c: edit(c, "lab.toml", "[limits]", '[files]\nkeep = ["*.txt"]\n[limits]'),
    "the secret": set_to("secret", "another"),
    "TensorFlow": lambda c: c.environment({**ENVIRONMENT, "tensorflow": "2.22.0"}),
    "a stronger sandbox is demanded": lambda c: setattr(c, "level", 3),
    "no word of what it rests on": lambda c: (c.out / "tiny/amy/staff/provenance.json").unlink(),
    "an empty word of what it rests on": lambda c: (c.out / "tiny/amy/staff/provenance.json").write_bytes(b""),
    "no folder": lambda c: shutil.rmtree(c.out / "tiny" / "amy"),
}


@pytest.mark.parametrize(
    ("todo", "change"),
    [
        (todo, change)
        for todo, changes in (("nothing", NOTHING), ("judge", JUDGE), ("run", RUN))
        for change in changes.items()
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_what_changed_decides_what_is_done_again(course, todo, change):
    """A run stands, is judged again from its tape, or is run again."""
    course.keep()
    assert course.todo() == "nothing"
    change[1](course)
    assert course.todo() == todo


@pytest.mark.parametrize("name", ["notes", "facts.json", "executed.ipynb", "exhibits.json", "sketches.msgpack"])
def test_a_run_whose_evidence_a_power_cut_has_emptied_is_done_again(course, name):
    """The file is there, and has no content."""
    staff = course.keep() / "staff"
    (staff / "artifacts" / "notes.txt" if name == "notes" else staff / name).write_bytes(b"")
    assert course.todo() == "run"


@pytest.mark.parametrize("name", ["card.html", "staff/card.html", "staff/submission.json"])
def test_what_tells_of_a_run_is_written_again_from_its_evidence(course, name):
    """Where a card is missing or cut short, the notebook need not be run for it."""
    path = course.keep() / name
    path.unlink() if name == "card.html" else path.write_bytes(b"")
    assert course.todo() == "judge"


def test_what_failed_because_of_us_is_always_tried_again(course):
    """A run that could not be done is no finished work."""
    course.keep(Ending.OURS)
    assert course.todo() == "run"


def test_a_run_in_whose_check_the_grader_was_ended_is_done_again(course):
    """It looks finished and lacks that check's points; a check that erred by itself is no reason to run anything."""
    graded = ungraded(course.setting(), SUBMISSION, Ending.OK, "")
    for last, todo in (("grader.pools.serve._Terminated", "run"), ("KeyError: '_Terminated'", "nothing")):
        checks = [
            msgspec.structs.replace(check, outcome=Outcome.ERRORED, staff_note=f"Traceback:\n  ...\n{last}\n")
            for check in graded.verdict.checks
        ]
        cut = replace(graded, verdict=msgspec.structs.replace(graded.verdict, checks=tuple(checks)))
        store.save(course.out, SUBMISSION, cut, {"student": "s", "staff": "t"}, course.basis().of(SUBMISSION))
        assert course.todo() == todo


def test_a_run_waits_until_there_is_a_gpu(course):
    """Without one it stands as deferred; it is run as soon as the host offers one."""
    edit(course, "lab.toml", "points = 10", 'points = 10\ngpu = "required"')
    course.keep(Ending.DEFERRED)
    assert course.todo() == "nothing"
    course.offer(Gpus(cards=("A card",)))
    assert course.todo() == "run"
    course.keep(Ending.DEFERRED)  # the card was there, and TensorFlow did not see it
    assert course.todo() == "run"


def test_judging_again_leaves_a_run_that_stands(course):
    """An update notes the new sizes and what it was judged by."""
    folder = course.keep()
    JUDGE["a hint"](course)
    graded = ungraded(course.setting(), SUBMISSION, Ending.OK, "other")
    store.update(folder, graded, {"student": "longer", "staff": "longer"}, SUBMISSION, course.basis().of(SUBMISSION))
    assert course.todo() == "nothing"
    JUDGE["a title"](course)
    store.confirm(folder, SUBMISSION, course.basis().of(SUBMISSION))
    assert course.todo() == "nothing"


def test_the_versions_are_those_of_the_interpreter_that_runs_notebooks():
    """Asked without importing any of them."""
    import sys

    found = provenance.environment.__wrapped__(sys.executable)
    assert {"python", "machine", "tensorflow", "keras", "numpy"} <= found.keys()
