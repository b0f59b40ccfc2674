"""Verdicts as JUnit XML, for CI: a suite for each run, a case for each check.

``failure`` is the student's, ``error`` is ours or the lab author's. Points stand in ``properties``. ``file`` is the notebook;
``line`` that of its first exception within its cell, on checks that did not pass. Words that came from a notebook lose
what XML cannot hold, and are escaped by the library that writes it; none can end an element.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from grader.exports.feedback import check_lines, sentence
from grader.records import CheckResult, Outcome, Verdict
from grader.spreadsheet import number

#: What XML 1.0 has no way to write (section 2.2), lone surrogates among it.
ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MAX_TEXT = 20_000
NOWHERE: Mapping[tuple[str, str], str] = MappingProxyType({})
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'


def junit(verdicts: Sequence[Verdict], files: Mapping[tuple[str, str], str] = NOWHERE) -> bytes:
    """The whole report, UTF-8. ``files``: a run's notebook, by lab and student."""
    root = ET.Element("testsuites", name="grader")
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for verdict in verdicts:
        suite = _suite(verdict, files.get((verdict.lab, verdict.student), ""))
        root.append(suite)
        for name in totals:
            totals[name] += int(suite.get(name, "0"))
    for name, count in totals.items():
        root.set(name, str(count))
    ET.indent(root, " ")
    return f"{HEAD}{ET.tostring(root, encoding='unicode')}\n".encode()


def clean(words: str) -> str:
    """Words that XML can hold, each illegal character replaced by a visible mark."""
    return ILLEGAL.sub("\ufffd", words[:MAX_TEXT])


def _suite(verdict: Verdict, file: str) -> ET.Element:
    outcomes = [check.outcome for check in verdict.checks]
    suite = ET.Element(
        "testsuite",
        name=clean(f"{verdict.lab}/{verdict.student}"),
        tests=str(len(outcomes)),
        failures=str(outcomes.count(Outcome.FAILED)),
        errors=str(outcomes.count(Outcome.ERRORED)),
        skipped=str(outcomes.count(Outcome.SKIPPED)),
        time=f"{verdict.timings.get('total', 0.0):.3f}",
        timestamp=verdict.graded_at.removesuffix("+00:00"),
        hostname="grader",
    )
    figures = {"score": number(verdict.score), "max_score": number(verdict.max_score), "ending": verdict.ending.value}
    _properties(suite, figures | {"submission": verdict.submission, "level": verdict.level.name})
    for check in verdict.checks:
        suite.append(_case(verdict, check, file))
    if verdict.ending_detail:
        ET.SubElement(suite, "system-out").text = clean(f"{verdict.ending.value}: {verdict.ending_detail}")
    problems = [f"code cell {e.cell}: {e.kind}: {e.message}" for e in verdict.cell_errors]
    if problems:
        ET.SubElement(suite, "system-err").text = clean("\n".join(problems))
    return suite


def _case(verdict: Verdict, check: CheckResult, file: str) -> ET.Element:
    place = clean(f"{verdict.lab}.{verdict.student}")
    case = ET.Element("testcase", classname=place, name=clean(check.id), time=f"{check.seconds:.3f}")
    if file:
        case.set("file", clean(file))
    line = verdict.cell_errors[0].line if verdict.cell_errors and check.outcome is not Outcome.PASSED else None
    if line is not None:
        case.set("line", str(line))
    evidence = check.evidence.value if check.evidence else ""
    _properties(case, {"points": number(check.points), "score": number(check.score), "evidence": evidence})
    told = clean("\n".join([sentence(check.description), *check_lines(check, verdict)]))
    message = clean(sentence(check.found or check.rationale or check.description))
    if check.outcome is Outcome.FAILED:
        ET.SubElement(case, "failure", message=message, type="failed").text = told
    elif check.outcome is Outcome.ERRORED:
        ET.SubElement(case, "error", message=message, type="our error").text = told
    elif check.outcome is Outcome.SKIPPED:
        why = f"waits for {check.blocked_by}" if check.blocked_by else message
        ET.SubElement(case, "skipped", message=clean(why))
    return case


def _properties(element: ET.Element, values: dict[str, str]) -> None:
    properties = ET.SubElement(element, "properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", name=name, value=clean(value))
