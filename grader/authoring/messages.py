"""What has to be translated of a lab, and the catalogues that hold the translations.

Sentences are read from the source and never kept by hand: the lab's title, the descriptions and hints of its checks,
and every string of two or more words in its suites that is not for staff, not code and not compared with. An f-string
becomes its text with numbered gaps, see ``grader.reports.phrases``. ``tools/messages.py`` keeps the catalogues of the
checkout with this, ``grader lint`` tells what is missing, and ``grader release`` writes a kit's own.
"""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from grader.errors import LabError
from grader.labs import Lab
from grader.labs.suites import read_suite
from grader.settings import LOCALE

SUITES = ("hidden_tests", "public_tests")
#: A gap of a sentence, and how a finding about one that has no translation begins.
GAPS = re.compile(r"\{\d+\}")
MISSING = "not translated"
#: Calls whose text is for the teaching team, and keywords that are.
FOR_STAFF = frozenset({"flag", "LabError", "TapeMiss", "staff.append"})
STAFF_KEYWORDS = frozenset({"staff", "staff_note"})

#: Of a new language; Plural-Forms is to be corrected where it has others than English.
HEADER = """msgid ""
msgstr ""
"Project-Id-Version: grader 1\\n"
"Language: {tag}\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n\""""

#: By context and text: where it stands.
Messages = dict[tuple[str | None, str | tuple[str, ...]], list[tuple[str, int]]]


def lab_messages(lab: Lab, language: str, suites: tuple[str, ...] = SUITES) -> Messages:
    """The messages of a lab's catalogue; of a kit's, whose only suite is the public one."""
    found: Messages = {}

    def add(text: str, where: str) -> None:
        places = found.setdefault((None, text), [])
        if (where, 0) not in places:
            places.append((where, 0))

    if not (language == "zh" and lab.title_zh):
        add(lab.title, "lab.toml")
    for suite in suites:
        for check in read_suite(lab.folder / suite):
            add(check.description, f"{suite}/{Path(check.file).name}")
            if is_sentence(check.hint):
                add(check.hint, f"{suite}/{Path(check.file).name}")
        for path in sorted((lab.folder / suite).glob("test_*.py")):
            for text in sentences(read_text(path)):
                add(text, f"{suite}/{path.name}")
    return found


def read_text(path: Path) -> str:
    """A text of a lab. Raises LabError naming the file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise LabError("is not UTF-8 text", where=str(path), fix="save it as UTF-8") from None
    except OSError as error:
        raise LabError(f"cannot be read: {error.strerror}", where=str(path), fix="check the file") from None


def sentences(source: str, names: tuple[str, ...] = ()) -> Iterator[str]:
    """The strings of a module that are sentences; ``names`` limits them to those functions, classes and constants."""
    tree = ast.parse(source)
    for node in ast.walk(tree) if names else [tree]:
        if not names or _name(node) in names:
            yield from dict.fromkeys(_sentences(node))


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return getattr(node, "name", "")


def _sentences(node: ast.AST) -> Iterator[str]:
    text = template(node)
    if text is not None:
        if is_sentence(text):
            yield text
        return
    if isinstance(node, ast.keyword) and node.arg in STAFF_KEYWORDS:
        return
    if isinstance(node, ast.Call) and _called(node) in FOR_STAFF:
        return
    if isinstance(node, ast.Compare):
        return
    body = getattr(node, "body", None)
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    for child in ast.iter_child_nodes(node):
        docstring = documented and isinstance(body, list) and child is body[0] and isinstance(child, ast.Expr)
        if not docstring:
            yield from _sentences(child)


def _called(node: ast.Call) -> str:
    if not isinstance(node.func, ast.Attribute):
        return getattr(node.func, "id", "")
    return "staff.append" if ast.unparse(node.func).endswith(".staff.append") else node.func.attr


def template(node: ast.AST) -> str | None:
    """A string as it stands, an f-string with numbered gaps; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return None
    text, gaps = "", 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        else:
            text += f"{{{gaps}}}"
            gaps += 1
    return text


def is_sentence(text: str) -> bool:
    """Two words or more that are no Python: `loss(model, x, y)` is read the same in every language."""
    fixed = GAPS.sub("", text)
    if not re.search(r"[A-Za-z]{2}", fixed) or " " not in text.strip():
        return False
    if not re.search(r"[()\[\]=.:]", text):
        return True
    code = GAPS.sub("x", text.replace("…", "..."))
    return not any(map(_is_python, (code, f"f({code})")))


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def read(path: Path) -> Catalog:
    """The catalogue, or an empty one of the same language as the package's."""
    for place in (path, LOCALE / path.name):
        if place.is_file():
            read_text(place)
            with place.open("rb") as file:
                found = read_po(file)
            return found if place == path else Catalog(locale=found.locale)
    return Catalog(locale=path.stem)


def header(path: Path) -> str:
    """The catalogue's own first entry; the package's for a new one of a lab."""
    for place in (path, LOCALE / path.name):
        if place.is_file():
            text = place.read_text(encoding="utf-8").partition("\n\n")[0]
            return text[text.index('msgid ""') :]
    return HEADER.format(tag=path.stem)


def wrong(path: Path, wanted: Messages) -> list[str]:
    """What a catalogue lacks, and what it holds for nothing."""
    have = {(entry.context, entry.id): entry for entry in read(path) if entry.id}
    missing = [
        f"{MISSING}: {key[1]!r}"
        for key in wanted
        if key not in have or have[key].fuzzy or not all(_strings(have[key].string))
    ]
    return missing + [f"left over: {key[1]!r}" for key in have if key not in wanted]


def _strings(string: str | tuple[str, ...] | list[str] | None) -> list[str]:
    return [string or ""] if string is None or isinstance(string, str) else list(string)


def languages(lab: Lab) -> tuple[str, ...]:
    """The languages that a lab has a catalogue of, or must have because its handout is translated."""
    handouts = {path.suffixes[0][1:] for path in lab.folder.glob("handout.*.md")}
    return tuple(sorted(handouts | {path.stem for path in (lab.folder / "locale").glob("*.po")}))


def update(path: Path, wanted: Messages) -> None:
    """Write the catalogue anew: the source's order, the old translations."""
    text = renewed(path, wanted)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def renewed(path: Path, wanted: Messages) -> str:
    """The catalogue's text with these messages and no others, each with the translation that it has there."""
    old = read(path)
    have = {(entry.context, entry.id): entry.string for entry in old if entry.id}
    new = Catalog(locale=old.locale)
    for (context, message), places in wanted.items():
        string = have.get((context, message), "" if isinstance(message, str) else ("",) * new.num_plurals)
        new.add(message, string, locations=places, context=context)
    body = io.BytesIO()
    write_po(body, new, width=120, omit_header=True, include_lineno=False)
    return f"{header(path)}\n\n{body.getvalue().decode()}"
