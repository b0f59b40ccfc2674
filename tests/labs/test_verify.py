"""Every lab proves itself: full marks for the reference, the stated floor for the starter, each mutant in its band."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from grader import store
from grader.authoring.lint import lint
from grader.batch import Plan, grade
from grader.labs import Lab, find_labs, load_lab
from grader.labs.starter import read_reference, reference_path, starter
from grader.records import Ending, Tier, Verdict
from grader.settings import load_settings
from grader.verification import Matrix, MatrixRow, as_submission, verify

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
def on_full_data(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Verdict]:
    """Reference and starter of all labs as one class: one lab's long training leaves no core idle.

    What correct solutions of another style score on the full data is the calibrations' business, ten runs of each and more.
    """
    out, labs, submissions = tmp_path_factory.mktemp("full"), find_labs(LABS), []
    for lab in labs.values():
        reference = read_reference(reference_path(LABS, lab.id))
        submissions += [as_submission(lab, "reference", reference), as_submission(lab, "starter", starter(reference))]
    settings = load_settings(None, os.environ, {"data": FULL, "secret": SECRET})
    grade(Plan(submissions=submissions, labs=labs, settings=settings, out=out, tier=Tier.FULL, fresh=True))
    return {
        (one.lab, one.student): msgspec.json.decode(store.result_path(out, one).read_bytes(), type=Verdict)
        for one in submissions
    }


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="GRADER_DATA names no folder with the full data sets")
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("lab", find_labs(LABS).values(), ids=lambda lab: lab.id)
def test_the_reference_earns_everything_on_the_full_data(
    lab: Lab, on_full_data: dict[tuple[str, str], Verdict]
) -> None:
    """The thresholds of the full tier are met by the reference, and the starter earns no more than on the lite data."""
    reference, untouched = on_full_data[lab.id, "reference"], on_full_data[lab.id, "starter"]
    lost = [(check.id, check.found) for check in reference.checks if check.score < check.points]
    assert (reference.ending, reference.score, reference.flags) == (Ending.OK, reference.max_score, ()), lost
    assert reference.max_score == lab.points or lab.gpu != "no"
    assert (untouched.score, untouched.flags) == (lab.starter_score, ())
    assert reference.needs_attention == untouched.needs_attention == ()


@pytest.mark.parametrize(("score", "holds"), [(70, True), (90, True), (80, False), (75, False), (100, False)])
def test_points_that_this_machine_cannot_decide_count_all_or_not_at_all(score: float, holds: bool) -> None:
    """A band of 90 for a machine with a GPU: 70 of 80 without one is right, full marks of either kind are not."""
    row = MatrixRow(name="mutant", score=score, low=90, high=90, cells=(), unassessed=20)
    assert row.ok == holds
