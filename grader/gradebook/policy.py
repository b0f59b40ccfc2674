"""How late something is and what that costs: pure functions of facts, asked anew each time.

A day is 24 hours from the due moment, and a started one counts whole. Lateness is only ever charged for a time that
somebody vouches for: the platform's record or the staff's word. The moment the grader first saw a file proves that
it was there by then, so it can show that something was on time; it cannot show that it was late, because the
download may have waited on somebody's disk for a week. A course whose grader runs at every push may let it count.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import Literal

from grader.records import Received, Record
from grader.settings import Settings

DAY = dt.timedelta(days=1)


class Policy(Record, frozen=True):
    """What the course decided. ``percent_per_day`` is of the points earned."""

    count: Literal["best", "last"] = "best"
    percent_per_day: float = 0.0
    max_percent: float = 100.0
    grace_minutes: float = 0.0
    count_first_seen: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        return cls(
            count=settings.attempts,
            percent_per_day=settings.late_percent,
            max_percent=settings.late_max,
            grace_minutes=settings.late_grace,
            count_first_seen=settings.late_first_seen,
        )


class Lateness(Record, frozen=True):
    """``percent`` of the points earned are lost. ``unknown``: it may be late, and nobody vouches for the time."""

    state: Literal["no due date", "on time", "late", "unknown"]
    days: int = 0
    percent: float = 0.0


def lateness(received: Received, due: dt.datetime | None, policy: Policy) -> Lateness:
    """How late that is, for a due moment that already has the student's extension in it."""
    if due is None:
        return Lateness(state="no due date")
    delay = moment(received.at) - due
    if delay <= dt.timedelta(minutes=policy.grace_minutes):
        return Lateness(state="on time")
    if received.known == "first seen" and not policy.count_first_seen:
        return Lateness(state="unknown")
    days = math.ceil(delay / DAY)
    return Lateness(state="late", days=days, percent=min(policy.max_percent, days * policy.percent_per_day))


def after_lateness(score: float, late: Lateness) -> float:
    """The points that are left."""
    return round(score * (1 - late.percent / 100), 6)


def moment(written: str) -> dt.datetime:
    """An ISO time; without an offset the clock of this machine counts."""
    found = dt.datetime.fromisoformat(written)
    return found if found.tzinfo else found.astimezone()


def stored(when: dt.datetime) -> str:
    """A moment as it is kept: UTC, to the second, so that text sorts as time does."""
    return when.astimezone(dt.UTC).isoformat(timespec="seconds")


def now() -> str:
    return stored(dt.datetime.now(dt.UTC))
