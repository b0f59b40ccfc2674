"""Correct solutions of another style than the reference: whole notebooks in ``labs/<id>/alternatives/``.

A suite written beside one reference comes to expect its habits. An alternative is right too, and looks different: a
subclassed model, logits, a loop of its own, other names. ``grader verify`` demands full marks for each of them, and
``grader calibrate`` measures thresholds on them as well. They are scripts in jupytext's percent format (or notebooks);
a first markdown cell says what is different.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from grader.errors import LabError
from grader.submissions.notebooks import BadNotebookError, parse_notebook, parse_script


def read_alternatives(folder: Path) -> dict[str, dict[str, Any]]:
    """The alternatives of a lab as notebooks, by name. Raises LabError naming the file."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((folder / "alternatives").glob("*")):
        if path.suffix not in (".py", ".ipynb"):
            continue
        try:
            parsed = (parse_script if path.suffix == ".py" else parse_notebook)(path.read_bytes())
        except BadNotebookError as error:
            raise LabError(error.what, where=str(path), fix=error.fix) from None
        except OSError as error:
            raise LabError(f"the alternative cannot be read: {error}", where=str(path)) from None
        cells = [{"cell_type": cell.kind, "source": cell.source} for cell in parsed.cells]
        found[path.stem] = {"cells": cells}
    return found
