"""The checkpoints lab holds together: reference, spec, handouts and mutants speak of the same things."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from grader.labs import Lab, load_lab
from grader.labs.starter import Mutant, mutate, read_mutants, read_reference, reference_path, source, starter
from grader.records import Tier

LAB = Path(__file__).parents[2] / "labs" / "checkpoints"
MUTANTS = read_mutants(LAB)
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


def test_the_reference_is_a_clean_notebook_for_this_lab(reference):
    """The reference names its lab, is valid nbformat 4, and has neither outputs nor counts."""
    import nbformat

    nbformat.validate(reference)
    assert reference["metadata"]["grader"]["lab"] == "checkpoints"
    for cell in reference["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_reference_defines_every_name_and_writes_every_file(lab, reference):
    """What the contract demands is what the reference does."""
    text = "\n".join(code(reference))
    for name in lab.contract:
        assert f"def {name}(" in text
    for file in FILES[:4]:
        assert f'"{file}"' in text


def test_the_starter_is_python_without_the_solution(reference):
    """Every code cell of the starter still compiles, and no solution is left in it."""
    exercise = "\n\n".join(code(starter(reference)))
    ast.parse(exercise)
    assert "def create_model():" in exercise
    assert "def resume():" in exercise
    for given_away in ("SOLUTION", "Dense", "ModelCheckpoint", "save_weights(", "load_model", ".fit("):
        assert given_away not in exercise


def test_the_points_add_up(lab):
    """Eight checks share 100 points, and each tells the student what to try."""
    assert sum(check.points for check in lab.checks) == lab.points == 100
    assert all(check.hint for check in lab.checks)
    assert lab.public_checks


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


@pytest.mark.parametrize("name", ["handout.md", "handout.zh.md"])
def test_the_handout_gives_no_threshold_away(lab, name):
    """Students are not told the marks that the hidden suite uses."""
    text = (LAB / name).read_text(encoding="utf-8")
    for table in lab.thresholds.values():
        for limit in table.values():
            assert f"{limit.full:.2f}" not in text


def test_the_public_suite_knows_no_threshold():
    """What students get reveals neither thresholds nor held-out data."""
    text = "".join(path.read_text(encoding="utf-8") for path in (LAB / "public_tests").glob("*.py"))
    assert "threshold" not in text
    assert "heldout" not in text


def test_there_are_mutants_for_every_check():
    """At least eight mistakes are kept, and none of them may score like the reference."""
    assert len(MUTANTS) >= 8
    assert all(mutant.high < 100 or mutant.flags for mutant in MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_applies_exactly_and_is_python(reference, mutant: Mutant):
    """Each replacement fits the reference (once, unless it says all), changes it, and leaves Python."""
    changed = mutate(reference, mutant, mutant.name)
    assert code(changed) != code(reference)
    ast.parse("\n\n".join(code(changed)))
    for replacement in mutant.replace:
        assert replacement.all or sum(cell.count(replacement.old) for cell in code(reference)) == 1
