"""The custom training lab: its notebook, handouts, points and mutants fit together, and its suite's own answers are right."""

import importlib.util
import json
from pathlib import Path

import nbformat
import numpy as np
import pytest

from grader.labs import load_lab
from grader.labs.starter import mutate, read_mutants, read_reference, source, starter
from grader.records import Evidence, Tier

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "labs" / "custom_training"
REFERENCE = ROOT / "reference_solutions" / "custom_training.ipynb"
SUITE = FOLDER / "hidden_tests" / "test_custom_training.py"
MUTANTS = read_mutants(FOLDER)
CONTRACT = (
    "numeric_gradient",
    "gradient",
    "second_derivative",
    "Model",
    "loss",
    "train",
    "MyDense",
    "IdentityBlock",
)
HANDOUTS = ("handout.md", "handout.zh.md")
SEEDS = range(20)


@pytest.fixture(scope="module")
def lab():
    """The lab as the grader loads it."""
    return load_lab(FOLDER)


@pytest.fixture(scope="module")
def suite():
    """The hidden suite as a module."""
    spec = importlib.util.spec_from_file_location("hidden_custom_training", SUITE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference():
    """The reference notebook."""
    return read_reference(REFERENCE)


def code(notebook):
    """The sources of a notebook's code cells."""
    return [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]


# ---------------------------------------------------------------- the suite's own answers


@pytest.mark.parametrize("seed", SEEDS)
def test_the_suite_knows_the_derivatives_of_its_functions(suite, seed):
    """First and second derivatives written in the suite agree with finite differences."""
    xs = np.linspace(-2, 2, 9)
    for f, first, second in suite.functions(np.random.default_rng(seed)):
        slopes, bends = (f(xs + 1e-5) - f(xs - 1e-5)) / 2e-5, (f(xs + 1e-3) - 2 * f(xs) + f(xs - 1e-3)) / 1e-6
        np.testing.assert_allclose(first(xs), slopes, atol=1e-6 * (1 + np.abs(slopes).max()))
        np.testing.assert_allclose(second(xs), bends, atol=1e-4 * (1 + np.abs(bends).max()))


def test_no_difference_quotient_is_exact_for_the_steep_function(suite):
    """The steep function tells automatic differentiation from differences, whatever the step."""
    f, first, _ = suite.steep_function(np.random.default_rng(0))
    xs = np.array([-1.3, 0.4, 1.7])
    for h in 10.0 ** np.arange(-12, -1, 0.25):
        with pytest.raises(AssertionError):
            suite.near((f(xs + h) - f(xs - h)) / (2 * h), first(xs), 1e-9, "it")


@pytest.mark.parametrize("seed", SEEDS)
def test_hidden_lines_are_what_the_handout_promises(suite, seed):
    """Points, slopes and intercepts keep to the ranges that students are told."""
    for xs, ys, (w, b) in suite.hidden_lines(np.random.default_rng(seed)):
        assert xs.dtype == ys.dtype == np.float32
        assert len(xs) == len(ys) >= 150
        assert np.abs(xs).max() < 4.5
        assert max(abs(w), abs(b)) < 5


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tutorials_line_earns_nothing(lab, suite, seed):
    """W = 3 and b = 2, whatever the data, is beyond the floor for at least one of w and b on every line."""
    limits = lab.threshold(Tier.FULL, "line")
    for *_, (w, b) in suite.hidden_lines(np.random.default_rng(seed)):
        assert min(suite.share(abs(w - 3), limits), suite.share(abs(b - 2), limits)) == 0


# ---------------------------------------------------------------- spec, handouts, notebook


def test_points_add_up_to_100(lab):
    """The hidden checks are worth 100 points, as the spec says."""
    assert sum(check.points for check in lab.checks) == lab.points == 100


def test_each_theme_has_its_points(lab):
    """Gradients 25, the line 30, the layer 25, the block 20."""
    points = [check.points for check in lab.checks]
    assert [sum(points[a:b]) for a, b in ((0, 3), (3, 7), (7, 10), (10, 13))] == [25, 30, 25, 20]


def test_the_contract_is_what_the_handouts_are_checked_for(lab):
    """The spec contracts exactly the names this file knows."""
    assert tuple(lab.contract) == CONTRACT


def test_all_but_the_loop_rests_on_verified_evidence(lab):
    """Behaviour of functions and classes is verified; only how `train` learns is merely observed."""
    assert [check.id for check in lab.checks if check.evidence is not Evidence.VERIFIED] == ["loop"]


def test_both_tiers_share_one_threshold(lab):
    """There is no data set, so there are no smaller data."""
    assert lab.threshold(Tier.FULL, "line") == lab.threshold(Tier.LITE, "line")


def test_the_reference_is_a_valid_notebook_for_this_lab():
    """The reference is valid nbformat and says which lab it is for."""
    notebook = nbformat.read(REFERENCE, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata["grader"]["lab"] == "custom_training"


def test_the_reference_has_no_outputs():
    """Nobody's outputs or execution counts are shipped with the reference."""
    for cell in json.loads(REFERENCE.read_text("utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_starter_holds_nothing_of_the_solution(reference):
    """What students start from has the names and the data, and none of the bodies."""
    left = "\n".join(code(starter(reference)))
    assert all(f"def {name}(" in left or f"class {name}(" in left for name in CONTRACT)
    assert all(word not in left for word in ("GradientTape", "assign_sub", "add_weight", "Conv2D", "reduce_mean"))


def test_the_starter_is_python(reference):
    """Every cell of the starter compiles: a body whose solution is taken out still has its docstring."""
    for text in code(starter(reference)):
        compile(text, "starter", "exec")


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
    for limit in (f" {lab.limits.wall_s:g} ", f" {lab.limits.memory_mb / 1024:g} GB", f"{lab.limits.question_s:g}"):
        assert limit in text


def test_what_students_are_given_reveals_no_threshold(lab):
    """Neither floor nor full mark stands in the handouts, the public suite or the reference."""
    given = [*(FOLDER / name for name in HANDOUTS), *(FOLDER / "public_tests").glob("*.py"), REFERENCE]
    text = "\n".join(path.read_text("utf-8") for path in given)
    threshold = lab.threshold(Tier.FULL, "line")
    assert f"{threshold.floor:g}" not in text
    assert f" {threshold.full:g} " not in text


def test_the_public_suite_asks_nothing_that_only_the_grader_has(lab):
    """The public suite runs on a student's machine: nothing drawn, no threshold, nothing verified."""
    text = "\n".join(path.read_text("utf-8") for path in (FOLDER / "public_tests").glob("test_*.py"))
    assert all(word not in text for word in ("heldout", "threshold", "chance"))
    assert {check.evidence for check in lab.public_checks} == {Evidence.OBSERVED}


# ---------------------------------------------------------------- mutants


def test_there_are_at_least_ten_mutants():
    """Ten wrong solutions at least guard the suite."""
    assert len(MUTANTS) >= 10


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
def test_no_mutant_may_score_like_the_reference_without_a_flag(mutant):
    """Each band leaves 100 out, unless a flag must be raised, and is narrow enough to say something."""
    assert 0 <= mutant.low <= mutant.high <= 100
    assert mutant.high < 100 or mutant.flags
    assert mutant.high - mutant.low <= 10
    assert mutant.description.endswith(".")
