"""Bulk downloads: files named as Canvas, Moodle and Gradescope name them become their students' submissions."""

from __future__ import annotations

import json
import stat
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.errors import UsageError
from grader.gradebook import Directory, Person
from grader.submissions import archives, collect, copy_out, lms

LABS = ("iris", "mnist")
METADATA = """\
---
submission_101:
  :submitters:
  - :name: Student One
    :sid: 'student-01'
    :email: s1@example.org
  - :name: Student Two
    :sid: 'student-02'
    :email: s2@example.org
  :created_at: 2030-01-31 20:00:00.226230000 Z
  :score: 3.0
  :status: processed
submission_102:
  :submitters:
  - :name: Student Three
    :email: s3@example.org
  :created_at: 2030-01-31 22:30:00.000000000 +08:00
"""


def notebook(text="x = 1") -> bytes:
    cell = {"cell_type": "code", "source": text, "outputs": [], "metadata": {}, "execution_count": None}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def download(root: Path, files: dict[str, bytes], *, zipped: bool) -> Path:
    if zipped:
        with zipfile.ZipFile(root / "download.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return root / "download.zip"
    for name, content in files.items():
        (root / "download" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "download" / name).write_bytes(content)
    return root / "download"


def told(path, **options) -> list[tuple[str, str, str, str]]:
    intake = collect([path], LABS, **options)
    assert intake.errors == ()
    return [
        (s.student, s.lab, s.received.lms_id if s.received else "", s.received.at if s.received else "")
        for s in intake.submissions
    ]


CANVAS = {
    "onestudent_4521_99001_iris.ipynb": notebook("a = 1"),
    "twostudent_LATE_4522_99002_iris-1.ipynb": notebook("b = 1"),
    "threestudent_late_4523_99003_Iris.ipynb": notebook("c = 1"),
}
MOODLE = {
    "Student One_777_assignsubmission_file_/iris.ipynb": notebook("a = 1"),
    "王 小明_778_assignsubmission_file_/iris.ipynb": notebook("b = 1"),
    "Student One_777_assignsubmission_onlinetext_/onlinetext.html": b"<p>hello</p>",
}
GRADESCOPE = {
    "submission_metadata.yml": METADATA.encode(),
    "submission_101/iris.ipynb": notebook("a = 1"),
    "submission_102/iris.ipynb": notebook("b = 1"),
}
ONE, TWO, THREE = ("2030-01-31T20:00:00+00:00",) * 2 + ("2030-01-31T14:30:00+00:00",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_canvas_download_is_read_with_its_numbers_and_late_marks(tmp_path, zipped):
    """Name, number and mark come from the file's name, in any case; no time does."""
    path = download(tmp_path, CANVAS, zipped=zipped)
    assert told(path) == [
        ("onestudent_4521", "iris", "4521", ""),
        ("threestudent_4523", "iris", "4523", ""),
        ("twostudent_4522", "iris", "4522", ""),
    ]
    assert [s.received.marked_late for s in collect([path], LABS).submissions] == [False, True, True]


TYPED = {"fourstudent_4524_text.html": b"<p>hello</p>", "fivestudent_LATE_4525_link.html": b"<a>"}


@pytest.mark.parametrize("lab", [None, "iris"])
def test_what_was_typed_into_canvas_is_told_and_hides_nobody_elses_notebook(tmp_path, lab):
    """Text entries and links have no upload's number: the class is read as before, and those two handed in no notebook."""
    intake = collect([download(tmp_path, CANVAS | TYPED, zipped=True)], LABS, lab)
    assert [s.student for s in intake.submissions] == ["onestudent_4521", "threestudent_4523", "twostudent_4522"]
    assert sorted(str(error).partition("!")[2].partition(":")[0] for error in intake.errors) == sorted(TYPED)
    assert all("is not a notebook, nor is there one beside it" in str(error) for error in intake.errors)


def test_a_canvas_download_of_nothing_but_typed_words_tells_each_student(tmp_path):
    """Nobody handed in a notebook, and that is said of each of them."""
    intake = collect([download(tmp_path, TYPED, zipped=True)], LABS)
    assert (list(intake.submissions), len(intake.errors)) == ([], 2)


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_the_staffs_own_beside_a_canvas_download_change_nothing(tmp_path, zipped):
    """A list of grades, notes, a file without an extension: the notebooks are still Canvas's."""
    own = {"grades.csv": b"1,2", "notes_to_self.txt": b"x", "README": b"x"}
    assert told(download(tmp_path, CANVAS | own, zipped=zipped)) == told(download(tmp_path, CANVAS, zipped=zipped))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_canvas_download_in_one_folder_is_the_same(tmp_path, zipped):
    """Packed again or moved with its folder, and with a file of the staff's on either side."""
    wrapped = {f"submissions/{name}": content for name, content in CANVAS.items()}
    own = {"README": b"x", "submissions/grades.csv": b"1,2"}
    assert [student for student, *_ in told(download(tmp_path, wrapped | own, zipped=zipped))] == [
        "onestudent_4521",
        "threestudent_4523",
        "twostudent_4522",
    ]


def test_notebooks_of_which_one_is_not_named_so_are_no_canvas_download(tmp_path):
    """A platform names all of them: what it did not name is not read as its own."""
    path = download(tmp_path, CANVAS | {"iris.ipynb": notebook("d")}, zipped=True)
    assert all(s.received is None for s in collect([path], LABS).submissions)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_moodle_download_is_read_by_full_name(tmp_path, zipped):
    """The full name is the student, the participant's number goes along, online texts are no submission."""
    assert told(download(tmp_path, MOODLE, zipped=zipped)) == [
        ("Student One", "iris", "777", ""),
        ("王 小明", "iris", "778", ""),
    ]


def test_two_people_of_one_name_in_moodle_stay_two(tmp_path):
    """Where a name is not one person's, the participant's number is part of it."""
    names = ("Student One_1_assignsubmission_file_/iris.ipynb", "Student One_2_assignsubmission_file_/iris.ipynb")
    path = download(tmp_path, {names[0]: notebook("a"), names[1]: notebook("b")}, zipped=True)
    assert [student for student, *_ in told(path)] == ["Student One (1)", "Student One (2)"]


@pytest.mark.parametrize("wrapper", ["", "download/", "download/lab 1/"])
def test_the_only_student_of_a_moodle_download_keeps_the_name_above_a_folder_of_their_own(tmp_path, wrapper):
    """Moodle's folder holds everything there is and still says whose it is; a wrapping one above it does not."""
    name = f"{wrapper}Student One_777_assignsubmission_file_/my work/iris.ipynb"
    assert told(download(tmp_path, {name: notebook()}, zipped=True)) == [("Student One", "iris", "777", "")]


def test_the_only_submission_of_a_gradescope_export_keeps_its_name_without_the_metadata(tmp_path):
    """A folder inside it is not a student."""
    path = download(tmp_path, {"submission_101/my work/iris.ipynb": notebook()}, zipped=True)
    assert told(path) == [("submission_101", "iris", "", "")]


def test_moodles_flat_download_is_the_same(tmp_path):
    """Without folders the same marker stands before the file's name."""
    path = download(tmp_path, {"Student One_777_assignsubmission_file_iris.ipynb": notebook()}, zipped=True)
    assert told(path) == [("Student One", "iris", "777", "")]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_gradescope_export_tells_who_and_when_for_each_of_a_group(tmp_path, zipped):
    """Every submitter of a group gets the submission; the time is Gradescope's, in UTC."""
    assert told(download(tmp_path, GRADESCOPE, zipped=zipped)) == [
        ("s1@example.org", "iris", "student-01", ONE),
        ("s2@example.org", "iris", "student-02", TWO),
        ("s3@example.org", "iris", "s3@example.org", THREE),
    ]


def test_a_wrapped_gradescope_export_is_recognised(tmp_path):
    """Gradescope packs everything into one folder; deeper files of a submission are found in the zip."""
    files = {f"assignment_5_export/{name}": content for name, content in GRADESCOPE.items()}
    assert len(told(download(tmp_path, files, zipped=True))) == 3


@pytest.mark.parametrize(
    "metadata", [b"a: &a [*a", b"!!python/object/apply:os.system ['true']", b"\xff\xfe\x00", b"- 1\n- 2", b""]
)
def test_metadata_that_cannot_be_read_harms_nobody(tmp_path, metadata):
    """Broken YAML is an error about that file, YAML that would run something runs nothing, and an empty one names nobody."""
    path = download(tmp_path, {**GRADESCOPE, "submission_metadata.yml": metadata}, zipped=True)
    intake = collect([path], LABS)
    assert len(intake.errors) == 1 or {s.student for s in intake.submissions} == {"submission_101", "submission_102"}


def test_an_ordinary_class_folder_is_no_download(tmp_path):
    """<student>/<lab>.ipynb stays what it was, and a lone submission_1 folder is somebody's name."""
    path = download(
        tmp_path, {"student-01/iris.ipynb": notebook(), "submission_1/iris.ipynb": notebook("b")}, zipped=False
    )
    assert told(path) == [("student-01", "iris", "", ""), ("submission_1", "iris", "", "")]


def test_the_roster_says_who_it_is(tmp_path):
    """With a roster the platform's number, name or email becomes the student's id."""
    people = Directory(
        people={"student-01": Person(id="student-01"), "student-09": Person(id="student-09")},
        names={("canvas_id", "4521"): "student-09", ("name", "student one"): "student-01"},
    )

    def whose(names, platform, number):
        found = [person for name in names if (person := people.find(name, platform, number))]
        return found[0].id if found else ""

    canvas = download(tmp_path, CANVAS, zipped=True)
    assert ("student-09", "iris", "4521", "") in told(canvas, whose=whose)
    assert told(download(tmp_path, MOODLE, zipped=False), whose=whose)[0][0] == "student-01"
    gradescope = tmp_path / "g"
    gradescope.mkdir()
    assert told(download(gradescope, GRADESCOPE, zipped=True), whose=whose)[0][0] in ("student-01", "s2@example.org")


@given(st.text(max_size=40))
def test_no_name_of_a_file_breaks_the_reading(name):
    """Attack 85: whatever a name holds, the file is a file of somebody or of nobody."""
    found = archives.Found(parts=(f"{name}_1_2_x.ipynb",), source="x", read=lambda: b"")
    for item in lms.recognise([found]):
        assert item.parts[-1]


# ---------------------------------------------------------------- copies


def test_a_download_becomes_a_class_folder_of_read_only_copies(tmp_path):
    """Byte for byte, named by student and lab, not to be written; what the platform said lies beside them."""
    into = tmp_path / "submissions"
    done = copy_out([download(tmp_path, GRADESCOPE, zipped=True)], LABS, into)
    assert [copy.student for copy in done.written] == ["s1@example.org", "s2@example.org", "s3@example.org"]
    target = into / done.written[0].path
    assert target.read_bytes() == notebook("a = 1")
    if sys.platform != "win32":
        assert stat.S_IMODE(target.stat().st_mode) == 0o444
    assert told(into) == told(tmp_path / "download.zip")


def test_collecting_again_changes_nothing_and_other_bytes_wait_for_force(tmp_path):
    """The same download is there already; a newer file is written over the older one only when asked."""
    into = tmp_path / "submissions"
    first = download(tmp_path, {"onestudent_1_2_iris.ipynb": notebook("old")}, zipped=True)
    copy_out([first], LABS, into)
    assert len(copy_out([first], LABS, into).same) == 1
    newer = download(tmp_path, {"onestudent_1_3_iris.ipynb": notebook("new")}, zipped=True)
    assert len(copy_out([newer], LABS, into).kept) == 1
    assert len(copy_out([newer], LABS, into, force=True).written) == 1
    assert b"new" in next(into.glob("*/iris.ipynb")).read_bytes()


def test_an_edited_copy_loses_its_date(tmp_path):
    """What the platform vouched for were other bytes."""
    into = tmp_path / "submissions"
    copy = copy_out([download(tmp_path, GRADESCOPE, zipped=True)], LABS, into).written[0]
    (into / copy.path).unlink()
    (into / copy.path).write_bytes(notebook("better"))
    assert ("s1@example.org", "iris", "", "") in told(into)


def test_a_students_own_list_gives_no_date(tmp_path):
    """A collected.json inside a student's folder or zip is a file like any other."""
    into = tmp_path / "submissions"
    copy_out([download(tmp_path, GRADESCOPE, zipped=True)], LABS, into)
    claim = (into / "collected.json").read_bytes()
    mine = tmp_path / "mine" / "s1@example.org"
    mine.mkdir(parents=True)
    (mine / "iris.ipynb").write_bytes(notebook("a = 1"))
    (mine / "collected.json").write_bytes(claim)
    assert told(tmp_path / "mine") == [("s1@example.org", "iris", "", "")]
    assert told(mine) == [("s1@example.org", "iris", "", "")]


def test_a_damaged_list_is_told(tmp_path):
    """A collected.json that cannot be read is an error that names it, not a loss of dates in silence."""
    (tmp_path / "student-01").mkdir()
    (tmp_path / "student-01" / "iris.ipynb").write_bytes(notebook())
    (tmp_path / "collected.json").write_text("{")
    with pytest.raises(UsageError, match=r"collected\.json: cannot be read"):
        collect([tmp_path], LABS)


def test_hostile_names_and_members_write_nothing_outside(tmp_path):
    """Attacks 83 to 85: paths that climb out, absolute ones and odd names stay inside the folder or are refused."""
    files = {
        "../x_1_2_iris.ipynb": notebook("a"),
        "/etc/x_1_2_iris.ipynb": notebook("b"),
        "..\\..\\x_1_2_iris.ipynb": notebook("c"),
        "a\u202eb <b>_9_assignsubmission_file_/iris.ipynb": notebook("d"),
        "-rf_8_assignsubmission_file_/iris.ipynb": notebook("e"),
        "CON_7_assignsubmission_file_/iris.ipynb": notebook("f"),
    }
    into = tmp_path / "deep" / "submissions"
    done = copy_out([download(tmp_path, files, zipped=True)], LABS, into)
    assert len(done.errors) == 3
    assert len(done.written) == 3
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - {tmp_path / "download.zip"}
    assert all(into in path.parents for path in written)
    for copy in done.written:
        assert copy.path.split("/")[0].lower() not in ("con", "-rf")


def test_two_different_notebooks_of_one_student_are_copied_neither(tmp_path):
    """Which one counts is not ours to guess."""
    files = {"one_1_2_iris.ipynb": notebook("a"), "one_1_3_iris.ipynb": notebook("b")}
    done = copy_out([download(tmp_path, files, zipped=True)], LABS, tmp_path / "s")
    assert (done.written, len(done.errors)) == ((), 1)
