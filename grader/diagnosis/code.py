"""A notebook's source, read once: trees, imports and an index of what advice is about.

Source is read here, never run, and it may be anything: magics, another language, half a line, a megabyte of data. What
cannot be parsed has no tree, and finders that need one stay silent. A magic line becomes ``pass`` for the parser, so
that every position in a tree is a position in the student's own text.
"""

from __future__ import annotations

import ast
import contextlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

#: A cell beyond this is data, not code; a notebook is read up to the second. Parsing takes 3 ms for each 10 kB.
CELL_LIMIT = 50_000
NOTEBOOK_LIMIT = 400_000
CELLS_LIMIT = 400
#: What everybody calls the modules, for a line whose imports are not known.
USUAL = {
    "tf": "tensorflow",
    "keras": "keras",
    "np": "numpy",
    "pd": "pandas",
    "plt": "matplotlib.pyplot",
    "K": "keras.backend",
}
MAGIC = re.compile(r"^(?P<indent>\s*)(?P<assign>[\w, ]+=\s*)?(?P<magic>[%!]{1,2}[\w./-].*)$")
HELP = re.compile(r"^\s*\?{0,2}[\w.]+\?{1,2}\s*$")
#: Cell magics after which Python goes on.
PYTHON_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun")
#: Tests that ask for a version or a feature: what stands under them was written for another one.
ASKS = re.compile(r"__version__|hasattr|version_info|sys\.modules|TF_VERSION|IN_COLAB|COLAB", re.IGNORECASE)


@dataclass(frozen=True)
class Edit:
    """Replace ``text[start:end]`` of a cell by ``new``."""

    start: int
    end: int
    new: str


@dataclass(frozen=True)
class Span:
    """Lines of a cell, from 1, both included."""

    first: int
    last: int

    def __contains__(self, line: int) -> bool:
        return self.first <= line <= self.last


@dataclass
class Cell:
    """One code cell. ``names`` are the notebook's imports as far as this cell: alias to dotted path."""

    number: int
    source: str
    tree: ast.Module | None
    magics: tuple[tuple[int, str], ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    calls: dict[str, list[ast.Call]] = field(default_factory=dict)
    attributes: dict[str, list[ast.Attribute]] = field(default_factory=dict)
    keywords: dict[str, list[tuple[ast.Call, ast.keyword]]] = field(default_factory=dict)
    imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)
    subscripts: list[ast.Subscript] = field(default_factory=list)
    asserts: list[ast.Assert] = field(default_factory=list)
    values: dict[str, list[ast.Constant]] = field(default_factory=dict)
    bound: dict[str, list[int]] = field(default_factory=dict)
    filled: dict[str, list[int]] = field(default_factory=dict)
    loaded: dict[str, list[int]] = field(default_factory=dict)
    guarded: list[Span] = field(default_factory=list)
    later: list[Span] = field(default_factory=list)
    statements: list[ast.stmt] = field(default_factory=list)

    @cached_property
    def lines(self) -> list[str]:
        return self.source.split("\n")

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        for line in self.lines:
            starts.append(starts[-1] + len(line) + 1)
        return starts

    def offset(self, line: int, column: int) -> int:
        """The place in the text of a tree's position, whose columns count bytes."""
        text = self.lines[line - 1]
        return self._starts[line - 1] + (column if text.isascii() else len(text.encode()[:column].decode()))

    def start(self, node: ast.AST) -> int:
        return self.offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]  # only nodes with a place are asked

    def end(self, node: ast.AST) -> int:
        return self.offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]  # only nodes with a place are asked

    def text(self, node: ast.AST) -> str:
        return self.source[self.start(node) : self.end(node)]

    def line_at(self, offset: int) -> int:
        return self.source.count("\n", 0, offset) + 1

    def dotted(self, node: ast.AST) -> str:
        """``tensorflow.keras.layers.Dense`` for what the notebook imported so; "" for what is no such chain."""
        path, known = self.resolve(node)
        return path if known else ""

    def resolve(self, node: ast.AST) -> tuple[str, bool]:
        """The dotted path, and whether its first name is an import of this notebook."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return "", False
        known = node.id in self.names
        root = self.names[node.id] if known else USUAL.get(node.id, node.id)
        return ".".join([root, *reversed(parts)]), known

    def statement(self, line: int) -> Span:
        """The lines of the innermost statement around a line; of a block, its head only."""
        best = Span(line, line)
        for node in self.statements:
            body = getattr(node, "body", None)
            inside = [first.lineno for first in body[:1]] if isinstance(body, list) else []
            last = max(node.lineno, min(inside) - 1) if inside else (node.end_lineno or node.lineno)
            if node.lineno <= line <= last:
                best = Span(node.lineno, last)
        return best

    def is_guarded(self, line: int) -> bool:
        """Whether the notebook itself expects this line to fail, or asks before it runs it."""
        return any(line in span for span in self.guarded)

    def is_later(self, line: int) -> bool:
        """Whether the line stands in a function, which may never be called."""
        return any(line in span for span in self.later)


@dataclass(frozen=True)
class Code:
    """A whole notebook's code cells."""

    cells: tuple[Cell, ...]

    @cached_property
    def values(self) -> dict[str, list[tuple[Cell, ast.Constant]]]:
        """Texts assigned to plain names, in the order of the cells."""
        found: dict[str, list[tuple[Cell, ast.Constant]]] = {}
        for cell in self.cells:
            for name, constants in cell.values.items():
                found.setdefault(name, []).extend((cell, constant) for constant in constants)
        return found

    def cell(self, number: int) -> Cell | None:
        return self.cells[number - 1] if 0 < number <= len(self.cells) else None


def read_code(sources: Sequence[str]) -> Code:
    """The code cells of a notebook, numbered as a run numbers them: empty ones do not count."""
    cells: list[Cell] = []
    names: dict[str, str] = {}
    left = NOTEBOOK_LIMIT
    for source in [source for source in sources if source.strip()][:CELLS_LIMIT]:
        left -= len(source)
        cell = _read_cell(len(cells) + 1, source.replace("\r\n", "\n"), left)
        for statement in cell.imports:
            names.update(_aliases(statement))
        for name in cell.bound:  # `layers = [64, 10]`: the name is no module any more
            if name in names and not any(name in _aliases(statement) for statement in cell.imports):
                del names[name]
        cell.names = dict(names)
        cells.append(cell)
    return Code(tuple(cells))


def read_line(line: str) -> Code:
    """One line by itself, as well as it can be read: a block's head or a call cut short is completed first."""
    text = line.strip()
    cell = _read_cell(1, text, NOTEBOOK_LIMIT)
    if cell.tree is None:
        closers = _closers(text)
        for tail in (" pass", closers, f"{closers}: pass"):
            completed = _read_cell(1, text + tail, NOTEBOOK_LIMIT)
            if completed.tree is not None:
                completed.source, cell = text, completed
                break
    return Code((cell,))


def _closers(text: str) -> str:
    """The brackets that a line leaves open, closed; strings are taken to hold none."""
    pairs = {"(": ")", "[": "]", "{": "}"}
    opened: list[str] = []
    for char in text:
        if char in pairs:
            opened.append(pairs[char])
        elif opened and char == opened[-1]:
            opened.pop()
    return "".join(reversed(opened))


def _read_cell(number: int, source: str, left: int) -> Cell:
    if len(source) > CELL_LIMIT or left < 0:
        return Cell(number, source, None)
    masked, magics = _mask(source)
    tree = _parse(masked)
    cell = Cell(number, source, tree, magics)
    if tree is not None:
        _index(cell, tree)
    return cell


def _mask(source: str) -> tuple[str, tuple[tuple[int, str], ...]]:
    """The source with magic lines as ``pass``, and those lines with their numbers."""
    lines = source.split("\n")
    magics: list[tuple[int, str]] = []
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("%%") and not first.startswith(PYTHON_MAGICS):
        return "", ((1, first),)  # the rest is another language
    goes_on = False
    for index, line in enumerate(lines):
        found = None if goes_on else MAGIC.match(line)
        if found or goes_on:
            indent = line[: len(line) - len(line.lstrip())]
            if found:
                magics.append((index + 1, found["magic"].strip()))
                goes_on = line.rstrip().endswith("\\")
                lines[index] = f"{indent}{found['assign'] or ''}{'None' if found['assign'] else 'pass'}"
            else:
                goes_on = line.rstrip().endswith("\\")
                lines[index] = ""
        elif HELP.match(line):
            lines[index] = ""
    return ("\n".join(lines) if magics else source), tuple(magics)


def _parse(source: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the student's invalid escapes are not ours to report
        for _ in range(2):  # CPython 3.11 may end a call in a SystemError, and succeed the next time (gh-106905)
            with contextlib.suppress(SystemError):
                try:
                    return ast.parse(source)
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    return None
    return None


def _index(cell: Cell, tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            cell.statements.append(node)
            _index_statement(cell, node)
        else:
            _index_expression(cell, node)


def _index_expression(cell: Cell, node: ast.AST) -> None:
    match node:
        case ast.Name(id=name, ctx=context):
            (cell.bound if isinstance(context, ast.Store) else cell.loaded).setdefault(name, []).append(node.lineno)
        case ast.Attribute():
            cell.attributes.setdefault(node.attr, []).append(node)
        case ast.Call():
            if name := last_name(node.func):
                cell.calls.setdefault(name, []).append(node)
            for keyword in node.keywords:
                if keyword.arg:
                    cell.keywords.setdefault(keyword.arg, []).append((node, keyword))
        case ast.Subscript():
            cell.subscripts.append(node)
            if isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):  # sizes["Tiny"] = …
                cell.filled.setdefault(node.value.id, []).append(node.lineno)
        case _:
            pass


def _index_statement(cell: Cell, node: ast.stmt) -> None:
    match node:
        case ast.Assign(value=ast.Constant(value=str()) as value):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    cell.values.setdefault(target.id, []).append(value)
        case ast.Import() | ast.ImportFrom():
            cell.imports.append(node)
            for alias in node.names:
                cell.bound.setdefault((alias.asname or alias.name).partition(".")[0], []).append(node.lineno)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            cell.bound.setdefault(node.name, []).append(node.lineno)
            cell.later.append(_span(node))
        case ast.ClassDef():
            cell.bound.setdefault(node.name, []).append(node.lineno)
        case ast.Assert():
            cell.asserts.append(node)
        case ast.Try(body=[first, *_], handlers=[_, *_]):
            cell.guarded.append(Span(first.lineno, node.body[-1].end_lineno or first.lineno))
            cell.guarded.extend(_span(handler) for handler in node.handlers)
        case ast.If() if ASKS.search(cell.text(node.test)):
            cell.guarded.append(_span(node))
        case _:
            pass


def _span(node: ast.stmt | ast.excepthandler) -> Span:
    return Span(node.lineno, node.end_lineno or node.lineno)


def _aliases(statement: ast.Import | ast.ImportFrom) -> dict[str, str]:
    if isinstance(statement, ast.Import):
        return {
            alias.asname or alias.name.partition(".")[0]: alias.name if alias.asname else alias.name.partition(".")[0]
            for alias in statement.names
        }
    if statement.level or not statement.module:
        return {}
    return {alias.asname or alias.name: f"{statement.module}.{alias.name}" for alias in statement.names}


def last_name(node: ast.AST) -> str:
    """``fit`` of ``model.fit`` and of ``fit``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
