"""Exceptions to advice: what a student can do about the error that ended a cell.

Of 175 real notebooks run unmodified on TensorFlow 2.21 and Keras 3.15, 112 failed, and mostly because of the code's age
or the room it runs in. ``RULES`` lists the commonest breakages in the order in which they are tried; the first match
answers. A rule matches the exception's class, its message and, where that is not enough, the line that raised it.
To add one, put a ``Rule`` into the table of its topic, before what is less specific, and what really happens into
tests/unit/diagnosis/calls.toml.

The rule's finder then looks for the idiom in the student's source, first in the statement that failed, then anywhere
before it, and edits it: the advice shows that line before and after. Where it finds nothing (the line is not known, has
another form, or cannot be parsed) the rule's own example stands in, and is told as one.

Advice belongs to the first error of a run. ``explain`` says of the errors after it which cell they follow from.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

from grader.diagnosis import imports, layers, names, python, room, saving, tensorflow1, training
from grader.diagnosis.code import Cell, Code, Span, read_line
from grader.diagnosis.find import Hit, Look
from grader.diagnosis.rule import Rule
from grader.records import Advice, CellError

Language = str  # "en", or a language that rules are written in too; another is translated by the card

# A message can hold a whole array, and a source line a whole data set: patterns meet no more than this of them.
MESSAGE_LIMIT = 2_000
LINE_LIMIT = 300
# Specific before general: the first rule that matches answers.
RULES: tuple[Rule, ...] = (
    *names.RULES,
    *tensorflow1.RULES,
    *imports.RULES,
    *room.RULES,
    *saving.RULES,
    *layers.RULES,
    *training.RULES,
    *python.RULES,
)
BY_ID = {rule.id: rule for rule in RULES}
#: Rules that say no more than the message does; a suggestion or an earlier cause is worth more.
GENERIC = frozenset({"name-unknown", "argument-unknown", "import-name-unknown", "attribute-unknown", "call-failed"})
#: What these tell is one word, shown within its line.
SLIPS = frozenset({"argument-near", "attribute-near", "name-near"})
ANSI = re.compile(r"\x1b\[[0-9;]*m")
MISSING_NAME = re.compile(r"name '(\w+)' is not defined")
MISSING_ARGUMENT = re.compile(
    r"unexpected keyword argument '(\w+)'|Unrecognized keyword arguments passed to \w+: \{'(\w+)'"
)
MISSING_ATTRIBUTE = re.compile(r"(?:has no attribute|cannot import name) '(\w+)'")


def advise(
    kind: str,
    message: str,
    source_line: str = "",
    *,
    code: Code | None = None,
    cell: int = 0,
    line: int | None = None,
    language: Language = "en",
) -> Advice | None:
    """Advice on an exception of class ``kind`` with ``message``; None if none is known.

    ``source_line`` raised it: line ``line`` of code cell ``cell`` of ``code``, where those are known.
    """
    message = _both_ends(ANSI.sub("", message))
    source_line = source_line.strip()[:LINE_LIMIT]
    found = _match(kind.rpartition(".")[2], message, source_line)
    if found is None:
        return None
    rule, match = found
    if rule.id in GENERIC and (near := _suggestion(message, code)):
        slip, groups = near
        return _in_line(write(BY_ID[slip], groups, None, language), source_line)
    groups = {name: value or "" for name, value in match.groupdict().items()}
    advice = write(rule, groups, _hit(rule, source_line, code, cell, line), language)
    return _in_line(advice, source_line) if rule.id in SLIPS else advice


def _in_line(advice: Advice, source_line: str) -> Advice:
    """A slip of the pen within the student's line, before and after; the word alone where the line is not known."""
    new = re.sub(rf"\b{re.escape(advice.old)}\b", lambda _: advice.new, source_line)
    old, new = (advice.old, advice.new) if new == source_line else (source_line, new)
    return msgspec.structs.replace(advice, old=old, new=new, example=False)


def explain(errors: Sequence[CellError], code: Code, language: Language = "en") -> tuple[CellError, ...]:
    """The errors of a run, each with its advice; one that follows from an earlier one points back to it."""
    explained: list[CellError] = []
    for error in errors:
        advice = advise(
            error.kind,
            error.message,
            error.source_line,
            code=code,
            cell=error.cell,
            line=error.line,
            language=language,
        )
        if advice is None or advice.rule in GENERIC or advice.rule.startswith(("import-", "name-", "history-")):
            if cause := _cause(error, explained, code):
                advice = write(BY_ID["follows"], cause, None, language)
            elif advice and advice.rule == "name-unknown" and (later := _later(error, code)):
                advice = write(BY_ID["name-later"], later, None, language)
        explained.append(msgspec.structs.replace(error, advice=advice))
    return tuple(explained)


def write(rule: Rule, groups: Mapping[str, str], hit: Hit | None, language: Language) -> Advice:
    """A rule's advice in words, with the student's line where a hit edits it."""
    text = rule.zh if language == "zh" else rule.text
    edited = _edited(hit) if hit is not None else None
    old, new = edited or (_fill(rule.old, groups), _fill(rule.new, groups))
    return Advice(rule=rule.id, text=_fill(text, groups), old=old, new=new, example=edited is None and bool(old or new))


# ---------------------------------------------------------------- which rule


def _both_ends(message: str) -> str:
    """A long message without its middle: TensorFlow puts a graph's traceback before what happened."""
    half = MESSAGE_LIMIT // 2
    return message if len(message) <= MESSAGE_LIMIT else f"{message[:half]} … {message[-half:]}"


def _match(kind: str, message: str, line: str) -> tuple[Rule, re.Match[str]] | None:
    for rule in RULES:
        if rule.kinds and kind not in rule.kinds:
            continue
        found = _pattern(rule.message).search(message)
        if found and _pattern(rule.line).search(line):
            return rule, found
    return None


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


def _fill(template: str, groups: Mapping[str, str]) -> str:
    """The template with ``{group}`` replaced; other braces stay, since templates hold Python code."""
    for name, value in groups.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def _suggestion(message: str, code: Code | None) -> tuple[str, dict[str, str]] | None:
    """What a missing name is likely a slip for, something of the notebook or of what labs commonly call, and its rule."""
    if found := MISSING_NAME.search(message):
        slip, known = "name-near", names.builtin_names()
        for cell in code.cells if code else ():
            known |= cell.bound.keys() | cell.names.keys()
    elif found := MISSING_ATTRIBUTE.search(message):
        slip, known = "attribute-near", set(names.VOCABULARY)
    elif found := MISSING_ARGUMENT.search(message):
        slip, known = "argument-near", set(names.ARGUMENTS)
    else:
        return None
    name = next(group for group in found.groups() if group)
    near = names.nearest(name, known - {name})
    return (slip, {"name": name, "near": near}) if near else None


# ---------------------------------------------------------------- which line


def _hit(rule: Rule, source_line: str, code: Code | None, number: int, line: int | None) -> Hit | None:
    """Where the idiom stands: in the failing statement, else in what ran before it, else in the bare line."""
    if rule.find is None:
        return None
    cell = code.cell(number) if code else None
    if code is None or cell is None:
        return merged(rule.find(_look_at(source_line))) if source_line else None
    hits = list(rule.find(Look(code, cell)))
    if line is not None and (here := merged(hits, cell.statement(line))):
        return here
    for earlier in reversed(code.cells[:number]):
        if before := merged(rule.find(Look(code, earlier, strict=True))):
            return before
    return merged(hits[:1])


def _look_at(source_line: str) -> Look:
    code = read_line(source_line)
    return Look(code, code.cells[0])


def merged(hits: Iterable[Hit], span: Span | None = None) -> Hit | None:
    """The first hit (in a span of lines) that edits, with the edits of all in the same statement, none in another."""
    found = sorted((hit for hit in hits if hit.edits and (span is None or hit.line in span)), key=_place)
    if not found:
        return None
    first, edits = found[0], list(found[0].edits)
    statement = first.cell.statement(first.line)
    for hit in found[1:]:
        same = (hit.owner or hit.cell) is (first.owner or first.cell) and hit.line in statement
        if same and hit.edits[0].start >= edits[-1].end:
            edits.extend(hit.edits)
    return Hit(first.cell, first.start, tuple(edits), first.names, first.owner)


def _place(hit: Hit) -> int:
    return hit.edits[0].start


def _edited(hit: Hit) -> tuple[str, str] | None:
    """The lines that a hit changes, as they are and as they would be; None where they are too long to be shown."""
    cell: Cell = hit.owner or hit.cell
    if not hit.edits:
        return None
    edits = sorted(hit.edits, key=lambda edit: edit.start)
    first = cell.source.rfind("\n", 0, edits[0].start) + 1
    last = cell.source.find("\n", max(edits[-1].end, edits[0].start))
    last = len(cell.source) if last < 0 else last
    old, new, place = cell.source[first:last], "", first
    for edit in edits:
        new += cell.source[place : edit.start] + edit.new
        place = max(place, edit.end)
    new += cell.source[place:last]
    if old == new or len(old) > LINE_LIMIT or len(new) > LINE_LIMIT:
        return None
    return textwrap.dedent(old).strip(), textwrap.dedent(new).strip()


# ---------------------------------------------------------------- causes


def _cause(error: CellError, earlier: Sequence[CellError], code: Code) -> dict[str, str]:
    """The earlier failed cell that was to make a name which the failing statement uses."""
    cell = code.cell(error.cell)
    missing = MISSING_NAME.search(error.message)
    used = {missing[1]} if missing else _used(cell, error.line)
    for before in earlier:
        failed = code.cell(before.cell)
        if failed is None or before.cell >= error.cell:
            continue
        for name in sorted(used):
            made = [*failed.bound.get(name, ()), *failed.filled.get(name, ())]
            # What stands above the failing line was made.
            if made and (before.line is None or max(made) >= failed.statement(before.line).first):
                return {"name": name, "cell": str(before.cell)}
    return {}


def _later(error: CellError, code: Code) -> dict[str, str]:
    """The cell below that makes a missing name."""
    missing = MISSING_NAME.search(error.message)
    for cell in code.cells[error.cell :] if missing else ():
        if missing and missing[1] in cell.bound:
            return {"name": missing[1], "cell": str(cell.number)}
    return {}


def _used(cell: Cell | None, line: int | None) -> set[str]:
    """The plain names in the statement around a line."""
    if cell is None or line is None:
        return set()
    span = cell.statement(line)
    return {name for name, lines in cell.loaded.items() if any(place in span for place in lines)}
