"""Attacks by what is handed in: files, folders, archives, names. Through the real intake; nothing of it runs anywhere."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from grader.records import Ending
from grader.submissions import collect, slug

ROOT = Path(__file__).resolve().parents[2]
LABS = ("plain",)


def notebook(metadata: str = "{}", source: str = '"x = 1"') -> bytes:
    cell = f'{{"cell_type": "code", "source": {source}, "metadata": {{}}, "outputs": [], "execution_count": null}}'
    return f'{{"nbformat": 4, "nbformat_minor": 5, "metadata": {metadata}, "cells": [{cell}]}}'.encode()


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def handed_in(folder: Path, student: str, content: bytes = notebook()) -> Path:
    (folder / student).mkdir(parents=True)
    (folder / student / "plain.ipynb").write_bytes(content)
    return folder


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


BAD = {
    "deep": b'{"nbformat": 4, "metadata": {}, "cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "integers": notebook('{"n": ' + "9" * 1_000_000 + "}"),
    "not text": b"\xff\xfe\x00\xd8" + notebook(),
    "cut off": notebook()[:-20],
}


@pytest.mark.attack(
    "G78", "Hands in notebooks of 100,000 levels, huge integers, no text, sources of a million strings."
)
@pytest.mark.parametrize("name", BAD)
def test_a_notebook_that_hurts_its_reader_is_one_bad_file(tmp_path, name):
    """Its student gets a verdict on it; the one beside is read."""
    handed_in(tmp_path, "student-66", BAD[name])
    handed_in(tmp_path, "student-01")
    found = {one.student: one for one in collect([tmp_path], LABS).submissions}
    assert found["student-66"].problem in (Ending.NOT_A_NOTEBOOK, None)
    assert found["student-01"].problem is None
    many = notebook(source=json.dumps(["x = 1\n"] * 300_000))
    (tmp_path / "student-66" / "plain.ipynb").write_bytes(many)
    found = {one.student: one for one in collect([tmp_path], LABS).submissions}
    assert found["student-66"].problem in (Ending.NOT_A_NOTEBOOK, Ending.TOO_LARGE, None)
    assert found["student-01"].problem is None


#: What a tool would run or read if it were started in the submission's folder.
CONFIGURATION = {
    "H79": ("conftest.py", "pytest.ini", "pyproject.toml", "setup.cfg", "tox.ini", ".coveragerc"),
    "H80": ("json.py", "numpy.py", "colorsys.py", "tensorflow/__init__.py", "grader/__init__.py", "msgspec.py"),
    "H81": (".git/config", ".envrc", ".netrc", "Makefile", ".python-version", "ipython_config.py", "course.toml"),
    "H82": ("helper.pyc", "helper.so", "__pycache__/plain.cpython-311.pyc", "sitecustomize.py", "usercustomize.py"),
}
CONTENT = "open('was-here', 'w').write('x'); raise SystemExit('ran')\n[pytest]\naddopts = -p evil\n"
GRADE = """
import sys
from pathlib import Path
from grader.submissions import collect
from grader.labs import load_lab
from grader.checks.judge import judge
from grader.checks.student import Bench
from grader.records import Ending, Tier
from grader.runner import RunFacts
from grader.session import Session, Tape
intake = collect([Path(sys.argv[1])], {"plain"})
lab = load_lab(Path(sys.argv[2]))
facts = RunFacts(ending=Ending.OK)
judged = judge(lab, Bench(lab, facts, Session(None, None, Tape(), seed=1, deadline_s=1), lambda path: b""), None, Tier.LITE)
print([one.student for one in intake.submissions], len(judged.results))
"""


@pytest.mark.attack("H79", "Hands in a conftest.py, pytest.ini, pyproject.toml and the like.")
def test_no_configuration_of_a_submission_is_read(tmp_path):
    grade_among(tmp_path, "H79")


@pytest.mark.attack("H80", "Hands in a json.py, a numpy.py, a tensorflow folder.")
def test_no_module_of_a_submission_is_imported(tmp_path):
    grade_among(tmp_path, "H80")


@pytest.mark.attack("H81", "Hands in .git/config, .envrc, a Makefile, ipython_config.py and a course.toml.")
def test_no_tool_is_run_in_a_submission(tmp_path):
    grade_among(tmp_path, "H81")


@pytest.mark.attack("H82", "Hands in compiled modules and a sitecustomize.py.")
def test_no_compiled_file_of_a_submission_is_loaded(tmp_path):
    grade_among(tmp_path, "H82")


def grade_among(folder: Path, attack: str) -> None:
    """Intake and judge in a process whose current folder is the submission's: nothing of it runs, nothing is written."""
    handed_in(folder, "student-66")
    place = folder / "student-66"
    for name in CONFIGURATION[attack]:
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(CONTENT)
    before = listing(folder)
    lab = ROOT / "tests" / "hostile" / "labs" / "plain"
    # As the grader starts its own processes: without the current folder on the path.
    command = [sys.executable, "-P", "-B", "-c", GRADE, str(folder), str(lab)]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "['student-66'] 6"
    assert listing(folder) == before


def member(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


SLIPS = {
    "up": member("../student-01/plain.ipynb"),
    "absolute": member("/tmp/student-66/plain.ipynb"),
    "backslash": member("..\\student-01\\plain.ipynb"),
    "drive": member("C:/student-66/plain.ipynb"),
    "link": member("student-66/plain.ipynb", stat.S_IFLNK | 0o777),
    "device": member("student-66/plain.ipynb", stat.S_IFCHR | 0o666),
    "pipe": member("student-66/plain.ipynb", stat.S_IFIFO | 0o666),
}


@pytest.mark.attack("I83", "Hands in zips whose members climb out, or are links, devices and pipes.")
@pytest.mark.parametrize("name", SLIPS)
def test_a_member_that_leads_elsewhere_is_refused(tmp_path, name):
    """Nothing is ever unpacked; who climbs into another's folder takes nobody's place."""
    content = b"/etc/passwd" if name == "link" else notebook()
    path = zipped(
        tmp_path / "class.zip", (SLIPS[name], content), ("student-01/plain.ipynb", notebook(source='"y = 2"'))
    )
    before = listing(tmp_path)
    intake = collect([path], LABS)
    honest = [one for one in intake.submissions if one.student == "student-01"]
    assert [one.cells[0].source for one in honest] == ["y = 2"]
    assert not [one for one in intake.submissions if one.student != "student-01" and one.problem is None]
    assert listing(tmp_path) == before


def nested() -> bytes:
    inner = notebook()
    for _ in range(6):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("inner.zip", inner)
        inner = data.getvalue()
    return inner


@pytest.mark.attack("I84", "Hands in bombs: inflating, nested, of 20,000 members.")
def test_a_bomb_costs_only_itself(tmp_path):
    """By declared sizes, counts and ratios, before anything is inflated."""
    bomb = zipped(tmp_path / "bomb.zip", ("student-66/plain.ipynb", b" " * (200 << 20)))
    many = zipped(tmp_path / "many.zip", *((f"student-66/{n}.txt", b"") for n in range(20_000)))
    deep = zipped(tmp_path / "deep.zip", ("student-66/plain.zip", nested()))
    handed_in(tmp_path / "class", "student-01")
    for path in (bomb, many, deep):
        intake = collect([path, tmp_path / "class"], LABS)
        assert [one.student for one in intake.submissions if one.problem is None] == ["student-01"]
        assert intake.errors or any(one.problem for one in intake.submissions)


NAMES = (
    "../../x",
    "a/b",
    "-rf",
    ".",
    "..",
    "",
    "new\nline",
    "n" * 4096,
    "<script>alert(1)</script>",
    "CON",
    "nul.txt",
    "a\0b",
)


@pytest.mark.attack("I85", "Has a name that is a path, an option, markup, 4 kB long or nothing.")
def test_no_name_is_a_path():
    """The folder of a student is one safe name, another for each."""
    slugs = [slug(name) for name in NAMES]
    assert len(set(slugs)) == len(NAMES)
    for made in slugs:
        assert made == Path(made).name
        assert made[0] not in ".-"
        assert len(made.encode()) < 255


@pytest.mark.attack("I92", "Changes the file, or hands in another, while it is graded.")
def test_a_submission_is_what_was_read(tmp_path):
    """Cells and digest are of one reading; what comes later is another submission."""
    path = handed_in(tmp_path, "student-66") / "student-66" / "plain.ipynb"
    (first,) = collect([tmp_path], LABS).submissions
    path.write_bytes(notebook(source='"x = 2"'))
    (second,) = collect([tmp_path], LABS).submissions
    assert [one.cells[0].source for one in (first, second)] == ["x = 1", "x = 2"]
    assert first.sha256 != second.sha256
    (tmp_path / "student-66" / "plain (1).ipynb").write_bytes(notebook(source='"x = 3"'))
    intake = collect([tmp_path], LABS)
    assert not intake.submissions  # neither is graded in silence
    assert "second notebook" in str(intake.errors[0])


@pytest.mark.attack("J29", "Names another lab by letters that look like its own, and by other cases.")
@pytest.mark.parametrize("lab", ["рlain", "plain\u200b", "ｐlain", "plaın", "pl\u0430in", "../plain", "plain\0"])
def test_a_lab_is_its_own_letters(tmp_path, lab):
    """Letters that only look alike are another lab: in metadata, and as a file's name."""
    handed_in(tmp_path, "student-66", notebook(json.dumps({"grader": {"lab": lab}})))
    (found,) = collect([tmp_path], LABS).submissions
    unseen = {"\u200b", "\0"} & set(lab)  # left out wherever a name is read: what is left is its own letters
    assert found.problem is (None if unseen else Ending.WRONG_LAB)
    if not {"/", "\0"} & set(lab):
        (tmp_path / "other" / "student-66").mkdir(parents=True)
        (tmp_path / "other" / "student-66" / f"{lab}.ipynb").write_bytes(notebook())
        intake = collect([tmp_path / "other"], LABS)
        assert not intake.submissions
        assert "unknown lab" in str(intake.errors[0])


METADATA = (
    '{"grader": {"lab": 9999999999999999999999999999}}',
    '{"grader": [[[[]]]]}',
    '{"grader": {"lab": ["plain"]}}',
    '{"grader": {"lab": null}, "__proto__": {"x": 1}, "__class__": "os.system"}',
    '{"a": 1e999, "b": -1e999}',
)


@pytest.mark.attack("J30", "Has metadata with huge numbers, wrong types and names of Python's own.")
@pytest.mark.parametrize("metadata", METADATA)
def test_metadata_say_nothing_but_a_lab(tmp_path, metadata):
    """Any other type is no lab, and the notebook is read without it or refused in a sentence."""
    handed_in(tmp_path, "student-66", notebook(metadata))
    (found,) = collect([tmp_path], LABS).submissions
    assert found.metadata_lab == ""
    assert found.problem in (None, Ending.NOT_A_NOTEBOOK)
