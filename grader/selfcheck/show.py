"""A self-check in words: plain text for a terminal, a small table for a notebook. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from grader.labs import Lab
from grader.records import CheckResult, Outcome, Tier, Verdict

WORDS = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "not yet",
    Outcome.SKIPPED: "skipped",
    Outcome.ERRORED: "our error",
}
COLOURS = {
    Outcome.PASSED: "#1a7f37",
    Outcome.FAILED: "#b35900",
    Outcome.SKIPPED: "#6e7781",
    Outcome.ERRORED: "#8250df",
}
HINT_ONLY = "Points here are a hint, not a grade: all public checks passed does not mean full marks."


def not_checked(lab: Lab, *more: str) -> tuple[str, ...]:
    """What a self-check leaves open: the hidden suite's checks by their descriptions, then ``more``."""
    hidden = [f"{spec.description} ({spec.points:g} points)" for spec in lab.checks]
    total = sum(spec.points for spec in lab.checks)
    head = f"the hidden suite, which gives all {total:g} points of the grade:" if hidden else "the hidden suite"
    return (head, *(f"  {line}" for line in hidden), "accuracy on data you have never seen", *more)


def tier_text(tier: Tier, *, cached: bool) -> str:
    """Which data the notebook met."""
    if tier is Tier.LITE:
        return "lite (the small copy that comes with the grader; x_train.shape differs from the full data)"
    return "full (your own Keras cache)" if cached else "full"


def as_text(verdict: Verdict, left_out: Sequence[str]) -> str:
    """The whole result, plain."""
    lines = [verdict.lab_title, ""]
    for error in verdict.cell_errors[:5]:
        place = f"code cell {error.cell}" + (f", line {error.line}" if error.line else "")
        lines.append(f"{place}: {one_line(f'{error.kind}: {error.message}')}")
        if error.advice:
            lines.append(f"    try: {one_line(error.advice.text)}")
    if verdict.ending.value != "ok":
        lines += [f"the run ended with: {verdict.ending.value} ({one_line(verdict.ending_detail)})", ""]
    for result in verdict.checks:
        lines.append(f"{WORDS[result.outcome]:>9}  {_points(result):>7}  {one_line(result.description)}")
        lines += [f"{'':20}{label}: {one_line(text)}" for label, text in details(result)]
    lines += ["", f"public points: {verdict.score:g} of {verdict.max_score:g}. {HINT_ONLY}"]
    lines += [f"note: {one_line(note)}" for note in verdict.notes]
    lines += ["not checked:", *(f"  - {line}" if not line.startswith("  ") else f"  {line}" for line in left_out)]
    return "\n".join(lines)


def details(result: CheckResult) -> list[tuple[str, str]]:
    """What the student can use of a check that did not pass."""
    if result.outcome is Outcome.PASSED:
        return []
    if result.outcome is Outcome.ERRORED:
        reason = (result.staff_note.strip().splitlines() or ["no details"])[-1]  # a public suite has no secrets
        return [("why", f"the check itself is broken, tell the teaching team: {reason}")]
    rows = [("why", result.rationale), ("expected", result.expected), ("found", result.found), ("try", result.hint)]
    if result.blocked_by:
        rows = [("comes after", result.blocked_by)]
    return [(label, text) for label, text in rows if text]


def as_html(verdict: Verdict, left_out: Sequence[str]) -> str:
    """The same as a table. Everything is escaped: descriptions are the course's, the rest may be the notebook's."""
    rows = []
    for result in verdict.checks:
        more = "".join(f"<br><small>{escape(label)}: {escape(text)}</small>" for label, text in details(result))
        rows.append(
            f'<tr><td style="color:{COLOURS[result.outcome]};text-align:left"><b>{WORDS[result.outcome]}</b></td>'
            f"<td>{escape(_points(result))}</td>"
            f'<td style="text-align:left">{escape(result.description)}{more}</td></tr>'
        )
    notes = "".join(f"<p>{escape(note)}</p>" for note in verdict.notes)
    items = "".join(f"<li>{escape(line.strip())}</li>" for line in left_out)
    return (
        f"<div><p><b>{escape(verdict.lab_title)}</b></p><table>{''.join(rows)}</table>"
        f"<p>Public points: {verdict.score:g} of {verdict.max_score:g}. {escape(HINT_ONLY)}</p>{notes}"
        f"<details><summary>Not checked</summary><ul>{items}</ul></details></div>"
    )


def _points(result: CheckResult) -> str:
    return f"{result.score:g}/{result.points:g}"


def one_line(text: str, limit: int = 400) -> str:
    """Foreign text fit for one line of a terminal."""
    shown = " ".join("".join(char if char.isprintable() or char.isspace() else "?" for char in text).split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
