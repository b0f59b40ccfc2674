"""The Python API: what the document promises is what `import grader` gives, cheaply and typed."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import grader
from grader.authoring.scaffold import new_lab
from grader.batch import Event, Summary
from grader.errors import LabError, SubmissionError, UsageError
from grader.labs import Lab
from grader.records import Tier
from grader.selfcheck import SelfCheck
from grader.verification import Matrix, MatrixRow

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")
PUBLIC = ("check", "grade", "load_lab", "verify")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course with one lab, as the current folder."""
    monkeypatch.chdir(tmp_path)
    new_lab(tmp_path / "labs", "scales")
    return tmp_path


def python(code, folder):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, text=True, capture_output=True, timeout=60, check=True
    ).stdout


# ---------------------------------------------------------------- the surface


def test_the_documented_surface_is_the_exported_one():
    """A section for each function and no other, between what is common and the records."""
    sections = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert sorted(sections[1:-1]) == sorted(PUBLIC)
    assert (sections[0], sections[-1]) == ("What is the same everywhere", "Records")
    assert set(grader.__all__) == {*PUBLIC, "__version__", "load_ipython_extension"}


@pytest.mark.parametrize("name", PUBLIC)
def test_each_signature_is_the_documented_one(name):
    """Names, order, kinds and defaults, as a reader of the page would type them; each has a docstring and full types."""
    function = getattr(grader, name)
    signature = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    shown = str(signature.replace(parameters=plain, return_annotation=signature.empty))
    assert re.sub(r"on_event=<[^>]+>", "on_event=…", f"{name}{shown}") in PAGE
    assert function.__doc__
    assert set(function.__annotations__) == {*signature.parameters, "return"}


@pytest.mark.parametrize("kind", [Summary, Event, SelfCheck, Matrix, Lab])
def test_each_record_is_documented_field_by_field(kind):
    """The first column of a record's table has its fields and the properties that are for callers."""
    table = re.search(rf"^### {kind.__name__}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    written = {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}
    extra = {"ok", "is_kit"} & set(dir(kind))
    assert written == {*kind.__struct_fields__} | extra
    if kind is Matrix:
        assert set(re.findall(r"`(\w+)`", table)) >= set(MatrixRow.__struct_fields__)


def test_importing_it_costs_nothing():
    """Not a package beside the standard library is loaded, nor any module of ours but the version."""
    loaded = python(
        "import sys; a = set(sys.modules); import grader; print(*sorted(set(sys.modules) - a))", ROOT
    ).split()
    assert {name for name in loaded if name.startswith("grader")} == {"grader", "grader.version"}
    assert not {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {"grader"}


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_survives_the_import_of_the_modules_behind_it(name):
    """A submodule of the same name would take its place as soon as somebody imports it."""
    modules = "grader.batch, grader.verification, grader.selfcheck, grader.cli, grader.labs, grader.api"
    assert python(f"import {modules}\nprint(callable(grader.{name}))", ROOT) == "True\n"
    assert not (ROOT / "grader" / name).exists()
    assert not (ROOT / "grader" / f"{name}.py").exists()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = grader.nothing


@pytest.mark.slow
def test_types_reach_whoever_installs_it(tmp_path):
    """The marker is there, and a type checker sees records where it would else see Any."""
    assert (ROOT / "grader" / "py.typed").is_file()
    script = tmp_path / "script.py"
    calls = ("load_lab('a')", "verify('a').ok", "grade([]).rows")
    script.write_text("import grader\n" + "".join(f"reveal_type(grader.{call})\n" for call in calls))
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(script)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=250, check=False)
    kinds = re.findall(r'Revealed type is "(.+)"', done.stdout)
    assert len(kinds) == 3, done.stdout + done.stderr
    for kind, expected in zip(kinds, ("grader.labs.spec.Lab", "bool", "ClassRow"), strict=True):
        assert expected in kind


# ---------------------------------------------------------------- the functions


def test_a_lab_is_found_by_its_id_and_by_its_folder(course):
    """Text and paths; a bare word is always an id, and an unknown one is answered with the nearest."""
    assert grader.load_lab("scales").id == "scales"
    assert grader.load_lab(course / "labs" / "scales") == grader.load_lab(str(course / "labs" / "scales"))
    with pytest.raises(UsageError, match="did you mean 'scales'"):
        grader.load_lab("scale")
    with pytest.raises(LabError, match="cannot be read"):
        grader.load_lab("./scales")


def test_settings_come_from_the_course_file_and_are_checked(course, tmp_path):
    """`course=` is the file the command line takes; what is wrong in it is said."""
    file = tmp_path / "other.toml"
    file.write_text('[run]\nlabs = "nowhere"\n')
    with pytest.raises(UsageError, match="holds no labs"):
        grader.load_lab("scales", course=file)
    file.write_text("[colour]\n")
    with pytest.raises(UsageError, match=r"unknown table \[colour\]"):
        grader.verify("scales", course=file)
    with pytest.raises(UsageError, match="'huge' is no tier"):
        grader.verify("scales", tier="huge")


def test_where_nothing_can_be_graded_the_reason_is_raised(course):
    """A file that is not there, a lab that is wrong, a folder with nothing in it."""
    (course / "empty").mkdir()
    with pytest.raises((UsageError, SubmissionError)):
        grader.grade(course / "empty")
    with pytest.raises((UsageError, SubmissionError), match="missing"):
        grader.grade(["missing.ipynb"])
    (course / "s1").mkdir()
    (course / "s1" / "scales.ipynb").write_text(
        json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    with (course / "labs" / "scales" / "lab.toml").open("a") as spec:
        spec.write("[colour]\n")
    with pytest.raises(LabError, match="colour"):
        grader.grade(str(course))


def test_a_check_of_no_notebook_is_refused(course, capsys):
    """A path must be a notebook; a lab's id asks the notebook that one is in, and this is none."""
    with pytest.raises(UsageError, match="is not a file"):
        grader.check("scales.ipynb")
    (course / "notes.ipynb").write_text("no notebook")
    with pytest.raises(UsageError):
        grader.check(course / "notes.ipynb")
    assert grader.check("scales") is None
    assert "grader check NOTEBOOK" in capsys.readouterr().err


@pytest.mark.slow
def test_the_example_of_the_page_grades_a_class_and_the_other_functions_do_their_work(course):
    """The page's own code, run as a script; then the reference is checked and the lab proved without its mutants."""
    (course / "submissions" / "student-01").mkdir(parents=True)
    reference = course / "reference_solutions" / "scales.ipynb"
    (course / "submissions" / "student-01" / "scales.ipynb").write_bytes(reference.read_bytes())
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert python(example, course).splitlines() == ["Scales 100.0", "scales student-01 100.0 100.0"]
    result = grader.check(reference)
    assert result is not None
    assert result.verdict.score == result.verdict.max_score == 10
    assert result.card.is_file()
    events: list[Event] = []
    matrix = grader.verify("scales", jobs=1, mutants=False, out=course / "kept", tier=Tier.LITE, on_event=events.append)
    assert matrix.ok
    assert [row.name for row in matrix.rows] == ["reference", "starter", "column_by_column", "tensors"]
    assert {event.kind for event in events} == {"level", "planned", "started", "stage", "finished", "closing"}
    assert (course / "kept" / "scales" / "reference" / "card.html").is_file()
