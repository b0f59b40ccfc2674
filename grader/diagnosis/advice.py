"""Exceptions to advice: what a student can do about the error that ended a cell.

Of 175 real notebooks run unmodified on TensorFlow 2.21 and Keras 3.15, 112 failed, and mostly because of the code's age
or the room it runs in. ``RULES`` lists the commonest breakages in the order in which they are tried; the first match
answers. A rule matches the exception's class, its message and, where that is not enough, the line that raised it.
To add one, put a ``Rule`` into the table of its topic, before what is less specific, and a case into
tests/unit/test_diagnosis.py.

``{name}`` in a text is a named group of the message's pattern. ``swap`` rewrites the student's own line, which is shown
as old and new; ``old`` and ``new`` are the stand-in where that line is not known or has another form. Advice belongs
to the first error of a run: NameErrors that follow from a failed cell are the caller's to suppress.
"""

from __future__ import annotations

import re
from functools import lru_cache

from grader.diagnosis import layers, names, python, room, saving, tensorflow1, training
from grader.diagnosis.rule import Rule
from grader.records import Advice

# A message can hold a whole array, and a source line a whole data set: patterns meet only their beginnings.
MESSAGE_LIMIT = 2_000
LINE_LIMIT = 300
# Specific before general: the first rule that matches answers.
RULES: tuple[Rule, ...] = (
    *names.RULES,
    *tensorflow1.RULES,
    *room.RULES,
    *saving.RULES,
    *training.RULES,
    *layers.RULES,
    *python.RULES,
)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def advise(kind: str, message: str, source_line: str = "") -> Advice | None:
    """Advice on an exception of class ``kind`` with ``message``, raised by ``source_line``; None if none is known."""
    message = ANSI.sub("", message)[:MESSAGE_LIMIT]
    line = source_line.strip()[:LINE_LIMIT]
    kind = kind.rpartition(".")[2]
    for rule in RULES:
        if rule.kinds and kind not in rule.kinds:
            continue
        found = _pattern(rule.message).search(message)
        if found and _pattern(rule.line).search(line):
            return _advice(rule, found, line)
    return None


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


def _advice(rule: Rule, found: re.Match[str], line: str) -> Advice:
    old, new = _fill(rule.old, found), _fill(rule.new, found)
    if rule.swap and line:
        swapped = _pattern(rule.swap[0]).sub(rule.swap[1], line)
        if swapped != line:
            old, new = line, swapped
    return Advice(rule=rule.id, text=_fill(rule.text, found), old=old, new=new)


def _fill(template: str, found: re.Match[str]) -> str:
    """The template with ``{group}`` replaced; other braces stay, since templates hold Python code."""
    for name, value in found.groupdict().items():
        template = template.replace(f"{{{name}}}", value or "")
    return template
