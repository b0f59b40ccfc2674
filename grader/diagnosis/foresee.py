"""What can be said of a notebook before it runs: "this fails in cell 4".

Only what the source proves is told: a name has to come from an import of the notebook itself, and what stands in a
``try`` with a handler or under a test of the version is left alone. Nothing here is ever scored, and a finding about a
line that then ran without an error is dropped (``still_ahead``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grader.diagnosis import versions
from grader.diagnosis.advice import RULES, Language, merged, write
from grader.diagnosis.code import Code
from grader.diagnosis.find import Hit, Look
from grader.diagnosis.rule import Rule
from grader.records import CellError, Foreseen

#: A notebook of TensorFlow 1 has a finding in each line; the first few say it.
MOST = 20
#: What these say of a line is said better where it asks for a version.
VERSIONED = ("tf1-version-magic", "shell-install")


def foresee(
    code: Code, *, data: str = "", files: Iterable[str] = (), tensorflow: str = "", language: Language = "en"
) -> tuple[Foreseen, ...]:
    """Each known breakage once per cell, in the order of the notebook.

    ``data`` is the lab's data set and ``files`` the names its loaders find; ``tensorflow`` is the version here.
    """
    found = list(versions.asked(code, tensorflow, language))
    told = {(finding.cell, finding.line) for finding in found}
    for cell in code.cells:
        look = Look(code, cell, strict=True, files=frozenset(files), data=data)
        for rule in RULES:
            if rule.before and (hit := _first(rule, look)):
                if rule.id in VERSIONED and (cell.number, hit.line) in told:
                    continue
                finding = Foreseen(
                    cell=cell.number,
                    line=hit.line,
                    source_line=cell.lines[hit.line - 1].strip()[:300],
                    fails=rule.before == "fails",
                    in_function=cell.is_later(hit.line),
                    advice=write(rule, hit.names, hit, language),
                )
                found.append(finding)
    return tuple(sorted(found, key=lambda finding: (finding.cell, finding.line))[:MOST])


def _first(rule: Rule, look: Look) -> Hit | None:
    """Where a rule first applies in a cell, leaving out what the notebook itself expects to fail."""
    hits = [hit for hit in rule.find(look) if not look.cell.is_guarded(hit.line)] if rule.find else []
    first = min(hits, key=lambda hit: hit.start, default=None)
    return first and (merged(hits, look.cell.statement(first.line)) or first)


def still_ahead(foreseen: Sequence[Foreseen], errors: Sequence[CellError], ran: int) -> tuple[Foreseen, ...]:
    """What a run leaves of it: nothing that ran well after all, nothing that its own error tells already.

    ``ran`` counts the cells that were begun. A cell that raised stopped at its line: what stands below is still ahead.
    """
    failed = {error.cell: error.line or 0 for error in errors}
    rules = {(error.cell, error.advice.rule) for error in errors if error.advice}
    return tuple(
        finding
        for finding in foreseen
        if not finding.fails
        or finding.cell > ran
        or (finding.line > failed.get(finding.cell, 10**9) and (finding.cell, finding.advice.rule) not in rules)
    )
