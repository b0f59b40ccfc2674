"""Proves the labs and writes what came out into docs/labs: ``python tools/matrices.py [--full] [LAB]...``.

A page for each lab: every notebook that proves its suite, what it scored in each check, and how long it took; on the data
that ships, and where GRADER_DATA names the full data, the correct solutions on those too; ``--full``: these alone, the rest
of the page stays. Then the index with the totals, and with the time of the references as their calibrations took it.
``make matrices`` calls it.
Pages of labs that are not named stay as they are. Ends with 1 where a lab does not hold; its page is not written.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from grader.batch import Event
from grader.calibration.kept import kept_path, read_runs
from grader.calibration.trials import current, styles
from grader.labs import Lab, find_labs
from grader.labs.alternatives import read_alternatives
from grader.labs.starter import read_mutants
from grader.records import Tier
from grader.settings import load_settings
from grader.verification import Matrix, MatrixRow, verify

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "labs"
#: The secret of tests/labs/test_verify.py: the pages show the runs that the tests repeat.
SECRET = "the secret of these tests"  # noqa: S105 - of nothing
NAMED = {Tier.LITE: "The data that ships", Tier.FULL: "The full data"}
TOTALS = re.compile(r"<!-- totals: (.*) -->")


def main() -> int:
    labs = find_labs(ROOT / "labs")
    wrong = 0
    PAGES.mkdir(exist_ok=True)
    names = [name for name in sys.argv[1:] if name != "--full"]
    for name in names or labs:
        page, complaints = prove(labs[name], full_only="--full" in sys.argv)
        for complaint in complaints:
            print(f"{name}: {complaint}", file=sys.stderr)
        wrong += bool(complaints)
        if not complaints:
            (PAGES / f"{name}.md").write_text(page, encoding="utf-8")
            print(f"docs/labs/{name}.md")
    (PAGES / "index.md").write_text(index(labs), encoding="utf-8")
    return min(wrong, 1)


def prove(lab: Lab, *, full_only: bool) -> tuple[str, list[str]]:
    """A lab's page, and what does not hold. ``full_only``: of a lab that has data, the rest of its page as it stands."""
    tiers = [Tier.LITE] if lab.data != "none" else [Tier.FULL]
    if lab.data != "none" and os.environ.get("GRADER_DATA"):
        tiers.append(Tier.FULL)
    parts, complaints = [head(lab)], []
    if full_only and len(tiers) > 1:
        page = (PAGES / f"{lab.id}.md").read_text("utf-8")
        parts, tiers = [page.partition(f"\n## {NAMED[Tier.FULL]}")[0].rstrip("\n")], [Tier.FULL]
    for tier in tiers:
        seconds: dict[str, float] = {}

        def note(event: Event, seconds: dict[str, float] = seconds) -> None:
            if event.kind == "finished":
                seconds[event.student] = event.seconds

        settings = load_settings(None, os.environ, {"secret": SECRET})
        matrix = verify(
            lab, settings, jobs=1, tier=tier, mutants=lab.data == "none" or tier is Tier.LITE, on_event=note
        )
        complaints += [f"{row.name}: {row.why}" for row in matrix.rows if not row.ok]
        parts += section(lab, matrix, seconds)
    return "\n".join(parts) + "\n", complaints


def head(lab: Lab) -> str:
    told = {mutant.name: mutant.description for mutant in read_mutants(lab.folder)}
    told |= {name: first_words(notebook) for name, notebook in read_alternatives(lab.folder).items()}
    lines = [
        f"# {lab.title}",
        "",
        f"`labs/{lab.id}`: what `grader verify {lab.id}` proves. The reference, and correct solutions of another style, must",
        "score everything; the untouched starter its stated score; every mutant lands in its band. Where the thresholds come",
        f"from stands in `labs/{lab.id}/calibration.md`. `make matrices` writes this page.",
        "",
        "| notebook | what it is |",
        "| --- | --- |",
        *(f"| {name} | {plain(text)} |" for name, text in told.items()),
    ]
    return "\n".join(lines)


def first_words(notebook: dict[str, list[dict[str, str]]]) -> str:
    cell = notebook["cells"][0]
    return f"A correct solution: {cell['source'].splitlines()[0]}" if cell["cell_type"] == "markdown" else ""


def section(lab: Lab, matrix: Matrix, seconds: dict[str, float]) -> Iterator[str]:
    yield ""
    yield f"## {NAMED[matrix.tier] if lab.data != 'none' else 'Every notebook'}"
    yield ""
    flagged = sum(bool(row.flags) for row in matrix.rows)
    mutants = len(read_mutants(lab.folder)) if len(matrix.rows) > len(read_alternatives(lab.folder)) + 2 else 0
    reference = seconds.get("reference", 0.0)
    yield f"<!-- totals: {matrix.tier.value} {len(matrix.rows)} {mutants} {len(matrix.checks)} {flagged} {reference:.1f} -->"
    columns = ["notebook", "score", "band", *matrix.checks, "flags", "seconds"]
    yield f"| {' | '.join(columns)} |"
    yield "| --- |" + " ---: |" * (len(columns) - 3) + " --- | ---: |"
    yield f"| points | {lab.points:g} | | {' | '.join(f'{points:g}' for points in matrix.points)} | | |"
    for row in matrix.rows:
        cells = " | ".join(f"{cell:.4g}" for cell in row.cells)
        flags, took = ", ".join(row.flags), seconds.get(row.name, 0.0)
        yield f"| {row.name} | {row.score:.4g} | {band(row)} | {cells} | {flags} | {took:.1f} |"
    if matrix.unassessed:
        yield ""
        yield f"Not decided on the machine that wrote this, for want of a GPU: {', '.join(matrix.unassessed)}."


def band(row: MatrixRow) -> str:
    return f"{row.low:g}" if row.low == row.high else f"{row.low:g}–{row.high:g}"


def plain(text: str) -> str:
    return text.replace("|", "\\|")


def index(labs: dict[str, Lab]) -> str:
    """The table of all labs whose pages are there."""
    rows, notebooks, mutants, checks = [], 0, 0, 0
    for name, lab in labs.items():
        path = PAGES / f"{name}.md"
        found = [text.split() for text in TOTALS.findall(path.read_text("utf-8"))] if path.exists() else []
        if not found:
            continue
        first = found[0]
        times = " | ".join(reference_time(lab, tier) for tier in (Tier.LITE, Tier.FULL))
        rows.append(f"| [{name}]({name}.md) | {first[1]} | {first[2]} | {first[3]} | {first[4]} | {times} |")
        notebooks, mutants, checks = notebooks + int(first[1]), mutants + int(first[2]), checks + int(first[3])
    return "\n".join(
        [
            "# The labs that ship",
            "",
            "Every lab proves its suite by notebooks whose score is known: see a lab's page for its matrix.",
            "Times are medians of the runs of the reference that calibrated the lab (`labs/*/calibration/`): all of a run",
            "with judging, two runs at a time, on two cores that may have been busy.",
            "",
            "| lab | notebooks | of them mutants | checks | flagged | reference, lite data, s | full data, s |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            f"| **together** | {notebooks} | {mutants} | {checks} | | | |",
            "",
        ]
    )


def reference_time(lab: Lab, tier: Tier) -> str:
    """Seconds of the reference in its calibration; without a data set both tiers are one."""
    tiers = tuple(Tier) if lab.data == "none" else (tier,)
    now = [style for style in styles(lab) if style.name == "reference"]
    runs = [run for each in tiers for run in current(read_runs(kept_path(lab.folder, each), lab.id), now)]
    return f"{statistics.median(run.seconds for run in runs):.1f}" if runs else "–"


if __name__ == "__main__":
    sys.exit(main())
