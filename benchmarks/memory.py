"""Memory of the trusted side: what the grader and its workers hold for a small and a large class.

    python benchmarks/memory.py [--tasks 50 2000] [--kb 40] [--jobs 2]

A stand-in for the worker answers at once with the row that a real one sends (real ones write cards and evidence
themselves). Each class runs in a process of its own, whose submissions have so many kB of code. Prints, in MiB, what the
command line held before the batch, at most, and how much of that is the submissions; and the largest worker.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from grader.batch import Teller, ignore
from grader.grading import Setting, ungraded
from grader.labs import load_lab
from grader.pools import Done, LocalPool
from grader.records import Ending, Level
from grader.reports import ClassRow, class_row
from grader.submissions import Cell, Submission

#: Worker processes import what they run; they cannot import a script's ``__main__``.
AS_MODULE = "import sys; sys.path.insert(0, sys.argv[1]); import memory; memory.one(*map(int, sys.argv[2:]))"
LAB = load_lab(Path(__file__).resolve().parents[1] / "labs" / "iris")


class Factory:
    """Makes the stand-in in a worker process."""

    def __call__(self, slot: int) -> Worker:
        return Worker()


class Worker:
    """Answers with the row of a submission that was never run, and its own memory."""

    def __init__(self) -> None:
        self.setting = Setting(LAB, None, None, "", LAB.limits, Level.L0)

    def __call__(self, task: Submission, tell: Callable[[str], None]) -> tuple[ClassRow, float]:
        tell("running")
        return class_row(ungraded(self.setting, task, Ending.TIMEOUT, "").verdict, task.slug), peak()

    def close(self) -> None:
        return


def peak() -> float:
    """Most memory of this process so far, MiB; ``ru_maxrss`` would begin with that of whoever started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def submissions(count: int, kb: int) -> tuple[Submission, ...]:
    made = []
    for number in range(count):
        student = f"s{number:05}"
        source = (student + "x" * 1015 + "\n") * kb
        digest = hashlib.sha256(source.encode()).hexdigest()
        cells = (Cell(kind="code", source=source),)
        made.append(
            Submission(
                student=student, slug=student, lab="iris", source="", sha256=digest, size=len(source), cells=cells
            )
        )
    return tuple(made)


def one(count: int, kb: int, jobs: int) -> None:
    """One class in this process."""
    empty = peak()
    tasks = submissions(count, kb)
    before, rows, workers, teller = peak(), [], 0.0, Teller(ignore, count)
    for message in LocalPool(Factory(), jobs).run(tasks):
        if isinstance(message, Done):
            row, worker = message.result
            rows.append(row)
            workers = max(workers, worker)
            teller.finished(tasks[message.task], row)
    at_most = peak()
    print(f"{count:>8} {empty:>10.0f} {before - empty:>14.0f} {at_most - before:>18.1f} {workers:>16.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, nargs="+", default=[50, 2000])
    parser.add_argument("--kb", type=int, default=40, help="code of a submission")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    print(f"{'class':>8} {'imported':>10} {'submissions':>14} {'batch and rows':>18} {'largest worker':>16}")
    for count in given.tasks:
        command = [
            sys.executable,
            "-c",
            AS_MODULE,
            str(Path(__file__).parent),
            *map(str, (count, given.kb, given.jobs)),
        ]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
