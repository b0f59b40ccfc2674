"""A self-check in words: plain text for a terminal, a small table for a notebook. Pure.

Both say first what the card says first: what was got and what to do next. Words and sentences are those of the card, in
its language.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from grader.labs import Lab
from grader.records import Advice, CheckResult, Foreseen, Outcome, Tier, Verdict
from grader.reports.language import Words, words
from grader.reports.phrases import NOTHING, Phrases, translated
from grader.reports.summary import after_error, summarize
from grader.reports.wording import ending, outcome

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


def as_text(verdict: Verdict, left_out: Sequence[str], phrases: Phrases = NOTHING) -> str:
    """The whole result, plain."""
    said = words(verdict.language)
    _ = said.gettext
    verdict = after_error(translated(verdict, phrases), said)
    summary = summarize(verdict, said)
    step, note, rest = _("Next step"), _("Note"), _("Not checked")
    lines = [verdict.lab_title, "", one_line(summary.lead)]
    lines += [f"{step}: {one_line(summary.next)}"] if verdict.score < verdict.max_score else []
    lines += [""]
    for error in verdict.cell_errors[:5]:
        lines.append(f"{_place(error.cell, error.line, said)}: {one_line(f'{error.kind}: {error.message}')}")
        lines += advised(error.advice, said)
    lines += foretold(verdict.foreseen, said)
    if verdict.ending.value != "ok":
        ended = _("How the run ended: %(name)s", name=ending(verdict.ending, said).name)
        lines += [f"{ended} ({one_line(verdict.ending_detail)})", ""]
    for result in verdict.checks:
        lines.append(f"{outcome(result, said).name:>12}  {_points(result):>7}  {one_line(result.description)}")
        lines += [f"{'':23}{label}: {one_line(text)}" for label, text in details(result, said)]
    lines += ["", _public_points(verdict, said), phrases.say(HINT_ONLY)]
    lines += [f"{note}: {one_line(text)}" for text in verdict.notes]
    lines += [f"{rest}:", *(_item(line, phrases) for line in left_out)]
    return "\n".join(lines)


def _item(line: str, phrases: Phrases) -> str:
    inside = line.startswith("  ")
    return f"    {phrases.say(line.strip())}" if inside else f"  - {phrases.say(line)}"


def _place(cell: int, line: int | None, said: Words) -> str:
    if line is None:
        return said.gettext("Cell %(cell)s", cell=cell)
    return said.gettext("Cell %(cell)s, line %(line)s", cell=cell, line=line)


def _public_points(verdict: Verdict, said: Words) -> str:
    score, most = f"{verdict.score:g}", f"{verdict.max_score:g}"
    return said.gettext("Public points: %(score)s of %(most)s.", score=score, most=most)


def foretold(foreseen: Sequence[Foreseen], said: Words) -> list[str]:
    """What reading the notebook found, in lines."""
    _ = said.gettext
    lines = []
    for finding in foreseen:
        does = (
            _("has no effect here")
            if not finding.fails
            else _("fails when it is called")
            if finding.in_function
            else _("fails")
        )
        place = _place(finding.cell, finding.line, said)
        lines.append(f"{place}, {does}: {one_line(finding.source_line, 120)}")
        lines += advised(finding.advice, said)
    return lines


def advised(advice: Advice | None, said: Words) -> list[str]:
    """What to do, and the line before and after."""
    if advice is None:
        return []
    lines = [f"    {said.gettext('Try next')}: {one_line(advice.text)}"]
    if advice.new:
        lines += [f"    {said.gettext('For example')}:"] if advice.example else []
        lines += [f"    {sign} {one_line(line)}" for sign, line in (("-", advice.old), ("+", advice.new)) if line]
    return lines


def details(result: CheckResult, said: Words) -> list[tuple[str, str]]:
    """What the student can use of a check that did not pass."""
    _ = said.gettext
    if result.outcome is Outcome.PASSED:
        return []
    if result.outcome is Outcome.ERRORED:
        reason = (result.staff_note.strip().splitlines() or ["–"])[-1]  # a public suite has no secrets
        return [(_("Why"), _("the check itself is broken, tell the teaching team: %(reason)s", reason=reason))]
    if result.blocked_by:
        return [(_("Comes after"), result.blocked_by)]
    rows = [
        (_("Why"), result.rationale),
        (_("Expected"), result.expected),
        (_("Found"), result.found),
        (_("Try next"), result.hint),
    ]
    return [(label, text) for label, text in rows if text]


def as_html(verdict: Verdict, left_out: Sequence[str], phrases: Phrases = NOTHING) -> str:
    """The same as a table. Everything is escaped: descriptions are the course's, the rest may be the notebook's."""
    said = words(verdict.language)
    verdict = after_error(translated(verdict, phrases), said)
    summary = summarize(verdict, said)
    step, rest = said.gettext("Next step"), said.gettext("Not checked")
    todo = f"<br><b>{escape(step)}</b> {escape(summary.next)}" if verdict.score < verdict.max_score else ""
    rows = []
    for result in verdict.checks:
        told = details(result, said)
        more = "".join(f"<br><small>{escape(label)}: {escape(text)}</small>" for label, text in told)
        rows.append(
            f'<tr><td style="color:{COLOURS[result.outcome]};text-align:left"><b>{escape(outcome(result, said).name)}</b>'
            f"</td><td>{escape(_points(result))}</td>"
            f'<td style="text-align:left">{escape(result.description)}{more}</td></tr>'
        )
    notes = "".join(f"<p>{escape(note)}</p>" for note in verdict.notes)
    items = "".join(f"<li>{escape(phrases.say(line.strip()))}</li>" for line in left_out)
    return (
        f"<div><p><b>{escape(verdict.lab_title)}</b></p><p>{escape(summary.lead)}{todo}</p><table>{''.join(rows)}</table>"
        f"<p>{escape(_public_points(verdict, said))} {escape(phrases.say(HINT_ONLY))}</p>{notes}"
        f"<details><summary>{escape(rest)}</summary><ul>{items}</ul></details></div>"
    )


def _points(result: CheckResult) -> str:
    return f"{result.score:g}/{result.points:g}"


def one_line(text: str, limit: int = 400) -> str:
    """Foreign text fit for one line of a terminal."""
    shown = " ".join("".join(char if char.isprintable() or char.isspace() else "?" for char in text).split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
