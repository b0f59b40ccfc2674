"""A quick lab is calibrated by the real command: runs are independent, kept, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import grader

ROOT = Path(grader.__file__).parent.parent
SPEC = """\
schema = 1
id = "level"
title = "Level"
data = "none"
points = 10
[limits]
wall_s = 60
memory_mb = 1024
[contract.level]
kind = "value"
[thresholds.full.level]
floor = 0.0
full = 0.2
[thresholds.lite.level]
floor = 0.0
full = 0.2
"""
SUITE = '''\
"""Hidden suite of the level lab."""

from grader.checks import OBSERVED, award, check, measure
from grader.rubric import linear_credit


@check("high", points=7, evidence=OBSERVED)
def test_high(student, threshold):
    """`level` is high."""
    value = float(student.level.value())
    limit = threshold("level")
    measure(value)
    award(linear_credit(value, limit.floor, limit.full))


@check("number", points=3, evidence=OBSERVED)
def test_number(student):
    """`level` is a number."""
    assert isinstance(student.level.value(), float)
'''
CODE = "import random\nrandom.seed(1)\nlevel = 0.5 + 0.1 * random.random()"
ALSO = "# %% [markdown]\n# Written another way.\n\n# %%\nimport random\n\nlevel = 0.7 + 0.1 * random.random()\n"


def command(*args: object, cwd: Path) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRADER_")}
    own = {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(cwd / "state")}
    return subprocess.Popen(
        [sys.executable, "-m", "grader", "calibrate", *map(str, args)],
        cwd=cwd,
        env=kept | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def calibrate(*args: object, cwd: Path) -> tuple[int, str, str]:
    with command(*args, cwd=cwd) as process:
        out, err = process.communicate(timeout=240)
    assert "Traceback" not in err
    return process.returncode, out, err


@pytest.fixture
def course(tmp_path: Path) -> Path:
    lab = tmp_path / "labs" / "level"
    for name in ("hidden_tests", "alternatives"):
        (lab / name).mkdir(parents=True)
    (lab / "lab.toml").write_text(SPEC)
    (lab / "hidden_tests" / "test_level.py").write_text(SUITE)
    (lab / "alternatives" / "otherwise.py").write_text(ALSO)
    (tmp_path / "reference_solutions").mkdir()
    cells = [{"cell_type": "code", "source": CODE, "metadata": {}, "outputs": [], "execution_count": None}]
    notebook = {"cells": cells, "metadata": {"grader": {"lab": "level"}}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "reference_solutions" / "level.ipynb").write_text(json.dumps(notebook))
    return tmp_path


def runs_of(course: Path) -> list[dict[str, object]]:
    return json.loads((course / "labs" / "level" / "calibration" / "full.json").read_text())["runs"]


@pytest.mark.slow
def test_a_lab_is_calibrated_in_portions(course):
    """Two runs prove nothing and say so; the next call adds what is missing, each run with a seed of its own."""
    code, out, err = calibrate("level", "--runs", 2, "--jobs", 1, cwd=course)
    assert code == 3, err
    assert "too few runs" in err
    assert "high" in out
    assert sorted(run["style"] for run in runs_of(course)) == ["otherwise", "reference"]
    code, out, _ = calibrate("level", "--runs", 4, "--jobs", 1, "--json", cwd=course)
    told = json.loads(out)
    assert (code, told["exit_code"], told["runs"], told["holds"]) == (3, 3, 4, False)
    values = [run["measured"]["high"][0][2] for run in runs_of(course)]
    assert len(set(values)) == 4
    assert not any("lost" in run for run in runs_of(course))
    assert "4 runs of correct solutions" in (course / "labs" / "level" / "calibration.md").read_text()
    assert (course / "labs" / "level" / "lab.toml").read_text() == SPEC
    assert list((course / "state" / "grader").glob("calibration-*")) == []


@pytest.mark.slow
def test_an_interrupted_calibration_keeps_its_runs(course):
    """After Ctrl-C the finished runs are there, and the command says how it goes on."""
    with command("level", "--runs", 60, "--jobs", 1, cwd=course) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "[ 2/" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        process.wait(timeout=120)
    assert process.returncode == 130
    assert "kept; the same command goes on" in rest
    assert len(runs_of(course)) >= 2
