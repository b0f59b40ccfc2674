"""The checks of a suite, read with ``ast`` and never imported.

So points, needs and descriptions are known before a run and on any machine, and every mistake of an author is found
and reported with its file and line. What a suite *does* is the business of ``grader.checks``. The price: arguments
of ``@check`` have to be literals.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from grader.errors import LabError, plain, suggest
from grader.records import Evidence, Record

ARGUMENTS = ("id", "points", "evidence", "needs", "hint")
EXAMPLE = '@check("id", points=10, evidence=VERIFIED)'


class CheckSpec(Record, frozen=True):
    """One check as its suite declares it; ``description`` is the docstring, which the student sees."""

    id: str
    points: float
    evidence: Evidence
    description: str
    needs: tuple[str, ...] = ()
    hint: str = ""
    function: str = ""
    file: str = ""
    line: int = 0


def read_suite(folder: Path) -> tuple[CheckSpec, ...]:
    """The checks of one suite in the order pytest runs them: by file name, then by line."""
    checks: dict[str, CheckSpec] = {}
    for path in sorted(folder.glob("test_*.py")):
        try:
            tree = _parse(path.read_bytes(), str(path))
        except (SyntaxError, ValueError) as error:
            line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            _wrong(f"is not Python: {plain(str(error.args[0]))}", f"{path}{line}", "correct that line")
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                check = _read_check(node, path)
                if check.id in checks:
                    first = f"{Path(checks[check.id].file).name}:{checks[check.id].line}"
                    _wrong(
                        f"check '{check.id}' exists already at {first}", f"{path}:{check.line}", "give it another id"
                    )
                for need in check.needs:
                    if need not in checks:
                        fix = f"{suggest(need, checks)} A check may need earlier ones only"
                        _wrong(f"check '{check.id}' needs '{plain(need, 60)}'", f"{path}:{check.line}", fix)
                checks[check.id] = check
    return tuple(checks.values())


def _parse(content: bytes, name: str) -> ast.Module:
    """`ast.parse`, tried again after CPython's bug gh-106905.

    In 3.11, what the garbage collector finalizes while a tree is being built may itself build one (a warning's traceback,
    say), and the outer call then ends in a SystemError about its recursion depth. Nothing is wrong with the suite.
    """
    for _ in range(2):
        with contextlib.suppress(SystemError):
            return ast.parse(content, filename=name)
    return ast.parse(content, filename=name)


def _read_check(node: ast.FunctionDef, path: Path) -> CheckSpec:
    calls = [item for item in node.decorator_list if isinstance(item, ast.Call) and _last_name(item.func) == "check"]
    if len(calls) != 1:
        _wrong(f"{node.name} has no @check", f"{path}:{node.lineno}", f"write {EXAMPLE} above it")
    where = f"{path}:{calls[0].lineno}"
    given = _arguments(calls[0], node.name, where)
    evidence = _last_name(given.pop("evidence"))
    if evidence not in ("VERIFIED", "OBSERVED"):
        fix = "nothing is scored on what a notebook claims" if evidence == "CLAIMED" else "write VERIFIED or OBSERVED"
        _wrong(f"evidence of {node.name} is not VERIFIED or OBSERVED", where, fix)
    values = {name: _literal(value, name, where) for name, value in given.items()}
    _validate(values, where)
    description = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
    if not description:
        _wrong(f"{node.name} has no docstring", where, "write one sentence: it is what the student sees")
    return CheckSpec(
        id=values["id"],
        points=float(values["points"]),
        evidence=Evidence[evidence],
        description=description,
        needs=tuple(values.get("needs", ())),
        hint=values.get("hint", ""),
        function=node.name,
        file=str(path),
        line=node.lineno,
    )


def _arguments(call: ast.Call, function: str, where: str) -> dict[str, ast.expr]:
    given: dict[str, ast.expr] = {}
    for keyword in call.keywords:
        if keyword.arg not in ARGUMENTS:
            word = keyword.arg or "**"
            _wrong(f"@check has no argument '{word}'", where, suggest(word, ARGUMENTS))
        given[keyword.arg] = keyword.value
    if len(call.args) > 1 or (call.args and "id" in given):
        _wrong("@check takes the id and keyword arguments only", where, f"write {EXAMPLE}")
    if call.args:
        given["id"] = call.args[0]
    for name in ("id", "points", "evidence"):
        if name not in given:
            _wrong(f"@check of {function} lacks {name}", where, f"write {EXAMPLE}")
    return given


def _validate(values: Mapping[str, Any], where: str) -> None:
    name, points, needs = values["id"], values["points"], values.get("needs", ())
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_-]{0,59}", name):
        _wrong(f"{name!r} is not a check id", where, "use small letters, digits, - and _")
    if isinstance(points, bool) or not isinstance(points, int | float) or not 0 <= points < 1e6:
        _wrong(f"points = {points!r} of '{name}' is not a number from 0 up", where, "write points=10")
    if not isinstance(needs, tuple | list) or not all(isinstance(need, str) for need in needs):
        _wrong(f"needs of '{name}' is not a tuple of check ids", where, 'write needs=("trained",)')
    if not isinstance(values.get("hint", ""), str):
        _wrong(f"hint of '{name}' is not text", where, 'write hint="…"')


def _literal(node: ast.expr, name: str, where: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        _wrong(
            f"{name} of @check is not a literal", where, "write the value itself: suites are read without running them"
        )


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _wrong(what: str, where: str | Path, fix: str) -> NoReturn:
    raise LabError(what, where=str(where), fix=fix)
