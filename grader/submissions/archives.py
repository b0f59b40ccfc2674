"""Where submissions lie: a file, a class folder or a zip, each as a list of ``Found`` files that can be read once.

Nothing is extracted and no link is followed. A file is opened once by descriptor, must be a regular file, and at most
``MAX_FILE`` bytes are read; a zip's member is read in memory under the same cap. Sizes that a zip declares are
checked before anything is inflated, and never believed while inflating.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from grader.errors import SubmissionError, plain
from grader.records import Received, Record

MAX_FILE = 50 * 2**20
MAX_ZIP = 2 * 2**30
MAX_MEMBERS = 20_000
MAX_UNPACKED = 4 * 2**30  # declared, all members together
MAX_RATIO = 200  # JSON and text reach 20 to 50; deflate's limit, which bombs come near, is 1,032
NOTEBOOK_ENDINGS = (".ipynb", ".py")
TRY_AGAIN = "hand it in again"


class Origin(Record, frozen=True):
    """Whose a file is and when it came, as a platform says; with ``sha256`` only of exactly those bytes."""

    student: str
    received: Received | None = None
    sha256: str = ""


class Found(Record, frozen=True):
    """A file of a submission: its path below the root (``parts``), its place for messages, how to read it."""

    parts: tuple[str, ...]
    source: str
    read: Callable[[], bytes]
    origin: Origin | None = None

    @property
    def stem(self) -> str:
        return PurePosixPath(self.parts[-1]).stem

    @property
    def is_notebook(self) -> bool:
        return PurePosixPath(self.parts[-1]).suffix.lower() in NOTEBOOK_ENDINGS


class TooLargeError(SubmissionError):
    """More bytes than any notebook has; ``head`` is what was read of it."""

    def __init__(self, where: str, head: bytes) -> None:
        fix = "clear the outputs (Edit > Clear All Outputs), save it and hand it in again"
        super().__init__(f"is larger than {MAX_FILE // 2**20} MB", where=where, fix=fix)
        self.head = head


def read_file(path: Path) -> bytes:
    """All bytes of a regular file, by one descriptor, without following a link."""
    where = shown(path)
    # Windows has neither flag; there, links need rights that students do not have.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if path.is_symlink():
            raise SubmissionError("is a link", where=where, fix="hand in the file itself")
        descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SubmissionError(f"cannot be read: {reason}", where=where, fix="check the file's rights") from error
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SubmissionError("is not a regular file", where=where, fix="hand in the notebook itself")
        try:
            content = stream.read(MAX_FILE + 1)
        except OSError as error:
            raise SubmissionError(f"cannot be read: {error.strerror}", where=where, fix=TRY_AGAIN) from error
    if len(content) > MAX_FILE:
        raise TooLargeError(where, content[:MAX_FILE])
    return content


def single(path: Path) -> Found:
    """One file named on the command line."""
    return Found(parts=(nfc(path.name),), source=shown(path), read=functools.partial(read_file, path))


def walk(root: Path, errors: list[SubmissionError]) -> list[Found]:
    """The files of a folder, two levels deep (``<student>/<file>``), links and hidden entries left out."""
    found: list[Found] = []
    for path in _entries(root, errors):
        if path.is_symlink():
            errors.append(SubmissionError("is a link", where=shown(path), fix="copy what it points to"))
        elif path.is_dir():
            found += _student_folder(path, errors)
        else:
            found.append(single(path))
    return found


def _student_folder(folder: Path, errors: list[SubmissionError]) -> Iterator[Found]:
    for path in _entries(folder, errors):
        if path.is_dir() and not path.is_symlink():
            deeper = next(
                (item for item in sorted(path.glob("**/*.ipynb")) if not _is_litter(item.relative_to(folder).parts)),
                None,
            )
            if deeper is not None:
                where = shown(deeper)
                errors.append(SubmissionError("lies too deep", where=where, fix="move it to <student>/<lab>.ipynb"))
        else:
            parts = (nfc(folder.name), nfc(path.name))
            yield Found(parts=parts, source=shown(path), read=functools.partial(read_file, path))


def _entries(folder: Path, errors: list[SubmissionError]) -> list[Path]:
    try:
        return [path for path in sorted(folder.iterdir()) if not _is_litter((path.name,))]
    except OSError as error:
        where = shown(folder)
        errors.append(
            SubmissionError(f"cannot be read: {error.strerror}", where=where, fix="check the folder's rights")
        )
        return []


def unzip(path: Path, errors: list[SubmissionError], stack: contextlib.ExitStack) -> list[Found]:
    """The files in a zip, by member; ``stack`` keeps it open for them."""
    where = shown(path)
    try:
        if path.stat().st_size > MAX_ZIP:
            raise SubmissionError(f"is larger than {MAX_ZIP // 2**30} GB", where=where, fix="split it")
        archive = stack.enter_context(zipfile.ZipFile(path))
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        what = f"is not a zip that can be read: {plain(str(error))}"
        raise SubmissionError(what, where=where, fix="pack it again") from error
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise SubmissionError(f"holds {len(members):,} files, more than {MAX_MEMBERS:,}", where=where, fix="split it")
    if sum(member.file_size for member in members) > MAX_UNPACKED:
        fix = "leave out everything but the notebooks"
        raise SubmissionError(f"would unpack to more than {MAX_UNPACKED // 2**30} GB", where=where, fix=fix)
    found: list[Found] = []
    for member in members:
        name = _member_name(member)
        source = f"{where}!{plain(name, 1000)}"
        parts = tuple(nfc(part) for part in name.split("/") if part not in ("", "."))
        if name.endswith("/") or not parts or _is_litter(parts):
            continue
        if ".." in parts or name.startswith("/") or ":" in parts[0]:
            fix = "pack the folder again, with plain names"
            errors.append(SubmissionError("is a path that leaves the zip", where=source, fix=fix))
            continue
        found.append(Found(parts=parts, source=source, read=functools.partial(_read_member, archive, member, source)))
    return found


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, source: str) -> bytes:
    if stat.S_ISLNK(member.external_attr >> 16):
        raise SubmissionError("is a link", where=source, fix="pack the file itself")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise SubmissionError("is no file", where=source, fix="pack files only")
    if member.flag_bits & 0x1:
        raise SubmissionError("is encrypted", where=source, fix="pack it without a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # zipfile inflates bzip2 and LZMA without a limit: 4 kB of either can become gigabytes in memory.
        raise SubmissionError("is packed by an unusual method", where=source, fix="pack it as an ordinary zip")
    if member.file_size > 2**20 and member.file_size > MAX_RATIO * max(member.compress_size, 1):
        raise SubmissionError("inflates like a zip bomb", where=source, fix="hand in the notebook unpacked")
    try:
        with archive.open(member) as stream:
            content = stream.read(MAX_FILE + 1)
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError) as error:
        what = f"cannot be unpacked: {plain(str(error))}"
        raise SubmissionError(what, where=source, fix="pack it again") from error
    if len(content) > MAX_FILE:
        raise TooLargeError(source, content[:MAX_FILE])
    return content


def _member_name(member: zipfile.ZipInfo) -> str:
    """The name with / between its parts. Zips made in China name files in GB 18030 without saying so."""
    name = member.orig_filename.split("\0")[0]
    if not member.flag_bits & 0x800 and not name.isascii():
        raw = name.encode("cp437", "replace")
        for encoding in ("utf-8", "gb18030"):
            try:
                decoded = raw.decode(encoding)
            except UnicodeDecodeError:
                continue
            if encoding == "utf-8" or all("\u4e00" <= char <= "\u9fff" for char in decoded if not char.isascii()):
                name = decoded
                break
    return name.replace("\\", "/")


def _is_litter(parts: tuple[str, ...]) -> bool:
    """Hidden files, checkpoints and what macOS puts into zips."""
    return any(part in ("__MACOSX", "__pycache__") or (part.startswith(".") and part != "..") for part in parts)


def nfc(name: str) -> str:
    """One student, one name: macOS writes é as two characters, everybody else as one."""
    return unicodedata.normalize("NFC", name)


def shown(path: Path) -> str:
    """A path for messages: one line of text, and not cut short, since it names the file."""
    return plain(str(path), 1000)
