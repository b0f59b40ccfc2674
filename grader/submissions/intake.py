"""Intake: whatever was handed in becomes immutable, hashed submissions, and bad input a message about that one file.

Paths are a notebook, a folder of them or a zip (``archives`` lists and reads them); bytes become cells (``notebooks``).
This module decides whose file it is and which lab it is for:

    <student>/<lab>.ipynb      the folder names the student, the file the lab
    <anything>.ipynb --lab L   the option names the lab, the file the student (its folder does, if the file is L.ipynb)
    a platform's download      names and numbers as the platform writes them (``lms``)

A file that cannot be graded is still a ``Submission`` with its ``problem``, so that its student gets a card. Where
not even student and lab are known, or two files claim the same place, it is an error. Nothing here stops the batch.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from grader.errors import SubmissionError, UsageError, plain, suggest
from grader.records import Ending, Received, Record
from grader.shelf import Shelf
from grader.submissions.archives import Found, TooLargeError, nfc, shown, single, unzip, walk
from grader.submissions.lms import Whose, nobody, recognise
from grader.submissions.manifest import with_origins
from grader.submissions.notebooks import BadNotebookError, Cell, Parsed, parse_notebook, parse_script, written_in

# Windows refuses these as file names, whatever the ending.
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
# What browsers, file managers and Jupyter add to the name of a second copy.
COPY_MARK = re.compile(r"(\s*\(\d+\)|-checkpoint|[\s_-]+copy\s*\d*|-\d)+$", re.IGNORECASE)
# A name that looks like a marked slug is marked too, so that nobody can take another's folder.
MARKED = re.compile(r"-x[0-9a-f]{8}$")

NOTHING = Parsed(cells=())


class Submission(Record, frozen=True):
    """What one student handed in for one lab. ``slug`` is the student as a safe folder name."""

    student: str
    slug: str
    lab: str
    source: str
    sha256: str
    size: int
    cells: tuple[Cell, ...] = ()
    metadata_lab: str = ""
    problem: Ending | None = None
    problem_text: str = ""
    language: str = "en"
    attempt: int = 1
    received: Received | None = None

    @property
    def message(self) -> str:
        """One line for the terminal about the problem; "" where there is none."""
        return f"{self.source}: {self.problem_text}" if self.problem else ""


class Intake(Record, frozen=True):
    """``errors`` are files that could not become a submission at all."""

    submissions: Sequence[Submission]
    errors: tuple[SubmissionError, ...] = ()

    def messages(self) -> tuple[str, ...]:
        """One line for each bad file, whether it got a card or not."""
        return (*(str(error) for error in self.errors), *(item.message for item in self.submissions if item.problem))


class Claim(Record, frozen=True):
    """A file that can be read, with the student and the lab that it is for."""

    student: str
    lab: str
    found: Found


def collect(
    paths: Sequence[Path], lab_ids: Collection[str], only_lab: str | None = None, whose: Whose = nobody
) -> Intake:
    """All submissions under ``paths``, by lab and student; ``whose`` knows the people of a platform's download.

    Raises only for a wrong command.
    """
    errors: list[SubmissionError] = []
    with contextlib.ExitStack() as stack:
        submissions = _settle(claims(paths, lab_ids, only_lab, errors, stack, whose), errors)
    return Intake(submissions=submissions, errors=tuple(errors))


def claims(
    paths: Sequence[Path],
    lab_ids: Collection[str],
    only_lab: str | None,
    errors: list[SubmissionError],
    stack: contextlib.ExitStack,
    whose: Whose = nobody,
) -> list[Claim]:
    """Every file under ``paths`` that is somebody's notebook for a lab; ``stack`` keeps their archives open."""
    if only_lab is not None and only_lab not in lab_ids:
        raise UsageError(f"unknown lab '{plain(only_lab, 60)}'", where="--lab", fix=suggest(only_lab, lab_ids))
    found: list[Claim] = []
    for path in paths:
        try:
            files, root = _list(path, errors, stack)
            files = recognise(files, whose)
        except SubmissionError as error:
            errors.append(error)
            continue
        found += _claims(files, root, lab_ids, only_lab, errors)
        if not files:
            fix = "put <student>/<lab>.ipynb into it"
            errors.append(SubmissionError("holds no notebook", where=shown(path), fix=fix))
    return found


def slug(student: str) -> str:
    """A folder name for this student: letters, digits, ``._-``; safe everywhere, different for different names.

    A name that had to be changed carries a piece of its hash, so that "a b" and "a/b" never share a folder,
    not even in different batches.
    """
    name = nfc(student)
    clean = re.sub(r"[^\w.-]+", "_", name).strip("._-")[:60].rstrip("._-")
    if not clean or clean.split(".")[0].lower() in RESERVED:
        return f"student-{_mark(name)}"
    return clean if clean == name and not MARKED.search(name) else f"{clean}-{_mark(name)}"


def shown_name(student: str) -> str:
    """The student's name as cards, tables and the gradebook know it: one line, different for different names.

    As in `slug`, a name that had to be changed carries a piece of its hash: one with an invisible character would
    otherwise be another student's wherever names are compared.
    """
    name = nfc(student)
    told = plain(name, 120)
    return told if told and told == name else f"{plain(name, 100) or 'unnamed'} ({_mark(name)})"


def _mark(student: str) -> str:
    return "x" + hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _list(path: Path, errors: list[SubmissionError], stack: contextlib.ExitStack) -> tuple[list[Found], str]:
    """The files under one path, and the name of the folder that holds those at its root."""
    if not os.path.lexists(path):
        raise UsageError("does not exist", where=shown(path), fix="check the path")
    if path.is_dir():
        return with_origins(walk(path, errors), path), path.resolve().name
    found = single(path)
    if path.suffix.lower() == ".zip" and path.is_file():
        return unzip(path, errors, stack), path.stem
    if not found.is_notebook:
        raise SubmissionError("is not a notebook", where=found.source, fix="give a .ipynb, a .py, a folder or a .zip")
    return [found], path.absolute().parent.name


def _claims(
    files: list[Found], root: str, lab_ids: Collection[str], only_lab: str | None, errors: list[SubmissionError]
) -> list[Claim]:
    """Whose file each one is and for which lab."""
    made: list[Claim] = []
    notebooks = [found for found in files if found.is_notebook]
    exact = {_folder(found, root) for found in notebooks if only_lab and _lab_of(found, lab_ids) == only_lab}
    for found in notebooks:
        folder, named = _folder(found, root), _lab_of(found, lab_ids)
        is_script = found.parts[-1].lower().endswith(".py")
        if named and only_lab in (None, named):
            made.append(Claim(student=folder, lab=named, found=found))
        elif named or (is_script and len(found.parts) > 1):
            continue  # another lab than the one asked for; a helper module
        elif only_lab and len(found.parts) == 1:
            made.append(Claim(student=nfc(found.stem), lab=only_lab, found=found))
        elif only_lab and folder not in exact:
            made.append(Claim(student=folder, lab=only_lab, found=found))
        else:
            fix = f"name it <lab>.ipynb or use --lab: {suggest(found.stem, lab_ids)}"
            errors.append(SubmissionError(f"unknown lab '{plain(found.stem, 60)}'", where=found.source, fix=fix))
    errors += _without_notebook(files)
    return made


def _without_notebook(files: list[Found]) -> list[SubmissionError]:
    """Students who handed in files, but no notebook among them."""
    folders: dict[tuple[str, ...], list[Found]] = {}
    for found in files:
        # At the root, other files are the teacher's own, except what a student packed.
        if len(found.parts) > 1 or found.parts[0].lower().endswith(".zip"):
            folders.setdefault(found.parts[:-1] or found.parts, []).append(found)
    what, fix = "is not a notebook, nor is there one beside it", "hand in the .ipynb file, unpacked"
    return [
        SubmissionError(what, where=content[0].source, fix=fix)
        for content in folders.values()
        if not any(found.is_notebook for found in content)
    ]


def _folder(found: Found, root: str) -> str:
    if found.origin is not None:
        return found.origin.student
    return found.parts[-2] if len(found.parts) > 1 else nfc(root)


def _lab_of(found: Found, lab_ids: Collection[str]) -> str:
    """The lab a file's name stands for, in any case and with the mark of a copy; "" if none."""
    by_name = {lab.casefold(): lab for lab in lab_ids}
    for name in (found.stem, COPY_MARK.sub("", found.stem)):
        key = re.sub(r"[\s-]+", "_", name.strip()).casefold()
        if key in by_name:
            return by_name[key]
    return ""


def _settle(claimed: Collection[Claim], errors: list[SubmissionError]) -> Shelf[Submission]:
    """Read every claimed file; two different files for one lab of one student are an error naming both."""
    slugs = folders({claim.student for claim in claimed})
    read = Shelf(Submission)
    first: dict[tuple[str, str], tuple[int, str, str]] = {}  # where among those read, hash, source
    refused: set[tuple[str, str]] = set()
    for claim in sorted(claimed, key=lambda claim: (claim.lab, claim.student, claim.found.source)):
        try:
            submission = _submission(claim, slugs[claim.student])
        except SubmissionError as error:
            errors.append(error)
            continue
        place = (submission.lab, submission.slug)
        if place not in first:
            first[place] = len(read), submission.sha256, submission.source
            read.append(submission)
            continue
        _, digest, source = first[place]
        if digest == submission.sha256:
            continue  # the same bytes again
        refused.add(place)
        what = f"is a second notebook for {claim.lab} by {plain(claim.student, 60)}, beside {source}"
        errors.append(SubmissionError(what, where=submission.source, fix="keep one of them; neither was graded"))
    return Shelf(Submission, (read[at] for place, (at, *_) in first.items() if place not in refused)) if refused else read


def folders(students: Collection[str]) -> dict[str, str]:
    """Each student's slug. Folders on Windows and macOS do not tell Ann from ann: there the hash decides."""
    slugs = {student: slug(student) for student in students}
    times = collections.Counter(name.casefold() for name in slugs.values())
    marked = {student: f"{name}-{_mark(student)}" for student, name in slugs.items() if times[name.casefold()] > 1}
    return slugs | {student: name for student, name in marked.items() if slugs[student] != slugs[student].lower()}


def _submission(claim: Claim, folder: str) -> Submission:
    """The file's bytes, read once; raises only when there are no bytes to speak of."""
    try:
        content = claim.found.read()
    except TooLargeError as error:
        return _made(claim, folder, error.head, BadNotebookError(Ending.NOT_A_NOTEBOOK, error.what, error.fix))
    try:
        script = claim.found.parts[-1].lower().endswith(".py")
        parsed = parse_script(content) if script else parse_notebook(content)
    except BadNotebookError as bad:
        return _made(claim, folder, content, bad)
    if parsed.lab and parsed.lab != claim.lab:
        what = f"is the notebook of the lab '{parsed.lab}', handed in as '{claim.lab}'"
        wrong = BadNotebookError(Ending.WRONG_LAB, what, f"hand in the {claim.lab} notebook")
        return _made(claim, folder, content, wrong, parsed)
    return _made(claim, folder, content, None, parsed)


def _made(
    claim: Claim, folder: str, content: bytes, bad: BadNotebookError | None, parsed: Parsed = NOTHING
) -> Submission:
    digest = hashlib.sha256(content).hexdigest()
    origin = claim.found.origin
    return Submission(
        student=shown_name(claim.student),
        slug=folder,
        lab=claim.lab,
        source=claim.found.source,
        sha256=digest,
        size=len(content),
        cells=parsed.cells,
        metadata_lab=parsed.lab,
        problem=bad.ending if bad else None,
        problem_text=f"{bad.what} ({bad.fix})" if bad else "",
        language=written_in(parsed.cells),
        received=origin.received if origin and origin.sha256 in ("", digest) else None,
    )
