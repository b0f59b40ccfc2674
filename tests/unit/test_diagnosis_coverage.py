"""What public notebooks really met: how much of it has advice, and that the document says so."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def load():
    spec = importlib.util.spec_from_file_location("diagnosis_coverage", ROOT / "tools" / "diagnosis_coverage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = load()


def test_what_breaks_in_real_notebooks_gets_specific_advice():
    """Above 95 percent, by notebooks that met an error, by first causes, and by idioms."""
    broken = [row for row in TOOL.idioms() if row.here != "works"]
    assert TOOL.share(TOOL.errors()) > 0.95
    assert TOOL.share(TOOL.errors(), first=True) > 0.95
    assert TOOL.share(broken) > 0.95


def test_nothing_is_said_of_idioms_that_work():
    """336 notebooks pass input_shape to a layer: it works, and no card may say otherwise."""
    assert [row.what for row in TOOL.idioms() if row.here == "works" and row.rule] == []


def test_an_idiom_that_is_said_to_work_does():
    """Each stands among the code that the slow test really runs."""
    calls = tomllib.loads((ROOT / "tests" / "unit" / "diagnosis" / "calls.toml").read_text("utf-8"))
    fine = {call["code"].strip("\n") for call in calls["fine"]}
    idioms = tomllib.loads(TOOL.NOTEBOOKS.read_text("utf-8"))["idiom"]
    assert {row["code"].strip("\n") for row in idioms if row["here"] == "works"} <= fine


def test_the_table_in_the_documents_is_up_to_date():
    """`python tools/diagnosis_coverage.py` would change nothing."""
    assert TOOL.DOCUMENT.read_text("utf-8") == TOOL.written()
