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
from grader.calibration.kept import Run, kept_path, write_runs
from grader.calibration.trials import styles
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
    "kit": ("error", lambda lab: change(lab / "handout.md", "60 seconds", "60 seconds ![plot](plot.png)")),
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


@pytest.mark.parametrize(
    "mention",
    [
        "np.other()",
        'print("other")',
        'note = "other"',
        "other = 1",
        "lambda student: student.standardise",
        "f(np.other)",
    ],
)
def test_a_word_of_the_suite_is_no_question(lab, mention):
    """What has the name's letters and is not asked of the student leaves the name unused."""
    _toml("[contract.standardise]", '[contract.other]\nkind = "value"\n[contract.standardise]')(lab)
    _hidden(FIRST, f"{mention}\n    {FIRST}")(lab)
    assert found(lab)["unused-contract"].what == "nothing asks for 'other'"


@pytest.mark.parametrize(
    "question",
    [
        "student.other.value()",
        'getattr(student, "other")',
        'student.files.first("other")',
        "helper(1, student)",
        "helper(1, who=student)",
        'for name in ("other",):\n        getattr(student, name)',
    ],
)
def test_a_name_that_is_asked_for_in_any_way_is_used(lab, question):
    """By a helper that is given the student, too; where the name is computed, every string may be it."""
    _toml("[contract.standardise]", '[contract.other]\nkind = "value"\n[contract.standardise]')(lab)
    _hidden(FIRST, f"{question}\n    {FIRST}")(lab)
    with (lab / "hidden_tests" / "test_scales.py").open("a") as file:
        file.write(f"\n\ndef helper(number, who):\n    return who.{'other' if 'helper' in question else 'more'}\n")
    assert "unused-contract" not in found(lab)


# ---------------------------------------------------------------- one bad file


def _reference(content):
    return lambda lab: (lab.parent.parent / "reference_solutions" / "scales.ipynb").write_bytes(content)


def _truncated(lab):
    _toml("[limits]", THRESHOLD)(lab)
    (lab / "calibration").mkdir()
    (lab / "calibration" / "lite.json").write_text('{"schema": 1, "lab"')


LATIN = "Für".encode("latin-1")


@pytest.mark.parametrize(
    ("spoil", "file"),
    [
        (lambda lab: (lab / "handout.md").write_bytes(LATIN), "handout.md"),
        (lambda lab: (lab / "locale" / "zh.po").write_bytes(LATIN), "zh.po"),
        (lambda lab: (lab / "mutants" / "not_scaled.toml").write_bytes(LATIN), "not_scaled.toml"),
        (_reference(b'{"nbformat": 4}'), "scales.ipynb"),
        (_reference(b'{"nbformat": 4, "cells": [{"source": "x = 1"}]}'), "scales.ipynb"),
        (_reference(b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 1}]}'), "scales.ipynb"),
        (_reference(b'{"nbformat": 4, "cells": [], "metadata": []}'), "scales.ipynb"),
        (_reference(b"[]"), "scales.ipynb"),
        (_truncated, "lite.json"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_finding_that_names_it_once(lab, spoil, file):
    """Nobody's other lab is left unexamined for it, nor the rest of this one."""
    _public(', hint="Return a table of the same shape as x."', "")(lab)
    spoil(lab)
    findings = lint(lab)
    assert [finding.where.endswith(file) for finding in findings if finding.level == "error"] == [True]
    assert "no-hint" in {finding.kind for finding in findings}


def test_a_reference_with_a_byte_order_mark_is_read(lab):
    """Windows editors write one."""
    path = lab.parent.parent / "reference_solutions" / "scales.ipynb"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [finding.kind for finding in lint(lab)] == ["few-mutants"]


def test_only_runs_of_the_solutions_as_they_are_now_calibrate(lab):
    """Of the reference or an alternative, by their digests; a baseline's runs say nothing of the full mark."""
    _toml("[limits]", THRESHOLD)(lab)
    change(lab / "mutants" / "not_scaled.toml", "low = ", "baseline = true\nlow = ")
    reference, *_, baseline = styles(load_lab(lab))
    path = kept_path(lab, Tier.LITE)
    run = Run(style="reference", number=1, notebook="0" * 8, suite="0" * 8, seconds=1.0)
    of_baseline = msgspec.structs.replace(run, style=baseline.name, notebook=baseline.digest)
    write_runs(path, "scales", Tier.LITE, [run, of_baseline])
    assert "uncalibrated" in found(lab)
    run = msgspec.structs.replace(run, notebook=reference.digest)
    write_runs(path, "scales", Tier.LITE, [run])
    assert "uncalibrated" not in found(lab)
    write_runs(path, "others", Tier.LITE, [run])
    assert found(lab)["lab"].what == "the kept runs are of the lab 'others'"


@pytest.mark.parametrize(("data", "calibrated"), [("none", True), ("iris", False)])
def test_without_a_data_set_runs_of_one_tier_calibrate_both(lab, data, calibrated):
    """What is asked and the thresholds are the same; with one, each tier has data of its own."""
    _toml("[limits]", THRESHOLD)(lab)
    change(lab / "lab.toml", 'data = "none"', f'data = "{data}"')
    reference = styles(load_lab(lab))[0]
    run = Run(style="reference", number=1, notebook=reference.digest, suite="0" * 8, seconds=1.0)
    write_runs(kept_path(lab, Tier.FULL), "scales", Tier.FULL, [run])
    assert ("uncalibrated" not in found(lab)) == calibrated


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


def test_a_variant_that_could_not_be_run_is_no_finding(lab):
    """Where TensorFlow is missing nothing is proved, and nothing is wrong with the lab."""
    row = msgspec.structs.replace(matrix(lab).rows[0], score=0, problem="no keras", unproved=True)
    unproved = matrix(lab, rows=(row,))
    assert not unproved.ok
    assert "variant" not in found(lab, unproved)
    assert (row.why, unproved.wrong, unproved.unproved) == ("not proved: no keras", (), (row,))


def test_every_rule_and_every_kind_of_finding_is_tested_and_documented():
    """The kinds in the code are those above, and commands.md has a row for each with its level."""
    source = (ROOT / "grader" / "authoring" / "lint.py").read_text("utf-8")
    levels = {(kind, level) for level, kind in re.findall(r'_(error|warning)\(\s*"([\w-]+)"', source)}
    levels |= {(kind, "error") for kind in re.findall(r'finding_of\(error, "([\w-]+)"\)', source)}
    assert {kind for kind, _ in levels} == {*WEAK, "unseen-check", "few-mutants"}
    rows = re.findall(
        r"^\| `([\w-]+)` \| (error|warning) \|", (ROOT / "docs" / "commands.md").read_text("utf-8"), re.MULTILINE
    )
    assert set(rows) == levels


def test_errors_come_first(lab):
    change(lab / "handout.md", "60 seconds", "90 seconds")
    assert [finding.level for finding in lint(lab)] == ["error", "warning"]
    assert all(isinstance(finding, Finding) for finding in lint(lab))


#: How a model overfits shows while it trains only.
KEPT = {"observed-points": "overfitting"}


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in (ROOT / "labs").glob("*/lab.toml")), ids=lambda path: path.name
)
def test_the_labs_of_this_checkout_have_no_weakness_but_those_that_are_meant(folder):
    """An error would wrong a student; a warning that is not listed above is to be mended."""
    meant = {kind for kind, lab in KEPT.items() if lab == folder.name}
    assert [str(found) for found in lint(folder) if found.level == "error" or found.kind not in meant] == []
