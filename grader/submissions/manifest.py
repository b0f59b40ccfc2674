"""``collected.json``: what a platform said of the copies in a class folder.

Who it is, when it was handed in, and the sha256 of the bytes that this is about. Intake believes it only for exactly
those bytes, so nobody gains a date by editing a copy, and only for ``<student>/<file>`` below the folder that was named, so a
student's own file of that name says nothing.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from grader.errors import SubmissionError, UsageError, plain
from grader.records import Received, Record
from grader.submissions.archives import Found, Origin, read_file, shown

MANIFEST = "collected.json"
SCHEMA = 1


class Copy(Record, frozen=True):
    """One copied file: its path below the folder with ``/``, whose it is and for which lab."""

    path: str
    student: str
    lab: str
    sha256: str
    received: Received | None = None


class Manifest(Record, frozen=True):
    """The content of ``collected.json``."""

    files: tuple[Copy, ...] = ()
    schema: int = SCHEMA


def read_manifest(folder: Path) -> Manifest:
    """What is known of a folder's copies; nothing where nothing was collected. Raises UsageError where it is damaged."""
    path = folder / MANIFEST
    if not path.is_file():
        return Manifest()
    try:
        return msgspec.json.decode(read_file(path), type=Manifest)
    except (msgspec.DecodeError, SubmissionError) as error:
        fix = "delete it, and collect the downloads again"
        raise UsageError(f"cannot be read: {plain(str(error))}", where=shown(path), fix=fix) from None


def with_origins(files: list[Found], folder: Path) -> list[Found]:
    """The files of a folder, each with what was kept of it when it was collected."""
    known = {copy.path: copy for copy in read_manifest(folder).files}
    return [_with_origin(found, known.get("/".join(found.parts))) for found in files]


def _with_origin(found: Found, copy: Copy | None) -> Found:
    if copy is None:
        return found
    origin = Origin(student=copy.student, received=copy.received, sha256=copy.sha256)
    return msgspec.structs.replace(found, origin=origin)
