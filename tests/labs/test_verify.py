"""Every lab proves itself: full marks for the reference, the stated floor for the starter, each mutant in its band."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from grader.authoring.lint import lint
from grader.labs import load_lab
from grader.records import Tier
from grader.settings import load_settings
from grader.verification import Matrix, MatrixRow, verify

LABS = Path(__file__).resolve().parents[2] / "labs"
#: Read when the module is: the tests' own environment names no data folder.
FULL = os.environ.get("GRADER_DATA", "")
#: One secret, so that a run is repeated and not drawn anew; how scores vary over secrets is the calibrations' business.
SECRET = "the secret of these tests"
LAB_IDS = sorted(path.parent.name for path in LABS.glob("*/lab.toml"))


def told(matrix: Matrix) -> str:
    """The rows that are out of their band, with what each check gave."""
    lines = [
        f"{row.name}: {row.score:g} is not in {row.low:g}..{row.high:g}; missing flags {row.missing_flags}; {row.problem}; "
        + ", ".join(f"{check} {points:g}" for check, points in zip(matrix.checks, row.cells, strict=True))
        for row in matrix.rows
        if not row.ok
    ]
    return f"{matrix.lab} ({matrix.tier.value}):\n" + "\n".join(lines)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("lab_id", LAB_IDS)
def test_the_suite_tells_right_from_wrong_on_the_data_that_ships(lab_id: str) -> None:
    """On the lite data every notebook of the matrix lands where it must, and `grader lint --verify` finds nothing wrong.

    What it prints is ``lint`` of the same matrix, so nothing is run for it again.
    """
    matrix = verify(load_lab(LABS / lab_id), load_settings(None, os.environ, {"secret": SECRET}), tier=Tier.LITE)
    assert matrix.ok, told(matrix)
    assert [str(finding) for finding in lint(LABS / lab_id, matrix) if finding.level == "error"] == []


@pytest.fixture(scope="module")
def on_full_data() -> Iterator[dict[str, Future[Matrix]]]:
    """Reference, starter and alternatives of all labs, two labs at a time: one lab's long training leaves a core idle."""
    settings = load_settings(None, os.environ, {"data": FULL, "secret": SECRET})

    def right(lab_id: str) -> Matrix:
        return verify(load_lab(LABS / lab_id), settings, jobs=1, tier=Tier.FULL, mutants=False)

    with ThreadPoolExecutor(2) as pool:
        yield {lab_id: pool.submit(right, lab_id) for lab_id in LAB_IDS}


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="GRADER_DATA names no folder with the full data sets")
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("lab_id", LAB_IDS)
def test_the_reference_earns_everything_on_the_full_data(lab_id: str, on_full_data: dict[str, Future[Matrix]]) -> None:
    """The thresholds of the full tier are met by the reference, and the starter earns no more than on the lite data."""
    matrix = on_full_data[lab_id].result()
    assert matrix.ok, told(matrix)


@pytest.mark.parametrize(("score", "holds"), [(70, True), (90, True), (80, False), (75, False), (100, False)])
def test_points_that_this_machine_cannot_decide_count_all_or_not_at_all(score: float, holds: bool) -> None:
    """A band of 90 for a machine with a GPU: 70 of 80 without one is right, full marks of either kind are not."""
    row = MatrixRow(name="mutant", score=score, low=90, high=90, cells=(), unassessed=20)
    assert row.ok == holds
