"""What suites and the grader say about one submission, in the language of its card.

A verdict is always English: it is evidence, the same in whatever language it is read. Its sentences are f-strings of
suites and of the grader, so a catalogue's entry is the f-string with numbered gaps, as ``tools/messages.py`` reads it
from the source: ``{0} of {1} rows are not probabilities``. A sentence is found by its fixed parts, and what stands in
its gaps is looked up in the same way (a list of names, a reason in brackets) or taken over as it is (a number, a
student's own word). A sentence that nobody has translated stays English.

Where two sentences are joined, a place is chosen at which both halves are known before one at which only one is: "ends
in the middle: the JSON is cut off (hand it in again)" is a sentence with a colon and another in brackets.

Gaps may hold anything a student wrote. Matching takes each fixed part where it occurs first and never goes back, so
its cost is the text's length times the number of entries, whatever the text is.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from grader import settings
from grader.records import CellError, CheckResult, Record, Verdict
from grader.reports.language import Language, read_catalogue

#: The context of the grader's own sentences in its catalogue, apart from the words of the pages.
CONTEXT = "sentence"
#: What is wrong, and in brackets what to do: the last thing that is put together, and the first that is taken apart.
BRACKETED = "{0} ({1})"
#: How sentences are put together where they are made; a translation says how its language does it.
JOINS = ("{0}: {1}", "{0}; {1}", BRACKETED)
#: Brackets as sentences and their translations write them.
BRACKETS = {")": " (", "）": "（"}
#: A sentence has a few gaps, and what fills one a few more; beyond this, text is a student's.
DEPTH = 4
LONGEST = 4_000

_GAP = re.compile(r"\{(\d+)\}")


class Pattern(Record, frozen=True):
    """A sentence with gaps: its fixed parts in order, and the translation."""

    parts: tuple[str, ...]
    translation: str

    def fill(self, gaps: list[str]) -> str:
        return _GAP.sub(lambda gap: gaps[int(gap[1])] if int(gap[1]) < len(gaps) else gap[0], self.translation)


class Joined(Record, frozen=True):
    """Two sentences put together again in this language, and how many of the two it knows.

    ``sure``: they were joined there, because the text ends with a bracket or the first is a whole sentence.
    """

    text: str
    known: int
    sure: bool


class Phrases:
    """The sentences of one language: ``say`` translates those it knows."""

    def __init__(self, sentences: Iterable[tuple[str, str]] = ()) -> None:
        self._whole: dict[str, str] = {}
        patterns: list[Pattern] = []
        self._joins: dict[str, Pattern] = {}
        for sentence, translation in sentences:
            if not _GAP.search(sentence):
                self._whole[sentence] = translation
                continue
            pattern = Pattern(parts=tuple(_GAP.sub("\0", sentence).split("\0")), translation=translation)
            if sentence in JOINS:
                self._joins[sentence] = pattern
            else:
                patterns.append(pattern)
        # The more a sentence says itself, the less it is mistaken for another.
        self._patterns = sorted(patterns, key=lambda pattern: -sum(map(len, pattern.parts)))

    def say(self, text: str) -> str:
        """The text in this language, as far as it is known. Lines are sentences of their own."""
        if not self._whole and not self._patterns:
            return text
        found = self._find(text, DEPTH)
        if found is not None:
            return found
        return "\n".join(self._known(line) for line in text.split("\n"))

    def _known(self, text: str, depth: int = DEPTH) -> str:
        found = self._find(text, depth)
        return text if found is None else found

    def _find(self, text: str, depth: int) -> str | None:
        if text in self._whole:
            return self._whole[text]
        if not depth or not text or len(text) > LONGEST:
            return None
        joined = [found for join in JOINS if (found := self._joined(join, text, depth))]
        # Before the patterns: the last gap of one would take the bracket, and its first what stands before the colon, for
        # a part of what stands in it.
        for one in joined:
            if one.known == 2 and one.sure:
                return one.text
        for pattern in self._patterns:
            gaps = _gaps(pattern.parts, text)
            if gaps is not None:
                return pattern.fill([self._known(gap, depth - 1) for gap in gaps])
        best = max(joined, key=lambda one: one.known, default=None)
        return best.text if best and best.known else None

    def _joined(self, join: str, text: str, depth: int) -> Joined | None:
        """The text as two that were joined in this way; None where it is not."""
        pattern = self._joins.get(join)
        halves = None if pattern is None else bracket(text) if join == BRACKETED else _gaps(pattern.parts, text)
        if pattern is None or halves is None:
            return None
        said = [self._find(half, depth - 1) for half in halves]
        known = sum(half is not None for half in said)
        filled = pattern.fill([half if found is None else found for half, found in zip(halves, said, strict=True)])
        return Joined(text=filled, known=known, sure=join == BRACKETED or halves[0] in self._whole)


#: The phrases of a language that has none: every sentence stays as it is.
NOTHING = Phrases()


def _gaps(parts: tuple[str, ...], text: str) -> list[str] | None:
    """What stands between the parts, each taken where it occurs first; None where they do not fit."""
    first, *between, last = parts
    if not text.startswith(first) or not text.endswith(last):
        return None
    at, end = len(first), len(text) - len(last)
    gaps = []
    for part in between:
        found = text.find(part, at, end)
        if found < 0:
            return None
        gaps.append(text[at:found])
        at = found + len(part)
    return [*gaps, text[at:end]] if at <= end else None


def bracket(text: str) -> list[str] | None:
    """What stands before the bracket that the text ends with, and what stands in it; None where it ends with none."""
    opening = BRACKETS.get(text[-1:], "")
    depth = 0
    for at in range(len(text) - 1, -1, -1) if opening else ():
        depth += (text[at] == text[-1]) - (text[at] == opening[-1])
        if depth == 0:
            begin = at + 1 - len(opening)
            return [text[:begin], text[at + 1 : -1]] if begin > 0 and text[begin : at + 1] == opening else None
    return None


def phrases(language: Language, lab: Path | None = None) -> Phrases:
    """The grader's sentences and those of the lab in that folder."""
    return _phrases(settings.LOCALE / f"{language}.po", lab / "locale" / f"{language}.po" if lab else None)


@functools.cache
def _phrases(own: Path, lab: Path | None) -> Phrases:
    sentences: dict[str, str] = {}
    if lab is not None:
        sentences |= _title(lab.parent.parent / "lab.toml", lab.stem)
    for path, context in ((own, CONTEXT), (lab, None)):
        for entry in read_catalogue(path) if path else ():
            if entry.id and entry.string and entry.context == context and isinstance(entry.id, str):
                sentences[entry.id] = str(entry.string)
    return Phrases(sentences.items())


def _title(spec: Path, language: Language) -> dict[str, str]:
    """The lab's title where its spec says it in that language."""
    try:
        table = tomllib.loads(spec.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):  # not there, or wrong: whoever loads the lab says so, and cards are still made
        return {}
    there = table.get(f"title_{language}")
    return {str(table.get("title")): str(there)} if there else {}


def translated(verdict: Verdict, said: Phrases) -> Verdict:
    """The verdict with every sentence of ours in that language; what the student wrote stays as it is."""
    return msgspec.structs.replace(
        verdict,
        lab_title=said.say(verdict.lab_title),
        ending_detail=said.say(verdict.ending_detail),
        checks=tuple(_check(check, said) for check in verdict.checks),
        cell_errors=tuple(_cell_error(error, said) for error in verdict.cell_errors),
        notes=tuple(said.say(note) for note in verdict.notes),
    )


def _check(check: CheckResult, said: Phrases) -> CheckResult:
    return msgspec.structs.replace(
        check,
        description=said.say(check.description),
        rationale=said.say(check.rationale),
        expected=said.say(check.expected),
        found=said.say(check.found),
        hint=said.say(check.hint),
    )


def _cell_error(error: CellError, said: Phrases) -> CellError:
    if error.advice is None:
        return error
    return msgspec.structs.replace(
        error, advice=msgspec.structs.replace(error.advice, text=said.say(error.advice.text))
    )
