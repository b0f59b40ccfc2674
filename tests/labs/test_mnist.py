"""What is peculiar to the mnist lab."""

from pathlib import Path

import nbformat

from grader.labs import load_lab
from grader.records import Tier

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "labs" / "mnist"
REFERENCE = ROOT / "reference_solutions" / "mnist.ipynb"


def code_cells():
    """The sources of the reference's code cells."""
    return [cell.source for cell in nbformat.read(REFERENCE, as_version=4).cells if cell.cell_type == "code"]


def test_the_starter_keeps_the_data_and_loses_every_contracted_name():
    """What remains outside the solutions loads the data and builds, trains and saves nothing."""
    left = "\n".join(source.split("### BEGIN SOLUTION")[0] for source in code_cells())
    assert "mnist.load_data()" in left
    assert all(word not in left for word in ("model", "history", "mnist.keras", "/ 255"))


def test_less_data_asks_for_less_accuracy():
    """The lite tier, with fewer training digits, asks for less than the full one."""
    lab = load_lab(FOLDER)
    for name, full in lab.thresholds[Tier.FULL].items():
        assert lab.threshold(Tier.LITE, name).full < full.full
