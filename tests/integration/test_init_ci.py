"""CI on a course's repositories: `grader init-ci` and `grader release` run as their users run them, and then the very scripts
of the written workflows and of the action, by bash and with the files that a runner gives. Left out are the steps that use
somebody else's action, and those named "(network)"."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GRADER = Path(sys.executable).parent / "grader"
ADDRESS = f"course/grader@{7:040d}"
SECRET, TOKEN = "the-secret-of-this-course", "a-token-that-reads"

SPEC = """\
schema = 1
id = "{lab}"
title = "A small lab"
data = "none"
points = 10
[limits]
wall_s = 60
memory_mb = 1024
[contract.double]
kind = "function"
[thresholds.lite.accuracy]
floor = 0.5
full = 0.9
"""
SUITE = '''\
"""A suite."""

from grader.checks import {evidence}, check, require


@check("zero", points=4, evidence={evidence}, hint="Multiply.")
def test_zero(student):
    """`double(0)` is 0."""
    require(float(student.double(0)) == 0, "double(0) is something else", expected="0")


@check("large", points=6, evidence={evidence}, hint="Multiply by two.")
def test_large(student):
    """`double(x)` is twice x."""
    require(float(student.double(21)) == 42, "double(21) is something else", expected="42")
'''
SOLUTION = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION\n"
MUTANT = """\
description = "Squares."
low = 4
high = 4
[[replace]]
old = "2 * x"
new = "x * x"
"""
#: What a notebook might print to command the runner.
FORGED = "print('::error title=forged::forged')\nprint('::set-output name=exit-code::0')\nraise ValueError('::warning::forged')"


def notebook(*sources):
    cells = [
        {"cell_type": "code", "source": text, "metadata": {}, "outputs": [], "execution_count": None}
        for text in sources
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def put(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def git(folder, *arguments):
    who = {f"GIT_{role}_{key}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null"}
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, env=environment)


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "A change")


def write_lab(folder, lab):
    put(folder, f"labs/{lab}/lab.toml", SPEC.format(lab=lab))
    put(folder, f"labs/{lab}/hidden_tests/test_{lab}.py", SUITE.format(evidence="VERIFIED"))
    put(folder, f"labs/{lab}/public_tests/test_{lab}_public.py", SUITE.format(evidence="OBSERVED"))
    put(folder, f"labs/{lab}/mutants/squares.toml", MUTANT)
    put(folder, f"labs/{lab}/handout.md", f"# {lab}\nReturn twice the number.\n")
    put(folder, f"reference_solutions/{lab}.ipynb", notebook(SOLUTION))


def grader(*arguments, cwd):
    return subprocess.run(
        [GRADER, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "GRADER_LABS": str(cwd / "labs")},
    )


@pytest.fixture
def staff(tmp_path):
    """The staff's repository: two labs, one commit, the written workflows."""
    folder = tmp_path / "staff"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    write_lab(folder, "doubling")
    write_lab(folder, "twofold")
    done = grader("init-ci", "staff", "--action", ADDRESS, cwd=folder)
    assert done.returncode == 0, done.stderr
    commit(folder)
    return folder


# ---------------------------------------------------------------- a runner


@dataclass
class Runner:
    """Runs a workflow's scripts as GitHub's runner does, and keeps what they told it."""

    folder: Path
    temp: Path
    grader: Path = GRADER
    event: str = "workflow_dispatch"
    environ: dict = field(default_factory=dict)
    log: str = ""
    skipped: list = field(default_factory=list)
    code: int = 0

    @property
    def summary(self):
        path = self.temp / "summary"
        return path.read_text("utf-8") if path.exists() else ""

    @property
    def commands(self):
        """The workflow commands that a runner would obey: none between stop-commands and its token."""
        found, token = [], ""
        for line in self.log.splitlines():
            if token:
                token = "" if line == f"::{token}::" else token
            elif line.startswith("::stop-commands::"):
                token = line.removeprefix("::stop-commands::")
            elif line.startswith("::"):
                found.append(line)
        assert not token, "commands were never allowed again"
        return found

    def workflow(self, name):
        document = yaml.safe_load((self.folder / ".github/workflows" / name).read_text("utf-8"))
        (job,) = document["jobs"].values()
        for step in job["steps"]:
            if step.get("uses") == ADDRESS:
                self.action({key: self.value(text, {}) for key, text in step["with"].items()})
            else:
                self.step(step, {})
        return self

    def action(self, given):
        document = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
        assert all(name in given for name, about in document["inputs"].items() if about.get("required"))
        inputs = {name: about.get("default", "") for name, about in document["inputs"].items()} | given
        (self.temp / "grader/bin").mkdir(parents=True, exist_ok=True)
        (self.temp / "grader/bin/grader").symlink_to(self.grader)
        known = {f"inputs.{name}": value for name, value in inputs.items()}
        for step in document["runs"]["steps"]:
            self.step(step, known)

    def step(self, step, known):
        if "uses" in step or step["name"].endswith("(network)"):
            self.skipped.append(step.get("uses", step["name"]))
            return
        condition = re.fullmatch(r"([\w.-]+) == 'true'", step.get("if", ""))
        if self.code or (condition and known[condition[1]] != "true"):
            return
        outputs = self.temp / "outputs"
        outputs.write_text("")
        script = self.temp / "script.sh"
        script.write_text(step["run"], "utf-8")
        how = ("bash", "--noprofile", "--norc", "-eo", "pipefail") if step.get("shell") else ("bash", "-e")
        done = subprocess.run(
            [*how, script],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=280,
            env=self.environment() | {name: self.value(text, known) for name, text in step.get("env", {}).items()},
        )
        self.log += done.stdout
        self.code = done.returncode
        for line in outputs.read_text("utf-8").splitlines():
            key, _, value = line.partition("=")
            known[f"steps.{step['id']}.outputs.{key}"] = value

    def environment(self):
        """A runner's, with nothing of this test's own settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRADER_", "GIT_"))}
        return (
            kept
            | self.environ
            | {
                "GITHUB_ACTION_PATH": str(ROOT),
                "GITHUB_OUTPUT": str(self.temp / "outputs"),
                "GITHUB_SERVER_URL": f"file://{self.temp / 'server'}",
                "GITHUB_STEP_SUMMARY": str(self.temp / "summary"),
                "RUNNER_TEMP": str(self.temp),
                "XDG_STATE_HOME": str(self.temp / "state"),
            }
        )

    def value(self, text, known):
        """The few expressions that our files use; any other one fails the test."""
        if "${{" not in text:
            return text
        expression = re.fullmatch(r"\$\{\{ (.+) \}\}", text)[1]
        if expression == "github.event_name == 'pull_request' && 'HEAD^1' || ''":
            return "HEAD^1" if self.event == "pull_request" else ""
        return {"secrets.GRADER_SECRET": SECRET, "secrets.STUDENT_REPOSITORIES_TOKEN": TOKEN, **known}[expression]


@pytest.fixture
def runner(tmp_path):
    """Makes a runner for a repository."""

    def make(folder, **settings):
        temp = tmp_path / "runner"
        temp.mkdir(exist_ok=True)
        return Runner(folder, temp, **settings)

    return make


# ---------------------------------------------------------------- init-ci and the students' repository


def test_init_ci_tells_what_it_wrote_and_what_is_left_to_set(tmp_path):
    """The workflows name the action that was given; a person reads what to set, a program finds it in JSON."""
    done = grader("init-ci", "staff", "--action", ADDRESS, "--into", "repo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = ["verify-labs.yml", "grade-class.yml"]
    for name in names:
        path = tmp_path / "repo/.github/workflows" / name
        assert f"uses: {ADDRESS}\n" in path.read_text("utf-8")
        assert f"wrote repo/.github/workflows/{name}" in done.stdout
    assert "GRADER_SECRET" in done.stdout
    said = json.loads(grader("init-ci", "student", "--action", ADDRESS, "--json", cwd=tmp_path).stdout)
    assert said["written"] == [".github/workflows/check-notebooks.yml"]
    assert any("no secret" in step for step in said["to_set"])


def test_init_ci_writes_over_nothing_unless_told(tmp_path):
    """A workflow that is there stays, and so does what would have been written beside it; --force replaces it."""
    mine = tmp_path / ".github/workflows/grade-class.yml"
    put(tmp_path, ".github/workflows/grade-class.yml", "mine")
    done = grader("init-ci", "staff", "--action", ADDRESS, cwd=tmp_path)
    assert done.returncode == 2
    assert "grade-class.yml: exists already" in done.stderr
    assert "--force" in done.stderr
    assert mine.read_text() == "mine"
    assert not mine.with_name("verify-labs.yml").exists()
    assert grader("init-ci", "staff", "--action", ADDRESS, "--force", cwd=tmp_path).returncode == 0
    assert mine.read_text() != "mine"


def test_init_ci_refuses_an_action_that_can_move(tmp_path):
    """A tag is refused in one line, and nothing is written."""
    done = grader("init-ci", "staff", "--action", "course/grader@v1", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "40 digits" in done.stderr
    assert not (tmp_path / ".github").exists()


def test_a_kit_is_written_once(staff, tmp_path):
    """`grader release --as repository` writes every lab's public half, and over nothing."""
    target = tmp_path / "template"
    done = grader("release", "--as", "repository", "--out", target, "--json", cwd=staff)
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)["files"]
    assert sorted(written) == sorted(
        path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()
    )
    assert {"doubling.ipynb", "labs/twofold/lab.toml"} <= set(written)
    assert not list(target.rglob("hidden_tests"))
    (target / "doubling.ipynb").write_text("my work")
    done = grader("release", "doubling", "--as", "repository", "--out", target, cwd=staff)
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert (target / "doubling.ipynb").read_text() == "my work"


# ---------------------------------------------------------------- the staff's side


def test_a_pull_request_that_changes_no_lab_verifies_none(staff, runner):
    """It ends well, in no time, and says so."""
    put(staff, "README.md", "Words.\n")
    commit(staff)
    done = runner(staff, event="pull_request").workflow("verify-labs.yml")
    assert done.code == 0, done.log
    assert "changed since HEAD^1: no lab" in done.log
    assert done.commands == []


def test_verify_names_an_unknown_commit(staff):
    """`--changed-since` with a ref that is not there is a usage error in one line."""
    done = grader("verify", "--changed-since", "v9", cwd=staff)
    assert done.returncode == 2
    assert done.stderr.startswith("grader: error: --changed-since: 'v9' is not a known commit (")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_pull_request_that_breaks_a_lab_fails_and_shows_the_matrix(staff, runner):
    """Only the changed lab is verified; the job fails with an annotation, and the summary has the matrix."""
    put(
        staff,
        "labs/doubling/mutants/squares.toml",
        MUTANT.replace("low = 4", "low = 0").replace("high = 4", "high = 3"),
    )
    commit(staff)
    done = runner(staff, event="pull_request").workflow("verify-labs.yml")
    assert done.code == 3, done.log
    assert "::error title=doubling::the lab does not hold" in done.commands
    assert any(line.startswith("::error title=grader::a lab is wrong") for line in done.commands)
    assert re.search(r"^ {4}squares +WRONG +4 +0–3 ", done.summary, re.MULTILINE)
    assert "twofold" not in done.log + done.summary


@pytest.mark.slow
def test_a_lab_that_holds_lets_the_pull_request_pass(staff, runner):
    """Without secrets in its environment, and with cards kept for whoever wants to look."""
    put(staff, "labs/doubling/handout.md", "Words.\n")
    commit(staff)
    done = runner(staff, event="pull_request").workflow("verify-labs.yml")
    assert done.code == 0, done.log
    assert "doubling holds: 3 variants score what they must" in done.summary
    assert done.commands == []


def a_students_repository(runner, name, files, link=""):
    work = runner.temp / "work" / name
    work.mkdir(parents=True)
    git(work, "init", "-q", "-b", "main")
    for path, text in files.items():
        put(work, path, text)
    if link:
        (work / link).symlink_to(runner.folder / "reference_solutions/doubling.ipynb")
    commit(work)
    bare = runner.temp / "server/course" / f"{name}.git"
    git(runner.temp, "clone", "-q", "--bare", str(work), str(bare))


@pytest.mark.slow
def test_the_class_is_fetched_and_graded(staff, runner):
    """Every repository of the list is fetched, what cannot be is a warning, the summary has the grades, no secret is told."""
    made = runner(staff)
    right = notebook("def double(x):\n    return 2 * x")
    a_students_repository(
        made, "one", {"doubling.ipynb": right, "labs/doubling/lab.toml": "x", "deep/doubling.ipynb": "x"}
    )
    a_students_repository(made, "two", {"doubling.ipynb": notebook(FORGED)})
    a_students_repository(made, "three", {"README.md": "x"}, link="doubling.ipynb")
    rows = [
        "one,course/one",
        "two,course/two",
        "three,course/three",
        "four,course/four",
        "../five,course/one",
        "six,--upload-pack=x",
    ]
    put(staff, "students.csv", "student,repository\r\n" + "\r\n".join(rows))
    made.workflow("grade-class.yml")
    assert made.code == 0, made.log
    assert [line for line in made.commands if line.startswith("::warning")] == [
        "::warning file=students.csv,line=5::the repository of four cannot be fetched",
        "::warning file=students.csv,line=6::this is not student,owner/repository",
        "::warning file=students.csv,line=7::this is not student,owner/repository",
    ]
    assert sorted(
        path.relative_to(staff).as_posix() for path in (staff / "handed_in").rglob("*") if path.is_file()
    ) == [
        "handed_in/one/doubling.ipynb",
        "handed_in/three/doubling.ipynb",
        "handed_in/two/doubling.ipynb",
    ]
    verdicts = {
        student: json.loads((staff / f"report_cards/doubling/{student}/staff/result.json").read_bytes())
        for student in ("one", "two", "three")
    }
    assert {student: verdict["score"] for student, verdict in verdicts.items()} == {"one": 10, "two": 0, "three": 0}
    assert verdicts["three"]["ending"] == "not a notebook"
    assert "| doubling | one | 10 | 10 |" in made.summary
    assert "forged" not in "".join(made.commands)
    assert not any(line.startswith("::error") for line in made.commands)
    assert SECRET not in made.log + made.summary
    assert TOKEN not in made.log + made.summary


def test_a_class_without_a_list_is_told_how_to_write_one(staff, runner):
    """The first run fails at once and says what the file holds."""
    done = runner(staff).workflow("grade-class.yml")
    assert done.code == 2
    assert done.commands[0].startswith("::error title=students.csv::write it")


def test_grading_without_a_secret_is_refused(staff, runner):
    """Each runner would make up another one, and no score could be compared."""
    made = runner(staff)
    made.action({"command": "grade", "paths": "handed_in"})
    assert made.code == 2
    assert "the secret is not set" in made.log


def test_a_misspelt_command_is_refused(staff, runner):
    """The action knows three commands and says which."""
    made = runner(staff)
    made.action({"command": "graed"})
    assert made.code == 2
    assert "must be grade, verify or check" in made.log


@pytest.mark.parametrize(("code", "ends", "kind"), [(5, 0, "warning"), (4, 4, "error"), (3, 3, "error")])
def test_a_job_ends_as_its_command_did(staff, runner, code, ends, kind):
    """Except where runs wait for a GPU: that is a warning, since no later run on this runner would change it.

    Whatever the command prints, on either stream, is no command to the runner.
    """
    made = runner(staff)
    made.grader = made.temp / "fake"
    made.grader.write_text(f"#!/bin/sh\necho '::error::forged'\necho '::error::forged' >&2\nexit {code}\n")
    made.grader.chmod(0o755)
    made.action({"command": "verify"})
    assert made.code == ends
    assert [line.partition(" ")[0] for line in made.commands] == [f"::{kind}"]
    assert made.log.count("::error::forged") == 2


# ---------------------------------------------------------------- a student's side


@pytest.fixture
def student(staff, tmp_path):
    """A student's repository: the kit and the workflow, as the staff gives it."""
    folder = tmp_path / "student"
    assert grader("release", "--as", "repository", "--out", folder, cwd=staff).returncode == 0
    assert grader("init-ci", "student", "--action", ADDRESS, "--into", folder, cwd=staff).returncode == 0
    return folder


@pytest.mark.slow
def test_a_push_runs_the_public_suite(student, runner):
    """Each lab's notebook is checked: annotations at the notebook, a summary that says hint, and Classroom's points."""
    put(student, "doubling.ipynb", notebook("def double(x):\n    return x * x", FORGED))
    put(student, "twofold.ipynb", notebook("def double(x):\n    return 2 * x"))
    put(student, "my notes.ipynb", "no lab of this name")
    done = runner(student).workflow("check-notebooks.yml")
    assert done.code == 0, done.log
    assert [line.partition("::")[2].partition("::")[0] for line in done.commands] == [
        "error file=doubling.ipynb,title=doubling%3A runs (0 of 0)",
        "error file=doubling.ipynb,title=doubling%3A large (0 of 6)",
        "notice title=Autograding report",
    ]
    assert done.commands[-1].endswith('::{"totalPoints":14,"maxPoints":20}')
    assert "## Public checks: a hint, not a grade" in done.summary
    assert re.search(r"^\| doubling \| .+ \| 4 \| 10 \| large \|$", done.summary, re.MULTILINE)
    assert len(list(student.glob("check_cards/*/*/self-check.html"))) == 2


@pytest.mark.parametrize("command", ["github", "summary", "classroom"])
def test_a_file_that_holds_no_self_check_is_one_clear_error(student, command):
    """As what `grader grade --json` prints: the file is named, and how to make the right one."""
    put(student, "said.json", '{"schema": 1, "command": "grade"}')
    done = grader("export", command, "--checked", "said.json", cwd=student)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "said.json: holds no self-check" in done.stderr
    assert "grader check NOTEBOOK --json" in done.stderr


def test_a_push_without_a_labs_notebook_says_so(student, runner):
    """Nothing to check is an error that names the folder of the labs, not a green tick."""
    for path in student.glob("*.ipynb"):
        path.unlink()
    done = runner(student).workflow("check-notebooks.yml")
    assert done.code == 2
    assert "no notebook here is called as a lab in labs" in done.log


def test_only_foreign_actions_and_the_network_are_left_out(student, runner):
    """What these tests do not run is what they say they do not."""
    for path in student.glob("*.ipynb"):
        path.unlink()
    done = runner(student).workflow("check-notebooks.yml")
    own = [name for name in done.skipped if not name.startswith("actions/")]
    assert own == ["Install the grader (network)", "Fetch the full data sets (network)"]
