"""Gradebook, downloads and exports as staff use them: real commands, real files, and several processes at once."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import grader
from grader import cli, store

ROOT = Path(grader.__file__).parent.parent
LAB = """\
schema = 1
id = "doubling"
title = "Doubling"
data = "none"
points = 10
starter_score = 0
[limits]
wall_s = 60
memory_mb = 1024
[contract.double]
kind = "function"
"""
SUITE = '''\
"""Hidden suite of the doubling lab."""

from grader.checks import VERIFIED, check, require


@check("large", points=10, evidence=VERIFIED, hint="Multiply by two.")
def test_large(student):
    """`double(x)` is twice x."""
    require(float(student.double(21)) == 42, "double(21) is something else", expected="42")
'''
ROSTER = "id,name,canvas_id\nstudent-01,Student One,4521\nstudent-02,Student Two,4522\n"
COURSE = """\
[late]
percent_per_day = 10
[labs.doubling]
due = 2030-01-01T00:00:00+00:00
"""


def environment(cwd: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRADER_")}
    own = {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "XDG_STATE_HOME": str(cwd / "state"), "COLUMNS": "200"}
    return kept | own | more


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "grader", *map(str, args)]


def run(*args: object, cwd: Path, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*args),
        check=False,
        cwd=cwd,
        env=environment(cwd, **environ),
        capture_output=True,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=240,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == code, done.stderr
    return done


def notebook(text: str) -> str:
    cell = {"cell_type": "code", "source": text, "metadata": {}, "outputs": [], "execution_count": None}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def course(tmp_path: Path) -> Path:
    return make_course(tmp_path)


def make_course(folder: Path) -> Path:
    lab = folder / "labs" / "doubling"
    (lab / "hidden_tests").mkdir(parents=True)
    (lab / "lab.toml").write_text(LAB)
    (lab / "hidden_tests" / "test_doubling.py").write_text(SUITE)
    (folder / "roster.csv").write_text(ROSTER)
    (folder / "course.toml").write_text(COURSE)
    return folder


def grades(course: Path, *more: object) -> dict[str, dict]:
    said = json.loads(run("gradebook", "show", "--json", *more, cwd=course).stdout)
    return {grade["student"]: grade for grade in said["grades"]}


# ---------------------------------------------------------------- without grading


@pytest.mark.slow
def test_decisions_are_written_down_shown_and_taken_back(course):
    """Roster, extension, adjustment, comment: each is told back, listed with who and when, and can be withdrawn."""
    run("gradebook", "roster", "roster.csv", cwd=course)
    run("gradebook", "extend", "student-01", "doubling", "--until", "2030-02-01", "--by", "staff-01", cwd=course)
    run("gradebook", "adjust", "Student One", "doubling", "--points", "-2.5", "--reason", "late talk", cwd=course)
    run("gradebook", "comment", "student-01", "doubling", "hello\nthere", "--for-student", cwd=course)
    said = run("gradebook", "show", "student-01", cwd=course).stdout
    assert re.search(r"\[1\] student-01/doubling: due 2030-02-\S+ \(staff-01, 20", said)
    assert "[2] student-01/doubling: -2.5 points: late talk" in said
    assert "[3] student-01/doubling: comment for the student: hello there" in said
    run("gradebook", "withdraw", "2", "--by", "staff-02", cwd=course)
    assert "withdrawn by staff-02" in run("gradebook", "show", "student-01", cwd=course).stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["gradebook", "show"], "report_cards/gradebook.db: there is no gradebook"),
        (["gradebook", "roster", "nowhere.csv"], "nowhere.csv: cannot be read"),
        (["gradebook", "adjust", "x", "doublin", "--points", "1", "--reason", "y"], "did you mean 'doubling'?"),
        (["gradebook", "extend", "x", "doubling", "--until", "soon"], "'soon' is not a time"),
        (["gradebook", "record"], "report_cards"),
        (["grade", "--submitted-at", "yesterday"], "'yesterday' is not a time"),
        (["export", "csv"], "report_cards: holds no kept runs"),
        (["export", "gradescope"], "holds 0 runs of that kind, not one"),
        (["collect", "nowhere.zip"], "nowhere.zip: does not exist"),
        (["build", "gradescope", "doublin", "--out", "x.zip"], "did you mean 'doubling'?"),
        (["build", "gradescope", "doubling", "--out", "no/x.zip"], "no/x.zip: cannot be written"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(course, args, said):
    """What cannot be is told in one line that says what to do."""
    done = run(*args, cwd=course, code=2)
    assert said in done.stderr.replace(os.sep, "/")
    assert sum(line.startswith("grader: error: ") for line in done.stderr.splitlines()) <= 1
    assert done.stdout == ""


def test_before_anything_is_handed_in_the_due_date_is_shown_and_points_off_are_no_grade(course):
    """An extension says until when; five points off nothing leave the grade empty, in the table and in the export."""
    run("gradebook", "roster", "roster.csv", cwd=course)
    run("gradebook", "extend", "student-01", "doubling", "--until", "2030-02-01T12:00+00:00", cwd=course)
    run("gradebook", "adjust", "student-02", "doubling", "--points", "-5", "--reason", "x", cwd=course)
    said = run("gradebook", "show", cwd=course).stdout
    assert "due 2030-02-01T12:00:00Z, extended" in said
    assert "due 2030-01-01T00:00:00Z" in said
    assert "no due date" not in said
    (header, *lines) = run("export", "csv", cwd=course).stdout.splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    assert [(row["grade"], row["lateness"]) for row in rows] == [("", ""), ("", "")]
    assert grades(course)["student-02"]["grade"] is None


def test_a_lab_that_is_unknown_is_told_and_one_without_grades_is_empty(course):
    """A misspelt lab is no lab in which nobody has handed anything in."""
    run("gradebook", "roster", "roster.csv", cwd=course)
    done = run("gradebook", "show", "--lab", "doublin", cwd=course, code=2)
    assert "unknown lab 'doublin' (did you mean 'doubling'?)" in done.stderr
    assert done.stdout == ""
    assert "nobody has handed anything in yet" in run("gradebook", "show", "--lab", "doubling", cwd=course).stdout


def test_a_second_roster_adds_its_columns(course):
    """Names come from one list and emails from another; neither erases the other."""
    (course / "emails.csv").write_text("id,email\nstudent-01,s1@example.org\n")
    run("gradebook", "roster", "roster.csv", cwd=course)
    assert "0 added, 1 changed, 0 as before" in run("gradebook", "roster", "emails.csv", cwd=course).stdout
    run("gradebook", "adjust", "s1@example.org", "doubling", "--points", "1", "--reason", "x", cwd=course)
    person = grades(course)["student-01"]["person"]
    assert (person["name"], person["canvas_id"]) == ("Student One", "4521")


def test_a_roster_with_wrong_lines_changes_nothing_and_tells_each(course):
    """Two wrong lines are two lines of error; the right ones wait with them."""
    (course / "bad.csv").write_text("id,email\nstudent-01,x\nstudent-02,\n,a@b.c\n")
    done = run("gradebook", "roster", "bad.csv", cwd=course, code=2)
    assert [line.split(":")[3].strip() for line in done.stderr.splitlines()] == ["2", "4"]
    assert not (course / "report_cards" / "gradebook.db").exists()


def test_a_damaged_gradebook_is_one_line(course):
    """Bytes that are no database: exit 2, and how to go on."""
    (course / "report_cards").mkdir()
    (course / "report_cards" / "gradebook.db").write_bytes(b"garbage" * 1000)
    done = run("gradebook", "show", cwd=course, code=2)
    assert "is damaged" in done.stderr
    assert "gradebook record" in done.stderr


@pytest.mark.slow
def test_many_commands_at_once_lose_nothing(course):
    """A dozen processes open a gradebook that is not there yet and write: all their rows are in it, and it is sound."""
    started = [
        subprocess.Popen(
            command("gradebook", "roster", f"r{number}.csv"),
            cwd=course,
            env=environment(course),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
        if (course / f"r{number}.csv").write_text(f"id\nstudent-{number:02}\n")
    ]
    assert [(done.communicate(timeout=120)[1], done.returncode) for done in started] == [("", 0)] * 6
    adjusting = [
        subprocess.Popen(
            command("gradebook", "adjust", "student-00", "doubling", "--points", "1", "--reason", f"number {number}"),
            cwd=course,
            env=environment(course),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    assert [(done.communicate(timeout=120)[1], done.returncode) for done in adjusting] == [("", 0)] * 6
    assert grades(course)["student-00"]["adjustment"] == 6
    database = sqlite3.connect(course / "report_cards" / "gradebook.db")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert database.execute("SELECT count(*) FROM students").fetchone() == (6,)
    database.close()


def test_a_writer_that_is_killed_leaves_the_last_whole_transaction(course):
    """A process killed inside a transaction costs nothing but that transaction, and blocks nobody afterwards."""
    run("gradebook", "roster", "roster.csv", cwd=course)
    code = (
        "import os, pathlib, signal\n"
        "from grader.gradebook import opened, transaction\n"
        "with opened(pathlib.Path('report_cards/gradebook.db')) as db, transaction(db):\n"
        "    db.execute('DELETE FROM students')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=course, env=environment(course), check=False)
    assert done.returncode != 0
    run("gradebook", "adjust", "student-01", "doubling", "--points", "1", "--reason", "x", cwd=course)
    assert set(grades(course)) == {"student-01"}


def test_a_download_is_collected_under_the_ids_of_the_roster(course):
    """Canvas's numbers become the course's ids; a second run finds everything there."""
    run("gradebook", "roster", "roster.csv", cwd=course)
    with zipfile.ZipFile(course / "download.zip", "w") as archive:
        archive.writestr("onestudent_4521_9_doubling.ipynb", notebook("x = 1"))
        archive.writestr("other_9999_9_doubling.ipynb", notebook("x = 2"))
    done = run("collect", "download.zip", cwd=course)
    assert "2 notebooks copied" in done.stdout
    assert (course / "submissions" / "student-01" / "doubling.ipynb").is_file()
    assert (course / "submissions" / "other_9999" / "doubling.ipynb").is_file()
    assert "0 notebooks copied to submissions, 2 there already" in run("collect", "download.zip", cwd=course).stdout


@pytest.mark.slow
def test_exports_work_where_jupyter_cannot_be_imported(course):
    """No export needs a notebook layer: a process that imports one fails here."""
    poison = course / "poison"
    poison.mkdir()
    for name in ("nbformat", "nbclient", "jupyter_client", "ipykernel", "jupytext", "tensorflow"):
        (poison / f"{name}.py").write_text("raise SystemExit('imported')")
    run("gradebook", "roster", "roster.csv", cwd=course)
    run("gradebook", "adjust", "student-01", "doubling", "--points", "1", "--reason", "x", cwd=course)
    path = {"PYTHONPATH": os.pathsep.join([str(poison), str(ROOT)])}
    for name in ("csv", "junit", "github", "summary", "classroom"):
        run("export", name, cwd=course, **path)
    run("build", "gradescope", "doubling", "--out", "a.zip", cwd=course, **path)


# ---------------------------------------------------------------- with grading


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Path:
    """A small class handed in through Gradescope and graded once: on time, and a day late."""
    course = make_course(tmp_path_factory.mktemp("course"))
    people = [(1, "2029-12-31 23:00:00 Z"), (2, "2030-01-01 12:00:00 Z")]
    metadata = "".join(
        f"submission_{n}:\n  :submitters:\n  - :name: Student\n    :sid: student-0{n}\n  :created_at: {when}\n"
        for n, when in people
    )
    with zipfile.ZipFile(course / "download.zip", "w") as archive:
        archive.writestr("submission_metadata.yml", metadata)
        archive.writestr("submission_1/doubling.ipynb", notebook("def double(x):\n    return 2 * x"))
        archive.writestr("submission_2/doubling.ipynb", notebook("def double(x):\n    return 2.0 * x"))
    run("gradebook", "roster", "roster.csv", cwd=course)
    run("grade", "download.zip", "--jobs", "1", cwd=course)
    return course


@pytest.mark.slow
def test_a_download_is_graded_with_its_times(graded):
    """Late by half a day costs ten percent, by the platform's clock; the card says when and how that is known."""
    found = grades(graded)
    assert (found["student-01"]["grade"], found["student-02"]["grade"]) == (10, 9)
    assert found["student-02"]["counted"]["received"]["known"] == "lms"
    page = (graded / "report_cards/students/student-02.html").read_text("utf-8")
    assert "Handed in late, started days: 1; 10 % of the points are taken off." in page
    notes = json.loads((graded / "report_cards/doubling/student-02/staff/result.json").read_bytes())["notes"]
    assert "Attempt 1, handed in 2030-01-01 12:00:00 UTC, as Gradescope says." in notes


@pytest.mark.slow
def test_junit_names_each_notebook(graded):
    """The place in the download, as the annotations have it."""
    said = run("export", "junit", cwd=graded).stdout
    assert re.findall(r'<testcase classname="doubling.student-01" name="large" [^>]*file="([^"]+)"', said) == [
        "download.zip!submission_1/doubling.ipynb"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("words", [("grade", "download.zip"), ("regrade",)], ids=["grade", "regrade"])
def test_a_students_page_is_written_once_after_the_scores_are_noted(graded, tmp_path, monkeypatch, words):
    """The class has no gradebook yet."""
    course = tmp_path / "course"
    shutil.copytree(graded, course)
    book = course / "report_cards" / "gradebook.db"
    book.unlink()
    monkeypatch.chdir(course)
    monkeypatch.setenv("XDG_STATE_HOME", str(course / "state"))
    written: list[tuple[str, bool]] = []
    write = store.write_whole

    def noted(path: Path, data: bytes) -> None:
        if path.parent.name == "students":
            written.append((path.name, book.exists()))
        write(path, data)

    monkeypatch.setattr(store, "write_whole", noted)
    assert cli.run(words) == 0
    assert sorted(written) == [("student-01.html", True), ("student-02.html", True)]


@pytest.mark.slow
def test_a_gradebook_that_cannot_be_written_costs_no_card(graded, tmp_path):
    """A regrade whose gradebook is damaged still tells what it did, says how to go on, and ends with 2."""
    course = tmp_path / "course"
    shutil.copytree(graded, course)
    (course / "report_cards" / "gradebook.db").write_bytes(b"garbage" * 1000)
    done = run("regrade", cwd=course, code=2)
    assert "nothing changed" in done.stdout
    assert "the cards are complete" in done.stderr


@pytest.mark.slow
def test_regrading_updates_the_score_and_keeps_every_decision(graded, tmp_path):
    """A check worth less: the score falls, the adjustment and the extension stay; a second regrade changes nothing."""
    course = tmp_path / "course"
    shutil.copytree(graded, course)
    run("gradebook", "adjust", "student-02", "doubling", "--points", "2", "--reason", "x", cwd=course)
    page = course / "report_cards/students/student-02.html"
    assert "Adjusted by staff: +2 points." in page.read_text("utf-8")
    run("gradebook", "extend", "student-02", "doubling", "--until", "2030-01-02", cwd=course)
    assert "Handed in late" not in page.read_text("utf-8")
    spec, suite = course / "labs/doubling/lab.toml", course / "labs/doubling/hidden_tests/test_doubling.py"
    spec.write_text(LAB.replace("points = 10", "points = 8"))
    suite.write_text(SUITE.replace("points=10", "points=8"))
    run("regrade", cwd=course)
    assert grades(course)["student-02"]["grade"] == 10
    before = grades(course)
    run("regrade", cwd=course)
    run("gradebook", "record", cwd=course)
    assert grades(course) == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_the_autograder_runs_as_gradescope_runs_it(graded, tmp_path):
    """The zip unpacked where Gradescope unpacks it: run_autograder leaves a results.json, for a notebook and for a PDF."""
    run("build", "gradescope", "doubling", "--out", tmp_path / "a.zip", "--min-level", "L0", cwd=graded)
    root = tmp_path / "autograder"
    for name in ("source", "submission", "results"):
        (root / name).mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(root / "source")
    told = {"created_at": "2030-01-01T12:00:00Z", "assignment": {"due_date": "2030-01-01T00:00:00Z"}}
    (root / "submission_metadata.json").write_text(json.dumps(told))
    environ = environment(tmp_path, AUTOGRADER_ROOT=str(root), AUTOGRADER_GRADER=f"{sys.executable} -P -m grader")
    script = ["bash", str(root / "source" / "run_autograder")]

    def results() -> dict:
        subprocess.run(script, env=environ, check=True, timeout=240, capture_output=True)
        return json.loads((root / "results" / "results.json").read_bytes())

    (root / "submission" / "my work.ipynb").write_text(notebook("def double(x):\n    return 2 * x"))
    found = results()
    assert found["score"] == 9
    assert [test["status"] for test in found["tests"]] == ["passed", "passed"]
    (root / "submission" / "my work.ipynb").unlink()
    (root / "submission" / "doubling.ipynb").write_bytes(b"%PDF-1.4")
    assert "is a PDF" in results()["output"]
    (root / "submission" / "doubling.ipynb").unlink()
    found = results()
    assert (found["score"], found["tests"]) == (0, [])
    assert "holds no notebook" in found["output"]
