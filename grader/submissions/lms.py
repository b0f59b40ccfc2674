"""Bulk downloads of Canvas, Moodle and Gradescope, recognised by the names that these platforms give.

    Canvas      <name>_<late_><user>_<upload>_<file>                   every file at the root, or in one folder
                <name>_<late_><user>_text.html, or _link.html          what was typed into Canvas has no upload's number
    Moodle      <full name>_<participant>_assignsubmission_file_/<file>   a folder for each student, or the same flat
    Gradescope  submission_<id>/<file> and submission_metadata.yml     who and when stand in the metadata

Each file becomes a ``Found`` of its student, as if it had lain in that student's folder. A platform's number goes with
it, so that the roster can say who it is, now or later. Only Gradescope tells the time; Canvas tells at most that it was
late.
"""

from __future__ import annotations

import collections
import datetime as dt
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from grader.errors import SubmissionError, plain
from grader.records import Received
from grader.submissions.archives import Found, Origin, nfc

CANVAS = re.compile(
    r"(?P<name>[^_]+)_(?:(?P<late>late)_)?(?P<id>\d+)_(?:\d+_|(?=(?:text|link)\.html\Z))(?P<file>.+)",
    re.IGNORECASE | re.DOTALL,
)
MOODLE = re.compile(r"(?P<name>.+)_(?P<id>\d+)_assignsubmission_(?P<kind>[a-z]+)_(?P<file>.*)", re.DOTALL)
GRADESCOPE = re.compile(r"submission_\d+")
METADATA = "submission_metadata.yml"
MAX_METADATA = 20 * 2**20  # PyYAML reads 5 to 10 MB a second

#: Whom these names or this platform's number mean: an id of the roster, or "".
Whose = Callable[[Sequence[str], str, str], str]


def nobody(names: Sequence[str], lms: str, lms_id: str) -> str:  # noqa: ARG001 - the signature of Whose
    """Without a roster nobody is known by another name."""
    return ""


def recognise(files: list[Found], whose: Whose = nobody) -> list[Found]:
    """The same files; those of a bulk download each in the folder of its student.

    A wrapping folder (``class/…``) is taken off. Raises SubmissionError where Gradescope's metadata cannot be read:
    without them nobody is known.
    """
    files = _unwrapped(files)
    metadata = next((found for found in files if found.parts[-1] == METADATA and len(found.parts) <= 2), None)
    if metadata is not None and any(_gradescope_folder(found, metadata) for found in files):
        return list(_gradescope(files, metadata, whose))
    if _is_canvas(flat := _flat(files)):
        return [_canvas(found, match, whose) if (match := _canvas_match(found)) else found for found in flat]
    return [_below_gradescope(found) for found in _moodle(files, whose)]


def _unwrapped(files: list[Found]) -> list[Found]:
    """Without the folders that hold everything; one of a platform's for a student says whose it is, and stays."""
    while (root := _only_root(files)) and not _is_students(root) and all(len(found.parts) > 2 for found in files):
        files = [_without_root(found) for found in files]
    return files


def _flat(files: list[Found]) -> list[Found]:
    """The files of one folder as if they lay at the root; elsewhere the same."""
    inside = {found.parts[0] for found in files if found.is_notebook and len(found.parts) == 2}
    if len(inside) != 1:
        return files
    return [_without_root(found) if len(found.parts) == 2 and found.parts[0] in inside else found for found in files]


def _only_root(files: list[Found]) -> str:
    roots = {found.parts[0] for found in files}
    return roots.pop() if len(roots) == 1 else ""


def _without_root(found: Found) -> Found:
    return msgspec.structs.replace(found, parts=found.parts[1:])


def _is_students(folder: str) -> bool:
    """Whether Moodle or Gradescope calls one student's folder so."""
    return bool(GRADESCOPE.fullmatch(folder)) or _moodle_name(folder, is_folder=True) is not None


def _is_canvas(files: list[Found]) -> bool:
    """Whether every notebook is named as Canvas does, and anything is; other files there are the staff's own."""
    others = [found for found in files if not _canvas_match(found)]
    return len(others) < len(files) and not any(found.is_notebook for found in others)


def _canvas_match(found: Found) -> re.Match[str] | None:
    return CANVAS.fullmatch(found.parts[0]) if len(found.parts) == 1 else None


def _canvas(found: Found, match: re.Match[str], whose: Whose) -> Found:
    number = match["id"]
    student = whose([match["name"]], "canvas", number) or f"{match['name']}_{number}"
    received = Received(at="", known="first seen", lms="canvas", lms_id=number, marked_late=bool(match["late"]))
    return _of(found, student, match["file"], received)


def _moodle(files: list[Found], whose: Whose) -> Iterator[Found]:
    """Participant numbers are another assignment's other numbers, so the full name tells who it is, if it is one's alone."""
    matches = [_moodle_match(found) for found in files]
    numbers: dict[str, set[str]] = collections.defaultdict(set)
    for match in matches:
        if match:
            numbers[nfc(match["name"])].add(match["id"])
    for found, match in zip(files, matches, strict=True):
        if match is None:
            yield found
        elif match["kind"] == "file":
            name = nfc(match["name"])
            alone = len(numbers[name]) == 1
            student = (whose([name], "moodle", match["id"]) or name) if alone else f"{name} ({match['id']})"
            received = Received(at="", known="first seen", lms="moodle", lms_id=match["id"])
            yield _of(found, student, match["file"] or found.parts[-1], received)


def _moodle_match(found: Found) -> re.Match[str] | None:
    return _moodle_name(found.parts[0], is_folder=len(found.parts) > 1)


def _moodle_name(name: str, *, is_folder: bool) -> re.Match[str] | None:
    """A folder's name ends with the marker, a file's goes on after it."""
    match = MOODLE.fullmatch(name) or MOODLE.fullmatch(f"{name}_")
    return match if match and is_folder is not bool(match["file"]) else None


def _below_gradescope(found: Found) -> Found:
    """Without the metadata the folder of a submission is all that names its student, however deep a file lies."""
    is_deep = len(found.parts) > 2 and GRADESCOPE.fullmatch(found.parts[0])
    return msgspec.structs.replace(found, parts=(found.parts[0], found.parts[-1])) if is_deep else found


def _gradescope_folder(found: Found, metadata: Found) -> str:
    """The ``submission_<id>`` that a file lies in, or ""."""
    above = metadata.parts[:-1]
    inner = found.parts[len(above) :] if found.parts[: len(above)] == above else ()
    return inner[0] if len(inner) > 1 and GRADESCOPE.fullmatch(inner[0]) else ""


def _gradescope(files: list[Found], metadata: Found, whose: Whose) -> Iterator[Found]:
    known = _read_metadata(metadata)
    for found in files:
        folder = _gradescope_folder(found, metadata)
        if not folder:
            continue
        entry = known.get(folder)
        people = _get(entry, "submitters")
        people = people if isinstance(people, list) and people else [{"name": folder}]
        for person in people:  # a group hands in once for each of its members
            names = [name for key in ("email", "sid", "name") if (name := str(_get(person, key) or "").strip())]
            number = str(_get(person, "sid") or _get(person, "email") or "")
            student = whose(names, "gradescope", number) or (names or [folder])[0]
            at = _time(_get(entry, "created_at"))
            received = Received(at=at, known="lms" if at else "first seen", lms="gradescope", lms_id=number)
            yield _of(found, student, found.parts[-1], received)


def _read_metadata(metadata: Found) -> dict[str, Any]:
    content = metadata.read()
    if len(content) > MAX_METADATA:
        fix = "export fewer submissions at a time"
        raise SubmissionError(f"is larger than {MAX_METADATA // 2**20} MB", where=metadata.source, fix=fix)
    try:
        import yaml  # comes with jupytext
    except ImportError:
        raise SubmissionError("needs PyYAML to be read", where=metadata.source, fix="pip install pyyaml") from None
    try:
        # The safe loader makes plain data only; the one in C is twenty times as fast and not everywhere.
        document = yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        what = f"is not YAML that can be read: {plain(str(error), 100)}"
        raise SubmissionError(what, where=metadata.source, fix="download the export again") from None
    return {str(key): value for key, value in document.items()} if isinstance(document, dict) else {}


def _get(entry: Any, key: str) -> Any:
    """A field of Gradescope's YAML, whose keys are Ruby's symbols."""
    return entry.get(f":{key}", entry.get(key)) if isinstance(entry, dict) else None


def _time(value: Any) -> str:
    """A time of Gradescope's as ISO text; it writes UTC, and "" where there is none."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            return ""
    if not isinstance(value, dt.datetime):
        return ""
    aware = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return aware.astimezone(dt.UTC).isoformat(timespec="seconds")


def _of(found: Found, student: str, file: str, received: Received) -> Found:
    origin = Origin(student=student, received=received)
    return msgspec.structs.replace(found, parts=(student, nfc(file)), origin=origin)
