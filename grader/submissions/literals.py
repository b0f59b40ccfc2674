"""Large literals: data that a notebook carries in its source, where a lab's data come from files.

A table of answers, somebody's weights or a copy of a test set has to be in the source: nothing else of a submission
reaches the sandbox. What tells it from prose and code is how little it compresses: all the code of a reference
notebook compresses to 0.9 to 1.6 kB (measured), so one literal that still holds more than that is data. It is a flag for
the staff, never a verdict: a picture's base64 may be honest.

A comment carries as well as a literal does, since a notebook can read its own cells (`In`). Of comments only the words count
that are longer than words are: old code and prose are honest there, and compress to more than a table holds.

Sources are read, never compiled or run. Cell magics and other IPython syntax do not parse as Python: such a cell is
searched for quoted text instead.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import tokenize
import warnings
import zlib
from collections.abc import Iterator

from grader.records import Record
from grader.submissions.notebooks import Cell

#: Bytes that one literal, or all of a notebook together, may hold after compression. Ten class names hold 0.1 kB, a
#: page of prose of 2,000 words 5 to 6 kB; a 16-bit hash and a label for each of 1,000 digits 2.5 kB, for 5,000 digits 12 kB.
ONE, ALL = 2_000, 8_000
#: Shorter literals cannot hold that much and are not looked at one by one.
SHORTEST = 200
#: A cell larger than this is searched as text: the parser needs 150 (numbers) to 920 (names alone) bytes of memory for
#: each byte of source, as tracemalloc counts them in Python 3.11.
LARGEST_PARSED = 1 << 18
QUOTED = re.compile(r"""("{3}|'{3}|"|')(.{200,}?)\1""", re.DOTALL)
#: What follows a "#" where nobody can tell comments from strings; what no hand has written: 40 characters without a space.
COMMENT, LONG_WORD = re.compile(r"#(.*)"), re.compile(r"\S{40,}")


class LargeLiteral(Record, frozen=True):
    """Where it is (cells count code cells from 1), how long it is, and what it holds after compression, in bytes."""

    cell: int
    line: int
    length: int
    held: int


def large_literals(cells: tuple[Cell, ...]) -> tuple[LargeLiteral, ...]:
    """The literals that are data rather than prose, largest first: each above ONE, or all where they exceed ALL."""
    found = []
    sources = [cell.source for cell in cells if cell.kind == "code"]
    for number, source in enumerate(sources, start=1):
        for line, text in (*_literals(source), *_commented(source)):
            held = len(zlib.compress(text.encode("utf-8", "replace"), 6))
            found.append(LargeLiteral(cell=number, line=line, length=len(text), held=held))
    found.sort(key=lambda literal: -literal.held)
    if sum(literal.held for literal in found) > ALL:
        return tuple(found)
    return tuple(literal for literal in found if literal.held > ONE)


def code_bytes(cells: tuple[Cell, ...]) -> int:
    """The size of all code, in bytes of UTF-8."""
    return sum(len(cell.source.encode("utf-8", "replace")) for cell in cells if cell.kind == "code")


def _literals(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each outermost literal of some length: strings, bytes, and displays made of constants."""
    tree = _parsed(source)
    if tree is None:
        for match in QUOTED.finditer(source):
            yield source.count("\n", 0, match.start()) + 1, match.group(2)
        return
    lines = [line.encode("utf-8", "replace") for line in source.splitlines(keepends=True)]
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Constant | ast.List | ast.Tuple | ast.Set | ast.Dict) and _is_constant(node):
            text = _segment(lines, node)
            if len(text) >= SHORTEST:
                yield node.lineno, text
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _commented(source: str) -> Iterator[tuple[int, str]]:
    """(line, text): the long words of all comments of a cell together, at the first of them."""
    words = [(line, word) for line, comment in _comments(source) for word in LONG_WORD.findall(comment)]
    text = "\n".join(word for _, word in words)
    if len(text) >= SHORTEST:
        yield words[0][0], text


def _comments(source: str) -> list[tuple[int, str]]:
    """(line, text) of each comment; of source that is not Python, of whatever follows a "#"."""
    if len(source) <= LARGEST_PARSED:
        with contextlib.suppress(tokenize.TokenError, SyntaxError, ValueError):
            tokens = tokenize.generate_tokens(io.StringIO(source).readline)
            return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
    return [(number, match[1]) for number, line in enumerate(source.split("\n"), 1) if (match := COMMENT.search(line))]


def _parsed(source: str) -> ast.Module | None:
    if len(source) > LARGEST_PARSED:
        return None
    plain = re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a student's "\d" is not ours to mention
            return ast.parse(plain)
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
        return None


def _is_constant(node: ast.AST) -> bool:
    """Whether a literal is made of nothing but constants, however deep."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        match item:
            case ast.Constant() | ast.expr_context() | ast.UAdd() | ast.USub():
                pass
            case ast.List() | ast.Tuple() | ast.Set() | ast.Dict() | ast.UnaryOp(op=ast.UAdd() | ast.USub()):
                waiting.extend(ast.iter_child_nodes(item))
            case _:
                return False
    return True


def _segment(lines: list[bytes], node: ast.expr) -> str:
    """The source of a node. ``ast.get_source_segment`` splits the whole source anew for each node: quadratic."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    parts = lines[first : last + 1]
    if not parts:  # \f and its kin end a line for str.splitlines and not for the parser
        return ""
    parts[-1] = parts[-1][: node.end_col_offset]
    parts[0] = parts[0][node.col_offset :]
    return b"".join(parts).decode("utf-8", "replace")
