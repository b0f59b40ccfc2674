"""Both editions of a run's report card, from what the run and its judging left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from grader import store
from grader.grading import Graded
from grader.provenance import Provenance
from grader.records import Edition, Verdict
from grader.reports import ExecutedCell, phrases, render_card, told
from grader.submissions import Submission

EDITIONS: tuple[Edition, ...] = ("student", "staff")


def render_cards(
    graded: Graded, course_name: str, lab: Path, editions: Sequence[Edition] = EDITIONS
) -> dict[Edition, str]:
    """These editions of a run's card; ``lab`` is the folder whose catalogues translate the suite."""
    language = graded.verdict.language
    said: dict[str, Any] = {
        "course_name": course_name,
        "language": language,
        "phrases": phrases(language, lab),
    }
    cells = {"staff": executed_cells(graded.facts.executed)} if "staff" in editions else {}
    return {
        edition: render_card(
            graded.verdict, graded.exhibits, edition=edition, executed_cells=cells.get(edition, ()), **said
        )
        for edition in editions
    }


def executed_cells(executed: bytes) -> tuple[ExecutedCell, ...]:
    """The code cells of an executed notebook, as text. It comes from the sandbox: anything odd is left out."""
    try:
        cells = msgspec.json.decode(executed).get("cells", [])
    except (msgspec.DecodeError, AttributeError, RecursionError, UnicodeDecodeError):
        return ()
    found = []
    number = 0
    for cell in cells[:2000] if isinstance(cells, list) else []:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = _text(cell.get("source"))
        if not source.strip():
            continue
        number += 1
        outputs = [output for output in cell.get("outputs") or [] if isinstance(output, dict)]
        text = "\n".join(_output_text(output) for output in outputs)[:5000]
        failed = any(output.get("output_type") == "error" for output in outputs)
        found.append(ExecutedCell(number=number, source=source[:20_000], output=text, failed=failed))
    return tuple(found)


def _text(source: Any) -> str:
    return "".join(part for part in source if isinstance(part, str)) if isinstance(source, list) else str(source or "")


def _output_text(output: dict[str, Any]) -> str:
    if output.get("output_type") == "error":
        return f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"[:1000]
    data = output.get("data")
    return _text(data.get("text/plain") if isinstance(data, dict) else output.get("text"))


def same(old: Verdict, new: Verdict) -> bool:
    """Whether everything that a card could tell is the same: all but when and how fast they were judged."""
    return told(old, "staff") == told(new, "staff")


def rewrite(
    saved: store.Saved,
    graded: Graded,
    course_name: str,
    lab: Path,
    submission: Submission | None = None,
    rests_on: Provenance | None = None,
    *,
    whole: bool = False,
) -> None:
    """Put this verdict in the place of the kept one; the run's own evidence stays.

    An edition that tells the same as before is left as it is, unless the ``whole`` is to be told anew: new thresholds
    are in the staff's card, and in the student's only what they did to the score.
    """
    editions = [one for one in EDITIONS if whole or told(saved.verdict, one) != told(graded.verdict, one)]
    executed = (saved.folder / "staff" / "executed.ipynb").read_bytes()
    graded = replace(graded, facts=msgspec.structs.replace(graded.facts, executed=executed))
    cards = render_cards(graded, course_name, lab, editions)
    store.update(saved.folder, graded, cards, submission or saved.submission, rests_on, whole=whole)
