"""The iris lab: its notebook, handouts, points and mutants fit together."""

import json
from pathlib import Path

import nbformat
import pytest

from grader.labs import load_lab
from grader.labs.starter import mutate, read_mutants, read_reference, source, starter
from grader.records import Evidence, Tier

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "labs" / "iris"
REFERENCE = ROOT / "reference_solutions" / "iris.ipynb"
MUTANTS = read_mutants(FOLDER)
CONTRACT = ("model", "loss", "grad", "train_loss_results", "train_accuracy_results")
HANDOUTS = ("handout.md", "handout.zh.md")


@pytest.fixture(scope="module")
def lab():
    """The lab as the grader loads it."""
    return load_lab(FOLDER)


@pytest.fixture(scope="module")
def reference():
    """The reference notebook."""
    return read_reference(REFERENCE)


def code(notebook):
    """The sources of a notebook's code cells."""
    return [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_points_add_up_to_100(lab):
    """The hidden checks are worth 100 points, as the spec says."""
    assert sum(check.points for check in lab.checks) == lab.points == 100


def test_the_contract_is_what_the_handouts_are_checked_for(lab):
    """The spec contracts exactly the names this file knows."""
    assert tuple(lab.contract) == CONTRACT


def test_points_for_skill_rest_on_verified_evidence(lab):
    """What only a right model or a right function earns is never merely observed."""
    evidence = {check.id: check.evidence for check in lab.checks}
    assert {evidence[name] for name in ("accuracy", "loss", "grad", "consistent")} == {Evidence.VERIFIED}


def test_both_tiers_share_one_threshold(lab):
    """Iris is so small that the lite copy is the whole data set: its threshold is the same."""
    assert lab.threshold(Tier.FULL, "accuracy") == lab.threshold(Tier.LITE, "accuracy")


def test_the_full_mark_is_27_flowers_of_30(lab):
    """Luck does not decide: three flowers of thirty may be wrong at full marks."""
    assert lab.threshold(Tier.LITE, "accuracy").full == 27 / 30


def test_the_reference_is_a_valid_notebook_for_this_lab():
    """The reference is valid nbformat and says which lab it is for."""
    notebook = nbformat.read(REFERENCE, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata["grader"]["lab"] == "iris"


def test_the_reference_has_no_outputs():
    """Nobody's outputs or execution counts are shipped with the reference."""
    for cell in json.loads(REFERENCE.read_text("utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_starter_holds_nothing_of_the_solution(reference):
    """What students start from reads the data and leaves model, loss, gradients and loop to them."""
    left = "\n".join(code(starter(reference)))
    assert "iris_training.csv" in left
    assert all(word not in left for word in ("Sequential", "GradientTape", "apply_gradients", "softmax", "def "))


@pytest.mark.parametrize("name", CONTRACT)
def test_the_starter_tells_every_contracted_name(reference, name):
    """A student who reads only the notebook learns every name of the contract."""
    prose = "\n".join(source(cell) for cell in reference["cells"] if cell["cell_type"] == "markdown")
    assert f"`{name}`" in prose or f"`{name}(" in prose


@pytest.mark.parametrize("handout", HANDOUTS)
@pytest.mark.parametrize("name", CONTRACT)
def test_each_handout_names_the_whole_contract(handout, name):
    """Every contracted name opens a row of the table in both handouts."""
    text = (FOLDER / handout).read_text("utf-8")
    assert f"| `{name}` |" in text or f"| `{name}(" in text


@pytest.mark.parametrize("handout", HANDOUTS)
def test_each_handout_lists_every_check_with_its_points(lab, handout):
    """Both handouts have a row for each hidden check, with the points it is worth."""
    text = (FOLDER / handout).read_text("utf-8")
    for check in lab.checks:
        assert f"| `{check.id}` | {check.points:g} |" in text


@pytest.mark.parametrize("handout", HANDOUTS)
def test_each_handout_tells_the_limits_of_the_spec(lab, handout):
    """Time and memory in the handouts are those of the spec."""
    text = (FOLDER / handout).read_text("utf-8")
    assert f" {lab.limits.wall_s:g} " in text
    assert f" {lab.limits.memory_mb / 1024:g} GB" in text


def test_what_students_are_given_reveals_no_threshold(lab):
    """Neither floor nor full mark stands in the handouts, the public suite or the reference."""
    given = [*(FOLDER / name for name in HANDOUTS), *(FOLDER / "public_tests").glob("*.py"), REFERENCE]
    text = "\n".join(path.read_text("utf-8") for path in given)
    threshold = lab.threshold(Tier.LITE, "accuracy")
    for number in (threshold.floor, threshold.full):
        assert all(shown not in text for shown in (f"{number:.2f}", f"{number:.0%}", f"{100 * number:g} %"))


def test_the_public_suite_asks_nothing_that_only_the_grader_has(lab):
    """The public suite runs on a student's machine: no held-out data, no threshold, nothing verified."""
    text = "\n".join(path.read_text("utf-8") for path in (FOLDER / "public_tests").glob("test_*.py"))
    assert "heldout" not in text
    assert "threshold" not in text
    assert {check.evidence for check in lab.public_checks} == {Evidence.OBSERVED}


def test_there_are_at_least_eight_mutants():
    """Eight wrong solutions at least guard the suite."""
    assert len(MUTANTS) >= 8


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_replacement_of_a_mutant_applies_exactly_once(reference, mutant):
    """A mutant changes exactly the places it names, and they stand in the reference."""
    assert mutant.replace
    assert not any(change.all for change in mutant.replace)
    changed = mutate(reference, mutant, mutant.name)
    assert code(changed) != code(reference)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_is_python(reference, mutant):
    """A mutant is wrong in what it does; a syntax error would only test the parser."""
    for text in code(mutate(reference, mutant, mutant.name)):
        compile(text, mutant.name, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_no_mutant_may_score_like_the_reference(mutant):
    """Each band leaves 100 out, and is narrow enough to say something."""
    assert 0 <= mutant.low <= mutant.high < 100
    assert mutant.high - mutant.low <= 35
    assert mutant.description.endswith(".")
