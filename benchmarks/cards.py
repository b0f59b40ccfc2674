"""How long a card takes and how large it is, against what a class can bear: 50 ms and 400 KB without its pictures.

    python benchmarks/cards.py [--runs 20] [OUT]

Renders the sample verdicts of tests/browser, or every run that is kept below OUT (a folder of ``grader grade``), in both
editions and languages. Prints for each the median processor time of one card and its size with and without pictures,
and then those of the pages that tell of many runs. Ends with 1 if a median or a size of a card is above its limit.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grader import store
from grader.cards import executed_cells
from grader.records import Exhibits, Verdict
from grader.reports import StudentRun, charts, phrases, render_card, render_index, render_student
from tests.browser import samples

LIMIT_MS, LIMIT_KB = 50.0, 400.0
LABS = Path(__file__).resolve().parent.parent / "labs"
PICTURE = re.compile(r'src="data:[^"]*"')
Sample = tuple[str, Verdict, Exhibits, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path, help="a folder of graded runs instead of the samples")
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    found = list(kept(options.out) if options.out else made_up())
    name, verdict, exhibits, cells = found[0]
    first, _ = timed(lambda: card(verdict, exhibits, cells, "staff", "zh"), 1)
    print(f"first card of the process ({name}): {first:.0f} ms: templates, catalogues and pygal are read\n")
    print(f"{'card':<44}{'edition':<9}{'language':<10}{'ms':>6}{'kB':>8}{'kB without pictures':>21}")
    worst = [0.0, 0.0]
    for name, verdict, exhibits, cells in found:
        for edition in ("student", "staff"):
            for language in ("en", "zh"):
                one = (verdict, exhibits, cells, edition, language)
                milliseconds, html = timed(lambda one=one: card(*one), options.runs)
                bare = kilobytes(PICTURE.sub("", html))
                worst = [max(worst[0], milliseconds), max(worst[1], bare)]
                print(
                    f"{name[:43]:<44}{edition:<9}{language:<10}{milliseconds:>6.1f}{kilobytes(html):>8.1f}{bare:>21.1f}"
                )
    many(options.runs)
    within = worst[0] <= LIMIT_MS and worst[1] <= LIMIT_KB
    print(f"\nworst: {worst[0]:.1f} ms of {LIMIT_MS:.0f}, {worst[1]:.1f} kB of {LIMIT_KB:.0f}")
    return 0 if within else 1


def card(verdict: Verdict, exhibits: Exhibits, cells: Any, edition: Any, language: str) -> str:
    """One card from nothing: the drawings that two editions share are drawn again."""
    charts._panels.cache_clear()  # a worker draws each submission's curves once
    charts.calibration.cache_clear()
    return render_card(
        verdict,
        exhibits,
        edition=edition,
        course_name="Deep Learning",
        language=language,
        executed_cells=cells,
        phrases=phrases(language, LABS / verdict.lab),
    )


def many(runs: int) -> None:
    """The pages of many runs: a class of 180 in one lab, and a student with ten labs."""
    rows = samples.class_rows() * 10
    labs = [StudentRun(verdict=samples.partial(), card="mnist/s/card.html")] * 10
    pages: dict[str, Callable[[], str]] = {
        f"overview of {len(rows)} runs": lambda: render_index(rows, course_name="", language="zh"),
        "a student's ten labs": lambda: render_student("s", labs, course_name="", language="zh"),
    }
    print()
    for name, make in pages.items():
        make()
        milliseconds, html = timed(make, runs)
        print(f"{name:<63}{milliseconds:>6.1f}{kilobytes(html):>8.1f}")


def made_up() -> Iterator[Sample]:
    """The samples that the browser tests draw."""
    yield "everything right, all exhibits", samples.excellent(), samples.exhibits(), samples.cells()
    yield "partial, all exhibits", samples.partial(), samples.exhibits(60), samples.cells()
    yield "a cell failed", samples.crashed(), Exhibits(), samples.cells()
    yield "hostile", samples.hostile(), samples.hostile_exhibits(), samples.cells()


def kept(out: Path) -> Iterator[Sample]:
    """Real runs, as they are kept."""
    for folder in store.runs(out):
        saved = store.load(folder)
        cells = executed_cells((folder / "staff" / "executed.ipynb").read_bytes())
        yield f"{folder.parent.name}/{folder.name}", saved.verdict, saved.exhibits, cells


def timed(make: Callable[[], str], runs: int) -> tuple[float, str]:
    """(median milliseconds, what was made)."""
    spent, html = [], ""
    for _ in range(runs):
        begin = time.process_time()
        html = make()
        spent.append(1000 * (time.process_time() - begin))
    return statistics.median(spent), html


def kilobytes(html: str) -> float:
    return len(html.encode()) / 1000


if __name__ == "__main__":
    sys.exit(main())
