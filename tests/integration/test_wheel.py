"""What is installed is the wheel: built, put into a clean environment where TensorFlow cannot be imported, and used there.

The environment gets the pinned packages that everything trusted needs and nothing that only notebooks need: from uv's
cache, which `make install` has filled, and what is not there (what pip installed before uv was at hand) from the registry.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from grader.version import __version__
from tests.lacking import lacking

ROOT = Path(__file__).resolve().parents[2]
#: What a notebook imports and the grader does not.
NOTEBOOKS_OWN = {"tensorflow", "keras", "scikit-learn", "matplotlib", "vega-datasets"}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(name="grader", seen=None):
    """The packages that this one needs here, without what only notebooks import."""
    seen = set() if seen is None else seen
    for text in metadata.requires(name) or ():
        wanted = Requirement(text)
        inner = canonical(wanted.name)
        here = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if here and inner not in seen | NOTEBOOKS_OWN:
            seen.add(inner)
            needed(inner, seen)
    return seen


def run(*command, cwd=ROOT, **environ):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRADER_", "PYTHON"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept | environ,
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=400,
        check=False,
    )


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder with sdist and wheel, the wheel built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def python(dist, tmp_path_factory):
    """The interpreter of an environment with the wheel and without TensorFlow."""
    folder = tmp_path_factory.mktemp("clean")
    uv = Path(sys.executable).with_name("uv")
    if not uv.is_file():
        lacking("there is no uv beside this Python")
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements" / "runtime.txt").read_text("utf-8"))
    names = needed()
    pins = folder / "pins.txt"
    pins.write_text("\n".join(block for block in blocks if canonical(block.partition("==")[0]) in names) + "\n")
    assert run(sys.executable, "-m", "venv", "--without-pip", folder / "venv").returncode == 0
    python = folder / "venv" / "bin" / "python"
    install = (uv, "pip", "install", "--offline", "--no-deps", "--python", python)
    wanted = ("--require-hashes", "--requirement", pins)
    online = [part for part in install if part != "--offline"]
    if run(*install, *wanted).returncode and run(*online, "--system-certs", *wanted).returncode:
        pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps")
        done = run(*pip, *wanted)
        if done.returncode:
            lacking(f"neither uv's cache nor the registry gives the packages: {done.stderr[-300:]}")
    done = run(*install, *dist.glob("*.whl"))
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course with a lab and one kept run, graded where TensorFlow is."""
    folder = tmp_path_factory.mktemp("course")
    state = {"XDG_STATE_HOME": str(folder / "state")}
    assert run(sys.executable, "-m", "grader", "new", "scales", cwd=folder, **state).returncode == 0
    (folder / "submissions" / "student-01").mkdir(parents=True)
    reference = folder / "reference_solutions" / "scales.ipynb"
    (folder / "submissions" / "student-01" / "scales.ipynb").write_bytes(reference.read_bytes())
    done = run(sys.executable, "-m", "grader", "grade", "--jobs", "1", cwd=folder, **state)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def grader(python, course):
    """Runs the installed command in the course."""

    def command(*args):
        state = {"XDG_STATE_HOME": str(course / "state"), "PYTHONUTF8": "1"}
        return run(python.with_name("grader"), *args, cwd=course, **state)

    return command


# ---------------------------------------------------------------- what is built


def test_the_sdist_holds_what_the_wheel_is_built_from_and_no_hidden_suite(dist):
    """The package with its data, templates and marker of types; labs travel with the checkout only."""
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "grader/py.typed", "grader/locale/zh.po"):
        assert name in names
    assert "grader/authoring/template/lab.toml.in" in names
    assert not [name for name in names if name.startswith(("labs", "reference_solutions", "submissions", "tests"))]


def test_the_wheel_has_every_file_of_the_package_and_says_its_version(dist):
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("grader/")}
        (meta,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(meta).decode()
    files = {path for path in (ROOT / "grader").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert names == {path.relative_to(ROOT).as_posix() for path in files}
    assert f"\nVersion: {__version__}\n" in text
    assert "\nRequires-Python: <3.14,>=3.11\n" in text


# ---------------------------------------------------------------- where TensorFlow is not


def test_the_environment_is_what_it_claims_to_be(python, course):
    """The package is the wheel's, not the checkout's, and there is no TensorFlow and no Keras."""
    code = "import grader, importlib.util as u; print(grader.__file__, u.find_spec('tensorflow'), u.find_spec('keras'))"
    place, *found = run(python, "-c", code, cwd=course).stdout.split()
    assert str(ROOT) not in place
    assert str(python.parent.parent) in place
    assert found == ["None", "None"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("--version", __version__),
        ("labs", "scales"),
        ("data status", "lite"),
        ("lint scales", "0 errors"),
        ("starter scales --out starter.ipynb", "starter.ipynb"),
        ("release scales --out kits", "kits/scales.zip"),
        ("new another", "another"),
        ("collect submissions --into copies", "copied"),
        ("gradebook show", "100/100"),
        ("gradebook adjust student-01 scales --points -1 --reason late --by staff", "-1 points"),
        ("export csv --out grades.csv", ""),
        ("export junit", "testsuite"),
        ("export summary", "scales"),
        ("export gradescope", "of 100 points"),
        ("build gradescope scales --out autograder.zip --min-level L0", "autograder.zip"),
    ],
)
def test_everything_that_runs_no_notebook_works_there(grader, command, said):
    """Specs, kits, gradebook and exports need neither TensorFlow nor Keras."""
    done = grader(*command.split())
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_kept_runs_are_judged_again_there(grader, course):
    """A check's points change, and the tape alone says what comes of it; then they change back."""
    suite = course / "labs" / "scales" / "hidden_tests" / "test_scales.py"
    before = suite.read_text("utf-8")
    suite.write_text(before.replace("points=40", "points=35").replace("points=20", "points=30"), "utf-8")
    done = grader("regrade", "--json")
    suite.write_text(before, "utf-8")
    assert done.returncode == 0, done.stderr
    (change,) = json.loads(done.stdout)["changes"]
    assert (change["before"], change["after"], change["rerun"]) == (100, 100, False)
    assert {check["id"]: check["after"] for check in change["checks"]} == {"centred": 35, "scaled": 35, "constant": 30}


def test_the_doctor_says_what_is_missing_and_how_to_get_it(grader):
    """It is a problem, since notebooks cannot be graded: exit code 4, one line, a fix."""
    done = grader("doctor", "--json")
    assert done.returncode == 4
    problems = [finding for finding in json.loads(done.stdout)["findings"] if finding["state"] == "problem"]
    assert any("tensorflow" in json.dumps(problem).lower() for problem in problems)
    assert all(problem["fix"] for problem in problems)


def test_grading_says_in_one_line_why_it_cannot_be_done(grader, course):
    """The run needs attention through no fault of the student: exit code 4, and where to look."""
    done = grader("grade", "--jobs", "1", "--out", "elsewhere")
    assert done.returncode == 4
    assert re.search(r"scales/student-01: .*No module named '(keras|tensorflow)'.*grader doctor", done.stdout)
    assert "Traceback" not in done.stdout + done.stderr
