"""A bulk download as a class folder: ``<into>/<student>/<lab>.ipynb``, copied byte for byte, and never changed after.

Two different notebooks for one place are copied neither, and what is there already is written over only when asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from grader.errors import SubmissionError, UsageError, plain
from grader.records import Record
from grader.submissions.archives import shown
from grader.submissions.intake import Claim, claims, folders
from grader.submissions.lms import Whose, nobody
from grader.submissions.manifest import MANIFEST, Copy, Manifest, read_manifest


class Collected(Record, frozen=True):
    """What became of a download. ``kept`` would have written over other bytes."""

    written: tuple[Copy, ...] = ()
    same: tuple[Copy, ...] = ()
    kept: tuple[Copy, ...] = ()
    errors: tuple[SubmissionError, ...] = ()


def copy_out(
    paths: Sequence[Path],
    lab_ids: Collection[str],
    into: Path,
    *,
    only_lab: str | None = None,
    whose: Whose = nobody,
    force: bool = False,
) -> Collected:
    """Copy every notebook of these downloads into a class folder."""
    errors: list[SubmissionError] = []
    with contextlib.ExitStack() as stack:
        found = claims(paths, lab_ids, only_lab, errors, stack, whose)
        taken = _read_all(found, errors)
    known = {copy.path: copy for copy in read_manifest(into).files}
    done: dict[str, list[Copy]] = {"written": [], "same": [], "kept": []}
    for copy, content in taken:
        target = into / copy.path
        there = target.read_bytes() if target.is_file() and not target.is_symlink() else None
        state = "same" if there == content else "written" if there is None or force else "kept"
        if state == "written":
            _write(target, content)
        if state != "kept":
            known[copy.path] = copy
        done[state].append(copy)
    if taken:
        manifest = Manifest(files=tuple(known[path] for path in sorted(known)))
        _write(into / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n", mode=0o644)
    return Collected(**{state: tuple(copies) for state, copies in done.items()}, errors=tuple(errors))


def _read_all(found: Collection[Claim], errors: list[SubmissionError]) -> list[tuple[Copy, bytes]]:
    """The bytes of every claim, once each; two different files for one place are an error that names it."""
    slugs = folders({claim.student for claim in found})
    taken: dict[str, tuple[Copy, bytes]] = {}
    refused: set[str] = set()
    for claim in found:
        try:
            content = claim.found.read()
        except SubmissionError as error:
            errors.append(error)
            continue
        path = f"{slugs[claim.student]}/{claim.lab}{PurePosixPath(claim.found.parts[-1]).suffix.lower()}"
        received = claim.found.origin.received if claim.found.origin else None
        digest = hashlib.sha256(content).hexdigest()
        copy = Copy(path=path, student=claim.student, lab=claim.lab, sha256=digest, received=received)
        if taken.setdefault(path, (copy, content))[0].sha256 != digest:
            refused.add(path)
            what = f"is a second {claim.lab} notebook of {plain(claim.student, 60)}"
            errors.append(SubmissionError(what, where=claim.found.source, fix="keep one; neither was copied"))
    return [taken[path] for path in sorted(taken) if path not in refused]


def _write(target: Path, content: bytes, mode: int = 0o444) -> None:
    """Write the file whole; a copy is then read-only, so that it stays what was handed in."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".copying-", dir=target.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).chmod(mode)
        Path(name).replace(target)
    except OSError as error:
        what = f"cannot be written: {error.strerror}"
        raise UsageError(what, where=shown(target), fix="choose another --into") from None
