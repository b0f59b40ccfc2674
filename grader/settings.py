"""Settings from ranked sources: default < course.toml < environment (GRADER_*) < command line.

Each setting is declared once, in ``OPTIONS``: its field, its place in course.toml, its environment variable and
its help text derive from that row. ``[limits]`` and ``[labs.<id>]`` hold one entry per key and are read by hand.
Values are checked at the door, so the rest of the program meets only typed, sensible ones. Paths in course.toml
are relative to that file; elsewhere they are relative to the current folder.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from grader.errors import OursError, UsageError, plain, suggest
from grader.records import Level, Limits, Record

LIMIT_NAMES = Limits.__struct_fields__
#: The catalogues of the package; each file there is a language, see grader.reports.language.
LOCALE = Path(__file__).parent / "locale"
LABS_HERE = Path("labs")
CHECKOUT_LABS = Path(__file__).resolve().parent.parent / "labs"


class Option(Record, frozen=True):
    """One setting: its field, ``[table] key`` in course.toml, how raw text becomes a value, its help."""

    field: str
    table: str
    key: str
    parse: Callable[[Any], Any]
    help: str

    @property
    def variable(self) -> str:
        return f"GRADER_{self.field.upper()}"


class Settings(Record, frozen=True):
    """Every setting with its value. ``secret`` is empty unless the course sets one: ask ``secret(settings)``."""

    course_name: str = ""
    language: str = "en"
    secret: str = ""
    data: Path | None = None
    mirror: str = ""
    min_level: int = 0
    kernel_python: Path | None = None
    jobs: int = 0
    room_mb: int = 0
    labs: Path = Path("labs")
    gradebook: Path | None = None
    attempts: Literal["best", "last"] = "best"
    late_percent: float = 0.0
    late_max: float = 100.0
    late_grace: float = 0.0
    late_first_seen: bool = False
    limits: dict[str, float] = msgspec.field(default_factory=dict)
    due: dict[str, dt.datetime] = msgspec.field(default_factory=dict)


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError("must be text in quotes")
    return raw.strip()


def languages() -> tuple[str, ...]:
    """English, and every language that has a catalogue."""
    return ("en", *sorted(path.stem for path in LOCALE.glob("*.po")))


def _language(raw: Any) -> str:
    if raw not in languages():
        raise ValueError(f"must be one of {', '.join(languages())}")
    return str(raw)


def _path(raw: Any) -> Path:
    if not isinstance(raw, str | Path) or not str(raw):
        raise ValueError("must be a path in quotes")
    return Path(raw).expanduser()


def _jobs(raw: Any) -> int:
    value = _integer(raw)
    if not 0 <= value <= 1024:
        raise ValueError("must be between 0 (one per core) and 1024")
    return value


def _room(raw: Any) -> int:
    value = _integer(raw)
    if not 0 <= value <= 1 << 30:
        raise ValueError("must be 0 (what is available) or a number of MiB")
    return value


def _level(raw: Any) -> int:
    value = _integer(raw.upper().removeprefix("L") if isinstance(raw, str) else raw)
    if value not in {int(level) for level in Level}:
        raise ValueError("must be a sandbox level, 0 to 3")
    return value


def _attempts(raw: Any) -> str:
    if raw not in ("best", "last"):
        raise ValueError('must be "best" or "last"')
    return str(raw)


def _percent(raw: Any) -> float:
    return _between(raw, 100, "must be a number from 0 to 100")


def _minutes(raw: Any) -> float:
    return _between(raw, 100_000, "must be a number of minutes, 0 or more")


def _between(raw: Any, most: float, otherwise: str) -> float:
    try:
        value = float("nan") if isinstance(raw, bool) else float(raw)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 <= value <= most:
        raise ValueError(otherwise)
    return value


def _yes_or_no(raw: Any) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    value = known.get(str(raw).strip().lower())
    if value is None:
        raise ValueError("must be true or false")
    return value


def _mirror(raw: Any) -> str:
    value = _text(raw)
    if value and not value.startswith(("https://", "http://")):
        raise ValueError("must be an address that begins with https://")
    return value.rstrip("/")


def _integer(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise TypeError("must be a whole number")
    try:
        return int(raw)
    except ValueError:
        raise ValueError("must be a whole number") from None


OPTIONS: tuple[Option, ...] = (
    Option(
        field="course_name", table="course", key="name", parse=_text, help="Name of the course, shown on every card."
    ),
    Option(
        field="language",
        table="course",
        key="language",
        parse=_language,
        help="Language of the cards: en, or one that has a catalogue, such as zh.",
    ),
    Option(
        field="secret", table="course", key="secret", parse=_text, help="Seed of the held-out draws; keep it private."
    ),
    Option(field="data", table="data", key="folder", parse=_path, help="Folder with the full data sets."),
    Option(field="mirror", table="data", key="mirror", parse=_mirror, help="Base address to download data sets from."),
    Option(field="min_level", table="sandbox", key="min_level", parse=_level, help="Refuse to grade below this level."),
    Option(field="kernel_python", table="kernel", key="python", parse=_path, help="Interpreter that runs notebooks."),
    Option(field="jobs", table="run", key="jobs", parse=_jobs, help="Runs at a time; 0 means one per core."),
    Option(
        field="room_mb",
        table="run",
        key="room_mb",
        parse=_room,
        help="Memory that all runs together may be promised, MiB; 0 means what is available.",
    ),
    Option(field="labs", table="run", key="labs", parse=_path, help="Folder with the labs."),
    Option(field="gradebook", table="course", key="gradebook", parse=_path, help="File of the gradebook."),
    Option(
        field="attempts", table="course", key="attempts", parse=_attempts, help="Attempt that counts: best or last."
    ),
    Option(
        field="late_percent", table="late", key="percent_per_day", parse=_percent, help="Percent for each started day."
    ),
    Option(field="late_max", table="late", key="max_percent", parse=_percent, help="Most that lateness can cost."),
    Option(
        field="late_grace", table="late", key="grace_minutes", parse=_minutes, help="Minutes that are not late yet."
    ),
    Option(
        field="late_first_seen",
        table="late",
        key="count_first_seen",
        parse=_yes_or_no,
        help="Whether lateness counts where the time is only when the grader first saw the file.",
    ),
)
TABLES = (*dict.fromkeys(option.table for option in OPTIONS), "limits", "labs")


def load_settings(
    course_file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The settings in force. ``overrides`` are the command line's, by field name; None means not given."""
    values: dict[str, Any] = {"labs": _default_labs()}
    limits: dict[str, float] = {}
    if course_file is not None:
        course = _read_course(course_file)
        limits |= course.pop("limits")
        values |= course
    _refuse_misspelt(environ)
    for option in OPTIONS:
        if environ.get(option.variable):
            values[option.field] = _parsed(option, environ[option.variable], option.variable, Path())
    for name in LIMIT_NAMES:
        if raw := environ.get(_limit_variable(name)):
            limits[name] = _limit(name, raw, _limit_variable(name))
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    for name, raw in given.pop("limits", {}).items():
        limits[name] = _limit(name, raw, "command line")
    by_field = {option.field: option for option in OPTIONS}
    for name, raw in given.items():
        if name not in by_field:
            raise UsageError(f"unknown setting '{plain(name)}'", where="command line", fix=suggest(name, by_field))
        values[name] = _parsed(by_field[name], raw, "command line", Path())
    return Settings(**values, limits=limits)


def gradebook_path(settings: Settings, out: Path) -> Path:
    """The gradebook that goes with the cards in ``out``."""
    return settings.gradebook or out / "gradebook.db"


def limits_for(settings: Settings, lab_limits: Limits) -> Limits:
    """The lab's limits with the course's own put over them."""
    return msgspec.structs.replace(lab_limits, **settings.limits)


def secret(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """The secret behind the held-out draws: the course's, else one made once for this user and kept.

    It must outlive the run, or grading the same bytes again would meet other data and give another score.
    """
    if settings.secret:
        return settings.secret
    kept = state_folder(environ) / "secret"
    try:
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Written aside and linked into place: of two graders starting at once, both must read the same one.
        draft = kept.with_name(f"secret.{os.getpid()}.{secrets.token_hex(4)}")
        if not kept.exists():
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as stream:
                stream.write(secrets.token_hex(32))
            try:
                os.link(draft, kept)
            except FileExistsError:
                pass
            except OSError:  # a file system without hard links
                draft.replace(kept)
            draft.unlink(missing_ok=True)
        value = kept.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OursError(
            f"the course secret cannot be kept: {error}", where=str(kept), fix="set [course] secret or GRADER_SECRET"
        ) from error
    if len(value) < 32:
        raise OursError("the kept course secret is damaged", where=str(kept), fix="delete the file to make a new one")
    return value


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where this user's own state is kept; never inside the repository."""
    if sys.platform == "win32" and environ.get("LOCALAPPDATA"):
        return Path(environ["LOCALAPPDATA"]) / "grader"
    base = environ.get("XDG_STATE_HOME", "")
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return (Path(base) if Path(base).is_absolute() else home / ".local" / "state") / "grader"


def labs_to_write(settings: Settings) -> Path:
    """Where a new lab goes: the folder that was set, else ``labs`` here; into the checkout only from within it."""
    return LABS_HERE if settings.labs == CHECKOUT_LABS else settings.labs


def _default_labs() -> Path:
    return LABS_HERE if LABS_HERE.is_dir() or not CHECKOUT_LABS.is_dir() else CHECKOUT_LABS


def _read_course(path: Path) -> dict[str, Any]:
    """Fields set by course.toml, plus ``limits`` (always) and ``due``."""
    try:
        document = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path), fix="check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"is not TOML: {plain(str(error))}", where=str(path), fix="correct that line") from error
    values: dict[str, Any] = {"limits": {}, "due": {}}
    for table, content in document.items():
        if table not in TABLES:
            raise UsageError(f"unknown table [{plain(table)}]", where=str(path), fix=suggest(table, TABLES))
        if not isinstance(content, dict):
            raise UsageError(f"'{table}' must be a table", where=str(path), fix=f"write [{table}] on a line of its own")
        if table == "limits":
            values["limits"] = {key: _limit(key, raw, f"{path} [limits]") for key, raw in content.items()}
        elif table == "labs":
            values["due"] = {lab: _due(lab, entry, path) for lab, entry in content.items() if entry != {}}
        else:
            known = {option.key: option for option in OPTIONS if option.table == table}
            for key, raw in content.items():
                if key not in known:
                    raise UsageError(f"unknown key '{plain(key)}'", where=f"{path} [{table}]", fix=suggest(key, known))
                values[known[key].field] = _parsed(known[key], raw, f"{path} [{table}] {key}", path.parent)
    return values


def _parsed(option: Option, raw: Any, where: str, base: Path) -> Any:
    try:
        value = option.parse(raw)
        return base / value if isinstance(value, Path) else value
    except (TypeError, ValueError) as error:
        shown = "…" if option.field == "secret" else plain(str(raw), 60)
        raise UsageError(f"{shown!r} {error}", where=where, fix=option.help) from None


def _limit(name: str, raw: Any, where: str) -> float:
    if name not in LIMIT_NAMES:
        raise UsageError(f"unknown limit '{plain(name)}'", where=where, fix=suggest(name, LIMIT_NAMES))
    whole = isinstance(getattr(Limits(), name), int)
    try:
        if isinstance(raw, bool) or (whole and isinstance(raw, float)):
            raise ValueError
        value = int(raw) if whole else float(raw)
        if not 0 < value < 1e9:
            raise ValueError
    except (TypeError, ValueError):
        kind = "whole number" if whole else "number"
        raise UsageError(
            f"{name} = {plain(str(raw), 60)!r} is not a positive {kind}", where=where, fix="correct it"
        ) from None
    return value


def _due(lab: str, entry: Any, path: Path) -> dt.datetime:
    where = f"{path} [labs.{plain(lab)}]"
    if not isinstance(entry, dict):
        raise UsageError("must be a table", where=where, fix=f"write [labs.{plain(lab)}] and due = 2030-01-31T23:59:00")
    for key in entry:
        if key != "due":
            raise UsageError(f"unknown key '{plain(key)}'", where=where, fix=suggest(key, ["due"]))
    raw = entry["due"]
    if isinstance(raw, dt.datetime):
        return raw if raw.tzinfo else raw.astimezone()  # no offset: the clock of this machine
    if isinstance(raw, dt.date):
        return dt.datetime.combine(raw, dt.time(23, 59, 59)).astimezone()
    raise UsageError(
        f"due = {plain(str(raw), 60)!r} is not a date", where=where, fix="write due = 2030-01-31T23:59:00, no quotes"
    )


def _limit_variable(name: str) -> str:
    return f"GRADER_LIMITS_{name.upper()}"


def _refuse_misspelt(environ: Mapping[str, str]) -> None:
    """A variable that nearly names a setting is a mistake; others with our prefix may be another tool's."""
    known = {option.variable for option in OPTIONS} | {_limit_variable(name) for name in LIMIT_NAMES}
    for name in sorted(environ):
        if not name.startswith("GRADER_") or name in known:
            continue
        for option in known:
            if sorted(option) == sorted(name) or _one_edit(option, name):
                raise UsageError(
                    f"unknown environment variable {name}", where="environment", fix=f"did you mean '{option}'?"
                )


def _one_edit(first: str, second: str) -> bool:
    """Whether one inserted, dropped or changed letter turns one word into the other."""
    short, long = sorted((first, second), key=len)
    if len(long) - len(short) > 1:
        return False
    for place, letter in enumerate(short):
        if letter != long[place]:
            return short[place + (len(short) == len(long)) :] == long[place + 1 :]
    return True
