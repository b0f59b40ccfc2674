"""Finders: where in a notebook an old idiom stands, and the edits that mend it.

A finder looks at one cell and yields hits. The same finder serves twice: after a run it is pointed at the cell that
failed, and the exception has said already what is wrong; before a run it is ``strict`` and names only what the
notebook's own imports prove, because a false alarm costs more trust than a missed one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from grader.diagnosis.code import USUAL, Cell, Code, Edit, last_name

KERAS = r"(?:tensorflow\.)?(?:python\.)?keras\."
#: What a file of weights or of a model may have been called before Keras 3.
OLD_ENDING = re.compile(r"(?:\.weights)?(?:\.(?:ckpt|h5|hdf5|tf|keras|index))?/?$")


@dataclass(frozen=True)
class Hit:
    """One place. Without edits it is only pointed at. ``names`` fill the rule's text.

    What fails is at ``start`` of ``cell``; where what has to change was written in an earlier one, that is ``owner``.
    """

    cell: Cell
    start: int
    edits: tuple[Edit, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    owner: Cell | None = None

    @property
    def line(self) -> int:
        return self.cell.line_at(self.start)


@dataclass(frozen=True)
class Look:
    """Where a finder looks. ``files`` are the data files that a run finds by name."""

    code: Code
    cell: Cell
    strict: bool = False
    files: frozenset[str] = frozenset()
    data: str = ""

    def means(self, node: ast.AST, home: str) -> bool:
        """Whether a name means what ``home`` (a pattern of dotted paths) says; unknown names do unless strict."""
        path, known = self.cell.resolve(node)
        return re.match(home, path) is not None if known else not self.strict

    def defines(self, name: str) -> bool:
        """Whether the notebook itself makes something of that name."""
        return any(name in cell.bound for cell in self.code.cells)


Finder = Callable[[Look], Iterator[Hit]]
Predicate = Callable[[str], bool]


def all_of(*finders: Finder) -> Finder:
    """The hits of several finders."""

    def find(look: Look) -> Iterator[Hit]:
        for finder in finders:
            yield from finder(look)

    return find


# ---------------------------------------------------------------- arguments


def keyword(old: str, new: str | None, *, calls: tuple[str, ...] = (), home: str = "") -> Finder:
    """An argument that has another name now, or (``new`` is None) none."""

    def find(look: Look) -> Iterator[Hit]:
        cell = look.cell
        for call, argument in cell.keywords.get(old, ()):
            if (calls and last_name(call.func) not in calls) or (home and not look.means(call.func, home)):
                continue
            start = cell.start(argument)
            edit = without(cell, call, argument) if new is None else Edit(start, start + len(old), new)
            yield Hit(cell, start, (edit,))

    return find


def keyword_value(old: str, new: str, *, calls: tuple[str, ...], home: str = "") -> Finder:
    """An argument replaced together with its value: ``period=5`` by ``save_freq="epoch"``."""

    def find(look: Look) -> Iterator[Hit]:
        for call, argument in look.cell.keywords.get(old, ()):
            if last_name(call.func) in calls and (not home or look.means(call.func, home)):
                start = look.cell.start(argument)
                yield Hit(look.cell, start, (Edit(start, look.cell.end(argument), new),))

    return find


def without(cell: Cell, call: ast.Call, argument: ast.keyword) -> Edit:
    """The edit that takes an argument out, with its comma."""
    others = sorted([*call.args, *call.keywords], key=cell.start)
    place = others.index(argument)
    if place:
        return Edit(cell.end(others[place - 1]), cell.end(argument), "")
    end = cell.start(others[1]) if len(others) > 1 else cell.end(argument)
    return Edit(cell.start(argument), end, "")


def list_argument(name: str, call_name: str) -> Finder:
    """An argument that must be a list: ``metrics="accuracy"`` becomes ``metrics=["accuracy"]``."""

    def find(look: Look) -> Iterator[Hit]:
        cell = look.cell
        for call, argument in cell.keywords.get(name, ()):
            value = argument.value
            plain = isinstance(value, ast.Constant) and isinstance(value.value, str)
            made = isinstance(value, ast.Call) and look.means(value.func, KERAS + "metrics|tensorflow.metrics")
            if last_name(call.func) == call_name and (
                plain or made or (isinstance(value, ast.Name) and not look.strict)
            ):
                yield Hit(cell, cell.start(value), (Edit(cell.start(value), cell.end(value), f"[{cell.text(value)}]"),))

    return find


# ---------------------------------------------------------------- names


def attribute(old: str, new: str = "", *, base: str = "", called: bool = False, set_to: bool = False) -> Finder:
    """An attribute of an object whose class cannot be read from the source, read or (``set_to``) assigned.

    ``base`` is a pattern of what it is an attribute of.
    """

    def find(look: Look) -> Iterator[Hit]:
        cell = look.cell
        if look.strict and look.defines(old):
            return
        functions = {id(call.func) for call in cell.calls.get(old, ())} if called else set()
        for node in cell.attributes.get(old, ()):
            if (called and id(node) not in functions) or isinstance(node.ctx, ast.Store) is not set_to:
                continue
            if look.strict and base and not re.search(base, cell.text(node.value)):
                continue
            if cell.resolve(node.value)[1]:  # of a module, not of an object
                continue
            end = cell.end(node)
            yield Hit(cell, end - len(old), (Edit(end - len(old), end, new),) if new else (), {"name": old})

    return find


def path(old: str, new: str = "") -> Finder:
    """A dotted name that moved: both are full paths, and the new one is written as this notebook calls its modules."""
    module, _, name = old.rpartition(".")

    def find(look: Look) -> Iterator[Hit]:
        cell = look.cell
        for node in cell.attributes.get(name, ()):
            found, known = cell.resolve(node)
            if found == old and (known or not look.strict):
                edits = (Edit(cell.start(node), cell.end(node), _written(cell, node, new)),) if new else ()
                yield Hit(cell, cell.start(node), edits, {"name": name})
        for statement in cell.imports:
            if isinstance(statement, ast.ImportFrom) and statement.module == module:
                for alias in statement.names:
                    if alias.name == name:
                        yield Hit(cell, cell.start(statement), (), {"name": name})

    return find


def below(prefix: str) -> Finder:
    """Anything below a module that is gone, used or imported."""

    def find(look: Look) -> Iterator[Hit]:
        cell = look.cell
        for node in cell.attributes.get(prefix.rpartition(".")[2], ()):
            found, known = cell.resolve(node)
            if found == prefix and (known or not look.strict):
                yield Hit(cell, cell.start(node))
        yield from modules(re.escape(prefix) + r"(?:\..*)?")(look)

    return find


def _written(cell: Cell, node: ast.AST, path: str) -> str:
    """A full path as the notebook would write it, by the name that ``node`` begins with where that reaches it."""
    while isinstance(node, ast.Attribute):
        node = node.value
    begins = cell.text(node)
    reaches = cell.names.get(begins, USUAL.get(begins, ""))
    if reaches and f"{path}.".startswith(f"{reaches}."):
        return begins + path[len(reaches) :]
    module, dot, rest = path.partition(".")
    return f"{_alias(cell, module)}.{rest}" if dot else path


def _alias(cell: Cell, module: str) -> str:
    """What the notebook calls a module, or what everybody does."""
    for names in (cell.names, USUAL):
        for name, meant in names.items():
            if meant == module:
                return name
    return module


def wrap(old: str, template: str) -> Finder:
    """A call of a function that is gone, written anew.

    ``{args}`` is what stood between its brackets, ``{tf}`` and ``{keras}`` what the notebook calls those modules.
    """
    name = old.rpartition(".")[2]

    def find(look: Look) -> Iterator[Hit]:
        cell = look.cell
        for call in cell.calls.get(name, ()):
            found, known = cell.resolve(call.func)
            if found == old and (known or not look.strict):
                called = {"tf": _alias(cell, "tensorflow"), "keras": _alias(cell, "keras")}
                new = template.format(args=arguments(cell, call), **called)
                yield Hit(cell, cell.start(call), (Edit(cell.start(call), cell.end(call), new),), {"name": name})

    return find


def method(old: str, template: str) -> Finder:
    """A method that is gone, its call written anew: ``{base}`` is the object, ``{args}`` the arguments."""

    def find(look: Look) -> Iterator[Hit]:
        cell = look.cell
        if look.strict and look.defines(old):
            return
        for call in cell.calls.get(old, ()):
            if isinstance(call.func, ast.Attribute) and not cell.resolve(call.func.value)[1]:
                new = template.format(base=cell.text(call.func.value), args=arguments(cell, call))
                yield Hit(cell, cell.end(call.func) - len(old), (Edit(cell.start(call), cell.end(call), new),))

    return find


def arguments(cell: Cell, call: ast.Call) -> str:
    """What stands between the brackets of a call."""
    parts = [*call.args, *call.keywords]
    if not parts:
        return ""
    return cell.source[min(map(cell.start, parts)) : max(map(cell.end, parts))]


# ---------------------------------------------------------------- modules


def modules(pattern: str, new: Callable[[re.Match[str]], str] | None = None) -> Finder:
    """Imports of (or from) modules that match as a whole; ``new`` gives the module's name now."""
    matches = re.compile(pattern).fullmatch

    def find(look: Look) -> Iterator[Hit]:
        cell = look.cell
        for statement in cell.imports:
            if isinstance(statement, ast.ImportFrom):
                named = [statement.module or ""]
                named += [f"{statement.module}.{alias.name}" for alias in statement.names]
            else:
                named = [alias.name for alias in statement.names]
            found = next((match for name in named if (match := matches(name))), None)
            if found is None or (isinstance(statement, ast.ImportFrom) and statement.level):
                continue
            edits: tuple[Edit, ...] = ()
            if new and found.group() == named[0]:
                place = cell.source.find(found.group(), cell.start(statement))
                edits = (Edit(place, place + len(found.group()), new(found)),) if place >= 0 else ()
            yield Hit(cell, cell.start(statement), edits, {"name": found.group()})

    return find


def imported(
    module: str, names: str, new: Callable[[Cell, ast.ImportFrom, re.Match[str]], str] | None = None
) -> Finder:
    """``from module import name`` where both match as a whole; ``new`` writes the statement anew ("" cannot)."""
    from_module, has_name = re.compile(module).fullmatch, re.compile(names).fullmatch

    def find(look: Look) -> Iterator[Hit]:
        cell = look.cell
        for statement in cell.imports:
            if not isinstance(statement, ast.ImportFrom) or statement.level or not from_module(statement.module or ""):
                continue
            found = next((match for alias in statement.names if (match := has_name(alias.name))), None)
            if found is None:
                continue
            text = new(cell, statement, found) if new else ""
            edits = (Edit(cell.start(statement), cell.end(statement), text),) if text else ()
            yield Hit(cell, cell.start(statement), edits, {"name": found.group()})

    return find


def replace_imported(name: str) -> Callable[[Cell, ast.ImportFrom, re.Match[str]], str]:
    """The same import with another name in place of the one that matched."""

    def new(cell: Cell, statement: ast.ImportFrom, found: re.Match[str]) -> str:
        text, (head, word, tail) = cell.text(statement), cell.text(statement).rpartition(found.group())
        return f"{head}{name}{tail}" if word else text

    return new


# ---------------------------------------------------------------- texts


def literal(look: Look, node: ast.AST, depth: int = 0) -> tuple[Cell, ast.expr, str] | None:
    """The text that a file name comes from: itself, what a variable was given, or the last part of a join."""
    match node:
        case ast.Constant(value=str() as text):
            return look.cell, node, text
        case ast.Name(id=name) if values := look.code.values.get(name):
            before = [item for item in values if item[0].number <= look.cell.number] or values
            cell, constant = before[-1]
            return cell, constant, str(constant.value)
        case ast.JoinedStr(values=[*_, ast.Constant(value=str() as text)]):
            return look.cell, node, text
        case ast.BinOp(op=ast.Add(), right=right) if depth < 4:
            return literal(look, right, depth + 1)
        case ast.Call(func=ast.Attribute(attr="format", value=base)) if depth < 4:
            return literal(look, base, depth + 1)
        case ast.Call(func=func, args=[*_, last]) if last_name(func) in ("join", "Path", "str") and depth < 4:
            return literal(look, last, depth + 1)
        case _:
            return None


def file_name(
    calls: tuple[str, ...],
    wrong: Predicate,
    ending: str,
    *,
    argument: str = "filepath",
    home: str = "",
    only: Callable[[Cell, ast.Call], bool] = lambda cell, call: True,
) -> Finder:
    """A file name whose ending Keras 3 refuses, wherever it was written, with the ending it takes."""

    def find(look: Look) -> Iterator[Hit]:
        cell = look.cell
        for call in (call for name in calls for call in cell.calls.get(name, ())):
            if not only(cell, call) or (home and not look.means(call.func, home)):
                continue
            named = [item.value for item in call.keywords if item.arg == argument]
            node = named[0] if named else call.args[0] if call.args else None
            found = literal(look, node) if node is not None else None
            if node is None or found is None:
                if node is not None and not look.strict:
                    yield Hit(cell, cell.start(node))
                continue
            owner, constant, text = found
            if not wrong(text):
                continue
            edits = _within(owner, constant, text, OLD_ENDING.sub("", text, count=1) + ending)
            yield Hit(cell, cell.start(call), edits, {"name": text}, owner)

    return find


def _within(cell: Cell, node: ast.AST, old: str, new: str) -> tuple[Edit, ...]:
    """The text of a literal written anew, within its quotes; nothing where it is written by escapes."""
    place = cell.text(node).rfind(old)
    start = cell.start(node) + place
    return () if place < 0 else (Edit(start, start + len(old), new),)


def text_in(
    calls: tuple[str, ...],
    matches: Callable[[Look, str], bool],
    *,
    home: str = "",
    every: bool = False,
    mend: Callable[[str], str] | None = None,
) -> Finder:
    """A call whose first text argument (or any, with ``every``) is of a kind: an address, another computer's path.

    ``mend`` gives what to write instead, wherever the text was written.
    """

    def find(look: Look) -> Iterator[Hit]:
        cell = look.cell
        for call in (call for name in calls for call in cell.calls.get(name, ())):
            if home and not look.means(call.func, home):
                continue
            given = [*call.args, *(item.value for item in call.keywords)]
            texts = [found for node in given if (found := literal(look, node))]
            if not texts or any(os_name(text) in look.files for _, _, text in texts):
                continue
            chosen = next((found for found in (texts if every else texts[:1]) if matches(look, found[2])), None)
            if chosen is not None:
                owner, node, text = chosen
                edits = _within(owner, node, text, mend(text)) if mend else ()
                yield Hit(cell, cell.start(call), edits, {"path": text, "name": last_name(call.func)}, owner)

    return find


def os_name(text: str) -> str:
    """The last part of a path or an address."""
    return re.split(r"[/\\]", text.partition("?")[0])[-1]


def magic(pattern: str) -> Finder:
    """Magic and shell lines, to be deleted."""
    search = re.compile(pattern).search

    def find(look: Look) -> Iterator[Hit]:
        cell = look.cell
        for line, text in cell.magics:
            if found := search(text):
                start = cell.offset(line, 0)
                edits = (Edit(start, start + len(cell.lines[line - 1]), ""),)
                yield Hit(cell, start, edits, {"name": found.group(), **found.groupdict("")})

    return find


def regex(pattern: str, new: str) -> Finder:
    """Text of a cell that is no Python at all, such as a print statement."""
    search = re.compile(pattern, re.MULTILINE)

    def find(look: Look) -> Iterator[Hit]:
        if look.cell.tree is None and len(look.cell.source) < 20_000:
            for found in search.finditer(look.cell.source):
                yield Hit(look.cell, found.start(), (Edit(found.start(), found.end(), found.expand(new)),))

    return find
