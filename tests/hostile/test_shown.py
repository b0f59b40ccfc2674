"""Attacks by words and pictures, on whoever reads cards, tables, terminals and logs. Real functions, and real Chromium."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET

import msgspec
import pytest

from grader import cards, exports, spreadsheet
from grader.errors import plain
from grader.records import CellError, Exhibits, WrongPicture
from grader.reports import render_card, render_index
from tests.browser import samples

MARKUP = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<svg onload=\"document.title='owned'\"><image href='https://evil.example/x'/></svg>"
    "[click](javascript:alert(1)) ![x](https://evil.example/b.png) $\\href{javascript:alert(1)}{x}$ "
    "```mermaid\ngraph TD; A[<img src=x onerror=alert(1)>]```"
)
FORMULAS = (
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    '=HYPERLINK("https://evil.example")',
    "=cmd|' /C calc'!A0",
)
FORGERY = 'x",100\r\nstudent-66,plain,100\n\x1b[2K</failure></testcase><testcase name="forged"/>\x00\x0b]]>'
BIDI = "\u202egnp.exe\u2066\u200b\u0430dmin"


def hostile(words: str):
    verdict = samples.crashed()
    checks = tuple(
        msgspec.structs.replace(check, found=words, hint=words, expected=words, description=words)
        for check in verdict.checks
    )
    errors = (CellError(cell=1, kind=words, message=words, line=1, source_line=words, traceback=words),)
    changed = {"checks": checks, "cell_errors": errors, "ending_detail": words, "notes": (words,)}
    return msgspec.structs.replace(verdict, student=words, **changed)


def card(words: str, edition: str = "staff") -> str:
    executed = json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "source": words,
                    "outputs": [
                        {
                            "output_type": "display_data",
                            "data": {
                                "text/html": words,
                                "image/svg+xml": words,
                                "text/plain": words,
                                "image/png": words,
                                "text/latex": words,
                            },
                            "metadata": {"width": '1 onload="alert(1)"'},
                        },
                        {"output_type": "error", "ename": words, "evalue": words},
                    ],
                }
            ]
        }
    )
    options = {"edition": edition, "course_name": words, "language": "en"}
    return render_card(hostile(words), Exhibits(), executed_cells=cards.executed_cells(executed.encode()), **options)


@pytest.mark.parametrize("words", FORMULAS)
def test_no_cell_of_a_table_is_a_formula(words):
    """An apostrophe before each; numbers stay numbers."""
    content = spreadsheet.table(["a", "b"], [[words, -2.0]], excel=True).decode("utf-8-sig")
    (_, (text, number)) = list(csv.reader(io.StringIO(content)))
    assert text[0] == "'" or text.strip()[0] not in "=+-@＝"
    assert number == "-2"


def test_no_words_forge_a_row_or_an_element():
    content = spreadsheet.table(["a", "b"], [[FORGERY, 1.0]]).decode()
    assert len(list(csv.reader(io.StringIO(content)))) == 2
    root = ET.fromstring(exports.junit([hostile(FORGERY)]))
    assert "forged" not in {case.get("name") for case in root.iter("testcase")}
    assert len(list(root.iter("testcase"))) == len(samples.crashed().checks)
    assert len(plain(FORGERY).splitlines()) == 1
    assert "\x1b" not in plain(FORGERY)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.attack("I88", "Puts HTML, SVG, Markdown, LaTeX and mermaid into everything that a card shows.")
@pytest.mark.parametrize("edition", ["staff", "student"])
def test_nothing_that_a_student_wrote_runs(visit, edition):
    page = visit(card(MARKUP, edition))
    page.wait_for_timeout(200)
    assert page.title() != "owned"
    assert page.complaints == []
    assert page.locator("svg image, img[onerror], a[href^=javascript]").count() == 0


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.attack("I90", "Puts pictures, fonts and links of other machines into a card, to see who opens it.")
def test_a_card_asks_nobody(visit):
    words = (
        MARKUP + "<link rel=stylesheet href=https://evil.example/f.css><style>@import 'https://evil.example/g'</style>"
    )
    for html in (card(words), render_index(samples.class_rows(), course_name=words, language="en")):
        page = visit(html)
        page.wait_for_timeout(100)
        assert [url for url in page.requested if not url.startswith(("file:", "data:"))] == []


@pytest.mark.attack("I89", "Turns the order of names and code by bidirectional marks, and hides letters.")
@pytest.mark.parametrize("edition", ["staff", "student"])
def test_marks_that_turn_words_are_shown_as_what_they_are(edition):
    html = card(BIDI, edition)
    assert not {"\u202e", "\u2066", "\u200b"} & set(html)


@pytest.mark.attack("I91", "Prints pictures of 60,000 pixels and SVG bombs: nothing of them is decoded or shown.")
def test_no_picture_of_a_notebook_is_shown(monkeypatch):
    """Of an output only its text is taken; pictures of a card are drawn by the judge from hidden data."""
    from PIL import Image

    monkeypatch.setattr(Image, "open", lambda *a, **k: pytest.fail("a picture was decoded"))
    html = card("iVBORw0KGgoAAAANSUhEUgAA6mAAAOpg" + "A" * 1000)
    assert "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA6mAAAOpg" not in html
    assert {field for field in WrongPicture.__struct_fields__ if "path" in field or "url" in field} == set()
