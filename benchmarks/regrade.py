"""What judging again from the tape costs: 50 ms of processor time for each submission, 1,000 of them in 30 s on two cores.

    python benchmarks/regrade.py [--count 100] [--labs iris mnist] [--kept FOLDER] [--data FOLDER] [--jobs 1] [--only CHANGE]

Grades the sample class of these labs once (kept in FOLDER, so that a second call starts there), gives every run to
``count`` students of other names, and judges all of them again: with nothing changed, after a threshold moved, and
after the points of checks moved, which changes every card. Prints what one submission took of the processor (worker
processes included) and the wall time of all, pages of the class included. The curves of all students differ a little, so
that no drawing is found in a cache. Compare only within one sitting.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from grader import store
from grader.batch import Plan, grade
from grader.labs import load_lab
from grader.pages import write_pages
from grader.records import Exhibits, encode
from grader.regrading import regrade
from grader.settings import Settings, load_settings
from grader.submissions import collect

HERE = Path(__file__).resolve().parent.parent
#: Notebooks that take longer to run than all the others, and say no more about judging again.
LEFT_OUT = ("student-04-never-finishes",)
CHANGES = ("nothing", "a threshold", "points")
THRESHOLD = re.compile(r"^full = ([0-9.]+)$", re.MULTILINE)
POINTS = re.compile(r"\bpoints=([0-9.]+),")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="submissions of each lab")
    parser.add_argument("--labs", nargs="+", default=["iris", "mnist"])
    parser.add_argument("--kept", type=Path, help="where the graded sample class is, or will be")
    parser.add_argument("--jobs", type=int, default=1, help="worker processes")
    parser.add_argument("--only", choices=CHANGES, help="only after this change")
    parser.add_argument("--data", type=Path, help="folder of the full data sets; without it the lite tier")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        settings = msgspec.structs.replace(
            load_settings(None, {}, {"secret": "benchmark"}), data=options.data, labs=folder / "labs"
        )
        shutil.copytree(HERE / "labs", settings.labs)
        kept = options.kept or folder / "kept"
        print(f"{'lab':<10}{'what changed':<16}{'runs':>6}{'changed':>9}{'cards':>7}{'CPU ms each':>13}{'wall s':>8}")
        for lab in options.labs:
            if not any(store.runs(kept, lab)):
                graded(kept, lab, settings)
            measure(kept, lab, settings, folder / "out" / lab, options)


def graded(kept: Path, lab: str, settings: Settings) -> None:
    """Grade the sample class of one lab."""
    students = [folder for folder in sorted((HERE / "submissions").iterdir()) if folder.name not in LEFT_OUT]
    found = [one for one in collect(students, {lab}, None).submissions if one.lab == lab]
    plan = Plan(
        submissions=tuple(found), labs={lab: load_lab(HERE / "labs" / lab)}, settings=settings, out=kept, jobs=1
    )
    grade(plan)


def measure(kept: Path, lab: str, settings: Settings, out: Path, options: argparse.Namespace) -> None:
    """Three regrades of the same class, one after the other."""
    originals, count = list(store.runs(kept, lab)), options.count
    for number in range(count):
        clone(originals[number % len(originals)], out / lab, number)
    write_pages(out, settings)
    spec = settings.labs / lab / "lab.toml"
    suites = sorted((settings.labs / lab / "hidden_tests").glob("test_*.py"))
    steps: tuple[Callable[[], None], ...] = (
        lambda: None,
        lambda: swap(spec, THRESHOLD, lambda found: f"full = {float(found[1]) - 0.005:.4f}"),
        lambda: more_points(spec, suites),
    )
    for name, change in zip(CHANGES, steps, strict=True):
        if options.only not in (None, name):
            continue
        change()
        before = stamps(out)
        begun, spent = time.perf_counter(), processor()
        done = regrade(out, {lab: load_lab(settings.labs / lab)}, settings, lab, jobs=options.jobs, rerun=False)
        wall, cpu = time.perf_counter() - begun, processor() - spent
        assert not done.problems, done.problems[0]
        assert not any(one.rerun for one in done.changes), "a tape could not answer: grade the sample class anew"
        written = sum(stamp != before.get(path) for path, stamp in stamps(out).items())
        print(
            f"{lab:<10}{name:<16}{count:>6}{len(done.changes):>9}{written:>7}{1000 * cpu / count:>13.1f}{wall:>8.1f}",
            flush=True,
        )


def clone(run: Path, folder: Path, number: int) -> None:
    """The run as another student's. What a regrade does not write is shared with the original."""
    name = f"{run.name}-{number:05d}"
    new = folder / name
    shutil.copytree(run, new, copy_function=os.link)
    saved = store.load(run)
    verdict = msgspec.structs.replace(saved.verdict, student=name)
    submission = msgspec.structs.replace(saved.submission, student=name, slug=name)
    for path, content in (
        ("result", verdict),
        ("submission", submission),
        ("exhibits", differing(saved.exhibits, number)),
    ):
        store.write_whole(new / "staff" / f"{path}.json", encode(content))
    rests_on = store.provenance(run)
    assert rests_on is not None
    sizes = {name: (new / name).stat().st_size for name in rests_on.sizes}
    store.write_whole(new / "staff" / "provenance.json", encode(msgspec.structs.replace(rests_on, sizes=sizes)))


def differing(exhibits: Exhibits, number: int) -> Exhibits:
    """The same pictures with curves that nobody else has."""
    factor = 1 + number * 1e-7
    curves = tuple(
        msgspec.structs.replace(curve, values=tuple(value and value * factor for value in curve.values))
        for curve in exhibits.curves
    )
    return msgspec.structs.replace(exhibits, curves=curves)


def swap(path: Path, pattern: re.Pattern[str], by: Callable[[re.Match[str]], str]) -> None:
    text = path.read_text("utf-8")
    assert pattern.search(text), f"{path.name} has nothing to change"
    path.write_text(pattern.sub(by, text), "utf-8")


def more_points(spec: Path, suites: list[Path]) -> None:
    """Twice the points for every check."""
    for suite in suites:
        swap(suite, POINTS, lambda found: f"points={2 * float(found[1]):g},")
    swap(spec, re.compile(r"^points = ([0-9.]+)$", re.MULTILINE), lambda found: f"points = {2 * float(found[1]):g}")


def stamps(out: Path) -> dict[Path, int]:
    """When each card was written."""
    return {path: path.stat().st_mtime_ns for path in (*out.glob("*/*/card.html"), *out.glob("*/*/staff/card.html"))}


def processor() -> float:
    """Seconds of the processor that this process and the children it has waited for have used."""
    mine, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


if __name__ == "__main__":
    sys.exit(main())
