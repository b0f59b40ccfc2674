"""For GitHub Actions: annotations, a job summary, and the notice that Classroom reads points from.

A workflow command is one line, ``::error file=…,title=…::message``. What comes from a notebook is escaped as the runner
unescapes it, so no word of it can begin a line, and so a command, of its own.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence

from grader.errors import plain
from grader.exports.feedback import Verdicts, check_lines, not_assessed, sentence, verdict_of
from grader.gradebook import Grade
from grader.records import Outcome, Verdict
from grader.spreadsheet import number

#: GitHub shows ten errors of a step and drops the others without a word; the last place says how many.
MAX_ERRORS = 10
MAX_SUMMARY = 2**20
MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$@:-])")


def workflow_commands(verdicts: Sequence[Verdict], files: Mapping[tuple[str, str], str]) -> str:
    """One error for each check that failed, a warning for what is ours. ``files``: a run's notebook, by lab and student."""
    errors: list[str] = []
    warnings: list[str] = []
    for verdict in verdicts:
        where = files.get((verdict.lab, verdict.student), "")
        for check in verdict.checks:
            title = f"{verdict.lab}: {check.id} ({number(check.score)} of {number(check.points)})"
            words = "\n".join([sentence(check.description), *check_lines(check, verdict, verdict.language)])
            if check.outcome is Outcome.FAILED:
                errors.append(command("error", words, file=where, title=title))
            elif check.outcome is Outcome.ERRORED:
                warnings.append(command("warning", f"Our error, not the student's.\n{words}", file=where, title=title))
    if len(errors) > MAX_ERRORS:
        left = len(errors) - MAX_ERRORS + 1
        rest = command("error", f"{left} more checks failed; the report cards have them all.", title="more")
        errors = [*errors[: MAX_ERRORS - 1], rest]
    return "".join(f"{line}\n" for line in [*errors, *warnings])


def classroom(grades: Sequence[Grade]) -> str:
    """The notice titled "Autograding report", with the points of all these grades together."""
    total = round(sum(grade.grade or 0.0 for grade in grades), 2)
    most = round(sum(grade.max_score or 0.0 for grade in grades), 2)
    report = json.dumps({"totalPoints": _whole(total), "maxPoints": _whole(most)}, separators=(",", ":"))
    return command("notice", report, title="Autograding report") + "\n"


def summary(grades: Sequence[Grade], verdicts: Verdicts, limit: int = MAX_SUMMARY, title: str = "Grades") -> str:
    """A table in Markdown, at most ``limit`` bytes; where rows had to be left out, it says how many."""
    head = f"## {title}\n\n| lab | student | grade | of | lost points |\n|---|---|---:|---:|---|\n"
    rows = [_row(grade, verdicts) for grade in grades]
    room = limit - len(head.encode()) - 200
    kept: list[str] = []
    for row in rows:
        room -= len(row.encode())
        if room < 0:
            break
        kept.append(row)
    left = len(rows) - len(kept)
    end = f"\n{left} of {len(rows)} rows are left out: a job summary ends at {limit:,} bytes.\n" if left else ""
    return head + "".join(kept) + end


def command(kind: str, message: str, **properties: str) -> str:
    """One workflow command, escaped."""
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{kind}{' ' if given else ''}{given}::{_message(message)}"


def _message(words: str) -> str:
    """Lines stay lines; everything else that cannot be seen goes."""
    shown = "\n".join(plain(line, 1_000) for line in words.splitlines())
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    return _message(plain(words, 500)).replace(":", "%3A").replace(",", "%2C")


def _row(grade: Grade, verdicts: Verdicts) -> str:
    verdict = verdict_of(grade, verdicts)
    checks = verdict.checks if verdict else ()
    lost = [check.id for check in checks if check.score < check.points and not not_assessed(check)]
    points = "" if grade.grade is None else number(grade.grade)
    most = "" if grade.max_score is None else number(grade.max_score)
    cells = [_markdown(grade.lab), _markdown(grade.student), points, most, _markdown(", ".join(lost))]
    return f"| {' | '.join(cells)} |\n"


def _markdown(words: str) -> str:
    """Words that Markdown shows as they are: no link, no picture, no HTML, no cell of their own."""
    return html.escape(MARKDOWN.sub(r"\\\1", plain(words, 300)), quote=False)


def _whole(value: float) -> int | float:
    return int(value) if value == int(value) else value
