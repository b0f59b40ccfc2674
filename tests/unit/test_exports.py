"""Exports: the documented formats, filled and never made up, and nothing that a student wrote breaks out of its place."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader import exports, spreadsheet
from grader.errors import UsageError
from grader.exports import autograder, github, gradescope
from grader.gradebook import Attempt, Grade, Lateness, Person, Policy, Remark
from grader.labs import load_lab
from grader.records import (
    Advice,
    CellError,
    CheckResult,
    Ending,
    Environment,
    Evidence,
    Level,
    Outcome,
    Received,
    Tier,
    Verdict,
)
from grader.settings import Settings

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = st.text(max_size=60)


def golden(name: str, content: bytes) -> None:
    """The bytes are those of the golden file; WRITE_GOLDEN=1 writes it, to be read before it is committed."""
    path = GOLDEN / name
    if os.environ.get("WRITE_GOLDEN"):
        path.write_bytes(content)
    assert content.decode() == path.read_bytes().decode()


def check(name, outcome, score, points=40.0, **more) -> CheckResult:
    return CheckResult(
        id=name,
        description=f"Your model passes {name}.",
        points=points,
        score=score,
        outcome=outcome,
        required=Evidence.VERIFIED,
        evidence=None if outcome in (Outcome.SKIPPED, Outcome.ERRORED) else Evidence.VERIFIED,
        seconds=0.25,
        staff_note="SECRET floor 0.7, full 0.9",
        **more,
    )


CHECKS = (
    check("trains", Outcome.PASSED, 40.0),
    check(
        "accuracy", Outcome.FAILED, 20.5, expected="9 of 10 right", found="80% right, <b>50%</b>", hint="Train longer."
    ),
    check("restores", Outcome.SKIPPED, 0.0, 10.0, blocked_by="trains"),
    check("gpu", Outcome.SKIPPED, 0.0, 5.0, rationale="there is no GPU here"),
    check("shape", Outcome.ERRORED, 0.0, 10.0, rationale="the check itself broke"),
)


def verdict(student="student-01", sha="aa", score=60.5, **more) -> Verdict:
    values = {
        "lab": "iris",
        "lab_title": "Iris: a training loop",
        "student": student,
        "submission": sha,
        "ending": Ending.CELL_ERROR,
        "ending_detail": "ValueError in code cell 7",
        "score": score,
        "max_score": 100.0,
        "checks": CHECKS,
        "level": Level.L2,
        "tier": Tier.LITE,
        "environment": Environment(grader="1", python="3", platform="linux"),
        "cell_errors": (CellError(cell=7, kind="ValueError", message="x and y differ", line=3),),
        "needs_attention": ("shape: SECRET",),
        "timings": {"total": 12.5},
        "graded_at": "2030-01-31T12:00:00+00:00",
    }
    return Verdict(**(values | more))


def grade(number: int, points: float | None = 60.5, lms: str = "", lms_id: str = "", **more) -> Grade:
    student = f"student-{number:02}"
    counted = Attempt(
        lab="iris",
        student=student,
        submission="aa",
        attempt=2,
        received=Received(at="2030-01-30T12:00:00+00:00", known="lms", lms=lms, lms_id=lms_id),
        score=60.5,
        max_score=100.0,
        ending="ok",
        graded_at="2030-01-31T12:00:00+00:00",
    )
    person = Person(
        id=student,
        name=f"Student {number}",
        email=f"s{number}@example.org",
        section="A",
        canvas_id=str(4520 + number),
        sis_id=f"sis{number}",
    )
    values = {"student": student, "lab": "iris", "grade": points, "max_score": 100.0, "counted": counted}
    return Grade(**(values | {"attempts": 2, "person": person} | more))


COMMENT = Remark(
    number=1, kind="comment", student="student-01", lab="iris", words="=See <me>", by="s", at="", for_student=True
)
GRADES = (
    grade(1, 50.4, late=Lateness(state="late", days=1, percent=10), adjustment=-4.05, remarks=(COMMENT,)),
    grade(2, 100.0),
    grade(3, 0.0),
    grade(4, 70.0),
    grade(5, None),
    grade(9, 10.0),
)
VERDICTS = exports.indexed([verdict(grade.student) for grade in GRADES[:1]])

# ---------------------------------------------------------------- Canvas

CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Old lab (111),Iris: a training loop (222),Final Score
,,,,,Manual Posting,,
    Points Possible,,,,,10.00,100.00,(read only)
"One, Student",4521,sis1,one,A,5.00,,33
"Two, Student",,sis2,two,A,,12.50,
"Three, Student",4523,sis3,three,"A and B",EX,EX,
"Four, Student",4524,sis4,four,A,,N/A,
"Five, Student",4525,sis5,five,A,=1+1,7.00,
"Six, Student",4526,sis6,six,A,1.00,2.00,
"Student, Test",4599,,test,A,,,
"""


def canvas(content=CANVAS, grades=GRADES, titles=("iris", "Iris: a training loop"), **options):
    return exports.fill_canvas(content.encode(), grades, titles=titles, where="canvas.csv", **options)


def rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_canvas_gets_one_column_and_nothing_else_changes():
    """Only cells of that one column differ; EX and N/A stay, as do Points Possible, other assignments and strangers."""
    filled = canvas()
    golden("canvas.csv", filled.content)
    before, after = rows(CANVAS.encode()), rows(filled.content)
    changed = {
        (line, column)
        for line, row in enumerate(before)
        for column, cell in enumerate(row)
        if after[line][column] != cell
    }
    assert changed == {(3, 6)}
    assert after[3][6] == "50.4"
    assert filled.protected == ("student-03", "student-04")
    assert set(filled.without_row) == {"student-02", "student-09"}


def test_canvas_finds_a_student_by_sis_id_where_the_number_is_missing():
    """A row with an ID is a student's; of its other ids, any that the roster knows will do."""
    filled = canvas(CANVAS.replace('"Two, Student",,', '"Two, Student",9999,'))
    assert rows(filled.content)[4][6] == "100"


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (
            CANVAS,
            {"titles": ("mnist",)},
            r"no assignment is called 'mnist' \(choose one with --column, .*Old lab \(111\)",
        ),
        (CANVAS, {"column": "333"}, "no assignment is called '333'"),
        (CANVAS.replace("Old lab", "Iris: a training loop"), {}, "two assignments have that title"),
        ("a,b\n1,2\n", {}, "is not a Canvas gradebook"),
        (CANVAS.replace("100.00", "20.00"), {}, "gives 20 points, the grade of student-01 is of 100 .*--scale"),
        (CANVAS.replace("100.00", '"1,000.00"'), {}, "gives 1000 points, the grade of student-01 is of 100 .*--scale"),
        (
            CANVAS.replace("100.00", "many"),
            {},
            r"canvas.csv:3: Points Possible of '.*\(222\)' is 'many', which is no numb",
        ),
        (CANVAS, {"grades": ()}, "there are no grades"),
        (CANVAS, {"grades": (grade(1), grade(2, lab="mnist"))}, "grades of 2 labs"),
    ],
)
def test_canvas_refuses_what_it_would_have_to_invent(content, options, said):
    """An unknown or ambiguous title, other points, another file: an error, since an upload would make a new assignment."""
    with pytest.raises(UsageError, match=said):
        canvas(content, **options)


def grade_of(filled, line=3, column=6):
    return rows(filled.content)[line][column]


def test_canvas_columns_are_chosen_by_number_and_points_converted_when_asked():
    """--column 222 is that assignment; --scale turns 50.4 of 100 into 10.08 of 20."""
    assert grade_of(canvas(column="222", titles=())) == "50.4"
    assert grade_of(canvas(CANVAS.replace("100.00", "20.00"), scale=True)) == "10.08"
    assert grade_of(canvas(CANVAS.replace("100.00", '"1,000.00"'), scale=True)) == "504"


def test_canvas_needs_no_points_where_it_gives_none():
    """An assignment without points says nothing of how much the lab is worth."""
    assert grade_of(canvas(CANVAS.replace("100.00", ""))) == "50.4"


def test_filling_a_filled_sheet_changes_nothing():
    """What came out goes in again and comes out the same."""
    once = canvas().content
    assert canvas(once.decode()).content == once


# ---------------------------------------------------------------- Moodle

MOODLE = """\
Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,Last modified (submission),\
Last modified (grade),Feedback comments
Participant 71,Student 1,s1@example.org,Submitted for grading,,100.00,Yes,"Thursday, 31 January 2030, 8:00 PM",-,
Participant 72,Student 2,s2@example.org,Submitted for grading,12.00,100.00,No,-,-,
Participant 73,Student 3,other@example.org,No submission,,100.00,Yes,-,-,kept
Participant 99,Nobody Known,nobody@example.org,No submission,,100.00,Yes,-,-,untouched
"""
MOODLE_ZH = """\
编号,全名,电子邮件,状态,成绩,最高成绩,成绩可以更改,最后修改（提交）,最后修改（成绩）,反馈评语
参与者71,Student 1,s1@example.org,已提交,,100.00,是,-,-,
参与者72,Student 2,s2@example.org,已提交,,100.00,否,-,-,
"""
#: A language that is not in any list: found by what the columns hold.
MOODLE_XX = """\
Osallistuja;Nimi;Osoite;Tila;Arvio;Enintään;Muokattavissa;Palautettu;Arvioitu;Palaute
Osallistuja 71;Student 1;s1@example.org;ok;;100,00;joo;-;-;
Osallistuja 72;Student 2;s2@example.org;ok;12,50;100,00;joo;-;-;
"""


def moodle(content=MOODLE, grades=GRADES, **options):
    return exports.fill_moodle(content.encode(), grades, VERDICTS, where="moodle.csv", **options)


def test_moodle_gets_grade_and_feedback_together_and_nothing_else_changes():
    """Row by row: email, then the name; a locked grade, a stranger and every other column stay."""
    filled = moodle()
    golden("moodle.csv", filled.content)
    before, after = rows(MOODLE.encode()), rows(filled.content)
    assert [row[:4] + row[5:9] for row in before] == [row[:4] + row[5:9] for row in after]
    assert [row[4] for row in after[1:]] == ["50.4", "12.00", "0", ""]
    assert (after[2][9], after[3][9], after[4][9]) == ("", "kept", "untouched")
    assert filled.protected == ("student-02",)


def test_moodle_feedback_is_the_students_and_cannot_become_html():
    """Expected, found, advice, lateness and the staff's words are there, escaped; staff notes are not."""
    words = rows(moodle().content)[1][9]
    assert "&lt;b&gt;50%" in words
    assert "try: Train longer." in words
    assert "10 % of the points" in words
    assert "=See &lt;me&gt;" in words
    assert "SECRET" not in words
    assert not re.search(r"<(?!br>)", words)


PARTLY = (
    check("trains", Outcome.FAILED, 0.0, 30.0, found="`fit` was never called", hint="Call `model.fit`."),
    check("accuracy", Outcome.FAILED, 4.0, 10.0, found="4 of 10", hint="Train longer."),
    check("restores", Outcome.SKIPPED, 0.0, 10.0, blocked_by="trains", rationale="blocked", hint="Save the weights."),
)


def feedback(**more) -> list[str]:
    found = verdict(**({"ending": Ending.OK, "ending_detail": "", "cell_errors": (), "checks": PARTLY} | more))
    return exports.feedback.verdict_lines(found)


def test_feedback_says_what_the_card_says():
    """Points and next step first; the card's words for how a check ended; no backticks; of a blocked check its blocker."""
    assert feedback() == [
        "Iris: a training loop: 60.5 of 100 points",
        "Next step for “Your model passes trains.”: Call model.fit.",
        "Your model passes trains. Not yet, 0 of 30 points",
        "found: fit was never called",
        "try: Call model.fit.",
        "Your model passes accuracy. Partly there, 4 of 10 points",
        "found: 4 of 10",
        "try: Train longer.",
        "Your model passes restores. Skipped, 0 of 10 points",
        "waits for: Your model passes trains.",
    ]


def test_advice_on_the_cell_that_stopped_the_run_is_the_next_step_and_stands_there_once():
    """What comes first is not said again in the second line below it."""
    advice = Advice(rule="r", text="Give `x` and `y` as many rows.")
    error = CellError(cell=7, kind="ValueError", message="x and y differ", line=3, advice=advice)
    lines = feedback(ending=Ending.CELL_ERROR, cell_errors=(error,))
    assert "Next step" in lines[1]
    assert sum("Give x and y as many rows." in line for line in lines) == 1


def test_who_has_all_points_is_told_of_no_next_step():
    """Nothing is left to do, and feedback does not make something up."""
    assert feedback(score=100.0, checks=CHECKS[:1]) == ["Iris: a training loop: 100 of 100 points"]


def test_moodle_headers_are_found_in_chinese():
    """The sheet of a Chinese Moodle is filled; 否 keeps a grade."""
    filled = moodle(MOODLE_ZH)
    golden("moodle_zh.csv", filled.content)
    assert [row[4] for row in rows(filled.content)[1:]] == ["50.4", ""]


def test_moodle_headers_of_an_unknown_language_are_found_by_what_they_hold():
    """The maximum is the same number in every row, the grade stands before it, feedback is last; its decimal comma stays."""
    filled = moodle(MOODLE_XX)
    after = list(csv.reader(io.StringIO(filled.content.decode()), delimiter=";"))
    assert [row[4] for row in after[1:]] == ["50,4", "100"]
    assert "Train longer" in after[1][9]


@pytest.mark.parametrize(("maximum", "shown"), [('"1,000.00"', "50.4"), ('"1.000,00"', "50,4")])
def test_moodles_decimal_sign_is_not_the_sign_between_thousands(maximum, shown):
    """A comma groups thousands in one country and stands before decimals in another."""
    grades = [msgspec.structs.replace(GRADES[0], max_score=1000.0)]
    assert rows(moodle(MOODLE.replace("100.00", maximum), grades).content)[1][4] == shown


def test_moodle_is_filled_where_no_column_holds_the_maximum():
    """The columns are named; the last one, whatever it holds, is no maximum and locks nothing."""
    sheet = "Identifier,Full name,Points,Words\nParticipant 71,Student 1,,no\n"
    filled = moodle(sheet, GRADES[:1], grade_column="Points", feedback_column="Words")
    assert rows(filled.content)[1][2] == "50.4"


def test_a_participant_number_finds_who_handed_in_under_it():
    """In a blind download there is neither name nor email: the number of the collected submission is enough."""
    blind = (
        "Identifier,Status,Grade,Maximum Grade,Grade can be changed,Feedback comments\nParticipant 71,ok,,100.00,Yes,\n"
    )
    grades = (grade(1, 42.0, lms="moodle", lms_id="71", person=None), grade(2))
    assert rows(moodle(blind, grades).content)[1][2] == "42"


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("a,b\nx,y\n", {}, "is not a Moodle grading worksheet"),
        ("Id,Name,X\nParticipant 1,a,b\n", {}, "not clear which column"),
        (MOODLE, {"grade_column": "Nothing"}, "has no column 'Nothing'"),
        (MOODLE.replace("100.00", "20.00"), {}, "gives 20 points"),
        (MOODLE.replace("100.00", '"1,000.00"'), {}, "gives 1000 points"),
        (MOODLE.replace("100.00", "Pass"), {}, "moodle.csv:2: the maximum grade is 'Pass', which is no number"),
    ],
)
def test_moodle_refuses_to_guess(content, options, said):
    """Another file, no clear column, other points: an error that says what to do."""
    with pytest.raises(UsageError, match=said):
        moodle(content, **options)


# ---------------------------------------------------------------- in the student's language

CHINESE = verdict(
    language="zh",
    lab_title="Iris: a training loop of your own",
    ending_detail="KeyError in code cell 7",
    cell_errors=(CellError(cell=7, kind="KeyError", message="x", line=3),),
    checks=(
        check(
            "consistent",
            Outcome.FAILED,
            4.0,
            hint="Take the softmax over the three scores of each flower (axis=-1), and nothing over the batch.",
        ),
        *(
            msgspec.structs.replace(
                check(f"{outcome.value}-{blocker}", outcome, 0.0, blocked_by=blocker),
                description="A flower gets the same answer alone as in a batch.",
            )
            for outcome, blocker in ((Outcome.SKIPPED, "x"), (Outcome.SKIPPED, ""), (Outcome.ERRORED, ""))
        ),
    ),
)
NAMES = {"softmax", "axis", "KeyError", "br", "Your", "model", "passes", "consistent"}


def test_feedback_is_in_the_language_of_the_card():
    """Moodle's, Gradescope's and GitHub's words: of a Chinese card only names and code stay as they are."""
    said = exports.translated_verdict(CHINESE, ROOT / "labs")
    filled = exports.fill_moodle(MOODLE.encode(), GRADES[:1], exports.indexed([said]), where="moodle.csv")
    row = rows(filled.content)[1]
    told = exports.Metadata.read(json.dumps(METADATA).encode(), "m.json")
    found = json.loads(exports.results(said, told, Policy(percent_per_day=10)))
    passed = json.loads(exports.results(msgspec.structs.replace(said, checks=(CHECKS[0],))))["tests"][0]["output"]
    errors = exports.workflow_commands([said], {}).splitlines()[:1]
    told_all = [row[-1].split("<br>=See")[0], found["output"], *(test["output"] for test in found["tests"]), passed]
    told_all += [line.partition("::")[2].partition("::")[2].replace("%0A", " ") for line in errors]
    for text in told_all:
        assert set(re.findall(r"[A-Za-z]{2,}", text)) <= NAMES, text
        assert re.search(r"[\u4e00-\u9fff]", text)
    assert "成绩：50.4（满分 100）" in row[-1]
    assert "建议：对每朵花自己的三个得分取 softmax" in found["tests"][0]["output"]


# ---------------------------------------------------------------- Gradescope

METADATA = {
    "id": 5,
    "created_at": "2030-02-01T12:00:00.123456-08:00",
    "assignment": {"due_date": "2030-02-01T00:00:00.000000-08:00", "late_due_date": None, "total_points": "100.0"},
    "users": [{"id": 1, "email": "s1@example.org", "name": "Student 1"}],
    "previous_submissions": [{"submission_time": "x", "score": 1.0}],
}


def test_gradescope_results_are_the_documented_document():
    """Top, tests and statuses as Gradescope reads them; nothing that a student must not see."""
    content = exports.results(verdict())
    golden("results.json", content)
    found = json.loads(content)
    assert {test["visibility"] for test in found["tests"]} == {"visible"}
    assert found["stdout_visibility"] == "hidden"
    assert [test.get("status") for test in found["tests"]] == ["passed", "failed", "failed", None, "failed"]
    assert sum(test["max_score"] for test in found["tests"]) == 100
    assert "SECRET" not in content.decode()


def test_gradescope_lateness_is_from_created_at_and_by_the_courses_policy():
    """Half a day late costs 10 %; without a policy Gradescope's own rules are left to it."""
    told = exports.Metadata.read(json.dumps(METADATA).encode(), "m.json")
    late = json.loads(exports.results(verdict(), told, Policy(percent_per_day=10)))
    assert late["score"] == pytest.approx(54.45)
    assert "late by 1" in late["output"]
    assert json.loads(exports.results(verdict(), told))["score"] == 60.5
    assert late["extra_data"]["attempt"] == 2


def test_gradescope_visibility_is_one_for_all():
    """One hidden test would hide the total, so it is asked for as a whole or not at all."""
    found = json.loads(exports.results(verdict(), visibility="after_published"))
    assert {found["visibility"], *(test["visibility"] for test in found["tests"])} == {"after_published"}


def test_where_nothing_was_graded_the_student_reads_why():
    """No points, no tests, and the reason."""
    found = json.loads(gradescope.no_results("essay.pdf: is a PDF, not a notebook"))
    assert (found["score"], found["tests"]) == (0.0, [])
    assert "is a PDF" in found["output"]


@pytest.mark.parametrize("content", [b"{", b"{}", b"[]", b'{"created_at": "yesterday"}'])
def test_metadata_of_another_kind_are_refused(content):
    """What is not Gradescope's is a clear error."""
    with pytest.raises(UsageError, match="is not Gradescope's metadata"):
        exports.Metadata.read(content, "m.json")


def members(content: bytes) -> dict[str, zipfile.ZipInfo]:
    return {member.filename: member for member in zipfile.ZipFile(io.BytesIO(content)).infolist()}


def built(**options):
    lab = load_lab(ROOT / "labs" / "iris")
    settings = Settings(secret="a very 'secret' \"word\"", late_percent=10, **options)
    return autograder.build(lab, settings, tier="lite", level=Level.L1)


def test_the_autograder_zip_has_what_gradescope_calls_and_only_that_lab():
    """Both scripts at the root and executable, the package, the lab with its hidden suite; no reference, no mutant."""
    found = members(built().content)
    for name in ("setup.sh", "run_autograder"):
        assert found[name].external_attr >> 16 & 0o111
    assert {"grader/cli/__init__.py", "grader/probe/__init__.py", "labs/iris/lab.toml", "requirements.txt"} <= set(
        found
    )
    assert any(name.startswith("labs/iris/hidden_tests/") for name in found)
    assert "labs/iris/locale/zh.po" in found
    course = [name for name in found if not name.startswith("grader/")]
    assert not any(word in name for name in course for word in ("mutants", "reference", "labs/mnist"))
    assert not any("__pycache__" in name for name in found)


def test_the_autograders_settings_are_read_back_as_they_were(tmp_path):
    """Secret, limits and late policy arrive whatever they hold."""
    from grader.settings import load_settings

    with zipfile.ZipFile(io.BytesIO(built().content)) as archive:
        archive.extract("course.toml", tmp_path)
    found = load_settings(tmp_path / "course.toml", {})
    assert (found.secret, found.late_percent) == ("a very 'secret' \"word\"", 10)
    assert found.limits["memory_mb"] == load_lab(ROOT / "labs" / "iris").limits.memory_mb


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("script", ["setup.sh", "run_autograder"])
def test_the_scripts_are_bash(script, tmp_path):
    """A shell reads both without a complaint."""
    with zipfile.ZipFile(io.BytesIO(built().content)) as archive:
        archive.extract(script, tmp_path)
    subprocess.run(["bash", "-n", str(tmp_path / script)], check=True)


@pytest.mark.parametrize(
    ("memory", "size"), [(256, "1.5 GB"), (1024, "1.5 GB"), (1280, "3.0 GB"), (2048, "3.0 GB"), (4096, "6.0 GB")]
)
def test_the_container_holds_the_run_and_the_judge(memory, size):
    """The smallest of Gradescope's sizes that is enough; never the default of 0.75 GB."""
    assert size in built(limits={"memory_mb": memory}).size


def test_a_lab_that_no_container_holds_is_refused():
    """8 GB are more than Gradescope has."""
    with pytest.raises(UsageError, match="more than Gradescope's largest"):
        built(limits={"memory_mb": 8192})


# ---------------------------------------------------------------- CSV


def test_the_tables_are_plain_and_safe():
    """Long and wide, as documented; a hostile name is a text, a minus a number."""
    hostile = grade(7, 5.0, adjustment=-2.0, person=Person(id="student-07", name='=HYPERLINK("x")\n", 1'))
    golden("grades.csv", exports.long_table([*GRADES, hostile]))
    people = {"student-08": Person(id="student-08", name="Never Came")}
    golden("matrix.csv", exports.matrix(GRADES, people))
    content = exports.long_table([hostile], excel=True)
    assert content.startswith(b"\xef\xbb\xbf")
    (header, row) = rows(content)
    found = dict(zip(header, row, strict=True))
    assert found["name"].startswith("'=HYPERLINK")
    assert (found["adjustment"], found["grade"]) == ("-2", "5")


@given(EVERYTHING, EVERYTHING)
def test_no_name_or_comment_forges_a_row(name, words):
    """Attack 87: one grade is one row, whatever a name or a comment holds."""
    remark = msgspec.structs.replace(COMMENT, words=words)
    content = exports.long_table([grade(1, person=Person(id="student-01", name=name), remarks=(remark,))], excel=True)
    assert len(rows(content)) == 2
    assert len(content.splitlines()) == 2


# ---------------------------------------------------------------- JUnit


def test_junit_blames_the_right_one_and_keeps_the_points():
    """failure is the student's, error is ours; points and score are properties."""
    content = exports.junit([verdict()], {("iris", "student-01"): "submissions/student-01/iris.ipynb"})
    golden("junit.xml", content)
    suite = ET.fromstring(content)[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "2",
    }
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert cases["accuracy"].find("failure") is not None
    assert cases["shape"].find("error") is not None
    points = {p.get("name"): p.get("value") for p in cases["accuracy"].iter("property")}
    assert (points["points"], points["score"]) == ("40", "20.5")
    assert "SECRET" not in content.decode()


def test_junit_names_the_notebook_and_the_line_that_failed():
    """Every case has the file; those that did not pass the line of the first exception, where there is one."""
    files = {("iris", "student-01"): "submissions/student-01/iris.ipynb"}
    places = [
        (case.get("file"), case.get("line"))
        for case in ET.fromstring(exports.junit([verdict()], files))[0]
        if case.tag == "testcase"
    ]
    notebook = "submissions/student-01/iris.ipynb"
    assert places == [(notebook, None), *[(notebook, "3")] * 4]
    for other in (exports.junit([verdict("student-02")], files), exports.junit([verdict(cell_errors=())])):
        assert b" file=" not in other
    assert b" line=" not in exports.junit([verdict(cell_errors=())], files)


@given(EVERYTHING, EVERYTHING)
def test_no_words_forge_an_element(name, words):
    """Attack 87: whatever a name or an error holds, the report has one suite and one case, and can be parsed."""
    checks = (check("a", Outcome.FAILED, 0.0, found=words, hint=words),)
    errors = (CellError(cell=1, kind=name, message=words),)
    root = ET.fromstring(exports.junit([verdict(name, checks=checks, cell_errors=errors, ending_detail=words)]))
    assert len(list(root.iter("testsuite"))) == len(list(root.iter("testcase"))) == len(list(root.iter("failure"))) == 1


# ---------------------------------------------------------------- GitHub


def unescaped(words: str) -> str:
    return words.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":").replace("%2C", ",").replace("%25", "%")


@given(EVERYTHING, EVERYTHING)
def test_no_words_start_a_workflow_command(title, words):
    """Attack 87: one command is one line, and the runner reads back one title and one message."""
    line = github.command("error", words, file=title, title=title)
    assert len(line.splitlines()) == 1
    match = re.fullmatch(r"::error (?:file=([^,:]*),title=([^,:]*))?::(.*)|::error::(.*)", line)
    assert match


def test_a_command_is_escaped_as_the_runner_unescapes_it():
    """Percent signs first, then line breaks; in properties colon and comma too."""
    assert github.command("error", "50%\n::warning::x", title="a: b, 10%") == (
        "::error title=a%3A b%2C 10%25::50%25%0A::warning::x"
    )
    assert unescaped("50%25%0A::warning::x") == "50%\n::warning::x"


def test_annotations_name_the_file_and_stop_where_github_stops():
    """A failure is an error at the notebook, ours a warning; of more than ten errors the last says how many are left."""
    files = {("iris", "student-01"): "submissions/student-01/iris.ipynb"}
    golden("annotations.txt", exports.workflow_commands([verdict()], files).encode())
    many = [verdict(f"student-{number:02}") for number in range(20)]
    lines = exports.workflow_commands(many, {}).splitlines()
    errors = [line for line in lines if line.startswith("::error")]
    assert len(errors) == 10
    assert "11 more checks failed" in errors[-1]


def test_the_summary_is_a_table_and_is_cut_honestly():
    """Names cannot become links, cells or HTML; what has no room is counted."""
    hostile = grade(7, 5.0, student="[x](https://example.org)|<img src=x>")
    golden("summary.md", exports.summary([*GRADES, hostile], VERDICTS).encode())
    cut = exports.summary([grade(number % 90) for number in range(500)], {}, limit=2_000)
    assert len(cut.encode()) <= 2_000
    left = int(re.search(r"(\d+) of 500 rows are left out", cut)[1])
    assert cut.count("| iris |") == 500 - left


@given(EVERYTHING)
def test_a_row_of_the_summary_is_one_row(name):
    """Whatever a name holds, the table has five cells in that row."""
    (row,) = exports.summary([grade(1, student=name)], {}).splitlines()[4:]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 6
    assert not re.search(r"<|(?<!\\)\]\(", row)


def test_classroom_reads_the_notice():
    """Title and the two numbers, as one line."""
    content = exports.classroom(GRADES[:2])
    golden("classroom.txt", content.encode())
    assert content == '::notice title=Autograding report::{"totalPoints":150.4,"maxPoints":200}\n'


def test_a_sheet_of_the_platform_is_read_back_as_it_was_written():
    """Delimiter, line ends and mark are the platform's."""
    for content in (MOODLE_XX.encode(), ("\ufeff" + CANVAS.replace("\n", "\r\n")).encode()):
        assert spreadsheet.read(spreadsheet.write(spreadsheet.read(content, "x")), "x") == spreadsheet.read(
            content, "x"
        )
