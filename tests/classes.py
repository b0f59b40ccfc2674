"""A course with one quick lab and a class of honest notebooks, graded by the real command.

The lab is the corpus's `plain`, which needs no TensorFlow; each notebook earns everything.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import grader
from tests.hostile.attacks import HONEST, LABS, PROLOGUE

ROOT = Path(grader.__file__).parent.parent
LAB = "plain"
POINTS = 20.0


def make_course(folder: Path) -> Path:
    """The lab, in a folder of its own that may be changed."""
    shutil.copytree(LABS / LAB, folder / "labs" / LAB, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def hand_in(course: Path, student: str, *more: str) -> None:
    """A right notebook of that student's, with more cells."""
    cells = [
        {"cell_type": "code", "source": text, "metadata": {}, "outputs": [], "execution_count": None}
        for text in (PROLOGUE, HONEST[LAB], f"student = {student!r}", *more)
    ]
    path = course / "submissions" / student / f"{LAB}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), "utf-8")


def environment(course: Path) -> dict[str, str]:
    """This process's, without settings of the course and with a state folder of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRADER_")}
    own = {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(course / "state"), "GRADER_SECRET": "of this class"}
    return kept | own


def start(course: Path, *args: object) -> subprocess.Popen[str]:
    """The command, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "grader", *map(str, args)],
        cwd=course,
        env=environment(course),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def grade(course: Path, *args: object) -> dict[str, Any]:
    """Grade the class to its end; what --json says of it."""
    with start(course, "grade", "--json", "--jobs", 1, *args) as process:
        out, err = process.communicate(timeout=280)
    assert "Traceback" not in err
    said: dict[str, Any] = json.loads(out)
    said["told"] = err
    return said


def shares(said: dict[str, Any]) -> tuple[int, int, int]:
    """How many were kept, judged again and run."""
    return said["kept"], said["judged"], said["graded"] - said["kept"] - said["judged"]
