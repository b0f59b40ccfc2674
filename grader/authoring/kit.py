"""The student's kit of a lab: starter, handouts, the public suite, pins, a README. Nothing hidden is in it.

    <lab>/README.md, <lab>.ipynb, handout.md, handout.zh.md, requirements.txt
    <lab>/labs/<lab>/lab.toml, public_tests/, locale/      what `grader check` reads

Theory of operation. Everything is put in by name: of the spec the keys in ``PUBLIC``, of the catalogues the sentences that
the public suite says. Then the finished kit is searched for what must not be there (``secrets_of``): solutions, the
sentences and functions of the hidden suite, mutants. A find stops the release. Handouts and the starter's prose are
written for students, so they may say in words what a hidden check asks, and show code. The same lab gives the same bytes: no
dates, no order of a folder, and a zip without compression.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from grader.authoring.messages import GAPS, SUITES, lab_messages, languages, renewed
from grader.errors import LabError, UsageError
from grader.exports.packing import packed
from grader.labs import Lab
from grader.labs.starter import (
    MARKERS,
    notebook_bytes,
    read_mutants,
    read_reference,
    reference_path,
    source,
    starter,
)
from grader.records import Record

#: Of the spec. `observe` serves hidden checks only, thresholds and `starter_score` are the grader's.
PUBLIC = ("schema", "id", "title", "title_zh", "data", "gpu", "limits", "kernel", "contract", "files")
PUBLIC_SUITE = SUITES[1:]
#: A shorter line (`return x`) or sentence stands in too many places to be anybody's secret.
TELLING = 25
REGION = re.compile(r"^[ \t]*### BEGIN (SOLUTION|HIDDEN TESTS).*?^[ \t]*### END \1[ \t]*$", re.MULTILINE | re.DOTALL)
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
#: Where a text stands: the starter's code cells, what is prose for students, any other file.
Part = Literal["code", "prose", "files"]


class Secret(Record, frozen=True):
    """What a text is that a kit must not show in those parts."""

    what: str
    parts: tuple[Part, ...] = ("code", "prose", "files")


class Kit(Record, frozen=True):
    """A kit's files by their path in its folder, in order."""

    lab: str
    files: dict[str, bytes]

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
    handouts = {path.name: path.read_bytes() for path in sorted(lab.folder.glob("handout*.md"))}
    if "handout.md" not in handouts:
        raise LabError("the handout is missing", where=str(lab.folder / "handout.md"), fix="tell students what to do")
    files = {
        "README.md": _readme(lab, tuple(handouts)).encode(),
        **handouts,
        "requirements.txt": requirements().encode(),
        f"{lab.id}.ipynb": notebook_bytes(starter(reference)),
        **{f"labs/{lab.id}/{name}": content for name, content in _public_lab(lab)},
    }
    kit = Kit(lab=lab.id, files=dict(sorted(files.items())))
    found = leaks(kit, secrets_of(lab, reference))
    if found:
        name, what = found[0]
        raise LabError(f"the kit would show {what}", where=f"{lab.folder}: {name}", fix="keep it out of what is public")
    return kit


def repository(kits: Iterable[Kit]) -> dict[str, bytes]:
    """The kits of several labs as the files of one repository: each lab's handouts lie beside its public suite."""
    files = {}
    for kit in kits:
        for name, content in kit.files.items():
            if name != "README.md":
                files[f"labs/{kit.lab}/{name}" if name.startswith("handout") else name] = content
    return dict(sorted(files.items()))


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
    given = {line for cell in reference["cells"] for line in _lines(REGION.sub("", source(cell)))}
    solved = [match.group() for cell in reference["cells"] for match in REGION.finditer(source(cell))]
    # Of a sentence with gaps, what stands between them.
    parts = [part for _, text in lab_messages(lab, "", SUITES[:1]) for part in GAPS.split(str(text))]
    sentence = Secret(what="a sentence of the hidden suite", parts=("files", "code"))
    line = Secret(what="a line of the solution", parts=("code",))
    return {
        **{text: line for region in solved for text in _lines(region) if text not in given and len(text) >= TELLING},
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
    texts = [(name, *part) for name, content in kit.files.items() for part in _parts(name, content.decode())]
    return [
        (name, secret.what)
        for name, part, text in texts
        for hidden, secret in secrets.items()
        if part in secret.parts and re.search(rf"(?<!\w){re.escape(hidden)}(?!\w)", text)
    ]


def _parts(name: str, text: str) -> Iterator[tuple[Part, str]]:
    """A file's text as it is read: without the escapes of a notebook, and without the line ends of a catalogue."""
    if name.endswith(".ipynb"):
        for cell in json.loads(text)["cells"]:
            yield ("code" if cell["cell_type"] == "code" else "prose"), source(cell)
    else:
        yield ("prose" if name.startswith("handout") else "files"), re.sub(r'"\n"', "", text)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and "###" not in line]


def _readme(lab: Lab, handouts: tuple[str, ...]) -> str:
    others = "".join(f", `{name}`" for name in handouts if name != "handout.md")
    chinese = CHINESE.format(id=lab.id) if "handout.zh.md" in handouts else ""
    return README.format(id=lab.id, title=lab.title, handouts=others, chinese=chinese)


def _public_lab(lab: Lab) -> Iterator[tuple[str, bytes]]:
    spec = tomllib.loads((lab.folder / "lab.toml").read_text("utf-8-sig"))
    yield "lab.toml", as_toml({key: spec[key] for key in PUBLIC if key in spec}).encode()
    for path in sorted((lab.folder / "public_tests").glob("test_*.py")):
        yield f"public_tests/{path.name}", path.read_bytes()
    for language in languages(lab):
        path = lab.folder / "locale" / f"{language}.po"
        if path.is_file():
            yield f"locale/{path.name}", renewed(path, lab_messages(lab, language, PUBLIC_SUITE)).encode()


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
