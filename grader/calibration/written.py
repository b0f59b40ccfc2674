"""Writing a calibration down: the table in calibration.md, and, only when asked, the thresholds in lab.toml.

Between ``<!-- calibrate: TIER -->`` and ``<!-- end: TIER -->`` stands what the grader writes; all else in calibration.md
is people's prose and stays as it is.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from grader.calibration.bounds import RISK
from grader.calibration.report import Loss, Report, Weighed, complaints, percent, warnings
from grader.errors import LabError, UsageError
from grader.store import write_whole

WIDTH = 120
#: Runs of each correct solution that lab.toml may be changed on.
ENOUGH = 60


def write_table(folder: Path, report: Report) -> Path:
    """Replace that tier's generated part of calibration.md, or add it at the end."""
    path = folder / "calibration.md"
    text = path.read_text("utf-8") if path.exists() else "# Calibration\n"
    begin, end = f"<!-- calibrate: {report.tier.value} -->", f"<!-- end: {report.tier.value} -->"
    block = f"{begin}\n{markdown(report)}{end}\n"
    if begin in text and end in text:
        before, rest = text.split(begin, 1)
        text = before + block + rest.split(end, 1)[1].removeprefix("\n")
    else:
        text = f"{text.rstrip()}\n\n{block}"
    write_whole(path, text.encode())
    return path


def markdown(report: Report) -> str:
    """The generated part: distributions, bounds and proposals, other checks."""
    intro = (
        f"{report.runs} runs of correct solutions ({', '.join(report.styles)}), each with its own seed and its own course"
        f" (secret, withheld rows, draw), graded end to end; {report.seconds:.1f} s each in the median. The raw figures"
        f" are in `calibration/{report.tier.value}.json`."
    )
    lines = [f"## Measured by `grader calibrate` ({report.tier.value} tier)", "", textwrap.fill(intro, WIDTH), ""]
    if report.weighed:
        lines += [*_distributions(report), "", *_proposals(report), ""]
    if report.losses:
        lines += [*_losses(report.losses), ""]
    told = [
        textwrap.fill(f"- {text}.", WIDTH, subsequent_indent="  ") for text in (*complaints(report), *warnings(report))
    ]
    lines += [*(told or [f"Every bound is at most {percent(RISK)}, and no other check cost a point."]), ""]
    return "\n".join(lines)


def _distributions(report: Report) -> list[str]:
    head = ["check", "notebook", "runs", "mean", "sd", "lowest", "5 %", "median", "95 %", "highest", "full marks"]
    rows = [
        [
            weighed.check,
            f"{spread.style} (baseline)" if spread.baseline else spread.style,
            str(spread.runs),
            f"{spread.mean:.4f}",
            f"{spread.sd:.4f}",
            *(f"{value:.4f}" for value in spread.quantiles),
            str(spread.full),
        ]
        for weighed in report.weighed
        for spread in weighed.spreads
    ]
    return _table(head, rows, numbers=len(head) - 2)


def _proposals(report: Report) -> list[str]:
    head = [
        "check",
        "threshold",
        "model of the tail",
        "fit, p",
        "misses the full mark",
        "at most",
        "full",
        "fair",
        "floor",
    ]
    head.append("baseline")
    rows = [proposal(weighed) for weighed in report.weighed]
    note = (
        '"misses the full mark" is the fitted probability for the correct solution that is worst off, "at most" its'
        ' upper end with 95 % confidence; "fair" is the strictest full mark for which that is at most'
        f' {percent(RISK)}, doubt included, and "baseline" the mean of the best baseline.'
    )
    return [*_table(head, rows, numbers=7), "", textwrap.fill(note, WIDTH)]


def proposal(weighed: Weighed) -> list[str]:
    """One threshold's row: the worst bound, the present marks and the proposed ones."""
    worst = weighed.worst
    tail = ["", "–", "–", "–"]
    if worst is not None:
        goodness = "–" if worst.goodness is None else f"{worst.goodness:.2g}"
        tail = [worst.model, goodness, percent(worst.estimate), percent(worst.upper)]
    return [
        weighed.check,
        weighed.threshold,
        *tail,
        f"{weighed.present.full:g}",
        _mark(weighed.full),
        f"{weighed.present.floor:g}",
        _mark(weighed.floor),
    ]


def _mark(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _losses(losses: tuple[Loss, ...]) -> list[str]:
    head = ["other check", "runs", "lost a point", "at most"]
    return _table(head, [loss_row(loss) for loss in losses], numbers=3)


def loss_row(loss: Loss) -> list[str]:
    """One check's row."""
    return [loss.check, str(loss.runs), str(loss.lost), percent(loss.upper)]


def _table(head: list[str], rows: list[list[str]], numbers: int) -> list[str]:
    rule = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return ["| " + " | ".join(row) + " |" for row in (head, rule, *rows)]


# ---------------------------------------------------------------- the spec


def write_thresholds(folder: Path, report: Report) -> list[str]:
    """Put the proposed marks into lab.toml; says what changed. A floor that would cross the full mark stays.

    Raises UsageError where a correct solution has so few runs that its fair mark would only say how few they are.
    """
    for weighed in report.weighed:
        for spread in weighed.spreads:
            if not spread.baseline and spread.runs < ENOUGH:
                what = f"{spread.runs} runs of {spread.style} are too few to change a threshold"
                raise UsageError(what, fix=f"give --runs {ENOUGH * len(report.styles)} or more")
    path = folder / "lab.toml"
    text = path.read_text("utf-8")
    changed = []
    for name in dict.fromkeys(weighed.threshold for weighed in report.weighed):
        entries = [weighed for weighed in report.weighed if weighed.threshold == name]
        floor, full = _marks(entries)
        present = entries[0].present
        if (full > floor) != (present.full > present.floor) or full == floor:
            continue
        for key, before, after in (("floor", present.floor, floor), ("full", present.full, full)):
            if before != after:
                text = _replaced(text, f"thresholds.{report.tier.value}.{name}", key, after, path)
                changed.append(f"{name}: {key} {before:g} -> {after:g}")
    if changed:
        write_whole(path, text.encode())
    return changed


def _marks(entries: list[Weighed]) -> tuple[float, float]:
    """(floor, full) of a threshold that several checks may use: the most lenient full mark, the strictest floor."""
    present = entries[0].present
    rising = present.full > present.floor
    fulls = [entry.full for entry in entries if entry.full is not None]
    floors = [entry.floor for entry in entries if entry.floor is not None]
    full = (min(fulls) if rising else max(fulls)) if len(fulls) == len(entries) else present.full
    strictest = max if rising else min  # a baseline that stays below the floor says nothing against it
    floor = strictest([present.floor, *floors])
    # One that is as good as a correct solution leaves no room between the marks.
    return (floor if (full > floor) is rising and full != floor else present.floor), full


def _replaced(text: str, table: str, key: str, value: float, path: Path) -> str:
    pattern = rf"(^\[{re.escape(table)}\]\s*\n(?:(?!\[).*\n)*?{key}\s*=\s*)[-+\d.eE]+"
    new, count = re.subn(pattern, rf"\g<1>{value:g}", text, count=1, flags=re.MULTILINE)
    if not count:
        raise LabError(f"[{table}] has no line '{key} = …'", where=str(path), fix="write each key on a line of its own")
    return new
