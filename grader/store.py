"""Evidence on disk: one folder for each run, written whole or not at all.

    <out>/<lab>/<student>/card.html            the student's edition
    <out>/<lab>/<student>/staff/card.html      the staff's
                                result.json    the verdict (docs/result-schema.md)
                                executed.ipynb, artifacts/, facts.json, exhibits.json, tape.msgpack, submission.json

Names of artifacts are the student's: they are made safe, and the true ones stand in facts.json. A folder is built
aside and moved into place, so that an interruption leaves the old run or the new one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from grader.errors import UsageError
from grader.grading import Graded
from grader.records import Exhibits, Verdict, encode
from grader.runner import RunFacts
from grader.session import Tape
from grader.submissions import Submission

UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
#: How a changed name ends. A name that looks so by itself is changed too, or it could take another file's place.
MARKED = re.compile(r"-[0-9a-f]{10}$")


class Saved(msgspec.Struct, frozen=True):
    """A run read back from its folder; its files are read one at a time."""

    folder: Path
    verdict: Verdict
    facts: RunFacts
    exhibits: Exhibits
    tape_bytes: bytes
    submission: Submission

    def tape(self) -> Tape:
        try:
            return Tape.decode(self.tape_bytes)
        except msgspec.DecodeError as error:
            raise _damaged(self.folder / "staff" / "tape.msgpack", error) from None

    def read_file(self, path: str) -> bytes:
        """One artifact's bytes, by its path in the run."""
        return (self.folder / "staff" / "artifacts" / safe_name(path)).read_bytes()


def save(out: Path, submission: Submission, graded: Graded, cards: dict[str, str]) -> Path:
    """Write the run's folder. ``cards``: {"student": html, "staff": html}."""
    parent = out / submission.lab
    parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=parent))
    os.chmod(building, 0o755)  # noqa: S103 - mkdtemp's 0700 would hide the card from its student
    try:
        staff = building / "staff"
        artifacts = staff / "artifacts"
        artifacts.mkdir(parents=True)
        (building / "card.html").write_text(cards["student"], encoding="utf-8")
        (staff / "card.html").write_text(cards["staff"], encoding="utf-8")
        (staff / "result.json").write_bytes(encode(graded.verdict))
        (staff / "exhibits.json").write_bytes(encode(graded.exhibits))
        (staff / "executed.ipynb").write_bytes(graded.facts.executed or b"{}")
        (staff / "tape.msgpack").write_bytes(graded.tape.encode())
        (staff / "submission.json").write_bytes(encode(submission))
        for path, data in graded.facts.files.items():
            (artifacts / safe_name(path)).write_bytes(data)
        names = dict.fromkeys(graded.facts.files, b"")
        facts = msgspec.structs.replace(graded.facts, files=names, executed=b"")
        (staff / "facts.json").write_bytes(encode(facts))
        return _place(building, parent / submission.slug)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def update(folder: Path, graded: Graded, cards: dict[str, str]) -> None:
    """Replace what a regrade changes: the verdict and the cards, each in one step."""
    for path, data in (
        (folder / "staff" / "result.json", encode(graded.verdict)),
        (folder / "staff" / "tape.msgpack", graded.tape.encode()),
        (folder / "staff" / "card.html", cards["staff"].encode()),
        (folder / "card.html", cards["student"].encode()),
    ):
        write_whole(path, data)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one."""
    handle, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def result_path(out: Path, submission: Submission) -> Path:
    """Where a submission's verdict is, once it is graded."""
    return out / submission.lab / submission.slug / "staff" / "result.json"


def runs(out: Path, lab: str | None = None) -> Iterator[Path]:
    """The run folders below ``out``, sorted."""
    for result in sorted(out.glob("*/*/staff/result.json")):
        folder = result.parent.parent
        if not folder.name.startswith(".") and lab in (None, folder.parent.name):
            yield folder


def load(folder: Path) -> Saved:
    """Read a run back. Raises UsageError naming the file that is damaged."""
    staff = folder / "staff"
    reading = staff
    try:
        reading = staff / "result.json"
        verdict = msgspec.json.decode(reading.read_bytes(), type=Verdict)
        reading = staff / "facts.json"
        facts = msgspec.json.decode(reading.read_bytes(), type=RunFacts)
        reading = staff / "exhibits.json"
        exhibits = msgspec.json.decode(reading.read_bytes(), type=Exhibits)
        reading = staff / "submission.json"
        submission = msgspec.json.decode(reading.read_bytes(), type=Submission)
        reading = staff / "tape.msgpack"
        return Saved(folder, verdict, facts, exhibits, reading.read_bytes(), submission)
    except (OSError, msgspec.DecodeError) as error:
        raise _damaged(reading, error) from None


def _damaged(path: Path, error: Exception) -> UsageError:
    return UsageError(
        f"the kept run cannot be read: {error}", where=str(path), fix="grade it again with `grader grade`"
    )


def safe_name(path: str) -> str:
    """A flat file name for an artifact: readable, allow-listed, and unique by a digest where anything was changed."""
    flat = UNSAFE.sub("_", path.replace("/", "__")).lstrip(".-") or "file"
    if flat == path and len(flat) <= 100 and not MARKED.search(flat):
        return flat
    return f"{flat[:100]}-{hashlib.sha256(path.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def _place(building: Path, final: Path) -> Path:
    """Move the new folder to its place; an older run is moved away first and then removed."""
    old = None
    if final.exists():
        old = Path(tempfile.mkdtemp(prefix=".old-", dir=final.parent))
        os.replace(final, old / "run")
    os.replace(building, final)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
    return final
