"""The mnist lab: its notebook, handouts, points and mutants fit together."""

import json
import tomllib
from pathlib import Path

import nbformat
import pytest

from grader.labs import load_lab
from grader.records import Tier

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "labs" / "mnist"
REFERENCE = ROOT / "reference_solutions" / "mnist.ipynb"
MUTANTS = sorted((FOLDER / "mutants").glob("*.toml"))
CONTRACT = ("model", "history", "mnist.keras")


def code_cells():
    """The sources of the reference's code cells."""
    return [cell.source for cell in nbformat.read(REFERENCE, as_version=4).cells if cell.cell_type == "code"]


def mutant(path):
    """A mutant's spec."""
    return tomllib.loads(path.read_text("utf-8"))


def test_the_reference_is_a_valid_notebook_for_this_lab():
    """The reference is valid nbformat and says which lab it is for."""
    notebook = nbformat.read(REFERENCE, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata["grader"]["lab"] == "mnist"


def test_the_reference_has_no_outputs():
    """Nobody's outputs or execution counts are shipped with the reference."""
    for cell in json.loads(REFERENCE.read_text("utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_every_solution_region_is_closed():
    """Markers come in pairs within a cell, so that the starter loses whole solutions and nothing else."""
    marked = [source for source in code_cells() if "SOLUTION" in source]
    assert len(marked) >= 8
    for source in marked:
        assert [line for line in source.splitlines() if "SOLUTION" in line] == [
            "### BEGIN SOLUTION",
            "### END SOLUTION",
        ]


def test_the_starter_keeps_the_data_and_loses_every_contracted_name():
    """What remains outside the solutions loads the data and builds, trains and saves nothing."""
    left = "\n".join(source.split("### BEGIN SOLUTION")[0] for source in code_cells())
    assert "mnist.load_data()" in left
    assert all(word not in left for word in ("model", "history", "mnist.keras", "/ 255"))


@pytest.mark.parametrize("name", CONTRACT)
def test_the_starter_tells_every_contracted_name(name):
    """A student who reads only the notebook learns every name of the contract."""
    notebook = nbformat.read(REFERENCE, as_version=4)
    assert any(f"`{name}`" in cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_points_add_up_to_100():
    """The hidden checks are worth 100 points, as the spec says."""
    lab = load_lab(FOLDER)
    assert sum(check.points for check in lab.checks) == lab.points == 100


def test_the_contract_is_what_the_tests_here_expect():
    """The spec contracts exactly the names that the handouts are checked for."""
    lab = load_lab(FOLDER)
    assert (*lab.contract, *lab.keep) == CONTRACT


@pytest.mark.parametrize("handout", ["handout.md", "handout.zh.md"])
@pytest.mark.parametrize("name", CONTRACT)
def test_each_handout_names_the_whole_contract(handout, name):
    """Every contracted name stands in both handouts."""
    assert f"`{name}`" in (FOLDER / handout).read_text("utf-8")


@pytest.mark.parametrize("handout", ["handout.md", "handout.zh.md"])
def test_each_handout_lists_every_check_with_its_points(handout):
    """Both handouts have a row for each hidden check, with the points it is worth."""
    text = (FOLDER / handout).read_text("utf-8")
    for check in load_lab(FOLDER).checks:
        assert f"| {check.id} | {check.points:g} |" in text


@pytest.mark.parametrize("handout", ["handout.md", "handout.zh.md"])
def test_each_handout_tells_the_limits_of_the_spec(handout):
    """Time, memory and parameters in the handouts are those of the spec."""
    lab, text = load_lab(FOLDER), (FOLDER / handout).read_text("utf-8")
    numbers = (lab.limits.wall_s, lab.limits.memory_mb, lab.contract["model"].max_parameters)
    assert all(f"{number:,.0f}" in text for number in numbers)


def test_handouts_and_public_suite_reveal_no_threshold():
    """What students are given holds none of the thresholds, as a number or as a percentage."""
    lab = load_lab(FOLDER)
    given = [FOLDER / "handout.md", FOLDER / "handout.zh.md", *(FOLDER / "public_tests").glob("*.py"), REFERENCE]
    text = "\n".join(path.read_text("utf-8") for path in given)
    for table in lab.thresholds.values():
        for threshold in table.values():
            for number in (threshold.floor, threshold.full):
                assert f"{number:g}" not in text
                assert f"{100 * number:g} %" not in text


def test_the_suite_and_the_spec_allow_the_same_number_of_parameters():
    """The suite's budget of parameters is the one the spec states."""
    most = load_lab(FOLDER).contract["model"].max_parameters
    assert f"MOST_PARAMETERS = {most:_}\n" in (FOLDER / "hidden_tests" / "test_mnist.py").read_text("utf-8")


def test_less_data_asks_for_less_accuracy():
    """The lite tier, with fewer training digits, asks for less than the full one."""
    lab = load_lab(FOLDER)
    for name, full in lab.thresholds[Tier.FULL].items():
        assert lab.threshold(Tier.LITE, name).full < full.full


def test_there_are_at_least_eight_mutants():
    """Eight wrong solutions at least guard the suite."""
    assert len(MUTANTS) >= 8


@pytest.mark.parametrize("path", MUTANTS, ids=lambda path: path.stem)
def test_each_replacement_of_a_mutant_applies_exactly_once(path):
    """A mutant changes exactly the places it names, and they stand in the reference."""
    cells = code_cells()
    for replacement in mutant(path)["replace"]:
        assert sum(source.count(replacement["old"]) for source in cells) == 1
        cells = [source.replace(replacement["old"], replacement["new"]) for source in cells]


@pytest.mark.parametrize("path", MUTANTS, ids=lambda path: path.stem)
def test_each_mutant_is_python_after_its_replacements(path):
    """A mutant is wrong in what it does; a syntax error would only test the parser."""
    cells = code_cells()
    for replacement in mutant(path)["replace"]:
        cells = [source.replace(replacement["old"], replacement["new"]) for source in cells]
    for source in cells:
        compile(source, path.name, "exec")


@pytest.mark.parametrize("path", MUTANTS, ids=lambda path: path.stem)
def test_no_mutant_may_score_like_the_reference_without_a_flag(path):
    """Each band lies within 0 and 100 and leaves 100 out, unless a flag must be raised."""
    spec = mutant(path)
    assert 0 <= spec["low"] <= spec["high"] <= 100
    assert spec["high"] < 100 or spec["flags"]
    assert spec["description"].endswith(".")
