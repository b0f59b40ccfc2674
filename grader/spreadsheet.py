"""CSV in and out: read whatever a spreadsheet or learning platform writes, write what no spreadsheet can execute.

A cell that a program fills with somebody else's words (a name, an error, a comment) can begin with ``=`` and then be
run as a formula by whoever opens the file. ``text`` makes such words harmless, ``number`` keeps numbers numbers.
A sheet that is filled keeps its delimiter, its line ends and its byte order mark.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

from grader.errors import UsageError, plain
from grader.records import Record

MAX_BYTES = 50 * 2**20
MAX_TEXT = 30_000  # a cell of Excel ends at 32,767 characters
#: What spreadsheets take for the beginning of a formula, in both widths: East Asian versions accept the wide ones.
FORMULA = "=+-@＝＋－＠"
BOM = "\ufeff"
#: ``1,000.00``, ``1.000,00``, ``1 000,00``, ``1'000.00``: groups of three, and another sign before the decimals.
GROUPED = re.compile(
    r"(?P<whole>[+-]?[1-9]\d{0,2}(?P<mark>[,.'\u2019 \u00a0\u202f])\d{3}(?:(?P=mark)\d{3})*)"
    r"(?:(?!(?P=mark))[.,](?P<rest>\d+))?"
)


class Row(Record, frozen=True):
    """The cells of a row, and the line of the file on which it ends."""

    cells: tuple[str, ...]
    line: int = 0

    def __getitem__(self, column: int) -> str:
        """The cell, or "" where the row is shorter; -1 is the column that a sheet does not have."""
        return self.cells[column] if 0 <= column < len(self.cells) else ""


class Sheet(Record, frozen=True):
    """A file of rows, and how it was written. ``newline`` is that of the file, ``bom`` whether it began with one."""

    rows: tuple[Row, ...]
    delimiter: str = ","
    newline: str = "\r\n"
    bom: bool = False


def read(content: bytes, where: str) -> Sheet:
    """The rows of a CSV file. Raises UsageError naming the file, and the line where there is one."""
    if len(content) > MAX_BYTES:
        raise UsageError(f"is larger than {MAX_BYTES // 2**20} MB", where=where, fix="export it again")
    try:
        encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
        written = content.decode(encoding)
    except UnicodeDecodeError:
        fix = "save it as 'CSV UTF-8'"
        raise UsageError("is not UTF-8 text", where=where, fix=fix) from None
    bom = written.startswith(BOM)
    written = written.removeprefix(BOM)
    head = written.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(written, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = tuple(Row(cells=tuple(cells), line=reader.line_num) for cells in reader)
    except csv.Error as error:
        line = f"{where}:{reader.line_num}"
        raise UsageError(f"is not CSV: {plain(str(error))}", where=line, fix="export it again") from None
    return Sheet(rows=rows, delimiter=delimiter, newline="\r\n" if head.endswith("\r") else "\n", bom=bom)


def write(sheet: Sheet) -> bytes:
    """The file again, cell for cell."""
    lines = (sheet.delimiter.join(_quoted(cell, sheet.delimiter) for cell in row.cells) for row in sheet.rows)
    # A row of one empty cell would read as an empty line, which is no row.
    lines = (line or ('""' if row.cells else "") for line, row in zip(lines, sheet.rows, strict=True))
    whole = (BOM if sheet.bom else "") + "".join(f"{line}{sheet.newline}" for line in lines)
    return whole.encode("utf-8", "replace")


def _quoted(cell: str, delimiter: str) -> str:
    """As the csv module quotes, and a lone carriage return too, which it leaves bare before Python 3.13."""
    return '"' + cell.replace('"', '""') + '"' if any(char in cell for char in f'"\r\n{delimiter}') else cell


def table(header: Sequence[str], rows: Iterable[Sequence[str | float | None]], *, excel: bool = False) -> bytes:
    """A new sheet: text made harmless, numbers as numbers, nothing for None.

    ``excel``: with the mark by which Excel knows UTF-8 (without it, it reads Chinese names as another encoding).
    """
    cells = [tuple(header), *(tuple(cell(value) for value in row) for row in rows)]
    made = tuple(Row(cells=row) for row in cells)
    return write(Sheet(rows=made, newline="\r\n" if excel else "\n", bom=excel))


def cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return text(value) if isinstance(value, str) else number(value)


def text(value: str) -> str:
    """Foreign words as one line that no spreadsheet runs; control and direction characters become spaces."""
    return neutral(plain(value, MAX_TEXT))


def neutral(value: str) -> str:
    """The same text, with an apostrophe before it where it could be taken for a formula."""
    first = next((char for char in value if not char.isspace() and unicodedata.category(char)[0] != "C"), "")
    return f"'{value}" if (first and first in FORMULA) or (value[:1] in "\t\r\n" and value) else value


def number(value: float) -> str:
    """``62.5``, ``100``, ``-3``: at most two decimals, always a point; "" for what is no number."""
    if not math.isfinite(value):
        return ""
    shown = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if shown == "-0" else shown


def parse_number(value: str) -> float | None:
    """A finite number as sheets write it, with a decimal point or comma and groups of thousands; None where it is none.

    A comma before exactly three digits groups thousands, as ``1,000``: platforms write two decimals. A point never does alone.
    """
    value = value.strip()
    grouped = _grouped(value)
    try:
        found = float(grouped or value.replace(",", "."))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def has_decimal_comma(value: str) -> bool:
    """Whether this number is written with a comma before its decimals."""
    value = value.strip()
    return value.rfind(",") > value.rfind(".") and (not _grouped(value) or "." in _grouped(value))


def _grouped(value: str) -> str:
    """A number with groups of thousands as Python writes it; "" for any other."""
    match = GROUPED.fullmatch(value)
    if match is None or (match["mark"] == "." and match["whole"].count(".") == 1 and not match["rest"]):
        return ""
    whole = match["whole"].replace(match["mark"], "")
    return f"{whole}.{match['rest']}" if match["rest"] else whole
