"""The workflows and the action of a course's CI, and which labs a change touches."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from grader.ci import SIDES, changes_since, workflows
from grader.errors import UsageError
from grader.submissions import collect

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = f"course/grader@{7:040d}"
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
MADE = {name: text for side in SIDES for name, text in workflows(side, ADDRESS).files.items()}


def steps(text):
    for job in yaml.safe_load(text)["jobs"].values():
        yield from job["steps"]


def action():
    return yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))


def tool(name, *arguments):
    return subprocess.run(
        [Path(sys.executable).parent / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def written(tmp_path):
    """All workflows as they lie in a repository."""
    for name, text in MADE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path


# ---------------------------------------------------------------- linters


def test_yamllint_has_no_complaint(written):
    """Action, workflows, templates and its own settings are clean."""
    done = tool(
        "yamllint", "--strict", "-c", ROOT / ".yamllint.yml", ROOT / "action.yml", ROOT / ".yamllint.yml", written
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", sorted(MADE))
def test_each_workflow_fits_githubs_schema(written, name):
    """GitHub's own schema accepts what is written."""
    done = tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", written / name)
    assert done.returncode == 0, done.stdout


def test_the_action_fits_githubs_schema():
    """GitHub's own schema accepts the action."""
    done = tool("check-jsonschema", "--builtin-schema", "vendor.github-actions", ROOT / "action.yml")
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing_even_when_pedantic(written):
    """No audit of zizmor finds anything, without an exception; a template injection put in is found."""
    (written / "action.yml").write_text((ROOT / "action.yml").read_text("utf-8"), "utf-8")
    arguments = ("--offline", "--no-config", "--pedantic", "--strict-collection", written)
    done = tool("zizmor", *arguments)
    assert done.returncode == 0, done.stdout
    text = (ROOT / "action.yml").read_text("utf-8")
    broken = text.replace('rm -rf "$said"', 'echo "${{ inputs.paths }}"')
    assert broken != text
    (written / "action.yml").write_text(broken, "utf-8")
    assert "template-injection" in tool("zizmor", *arguments).stdout


# ---------------------------------------------------------------- what a fork can reach


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_workflow_may_only_read(name):
    """Contents are read and nothing is written; no checkout leaves its token behind; a job ends by itself."""
    document = yaml.safe_load(MADE[name])
    assert document["permissions"] == {"contents": "read"}
    for job in document["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 360
    checkouts = [step for step in steps(MADE[name]) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_no_workflow_that_a_pull_request_starts_has_a_secret():
    """Secrets are named in the workflow that runs from the default branch only, and there in an environment."""
    for name, text in MADE.items():
        document = yaml.safe_load(text)
        assert "pull_request_target" not in document["on"]
        assert "workflow_run" not in document["on"]
        if "secrets." in text:
            assert set(document["on"]) == {"schedule", "workflow_dispatch"}, name
            assert all(job["environment"] == "grading" for job in document["jobs"].values())
    assert sum("secrets." in text for text in MADE.values()) == 1


def test_every_foreign_action_is_pinned_by_its_hash():
    """Each `uses` names a commit, in the workflows and in the action, and the same one everywhere."""
    used = [step["uses"] for text in MADE.values() for step in steps(text) if "uses" in step]
    used += [step["uses"] for step in action()["runs"]["steps"] if "uses" in step]
    assert all(PINNED.fullmatch(name) for name in used)
    names = {name.partition("@")[0] for name in used}
    assert len(set(used)) == len(names)


def test_no_expression_becomes_part_of_a_script():
    """Scripts get inputs from their environment only."""
    scripts = [step["run"] for text in MADE.values() for step in steps(text) if "run" in step]
    scripts += [step["run"] for step in action()["runs"]["steps"] if "run" in step]
    assert scripts
    assert not any("${{" in script for script in scripts)


def test_only_the_step_that_grades_sees_the_secret():
    """Installing and fetching run without it."""
    holders = [step["name"] for step in action()["runs"]["steps"] if "inputs.secret" in str(step.get("env"))]
    assert holders == ["Run"]


def test_workflows_use_inputs_that_the_action_has():
    """No misspelt input, which GitHub would only warn of."""
    for text in MADE.values():
        for step in steps(text):
            if step.get("uses") == ADDRESS:
                assert set(step["with"]) <= set(action()["inputs"])


def test_every_input_of_the_action_is_documented():
    """The table of course-repository.md has each input and no other."""
    text = (ROOT / "docs" / "course-repository.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \|", text.partition("## The action")[2], re.MULTILINE)
    assert rows == list(action()["inputs"])


def test_what_the_action_installs_is_checked_by_hash():
    """Each requirement that it names is a file whose every line has a hash, and nothing is installed without."""
    (script,) = (step["run"] for step in action()["runs"]["steps"] if step["name"].startswith("Install"))
    named = re.findall(r"--require-hashes --requirement \"\$GITHUB_ACTION_PATH/([\w./]+)\"", script)
    assert named == ["requirements/install.txt", "requirements/runtime.txt"]
    assert all("--hash=sha256:" in (ROOT / name).read_text("utf-8") for name in named)
    assert script.count(" install ") == len(named) + 1
    assert "--no-deps --no-build-isolation" in script


@pytest.mark.parametrize(
    "address", ["course/grader@v1", "course/grader", "./", "course/grader@main", f"x@{7:040d}", ""]
)
def test_an_address_that_can_move_is_refused(address):
    """A tag or a branch is told to be one; only a commit will do."""
    with pytest.raises(UsageError, match="does not name a commit"):
        workflows("staff", address)


# ---------------------------------------------------------------- which notebooks are checked


NAMES = (
    "mnist.ipynb",
    "MNIST-2.ipynb",
    "Mnist (1).ipynb",
    "mnist-checkpoint.ipynb",
    "mnist copy 2.ipynb",
    "mnist_copy.ipynb",
    "auto mpg.ipynb",
    "Auto-MPG - Copy (3).ipynb",
    "notes.ipynb",
    "mnist2.ipynb",
    "mnist-22.ipynb",
    "copy.ipynb",
    "(1).ipynb",
    "..ipynb",
    "$(touch stolen).ipynb",
)


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
def test_the_action_checks_exactly_the_notebooks_that_the_grader_takes_for_a_lab(tmp_path):
    """Its script reads names as intake does; what it leaves out would be an unknown lab, and a name runs nothing."""
    for lab in ("mnist", "auto_mpg"):
        put(tmp_path, f"labs/{lab}/lab.toml")
    for name in NAMES:
        put(tmp_path, f"work/{name}", "{}")
    put(tmp_path, "grader/bin/grader", '#!/bin/sh\nif [ "$1" = check ]; then echo "$2" >> checked; fi\n')
    (tmp_path / "grader/bin/grader").chmod(0o755)
    (script,) = (step["run"] for step in action()["runs"]["steps"] if step["name"] == "Run")
    given = {"COMMAND": "check", "PATHS": "work/*.ipynb", "OUT": "out", "GRADER_LABS": "labs"}
    empty = dict.fromkeys(("CHANGED_SINCE", "MIN_LEVEL", "TIER", "GRADER_SECRET"), "")
    runner = {"RUNNER_TEMP": str(tmp_path), "GITHUB_OUTPUT": str(tmp_path / "outputs")}
    subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=os.environ | given | empty | runner,
        check=True,
        capture_output=True,
        timeout=60,
    )
    checked = {Path(line).name for line in (tmp_path / "checked").read_text("utf-8").splitlines()}
    taken = {name for name in NAMES if not collect([tmp_path / "work" / name], ["mnist", "auto_mpg"]).errors}
    assert checked == taken
    assert {"MNIST-2.ipynb", "auto mpg.ipynb", "Auto-MPG - Copy (3).ipynb"} <= checked
    assert not {"notes.ipynb", "copy.ipynb", "mnist-22.ipynb"} & checked
    assert not (tmp_path / "stolen").exists()


# ---------------------------------------------------------------- what a change touches


def git(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    who = {f"GIT_{role}_{key}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    subprocess.run(
        ["git", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        env={**environment, **who, "GIT_CONFIG_GLOBAL": "/dev/null"},
    )


def put(folder, name, text="x\n"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


@pytest.fixture
def checkout(tmp_path):
    """A course in git, with one commit."""
    folder = tmp_path / "course"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for name in (
        "labs/iris/lab.toml",
        "labs/mnist/lab.toml",
        "reference_solutions/iris.ipynb",
        "README.md",
        "course.toml",
    ):
        put(folder, name)
    commit(folder)
    return folder


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "A change")


def touched(folder, ref="HEAD~1"):
    return changes_since(ref, folder / "labs", folder / "course.toml")


@pytest.mark.parametrize(
    ("name", "labs"),
    [
        ("labs/iris/hidden_tests/test_iris.py", {"iris"}),
        ("labs/iris/数据.toml", {"iris"}),
        ("reference_solutions/mnist.ipynb", {"mnist"}),
        ("reference_solutions/notes.txt", set()),
        ("docs/labs/iris/lab.toml", set()),
        ("students.csv", set()),
    ],
)
def test_a_file_touches_the_lab_it_belongs_to(checkout, name, labs):
    """A lab's folder and its reference are its own; anything else of the course touches no lab."""
    put(checkout, name, "changed\n")
    commit(checkout)
    assert touched(checkout).labs == labs
    assert not touched(checkout).whole


@pytest.mark.parametrize(
    "name",
    [
        "course.toml",
        "grader/rubric.py",
        "requirements/runtime.txt",
        "pyproject.toml",
        "action.yml",
        ".github/workflows/verify-labs.yml",
    ],
)
def test_the_grader_and_the_settings_touch_every_lab(checkout, name):
    """Where they change, every lab is proved again."""
    put(checkout, name, "changed\n")
    commit(checkout)
    changes = touched(checkout)
    assert changes.whole == name
    assert changes.touch("mnist")


def test_what_is_not_committed_counts_too(checkout):
    """An edited file and a new one are changes; one that git ignores is none."""
    put(checkout, ".gitignore", "*.log\n")
    commit(checkout)
    put(checkout, "labs/iris/lab.toml", "edited\n")
    put(checkout, "labs/new/lab.toml")
    put(checkout, "labs/mnist/run.log")
    assert touched(checkout, "HEAD").labs == {"iris", "new"}


def test_a_moved_file_touches_both_labs(checkout):
    """The lab that loses a file and the one that gets it have both changed."""
    (checkout / "labs/mnist").rename(checkout / "labs/digits")
    commit(checkout)
    assert touched(checkout).labs == {"mnist", "digits"}


def test_what_the_base_did_meanwhile_is_no_change(checkout):
    """Only what this side did since the two parted counts."""
    git(checkout, "checkout", "-q", "-b", "mine")
    put(checkout, "labs/iris/handout.md")
    commit(checkout)
    git(checkout, "checkout", "-q", "main")
    put(checkout, "labs/mnist/handout.md")
    commit(checkout)
    git(checkout, "checkout", "-q", "mine")
    assert touched(checkout, "main").labs == {"iris"}


def test_a_course_below_the_root_of_its_repository_is_found(checkout):
    """Labs and settings are looked for where they lie, not at the root."""
    for name in ("2030/labs/iris/lab.toml", "2030/course.toml"):
        put(checkout, name)
    commit(checkout)
    put(checkout, "2030/labs/iris/lab.toml", "edited\n")
    put(checkout, "labs/mnist/lab.toml", "edited\n")
    assert touched(checkout / "2030", "HEAD").labs == {"iris"}
    put(checkout, "2030/course.toml", "edited\n")
    assert touched(checkout / "2030", "HEAD").whole == "2030/course.toml"


@pytest.mark.parametrize("ref", ["v9", "--output=stolen", "HEAD~9", ""])
def test_an_unknown_commit_is_one_clear_error(checkout, ref):
    """A ref that is not there is named with what to do, and is never taken for an option."""
    with pytest.raises(UsageError, match="is not a known commit"):
        touched(checkout, ref)
    assert not list(checkout.glob("stolen*"))


def test_histories_without_a_common_commit_are_an_error(checkout):
    """As in a clone that is too shallow, where the fix is to fetch more."""
    git(checkout, "checkout", "-q", "--orphan", "other")
    git(checkout, "commit", "-q", "-m", "Another beginning")
    with pytest.raises(UsageError, match="fetch-depth: 0"):
        touched(checkout, "main")


def test_a_folder_outside_git_is_an_error(tmp_path):
    """Where there is no checkout nothing can be compared, and that is said."""
    (tmp_path / "labs").mkdir()
    with pytest.raises(UsageError, match="not a git repository") as error:
        changes_since("HEAD", tmp_path / "labs", tmp_path / "course.toml")
    assert "leave it out to verify all" in error.value.fix


def test_without_git_the_error_says_so(checkout, monkeypatch):
    """A machine without git is told what to install."""
    monkeypatch.setenv("PATH", str(checkout))
    with pytest.raises(UsageError, match="needs git"):
        touched(checkout)
