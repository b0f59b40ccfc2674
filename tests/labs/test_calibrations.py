"""The calibrations that are committed: enough runs, of the thresholds as they are now, and nobody wronged by them."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from grader.calibration.bounds import RISK
from grader.calibration.kept import kept_path, read_runs
from grader.calibration.report import Report, weigh
from grader.calibration.trials import styles
from grader.calibration.written import markdown
from grader.labs import find_labs
from grader.records import Tier

LABS = find_labs(Path(__file__).resolve().parents[2] / "labs")
#: A run of these takes seconds; of the others, minutes on the full data.
QUICK = {"custom_training", "iris", "tensors_gpu"}
#: Columns of the table of thresholds; "full" and "floor" are the seventh and the ninth.
PROPOSAL = 10
NUMBER = re.compile(r"\d+(?:\.\d+)?")
TIERS = [
    pytest.param(lab.id, tier, id=f"{lab.id}-{tier.value}")
    for lab in LABS.values()
    for tier in Tier
    if tier is Tier.FULL or lab.data != "none"
]


@functools.cache
def measured(name: str, tier: Tier) -> Report:
    lab = LABS[name]
    return weigh(lab, tier, read_runs(kept_path(lab.folder, tier), name), styles(lab))


@pytest.mark.parametrize(("lab", "tier"), TIERS)
def test_correct_solutions_of_three_styles_lose_no_point_in_a_thousand_runs(lab: str, tier: Tier) -> None:
    """By the distribution fitted to the style that is worst off, for each threshold; and in no run that was made."""
    report = measured(lab, tier)
    assert len(report.styles) >= 3
    assert report.runs >= (200 if lab in QUICK else 30)
    worst = {weighed.check: weighed.worst for weighed in report.weighed}
    assert {check: bound for check, bound in worst.items() if bound is None or bound.estimate > RISK} == {}
    assert [loss.check for loss in report.losses if loss.lost] == []


@pytest.mark.parametrize(("lab", "tier"), TIERS)
def test_the_tables_beside_the_spec_are_of_its_thresholds(lab: str, tier: Tier) -> None:
    """`grader calibrate LAB --runs 0` writes them anew where a threshold was changed since."""
    text = (LABS[lab].folder / "calibration.md").read_text("utf-8")
    block = text.partition(f"<!-- calibrate: {tier.value} -->")[2].partition(f"<!-- end: {tier.value} -->")[0]
    report = measured(lab, tier)
    told, now = tables(block), tables(markdown(report))
    assert [NUMBER.sub("#", line) for line in told] == [NUMBER.sub("#", line) for line in now]
    # Another processor adds up in another order, and the last digit that is shown may be another.
    assert numbers(told) == pytest.approx(numbers(now), rel=0.02, abs=2e-4)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told]
    marks = {(row[0], row[1]): (row[6], row[8]) for row in rows if len(row) == PROPOSAL}
    for weighed in report.weighed:
        present = f"{weighed.present.full:g}", f"{weighed.present.floor:g}"
        assert marks[weighed.check, weighed.threshold] == present


def tables(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def numbers(lines: list[str]) -> list[float]:
    return [float(number) for line in lines for number in NUMBER.findall(line)]
