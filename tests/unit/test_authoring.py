"""Labs begun and examined: a new one is right as it stands, and each thing that can be weak in one is found."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec
import pytest

from grader.authoring.lint import Finding, lint
from grader.authoring.messages import lab_messages, wrong
from grader.authoring.scaffold import new_lab
from grader.errors import UsageError
from grader.labs import load_lab
from grader.records import Tier
from grader.settings import CHECKOUT_LABS, labs_to_write, load_settings
from grader.verification import Matrix, MatrixRow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lab(tmp_path):
    """The folder of a lab that was just begun."""
    return new_lab(tmp_path / "labs", "scales", "Scales", "标准化")[0]


def change(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def found(folder, matrix=None):
    return {finding.kind: finding for finding in lint(folder, matrix)}


# ---------------------------------------------------------------- a new lab


def test_a_new_lab_lacks_nothing_but_mutants(lab):
    """Its spec loads, its catalogue is complete, and lint's one wish is for more mistakes."""
    loaded = load_lab(lab)
    assert (loaded.id, loaded.title, loaded.title_zh) == ("scales", "Scales", "标准化")
    assert wrong(lab / "locale" / "zh.po", lab_messages(loaded, "zh")) == []
    assert [(finding.level, finding.kind) for finding in lint(lab)] == [("warning", "few-mutants")]


def test_no_gap_of_the_template_is_left_open(lab):
    for path in [*lab.rglob("*"), lab.parent.parent / "reference_solutions" / "scales.ipynb"]:
        assert "@" not in path.name
        assert path.is_dir() or not re.search(r"@[A-Z_]+@", path.read_text("utf-8")), path
        assert path.suffix != ".in"


def test_nothing_is_ever_written_over(lab):
    """Neither a lab nor a reference, and where one of them is there nothing of the other is made."""
    labs, reference = lab.parent, lab.parent.parent / "reference_solutions" / "scales.ipynb"
    before = {path: path.read_bytes() for path in (*lab.rglob("*.*"), reference) if path.is_file()}
    with pytest.raises(UsageError, match="exists already"):
        new_lab(labs, "scales")
    assert {path: path.read_bytes() for path in before} == before
    shutil.rmtree(lab)
    with pytest.raises(UsageError, match=r"scales\.ipynb: exists already"):
        new_lab(labs, "scales")
    assert list(labs.iterdir()) == []


@pytest.mark.parametrize("name", ["Scales", "../out", "", "a" * 41, "2nd"])
def test_a_name_that_is_no_lab_id_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="not a lab id"):
        new_lab(tmp_path / "labs", name)
    assert list(tmp_path.iterdir()) == []


def test_a_title_with_quotes_does_not_break_the_spec(tmp_path):
    """What a title may hold is the author's; TOML's quotes and escapes stay whole."""
    folder, _ = new_lab(tmp_path / "labs", "odd", 'A "very\\ odd"\ntitle')
    assert load_lab(folder).title == "A 'very/ odd' title"


def test_a_new_lab_goes_to_the_course_and_not_into_the_graders_own_checkout(tmp_path, monkeypatch):
    """From an empty folder `labs` is made there; a folder that was set counts."""
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, {})
    assert settings.labs == CHECKOUT_LABS
    assert labs_to_write(settings) == Path("labs")
    assert labs_to_write(load_settings(None, {"GRADER_LABS": "mine"})) == Path("mine")


# ---------------------------------------------------------------- lint


def _toml(old, new):
    return lambda lab: change(lab / "lab.toml", old, new)


def _hidden(old, new):
    return lambda lab: change(lab / "hidden_tests" / "test_scales.py", old, new)


def _public(old, new):
    return lambda lab: change(lab / "public_tests" / "test_scales_public.py", old, new)


THRESHOLD = "[thresholds.lite.share]\nfloor = 0.1\nfull = 0.9\n[limits]"
FIRST = "x = table(chance)\n    means"
#: kind: (level, what an author did).
WEAK = {
    "lab": ("error", _toml('id = "scales"', 'id = "scales"\ncolour = 1')),
    "variant": ("error", lambda lab: change(lab / "mutants" / "not_scaled.toml", "high = 70", "high = 100")),
    "few-alternatives": ("warning", lambda lab: (lab / "alternatives" / "tensors.py").unlink()),
    "no-hint": ("warning", _public(', hint="Return a table of the same shape as x."', "")),
    "observed-points": ("warning", _hidden("evidence=VERIFIED", "evidence=OBSERVED")),
    "unused-contract": (
        "warning",
        _toml("[contract.standardise]", '[contract.other]\nkind = "value"\n[contract.standardise]'),
    ),
    "unused-threshold": ("warning", _toml("[limits]", THRESHOLD)),
    "uncalibrated": ("warning", _toml("[limits]", THRESHOLD)),
    "no-threshold": ("error", _hidden(FIRST, f'threshold("share")\n    {FIRST}')),
    "no-public-suite": ("warning", lambda lab: (lab / "public_tests" / "test_scales_public.py").unlink()),
    "public-suite": ("error", _public("(student)", "(student, heldout)")),
    "no-handout": ("error", lambda lab: (lab / "handout.md").unlink()),
    "no-translation": ("warning", _toml("description_zh", "# description_zh")),
    "budget": ("error", lambda lab: change(lab / "handout.md", "60 seconds", "90 seconds")),
    "translation": ("error", lambda lab: change(lab / "locale" / "zh.po", 'msgstr "标准差为 1"', 'msgstr ""')),
    "stale-translation": ("warning", _public("the rows in their order", "as they were")),
}


@pytest.mark.parametrize("kind", WEAK)
def test_each_weakness_is_found_and_only_where_it_is(lab, kind):
    """A new lab with one thing spoilt has that finding, which says where and what to do; before it had not."""
    level, spoil = WEAK[kind]
    assert kind not in found(lab)
    spoil(lab)
    finding = found(lab)[kind]
    assert finding.level == level
    assert str(lab) in finding.where
    assert finding.fix
    assert str(finding).startswith(f"{level}: ")


def test_points_on_what_a_notebook_claims_are_an_error(lab):
    """There is no such evidence, and the finding says why."""
    change(lab / "hidden_tests" / "test_scales.py", "points=20, evidence=VERIFIED", "points=20, evidence=CLAIMED")
    assert "nothing is scored on what a notebook claims" in found(lab)["lab"].fix


@pytest.mark.parametrize(
    ("handout", "told"),
    [("handout.md", "1 minute"), ("handout.md", "60 s"), ("handout.zh.md", "1 分钟"), ("handout.md", "60 second")],
)
def test_a_limit_may_be_told_in_other_words(lab, handout, told):
    change(lab / handout, "60 秒" if "zh" in handout else "60 seconds", told)
    assert "budget" not in found(lab)


def test_memory_in_another_unit_is_the_same_and_another_amount_is_not(lab):
    change(lab / "handout.md", "2 GB", "2,048 MiB")
    assert "budget" not in found(lab)
    change(lab / "handout.md", "2,048 MiB", "12 GB")
    assert "2 GB" in found(lab)["budget"].what


def test_a_hint_at_the_place_of_the_mistake_is_as_good(lab):
    """A check whose every failure has advice of its own needs none in its head."""
    _public(', hint="Return a table of the same shape as x."', "")(lab)
    _public('expected="the rows in their order"', 'expected="the rows in their order", hint="Do not sort."')(lab)
    assert "no-hint" not in found(lab)


def test_a_name_that_a_suite_puts_together_counts_as_asked(lab):
    """student.files or getattr(student, f"{name}_history"): the name is built from parts."""
    _toml("[contract.standardise]", '[contract.big_history]\nkind = "value"\n[contract.standardise]')(lab)
    assert "unused-contract" in found(lab)
    _hidden(FIRST, f'getattr(student, f"{{chance}}_history")\n    {FIRST}')(lab)
    assert "unused-contract" not in found(lab)


def matrix(lab, **changes):
    checks = load_lab(lab).checks
    row = MatrixRow(name="reference", score=100, low=100, high=100, cells=(40, 40, 20))
    return msgspec.structs.replace(
        Matrix(
            lab="scales",
            tier=Tier.LITE,
            checks=tuple(check.id for check in checks),
            points=tuple(check.points for check in checks),
            rows=(row,),
        ),
        **changes,
    )


def test_a_check_that_no_mutant_fails_is_an_error(lab):
    """It is named with its file and line."""
    finding = found(lab, matrix(lab, unseen=("scaled",)))["unseen-check"]
    assert (finding.level, "'scaled'" in finding.what) == ("error", True)
    assert re.search(r"test_scales\.py:\d+$", finding.where)
    assert "unseen-check" not in found(lab, matrix(lab))


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"score": 90.0}, "scored 90, must score 100"),
        ({"missing_flags": ("odd",)}, "odd was not raised"),
        ({"problem": "it broke"}, "it broke"),
    ],
)
def test_a_variant_out_of_its_band_is_an_error(lab, row, what):
    spoilt = msgspec.structs.replace(matrix(lab).rows[0], **row)
    assert what in found(lab, matrix(lab, rows=(spoilt,)))["variant"].what


def test_every_rule_and_every_kind_of_finding_is_tested_and_documented():
    """The kinds in the code are those above, and commands.md has a row for each with its level."""
    source = (ROOT / "grader" / "authoring" / "lint.py").read_text("utf-8")
    levels = {(kind, level) for level, kind in re.findall(r'_(error|warning)\(\s*"([\w-]+)"', source)}
    levels |= {(kind, "error") for kind in re.findall(r'_from\(error, "([\w-]+)"\)', source)}
    assert {kind for kind, _ in levels} == {*WEAK, "unseen-check", "few-mutants"}
    rows = re.findall(
        r"^\| `([\w-]+)` \| (error|warning) \|", (ROOT / "docs" / "commands.md").read_text("utf-8"), re.MULTILINE
    )
    assert set(rows) == levels


def test_errors_come_first(lab):
    change(lab / "handout.md", "60 seconds", "90 seconds")
    assert [finding.level for finding in lint(lab)] == ["error", "warning"]
    assert all(isinstance(finding, Finding) for finding in lint(lab))


#: What a lab lacks and keeps: a calibration takes hours of a machine, and how a model overfits shows while it trains only.
KEPT = {"uncalibrated": None, "observed-points": "overfitting"}


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in (ROOT / "labs").glob("*/lab.toml")), ids=lambda path: path.name
)
def test_the_labs_of_this_checkout_have_no_weakness_but_those_that_are_meant(folder):
    """An error would wrong a student; a warning that is not listed above is to be mended."""
    meant = {kind for kind, lab in KEPT.items() if lab in (None, folder.name)}
    assert [str(found) for found in lint(folder) if found.level == "error" or found.kind not in meant] == []
