"""Starters and mutants: notebooks made from the one reference.

The reference solution is the source. Between ``### BEGIN SOLUTION`` and ``### END SOLUTION`` stands what students have
to write; between ``### BEGIN HIDDEN TESTS`` and ``### END HIDDEN TESTS`` what they must not see. A mutant is the
reference with a few exact replacements: a mistake that students really make, and the band its score must lie in.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from grader.errors import LabError
from grader.records import Record

MARKERS = {
    "SOLUTION": "# Write your solution here.",
    "HIDDEN TESTS": "",
}
IN_PROSE = {"# Write your solution here.": "*Write your answer here.*"}
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
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if notebook["nbformat"] != 4:
            raise LabError("is not an nbformat 4 notebook", where=str(path), fix="save it again in Jupyter")
    except FileNotFoundError:
        raise LabError(
            "the reference solution is missing", where=str(path), fix="write it: starters come from it"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
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
        text = _without_regions(before, kind)
        if before.strip() and not text.strip():
            continue
        made = {"cell_type": kind, "id": _cell_id(cell, len(cells), ids), "metadata": {}, "source": text}
        if kind == "code":
            made |= {"outputs": [], "execution_count": None}
        elif "attachments" in cell:
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
        except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise LabError(
                f"the mutant cannot be read: {error}", where=str(path), fix="see docs/authoring.md"
            ) from None
    return tuple(mutants)


def source(cell: dict[str, Any]) -> str:
    """A cell's source as one string."""
    text = cell.get("source", "")
    return "".join(text) if isinstance(text, list) else str(text)


def _cell_id(cell: dict[str, Any], number: int, taken: set[str]) -> str:
    """The cell's own id where it is one, else one from its place; never the same twice."""
    found = str(cell.get("id", ""))
    if not CELL_ID.fullmatch(found) or found in taken:
        found = f"cell-{number + 1:02d}"
    while found in taken:
        found += "-"
    taken.add(found)
    return found


def _without_regions(text: str, kind: str) -> str:
    for name, line in MARKERS.items():
        instead = line if kind == "code" else IN_PROSE.get(line, line)
        pattern = rf"^([ \t]*)### BEGIN {name}[ \t]*\n.*?^[ \t]*### END {name}[ \t]*(?:\n|\Z)"
        text = re.sub(pattern, rf"\1{instead}\n" if instead else "", text, flags=re.MULTILINE | re.DOTALL)
    return text.rstrip("\n")


def _check_markers(notebook: dict[str, Any], path: Path) -> None:
    for number, cell in enumerate(notebook["cells"], start=1):
        for name in MARKERS:
            found = re.findall(rf"^[ \t]*### (BEGIN|END) {name}[ \t]*$", source(cell), flags=re.MULTILINE)
            if found != ["BEGIN", "END"] * (len(found) // 2):
                what = f"cell {number}: ### BEGIN {name} and ### END {name} do not pair"
                raise LabError(what, where=str(path), fix="close each region in the cell that opens it")
