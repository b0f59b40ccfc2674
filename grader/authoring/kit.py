"""The student's kit of a lab: starter, handouts, the public suite, pins, a README. Nothing hidden is in it.

    <lab>/README.md, <lab>.ipynb, handout.md, handout.zh.md, requirements.txt, the files that handouts link to
    <lab>/labs/<lab>/lab.toml, public_tests/, locale/      what `grader check` reads

Theory of operation. Everything is put in by name: of the spec the keys in ``PUBLIC``, of the catalogues the sentences that
the public suite says. Then the finished kit is searched for what must not be there (``secrets_of``): solutions, the
sentences, functions and thresholds of the hidden suite, mutants. A find stops the release. Handouts and the starter's prose
are written for students, so they may say in words what a hidden check asks, and show code; the strings of a public suite may
show a short line of code as a hint. The same lab gives the same bytes: no dates, no order of a folder, and a zip without
compression.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote

from grader.authoring.messages import GAPS, SUITES, lab_messages, languages, read_text, renewed
from grader.errors import LabError, UsageError, plain
from grader.exports.packing import packed
from grader.labs import Lab
from grader.labs.alternatives import read_alternatives
from grader.labs.starter import (
    MARKERS,
    given,
    is_python,
    is_solution,
    notebook_bytes,
    read_mutants,
    read_reference,
    reference_path,
    solved,
    source,
    starter,
)
from grader.records import Record

#: Of the spec. `observe` serves hidden checks only, thresholds and `starter_score` are the grader's.
PUBLIC = ("schema", "id", "title", "title_zh", "data", "gpu", "limits", "kernel", "contract", "files")
PUBLIC_SUITE = SUITES[1:]
#: A shorter line (`return x`) or sentence stands in too many places to be anybody's secret.
TELLING = 25
#: A line of this length stands nowhere by chance; of an alternative, which nobody has copied from, only such count.
UNMISTAKABLE = 50
#: Where a handout's link may not lead: what is the staff's.
HIDDEN = ("lab.toml", "calibration.md", "hidden_tests", "mutants", "alternatives", "calibration")
LINK = re.compile(
    r"""\]\(\s*<?([^)\s>]+)|^ {0,3}\[[^]]+\]:\s*<?([^\s>]+)|\b(?:src|href)\s*=\s*["']([^"']+)""", re.MULTILINE
)
#: In code `rows[0](x)` is no link.
CODE = re.compile(r"^[ \t]*(```|~~~).*?^[ \t]*\1|`[^`\n]+`", re.MULTILINE | re.DOTALL)
ELSEWHERE = re.compile(r"[A-Za-z][\w+.-]*:|//|#|$")
#: Pictures and samples, no data sets: a kit is handed to every student.
MOST_BYTES = 8 << 20
PINS = Path(__file__).resolve().parents[2] / "requirements" / "runtime.txt"
README = """\
# {title}

| file | what it is |
|---|---|
| `{id}.ipynb` | the notebook that you complete and hand in |
| `handout.md`{handouts} | what to build, and how it is graded |
| `requirements.txt` | the versions that your notebook is graded with |
| `labs/` | the public checks, which you can run yourself |

Install the grader as your course says, then the packages: `python -m pip install -r requirements.txt`

Check yourself, in this folder:

    grader check {id}.ipynb

It runs your notebook from top to bottom as it is graded and asks the public checks. Its points are hints: the hidden
checks ask more.
{chinese}"""
CHINESE = """
## 中文

请先读 `handout.zh.md`，再完成 `{id}.ipynb`。在本文件夹中自查：`grader check {id}.ipynb`。公开检查的得分仅供参考。
"""
#: Of a repository with the kits of several labs.
LABS_README = """\
# Labs

Install the grader as your course says, then the packages: `python -m pip install -r requirements.txt`

| lab | notebook | handout | check yourself |
|---|---|---|---|
{rows}
It runs your notebook from top to bottom as it is graded and asks the public checks. Its points are hints: the hidden
checks ask more.
"""
#: Where a text stands: the starter's code cells, what is prose for students, any other file.
Part = Literal["code", "prose", "files"]


class Secret(Record, frozen=True):
    """What a text is that a kit must not show in those parts. ``alone``: of files, only where a line has nothing else."""

    what: str
    parts: tuple[Part, ...] = ("code", "prose", "files")
    alone: bool = False


class Kit(Record, frozen=True):
    """A kit's files by their path in its folder, in order."""

    lab: str
    files: dict[str, bytes]
    title: str = ""

    def zipped(self) -> bytes:
        """One zip with one folder, the same bytes on every machine."""
        return packed({f"{self.lab}/{name}": content for name, content in self.files.items()}, compressed=False)


def make_kit(lab: Lab) -> Kit:
    """The kit of a lab. Raises LabError where something is missing, or where something hidden would be in it."""
    if lab.is_kit:
        raise UsageError("is a student's kit already", where=str(lab.folder), fix="release the staff's copy of the lab")
    if not lab.public_checks:
        raise LabError("the lab has no public checks", where=str(lab.folder / "public_tests"), fix="write one at least")
    reference = read_reference(reference_path(lab.folder.parent, lab.id))
    handouts = {path.name: path.read_bytes() for path in handout_texts(lab)}
    if "handout.md" not in handouts:
        raise LabError("the handout is missing", where=str(lab.folder / "handout.md"), fix="tell students what to do")
    files = {
        "README.md": _readme(lab, tuple(handouts)).encode(),
        **handouts,
        "requirements.txt": requirements().encode(),
        f"{lab.id}.ipynb": notebook_bytes(_exercise(lab, reference)),
        **{f"labs/{lab.id}/{name}": content for name, content in _public_lab(lab)},
    }
    files = {**_linked(lab, handouts, files), **files}
    if sum(map(len, files.values())) > MOST_BYTES:
        name = max(files, key=lambda name: len(files[name]))
        what = f"the kit has more than {MOST_BYTES >> 20} MiB, most of them in {name}"
        raise LabError(what, where=str(lab.folder), fix="make it smaller, or offer it for download")
    return _searched(lab, reference, files)


def make_starter(lab: Lab) -> bytes:
    """The starter's notebook alone, searched as a kit is. Raises LabError."""
    reference = read_reference(reference_path(lab.folder.parent, lab.id))
    name = f"{lab.id}.ipynb"
    return _searched(lab, reference, {name: notebook_bytes(_exercise(lab, reference))}).files[name]


def handout_texts(lab: Lab) -> dict[Path, str]:
    """The handouts of a lab. Raises LabError naming the one that is no text."""
    return {path: read_text(path) for path in sorted(lab.folder.glob("handout*.md"))}


def _exercise(lab: Lab, reference: dict[str, Any]) -> dict[str, Any]:
    where = str(reference_path(lab.folder.parent, lab.id))
    if not any(is_solution(cell) or "### BEGIN SOLUTION" in source(cell) for cell in reference["cells"]):
        what = "nothing is marked as a solution: the starter would be the solution"
        raise LabError(what, where=where, fix="put what students write between ### BEGIN SOLUTION and ### END SOLUTION")
    made = starter(reference)
    untouched = {source(cell).rstrip("\n") for cell in reference["cells"]}
    for number, cell in enumerate(made["cells"], start=1):
        text = source(cell)
        if cell["cell_type"] == "code" and text not in untouched and not is_python(text):
            what = f"cell {number} of the starter is no Python"
            raise LabError(what, where=where, fix="put whole statements between the markers")
    return made


def _searched(lab: Lab, reference: dict[str, Any], files: dict[str, bytes]) -> Kit:
    kit = Kit(lab=lab.id, files=dict(sorted(files.items())), title=lab.title)
    found = leaks(kit, secrets_of(lab, reference))
    if found:
        name, what = found[0]
        raise LabError(f"the kit would show {what}", where=f"{lab.folder}: {name}", fix="keep it out of what is public")
    return kit


def repository(kits: Iterable[Kit]) -> dict[str, bytes]:
    """The kits of several labs as the files of one repository; its README lists the labs.

    A lab's handouts lie beside its public suite, with what they link to.
    """
    files, rows = {}, ""
    for kit in kits:
        folder = f"labs/{kit.lab}"
        rows += f"| {kit.title} | `{kit.lab}.ipynb` | [{folder}/handout.md]({folder}/handout.md) |"
        rows += f" `grader check {kit.lab}.ipynb` |\n"
        for name, content in kit.files.items():
            at_root = name in (f"{kit.lab}.ipynb", "requirements.txt") or name.startswith(f"{folder}/")
            if name != "README.md":
                files[name if at_root else f"{folder}/{name}"] = content
    return dict(sorted({**files, "README.md": LABS_README.format(rows=rows).encode()}.items()))


def write_folder(kit: Kit, folder: Path, *, force: bool = False) -> None:
    """Write the kit as a folder. With ``force`` an older kit is written over; a file that is not a kit's stays, and is told."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if there and not force:
        raise UsageError("exists already", where=str(folder), fix="choose another --out, or write over it with --force")
    if strange := sorted(there - set(kit.files)):
        what = f"holds {strange[0]}, which is not part of the kit"
        raise UsageError(what, where=str(folder), fix="move it away first")
    try:
        for name, content in kit.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}", where=str(folder), fix="choose another --out"
        ) from None


def requirements() -> str:
    """Pins of the packages that the grader and notebooks import, without hashes: the checkout's, else what is installed.

    The grader itself is not named: a registry may hold another package of that name.
    """
    text = PINS.read_text("utf-8") if PINS.is_file() else ""
    pins = {_canonical(name): version for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE)}
    lines = []
    for requirement in metadata.requires("grader") or ():
        wanted, _, marker = (part.strip() for part in requirement.partition(";"))
        if "extra ==" in marker:
            continue
        name = re.split(r"[^\w.-]", wanted)[0]
        version = pins.get(_canonical(name)) or _installed(name)
        lines.append((f"{name}=={version}" if version else wanted) + (f" ; {marker}" if marker else ""))
    return "".join(f"{line}\n" for line in sorted(lines, key=str.lower))


def secrets_of(lab: Lab, reference: dict[str, Any]) -> dict[str, Secret]:
    """What must not stand in a kit, by its text."""
    public = {check.function for check in lab.public_checks}
    said = "\n".join((lab.title, *(str(message) for _, message in lab_messages(lab, "", PUBLIC_SUITE))))
    shown = {line for cell in reference["cells"] for line in _lines(given(cell))}
    solution = {line for cell in reference["cells"] for region in solved(cell) for line in _lines(region)} - shown
    others = read_alternatives(lab.folder).values()
    styles = {line for other in others for cell in other["cells"] for line in _lines(source(cell))} - shown
    # Of a sentence with gaps, what stands between them.
    parts = [part for _, text in lab_messages(lab, "", SUITES[:1]) for part in GAPS.split(str(text))]
    sentence = Secret(what="a sentence of the hidden suite", parts=("files", "code"))
    code: tuple[Part, ...] = ("code", "files")
    line, hinted = Secret("a line of the solution", code), Secret("a line of the solution", code, alone=True)
    threshold, named = Secret("a threshold", ("files",)), Secret("the id of a hidden check", ("files",))
    return {
        **{text: Secret("a line of an alternative", code) for text in styles if len(text) >= UNMISTAKABLE},
        **{text: line if len(text) >= UNMISTAKABLE else hinted for text in solution if len(text) >= TELLING},
        **dict.fromkeys(_numbers(lab), threshold),
        **dict.fromkeys(_ids(lab), named),
        **{part.strip(): sentence for part in parts if part.strip() not in said and len(part.strip()) >= TELLING},
        **{f"### {edge} {name}": Secret(what="a marker") for edge in ("BEGIN", "END") for name in MARKERS},
        **{mutant.description: Secret(what=f"the mutant '{mutant.name}'") for mutant in read_mutants(lab.folder)},
        **{
            check.function: Secret(what=f"the function of the hidden check '{check.id}'")
            for check in lab.checks
            if check.function not in public
        },
    }


def leaks(kit: Kit, secrets: Mapping[str, Secret]) -> list[tuple[str, str]]:
    """File and what it shows, for each secret that the kit holds where it must not."""
    texts = [(name, *part) for name, content in kit.files.items() for part in _parts(name, content)]
    return [
        (name, secret.what)
        for name, part, text in texts
        for hidden, secret in secrets.items()
        if part in secret.parts and hidden in text and _shows(text, hidden, alone=secret.alone and part == "files")
    ]


def _shows(text: str, hidden: str, *, alone: bool) -> bool:
    before, after = (r"^[^\w\n\"']*", r"[^\w\n\"']*(#.*)?$") if alone else (r"(?<!\w)", r"(?!\w)")
    return bool(re.search(f"{before}{re.escape(hidden)}{after}", text, re.MULTILINE))


def _parts(name: str, content: bytes) -> Iterator[tuple[Part, str]]:
    """A file's text as it is read: without the escapes of a notebook, and without the line ends of a catalogue.

    The versions of packages look like thresholds and are none.
    """
    text = content.decode("utf-8" if _is_utf8(content) else "latin-1")  # there each byte is a character: ASCII is found
    cells = _cells(text) if name.endswith(".ipynb") else None
    for cell in cells or ():
        yield ("code" if cell["cell_type"] == "code" else "prose"), source(cell)
    if cells is None:
        prose = bool(re.fullmatch(r"handout[^/]*\.md|requirements\.txt", name))
        yield ("prose" if prose else "files"), re.sub(r'"\n"', "", text)


def _cells(text: str) -> list[dict[str, Any]] | None:
    """The cells of a notebook; None where it is none."""
    try:
        cells = json.loads(text)["cells"]
        return cells if all("cell_type" in cell for cell in cells) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _numbers(lab: Lab) -> set[str]:
    """The thresholds in the forms that they are written in; those of one digit are anybody's."""
    marks = {
        mark for table in lab.thresholds.values() for limits in table.values() for mark in (limits.floor, limits.full)
    }
    shares = {
        f"{mark:.{digits}f}" for mark in marks for digits in (2, 3) if 0.1 <= mark < 1 and round(mark, digits) == mark
    }
    return shares | {text for mark in marks if mark >= 1 and "." in (text := f"{mark:g}") and len(text) > 3}


def _ids(lab: Lab) -> set[str]:
    """Ids of hidden checks as strings; those of one word (`loss`) are words of the work too."""
    known = {check.id for check in lab.public_checks}
    known |= {word for contract in lab.contract.values() for word in (contract.name, *contract.aliases)}
    hidden = {check.id for check in lab.checks if re.search("[_-]", check.id)} - known
    return {f"{quote}{name}{quote}" for name in hidden for quote in "\"'"}


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and "###" not in line]


def _readme(lab: Lab, handouts: tuple[str, ...]) -> str:
    others = "".join(f", `{name}`" for name in handouts if name != "handout.md")
    chinese = CHINESE.format(id=lab.id) if "handout.zh.md" in handouts else ""
    return README.format(id=lab.id, title=lab.title, handouts=others, chinese=chinese)


def _public_lab(lab: Lab) -> Iterator[tuple[str, bytes]]:
    spec = tomllib.loads((lab.folder / "lab.toml").read_text("utf-8-sig"))
    yield "lab.toml", as_toml({key: spec[key] for key in PUBLIC if key in spec}).encode()
    for path in sorted((lab.folder / "public_tests").rglob("*")):
        name = path.relative_to(lab.folder)
        if not path.is_dir() and "__pycache__" not in name.parts and not any(part[0] == "." for part in name.parts):
            yield name.as_posix(), _regular(path)
    for language in languages(lab):
        path = lab.folder / "locale" / f"{language}.po"
        if path.is_file():
            yield f"locale/{path.name}", renewed(path, lab_messages(lab, language, PUBLIC_SUITE)).encode()


def _linked(lab: Lab, handouts: Mapping[str, bytes], others: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of the lab's folder that its handouts link to, as pictures, by their path. Raises LabError."""
    found = {}
    for handout, content in handouts.items():
        for target in ("".join(groups) for groups in LINK.findall(CODE.sub("", content.decode()))):
            if ELSEWHERE.match(target):
                continue
            name = PurePosixPath(unquote(re.split("[?#]", target)[0])).as_posix()
            if name in others:
                continue
            where, parts = str(lab.folder / handout), PurePosixPath(name).parts
            if name.startswith("/") or ".." in parts or parts[:1] == ("labs",) or parts[0] in HIDDEN:
                fix = "link to a file of the lab's folder that students may have"
                raise LabError(f"it links to {plain(target, 100)}, which is not in the kit", where=where, fix=fix)
            if not (lab.folder / name).is_file():
                fix = "correct the link, or put the file there"
                raise LabError(f"it links to {plain(target, 100)}, and there is no such file", where=where, fix=fix)
            found[name] = _regular(lab.folder / name)
    return found


def _regular(path: Path) -> bytes:
    """A file's bytes; a link could lead anywhere. Raises LabError."""
    if path.is_symlink() or not path.is_file():
        raise LabError("is no regular file, so it is not released", where=str(path), fix="put a copy there")
    if path.stat().st_size > MOST_BYTES:
        what = f"has more than {MOST_BYTES >> 20} MiB, so it is not released"
        raise LabError(what, where=str(path), fix="make it smaller")
    return path.read_bytes()


def as_toml(table: Mapping[str, Any], name: str = "") -> str:
    """A table of plain values and tables as TOML. JSON writes strings, numbers and lists as TOML does."""
    plain = [
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items() if not _is_table(value)
    ]
    text = (f"\n[{name}]\n" if name and plain else "") + "".join(plain)
    inner = (as_toml(value, f"{name}.{key}".lstrip(".")) for key, value in table.items() if _is_table(value))
    return text + "".join(inner)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # of another system, or not needed for what is trusted
        return ""
