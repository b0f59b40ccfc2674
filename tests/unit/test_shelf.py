"""Records out of memory: what is put on a shelf comes back, and a class of any size takes next to none."""

from __future__ import annotations

import gc
import json
import tempfile
import tracemalloc

import pytest

from grader.errors import OursError
from grader.shelf import IN_MEMORY, Shelf, View
from grader.submissions import Cell, Submission, collect


def handed_in(number, source="x = 1"):
    cells = (Cell(kind="code", source=source), Cell(kind="markdown", source="学生"))
    return Submission(
        student=f"s{number}", slug=f"s{number}", lab="iris", source="iris.ipynb", sha256="0", size=1, cells=cells
    )


def test_what_is_put_on_a_shelf_comes_back_at_its_place():
    """As a list would give it: by place, from the end, in slices and in order."""
    records = [handed_in(number, "x" * number) for number in range(20)]
    shelf = Shelf(Submission, records[:19])
    assert shelf[4] == records[4]
    shelf.append(records[19])
    assert len(shelf) == 20
    assert list(shelf) == records
    assert (shelf[3], shelf[-1], shelf[5:8]) == (records[3], records[19], records[5:8])
    with pytest.raises(IndexError):
        shelf[20]
    assert not Shelf(Submission)


def test_two_that_read_a_shelf_at_once_do_not_disturb_each_other():
    shelf = Shelf(Submission, map(handed_in, range(5)))
    pairs = [(one.student, other.student) for one in shelf for other in shelf]
    assert pairs == [(f"s{one}", f"s{other}") for one in range(5) for other in range(5)]


def grown(make):
    """What ``make`` makes, and the bytes of memory that it holds."""
    gc.collect()
    tracemalloc.start()
    try:
        made = make()
        gc.collect()
        return made, tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_a_shelf_holds_no_record_in_memory():
    """20 MB of source take the buffer of a file, and eight bytes each."""
    shelf, held = grown(lambda: Shelf(Submission, (handed_in(number, "x" * 10_000) for number in range(2_000))))
    assert len(shelf) == 2_000
    assert held < IN_MEMORY / 2


def test_a_class_that_was_taken_in_is_not_held_in_memory(tmp_path):
    """200 notebooks of 50 kB: what grows with the class is not its notebooks."""
    for number in range(200):
        cell = {"cell_type": "code", "source": f"x = {number}  # {'x' * 50_000}", "metadata": {}, "outputs": []}
        (tmp_path / f"s{number:03d}").mkdir()
        notebook = json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
        (tmp_path / f"s{number:03d}" / "iris.ipynb").write_text(notebook, "utf-8")
    intake, held = grown(lambda: collect([tmp_path], ["iris"]))
    assert [item.cells[0].source[:7].strip() for item in intake.submissions][7] == "x = 7"
    assert held < IN_MEMORY


def test_a_view_makes_its_things_when_they_are_looked_at():
    """In the order of its places, and sliced as it is."""
    looked = []
    shelf = Shelf(Submission, map(handed_in, range(6)))
    view = View(shelf, [4, 2, 0], lambda one: looked.append(one.student) or one.student)
    assert (len(view), looked) == (3, [])
    assert list(view) == ["s4", "s2", "s0"]
    assert (view[-1], list(view[1:])) == ("s0", ["s2", "s0"])


def test_a_temporary_folder_that_is_full_is_told_as_ours(monkeypatch, tmp_path):
    """With the folder's name, and what to do."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(OursError, match=r"gone.*TMPDIR"):
        Shelf(Submission, (handed_in(number, "x" * 10_000) for number in range(200)))
