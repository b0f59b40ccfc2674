"""Regrading: kept runs are judged again from their tapes, without running a notebook; what cannot be is said."""

from __future__ import annotations

import json
import random
import shutil

import pytest

from grader import store
from grader.batch import Plan, grade
from grader.labs import load_lab
from grader.records import Level, Outcome
from grader.regrading import Regraded, regrade
from grader.settings import load_settings
from grader.submissions import collect
from grader.worker import prepare

pytestmark = pytest.mark.slow

SUITE = '''
import numpy as np
from grader.checks import OBSERVED, VERIFIED, as_array, assert_close, award, check

@check("double", points=6, evidence=VERIFIED, hint="Multiply by two.")
def test_double(student, heldout, threshold):
    """`f` doubles what it is given."""
    answer = as_array(student.f(heldout.inputs), (len(heldout), 4))
    right = float(np.isclose(answer, 2 * heldout.inputs.array()).mean())
    award(min(1.0, right / threshold("accuracy").full), found="doubled")

@check("object", points=4, evidence=VERIFIED)
def test_object(student):
    """A `Thing` counts."""
    thing = student.Thing.keep(3)
    assert thing.add.call(2, kind="mutating") == 5
    assert thing.add.call(2, kind="mutating") == 7
'''
SPEC = """
[files]
keep = ["*.txt", "*/*.txt"]
[thresholds.lite.accuracy]
floor = 0.1
full = {full}
[thresholds.full.accuracy]
floor = 0.1
full = {full}
"""
CELLS = [
    "def f(x): return 2 * x if len(x.shape) == 2 else x",
    "class Thing:\n    def __init__(self, n): self.n = n\n    def add(self, k):\n        self.n += k\n        return self.n",
    (
        "import os\nos.mkdir('out')\nfor name in ('plain.txt', 'out/same.txt', 'out__same.txt', '..txt', '-rf.txt'):\n"
        "    open(name, 'w').write(name)"
    ),
]
WEAK = ["def f(x):\n    y = 2 * x\n    y[len(y) // 2:] = 0\n    return y", *CELLS[1:]]
DEAD = [*CELLS, "import os; os._exit(1)"]
CARRIER = [*CELLS, f'TABLE = "{random.Random(1).randbytes(3000).hex()}"']
LARGE = [*CELLS, f'TABLE = "{"a" * (257 << 10)}"']


def notebook(cells):
    made = [
        {"cell_type": "code", "source": cell, "metadata": {}, "outputs": [], "execution_count": None} for cell in cells
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made})


@pytest.fixture(scope="session")
def course(tmp_path_factory):
    """A lab, a class of six, and its graded runs: made once, copied for each test."""
    root = tmp_path_factory.mktemp("course")
    lab = root / "labs" / "tiny"
    for kind in ("hidden_tests", "public_tests"):
        (lab / kind).mkdir(parents=True)
    contract = '[contract.f]\nkind = "function"\n[contract.Thing]\nkind = "class"\n'
    head = 'schema = 1\nid = "tiny"\ntitle = "Tiny"\ntitle_zh = "小"\ndata = "iris"\npoints = 10\nstarter_score = 0\n'
    limits = "[limits]\nwall_s = 30\nmemory_mb = 1024\ndisk_mb = 32\nquestion_s = 10\nthreads = 1\n"
    (lab / "lab.toml").write_text(head + limits + contract + SPEC.format(full=0.9), "utf-8")
    (lab / "hidden_tests" / "test_tiny.py").write_text(SUITE, "utf-8")
    for student, content in {
        "good": notebook(CELLS),
        "weak": notebook(WEAK),
        "dead": notebook(DEAD),
        "broken": "not a notebook",
        "carrier": notebook(CARRIER),
        "large": notebook(LARGE),
    }.items():
        (root / "class" / student).mkdir(parents=True)
        (root / "class" / student / "tiny.ipynb").write_text(content, "utf-8")
    settings = load_settings(None, {}, {"secret": "s"})
    submissions = collect([root / "class"], {"tiny"}, None).submissions
    plan = Plan(submissions=submissions, labs={"tiny": load_lab(lab)}, settings=settings, out=root / "out", jobs=1)
    summary = grade(plan)
    assert summary.attention == 0
    return root, settings


@pytest.fixture
def kept(course, tmp_path):
    """A copy of the course to change: (its lab folder, its runs, its settings)."""
    root, settings = course
    shutil.copytree(root / "labs", tmp_path / "labs")
    shutil.copytree(root / "out", tmp_path / "out")
    return tmp_path / "labs" / "tiny", tmp_path / "out", settings


def again(kept, *, rerun=False):
    lab, out, settings = kept
    done = regrade(out, {"tiny": load_lab(lab)}, settings, jobs=2, rerun=rerun)
    assert done.problems == ()
    return done.changes


def change(kept, name, old, new):
    path = kept[0] / name
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def scores(out):
    return {folder.name: store.load(folder).verdict.score for folder in store.runs(out)}


def test_the_overview_speaks_a_labs_own_words_wherever_it_lies(kept):
    """The labs folder of the settings does not hold this one."""
    lab, out, _ = kept
    (lab / "locale").mkdir()
    head = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    (lab / "locale" / "zh.po").write_text(f'{head}msgid "`f` doubles what it is given."\nmsgstr "翻倍。"\n', "utf-8")
    settings = load_settings(None, {}, {"secret": "s", "language": "zh"})
    assert not (settings.labs / lab.name).exists()
    regrade(out, {"tiny": load_lab(lab)}, settings, jobs=1)
    assert "翻倍。" in (out / "index.html").read_text("utf-8")


def files(out):
    return {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_the_class_scores_as_it_should(kept):
    """What the other tests start from: all, a part, what was left by a dead kernel, nothing."""
    found = scores(kept[1])
    assert found["good"] == 10.0
    assert found["weak"] == pytest.approx(4 + 6 * 0.5 / 0.9, abs=0.3)
    assert found["dead"] == found["broken"] == found["large"] == 0.0
    carrier = store.load(kept[1] / "tiny" / "carrier").verdict
    assert (carrier.score, [flag.kind for flag in carrier.flags]) == (10.0, ["large literal"])


def test_regrading_without_a_change_changes_no_byte(kept):
    """Same scores, same files, nothing to report."""
    before = files(kept[1])
    assert again(kept) == ()
    assert files(kept[1]) == before


def test_regrading_starts_no_sandbox(kept, monkeypatch):
    """Not even to see which one there is; the workers are given none."""

    def refuse(*_, **__):
        raise AssertionError("a sandbox was looked for")

    monkeypatch.setattr("grader.regrading.choose", refuse)
    change(kept, "lab.toml", "full = 0.9", "full = 0.5")
    assert len(again(kept)) == 1


def test_a_changed_threshold_changes_the_score_and_is_told_check_by_check(kept):
    """Before and after, for those whose score moved and for nobody else."""
    before = scores(kept[1])
    change(kept, "lab.toml", "full = 0.9", "full = 0.5")
    (found,) = again(kept)
    assert (found.lab, found.student, found.rerun) == ("tiny", "weak", False)
    assert (found.before, found.after) == (before["weak"], 10.0)
    assert [(moved.id, moved.before, moved.after) for moved in found.checks] == [
        ("double", pytest.approx(before["weak"] - 4), 6.0)
    ]
    assert scores(kept[1]) == {**before, "weak": 10.0}
    card = (kept[1] / "tiny" / "weak" / "card.html").read_text("utf-8")
    assert "10" in card
    assert again(kept) == ()


def test_changed_points_move_everybodys_maximum(kept):
    """Those too whose file could not be run."""
    change(kept, "lab.toml", "points = 10", "points = 14")
    change(kept, "hidden_tests/test_tiny.py", "points=4", "points=8")
    found = {moved.student: moved for moved in again(kept)}
    assert found["good"].after == 14.0
    verdicts = {folder.name: store.load(folder).verdict for folder in store.runs(kept[1])}
    assert {name: verdict.max_score for name, verdict in verdicts.items()} == dict.fromkeys(verdicts, 14.0)


def test_only_a_card_that_tells_something_else_is_written_again(kept):
    """New thresholds stand in the staff's edition; a student whose score stays keeps their card, and the tape is as it was."""
    before = files(kept[1] / "tiny" / "good")
    change(kept, "lab.toml", "full = 0.9", "full = 0.91")
    change(
        kept,
        "hidden_tests/test_tiny.py",
        'found="doubled")',
        'found="doubled", staff=f"{threshold(\'accuracy\').full}")',
    )
    again(kept)
    after = files(kept[1] / "tiny" / "good")
    changed = {path.as_posix() for path in before if before[path] != after[path]}
    assert changed == {"staff/card.html", "staff/result.json", "staff/provenance.json"}


def test_a_changed_message_reaches_the_card(kept):
    """Nothing to report, but the card is the new one."""
    change(kept, "hidden_tests/test_tiny.py", "Multiply by two.", "Try `2 * x`.")
    assert again(kept) == ()
    saved = store.load(kept[1] / "tiny" / "weak")
    assert {check.id: check.hint for check in saved.verdict.checks}["double"] == "Try `2 * x`."
    assert "Try" in (kept[1] / "tiny" / "weak" / "card.html").read_text("utf-8")


def test_a_new_question_means_running_again_and_never_a_splice(kept):
    """The run keeps its verdict, its tape and its card as they are, and is named."""
    before = files(kept[1] / "tiny" / "good")
    change(kept, "hidden_tests/test_tiny.py", "student.Thing.keep(3)", "student.Thing.keep(4)")
    change(kept, "hidden_tests/test_tiny.py", "== 5", "== 6")
    found = {moved.student: moved for moved in again(kept)}
    assert found["good"].rerun
    assert (found["good"].before, found["good"].after, found["good"].checks) == (10.0, 10.0, ())
    assert files(kept[1] / "tiny" / "good") == before


def test_a_run_that_is_done_again_has_a_whole_tape_of_its_own(kept):
    """No answer of the old run is left in it, and what changed is told."""
    change(kept, "hidden_tests/test_tiny.py", "student.Thing.keep(3)", "student.Thing.keep(4)")
    old = {entry.answer.nonce for entry in store.load(kept[1] / "tiny" / "good").tape().entries}
    found = {moved.student: moved for moved in again(kept, rerun=True)}
    assert (found["good"].rerun, found["good"].before, found["good"].after) == (True, 10.0, 6.0)
    assert [(moved.id, moved.before, moved.after) for moved in found["good"].checks] == [("object", 4.0, 0.0)]
    saved = store.load(kept[1] / "tiny" / "good")
    assert saved.verdict.score == 6.0
    assert not old & {entry.answer.nonce for entry in saved.tape().entries}
    assert again(kept) == ()


def test_the_order_of_mutating_questions_is_part_of_the_question(kept):
    """Asked twice, the same words are two questions: a suite that asks once more is not answered from the tape."""
    suite = '    assert thing.add.call(2, kind="mutating") == 7\n'
    change(kept, "hidden_tests/test_tiny.py", suite, suite + '    assert thing.add.call(2, kind="mutating") == 9\n')
    assert {moved.student for moved in again(kept) if moved.rerun} >= {"good", "weak"}


def test_a_check_that_is_dropped_and_one_that_moves_are_replayed(kept):
    """The order of the checks is no part of a pure question."""
    change(kept, "lab.toml", "points = 10", "points = 6")
    text = (kept[0] / "hidden_tests" / "test_tiny.py").read_text("utf-8")
    (kept[0] / "hidden_tests" / "test_tiny.py").write_text(text[: text.index('@check("object"')], "utf-8")
    found = {moved.student: moved for moved in again(kept)}
    assert not any(moved.rerun for moved in found.values())
    assert found["good"].after == 6.0
    assert ("object", 4.0, 0.0) in [(moved.id, moved.before, moved.after) for moved in found["good"].checks]


def test_a_run_of_a_lab_that_is_not_there_is_left_alone(kept):
    """Another course's runs in the same folder."""
    before = files(kept[1] / "tiny")
    assert regrade(kept[1], {}, kept[2]) == Regraded()
    assert files(kept[1] / "tiny") == before


@pytest.mark.parametrize("name", ["tape.msgpack", "facts.json", "artifacts/plain.txt"])
def test_a_damaged_run_is_named_and_costs_the_others_nothing(kept, name):
    """One line with the file and what to do; the run is left as it is, and the others are judged."""
    (kept[1] / "tiny" / "good" / "staff" / name).write_bytes(b"\xc1")
    before = files(kept[1] / "tiny" / "good")
    change(kept, "lab.toml", "full = 0.9", "full = 0.5")
    done = regrade(kept[1], {"tiny": load_lab(kept[0])}, kept[2], jobs=2)
    (problem,) = done.problems
    assert name in problem
    assert "grade it again" in problem
    assert [moved.student for moved in done.changes] == ["weak"]
    assert files(kept[1] / "tiny" / "good") == before


def test_artifacts_have_safe_names_on_disk_and_their_true_ones_in_the_facts(kept):
    """Two paths that flatten to one name stay two files."""
    saved = store.load(kept[1] / "tiny" / "good")
    paths = {artifact.path for artifact in saved.facts.artifacts}
    assert paths == {"plain.txt", "out/same.txt", "out__same.txt", "..txt", "-rf.txt"}
    assert {path: saved.read_file(path).decode() for path in paths} == {path: path for path in paths}
    names = [path.name for path in (kept[1] / "tiny" / "good" / "staff" / "artifacts").iterdir()]
    assert len(names) == 5
    assert all(name[0] not in ".-" for name in names)


def test_the_tape_holds_no_input_and_no_label(kept):
    """Drawn inputs stand under their name: the withheld rows are not copied into every run's folder."""
    saved = store.load(kept[1] / "tiny" / "good")
    lab = load_lab(kept[0])
    draw = prepare(lab, kept[2], Level.L2, saved.verdict.tier).heldout(saved.submission.sha256)
    sent = draw.inputs.array()
    assert sent.tobytes() not in (saved.folder / "staff" / "tape.msgpack").read_bytes()
    questions = [entry.question for entry in saved.tape().entries]
    assert any(draw.inputs.key in question for question in questions)


def test_a_dead_kernel_is_replayed_as_dead(kept):
    """A regrade does not revive it, and does not call it our fault."""
    saved = store.load(kept[1] / "tiny" / "dead")
    assert {check.outcome for check in saved.verdict.checks} == {Outcome.FAILED}
    change(kept, "lab.toml", "full = 0.9", "full = 0.5")
    again(kept)
    assert store.load(kept[1] / "tiny" / "dead").verdict.needs_attention == ()


def test_a_class_is_graded_without_any_sandbox_too(course, tmp_path, monkeypatch):
    """Two workers in plain process groups: neither ends the other's, and the level says what that is worth."""
    from grader.sandbox import Bare, canary

    monkeypatch.setattr(canary, "available", lambda: [Bare()])
    root, settings = course
    submissions = collect([root / "class"], {"tiny"}, None).submissions
    labs = {"tiny": load_lab(root / "labs" / "tiny")}
    summary = grade(Plan(submissions=submissions, labs=labs, settings=settings, out=tmp_path / "out", jobs=2))
    assert summary.level is Level.L0
    assert summary.attention == 0
    assert scores(tmp_path / "out") == pytest.approx(scores(root / "out"))
