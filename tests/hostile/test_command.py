"""Attacks on the command itself: one class, graded by the real `grader` that is started in the folder of a submission.

That folder is full of what Python, pytest, make and git would pick up in the folder they are started in, and other students'
names, errors and files try to forge a line of the log, an event, a row of the table or an element of the JUnit file.
"""

from __future__ import annotations

import csv
import io
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from tests.classes import POINTS, environment, hand_in, make_course

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="names with newlines, and compiled modules of another kind"),
]
#: The real command, not `python -m grader`, which has the current folder on its path.
COMMAND = Path(sysconfig.get_path("scripts")) / "grader"
ATTACKER = "student-66"
FORGERY = 'x",100\r\nstudent-66,plain,100\n\x1b[2K</failure></testcase><testcase name="forged"/>\x0b]]>'
#: Names of folders, so none with / or NUL.
NAMES = (
    "line\n2030-01-01T00:00:00.000+00:00 INFO    plain  student-66  20 of 20",
    "event\n" + json.dumps({"event": "finished", "schema": 1, "student": ATTACKER, "score": 100.0}),
    'row",plain,100\r\n"student-66,plain,100',
    "\x1b[2K\x1b]0;owned\x07erased",
    "turned\u202egnp\u2066\u200b\u2028next",
    "]]>&<testcase name='forged'>",
)
FORMULAS = (
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=2",
    "\uff1d1+1",
    '=HYPERLINK("https:evil.example")',
    "=cmd|' C calc'!A0",
)
STUDENTS = (ATTACKER, "student-01", *NAMES, *FORMULAS)


@dataclass(frozen=True)
class Class:
    """A class that was graded: its course, what the command said, and what lay in the attacker's folder before."""

    course: Path
    done: subprocess.CompletedProcess[str]
    before: dict[str, bytes]

    @property
    def place(self) -> Path:
        return self.course / "submissions" / ATTACKER

    def run(self, *args: object) -> str:
        """Another command, from the same folder."""
        done = command(self.course, *args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def score(self, student: str) -> float:
        """The score of one student, from the verdict's file."""
        folders = [path for path in (self.course / "cards" / "plain").iterdir() if not path.name.startswith(".")]
        for folder in folders:
            verdict = msgspec.json.decode((folder / "staff" / "result.json").read_bytes())
            if verdict["student"] == student:
                return float(verdict["score"])
        pytest.fail(f"{student!r} has no verdict")


def command(course: Path, *args: object) -> subprocess.CompletedProcess[str]:
    """`grader`, with the attacker's folder as its current one."""
    environ = environment(course)
    del environ["PYTHONPATH"]  # it is installed, and a way into the path less
    return subprocess.run(
        [COMMAND, *map(str, args)],
        cwd=course / "submissions" / ATTACKER,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=840,
        check=False,
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Class:
    course = make_course(tmp_path_factory.mktemp("course"))
    (course / "course.toml").write_text(f'[run]\nlabs = "{course / "labs"}"\n')
    for student in STUDENTS:
        hand_in(course, student, *([] if student in (ATTACKER, "student-01") else [f"raise ValueError({FORGERY!r})"]))
    place = course / "submissions" / ATTACKER
    for write in TRAPS.values():
        write(place)
    before = contents(place)
    args = ("grade", course / "submissions", "--course", course / "course.toml", "--out", course / "cards", "--jobs", 1)
    done = command(course, *args, "--log", course / "log", "--events", course / "events")
    return Class(course, done, before)


# ---------------------------------------------------------------- what is picked up in a current folder


def mark(place: Path, name: str) -> str:
    """Python that tells beside the submissions that it ran."""
    return f"open({str(marks(place) / name)!r}, 'w').write('ran')\n"


def marks(place: Path) -> Path:
    folder = place.parent.parent / "marks"
    folder.mkdir(exist_ok=True)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def configuration(place: Path) -> None:
    """H79."""
    (place / "conftest.py").write_text(mark(place, "conftest"))
    (place / "evil.py").write_text(mark(place, "plugin"))
    (place / "test_evil.py").write_text(mark(place, "collected") + "def test_evil(): pass\n")
    for name, head in (("pytest.ini", "pytest"), ("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")):
        (place / name).write_text(f"[{head}]\naddopts = -p evil\n")
    (place / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "-p evil"\n')
    (place / ".coveragerc").write_text("[run]\nplugins = evil\n")


def modules(place: Path) -> None:
    """H80."""
    for name in ("json.py", "colorsys.py", "tensorflow/__init__.py", "grader/__init__.py", "msgspec.py", "pytest.py"):
        path = place / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(mark(place, name.replace("/", "-")) + "raise SystemExit('ran')\n")


def tools(place: Path) -> None:
    """H81."""
    (place / ".git").mkdir()
    ran = marks(place)
    (place / ".git" / "config").write_text(
        f"[core]\n\tfsmonitor = touch {ran}/git; false\n\tsshCommand = touch {ran}/ssh\n"
    )
    (place / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (place / ".git" / "objects").mkdir()
    (place / ".git" / "refs").mkdir()
    (place / ".envrc").write_text(f"touch {ran}/envrc\n")
    (place / ".netrc").write_text("default login student password x\n")
    (place / "Makefile").write_text(f"all:\n\ttouch {ran}/make\n")
    (place / ".python-version").write_text("2.7\n")
    for name in ("ipython_config.py", "jupyter_config.py", "ipython_kernel_config.py"):
        (place / name).write_text(mark(place, name))
    (place / "course.toml").write_text(
        '[kernel]\npython = "/bin/false"\n[course]\nsecret = "known"\n[run]\nlabs = "."\n'
    )


def compiled(place: Path) -> None:
    """H82: a .pyc without its source, one that stands for another source, and a library that can be loaded."""
    source = place / "to_compile.py"
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for name, target in (("numpy", "numpy.pyc"), ("hooked", f"__pycache__/hooked.{sys.implementation.cache_tag}.pyc")):
        source.write_text(mark(place, f"{name}.pyc"))
        py_compile.compile(str(source), cfile=str(place / target), doraise=True, invalidation_mode=unchecked)
    source.unlink()
    (place / "hooked.py").write_text("")
    shutil.copy(Path(msgspec._core.__file__), place / f"click{sysconfig.get_config_var('EXT_SUFFIX')}")
    for name in ("sitecustomize.py", "usercustomize.py"):
        (place / name).write_text(mark(place, name))


TRAPS = {"H79": configuration, "H80": modules, "H81": tools, "H82": compiled}


def sprung(place: Path, *args: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """What a program that is started in the folder runs of it: the trap is a real one."""
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(args, cwd=place, env=environ, capture_output=True, text=True, timeout=60, check=False)
    return done, {path.name for path in marks(place).iterdir()}


def nothing_was_picked_up(graded: Class) -> None:
    assert graded.done.returncode == 0, graded.done.stderr
    assert list(marks(graded.place).iterdir()) == []
    assert contents(graded.place) == graded.before
    assert graded.score(ATTACKER) == POINTS


@pytest.mark.attack("H79", "Hands in a conftest.py, pytest.ini, pyproject.toml and the like.")
def test_no_configuration_of_a_submission_is_read(graded, tmp_path):
    nothing_was_picked_up(graded)
    place = tmp_path / "submissions" / ATTACKER
    place.mkdir(parents=True)
    configuration(place)
    _, ran = sprung(place, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert ran == {"conftest", "plugin", "collected"}


@pytest.mark.attack("H80", "Hands in a json.py, a numpy.py, a tensorflow folder.")
def test_no_module_of_a_submission_is_imported(graded, tmp_path):
    nothing_was_picked_up(graded)
    place = tmp_path / "submissions" / ATTACKER
    place.mkdir(parents=True)
    modules(place)
    _, ran = sprung(place, sys.executable, "-m", "pytest", "--version")
    assert ran
    _, ran = sprung(place, sys.executable, "-c", "import json")
    assert "json.py" in ran


@pytest.mark.attack("H81", "Hands in .git/config, .envrc, a Makefile, ipython_config.py and a course.toml.")
def test_no_tool_is_run_in_a_submission(graded, tmp_path):
    """Its course.toml is not that of the course either, which is named on the command line."""
    nothing_was_picked_up(graded)
    place = tmp_path / "submissions" / ATTACKER
    place.mkdir(parents=True)
    tools(place)
    if shutil.which("git"):
        _, ran = sprung(place, "git", "status")
        assert "git" in ran
    if shutil.which("make"):
        _, ran = sprung(place, "make")
        assert "make" in ran


@pytest.mark.attack("H82", "Hands in compiled modules and a sitecustomize.py.")
def test_no_compiled_file_of_a_submission_is_loaded(graded, tmp_path):
    nothing_was_picked_up(graded)
    place = tmp_path / "submissions" / ATTACKER
    place.mkdir(parents=True)
    compiled(place)
    _, ran = sprung(place, sys.executable, "-c", "import numpy, hooked")
    assert {"numpy.pyc", "hooked.pyc"} <= ran
    done, _ = sprung(place, sys.executable, "-c", "import click")
    assert "PyInit_click" in done.stderr, "the library is loaded, and then found to be another module"


# ---------------------------------------------------------------- what is written of names and errors


@pytest.mark.attack("I86", "Puts formulas into names, file names and errors, for whoever opens the table.")
@pytest.mark.parametrize("excel", [False, True])
def test_no_cell_of_an_exported_table_is_a_formula(graded, excel):
    """One row for each student; points stay numbers."""
    out = graded.course / "grades.csv"
    more = ["--excel"] if excel else []
    graded.run(
        "export",
        "csv",
        "--from",
        graded.course / "cards",
        "--course",
        graded.course / "course.toml",
        "--out",
        out,
        *more,
    )
    header, *rows = csv.reader(io.StringIO(out.read_bytes().decode("utf-8-sig"), newline=""))
    assert len(rows) == len(STUDENTS)
    assert {len(row) for row in rows} == {len(header)}
    cells = [cell for row in rows for cell in row]
    assert not [cell for cell in cells if cell.strip()[:1] in tuple("=+-@\uff1d") or set(cell) & set("\r\n\x1b\u202e")]
    assert {float(row[header.index("score")]) for row in rows} == {POINTS}


@pytest.mark.attack("I87", "Forges rows, log lines and JUnit elements by quotes, newlines and control characters.")
def test_no_words_forge_a_row_a_line_or_an_element(graded):
    """As many events, lines of the log and elements as there are students, whatever they are called and raise."""
    assert graded.done.returncode == 0, graded.done.stderr
    events = (graded.course / "events").read_bytes()
    told = [json.loads(line) for line in events.decode("ascii").splitlines()]
    finished = [event["student"] for event in told if event["event"] == "finished"]
    assert len(finished) == len(set(finished)) == len(STUDENTS)
    assert {event["score"] for event in told if event["event"] == "finished"} == {POINTS}
    log = (graded.course / "log").read_text("utf-8")
    line = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00 (DEBUG|INFO|WARNING|ERROR) +\S.*")
    assert [text for text in log.splitlines() if not line.fullmatch(text)] == []
    assert not [text for text in log.splitlines() if text.startswith("2030-")]
    assert len([text for text in log.splitlines() if "  begins" in text]) == len(STUDENTS)
    assert not set("\x1b\x07\u202e\u2028") & set(log + graded.done.stdout + graded.done.stderr)
    out = graded.course / "junit.xml"
    graded.run(
        "export", "junit", "--from", graded.course / "cards", "--course", graded.course / "course.toml", "--out", out
    )
    cases = [case.get("name") for case in ET.fromstring(out.read_bytes()).iter("testcase")]
    assert "forged" not in cases
    assert len(cases) == len(STUDENTS) * len(set(cases))
