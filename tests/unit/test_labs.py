"""Labs: the spec is read strictly, and every mistake of an author is found before anything runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from grader.errors import LabError, UsageError
from grader.labs import Contract, Threshold, find_labs, lab_ids, load_lab, select, suites
from grader.records import Evidence, Limits, Tier

SPEC = """\
schema = 1
id = "iris"
title = "Iris"
title_zh = "鸢尾花"
data = "iris"
points = 100
starter_score = 10
[limits]
wall_s = 120
[contract.model]
kind = "model"
aliases = ["net", "classifier"]
input_shape = [4]
input_range = [0.0, 1.0]
[contract.loss]
kind = "function"
[files]
keep = ["mnist.keras", "training_1/*"]
[observe]
snapshots = [1, 5]
[thresholds.full.accuracy]
floor = 0.6
full = 0.9
[thresholds.lite.accuracy]
floor = 0.5
full = 0.8
"""
SUITE = '''\
from grader.checks import OBSERVED, VERIFIED, check

raise RuntimeError("a suite must never be imported by reading it")


@check("trained", points=40, evidence=OBSERVED, hint="call fit")
def test_trained(student):
    """Your model was trained
    in this notebook.

    Not shown.
    """


@check("accuracy", points=60, evidence=VERIFIED, needs=("trained",))
def test_accuracy(student):
    """It knows flowers."""


def helper():
    pass
'''


def make(root: Path, spec: str = SPEC, suite: str = SUITE, public: str = "") -> Path:
    folder = root / "iris"
    (folder / "hidden_tests").mkdir(parents=True)
    (folder / "lab.toml").write_text(spec, encoding="utf-8")
    (folder / "hidden_tests" / "test_iris.py").write_text(suite, encoding="utf-8")
    if public:
        (folder / "public_tests").mkdir()
        (folder / "public_tests" / "test_public.py").write_text(public, encoding="utf-8")
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(LabError) as caught:
        load_lab(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_lab_is_read_whole(tmp_path):
    """Everything in the spec arrives typed, and the checks in the order of the suite."""
    lab = load_lab(make(tmp_path))
    assert (lab.id, lab.title_zh, lab.points, lab.starter_score) == ("iris", "鸢尾花", 100, 10)
    assert lab.limits == Limits(wall_s=120)
    assert lab.contract["model"] == Contract(
        name="model", kind="model", aliases=("net", "classifier"), input_shapes=((4,),), input_range=(0.0, 1.0)
    )
    assert lab.keep == ("mnist.keras", "training_1/*")
    assert lab.snapshots == (1, 5)
    assert lab.threshold(Tier.LITE, "accuracy") == Threshold(floor=0.5, full=0.8)
    assert [(check.id, check.points, check.evidence) for check in lab.checks] == [
        ("trained", 40, Evidence.OBSERVED),
        ("accuracy", 60, Evidence.VERIFIED),
    ]
    assert lab.checks[0].description == "Your model was trained in this notebook."
    assert (lab.checks[0].hint, lab.checks[1].needs) == ("call fit", ("trained",))


def test_several_input_shapes_may_be_allowed(tmp_path):
    """[[28, 28], [784]] means either."""
    lab = load_lab(make(tmp_path, SPEC.replace("[4]", "[[28, 28], [784]]")))
    assert lab.contract["model"].input_shapes == ((28, 28), (784,))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title_zh", "titel_zh", "unknown key 'titel_zh'|lab.toml:4|did you mean 'title_zh'?"),
        ("wall_s", "walls", "unknown key 'walls' in [limits]|did you mean 'wall_s'?"),
        ("aliases", "alias", "unknown key 'alias' in [contract.model]|did you mean 'aliases'?"),
        ("full = 0.9", "ful = 0.9", "unknown key 'ful'|did you mean 'full'?"),
        ("[thresholds.full", "[thresholds.ful", "unknown data tier|did you mean 'full'?"),
        ("schema = 1", "schema = 2", "schema = 2 is not known"),
        ('id = "iris"', 'id = "isir"', "the folder is 'iris'"),
        ('id = "iris"', 'id = "../iris"', "is not a lab id"),
        ('data = "iris"', 'data = "irsi"', "unknown data set|did you mean 'iris'?"),
        ('kind = "model"', 'kind = "modle"', "invalid enum value 'modle'"),
        ("points = 100", "points = 90", "add up to 100|points = 90"),
        ("points = 100", 'points = "many"', "expected 'float'"),
        ("starter_score = 10", "starter_score = 110", "starter_score = 110"),
        ("wall_s = 120", "wall_s = -1", "not positive"),
        ("full = 0.9", "full = 0.6", "floor = full"),
        ('"net"', '"loss"', "'loss' stands for both model and loss"),
        ('"net"', '"my net"', "is not a Python name"),
        ("[4]", "[0]", "is not a shape"),
        ("[0.0, 1.0]", "[1.0, 0.0]", "input_range"),
        ('"mnist.keras"', '"../../secret"', "leaves the work folder"),
        ("snapshots", "snapshot", "unknown key 'snapshot' in [observe]|did you mean 'snapshots'?"),
        ("[1, 5]", "[5, 1]", "snapshots = [5, 1] are not at most 3 rising epochs"),
        ("[1, 5]", "[0, 5]", "snapshots = [0, 5] are not"),
        ("[1, 5]", "[1, 2, 3, 4]", "snapshots = [1, 2, 3, 4] are not"),
        ("[thresholds.lite.accuracy]", "[thresholds.lite.acc]", "for one data tier only"),
        ("schema = 1", "schema = ", "is not TOML"),
        ('title = "Iris"\n', "", "missing required field 'title'"),
    ],
)
def test_a_wrong_spec_is_refused_with_what_and_where(tmp_path, old, new, said):
    """Each mistake in lab.toml gives one line that names the file, the mistake and a way out."""
    assert old in SPEC
    message = refused(make(tmp_path, SPEC.replace(old, new, 1)))
    assert "lab.toml" in message
    for part in said.split("|"):
        assert part in message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("points=40", "points=30", "add up to 90"),
        ("evidence=OBSERVED", "evidence=CLAIMED", "nothing is scored on what a notebook claims"),
        ("evidence=OBSERVED, ", "", "lacks evidence"),
        ("points=40", "points=4 * 10", "points of @check is not a literal"),
        ("points=40", "points=-40", "not a number from 0 up"),
        ('hint="call fit"', "hint=HINT", "hint of @check is not a literal"),
        ('hint="call fit"', 'hnit="call fit"', "no argument 'hnit'|did you mean 'hint'?"),
        ('"accuracy", points', '"trained", points', "check 'trained' exists already at test_iris.py"),
        ('("trained",)', '("trainde",)', "needs 'trainde'|did you mean 'trained'?"),
        ('needs=("trained",)', 'needs=("accuracy",)', "may need earlier ones only"),
        ('"""It knows flowers."""', "pass", "has no docstring"),
        ('@check("trained", points=40, evidence=OBSERVED, hint="call fit")\n', "", "test_trained has no @check"),
        ("def helper():", "def helper(:", "is not Python"),
    ],
)
def test_a_wrong_suite_is_refused_with_file_and_line(tmp_path, old, new, said):
    """Each mistake in a suite gives one line that names the file and the line."""
    assert old in SUITE
    message = refused(make(tmp_path, suite=SUITE.replace(old, new, 1)))
    assert re.search(r"test_iris\.py:\d+", message)
    for part in said.split("|"):
        assert part in message


def test_points_of_the_public_suite_need_not_add_up(tmp_path):
    """The public suite is read too, and only the hidden one has to match the lab's points."""
    public = '@check("runs", points=1, evidence=OBSERVED)\ndef test_runs(student):\n    """Runs."""\n'
    assert [check.id for check in load_lab(make(tmp_path, public=public)).public_checks] == ["runs"]


def test_the_digest_changes_with_the_suite_and_not_with_caches(tmp_path):
    """A changed check is another lab; a cache file is not."""
    folder = make(tmp_path)
    before = load_lab(folder).digest
    (folder / "hidden_tests" / "__pycache__").mkdir()
    (folder / "hidden_tests" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert load_lab(folder).digest == before
    (folder / "hidden_tests" / "test_iris.py").write_text(SUITE.replace("call fit", "call fit!"))
    assert load_lab(folder).digest != before


def test_a_missing_threshold_names_the_spec(tmp_path):
    """A suite that asks for a threshold the spec lacks is the author's error."""
    with pytest.raises(LabError, match="did you mean 'accuracy'"):
        load_lab(make(tmp_path)).threshold(Tier.FULL, "acuracy")


def test_one_wrong_lab_does_not_hide_the_others(tmp_path):
    """With a list for the errors, the right labs are found and the wrong one is reported."""
    make(tmp_path)
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "lab.toml").write_text("nonsense")
    errors: list[LabError] = []
    assert list(find_labs(tmp_path, errors)) == ["iris"]
    assert len(errors) == 1
    assert lab_ids(tmp_path) == ("iris", "mnist")
    with pytest.raises(LabError):
        find_labs(tmp_path)


def test_an_unknown_lab_is_a_usage_error_that_suggests(tmp_path):
    """Asking for a lab that does not exist names the nearest one; asking for none means all."""
    make(tmp_path)
    labs = find_labs(tmp_path)
    assert list(select(labs, [])) == ["iris"]
    with pytest.raises(UsageError, match="did you mean 'iris'"):
        select(labs, ["irsi"])


def test_a_folder_without_labs_is_a_usage_error(tmp_path):
    """An empty labs folder says how to point at the right one."""
    with pytest.raises(UsageError, match="holds no labs"):
        find_labs(tmp_path)


def test_a_bug_of_the_interpreters_parser_is_no_fault_of_the_lab(monkeypatch, tmp_path):
    """CPython 3.11 may end one `ast.parse` in a SystemError (gh-106905); the next one succeeds."""
    (tmp_path / "test_x.py").write_text(
        '@check("x", points=1, evidence=OBSERVED)\ndef test_x(student):\n    """Is there."""\n', "utf-8"
    )
    parse, failed = suites.ast.parse, []

    def fails_once(*args, **kwargs):
        if not failed:
            failed.append(True)
            raise SystemError("AST constructor recursion depth mismatch (before=147, after=166)")
        return parse(*args, **kwargs)

    monkeypatch.setattr(suites.ast, "parse", fails_once)
    assert [check.id for check in suites.read_suite(tmp_path)] == ["x"]
