"""Evidence on disk: one folder for each run, written whole or not at all.

    <out>/<lab>/<student>/card.html            the student's edition
    <out>/<lab>/<student>/staff/card.html      the staff's
                                result.json    the verdict (docs/result-schema.md)
                                executed.ipynb, artifacts/, facts.json, exhibits.json, tape.msgpack, submission.json,
                                sketches.msgpack (a few weights of each kept model, see likeness),
                                provenance.json (what the run rests on, see provenance)

Names of artifacts are the student's: they are made safe, and the true ones stand in facts.json. A folder is built
aside and moved into place, so that an interruption leaves the old run or the new one. What a killed grader has left
aside is swept by a later batch.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from grader.errors import OursError, UsageError, plain
from grader.grading import Graded
from grader.likeness import Sketch, sketches
from grader.provenance import Provenance
from grader.records import Edition, Exhibits, Verdict, encode
from grader.runner import RunFacts
from grader.session import Tape
from grader.submissions import Submission

UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
#: Writing a run takes a second. What lies aside for longer is nobody's any more, whoever else grades into this folder.
LEFT_S = 3600.0
#: Below the folder of cards: what `alone` locks, and where students' pages lie (see pages).
LOCK, STUDENTS = ".lock", "students"
Kind = TypeVar("Kind")
CARDS: dict[Edition, str] = {"student": "card.html", "staff": "staff/card.html"}
#: What judging again writes anew, by its path in a run's folder.
TOLD = frozenset({"card.html", "staff/card.html", "staff/tape.msgpack", "staff/result.json", "staff/submission.json"})
#: How a changed name ends. A name that looks so by itself is changed too, or it could take another file's place.
MARKED = re.compile(r"-[0-9a-f]{10}$")
#: Every path in a run's folder.
PACKED = re.compile(r"(staff/(artifacts/)?)?[A-Za-z0-9_][A-Za-z0-9._-]*")


class Damaged(UsageError):
    """A kept run cannot be read."""


class Unwritable(OursError):
    """A run cannot be kept."""


class Saved(msgspec.Struct, frozen=True):
    """A run read back from its folder; its files are read one at a time."""

    folder: Path
    verdict: Verdict
    facts: RunFacts
    exhibits: Exhibits
    submission: Submission

    def tape(self) -> Tape:
        """Its questions and answers: up to 256 MiB, so read when asked for."""
        path = self.folder / "staff" / "tape.msgpack"
        try:
            return Tape.decode(path.read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            raise _damaged(path, error) from None

    def sketches(self) -> dict[str, Sketch]:
        """Those of its kept models; none of a run that was kept before there were any."""
        path = self.folder / "staff" / "sketches.msgpack"
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=dict[str, Sketch])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise _damaged(path, error) from None

    def read_file(self, path: str) -> bytes:
        """One artifact's bytes, by its path in the run."""
        return (self.folder / "staff" / "artifacts" / safe_name(path)).read_bytes()


def save(
    out: Path, submission: Submission, graded: Graded, cards: Mapping[Edition, str], rests_on: Provenance | None = None
) -> Path:
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
        (staff / "sketches.msgpack").write_bytes(msgspec.msgpack.encode(sketches(graded.facts.files)))
        for path, data in graded.facts.files.items():
            (artifacts / safe_name(path)).write_bytes(data)
        names = dict.fromkeys(graded.facts.files, b"")
        facts = msgspec.structs.replace(graded.facts, files=names, executed=b"")
        (staff / "facts.json").write_bytes(encode(facts))
        if rests_on is not None:
            paths = [path for path in building.rglob("*") if path.is_file()]
            sizes = {path.relative_to(building).as_posix(): path.stat().st_size for path in paths}
            (staff / "provenance.json").write_bytes(encode(msgspec.structs.replace(rests_on, sizes=sizes)))
        return _place(building, parent / submission.slug)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def pack(folder: Path) -> dict[str, bytes]:
    """A run's folder as it travels to another machine or back: content by path. Nothing where there is none.

    Without what a grader that was killed left half written: no name of a run's own begins with a dot.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def place(out: Path, submission: Submission, files: Mapping[str, bytes]) -> Path:
    """Put what `pack` gave in the place of the kept run, whole. Raises OursError for a path that no run has."""
    for path in files:
        if not PACKED.fullmatch(path):
            raise OursError("a run came with a file that none has", where=plain(path))
    final = run_folder(out, submission)
    final.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=final.parent))
    os.chmod(building, 0o755)  # noqa: S103 - mkdtemp's 0700 would hide the card from its student
    try:
        (building / "staff" / "artifacts").mkdir(parents=True)
        for path, data in files.items():
            (building / path).write_bytes(data)
        return _place(building, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def sweep(out: Path, lab: str) -> None:
    """Remove what graders that were killed have left aside: run folders of that lab, and files anywhere."""
    for left in (*(out / lab).glob(".building-*"), *(out / lab).glob(".old-*")):
        if _nobodys(left):
            shutil.rmtree(left, ignore_errors=True)
    written = (out, out / STUDENTS), (out / lab).glob("*"), (out / lab).glob("*/staff")
    for folder in itertools.chain(*written):
        for left in folder.glob(".writing-*"):
            if _nobodys(left):
                with contextlib.suppress(OSError):
                    left.unlink()


def _nobodys(left: Path) -> bool:
    """Whether it is too old for anybody to be writing it."""
    with contextlib.suppress(OSError):
        return abs(time.time() - left.stat().st_mtime) > LEFT_S
    return False


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """The one grader at work in that folder, on this machine at least. Raises UsageError where there is another.

    The lock ends with the process that holds it, however that ends; the file stays. Where there are no such locks
    (Windows, some network file systems) everybody is let in.
    """
    with contextlib.ExitStack() as held:
        try:
            import fcntl

            # Some network file systems give an exclusive lock only on a file that is open for writing.
            file = os.open(out / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            held.callback(os.close, file)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fix = "wait for its end, or name another folder with --out"
            raise UsageError("another grader is grading into this folder", where=str(out), fix=fix) from None
        except (ImportError, OSError):  # what cannot be written at all is told by who writes next
            pass
        yield


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """What is written meanwhile, by us and below ``place``. Raises Unwritable where it cannot be: a full disk, say."""
    try:
        yield
    except OSError as error:
        fix = "make room there and run the same command again: what is finished is kept"
        raise Unwritable(f"cannot be written: {error.strerror or error}", where=str(place), fix=fix) from error


def update(
    folder: Path,
    graded: Graded,
    cards: Mapping[Edition, str],
    submission: Submission,
    rests_on: Provenance | None = None,
    *,
    whole: bool = False,
) -> None:
    """Replace what judging again changes, the verdict after the cards that tell of it. ``rests_on``: what it did now.

    The tape only where there are new answers on it, unless the ``whole`` is to be written anew.
    """
    told = {CARDS[edition]: html.encode() for edition, html in cards.items()}
    if whole or graded.tape.grown:
        told["staff/tape.msgpack"] = graded.tape.encode()
    _replace(folder, told | {"staff/result.json": encode(graded.verdict)}, submission, rests_on)


def confirm(folder: Path, submission: Submission, rests_on: Provenance) -> None:
    """Note that judging again, by what is there now, gave the same verdict."""
    _replace(folder, {}, submission, rests_on)


def _replace(folder: Path, told: Mapping[str, bytes], submission: Submission, rests_on: Provenance | None) -> None:
    """Each file in one step, and last what the whole rests on: an interruption before that means judging again."""
    files = {**told, "staff/submission.json": encode(submission)}
    for path, data in files.items():
        write_whole(folder / path, data)
    old = provenance(folder)
    if old is not None:
        sizes = old.sizes | {path: len(data) for path, data in files.items()}
        now = rests_on or old
        new = msgspec.structs.replace(old, sizes=sizes, judging=now.judging, telling=now.telling)
        write_whole(folder / "staff" / "provenance.json", encode(new))


def provenance(folder: Path) -> Provenance | None:
    """What a kept run rests on; None where nobody can tell."""
    try:
        return msgspec.json.decode((folder / "staff" / "provenance.json").read_bytes(), type=Provenance)
    except (OSError, msgspec.DecodeError):
        return None


def stale(folder: Path, sizes: Mapping[str, int]) -> bool:
    """Whether something that is told of a run (`TOLD`) is not as long as it was written: it has to be told again.

    Raises Damaged where that is so of the run's own evidence. A power cut leaves files that are there and empty.
    """
    again = False
    for path, size in sizes.items():
        try:
            there = (folder / path).stat().st_size
        except OSError:
            there = -1
        if there != size and path not in TOLD:
            raise _damaged(folder / path, ValueError(f"{max(there, 0)} bytes are left of {size}"))
        again |= there != size
    return again


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one.

    What is there already stays: replacing a file took 4 ms here, as ext4 flushes the new one before it lets the old go.
    """
    with contextlib.suppress(OSError):
        if path.read_bytes() == data:
            return
    handle, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def run_folder(out: Path, submission: Submission) -> Path:
    """Where a submission's run is, once it is graded."""
    return out / submission.lab / submission.slug


def result_path(out: Path, submission: Submission) -> Path:
    """Its verdict."""
    return run_folder(out, submission) / "staff" / "result.json"


def runs(out: Path, lab: str | None = None) -> Iterator[Path]:
    """The run folders below ``out``, sorted."""
    for parent in sorted(path for path in out.glob("*") if lab in (None, path.name)):
        for name in _names(parent):  # names alone: a class's paths take ten times the memory
            folder = parent / name
            if not name.startswith(".") and (folder / "staff" / "result.json").is_file():
                yield folder


def _names(folder: Path) -> list[str]:
    """What lies in it, sorted; nothing where it is no folder, or has gone meanwhile."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def verdicts(out: Path, lab: str | None = None) -> Iterator[tuple[Path, Verdict]]:
    """Each run folder below ``out`` with its verdict; one that was damaged by hand is left out."""
    for folder in runs(out, lab):
        found = verdict(folder)
        if found is not None:
            yield folder, found


def verdict(folder: Path) -> Verdict | None:
    """A kept run's verdict; None where it cannot be read."""
    try:
        return msgspec.json.decode((folder / "staff" / "result.json").read_bytes(), type=Verdict)
    except (OSError, msgspec.DecodeError):
        return None


def load(folder: Path) -> Saved:
    """Read a run back. Raises Damaged naming the file that cannot be read."""
    submission, found = graded_as(folder)
    facts, exhibits = _read(folder, "facts", RunFacts), _read(folder, "exhibits", Exhibits)
    return Saved(folder, found, facts, exhibits, submission)


def graded_as(folder: Path) -> tuple[Submission, Verdict]:
    """What was handed in and what it got, without the evidence. Raises Damaged naming the file that cannot be read."""
    return _read(folder, "submission", Submission), _read(folder, "result", Verdict)


def _read(folder: Path, name: str, kind: type[Kind]) -> Kind:
    path = folder / "staff" / f"{name}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> Damaged:
    return Damaged(f"the kept run cannot be read: {error}", where=str(path), fix="grade it again with `grader grade`")


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
