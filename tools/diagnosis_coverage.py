"""Writes docs/diagnosis.md: for which share of what breaks in real notebooks there is a specific advice.

``python tools/diagnosis_coverage.py`` reads tests/unit/diagnosis/real_notebooks.toml, asks the rules about every error
and idiom in it, and writes the tables between the two marks of the document. Advice counts as specific where it says
more than the message: a rule of ``GENERIC`` does not count.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from grader.diagnosis import advise, foresee, read_code
from grader.diagnosis.advice import GENERIC

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "tests" / "unit" / "diagnosis" / "real_notebooks.toml"
DOCUMENT = ROOT / "docs" / "diagnosis.md"
BEGIN, END = "<!-- coverage -->", "<!-- /coverage -->"
IMPORTS = (
    "import numpy as np, pandas as pd\nimport tensorflow as tf\nfrom tensorflow import keras\n"
    "import matplotlib.pyplot as plt\n"
)


class Row(NamedTuple):
    """One line of a table: how many notebooks, how many first, what, the rule that answers, found before a run."""

    notebooks: int
    first: int
    what: str
    rule: str
    before: bool = False
    here: str = "fails"


def errors() -> list[Row]:
    """Every error that was met, and the rule that answers it."""
    table = tomllib.loads(NOTEBOOKS.read_text("utf-8"))["error"]
    return [Row(row["notebooks"], row["first"], row["error"], _answer(row["error"], "")) for row in table]


def idioms() -> list[Row]:
    """Every idiom, and the rule that finds it before a run or answers what it raises."""
    rows = []
    for row in tomllib.loads(NOTEBOOKS.read_text("utf-8"))["idiom"]:
        code = row["code"].strip("\n")
        found = [finding.advice.rule for finding in foresee(read_code([IMPORTS, code])) if finding.cell == 2]
        rule = found[0] if found else _answer(row["raises"], code.splitlines()[-1]) if "raises" in row else ""
        rows.append(Row(row["notebooks"], 0, row["name"], rule, bool(found), row["here"]))
    return rows


def _answer(error: str, line: str) -> str:
    kind, _, message = error.partition(": ")
    advice = advise(kind, message, line)
    return advice.rule if advice and advice.rule not in GENERIC else ""


def share(rows: Sequence[Row], *, first: bool = False) -> float:
    """The part of the notebooks that get specific advice."""
    weights = [row.first if first else row.notebooks for row in rows]
    return sum(weight for row, weight in zip(rows, weights, strict=True) if row.rule) / sum(weights)


def render() -> str:
    """Both tables with their shares."""
    met, all_idioms = errors(), idioms()
    broken = [row for row in all_idioms if row.here != "works"]
    early = sum(row.notebooks for row in broken if row.before) / sum(row.notebooks for row in broken)
    alarms = sum(bool(row.rule) for row in all_idioms if row.here == "works")
    lines = [
        "| counted over | rows | share with specific advice |",
        "|---|---|---|",
        f"| errors met, by notebooks that met them | {len(met)} | {share(met):.1%} |",
        f"| errors that came first in their notebook | {sum(row.first > 0 for row in met)} | {share(met, first=True):.1%} |",
        f"| idioms that fail or do nothing, by notebooks | {len(broken)} | {share(broken):.1%} |",
        f"| the same, found by reading alone, before a run | {sum(row.before for row in broken)} | {early:.1%} |",
        f"| idioms that work, and of which something is said | {len(all_idioms) - len(broken)} | {alarms} |",
        "",
        "### Errors met",
        "",
        "| notebooks | first | error | rule |",
        "|---|---|---|---|",
        *(f"| {row.notebooks} | {row.first} | {_cell(row.what)} | {_rule(row)} |" for row in met),
        "",
        "### Idioms",
        "",
        "| notebooks | idiom | here | rule | found by reading |",
        "|---|---|---|---|---|",
        *(
            f"| {row.notebooks} | {_cell(row.what)} | {row.here} | {_rule(row)} | {'yes' if row.before else ''} |"
            for row in all_idioms
        ),
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return f"`{text[:110].replace('`', '').replace('|', '/')}`"


def _rule(row: Row) -> str:
    return f"`{row.rule}`" if row.rule else "works: nothing is said" if row.here == "works" else "none"


def written() -> str:
    """The document as it should be."""
    head, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    return f"{head}{BEGIN}\n\n{render()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    DOCUMENT.write_text(written(), "utf-8")
