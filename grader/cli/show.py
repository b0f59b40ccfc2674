r"""How things are said on a terminal.

A name or a message may come from a submission. Everything printed goes through ``safe``: control characters, escape
sequences and bidirectional overrides are spelt out (``\x1b``, ``\u202e``), so that no file name can colour, move or
reverse a line. Rich's markup and emoji codes are off for the same reason.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: A table that is not on a terminal has no edge to fit; wide enough for a matrix of a dozen checks.
PAPER = 200
#: Rows beyond which a table is only lined up, not fitted to the screen: Rich took a minute for the grades of 10,000.
LONG = 1_000


def safe(text: str, limit: int = 160) -> str:
    """Foreign text fit for one line: what cannot be seen, or would move other text, is spelt out."""
    shown = "".join(char if char.isprintable() else _spelt(char) for char in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _spelt(char: str) -> str:
    if unicodedata.category(char) == "Zs":  # the full-width space of Chinese text and its kin
        return " "
    return char.encode("unicode_escape").decode("ascii")


def one_line(text: str, limit: int = 600) -> str:
    """Several lines as one, each made safe."""
    return safe(" ".join(text.split("\n")).strip(), limit)


def say(text: str = "", *, err: bool = False) -> None:
    """One line for a person."""
    click.echo(safe(text, 2_000), err=err)


def complain(text: str, kind: str = "error") -> None:
    """``grader: error: …`` on stderr, always one line."""
    prefix = f"grader: {kind}: " if kind else "grader: "
    click.echo(prefix + one_line(text, 1_000), err=True)


def console(*, err: bool = False) -> Console:
    """A console that takes text as it is. Where there is no terminal, tables are as wide as they need."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else PAPER
    return Console(file=stream, markup=False, emoji=False, highlight=False, width=width)


def table(title: str, columns: Sequence[str], right: Sequence[str] = ()) -> Table:
    """A plain table; the columns in ``right`` hold numbers."""
    from rich import box
    from rich.table import Table

    made = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, show_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def print_table(made: Table) -> None:
    """The table on stdout; without the spaces that fill its lines where it is not a terminal."""
    if made.row_count > LONG:
        click.echo("\n".join(_lines(made)))
        return
    screen = console()
    if screen.is_terminal:
        screen.print(made)
        return
    with screen.capture() as capture:
        screen.print(made)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _lines(made: Table) -> Iterator[str]:
    """A long table in columns, each as wide as its widest cell."""
    from rich.cells import cell_len

    columns = [[str(column.header), *map(str, column.cells)] for column in made.columns]
    widths = [max(map(cell_len, cells)) for cells in columns]
    for row in zip(*columns, strict=True):
        fitted = [
            " " * (width - cell_len(cell)) + cell
            if column.justify == "right"
            else cell + " " * (width - cell_len(cell))
            for cell, width, column in zip(row, widths, made.columns, strict=True)
        ]
        yield "  ".join(fitted).rstrip()


def number(value: float) -> str:
    """``62.5``, ``100``: as few digits as say it."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def several(count: int, one: str, many: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{count} {one if count == 1 else many}"
