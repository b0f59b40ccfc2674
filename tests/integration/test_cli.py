"""The command line, run as its users run it: exit codes, one-line errors, one object with --json, no traceback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import grader
from grader.batch import Event
from grader.cli.progress import Board
from grader.cli.show import duration, print_table, safe, table
from grader.errors import suggest

ROOT = Path(grader.__file__).parent.parent
COMMANDS = (
    "grade",
    "check",
    "labs",
    "doctor",
    "data",
    "regrade",
    "new",
    "lint",
    "verify",
    "calibrate",
    "release",
    "starter",
    "collect",
    "gradebook",
    "export",
    "build",
    "init-ci",
)
HEAVY = ("numpy", "tensorflow", "keras", "rich", "jinja2", "pandas", "msgspec", "nbformat")

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

print("a suite that prints")


@check("zero", points=4, evidence=VERIFIED, hint="Multiply.")
def test_zero(student):
    """`double(0)` is 0."""
    require(float(student.double(0)) == 0, "double(0) is something else", expected="0")


@check("large", points=6, evidence=VERIFIED, hint="Multiply by two.")
def test_large(student):
    """`double(x)` is twice x."""
    require(float(student.double(21)) == 42, "double(21) is something else", expected="42")
'''


def run(*args: object, cwd: Path, check_traceback: bool = True, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a folder of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "grader", *map(str, args)],
        check=False,
        cwd=cwd,
        env=environment(cwd, **environ),
        capture_output=True,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=240,
    )
    if check_traceback:
        assert "Traceback" not in done.stdout + done.stderr
    return done


def environment(cwd: Path, **environ: str) -> dict[str, str]:
    """This process's, without settings of the course and with a state folder of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRADER_")}
    own = {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "XDG_STATE_HOME": str(cwd / "state"), "COLUMNS": "100"}
    return kept | own | environ


def error_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("grader: error: ")]


def notebook(*sources: str) -> str:
    cells = [
        {"cell_type": "code", "source": text, "metadata": {}, "outputs": [], "execution_count": None}
        for text in sources
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A folder with one small lab, as a teacher has it."""
    return make_course(tmp_path)


def make_course(folder: Path) -> Path:
    lab = folder / "labs" / "doubling"
    (lab / "hidden_tests").mkdir(parents=True)
    (lab / "lab.toml").write_text(LAB)
    (lab / "hidden_tests" / "test_doubling.py").write_text(SUITE)
    return folder


def hand_in(course: Path, student: str, text: str, lab: str = "doubling") -> Path:
    path = course / "submissions" / student / f"{lab}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# ---------------------------------------------------------------- help and usage


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_help(command, tmp_path):
    """--help says what a command does and ends with 0."""
    done = run(*command.split(), "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: grader")


def test_help_waits_for_nothing_heavy(tmp_path):
    """The help text needs click alone: no NumPy, no rich, and never TensorFlow."""
    code = f"import sys; from grader.cli import run; run(['--help']); print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_packages(tmp_path):
    """--version prints the package's version."""
    assert run("--version", cwd=tmp_path).stdout.split() == ["grader", grader.__version__]


def test_no_command_shows_the_help_and_is_a_usage_error(tmp_path):
    """Bare `grader` ends with 2 and shows what there is."""
    done = run(cwd=tmp_path)
    assert done.returncode == 2
    assert all(command in done.stderr for command in COMMANDS)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["grade", "--jbos", "2"], "did you mean --jobs"),
        (["grad"], "did you mean grade"),
        (["grade", "--tier", "huge"], "--tier"),
        (["check"], "NOTEBOOK"),
        (["grade", "nowhere"], "nowhere: does not exist"),
        (["grade", "--min-level", "L9"], "must be a sandbox level"),
        (["grade", "--lab", "doublin"], "did you mean 'doubling'?"),
        (["labs", "--course", "missing.toml"], "missing.toml: cannot be read"),
        (["data", "fetch", "mnits"], "did you mean mnist"),
        (["data", "import", "."], "has no manifest.json"),
        (["data", "export", "there", "--data", "."], "there is no full data to export"),
        (["regrade"], "holds no kept runs"),
        (["verify", "doublin"], "did you mean 'doubling'?"),
        (["check", "nowhere.ipynb"], "nowhere.ipynb: is not a file"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(course, args, said):
    """A command that cannot be gets one line that says what is wrong and what to do, and exit code 2."""
    hand_in(course, "ann", notebook("x = 1"))
    done = run(*args, cwd=course)
    assert done.returncode == 2
    assert len(error_lines(done)) == len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert done.stdout == ""


def test_an_unknown_setting_is_one_line_with_a_suggestion(course):
    """course.toml is found in the folder; an unknown key in it names file, table and the nearest key."""
    (course / "course.toml").write_text("[run]\njbos = 2\n")
    done = run("labs", cwd=course)
    assert done.returncode == 2
    assert done.stderr == "grader: error: course.toml [run]: unknown key 'jbos' (did you mean 'jobs'?)\n"


def test_debug_shows_the_traceback(course):
    """Only --debug adds the traceback; the one line and the exit code stay."""
    (course / "course.toml").write_text("[run]\njbos = 2\n")
    done = run("labs", "--debug", cwd=course, check_traceback=False)
    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr
    assert len(error_lines(done)) == 1


def test_an_unexpected_failure_is_ours_and_one_line(course):
    """A defect of the grader ends with 4 and asks for --debug instead of showing its inside."""
    code = "import grader.labs as labs; labs.find_labs = None; from grader.cli import main; main(['labs'])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=course, env=environment(course), capture_output=True, text=True
    )
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "unexpected TypeError" in done.stderr
    assert "--debug" in done.stderr


def test_a_reader_that_goes_away_leaves_no_noise(course):
    """`grader labs | true` ends quietly."""
    command = f"'{sys.executable}' -m grader labs --json | true"
    done = subprocess.run(
        ["/bin/sh", "-c", command], check=False, cwd=course, env=environment(course), capture_output=True, text=True
    )
    assert done.stderr == ""


# ---------------------------------------------------------------- labs


def test_labs_are_listed(course):
    """`grader labs` shows id, title, points and the number of checks."""
    done = run("labs", cwd=course)
    assert done.returncode == 0
    assert re.search(r"doubling +Doubling +none +no +10 +2", done.stdout)


def test_a_lab_that_is_wrong_is_exit_3_and_the_others_are_listed(course):
    """A misspelt key in one lab.toml names the file and the line, and costs the other labs nothing."""
    other = course / "labs" / "tripling"
    other.mkdir()
    (other / "lab.toml").write_text(LAB.replace("doubling", "tripling").replace("points", "pionts"))
    done = run("labs", cwd=course)
    assert done.returncode == 3
    assert done.stderr.startswith("grader: error: labs/tripling/lab.toml:5: unknown key 'pionts'")
    assert "did you mean 'points'?" in done.stderr
    assert "doubling" in done.stdout
    said = json.loads(run("labs", "--json", cwd=course).stdout)
    assert said["exit_code"] == 3
    assert [lab["id"] for lab in said["labs"]] == ["doubling"]
    assert "pionts" in said["wrong"]["tripling"]


def test_points_that_do_not_add_up_are_exit_3(course):
    """Checks worth more than the lab says so, in one line."""
    spec = course / "labs" / "doubling" / "lab.toml"
    spec.write_text(LAB.replace("points = 10", "points = 12"))
    done = run("labs", cwd=course)
    assert done.returncode == 3
    assert "add up to 10" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_folder_of_the_labs_is_a_setting(course, tmp_path_factory):
    """`[run] labs` of the named course.toml counts from that file's folder."""
    (course / "other.toml").write_text('[run]\nlabs = "labs"\n')
    away = tmp_path_factory.mktemp("away")
    assert json.loads(run("labs", "--json", "--course", course / "other.toml", cwd=away).stdout)["labs"]


# ---------------------------------------------------------------- json


def test_a_starter_has_no_solution_and_is_not_written_over(tmp_path):
    """The exercise is the reference without its solutions; a file that is there is only replaced with --force."""
    environ = {"GRADER_LABS": str(ROOT / "labs")}
    done = run("starter", "iris", cwd=tmp_path, **environ)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "iris.ipynb").read_text(encoding="utf-8")
    assert "Write your solution here" in written
    assert "SOLUTION" not in written
    assert "apply_gradients" not in written
    again = run("starter", "iris", cwd=tmp_path, **environ)
    assert again.returncode == 2
    assert "--force" in error_lines(again)[0]
    assert run("starter", "iris", "--force", cwd=tmp_path, **environ).returncode == 0


def test_json_is_one_object_even_when_the_command_fails(course):
    """With --json an error is an object on stdout too, beside its line on stderr."""
    done = run("grade", "nowhere", "--json", cwd=course)
    said = json.loads(done.stdout)
    assert (done.returncode, said["exit_code"], said["command"]) == (2, 2, "grade")
    assert "nowhere" in said["error"]
    assert len(error_lines(done)) == 1


def test_nothing_else_reaches_stdout_with_json(tmp_path):
    """Whatever prints while a command works, even below Python, lands on stderr."""
    code = (
        "import os; from grader.cli.jsonout import quiet_stdout, write\n"
        "with quiet_stdout(active=True): print('noise'); os.system('echo more noise')\n"
        "write('grade', 0, {'a': 1})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"schema": 1, "command": "grade", "exit_code": 0, "a": 1}
    assert "noise" in done.stderr


# ---------------------------------------------------------------- data


def test_data_status_tells_the_tier_of_each_set(course):
    """Without full data every set is lite, and the way to the full tier is told."""
    (course / "cache").mkdir()
    done = run("data", "status", "--data", "cache", cwd=course)
    assert done.returncode == 0
    assert re.search(r"mnist +lite +mnist.npz missing", done.stdout)
    assert "grader data import" in done.stdout
    said = json.loads(run("data", "status", "--json", "--data", "cache", cwd=course).stdout)
    assert {row["tier"] for row in said["datasets"]} == {"lite"}


def test_a_data_file_that_is_not_itself_is_told(course):
    """A file with the right name and the wrong bytes is exit 2 and never used in silence."""
    (course / "cache").mkdir()
    (course / "cache" / "mnist.npz").write_bytes(b"not it")
    done = run("data", "status", "--data", "cache", cwd=course)
    assert done.returncode == 2
    assert re.search(r"mnist +– +wrong", done.stdout)
    assert "mnist.npz" in error_lines(done)[0]


def test_a_mirror_that_is_down_is_told_for_each_set(course):
    """A download that fails names the address and the way without a network; the other sets are still tried."""
    args = ["data", "fetch", "iris", "mnist", "--data", "cache", "--mirror", "http://127.0.0.1:9", "--json"]
    done = run(*args, cwd=course)
    said = json.loads(done.stdout)
    assert done.returncode == 2
    assert set(said["failed"]) == {"iris", "mnist"}
    assert said["fetched"] == []
    assert all("grader data export" in line for line in error_lines(done))


# ---------------------------------------------------------------- without TensorFlow


@pytest.mark.parametrize("args", [["labs"], ["data", "status"], ["grade", "nowhere"], ["--help"]])
def test_commands_work_where_tensorflow_cannot_be_imported(course, args):
    """TensorFlow and Keras belong to the kernel: a trusted process that imports one fails here."""
    poison = course / "poison"
    poison.mkdir()
    for name in ("tensorflow", "keras"):
        (poison / f"{name}.py").write_text("raise SystemExit('imported on the trusted side')")
    done = run(*args, cwd=course, PYTHONPATH=os.pathsep.join([str(poison), str(ROOT)]))
    assert done.returncode in (0, 2)
    assert "trusted side" not in done.stderr


# ---------------------------------------------------------------- hostile names


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("exe\u202egpj", "exe\\u202egpj"),
        ("two\nlines", "two\\nlines"),
        ("[bold]loud[/bold]", "[bold]loud[/bold]"),
        ("王小明", "王小明"),
        ("x" * 200, "x" * 59 + "…"),
    ],
)
def test_names_are_shown_harmless(name, shown):
    """Control characters and overrides are spelt out; markup is text; a long name is cut."""
    assert safe(name, 60) == shown


def test_a_file_name_cannot_write_to_the_terminal(course):
    """A notebook's name with escape sequences reaches the terminal as plain text."""
    folder = course / "submissions" / "ann"
    folder.mkdir(parents=True)
    (folder / "\x1b]0;owned\x07\u202e[red].ipynb").write_text(notebook("x = 1"))
    done = run("grade", cwd=course)
    assert done.returncode == 2
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202a-\u202e]", done.stdout + done.stderr)


# ---------------------------------------------------------------- a student's own check


def test_check_refuses_what_it_cannot_check(course):
    """A file that is no notebook, and a lab without public checks, are one line each and exit 2."""
    done = run("check", hand_in(course, "pdf", "%PDF-1.4"), cwd=course)
    assert done.returncode == 2
    assert "is a PDF" in error_lines(done)[0]
    done = run("check", hand_in(course, "ann", notebook("x = 1")), cwd=course)
    assert done.returncode == 2
    assert "no public checks" in error_lines(done)[0]


@pytest.mark.slow
def test_check_tells_a_student_what_is_right_and_what_was_not_checked(course):
    """The public checks of the notebook, its card, and in plain words what is left open."""
    public = course / "labs" / "doubling" / "public_tests"
    public.mkdir()
    (public / "test_doubling.py").write_text(SUITE)
    mine = hand_in(course, "ann", notebook("def double(x):\n    return x"))
    done = run("check", mine, "--out", "mine", cwd=course)
    assert done.returncode == 0, done.stderr
    assert "Public points: 4 of 10" in done.stdout
    assert "Try next: Multiply by two." in done.stdout
    assert "Not checked:" in done.stdout
    card = re.search(r"^Card: (.+)$", done.stdout, re.MULTILINE)
    assert card is not None
    assert (course / card[1]).is_file()


# ---------------------------------------------------------------- progress


def event(kind: str, student: str = "", **more: object) -> Event:
    return Event(**{"kind": kind, "lab": "mnist", "student": student, "total": 4, **more})


def test_the_board_says_who_runs_and_how_long_it_takes():
    """Done, total, the runners with their step, and the time left from the pace so far."""
    now = [100.0]
    board = Board(total=4, clock=lambda: now[0])
    board.take(event("started", "ann"))
    board.take(event("started", "bob"))
    now[0] += 30
    board.take(event("stage", "bob", text="judging"))
    line = board.take(event("finished", "ann", done=1, score=62.5, max_score=100.0, ending="timeout", seconds=30.0))
    assert line == "[1/4] mnist  ann  62.5/100  timeout  30 s"
    assert board.runners() == ["mnist  bob  judging  30 s"]
    assert board.status() == "1/4 done, about 30 s left"


def test_a_bad_file_says_nothing_about_the_pace():
    """A submission that was never run does not make the rest look instant."""
    board = Board(total=4, clock=lambda: 100.0)
    board.take(event("finished", "bob", done=1, ending="not a notebook"))
    assert board.remaining() is None


def test_the_board_is_bounded():
    """With a hundred runners the board names a few and counts the rest, each name made harmless."""
    board = Board(total=100)
    for number in range(100):
        board.take(event("started", f"s{number}\x1b[2J\n"))
    rows = board.runners()
    assert len(rows) == 6
    assert rows[-1] == "and 95 more"
    assert not any("\x1b" in row or "\n" in row for row in rows)


def test_a_long_table_has_its_columns_lined_up(capsys):
    """Thousands of rows are not fitted to a screen: every cell is whole, under its heading, wide letters counted."""
    made = table("", ["student", "score"], right=["score"])
    for index in range(1_500):
        made.add_row("王小明" if index == 7 else f"s{index}", str(index))
    print_table(made)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1_501
    assert (lines[0], lines[8], lines[1_500]) == ("student  score", "王小明       7", "s1499     1499")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.42, "0.4 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_are_readable(seconds, said):
    """A duration has the precision a reader wants, and never sixty seconds."""
    assert duration(seconds) == said


# ---------------------------------------------------------------- grading, for real


def test_a_wrong_lab_grades_nothing_and_names_what_was_left(course):
    """If the only lab that is needed is wrong: exit 3, its line, and how many submissions wait."""
    (course / "labs" / "doubling" / "lab.toml").write_text(LAB.replace("starter_score", "starter_scroe"))
    hand_in(course, "ann", notebook("x = 1"))
    done = run("grade", "--json", cwd=course)
    said = json.loads(done.stdout)
    assert (done.returncode, said["exit_code"], said["graded"]) == (3, 3, 0)
    assert "starter_scroe" in said["lab_errors"][0]
    assert "1 submission for doubling left ungraded" in done.stderr


def test_nothing_to_grade_says_why(course):
    """Where no file can be graded, each one's reason is a line and the exit code is 2."""
    hand_in(course, "ann", notebook("x = 1"), lab="doublinx")
    hand_in(course, "bob", notebook("x = 1"), lab="other")
    done = run("grade", cwd=course)
    assert done.returncode == 2
    assert len(error_lines(done)) == 2
    assert suggest("doublinx", ["doubling"]) in done.stderr


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A small class graded once, with --json: right, half right, crashed, a PDF, and one for no lab."""
    course = make_course(tmp_path_factory.mktemp("class"))
    hand_in(course, "right", notebook("def double(x):\n    return 2 * x"))
    hand_in(course, "half", notebook("def double(x):\n    return x"))
    hand_in(course, "crashed", notebook("def double(x):\n    return 2 * x", "1 / 0"))
    hand_in(course, "pdf", "%PDF-1.4")
    hand_in(course, "lost", notebook("x = 1"), lab="nothing_like_it")
    (course / "submissions" / "a\x1b[31mb").mkdir()
    (course / "submissions" / "a\x1b[31mb" / "doubling.ipynb").write_text("{")
    done = run("grade", "--json", "--out", "cards", "--jobs", "1", "--events", "events.jsonl", cwd=course)
    return SimpleNamespace(course=course, done=done, out=course / "cards")


@pytest.mark.slow
def test_a_class_is_graded_whatever_the_scores(graded):
    """Exit 0, one object on stdout although the suite prints, a score for each student."""
    assert graded.done.returncode == 0, graded.done.stderr
    said = json.loads(graded.done.stdout)
    scores = {row["student"]: (row["score"], row["ending"]) for row in said["runs"]}
    assert scores["right"] == (10, "ok")
    assert scores["half"] == (4, "ok")
    assert scores["crashed"] == (10, "cell error")
    assert scores["pdf"] == (0, "not a notebook")
    assert (said["graded"], said["attention"], said["exit_code"]) == (5, 0, 0)
    assert len(said["bad_inputs"]) == 3
    assert said["level"] in ("L0", "L1", "L2", "L3")


@pytest.mark.slow
def test_progress_is_plain_lines_where_there_is_no_terminal(graded):
    """The level reached, then one line for each finished run, without colour or cursor movement."""
    lines = graded.done.stderr.splitlines()
    assert "sandbox level L" in lines[0]
    assert sum(bool(re.match(r"\[\d/5\] doubling  ", line)) for line in lines) == 5
    assert "\x1b" not in graded.done.stderr


@pytest.mark.slow
def test_the_stream_and_the_log_tell_the_same_batch(graded):
    """From begun to ended, a finished event for each run, and a log beside the cards in which each has one line."""
    lines = [json.loads(line) for line in (graded.course / "events.jsonl").read_text("ascii").splitlines()]
    assert (lines[0]["event"], lines[0]["command"], lines[-1]["event"]) == ("begun", "grade", "ended")
    assert (lines[-1]["how"], lines[-1]["done"], lines[-1]["total"]) == ("done", 5, 5)
    finished = {line["student"]: line["ending"] for line in lines if line["event"] == "finished"}
    assert finished == {row["student"]: row["ending"] for row in json.loads(graded.done.stdout)["runs"]}
    log = (graded.out / "grade.log").read_text("utf-8").splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\S+ (DEBUG|INFO|WARNING|ERROR) ", line) for line in log)
    assert sum(bool(re.search(r"\[\d/5\] doubling  ", line)) for line in log) == 5
    assert "grader: warning" not in graded.done.stderr


def test_events_on_stdout_and_json_do_not_go_together(course):
    """Both want stdout: exit 2, and what to do, as the one object that --json promises."""
    done = run("grade", "--json", "--events", "-", cwd=course)
    assert (done.returncode, json.loads(done.stdout)["exit_code"]) == (2, 2)
    assert "--events FILE" in done.stderr


@pytest.mark.slow
def test_events_on_stdout_are_alone_there_and_outlive_their_reader(course):
    """Lines of JSON and nothing else; a reader that takes one and goes away costs no grade."""
    hand_in(course, "ann", "%PDF-1.4")
    done = run("grade", "--events", "-", cwd=course)
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()][-1] == "ended"
    assert "1 submission graded" in done.stderr
    command = f"{sys.executable} -m grader grade --fresh --events - | head -n 1; exit ${{PIPESTATUS[0]}}"
    shell = subprocess.run(["bash", "-c", command], cwd=course, capture_output=True, text=True, check=False)
    assert shell.returncode == done.returncode
    assert json.loads(shell.stdout)["event"] == "begun"


@pytest.mark.slow
def test_the_cards_are_where_the_summary_says(graded):
    """Index and cards of the summary exist, in both editions."""
    said = json.loads(graded.done.stdout)
    assert (graded.course / said["index"]).is_file()
    for row in said["runs"]:
        assert (graded.out / row["card"]).is_file()
    assert (graded.out / "doubling" / "right" / "card.html").is_file()


@pytest.mark.slow
def test_a_person_is_told_where_the_cards_are_and_what_was_bad(graded):
    """Without --json the end names the overview, the cards and every bad input on a line of its own."""
    for name in ("right", "half", "crashed"):
        (graded.course / "submissions" / name / "doubling.ipynb").rename(graded.course / f"{name}.ipynb")
    try:
        done = run("grade", "submissions", "--out", "again", cwd=graded.course)
    finally:
        for name in ("right", "half", "crashed"):
            (graded.course / f"{name}.ipynb").rename(graded.course / "submissions" / name / "doubling.ipynb")
    assert done.returncode == 0
    assert f"again{os.sep}index.html" in done.stdout
    assert "3 bad inputs:" in done.stdout
    assert "pdf/doubling.ipynb: is a PDF" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.slow
def test_regrade_tells_what_changed_without_running_a_notebook(graded):
    """After a change of points the tape is judged again: before and after, by check."""
    suite = graded.course / "labs" / "doubling" / "hidden_tests" / "test_doubling.py"
    suite.write_text(SUITE.replace("points=4", "points=1").replace("points=6", "points=9"))
    try:
        begun = time.monotonic()
        done = run("regrade", "--out", "cards", "--json", cwd=graded.course)
        took = time.monotonic() - begun
    finally:
        suite.write_text(SUITE)
    said = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    changes = {change["student"]: (change["before"], change["after"]) for change in said["changes"]}
    assert changes["half"] == (4, 1)
    assert took < 20


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_an_interrupt_is_one_clean_line_and_finished_cards_stay(course):
    """Ctrl-C in the middle of a batch: exit 130, no traceback, the first card is kept and the overview shows it."""
    hand_in(course, "done", "%PDF-1.4")
    hand_in(course, "endless", notebook("import time\ntime.sleep(600)"))
    with subprocess.Popen(
        [sys.executable, "-m", "grader", "grade", "--jobs", "1"],
        cwd=course,
        env=environment(course),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        said = ""
        while "[1/2]" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does: the whole foreground group gets it
        out, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.splitlines() == ["grader: interrupted: the cards finished so far stay in report_cards"]
    assert out == ""
    assert "done" in (course / "report_cards" / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_doctor_says_what_this_machine_can_do(course):
    """Every topic with a state; the exit code is 4 exactly when there is a problem."""
    done = run("doctor", "--json", cwd=course)
    said = json.loads(done.stdout)
    topics = {finding["topic"]: finding for finding in said["findings"]}
    assert {"Python", "TensorFlow", "Keras", "GPU", "sandbox", "memory", "data: mnist"} <= set(topics)
    assert topics["Python"]["text"].startswith("3.")
    problems = [finding for finding in said["findings"] if finding["state"] == "problem"]
    assert done.returncode == (4 if problems else 0)
    assert all(finding["fix"] for finding in problems)


@pytest.mark.slow
def test_doctor_explains_a_kernel_that_does_not_run(course):
    """A wrong [kernel] python is a problem with its fix, exit 4, and no traceback."""
    (course / "course.toml").write_text('[kernel]\npython = "nowhere/python"\n')
    done = run("doctor", cwd=course)
    assert done.returncode == 4
    assert "nowhere/python does not run" in done.stdout
    assert "[kernel] python" in done.stdout
