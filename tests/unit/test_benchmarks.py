"""The measuring programs start: each is imported and tells its options."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).resolve().parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_a_benchmark_still_fits_the_grader(path, monkeypatch, capsys):
    """What it imports is there; what is a program answers --help, what is not defines things and does nothing."""
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.syspath_prepend(str(path.parent.parent))
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    if "__main__" in path.read_text("utf-8"):
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(path), run_name="__main__")
        assert ended.value.code == 0
        assert "usage:" in capsys.readouterr().out
    else:
        runpy.run_path(str(path))
        assert capsys.readouterr().out == ""
