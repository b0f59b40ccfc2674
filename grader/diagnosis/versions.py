"""What it means here that a notebook asks for another version of TensorFlow.

Notebooks ask in three ways: a magic of Colab, a line that installs, and a test of ``tf.__version__`` that raises. None
of them changes the version that a run meets, and all of them are found by reading.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from grader.diagnosis.code import Cell, Code
from grader.fits import FITS
from grader.records import Advice, Foreseen

MAGIC = re.compile(r"^%tensorflow_version\s+(?P<version>\d+(?:\.[\dx]+)?)")
INSTALL = re.compile(
    r"^[!%].*\binstall\b.*?\b(?:tensorflow|tf)(?:-gpu|-cpu|_gpu)?\s*(?:==|~=|<=?)\s*[\"']?(?P<version>\d+(?:\.\d+)*)"
)
VERSION = re.compile(r"^(\d+)(?:\.(\d+))?")
HERE = "2"  # where the version is not known, at least this is

TEXTS = {
    "old": (
        "The notebook asks for TensorFlow {asked}; here it is {here}, and nothing can be installed. Code for "
        "TensorFlow 1 does not run on it: delete this line, and write what follows for TensorFlow 2."
    ),
    "keras2": (
        "The notebook asks for TensorFlow {asked}, which has Keras 2; here it is {here} with Keras 3, and nothing "
        "can be installed. Most code runs on both: delete this line, and look at what is found below it."
    ),
    "near": (
        "The notebook asks for TensorFlow {asked}; here it is {here}, with Keras 3 like the one asked for. Delete "
        "this line: the code runs without it."
    ),
}
TEXTS_ZH = {
    "old": (
        "笔记本要求 TensorFlow {asked}；这里是 {here}，而且无法安装任何东西。"
        "TensorFlow 1 的代码不能在它上面运行：删除这一行，并把后面的代码改写为 TensorFlow 2。"
    ),
    "keras2": (
        "笔记本要求 TensorFlow {asked}，它带的是 Keras 2；这里是 {here} 和 Keras 3，而且无法安装任何东西。"
        "大部分代码两者都能运行：删除这一行，再看它后面发现的问题。"
    ),
    "near": ("笔记本要求 TensorFlow {asked}；这里是 {here}，同样带 Keras 3。删除这一行：没有它代码也能运行。"),
}


def asked(code: Code, tensorflow: str, language: str) -> Iterator[Foreseen]:
    """Each place where the notebook asks for a TensorFlow that is not the one here."""
    here = tensorflow or HERE
    for cell in code.cells:
        for line, version, fails in _requests(cell):
            if f"{here}.".startswith(f"{version.removesuffix('.x')}.") or (fails and cell.is_guarded(line)):
                continue
            name = _meaning(version)
            source = cell.lines[line - 1].strip()[:300]
            text = (TEXTS_ZH if language == "zh" else TEXTS)[name].format(asked=version, here=here)
            advice = Advice(rule=f"version-{name}", text=text, old=source)
            yield Foreseen(cell=cell.number, line=line, source_line=source, fails=fails, advice=advice)


def _requests(cell: Cell) -> Iterator[tuple[int, str, bool]]:
    """Line, version, and whether a run fails there where the version is another."""
    for line, text in cell.magics:
        if ((found := MAGIC.match(text)) and not cell.is_guarded(line)) or (found := INSTALL.match(text)):
            yield line, found["version"], False
    for statement in cell.asserts:
        if version := _tested(statement.test):
            yield statement.lineno, version, True


def _tested(test: ast.expr) -> str:
    """The version in ``tf.__version__ == "2.0.0"`` and in ``tf.__version__.startswith("2.0")``."""
    match test:
        case ast.Compare(
            left=ast.Attribute(attr="__version__"), ops=[ast.Eq()], comparators=[ast.Constant(value=str() as version)]
        ):
            pass
        case ast.Call(
            func=ast.Attribute(attr="startswith", value=ast.Attribute(attr="__version__")),
            args=[ast.Constant(value=str() as version)],
        ):
            pass
        case _:
            return ""
    return version.rstrip(".") if VERSION.match(version) else ""


def _meaning(version: str) -> str:
    """Which text fits; the table of what goes together begins with the first TensorFlow that has Keras 3."""
    found = VERSION.match(version)
    major, minor = (int(found[1]), int(found[2] or 0)) if found else (0, 0)
    return "old" if major < 2 else "near" if (major, minor) >= FITS[0].tensorflow else "keras2"
