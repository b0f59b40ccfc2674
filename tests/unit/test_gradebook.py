"""The gradebook: facts are kept, grades are computed, and nothing that staff decided is lost."""

from __future__ import annotations

import datetime as dt
import sqlite3
import stat
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader import gradebook as book
from grader.errors import OursError, UsageError
from grader.gradebook import database as files
from grader.gradebook import remarks as kept_remarks
from grader.records import Ending, Environment, Level, Received, Tier, Verdict

DUE = dt.datetime(2030, 1, 31, 23, 59, tzinfo=dt.UTC)
LATE = book.Policy(percent_per_day=10, max_percent=50, grace_minutes=15)


def at(**later: float) -> str:
    return (DUE + dt.timedelta(**later)).isoformat()


def received(known="lms", **later) -> Received:
    return Received(at=at(**later), known=known)


def verdict(
    student="student-01", sha="a", score=80.0, graded="2030-02-10T00:00:00+00:00", lab="iris", **more
) -> Verdict:
    return Verdict(
        lab=lab,
        lab_title=lab,
        student=student,
        submission=sha,
        ending=Ending.OK,
        score=score,
        max_score=100.0,
        checks=(),
        level=Level.L2,
        tier=Tier.LITE,
        environment=Environment(grader="1", python="3", platform="linux"),
        graded_at=graded,
        **more,
    )


def handed(student="student-01", sha="a", when=None, lab="iris") -> book.Handed:
    return book.Handed(lab=lab, student=student, submission=sha, received=when)


@pytest.fixture
def db(tmp_path):
    with book.opened(tmp_path / "gradebook.db") as opened:
        yield opened


def only(db, policy=LATE, due=DUE):
    (grade,) = book.grades(db, policy, {"iris": due} if due else {})
    return grade


# ---------------------------------------------------------------- late policy


@pytest.mark.parametrize(
    ("when", "state", "days", "percent"),
    [
        (received(hours=-1), "on time", 0, 0),
        (received(minutes=15), "on time", 0, 0),
        (received(minutes=16), "late", 1, 10),
        (received(days=1), "late", 1, 10),
        (received(days=1, seconds=1), "late", 2, 20),
        (received(days=30), "late", 30, 50),
        (received("given", days=2), "late", 2, 20),
        (received("first seen", days=-1), "on time", 0, 0),
        (received("first seen", days=9), "unknown", 0, 0),
    ],
)
def test_lateness_costs_percent_for_each_started_day_within_grace_and_cap(when, state, days, percent):
    """Grace, started days, the cap; and a time that nobody vouches for can clear, but never charge."""
    assert book.lateness(when, DUE, LATE) == book.Lateness(state=state, days=days, percent=percent)


def test_a_course_may_let_the_first_sight_count():
    """Where the grader runs at every push, when it first saw a file is when it came."""
    policy = book.Policy(percent_per_day=10, count_first_seen=True)
    assert book.lateness(received("first seen", days=1), DUE, policy).percent == 10


@given(st.floats(0, 100), st.floats(0, 100), st.integers(-(10**7), 10**7))
def test_a_grade_never_leaves_its_range(score, per_day, seconds):
    """Whatever the policy, lateness never gives points and never takes more than there are."""
    late = book.lateness(received(seconds=seconds), DUE, book.Policy(percent_per_day=per_day))
    assert 0 <= book.policy.after_lateness(score, late) <= score + 1e-6


# ---------------------------------------------------------------- grades


def test_an_extension_heals_a_penalty_at_once(db):
    """The penalty is computed when it is asked for: an extension given later takes it away, withdrawing it brings it back."""
    book.enrol(db, [handed(when=received(days=2))])
    book.record(db, [verdict()])
    assert only(db).grade == 64
    remark = book.extend(db, "student-01", "iris", DUE + dt.timedelta(days=3), "ill", "staff")
    assert (only(db).grade, only(db).extended) == (80, True)
    book.withdraw(db, remark.number, "staff")
    assert only(db).grade == 64
    assert only(db, book.Policy()).grade == 80


def test_the_last_extension_counts_and_only_for_its_student_and_lab(db):
    """Two extensions: the later decision; another student's deadline is untouched."""
    book.enrol(db, [handed(when=received(days=2)), handed("student-02", "b", received(days=2))])
    book.record(db, [verdict(), verdict("student-02", "b")])
    book.extend(db, "student-01", "iris", DUE + dt.timedelta(days=9), "", "staff")
    book.extend(db, "student-01", "iris", DUE + dt.timedelta(days=1), "", "staff")
    assert [grade.late.days for grade in book.grades(db, LATE, {"iris": DUE})] == [1, 2]


def test_adjustments_and_comments_survive_a_regrade(db):
    """A regrade replaces the score; the sum of adjustments and the words of staff stay, with who and when."""
    book.record(db, [verdict()])
    book.adjust(db, "student-01", "iris", 5, "good idea", "staff-01")
    book.adjust(db, "student-01", "iris", -2, "no names", "staff-02")
    book.comment(db, "student-01", "iris", "See me.", "staff-02", for_student=True)
    book.record(db, [verdict(score=90.0, graded="2030-02-11T00:00:00+00:00")])
    grade = only(db, due=None)
    assert (grade.grade, grade.adjustment, grade.comments) == (93, 3, ("See me.",))
    assert [(remark.by, bool(remark.at)) for remark in grade.remarks][:2] == [("staff-01", True), ("staff-02", True)]


def test_a_grade_is_never_below_nothing_and_points_need_no_submission(db):
    """Taking off more than there is leaves 0; an adjustment alone is a grade."""
    book.record(db, [verdict(score=1.0)])
    book.adjust(db, "student-01", "iris", -50, "copied", "staff")
    assert only(db, due=None).grade == 0
    book.import_people(db, [book.Person(id="student-02")])
    book.adjust(db, "student-02", "iris", 60, "oral exam", "staff")
    assert [grade.grade for grade in book.grades(db, LATE, {})] == [0, 60]


@pytest.mark.parametrize(("points", "grade"), [((-5,), None), ((5, -5), None), ((8, -5), 3)])
def test_points_taken_off_nothing_are_no_grade(db, points, grade):
    """Nothing was handed in: a grade of 0 would say that something was."""
    book.import_people(db, [book.Person(id="student-02")])
    for number in points:
        book.adjust(db, "student-02", "iris", number, "why", "staff")
    assert only(db).grade == grade


@pytest.mark.parametrize(("count", "attempt", "grade"), [("best", 1, 80), ("last", 2, 40)])
def test_the_best_or_the_last_attempt_counts(db, count, attempt, grade):
    """By policy; best is by what is left after lateness."""
    book.enrol(db, [handed(sha="a", when=received(hours=-2)), handed(sha="b", when=received(hours=-1))])
    book.record(db, [verdict(sha="a"), verdict(sha="b", score=40.0)])
    found = only(db, book.Policy(count=count))
    assert (found.counted.attempt, found.grade, found.attempts) == (attempt, grade, 2)


def test_a_late_better_attempt_does_not_hide_a_punctual_one(db):
    """90 points two days late are 72: the punctual 80 counts."""
    book.enrol(db, [handed(sha="a", when=received(hours=-2)), handed(sha="b", when=received(days=2))])
    book.record(db, [verdict(sha="a"), verdict(sha="b", score=90.0)])
    assert only(db).counted.submission == "a"


def test_grading_again_is_no_new_attempt(db):
    """The same bytes keep their number and their first time; other bytes get the next number."""
    first = book.enrol(db, [handed()])
    assert book.enrol(db, [handed()]) == first
    assert book.enrol(db, [handed(sha="b")])[0].attempt == 2
    assert book.record(db, [verdict()]) == 1
    assert book.record(db, [verdict()]) == 0


def test_an_older_verdict_never_replaces_a_newer_one(db):
    """Of two commands that record at once, the fresher judgement stays whichever writes last."""
    book.record(db, [verdict(score=90.0, graded="2030-02-11T00:00:00+00:00")])
    book.record(db, [verdict(score=10.0, graded="2030-02-10T00:00:00+00:00")])
    assert only(db, due=None).grade == 90


def test_the_stronger_word_on_the_time_counts(db):
    """Staff over platform over first sight; of two times of the platform's for the same bytes the earlier."""

    def known(when):
        return book.enrol(db, [handed(when=when)])[0].received

    assert known(None).known == "first seen"
    assert known(received(hours=5)).at == at(hours=5)
    assert known(received(hours=2)).at == at(hours=2)
    assert known(received(hours=9)).at == at(hours=2)
    assert known(received("given", hours=1)).known == "given"
    assert known(received(hours=-9)).at == at(hours=1)


# ---------------------------------------------------------------- roster

ROSTER = "id,name,email,section,canvas_id\nstudent-01,Student One,s1@example.org,A,4521\nstudent-02,Student Two,,B,\n"


def imported(db, *files):
    for content in files:
        read = book.read_people(content.encode(), "roster.csv")
        assert read.errors == ()
        change = book.import_people(db, read.people, read.columns)
    return change


def test_a_roster_is_imported_and_brought_up_to_date(db):
    """Added, changed and same are told apart; nobody is removed by a shorter file."""
    assert imported(db, ROSTER).added == ("student-01", "student-02")
    assert imported(db, "id,section\nstudent-02,C\n").changed == ("student-02",)
    assert imported(db, "id,section\nstudent-02,C\n").same == ("student-02",)
    assert set(book.directory(db).people) == {"student-01", "student-02"}


def test_a_second_file_changes_the_columns_it_has_and_no_others(db):
    """Names and emails from one file, Canvas's ids from another; an empty cell of a column that is there clears it."""
    imported(db, ROSTER)
    assert imported(db, "id,moodle_id,section\nstudent-01,u1,\nstudent-03,u3,B\n").changed == ("student-01",)
    people = book.directory(db).people
    assert people["student-01"] == book.Person(
        id="student-01", name="Student One", email="s1@example.org", canvas_id="4521", moodle_id="u1"
    )
    assert people["student-02"].name == "Student Two"
    assert people["student-03"] == book.Person(id="student-03", moodle_id="u3", section="B")


def test_what_a_file_does_not_say_still_belongs_to_one_person(db):
    """An email kept from an earlier file is not given away by a later one."""
    imported(db, ROSTER)
    with pytest.raises(UsageError, match=r"email 's1@example\.org' would be that of"):
        imported(db, "id,canvas_id\nstudent-01,1\n", "id,email\nstudent-02,s1@example.org\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "r.csv: is empty"),
        ("name\nx\n", "r.csv:1: has no column 'id'"),
        ("id,nmae\nx,y\n", "r.csv:1: unknown column 'nmae' (did you mean 'name'?)"),
        ("id,name,name\nx,y,z\n", "r.csv:1: has the column 'name' twice"),
        ("id,name\n", "r.csv: names nobody"),
        ("id,name\nx\n", "r.csv:2: has 1 cells, not 2"),
        ("id,name\nx,One\n,Two\n", "r.csv:3: the id is empty"),
        ("id,name\nx,One\n\nx,Two\n", "r.csv:4: id 'x' stands on line 2 too"),
        ("id,email\nx,nobody\n", "r.csv:2: 'nobody' is no email address"),
        ("id,email\nx,A@b.c\ny,a@b.C\n", "r.csv:3: email 'a@b.C' stands on line 2 too"),
        ("id,name\nx,a\u202eb\n", "r.csv:2: name 'a b' is longer"),
    ],
)
def test_wrong_input_is_told_by_line(content, said):
    """Each mistake names the file and the line, and what to do."""
    try:
        errors = book.read_people(content.encode(), "r.csv").errors
    except UsageError as error:
        errors = (error,)
    assert str(errors[0]).startswith(said)


def test_two_people_cannot_share_a_platforms_id_across_imports(db):
    """The second import would make one Canvas id two people's: nothing of it is kept."""
    book.import_people(db, [book.Person(id="student-01", canvas_id="7")])
    with pytest.raises(UsageError, match="canvas_id '7' would be that of 'student-01' and of 'student-02'"):
        book.import_people(db, [book.Person(id="student-03"), book.Person(id="student-02", canvas_id="7")])
    assert set(book.directory(db).people) == {"student-01"}


def test_a_roster_that_comes_later_finds_who_handed_in(db):
    """What was graded under Canvas's number belongs to its student once the roster says who that is."""
    when = Received(at=at(), known="first seen", lms="canvas", lms_id="4521")
    book.enrol(db, [handed("onestudent_4521", when=when)])
    book.record(db, [verdict("onestudent_4521")])
    assert only(db).student == "onestudent_4521"
    imported(db, ROSTER)
    assert (only(db).student, only(db).grade) == ("student-01", 80)


def test_what_was_decided_before_the_roster_came_follows_its_student(db):
    """A bonus, words and an extension under Canvas's name are the student's, also in a lab where nothing is handed in yet."""
    when = Received(at=at(days=2), known="lms", lms="canvas", lms_id="4521")
    book.enrol(db, [handed("onestudent_4521", when=when)])
    book.record(db, [verdict("onestudent_4521")])
    book.adjust(db, "onestudent_4521", "iris", 5, "good idea", "staff")
    book.comment(db, "onestudent_4521", "iris", "See me.", "staff", for_student=True)
    book.extend(db, "onestudent_4521", "iris", DUE + dt.timedelta(days=3), "ill", "staff")
    book.adjust(db, "onestudent_4521", "mnist", 3, "oral", "staff")
    imported(db, ROSTER)
    book.adjust(db, "onestudent_4521", "iris", 1, "under the old name again", "staff")
    found = {grade.lab: grade for grade in book.grades(db, LATE, {"iris": DUE})}
    assert {grade.student for grade in found.values()} == {"student-01"}
    iris = found["iris"]
    assert (iris.grade, iris.adjustment, iris.extended, iris.comments) == (86, 6, True, ("See me.",))
    assert found["mnist"].grade == 3


def test_a_name_under_which_two_people_handed_in_gives_its_remarks_to_neither(db):
    """Who is not told apart is not guessed: the remark stays under the name it was made for."""
    for number, sha in (("4521", "a"), ("4522", "b")):
        book.enrol(db, [handed("same name", sha, Received(at=at(), known="lms", lms="canvas", lms_id=number))])
    book.adjust(db, "same name", "iris", 5, "why", "staff")
    imported(db, "id,canvas_id\nstudent-01,4521\nstudent-02,4522\n")
    adjusted = {grade.student: grade.adjustment for grade in book.grades(db, LATE, {})}
    assert adjusted == {"same name": 5, "student-01": 0, "student-02": 0}


def test_gradescopes_number_is_the_courses_own(db):
    """A roster without emails still finds who Gradescope knows by SID and email; Moodle's participant number is no id."""
    book.import_people(db, [book.Person(id="student-01"), book.Person(id="student-02", moodle_id="71")])
    everybody = book.directory(db)
    assert everybody.id_of("s1@example.org", "gradescope", "student-01") == "student-01"
    assert everybody.find("Student One", "moodle", "71") is None


def test_a_name_that_two_people_have_means_nobody(db):
    """Who is not told apart is not guessed."""
    book.import_people(db, [book.Person(id="student-01", name="A B"), book.Person(id="student-02", name="a  b")])
    assert book.directory(db).find("A B") is None


# ---------------------------------------------------------------- remarks


@pytest.mark.parametrize("points", [0.0, float("nan"), float("inf"), 1e9])
def test_an_adjustment_is_a_number_of_points(db, points):
    """Nothing, infinity and nonsense are refused."""
    book.record(db, [verdict()])
    with pytest.raises(UsageError, match="is no number of points"):
        book.adjust(db, "student-01", "iris", points, "why", "staff")


def test_a_remark_on_nobody_is_refused_with_the_nearest_name(db):
    """A misspelt id would be points for nobody."""
    book.record(db, [verdict()])
    with pytest.raises(UsageError, match="did you mean 'student-01'"):
        book.comment(db, "studnet-01", "iris", "x", "staff", for_student=False)


def test_a_remark_is_withdrawn_once_and_stays_on_record(db):
    """Withdrawing says who did it; a second time, and a number that is not there, are errors."""
    book.record(db, [verdict()])
    number = book.adjust(db, "student-01", "iris", 5, "why", "staff-01").number
    assert book.withdraw(db, number, "staff-02").withdrawn_by == "staff-02"
    assert len(kept_remarks.remarks(db)) == 1
    for wrong in (number, 99):
        with pytest.raises(UsageError):
            book.withdraw(db, wrong, "staff-02")


# ---------------------------------------------------------------- the file


def test_an_older_file_is_brought_up_to_date_and_keeps_what_it_has(tmp_path):
    """A file of every earlier version opens as one of today's, rows and all."""
    for version in range(1, len(files.MIGRATIONS)):
        path = tmp_path / f"v{version}.db"
        old = sqlite3.connect(path)
        for statements in files.MIGRATIONS[:version]:
            for statement in statements:
                old.execute(statement)
        old.execute("INSERT INTO students VALUES ('student-01', 'One', '', '', '', '', '', '', '')")
        old.execute(f"PRAGMA user_version = {version}")
        old.commit()
        old.close()
        with book.opened(path) as db:
            assert book.directory(db).people["student-01"].name == "One"
            book.adjust(db, "student-01", "iris", 1, "works", "staff")
            assert db.execute("PRAGMA user_version").fetchone()[0] == len(files.MIGRATIONS)


def test_a_new_file_is_its_owners_only(tmp_path):
    """Grades and what staff say of people lie beside cards that may be published."""
    path = tmp_path / "new" / "gradebook.db"
    with book.opened(path):
        pass
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"not a database at all, but long enough to be looked at" * 9), "is damaged"),
        (lambda path: sqlite3.connect(path).executescript("CREATE TABLE other (x); ").close(), "not a gradebook"),
        (lambda path: sqlite3.connect(path).executescript("PRAGMA user_version = 99;").close(), "newer grader"),
    ],
)
def test_a_file_that_is_no_gradebook_is_told_and_left_alone(tmp_path, make, said):
    """Garbage, another program's database, one of a newer grader: one clear line, and not a byte changed."""
    path = tmp_path / "gradebook.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=said), book.opened(path):
        pass
    assert path.read_bytes() == before


def test_a_damaged_page_is_noticed_at_the_door(tmp_path):
    """Bytes overwritten in the middle are an error that says how to go on, never wrong grades."""
    path = tmp_path / "gradebook.db"
    with book.opened(path) as db:
        book.record(db, [verdict(f"student-{number:02}", "x" * 60) for number in range(200)])
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xaa" * (len(content) - 4096)
    path.write_bytes(bytes(content))
    with pytest.raises(UsageError, match="is damaged") as raised, book.opened(path):
        pass
    assert "gradebook record" in str(raised.value)


def test_a_file_that_another_command_holds_is_ours_to_wait_for(tmp_path, monkeypatch):
    """After the wait it is a clear line and exit code 4, never a traceback."""
    path = tmp_path / "gradebook.db"
    with book.opened(path) as db, book.transaction(db):
        monkeypatch.setattr(files, "WAIT_S", 0.1)
        with pytest.raises(OursError, match="another command has held it"), book.opened(path) as other:
            book.record(other, [verdict()])


def test_what_fails_halfway_leaves_nothing(db):
    """A transaction is whole or it is not there."""

    def fail():
        with book.transaction(db):
            db.execute("INSERT INTO students VALUES ('student-09', '', '', '', '', '', '', '', '')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert book.directory(db).people == {}


def test_words_are_values_never_sql(db):
    """A name that looks like SQL is a name."""
    name = "x'); DROP TABLE attempts; --"
    book.record(db, [verdict(name)])
    assert only(db, due=None).student == name


def test_without_a_file_the_verdicts_alone_give_the_grades(tmp_path):
    """Exports work where nobody keeps a gradebook, and make none."""
    from grader.gradebook.grades import grades_of

    (grade,) = grades_of(tmp_path / "no.db", [verdict()], LATE, {"iris": DUE})
    assert (grade.grade, grade.late.state) == (80, "unknown")
    assert not (tmp_path / "no.db").exists()
