"""Starters and mutants: notebooks made from the one reference.

The reference solution is the source. Between ``### BEGIN SOLUTION`` and ``### END SOLUTION`` stands what students have
to write; between ``### BEGIN HIDDEN TESTS`` and ``### END HIDDEN TESTS`` what they must not see. A cell that nbgrader's
metadata calls a solution is one whole, unless it has regions. What looks like a marker and is not one is an error: taken
for a comment, it would hand the solution to students. A mutant is the reference with a few exact replacements: a mistake
that students really make, and the band its score must lie in.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from grader.errors import LabError, plain
from grader.records import Record

MARKERS = {
    "SOLUTION": "# Write your solution here.",
    "HIDDEN TESTS": "",
}
IN_PROSE = {"# Write your solution here.": "*Write your answer here.*"}
#: Where a function's body is nothing but solution, a comment alone would leave a cell that is no Python.
UNWRITTEN = "raise NotImplementedError"
MARKER = re.compile(rf"[ \t]*### (BEGIN|END) ({'|'.join(MARKERS)})[ \t]*\n?")
#: Another case, number of signs or blanks, and nbgrader's regions that are no others here.
LIKE_A_MARKER = re.compile(
    r"\s*#+[\s:]*(BEGIN|END)[\s_-]+(SOLUTION|HIDDEN[\s_-]+TESTS?|MARK[\s_-]+SCHEME)", re.IGNORECASE
)
REGION = re.compile(
    rf"^([ \t]*)### BEGIN ({'|'.join(MARKERS)})[ \t]*\n.*?^[ \t]*### END \2[ \t]*(?:\n|\Z)", re.MULTILINE | re.DOTALL
)
CELL_TYPES = ("code", "markdown", "raw")
#: A line for IPython and not for Python, also `files = !ls`.
MAGIC = re.compile(r"^([ \t]*)(?:[\w, ]+=[ \t]*)?[%!?].*$", re.MULTILINE)
#: What JupyterLab and Colab need to open a notebook without asking for a kernel.
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Replacement(Record, frozen=True):
    """``old`` must occur exactly once in the reference's code cells, unless ``all``."""

    old: str
    new: str
    all: bool = False


class Mutant(Record, frozen=True):
    """A known-wrong variant: its score must lie in [low, high], and ``flags`` must be raised.

    A ``baseline`` is what can be had without the lab's skill (a constant, a linear model): floors are measured on it, and
    it may score like the reference where a data set is too small to tell the two apart. A list names the checks whose
    skill it lacks; for all others it is no baseline.
    """

    description: str
    low: float
    high: float
    replace: tuple[Replacement, ...]
    flags: tuple[str, ...] = ()
    baseline: bool | tuple[str, ...] = False
    name: str = ""


def reference_path(labs_dir: Path, lab_id: str) -> Path:
    """The reference solution beside the labs folder."""
    return labs_dir.parent / "reference_solutions" / f"{lab_id}.ipynb"


def read_reference(path: Path) -> dict[str, Any]:
    """The reference notebook as JSON. Raises LabError."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8-sig"))
        if notebook["nbformat"] != 4 or not _is_notebook(notebook):
            raise LabError("is not an nbformat 4 notebook", where=str(path), fix="save it again in Jupyter")
    except FileNotFoundError:
        raise LabError(
            "the reference solution is missing", where=str(path), fix="write it: starters come from it"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LabError(
            f"the reference solution cannot be read: {error}", where=str(path), fix="save it again"
        ) from None
    _check_markers(notebook, path)
    found: dict[str, Any] = notebook
    return found


def starter(notebook: dict[str, Any]) -> dict[str, Any]:
    """The exercise: solutions replaced by a line to write at, hidden tests, outputs and the author's metadata removed."""
    cells: list[dict[str, Any]] = []
    ids: set[str] = set()
    for cell in notebook["cells"]:
        before, kind = source(cell), cell["cell_type"]
        text = _exercise(cell)
        if before.strip() and not text.strip():
            continue
        made = {"cell_type": kind, "id": _cell_id(cell, len(cells), ids), "metadata": {}, "source": text}
        if kind == "code":
            made |= {"outputs": [], "execution_count": None}
        elif "attachments" in cell and not is_solution(cell):
            made["attachments"] = json.loads(json.dumps(cell["attachments"]))
        cells.append(made)
    named = {"lab": str(notebook.get("metadata", {}).get("grader", {}).get("lab", ""))}
    return {"cells": cells, "metadata": {**KERNEL, "grader": named}, "nbformat": 4, "nbformat_minor": 5}


def notebook_bytes(notebook: dict[str, Any]) -> bytes:
    """The file as Jupyter itself would save it, so that opening and saving a starter changes nothing."""
    cells = [{**cell, "source": source(cell).splitlines(keepends=True)} for cell in notebook["cells"]]
    text = json.dumps({**notebook, "cells": cells}, ensure_ascii=False, indent=1, sort_keys=True)
    return f"{text}\n".encode()


def mutate(notebook: dict[str, Any], mutant: Mutant, where: str) -> dict[str, Any]:
    """The reference with the mutant's replacements. Raises LabError when one does not fit exactly."""
    result: dict[str, Any] = json.loads(json.dumps(notebook))
    code = [cell for cell in result["cells"] if cell["cell_type"] == "code"]
    for change in mutant.replace:
        count = sum(source(cell).count(change.old) for cell in code)
        if count == 0 or (count > 1 and not change.all):
            what = f"{change.old[:60]!r} occurs {count} times in the reference"
            raise LabError(what, where=where, fix="make `old` unique, or set all = true")
        for cell in code:
            cell["source"] = source(cell).replace(change.old, change.new)
    return result


def read_mutants(folder: Path) -> tuple[Mutant, ...]:
    """The mutants of a lab, by name. Raises LabError naming the file."""
    mutants = []
    for path in sorted((folder / "mutants").glob("*.toml")):
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            unknown = set(table) - set(Mutant.__struct_fields__)
            if unknown:
                raise LabError(f"unknown key {min(unknown)!r}", where=str(path), fix="see docs/authoring.md")
            mutants.append(msgspec.convert({**table, "name": path.stem}, Mutant, strict=False))
        except (OSError, ValueError, msgspec.ValidationError) as error:
            raise LabError(
                f"the mutant cannot be read: {error}", where=str(path), fix="see docs/authoring.md"
            ) from None
    return tuple(mutants)


def source(cell: dict[str, Any]) -> str:
    """A cell's source as one string."""
    text = cell.get("source", "")
    return "".join(text) if isinstance(text, list) else str(text)


def solved(cell: dict[str, Any]) -> list[str]:
    """What of a cell students must not see: its regions, or all of it."""
    return [source(cell)] if is_solution(cell) else [match.group() for match in REGION.finditer(source(cell))]


def given(cell: dict[str, Any]) -> str:
    """What of a cell students see."""
    return "" if is_solution(cell) else REGION.sub("", source(cell))


def is_solution(cell: dict[str, Any]) -> bool:
    """Whether nbgrader's metadata call the whole cell a solution; its regions say it better where there are some."""
    said = cell.get("metadata", {}).get("nbgrader", {})
    return isinstance(said, dict) and said.get("solution") is True and not REGION.search(source(cell))


def is_python(text: str) -> bool:
    """Whether a cell's text is Python, magics of IPython aside."""
    return text.lstrip().startswith("%%") or any(map(_parses, (text, MAGIC.sub(r"\1pass", text))))


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _cell_id(cell: dict[str, Any], number: int, taken: set[str]) -> str:
    """The cell's own id where it is one, else one from its place; never the same twice."""
    found = str(cell.get("id", ""))
    if not CELL_ID.fullmatch(found) or found in taken:
        found = f"cell-{number + 1:02d}"
    while found in taken:
        found += "-"
    taken.add(found)
    return found


def _exercise(cell: dict[str, Any]) -> str:
    """A cell's text as students get it. ``UNWRITTEN`` stands in those regions only that need it to be Python."""
    text, code = source(cell), cell["cell_type"] == "code"
    if is_solution(cell):
        return _line("SOLUTION", code=code)
    left = _without_regions(text, code=code)
    if not code or is_python(left) or not is_python(text):
        return left
    unwritten = list(range(len(REGION.findall(text))))
    for number in tuple(unwritten):
        fewer = [other for other in unwritten if other != number]
        if is_python(_without_regions(text, code=code, unwritten=fewer)):
            unwritten = fewer
    return _without_regions(text, code=code, unwritten=unwritten)


def _without_regions(text: str, *, code: bool, unwritten: Sequence[int] = ()) -> str:
    """The text with a line in place of each region; of the regions with those numbers, ``UNWRITTEN`` below it."""
    numbers = iter(range(len(text)))

    def instead(region: re.Match[str]) -> str:
        line, number = _line(region[2], code=code), next(numbers)
        lines = [line] if line else []
        return "".join(f"{region[1]}{each}\n" for each in (*lines, *([UNWRITTEN] if number in unwritten else ())))

    return REGION.sub(instead, text).rstrip("\n")


def _line(name: str, *, code: bool) -> str:
    line = MARKERS[name]
    return line if code else IN_PROSE.get(line, line)


def _is_notebook(notebook: dict[str, Any]) -> bool:
    """Whether it has the form that is relied on: cells of a known type, text, and metadata that are tables."""
    cells, metadata = notebook.get("cells"), notebook.get("metadata", {})
    if not isinstance(cells, list) or not all(map(_is_cell, cells)):
        return False
    return isinstance(metadata, dict) and isinstance(metadata.get("grader", {}), dict)


def _is_cell(cell: Any) -> bool:
    if not isinstance(cell, dict) or cell.get("cell_type") not in CELL_TYPES:
        return False
    text = cell.get("source", "")
    lines = text if isinstance(text, list) else [text]
    return all(isinstance(line, str) for line in lines) and isinstance(cell.get("metadata", {}), dict)


def _check_markers(notebook: dict[str, Any], path: Path) -> None:
    for number, cell in enumerate(notebook["cells"], start=1):
        for line in source(cell).splitlines(keepends=True):
            if LIKE_A_MARKER.match(line) and not MARKER.fullmatch(line):
                what = f"cell {number}: {plain(line, 60)!r} looks like a marker and is none"
                raise LabError(what, where=str(path), fix="write ### BEGIN SOLUTION and ### END SOLUTION exactly so")
        for name in MARKERS:
            found = re.findall(rf"^[ \t]*### (BEGIN|END) {name}[ \t]*$", source(cell), flags=re.MULTILINE)
            if found != ["BEGIN", "END"] * (len(found) // 2):
                what = f"cell {number}: ### BEGIN {name} and ### END {name} do not pair"
                raise LabError(what, where=str(path), fix="close each region in the cell that opens it")
