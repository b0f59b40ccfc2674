"""Labs: the spec (``lab.toml``) and the list of checks, read and validated before anything runs.

A lab is a folder ``labs/<id>/``. Its spec is TOML in which an unknown key is an error, since a misspelt threshold
that is silently ignored grades a whole class wrongly. Its checks come from the suites (see ``suites``), and their
points must add up to the lab's. Every mistake is reported with its file, and its line where there is one.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import msgspec

from grader.errors import LabError, UsageError, plain, suggest
from grader.labs.suites import CheckSpec, read_suite
from grader.records import Limits, Record, Threshold, Tier

SCHEMA = 1
DATA_SETS = ("iris", "mnist", "fashion_mnist", "imdb", "auto_mpg", "none")
LAB_ID = re.compile(r"[a-z][a-z0-9_]{0,39}")
#: A snapshot costs memory in the kernel and disk beside the run: early, middle and late are enough to see a curve.
MOST_SNAPSHOTS = 3
T = TypeVar("T", bound=msgspec.Struct)  # the def f[T] form needs Python 3.12


class Contract(Record, frozen=True):
    """One name a notebook must define. ``input_shapes`` (models) are without the batch axis."""

    name: str
    kind: Literal["model", "function", "class", "value"]
    aliases: tuple[str, ...] = ()
    description: str = ""
    description_zh: str = ""
    input_shapes: tuple[tuple[int, ...], ...] = ()
    input_range: tuple[float, float] | None = None
    max_parameters: int | None = None

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        return self.input_shapes[0] if self.input_shapes else None


class Lab(Record, frozen=True):
    """A lab, validated. ``digest`` changes when the spec or a suite does.

    ``snapshots``: the epochs of training after which the weights of each model are kept.
    """

    id: str
    title: str
    folder: Path
    data: str
    points: float
    checks: tuple[CheckSpec, ...]
    digest: str
    title_zh: str = ""
    gpu: Literal["required", "if-available", "no"] = "no"
    starter_score: float = 0.0
    limits: Limits = Limits()
    contract: dict[str, Contract] = msgspec.field(default_factory=dict)
    keep: tuple[str, ...] = ()
    logical_cpus: int = 1
    snapshots: tuple[int, ...] = ()
    thresholds: dict[Tier, dict[str, Threshold]] = msgspec.field(default_factory=dict)
    public_checks: tuple[CheckSpec, ...] = ()

    @property
    def is_kit(self) -> bool:
        """Whether this is a student's copy, with the public suite only."""
        return not self.checks

    def threshold(self, tier: Tier, name: str) -> Threshold:
        """The threshold of that name for that tier of the data."""
        table = self.thresholds.get(tier, {})
        if name not in table:
            where = f"{self.folder / 'lab.toml'} [thresholds.{tier.value}]"
            raise LabError(f"no threshold '{name}'", where=where, fix=suggest(name, table))
        return table[name]


class _ContractTable(msgspec.Struct):
    kind: Literal["model", "function", "class", "value"]
    aliases: tuple[str, ...] = ()
    description: str = ""
    description_zh: str = ""
    input_shape: list[Any] = []
    input_range: tuple[float, float] | None = None
    max_parameters: int | None = None


class _FilesTable(msgspec.Struct):
    keep: tuple[str, ...] = ()


class _KernelTable(msgspec.Struct):
    logical_cpus: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1


class _ObserveTable(msgspec.Struct):
    snapshots: tuple[int, ...] = ()


class _Spec(msgspec.Struct):
    schema: int
    id: str
    title: str
    data: str
    points: float = 100.0
    title_zh: str = ""
    gpu: Literal["required", "if-available", "no"] = "no"
    starter_score: float = 0.0
    limits: dict[str, Any] = {}
    contract: dict[str, Any] = {}
    files: dict[str, Any] = {}
    kernel: dict[str, Any] = {}
    observe: dict[str, Any] = {}
    thresholds: dict[str, dict[str, dict[str, Any]]] = {}


def load_lab(folder: Path) -> Lab:
    """The lab in ``folder``, or LabError naming the file (and the line, where there is one)."""
    path = folder / "lab.toml"
    text, document = _read_spec(path)
    spec = _convert(document, _Spec, path, text, "")
    if spec.schema != SCHEMA:
        _wrong(f"schema = {spec.schema} is not known", path, f"write schema = {SCHEMA}")
    if not LAB_ID.fullmatch(spec.id):
        _wrong(f"id = {plain(spec.id, 60)!r} is not a lab id", path, "use small letters, digits and _")
    if spec.id != folder.resolve().name:
        _wrong(f"id = '{spec.id}' but the folder is '{folder.resolve().name}'", path, "give both the same name")
    if not spec.title.strip():
        _wrong("the title is empty", path, 'write title = "…"')
    if spec.data not in DATA_SETS:
        _wrong(f"unknown data set '{plain(spec.data, 60)}'", path, suggest(spec.data, DATA_SETS))
    if not 0 < spec.points < 1e6:
        _wrong(f"points = {spec.points:g} is not a positive number", path, "write points = 100")
    if not 0 <= spec.starter_score <= spec.points:
        _wrong(f"starter_score = {spec.starter_score:g} is not between 0 and points", path, "correct it")
    files = _convert(spec.files, _FilesTable, path, text, "files")
    for pattern in files.keep:
        if pattern.startswith(("/", "~")) or ".." in pattern.split("/") or "\\" in pattern or not pattern:
            _wrong(f"keep = {pattern!r} leaves the work folder", path, "write a path relative to the work folder")
    public_checks = read_suite(folder / "public_tests")
    checks = read_suite(folder / "hidden_tests")
    # Students have the public half of a lab only: they check themselves, and `grade` refuses it (see Lab.is_kit).
    kit = not (folder / "hidden_tests").exists() and public_checks
    if not checks and not kit:
        _wrong("the hidden suite has no checks", folder / "hidden_tests", "add test_<lab>.py with @check functions")
    total = sum(check.points for check in checks)
    if checks and abs(total - spec.points) > 1e-6:
        fix = f"lab.toml says points = {spec.points:g}: make the two agree"
        _wrong(f"the checks' points add up to {total:g}", f"{checks[0].file}:{checks[0].line}", fix)
    return Lab(
        id=spec.id,
        title=spec.title,
        title_zh=spec.title_zh,
        folder=folder,
        data=spec.data,
        points=spec.points,
        gpu=spec.gpu,
        starter_score=spec.starter_score,
        limits=_limits(spec.limits, path, text),
        contract=_contracts(spec.contract, path, text),
        keep=files.keep,
        logical_cpus=_convert(spec.kernel, _KernelTable, path, text, "kernel").logical_cpus,
        snapshots=_snapshots(spec.observe, path, text),
        thresholds=_thresholds(spec.thresholds, path, text),
        checks=checks,
        public_checks=public_checks,
        digest=files_digest(folder, ("lab.toml", "hidden_tests", "public_tests")),
    )


def lab_ids(labs_dir: Path) -> tuple[str, ...]:
    """The ids of all labs there, whether their specs are right or wrong."""
    try:
        return tuple(sorted(entry.parent.name for entry in labs_dir.glob("*/lab.toml")))
    except OSError:
        return ()


def find_labs(labs_dir: Path, errors: list[LabError] | None = None) -> dict[str, Lab]:
    """All labs by id. A wrong one raises, or is put into ``errors`` so that the others can still be graded."""
    labs: dict[str, Lab] = {}
    ids = lab_ids(labs_dir)
    if not ids:
        raise UsageError("holds no labs", where=str(labs_dir), fix="point [run] labs or GRADER_LABS at the labs folder")
    for name in ids:
        try:
            labs[name] = load_lab(labs_dir / name)
        except LabError as error:
            if errors is None:
                raise
            errors.append(error)
    return labs


def select(labs: Mapping[str, Lab], names: Iterable[str]) -> dict[str, Lab]:
    """The labs asked for, all when none is named."""
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in labs:
            raise UsageError(f"unknown lab '{plain(name, 60)}'", fix=suggest(name, labs))
    return {name: labs[name] for name in wanted} if wanted else dict(labs)


# -- the spec ---------------------------------------------------------------------------------------------------


def _read_spec(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return text, tomllib.loads(text)
    except OSError as error:
        _wrong(f"cannot be read: {error.strerror}", path, "a lab is a folder with a lab.toml")
    except UnicodeDecodeError:
        _wrong("is not UTF-8 text", path, "save it as UTF-8")
    except tomllib.TOMLDecodeError as error:
        _wrong(f"is not TOML: {plain(str(error))}", path, "correct that line")


def _convert(table: Mapping[str, Any], kind: type[T], path: Path, text: str, name: str) -> T:
    fields = kind.__struct_fields__
    for key in table:
        if key not in fields:
            table_name = f" in [{name}]" if name else ""
            _wrong(f"unknown key '{plain(key, 60)}'{table_name}", _at(path, text, key), suggest(key, fields))
    try:
        return msgspec.convert(dict(table), kind)
    except msgspec.ValidationError as error:
        what = plain(str(error)).replace("$", name or "the spec").replace("`", "'")
        _wrong(what[:1].lower() + what[1:], path, "see docs/authoring.md for every key")


def _limits(table: Mapping[str, Any], path: Path, text: str) -> Limits:
    limits = _convert(table, Limits, path, text, "limits")
    for name, value in msgspec.structs.asdict(limits).items():
        if not 0 < value < 1e9:
            _wrong(f"{name} = {value} is not positive", _at(path, text, name), "write a positive number")
    return limits


def _snapshots(table: Mapping[str, Any], path: Path, text: str) -> tuple[int, ...]:
    epochs = _convert(table, _ObserveTable, path, text, "observe").snapshots
    rising = all(one < other for one, other in itertools.pairwise((0, *epochs)))
    if len(epochs) > MOST_SNAPSHOTS or not rising:
        what = f"snapshots = {list(epochs)} are not at most {MOST_SNAPSHOTS} rising epochs"
        _wrong(what, _at(path, text, "snapshots"), "write snapshots = [1, 5, 10]")
    return epochs


def _contracts(tables: Mapping[str, Any], path: Path, text: str) -> dict[str, Contract]:
    contracts: dict[str, Contract] = {}
    owner: dict[str, str] = {}
    for name, raw in tables.items():
        where = f"contract.{name}"
        if not isinstance(raw, dict):
            _wrong(f"[{where}] must be a table", _at(path, text, name), f'write [{where}] and kind = "model"')
        table = _convert(raw, _ContractTable, path, text, where)
        for word in (name, *table.aliases):
            if not word.isidentifier():
                _wrong(f"'{plain(word, 60)}' in [{where}] is not a Python name", _at(path, text, word), "correct it")
            if owner.setdefault(word, name) != name:
                _wrong(
                    f"'{word}' stands for both {owner[word]} and {name}", _at(path, text, word), "keep one of the two"
                )
        if table.input_range is not None and table.input_range[0] >= table.input_range[1]:
            _wrong(f"input_range in [{where}] is empty", path, "write input_range = [0.0, 1.0]")
        rest = {key: getattr(table, key) for key in table.__struct_fields__ if key != "input_shape"}
        contracts[name] = Contract(name=name, input_shapes=_shapes(table.input_shape, path, where), **rest)
    return contracts


def _shapes(raw: list[Any], path: Path, where: str) -> tuple[tuple[int, ...], ...]:
    """``[4]`` is one shape, ``[[28, 28], [784]]`` several."""
    shapes = raw if raw and all(isinstance(item, list) for item in raw) else [raw] if raw else []
    for shape in shapes:
        if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in shape):
            _wrong(f"input_shape = {raw} in [{where}] is not a shape", path, "write [4] or [[28, 28], [784]]")
    return tuple(tuple(shape) for shape in shapes)


def _thresholds(tables: Mapping[str, Any], path: Path, text: str) -> dict[Tier, dict[str, Threshold]]:
    known = {tier.value: tier for tier in Tier}
    thresholds: dict[Tier, dict[str, Threshold]] = {}
    for tier, entries in tables.items():
        if tier not in known:
            _wrong(f"unknown data tier [thresholds.{plain(tier, 60)}]", _at(path, text, tier), suggest(tier, known))
        for name, entry in entries.items():
            threshold = _convert(entry, Threshold, path, text, f"thresholds.{tier}.{name}")
            if threshold.floor == threshold.full:
                _wrong(
                    f"[thresholds.{tier}.{name}] has floor = full", path, "leave room for partial credit between them"
                )
            thresholds.setdefault(known[tier], {})[name] = threshold
    names = {tier: sorted(table) for tier, table in thresholds.items()}
    if len(names) == len(Tier) and len({tuple(value) for value in names.values()}) > 1:
        odd = sorted(set(names[Tier.FULL]) ^ set(names[Tier.LITE]))
        _wrong(f"threshold '{odd[0]}' exists for one data tier only", _at(path, text, odd[0]), "add it to the other")
    return thresholds


def _at(path: Path, text: str, key: str) -> str:
    """``path:line`` of the first line that sets or opens ``key``."""
    word = re.compile(rf"""^\s*(\[.*)?(?<![\w-])["']?{re.escape(key)}["']?(?![\w-])""")
    for number, line in enumerate(text.splitlines(), start=1):
        if word.match(line):
            return f"{path}:{number}"
    return str(path)


def files_of(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Those files and folders in it, caches left out: each path and content, in order."""
    found: list[Path] = []
    for path in (folder / name for name in names):
        found += path.rglob("*") if path.is_dir() else [path]
    for path in sorted(found, key=lambda path: path.relative_to(folder).as_posix()):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def files_digest(folder: Path, names: Iterable[str]) -> str:
    """One hash over `files_of`: names and contents."""
    digest = hashlib.sha256()
    for path, content in files_of(folder, names):
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _wrong(what: str, where: str | Path, fix: str) -> NoReturn:
    raise LabError(what, where=str(where), fix=fix)
