"""The Containerfile, as far as it can be proved without an engine: its shell, its files, its versions, its silence."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Containerfile").read_text("utf-8")
KNOWN = {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "ENTRYPOINT", "CMD"}


def instructions():
    """(name, rest) with continued lines joined and comments left out."""
    lines = [line for line in TEXT.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines()]


def of(name):
    return [rest for found, rest in instructions() if found == name]


def test_every_instruction_is_a_known_one_and_the_first_chooses_the_base():
    assert {name for name, _ in instructions()} == KNOWN
    assert [name for name, _ in instructions()][:2] == ["ARG", "FROM"]


@pytest.mark.parametrize("command", of("RUN"))
def test_each_run_line_is_shell(command):
    """`sh -n` reads it and runs nothing; a failing step ends the build, since steps are joined by &&."""
    done = subprocess.run(["sh", "-n", "-c", command], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ";" not in command
    assert "||" not in command


def test_everything_that_is_copied_is_there_and_is_sent_to_the_engine():
    """Sources exist in the checkout, and .containerignore lets them through, and nothing that is secret."""
    ignore = (ROOT / ".containerignore").read_text("utf-8").splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    sources = {source for rest in of("COPY") for source in rest.split()[:-1]}
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in allowed or any(Path(source).match(pattern) for pattern in allowed), source
    assert ignore[1] == "*"
    assert not [name for name in ("labs", "submissions", "reference_solutions", "course.toml") if name in allowed]
    assert {line.split("/")[0] for line in allowed} == {source.split("/")[0] for source in sources}


def test_the_build_installs_what_the_checkout_does():
    """Hash-checked pins, then the package alone: what pyproject.toml reads is copied before it is built."""
    installs = [step for command in of("RUN") for step in command.split(" && ") if "pip install" in step]
    assert [re.findall(r"requirements/\w+\.txt", step) for step in installs] == [
        ["requirements/install.txt"],
        ["requirements/runtime.txt"],
        [],
    ]
    assert all("--require-hashes" in step for step in installs[:2])
    assert "--no-deps --no-build-isolation ." in installs[2]
    names = [name for name, _ in instructions()]
    last_copy, last_run = (len(names) - 1 - names[::-1].index(name) for name in ("COPY", "RUN"))
    assert last_copy < last_run
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    copied = " ".join(of("COPY"))
    assert all(name in copied for name in (project["readme"], *project["license-files"], "pyproject.toml", "grader"))
    backend = re.search(r"^hatchling==", (ROOT / "requirements" / "install.txt").read_text("utf-8"), re.MULTILINE)
    assert backend


def test_its_python_is_one_that_the_project_supports():
    """Each Debian that it can be built on comes with a Python of pyproject.toml's, and the default is one of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    versions = {line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)}
    comes_with = dict(re.findall(r"Debian (\d+) (?:comes )?with Python (3\.\d+)", TEXT))
    assert set(comes_with.values()) <= versions
    (argument,) = of("ARG")
    assert argument.removeprefix("DEBIAN=") in comes_with
    assert of("FROM") == ["debian:${DEBIAN}-slim"]


def test_it_runs_unprivileged_and_starts_the_command():
    """Never as root: the user comes before the entry point, which is the console script of pyproject.toml."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert of("USER") == ["grader"]
    assert any("useradd" in command and command.count("grader") for command in of("RUN"))
    (entry,) = of("ENTRYPOINT")
    assert json.loads(entry) == list(scripts)
    names = [name for name, _ in instructions()]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "RUN" not in names[names.index("USER") :]


def test_it_names_no_registry_and_no_secret():
    """An address would tie it to a network; a build argument or variable with a secret would stay in its layers."""
    assert "://" not in TEXT
    assert "/" not in "".join(of("FROM"))
    assert not re.search(r"--(index|extra-index|find-links|trusted-host|from=)", TEXT)
    assert not re.search(r"(?i)secret|password|token", TEXT)
