"""What is peculiar to the checkpoints lab."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.labs import Lab, load_lab
from grader.labs.starter import read_reference, reference_path, source
from grader.records import Tier

LAB = Path(__file__).parents[2] / "labs" / "checkpoints"
FILES = (
    "training_1/cp.weights.h5",
    "training_2/cp-{epoch:04d}.weights.h5",
    "checkpoints/my_checkpoint.weights.h5",
    "my_model.keras",
    "my_model.h5",
)


@pytest.fixture(scope="module")
def lab() -> Lab:
    return load_lab(LAB)


@pytest.fixture(scope="module")
def reference() -> dict[str, object]:
    return read_reference(reference_path(LAB.parent, "checkpoints"))


def code(notebook) -> list[str]:
    return [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_reference_defines_every_name_and_writes_every_file(lab, reference):
    """What the contract demands is what the reference does."""
    text = "\n".join(code(reference))
    for name in lab.contract:
        assert f"def {name}(" in text
    for file in FILES[:4]:
        assert f'"{file}"' in text


def test_the_last_check_is_the_one_that_trains(lab):
    """`resume()` changes the kernel, so nothing is asked after it."""
    assert lab.checks[-1].id == "resume"


def test_thresholds_are_those_of_the_calibration(lab):
    """Each tier has every threshold, and calibration.md gives the figures that lab.toml uses."""
    text = (LAB / "calibration.md").read_text(encoding="utf-8")
    for tier in Tier:
        for name in ("accuracy", "untrained", "improvement", "progress"):
            limit = lab.threshold(tier, name)
            assert f"| {name} | {tier.value} | {limit.floor:.2f} | {limit.full:.2f} |" in text


@pytest.mark.parametrize("name", ["handout.md", "handout.zh.md"])
def test_the_handout_names_everything(lab, name):
    """Both handouts mention every contracted name, every file, every check with its points, and the budget."""
    text = (LAB / name).read_text(encoding="utf-8")
    for word in (*[f"{contract}()" for contract in lab.contract], *FILES, ".index", "SavedModel", "x_train.shape"):
        assert word in text
    for check in lab.checks:
        assert f"| {check.points:g} | `{check.id}` |" in text
    for budget in (f"{lab.limits.wall_s:g}", f"{lab.limits.disk_mb} MB", f"{lab.limits.memory_mb // 1024} GB"):
        assert budget in text
    assert "grader check checkpoints.ipynb" in text
