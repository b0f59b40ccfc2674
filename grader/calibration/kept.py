"""What is kept of calibration runs: ``labs/<id>/calibration/<tier>.json``, one line for each run.

Runs are only added, so a calibration can be done in portions and interrupted. A run counts as long as its notebook is
still the one in the lab; the suite's digest tells which suite judged it. There are no labels and no answers in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from grader.errors import LabError, plain
from grader.records import Measured, Record, Tier
from grader.store import write_whole

SCHEMA = 1


class Figure(Record, frozen=True, array_like=True):
    """A `Measured` as a short list."""

    threshold: str
    kind: Literal["share", "error", "number"]
    value: float
    best: float
    rows: int = 0

    def measured(self) -> Measured:
        return Measured(threshold=self.threshold, kind=self.kind, value=self.value, best=self.best, rows=self.rows)


class Run(Record, frozen=True, omit_defaults=True):
    """One training and its verdict.

    ``number`` is its random seed and the name of its course: secret, withheld rows, draw. ``lost`` has the share of the
    points of each check that did not earn all of them, ``measured`` the statistics of each check that has thresholds,
    ``ending`` how the notebook ended where that is not well.
    """

    style: str
    number: int
    notebook: str
    suite: str
    seconds: float
    measured: dict[str, tuple[Figure, ...]] = {}
    lost: dict[str, float] = {}
    skipped: tuple[str, ...] = ()
    ending: str = ""


class _Kept(Record, frozen=True):
    schema: int
    lab: str
    tier: Tier
    runs: tuple[Run, ...]


def kept_path(folder: Path, tier: Tier) -> Path:
    """Where the runs of that tier are kept, in the lab's folder."""
    return folder / "calibration" / f"{tier.value}.json"


def read_runs(path: Path, lab: str = "") -> list[Run]:
    """The runs that are kept there; none where there is no file. Raises LabError, also where they are of another ``lab``."""
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        fix = "restore the file, or start anew with --fresh"
        raise LabError(f"the kept runs cannot be read: {error}", where=str(path), fix=fix) from None
    if kept.schema != SCHEMA:
        fix = "start anew with --fresh"
        raise LabError(f"the kept runs have the unknown schema {kept.schema}", where=str(path), fix=fix)
    if lab and kept.lab != lab:
        fix = "remove the file: it was copied from there"
        raise LabError(f"the kept runs are of the lab '{plain(kept.lab, 60)}'", where=str(path), fix=fix)
    return list(kept.runs)


def write_runs(path: Path, lab: str, tier: Tier, runs: Sequence[Run]) -> None:
    """All runs, a line each, in place of what was there."""
    lines = ",\n".join(msgspec.json.encode(run).decode() for run in runs)
    head = f'{{"schema": {SCHEMA}, "lab": "{lab}", "tier": "{tier.value}", "runs": [\n'
    path.parent.mkdir(exist_ok=True)
    write_whole(path, f"{head}{lines}\n]}}\n".encode())
