"""What the grader itself costs when a class is large: a batch in which nothing is run, at 100, 1,000 and 10,000.

    python benchmarks/simulate.py [--sizes 100 1000 10000] [--jobs 2] [--keep FOLDER]

Everything is real but the runs: intake of notebooks on disk, gradebook, `grader.batch.grade` with its worker processes,
cards, the store, the comparison of kept models, the overview, the exports, and the commands of the gradebook. A worker
starts no kernel: it gives what one real run of the iris reference gave, with another name, other weights and other
scores. Each size has a process of its own, so that its peak of memory is its own.

Prints one table, a row for each figure and a column for each size. *Flat* compares the largest size with the one before
it, for each submission: 1.0 means that a submission costs the same, less that something is shared by all, more that the
cost grows faster than the class.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the checkout's, wherever this is called from

from grader import store, wire
from grader.batch import Event, Plan, grade
from grader.cli.book import enrolled, recorded
from grader.cli.journal import Journal
from grader.cli.progress import Board
from grader.grading import Graded, Setting
from grader.labs import load_lab
from grader.records import CheckResult, Ending, Outcome
from grader.settings import load_settings
from grader.submissions import Submission, collect
from grader.worker import GradingWorker

ROOT = Path(__file__).resolve().parent.parent
LAB = "iris"
#: How runs of a class end, roughly as the sample class does.
ENDINGS = [Ending.OK] * 90 + [Ending.CELL_ERROR] * 7 + [Ending.TIMEOUT] * 3
#: What a teaching assistant asks of the class afterwards; each starts an interpreter of its own.
COMMANDS = (
    ("grader", "gradebook", "show"),
    ("grader", "gradebook", "show", "s00007"),
    ("grader", "gradebook", "export", "--out", "grades.csv"),
    ("grader", "export", "csv", "--out", "long.csv"),
    ("grader", "export", "junit", "--out", "junit.xml"),
)


class StandIn(GradingWorker):
    """A worker that runs nothing: each submission gets the template's run under its own name."""

    @dataclass(frozen=True)
    class Factory(GradingWorker.Factory):
        """Picklable; ``template`` is the folder of a real run."""

        template: str = ""

        def __call__(self, slot: int) -> StandIn:
            return StandIn(self, slot)

    def __init__(self, factory: Factory, slot: int) -> None:
        super().__init__(factory, slot)
        saved = store.load(Path(factory.template))
        self.verdict, self.exhibits, self.tape = saved.verdict, saved.exhibits, saved.tape()
        files = {name: saved.read_file(name) for name in saved.facts.files}
        executed = (saved.folder / "staff" / "executed.ipynb").read_bytes()
        self.facts = msgspec.structs.replace(saved.facts, files=files, executed=executed)

    def graded(self, setting: Setting, submission: Submission, tell: Callable[[str], None]) -> Graded:
        tell("running")
        chance = Random(submission.sha256)  # the same class each time
        checks = tuple(_chanced(check, chance) for check in self.verdict.checks)
        tell("judging")
        verdict = msgspec.structs.replace(
            self.verdict,
            lab=setting.lab.id,
            student=submission.student,
            submission=submission.sha256,
            attempt=submission.attempt,
            ending=chance.choice(ENDINGS),
            checks=checks,
            score=sum(check.score for check in checks),
        )
        files = {name: _other_weights(data, chance) for name, data in self.facts.files.items()}
        return Graded(verdict, self.exhibits, msgspec.structs.replace(self.facts, files=files), self.tape)


def _chanced(check: CheckResult, chance: Random) -> CheckResult:
    if chance.random() < 0.7:
        return check
    hint = chance.choice(["Train for more epochs.", "Scale the inputs.", "Look at the shape of your output."])
    return msgspec.structs.replace(check, outcome=Outcome.FAILED, score=check.points * chance.random(), hint=hint)


def _other_weights(kept: bytes, chance: Random) -> bytes:
    """A kept model with weights that nobody else has; other files as they are."""
    try:
        described, weights = wire.from_value(msgspec.msgpack.decode(kept, type=wire.Seq))
    except (msgspec.DecodeError, wire.WireError, ValueError):
        return kept
    noise = np.random.default_rng(chance.getrandbits(32))
    drawn = [noise.normal(size=array.shape).astype(array.dtype) for array in weights]
    return msgspec.msgpack.encode(wire.Seq([wire.Lit(described), wire.to_value(drawn)]))


# ---------------------------------------------------------------- one size


@dataclass
class Sheet:
    """The figures of one size, by name."""

    size: int
    figures: dict[str, float]

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Seconds of the clock for the whole class."""
        begun = time.monotonic()
        yield
        self.figures[name] = time.monotonic() - begun

    def each(self, name: str, total: float, scale: float = 1000.0) -> None:
        """A figure for each submission, in milliseconds where the total is in seconds."""
        self.figures[name] = scale * total / self.size


def measure(size: int, jobs: int, template: Path, folder: Path) -> dict[str, float]:
    """Grade a class of that size in ``folder``, and time what is done with it."""
    class_folder(size, template, folder / "submissions")
    os.chdir(folder)  # nothing else is in this process: the commands take course.toml and cards from here
    shutil.copytree(ROOT / "labs" / LAB, folder / "labs" / LAB)
    sheet = Sheet(size, {})
    settings = load_settings(None, {}, {})
    out = Path("report_cards")
    with sheet.timed("intake, s"):
        intake = collect([Path("submissions")], [LAB])
    assert len(intake.submissions) == size
    with sheet.timed("gradebook: enrol, s"):
        submissions = enrolled(out / "gradebook.db", intake.submissions)
    marks: list[tuple[str, float, float]] = []

    board = Board()
    journal = Journal(out / "grade.log", out / "events.jsonl")

    def on_event(event: Event) -> None:
        journal.take(event, board.take(event), board.pace, board.remaining())
        if event.kind in ("closing", "started") and (event.kind == "closing" or not marks):
            marks.append((event.text, time.monotonic(), time.process_time()))

    plan = Plan(
        submissions=submissions, labs={LAB: load_lab(Path("labs") / LAB)}, settings=settings, out=out, jobs=jobs
    )

    def note_scores() -> None:
        with sheet.timed("gradebook: record, s"):
            recorded(settings, out)

    workers = functools.partial(StandIn.Factory, template=str(template))
    summary = grade(plan, on_event, workers, note_scores)
    marks.append(("", time.monotonic(), time.process_time()))
    journal.close()
    assert len(summary.rows) == size
    assert not summary.attention
    (_, begun, cpu), (_, ran, ran_cpu), (_, compared, _), (_, ended, _) = marks
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    sheet.each("driver CPU while runs come in, ms each", ran_cpu - cpu)
    sheet.each("workers' CPU (cards, store), ms each", children.ru_utime + children.ru_stime)
    sheet.each("wall while runs come in, ms each", ran - begun)
    sheet.figures["likeness over the class, s"] = compared - ran - sheet.figures["gradebook: record, s"]
    sheet.figures["overview and students' pages, s"] = ended - compared
    sheet.figures["driver peak RSS, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    files = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
    sheet.each("store, kB each", sum(files), scale=1 / 1000)
    sheet.each("store, files each", len(files), scale=1)
    sheet.figures["overview, kB"] = sum(path.stat().st_size for path in overview(out)) / 1000
    for words in COMMANDS:
        with sheet.timed(f"{' '.join(words).partition(' --')[0]}, s"):
            subprocess.run([sys.executable, "-m", *words], check=True, stdout=subprocess.DEVNULL)
    return sheet.figures


def overview(out: Path) -> list[Path]:
    """The pages of the overview."""
    return [out / "index.html", *out.glob("lab-*.html")]


def class_folder(size: int, template: Path, folder: Path) -> None:
    """A notebook for each student: the template's cells and a line of its own."""
    cells = [
        {"cell_type": cell.kind, "source": cell.source, "metadata": {}}
        for cell in store.load(template).submission.cells
    ]
    for number in range(size):
        student = f"s{number:05d}"
        own = {"cell_type": "markdown", "source": f"by {student}", "metadata": {}}
        notebook = {"cells": [own, *cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        place = folder / student
        place.mkdir(parents=True)
        (place / f"{LAB}.ipynb").write_text(json.dumps(notebook), "utf-8")


def real_run(folder: Path) -> Path:
    """Grade the reference once, as a class of one; the folder of its run."""
    place = folder / "submissions" / "reference"
    place.mkdir(parents=True)
    shutil.copy(ROOT / "reference_solutions" / f"{LAB}.ipynb", place)
    settings = load_settings(None, {}, {"labs": ROOT / "labs"})
    submissions = collect([folder / "submissions"], [LAB]).submissions
    plan = Plan(
        submissions=submissions,
        labs={LAB: load_lab(ROOT / "labs" / LAB)},
        settings=settings,
        out=folder / "cards",
        jobs=1,
    )
    summary = grade(plan)
    assert summary.rows[0].score == summary.rows[0].max_score
    return store.result_path(folder / "cards", submissions[0]).parent.parent


# ---------------------------------------------------------------- the table


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="leave the graded classes here")
    parser.add_argument("--template", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.template:  # in a process of its own
        print(json.dumps(measure(options.sizes[0], options.jobs, options.template, options.keep)))
        return 0
    with tempfile.TemporaryDirectory(prefix="simulate-") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        template = real_run(folder.resolve() / "template")
        columns = {size: one(size, options.jobs, template, folder.resolve() / str(size)) for size in options.sizes}
    show(columns)
    return 0


def one(size: int, jobs: int, template: Path, folder: Path) -> dict[str, float]:
    folder.mkdir()
    command = [sys.executable, __file__, "--sizes", str(size), "--jobs", str(jobs)]
    done = subprocess.run(
        [*command, "--template", str(template), "--keep", str(folder)], check=True, stdout=subprocess.PIPE
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(columns: dict[int, dict[str, float]]) -> None:
    print(f"load while it ran: {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores\n")
    compared = len(columns) > 1
    print(f"{'':<46}" + "".join(f"{size:>10,}" for size in columns) + (f"{'flat':>8}" if compared else ""))
    for name in next(iter(columns.values())):
        line = f"{name:<46}" + "".join(f"{figures[name]:>10.2f}" for figures in columns.values())
        print(f"{line}{flat(name, columns):>8.2f}" if compared else line)


def flat(name: str, columns: dict[int, dict[str, float]]) -> float:
    """What a submission costs in the largest class, in terms of what it costs in the next smaller one."""
    smaller, largest = sorted(columns)[-2:]
    ratio = columns[largest][name] / (columns[smaller][name] or float("nan"))
    return ratio if name.endswith(" each") else ratio * smaller / largest


if __name__ == "__main__":
    # Workers are spawned without this program's main module, so what they are to unpickle needs an importable name.
    from benchmarks import simulate

    sys.exit(simulate.main())
