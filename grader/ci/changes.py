"""Which labs a change touches, as git tells it of this checkout. No network is used.

What counts is the working tree against the point where it left REF, new files that git does not ignore included. A lab is touched
by its folder and by its reference solution. Some changes touch every lab: the course's settings, the grader where its source lies
in the same repository, and the workflows, since they name the version of the grader.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path, PurePosixPath

from grader.errors import UsageError, plain
from grader.records import Record

OPTION = "--changed-since"
#: Relative to the repository's root; a folder stands for all that is below it.
WHOLE = (".github/workflows", "action.yml", "grader", "pyproject.toml", "requirements")


class Changes(Record, frozen=True):
    """``labs`` are the ids of touched labs, those included that are gone; ``whole`` is a file that touches every lab."""

    labs: frozenset[str]
    whole: str = ""

    def touch(self, lab: str) -> bool:
        return bool(self.whole) or lab in self.labs


def changes_since(ref: str, labs: Path, course: Path) -> Changes:
    """What has changed since REF for the labs in that folder. Raises UsageError where git cannot say."""
    root = Path(_git(labs, "rev-parse", "--show-toplevel").rstrip("\n")).resolve()
    files = _changed_files(root, ref)
    whole = {*WHOLE, _inside(root, course)}
    folder, references = (_inside(root, path) for path in (labs, labs.resolve().parent / "reference_solutions"))
    touched = set()
    for file in files:
        path = PurePosixPath(file)
        places = {file, *map(str, path.parents)}
        if places & whole:
            return Changes(labs=frozenset(), whole=file)
        if path.is_relative_to(folder):
            touched.add(path.relative_to(folder).parts[0])
        elif str(path.parent) == references and path.suffix == ".ipynb":
            touched.add(path.stem)
    return Changes(labs=frozenset(touched))


def _changed_files(root: Path, ref: str) -> list[str]:
    """Paths relative to the root; a file that was moved is there with both of its names."""
    try:
        commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").strip()
    except UsageError:
        fix = "name a commit, branch or tag of this checkout; a shallow clone has few: fetch more of the history"
        raise UsageError(f"'{plain(ref, 100)}' is not a known commit", where=OPTION, fix=fix) from None
    try:
        base = _git(root, "merge-base", commit, "HEAD").strip()
    except UsageError:
        fix = "a shallow clone ends too early: fetch more of the history (actions/checkout: fetch-depth: 0)"
        raise UsageError(f"'{plain(ref, 100)}' has no commit in common with HEAD", where=OPTION, fix=fix) from None
    tracked = _git(root, "diff", "--name-only", "--no-renames", "--no-ext-diff", "-z", base, "--")
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    return [name for name in (tracked + new).split("\0") if name]


def _inside(root: Path, path: Path) -> str:
    """A path as git names it; one that lies elsewhere is none of its files."""
    found = path.resolve()
    return found.relative_to(root).as_posix() if found.is_relative_to(root) else str(found)


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, check=True, env={**os.environ, "LC_ALL": "C"}, timeout=120
        )
    except FileNotFoundError:
        raise UsageError("needs git, which is not installed", where=OPTION, fix="install git") from None
    except subprocess.TimeoutExpired:
        raise UsageError("git does not answer", where=str(folder), fix="try `git status` there") from None
    except subprocess.CalledProcessError as error:
        said = plain(os.fsdecode(error.stderr).removeprefix("fatal: "), 200) or "git refuses"
        fix = f"{OPTION} needs labs that are kept in git; leave it out to verify all"
        raise UsageError(said, where=str(folder), fix=fix) from None
    return os.fsdecode(done.stdout)
