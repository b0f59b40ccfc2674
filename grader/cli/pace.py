"""How fast a batch goes and when it will be over, learned from the runs that have finished. Pure: it is told the time.

The time left is reckoned from the labs of the runs that are left: each takes what the finished ones of its lab took on
the average (all labs' average where none has finished yet), less what it has already run. That work is done by as
many workers as were seen busy at once; but the batch is never over before its longest run.

What was never run (a file that is no notebook) counts as done and says nothing about the pace.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field

#: Runs that are named as the slowest.
SLOWEST = 3

Place = tuple[str, str]
"""A run: its lab and its student."""


@dataclass
class Lab:
    """What is known of one lab: how many runs wait, and how many were measured with how many seconds in all."""

    waiting: int = 0
    ran: int = 0
    seconds: float = 0.0


@dataclass
class Pace:
    """Starts and finishes in, seconds left and runs per minute out."""

    labs: dict[str, Lab] = field(default_factory=dict)
    running: dict[Place, float] = field(default_factory=dict)
    endings: Counter[str] = field(default_factory=Counter)
    attention: int = 0
    workers: int = 0
    ran: int = 0
    began: float | None = None
    ended: float = 0.0
    slowest: list[tuple[float, Place]] = field(default_factory=list)

    def plan(self, lab: str, runs: int) -> None:
        """So many runs of the lab come next. What was learned of it before was of other work: judging is no running."""
        self.labs[lab] = Lab(waiting=runs)
        self.running = {place: since for place, since in self.running.items() if place[0] != lab}

    def start(self, place: Place, now: float) -> None:
        """A run was heard of; again is no new start."""
        self.began = now if self.began is None else self.began
        if place not in self.running:
            self.running[place] = now
            self._lab(place[0]).waiting -= 1
        self.workers = max(self.workers, len(self.running))

    def finish(self, place: Place, now: float, ending: str, *, attention: bool = False) -> None:
        self.ended = now
        self.endings[ending] += 1
        self.attention += attention
        lab = self._lab(place[0])
        since = self.running.pop(place, None)
        if since is None:
            lab.waiting -= 1
            return
        self.ran += 1
        lab.ran += 1
        lab.seconds += now - since
        heapq.heappush(self.slowest, (now - since, place))
        if len(self.slowest) > SLOWEST:
            heapq.heappop(self.slowest)

    def left(self, now: float, runs: int) -> float | None:
        """Seconds until so many more runs are done; None where that cannot be known yet, or nothing is left."""
        ran = sum(lab.ran for lab in self.labs.values())
        waiting = {name: max(0, lab.waiting) for name, lab in self.labs.items()}
        unplanned = max(0, runs - len(self.running) - sum(waiting.values()))
        # What no plan names yet is other work than what is going on; where nothing is planned, it is the same.
        if not ran or runs <= 0 or (unplanned and any(waiting.values())):
            return None
        mean = sum(lab.seconds for lab in self.labs.values()) / ran
        means = {name: lab.seconds / lab.ran if lab.ran else mean for name, lab in self.labs.items()}
        busy = [max(0.0, means[lab] - (now - since)) for (lab, _), since in self.running.items()]
        work = sum(means[name] * count for name, count in waiting.items()) + mean * unplanned
        longest = max([*busy, *(means[name] for name, count in waiting.items() if count)], default=0.0)
        return max((work + sum(busy)) / self.workers, longest)

    def per_minute(self) -> float:
        """Runs per minute so far; 0.0 before the first has ended."""
        return 60 * self.ran / self.seconds() if self.ran and self.seconds() else 0.0

    def seconds(self) -> float:
        """From the first start to the last end."""
        return max(0.0, self.ended - self.began) if self.began is not None else 0.0

    def most_time(self) -> list[tuple[float, Place]]:
        """The slowest runs, slowest first."""
        return sorted(self.slowest, reverse=True)

    def _lab(self, name: str) -> Lab:
        return self.labs.setdefault(name, Lab())
