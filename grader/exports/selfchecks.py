"""What ``grader check --json`` printed, in the formats that kept runs have: CI on a student's side has nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from grader.gradebook import Grade, Policy, grades, opened, record
from grader.records import Verdict

TITLE = "Public checks: a hint, not a grade"


class SelfChecked(msgspec.Struct, frozen=True):
    """One self-check: its notebook as it was named, and the verdict of the public suite."""

    notebook: str
    verdict: Verdict


def self_checked(said: bytes) -> SelfChecked:
    """Raises msgspec.DecodeError for anything else."""
    return msgspec.json.decode(said, type=SelfChecked)


def hints(verdicts: Sequence[Verdict]) -> tuple[Grade, ...]:
    """Their points as grades, without due dates and gradebook: a self-check is part of neither."""
    with opened(None) as database:
        record(database, verdicts)
        return grades(database, Policy(), {})
