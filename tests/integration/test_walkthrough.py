"""The tutorials are true: their files are written, their commands run in the order shown and print what is shown."""

import csv
from pathlib import Path

import pytest

from tests.pages import commands, follow, matches

DOCS = Path(__file__).resolve().parents[2] / "docs"
pytestmark = pytest.mark.slow


def verbs(ran):
    return {tuple(command.split()[:2]) for command in ran}


def test_every_file_and_command_of_the_walkthrough_works(tmp_path):
    """Followed from top to bottom in an empty folder, the author's page ends with a lab that holds and a graded notebook."""
    folder, ran, wrote = follow(DOCS / "new-lab.md", tmp_path)
    assert {path.partition("/")[0] for path in wrote} == {"labs", "reference_solutions"}
    used = ("labs", "verify", "lint", "release", "check", "grade")
    assert {("grader", verb) for verb in used} <= verbs(ran)
    assert (folder / "report_cards" / "line" / "student-01" / "card.html").is_file()
    assert "### BEGIN SOLUTION" not in (folder / "kits" / "line" / "line.ipynb").read_text("utf-8")


def test_the_students_tutorial_goes_from_a_kit_to_a_passed_check(tmp_path):
    """Unpacked, checked, solved, checked: the second card has all the public points."""
    folder, ran, _ = follow(DOCS / "tutorials" / "student.md", tmp_path)
    assert folder == tmp_path / "scales"
    assert verbs(ran) >= {("grader", "check")}
    assert sorted(path.name for path in (folder / "check_cards" / "scales").iterdir()) == ["scales"]


def test_the_assistants_tutorial_goes_from_a_folder_to_grades(tmp_path):
    """Graded, regraded, adjusted, exported: the file has what was decided."""
    folder, _, wrote = follow(DOCS / "tutorials" / "ta.md", tmp_path)
    assert wrote == ["course.toml"]
    with (folder / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert {name: (row["score"], row["adjustment"], row["grade"]) for name, row in rows.items()} == {
        "student-01": ("100", "0", "100"),
        "student-02": ("0", "5", "5"),
    }


def test_a_page_that_shows_what_is_not_printed_would_be_found():
    """The comparison that all of this rests on: text must be there, in order; … is anything and spaces are any."""
    assert matches("a  b\n…\nc", "x\na b\n1\n2\nc\n")
    assert not matches("a\n…\nc", "c\na\n")
    assert list(commands("$ one\nout\n$ two\n")) == [("one", "out\n"), ("two", "")]
