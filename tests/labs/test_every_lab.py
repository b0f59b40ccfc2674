"""What holds for every lab: its spec, reference, starter, handouts, suites and mutants fit together.

What is peculiar to one lab is tested in the file of that lab. That the suites tell right from wrong is `test_verify`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

from grader.labs import load_lab
from grader.labs.alternatives import read_alternatives
from grader.labs.starter import mutate, read_mutants, read_reference, source, starter
from grader.records import Evidence, Tier

ROOT = Path(__file__).resolve().parents[2]
LAB_IDS = sorted(path.parent.name for path in (ROOT / "labs").glob("*/lab.toml"))
HANDOUTS = ("handout.md", "handout.zh.md")
MUTANTS = [(lab_id, mutant) for lab_id in LAB_IDS for mutant in read_mutants(ROOT / "labs" / lab_id)]
NAMES = [(lab_id, name) for lab_id in LAB_IDS for name in load_lab(ROOT / "labs" / lab_id).contract]


def reference_file(lab_id):
    return ROOT / "reference_solutions" / f"{lab_id}.ipynb"


def code(notebook):
    """The sources of a notebook's code cells."""
    return [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def given_to_students(lab_id):
    """Everything a student can read: handouts, public suite, and what of the reference is in the starter."""
    folder = ROOT / "labs" / lab_id
    files = [*(folder / name for name in HANDOUTS), *(folder / "public_tests").glob("*.py")]
    exercise = starter(read_reference(reference_file(lab_id)))
    return "\n".join([*(path.read_text("utf-8") for path in files), *(source(cell) for cell in exercise["cells"])])


@pytest.mark.parametrize("lab_id", LAB_IDS)
def test_the_hidden_checks_are_worth_100_points(lab_id):
    """Points are out of 100, as the spec says, and both suites have checks."""
    lab = load_lab(ROOT / "labs" / lab_id)
    assert sum(check.points for check in lab.checks) == lab.points == 100
    assert lab.public_checks


@pytest.mark.parametrize("lab_id", LAB_IDS)
def test_the_reference_is_a_clean_notebook_for_its_lab(lab_id):
    """Valid nbformat, names its lab, and carries nobody's outputs."""
    notebook = nbformat.read(reference_file(lab_id), as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata["grader"]["lab"] == lab_id
    for cell in json.loads(reference_file(lab_id).read_text("utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("lab_id", LAB_IDS)
def test_the_starter_is_python_without_the_solution(lab_id):
    """Nothing between the markers is left, and what is left compiles."""
    reference = read_reference(reference_file(lab_id))
    solution = "\n".join(code(reference))
    left = code(starter(reference))
    regions = re.findall(r"### BEGIN SOLUTION\n(.*?)\s*### END SOLUTION", solution, re.DOTALL)
    assert regions
    for text in left:
        compile(text, f"{lab_id} starter", "exec")
    lines = {line.strip() for region in regions for line in region.splitlines() if len(line.strip()) > 25}
    outside = {
        line.strip()
        for line in re.sub(r"### BEGIN SOLUTION.*?### END SOLUTION", "", solution, flags=re.DOTALL).splitlines()
    }
    assert not (lines - outside) & {line.strip() for text in left for line in text.splitlines()}


@pytest.mark.parametrize(("lab_id", "name"), NAMES)
def test_every_contracted_name_is_told(lab_id, name):
    """Both handouts and the starter's own prose name everything the contract does."""
    texts = [(ROOT / "labs" / lab_id / handout).read_text("utf-8") for handout in HANDOUTS]
    texts.append(
        "\n".join(source(c) for c in read_reference(reference_file(lab_id))["cells"] if c["cell_type"] == "markdown")
    )
    for text in texts:
        assert f"`{name}`" in text or f"`{name}(" in text


@pytest.mark.parametrize("handout", HANDOUTS)
@pytest.mark.parametrize("lab_id", LAB_IDS)
def test_handouts_tell_points_and_limits(lab_id, handout):
    """Each hidden check with its points, and time, memory and size of the code as the spec has them."""
    lab = load_lab(ROOT / "labs" / lab_id)
    text = (ROOT / "labs" / lab_id / handout).read_text("utf-8")
    for check in lab.checks:
        assert re.search(rf"\| `?{check.id}`? \| {check.points:g} |\| {check.points:g} \| `?{check.id}`? ", text), (
            check.id
        )
    assert re.search(rf"(?<!\d){lab.limits.wall_s:g}(?!\d)", text)
    memory = lab.limits.memory_mb
    assert any(shown in text for shown in (f"{memory / 1024:g} GB", f"{memory / 1024:g} GiB", f"{memory:,} MiB"))
    assert f" {lab.limits.source_kb} kB" in text


@pytest.mark.parametrize("lab_id", LAB_IDS)
def test_what_students_are_given_reveals_no_threshold(lab_id):
    """Neither floor nor full mark of any tier stands in what students can read, in the form a threshold has."""
    lab = load_lab(ROOT / "labs" / lab_id)
    given = given_to_students(lab_id)
    numbers = {n for table in lab.thresholds.values() for t in table.values() for n in (t.floor, t.full) if 0 < n < 1}
    for number in numbers:
        shown = (f"{number:.3f}", f"{number:.2f}") if round(number, 2) == number else (f"{number:.3f}",)
        assert not [text for text in shown if re.search(rf"(?<![\d.]){re.escape(text)}(?!\d)", given)], number


@pytest.mark.parametrize("lab_id", LAB_IDS)
def test_the_public_suite_asks_nothing_that_only_the_grader_has(lab_id):
    """It runs on a student's machine: no held-out data, no threshold."""
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "labs" / lab_id / "public_tests").glob("test_*.py"))
    assert "heldout" not in text
    assert "threshold" not in text
    assert {check.evidence for check in load_lab(ROOT / "labs" / lab_id).public_checks} <= {
        Evidence.OBSERVED,
        Evidence.VERIFIED,
    }


@pytest.mark.parametrize("lab_id", LAB_IDS)
def test_thresholds_exist_for_both_tiers(lab_id):
    """A course without the full data is graded by thresholds of its own."""
    lab = load_lab(ROOT / "labs" / lab_id)
    if lab.data != "none":
        assert set(lab.thresholds) == set(Tier)


@pytest.mark.parametrize("lab_id", LAB_IDS)
def test_there_are_at_least_eight_mutants(lab_id):
    """Eight known mistakes are the least that a suite is proved against."""
    assert sum(owner == lab_id for owner, _ in MUTANTS) >= 8


@pytest.mark.parametrize("lab_id", [lab_id for lab_id in LAB_IDS if (ROOT / "labs" / lab_id / "alternatives").is_dir()])
def test_solutions_of_another_style_are_python_say_what_differs_and_are_no_copies(lab_id):
    """At least two, each told in a first sentence, and hardly a line of code is the reference's."""
    found = read_alternatives(ROOT / "labs" / lab_id)
    assert len(found) >= 2
    lines = {line.strip() for text in code(read_reference(reference_file(lab_id))) for line in text.splitlines()}
    for name, notebook in found.items():
        first = notebook["cells"][0]
        assert first["cell_type"] == "markdown"
        assert first["source"].endswith(".")
        own = [line.strip() for text in code(notebook) for line in text.splitlines() if len(line.strip()) > 25]
        assert sum(line in lines for line in own) < len(own) / 2, name
        for text in code(notebook):
            compile(text, name, "exec")


@pytest.mark.parametrize(("lab_id", "mutant"), MUTANTS, ids=lambda value: getattr(value, "name", value))
def test_each_mutant_changes_what_it_names_and_is_python(lab_id, mutant):
    """A mutant is wrong in what it does; one that does not apply, or does not parse, would prove nothing."""
    reference = read_reference(reference_file(lab_id))
    changed = code(mutate(reference, mutant, mutant.name))
    assert changed != code(reference)
    for text in changed:
        compile(text, mutant.name, "exec")
    assert 0 <= mutant.low <= mutant.high
    assert mutant.high < 100 or mutant.flags or mutant.baseline is True
    assert mutant.description.endswith(".")
