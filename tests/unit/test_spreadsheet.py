"""CSV: what is read comes back cell for cell, and no foreign word becomes a formula, a row or a number."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader import spreadsheet
from grader.errors import UsageError

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
ROWS = st.lists(st.lists(WORDS, min_size=2, max_size=4).map(tuple), min_size=1, max_size=5)


@given(ROWS, st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_a_sheet_comes_back_cell_for_cell(rows, bom, newline):
    """Quotes, commas, line breaks and every script survive; a delimiter that is asked for is kept."""
    head = tuple(f"column {number}" for number in range(4))
    sheet = spreadsheet.Sheet(rows=tuple(spreadsheet.Row(cells=row) for row in [head, *rows]), bom=bom, newline=newline)
    again = spreadsheet.read(spreadsheet.write(sheet), "x.csv")
    assert [row.cells for row in again.rows] == [head, *rows]
    assert (again.bom, again.newline, again.delimiter) == (bom, newline, ",")


@given(WORDS)
def test_no_text_is_a_formula_or_breaks_its_row(words):
    """Attacks 86 and 87: whatever the words, a reader gets one cell on one line that no spreadsheet runs."""
    content = spreadsheet.table(["student", "grade"], [[words, -5.0]]).decode()
    (_, row) = csv.reader(io.StringIO(content, newline=""))
    assert len(content.splitlines()) == 2
    assert row[1] == "-5"
    assert row[0].lstrip()[:1] not in tuple("=+-@＝＋－＠\t\r")


@pytest.mark.parametrize("words", ["=1+1", "+1", "-1", "@SUM(A1)", "＝1+1", "\t=1", "\r=1", " =1", "\u200b=1", "-5"])
def test_what_looks_like_a_formula_gets_an_apostrophe(words):
    """Each beginning that a spreadsheet takes for a formula, hidden behind blanks or not, is made text."""
    assert spreadsheet.text(words).startswith("'")
    assert spreadsheet.neutral(words).startswith("'")


def test_ordinary_names_stay_as_they_are():
    """An apostrophe inside, a hyphen inside, Chinese: nothing is added."""
    for name in ("O'Neill", "student-01", "王小明", "a=b", "1"):
        assert spreadsheet.text(name) == name


def test_terminal_codes_and_direction_marks_go():
    """Attack 89: a name cannot colour or reverse what stands beside it."""
    assert spreadsheet.text("a\x1b[31mb\u202ec\u200bd") == "a [31mb c d"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(62.5, "62.5"), (100.0, "100"), (-3.0, "-3"), (-0.001, "0"), (float("nan"), ""), (1 / 3, "0.33")],
)
def test_numbers_are_numbers(value, shown):
    """At most two decimals, a point, no quotes; what is no number is an empty cell."""
    assert spreadsheet.number(value) == shown


@pytest.mark.parametrize(
    ("written", "value", "comma"),
    [
        ("100", 100, False),
        ("100.00", 100, False),
        ("100,00", 100, True),
        ("0,125", 0.125, True),
        ("1.125", 1.125, False),
        ("1,000.00", 1000, False),
        ("1,000", 1000, False),
        ("12,345,678.9", 12_345_678.9, False),
        ("1.000,50", 1000.5, True),
        ("1.000.000", 1_000_000, False),
        ("1\u202f000,50", 1000.5, True),
        ("1 000", 1000, False),
        ("1'000.00", 1000, False),
        ("-2,500.5", -2500.5, False),
        (" 7 ", 7, False),
        ("1,00,000", None, False),
        ("1,000,00", None, False),
        ("1.000.00", None, False),
        ("ten", None, False),
        ("", None, False),
        ("nan", None, False),
    ],
)
def test_a_number_is_read_as_sheets_write_it(written, value, comma):
    """With either decimal sign and groups of thousands; what is ambiguous in neither way is no number."""
    assert spreadsheet.parse_number(written) == value
    if value is not None:
        assert spreadsheet.has_decimal_comma(written) is comma


@given(st.floats(-1e12, 1e12, allow_nan=False))
def test_thousands_are_read_back(value):
    """What a spreadsheet groups is the number it was."""
    written = f"{value:,.2f}"
    assert spreadsheet.parse_number(written) == float(written.replace(",", ""))
    german = written.translate(str.maketrans(",.", ".,"))
    assert spreadsheet.parse_number(german) == float(written.replace(",", ""))


def test_a_column_that_is_not_there_has_empty_cells():
    """-1 stands for it, and never for the last one."""
    row = spreadsheet.Row(cells=("a", "b"))
    assert (row[-1], row[0], row[2]) == ("", "a", "")


def test_excel_gets_the_mark_by_which_it_knows_utf8():
    """Only with ``excel`` the file begins with a byte order mark, and has the line ends of Windows."""
    assert spreadsheet.table(["a"], [["王"]], excel=True) == "\ufeffa\r\n王\r\n".encode()
    assert spreadsheet.table(["a"], [["王"]]) == "a\n王\n".encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a,b\n\xff\xfe,c", "is not UTF-8"), (b'a,b\n"x,y\n', "x.csv:2: is not CSV"), (b'a,b\n"x"y,z\n', "is not CSV")],
)
def test_a_file_that_is_no_csv_is_told_with_its_line(content, said):
    """Wrong bytes and wrong quotes name the file, and the line where there is one."""
    with pytest.raises(UsageError, match=said):
        spreadsheet.read(content, "x.csv")


def test_semicolons_and_utf16_are_read():
    """What a German or an old Excel writes."""
    assert spreadsheet.read(b"a;b\n1,5;2\n", "x").rows[1].cells == ("1,5", "2")
    assert spreadsheet.read("a\tb\n王\t2\n".encode("utf-16"), "x").rows[1].cells == ("王", "2")
