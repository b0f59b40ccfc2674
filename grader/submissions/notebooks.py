"""Bytes of a notebook or script into cells, without trusting a byte of them.

JSON is parsed once, by msgspec, into the few fields that are kept: the kind and the source of each cell, and which
lab the metadata name. Everything else (stored outputs, kernelspec, tags, attachments) is skipped by the parser and
never becomes an object: 50 MB of it cost 0.1 to 0.3 GB for a moment, whatever they hold (measured). What cannot be
a notebook ends in ``BadNotebookError``, which says what the file seems to be and what the student can do.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal, NoReturn

import msgspec

from grader.errors import plain
from grader.records import Ending, Record

MAX_CELLS = 5_000
MAX_SOURCE = 4 * 2**20  # characters; of 448 real notebooks the longest source had well under a tenth of this
MAX_LENIENT = 8 * 2**20  # bytes handed to the standard library's parser, which builds everything it reads

# First bytes of what people upload with the wrong ending.
DISGUISES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip or an Office document"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89HDF", "an HDF5 file (saved weights?)"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"version https://git-lfs", "a Git LFS pointer"),
    (b"<", "a web page"),
)
# jupytext's YAML header says nothing that is kept, so no YAML of a student's is ever parsed.
HEADER = re.compile(r"\A(?:#(?!.*---).*\n)*# ---\n(?:#.*\n)*?# ---\n")
SAVE_AGAIN = "open it in Jupyter, save it and hand in the .ipynb file"


class Cell(Record, frozen=True):
    kind: Literal["code", "markdown"]
    source: str


class Parsed(Record, frozen=True):
    """What is kept of a notebook. ``lab`` is what its metadata say, "" where they do not."""

    cells: tuple[Cell, ...]
    lab: str = ""


class BadNotebookError(Exception):
    """The bytes cannot be graded: how that ends, what is wrong, what to do."""

    def __init__(self, ending: Ending, what: str, fix: str) -> None:
        super().__init__(what)
        self.ending = ending
        self.what = what
        self.fix = fix


class _Cell(msgspec.Struct):
    cell_type: str
    source: str | list[str] = ""


class _Metadata(msgspec.Struct):
    grader: msgspec.Raw = msgspec.Raw(b"null")


class _Notebook(msgspec.Struct):
    cells: list[_Cell] | None = None
    metadata: _Metadata | None = None
    nbformat: msgspec.Raw = msgspec.Raw(b"4")
    worksheets: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Ours(msgspec.Struct):
    lab: str = ""


_DECODER = msgspec.json.Decoder(_Notebook)


def parse_notebook(content: bytes) -> Parsed:
    """The cells of an .ipynb file, or ``BadNotebookError``."""
    text = _text(content)
    notebook = _decode(text.encode("utf-8"))
    _check_format(notebook)
    cells = tuple(_cell(cell) for cell in notebook.cells or () if cell.cell_type in ("code", "markdown"))
    return Parsed(cells=_bounded(cells), lab=_named_lab(notebook))


def parse_script(content: bytes) -> Parsed:
    """The cells of a .py script in jupytext's percent (or light) format, or ``BadNotebookError``."""
    text = _text(content)
    if len(text) > MAX_SOURCE:
        _too_long()
    if text.lstrip().startswith("{") and '"cells"' in text:
        _bad("is a notebook named .py", "name it .ipynb")
    try:
        import jupytext
    except ImportError:
        _bad("is a script and jupytext is not installed", "hand in the .ipynb file")
    text = HEADER.sub("", text.replace("\r\n", "\n")).lstrip("\n")
    percent = re.search(r"^# ?%%", text, re.MULTILINE) is not None
    # jupytext takes 0.3 ms for each cell (measured), so a file made of nothing but breaks would stall the batch.
    breaks = sum(line.startswith("#") or not (percent or line.strip()) for line in text.splitlines())
    if breaks > MAX_CELLS:
        _bad(f"has {breaks:,} comments and gaps, more than {MAX_CELLS:,}", "hand in the .ipynb file")
    try:
        notebook = jupytext.reads(text, fmt="py:percent" if percent else "py:light")
        raw = [(cell.cell_type, cell.source) for cell in notebook.cells]
    except (Exception, RecursionError) as error:  # noqa: BLE001 - a YAML header or odd markers can raise anything
        _bad(f"is not a script that jupytext can read: {plain(str(error), 100)}", "hand in the .ipynb file")
    cells = tuple(_cell(_Cell(cell_type=kind, source=source)) for kind, source in raw if kind in ("code", "markdown"))
    return Parsed(cells=_bounded(cells))


def written_in(cells: tuple[Cell, ...]) -> Literal["en", "zh"]:
    """The language of the prose: Chinese where a tenth of the markdown's or comments' letters are Han characters."""
    prose = " ".join(cell.source for cell in cells if cell.kind == "markdown")
    prose += " ".join(comment for cell in cells for comment in re.findall(r"#.*", cell.source) if cell.kind == "code")
    letters = sum(char.isalpha() for char in prose)
    han = sum("\u4e00" <= char <= "\u9fff" for char in prose)
    return "zh" if han >= 10 and han * 10 >= letters else "en"


def _text(content: bytes) -> str:
    if not content.strip(b" \t\r\n\0\xef\xbb\xbf"):
        raise BadNotebookError(Ending.EMPTY, "is an empty file", "save the notebook again and hand it in")
    for first, name in DISGUISES:
        if content.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(first):
            _bad(f"is {name}, not a notebook", "hand in the .ipynb file itself")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        _bad("is UTF-16 text", "save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _bad(f"is not UTF-8 text (byte {error.start})", "save it as UTF-8, or open and save it in Jupyter")


def _decode(content: bytes) -> _Notebook:
    try:
        return _DECODER.decode(content)
    except msgspec.ValidationError as error:
        what = plain(str(error)).replace("`", "'").replace("$", "the file")
        what = what[:1].lower() + what[1:]
        _bad(f"is JSON but not a notebook: {what}", SAVE_AGAIN)
    except msgspec.DecodeError as error:
        # Outputs with NaN (plots, mostly) are written by Jupyter although JSON has no NaN; anything else is damage.
        if len(content) <= MAX_LENIENT and re.search(rb"\b(NaN|Infinity)\b", content):
            return _decode_lenient(content)
        if "truncated" in str(error):
            _bad("ends in the middle: the JSON is cut off", "hand it in again, the upload was incomplete")
        _bad(f"is not JSON: {plain(str(error))}", SAVE_AGAIN)
    except RecursionError:
        _bad("is nested too deeply to be a notebook", SAVE_AGAIN)


def _decode_lenient(content: bytes) -> _Notebook:
    try:
        document = json.loads(content)
        return _DECODER.decode(msgspec.json.encode(_pruned(document)))
    except (ValueError, RecursionError, TypeError, AttributeError, msgspec.MsgspecError) as error:
        _bad(f"is not JSON: {plain(str(error))}", SAVE_AGAIN)


def _pruned(document: Any) -> Any:
    """Only what is kept: the outputs hold the numbers that JSON does not know."""
    if not isinstance(document, dict) or not isinstance(document.get("cells"), list):
        return document
    cells = [{key: cell[key] for key in ("cell_type", "source") if key in cell} for cell in document["cells"]]
    ours = document.get("metadata", {}).get("grader")
    return {"cells": cells, "nbformat": document.get("nbformat", 4), "metadata": {"grader": ours}}


def _check_format(notebook: _Notebook) -> None:
    version = bytes(notebook.nbformat).strip()
    if version in (b"1", b"2", b"3") or (notebook.cells is None and notebook.worksheets is not msgspec.UNSET):
        _bad("was saved by IPython 2 or older (nbformat 3)", SAVE_AGAIN)
    if notebook.cells is None:
        _bad("is JSON but not a notebook: it has no cells", SAVE_AGAIN)
    if re.fullmatch(rb"[5-9]|\d\d+", version):
        _bad(f"has the unknown notebook format {plain(version.decode(), 20)}", "save it as notebook format 4")


def _cell(cell: _Cell) -> Cell:
    source = cell.source if isinstance(cell.source, str) else "".join(cell.source)
    # JSON can hold halves of characters that no file can be written with.
    source = source.encode("utf-8", "replace").decode("utf-8")
    return Cell(kind="code" if cell.cell_type == "code" else "markdown", source=source)


def _bounded(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    if len(cells) > MAX_CELLS:
        _bad(f"has {len(cells):,} cells, more than {MAX_CELLS:,}", "hand in the lab's notebook only")
    if sum(len(cell.source) for cell in cells) > MAX_SOURCE:
        _too_long()
    if not any(cell.kind == "code" and cell.source.strip() for cell in cells):
        raise BadNotebookError(
            Ending.EMPTY, "has no code in it", "fill in the starter notebook, save it and hand it in"
        )
    return cells


def _named_lab(notebook: _Notebook) -> str:
    if notebook.metadata is None:
        return ""
    try:
        return plain(msgspec.json.decode(notebook.metadata.grader, type=_Ours).lab, 60)
    except (msgspec.MsgspecError, RecursionError):
        return ""


def _too_long() -> NoReturn:
    size = f"{MAX_SOURCE // 2**20} MB"
    _bad(f"holds more than {size} of source text", "load data from files instead of pasting it into cells")


def _bad(what: str, fix: str) -> NoReturn:
    raise BadNotebookError(Ending.NOT_A_NOTEBOOK, what, fix)
