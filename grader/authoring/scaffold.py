"""A new lab: small, whole, and one that holds. Its author changes it step by step and verifies after each.

The lab comes from ``template/``, a lab written like any other, with ``@ID@`` and the titles to be filled in. It is made
beside the labs and moved into place, so that there is a whole lab or none. Nothing is ever written over.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from grader.errors import UsageError, plain
from grader.labs.spec import LAB_ID
from grader.labs.starter import reference_path

TEMPLATE = Path(__file__).parent / "template"
REFERENCE = "reference.ipynb.in"


def new_lab(labs: Path, lab_id: str, title: str = "", title_zh: str = "") -> tuple[Path, Path]:
    """Write a lab of that id into the labs folder; returns its folder and its reference. Raises UsageError."""
    if not LAB_ID.fullmatch(lab_id):
        what = f"'{plain(lab_id, 60)}' is not a lab id"
        raise UsageError(what, fix="use at most 40 small letters, digits and _, beginning with a letter")
    folder, reference = labs / lab_id, reference_path(labs, lab_id)
    for path in (folder, reference):
        if path.exists():
            raise UsageError("exists already", where=str(path), fix="choose another id; nothing is written over")
    title = _line(title) or lab_id.replace("_", " ").capitalize()
    words = {"@ID@": lab_id, "@TITLE@": title, "@TITLE_ZH@": _line(title_zh) or title}
    try:
        labs.mkdir(parents=True, exist_ok=True)
        reference.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".new-", dir=labs))
        building.chmod(0o755)  # mkdtemp's 0700 is not for a folder that staff share
        try:
            _write(building, words)
            with reference.open("x", encoding="utf-8") as file:
                file.write(_filled((TEMPLATE / REFERENCE).read_text("utf-8"), words))
            try:
                building.rename(folder)
            except OSError:  # somebody was faster: a folder with a lab in it is not replaced
                reference.unlink()
                raise
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}", where=str(folder), fix="check the labs folder"
        ) from None
    return folder, reference


def _write(folder: Path, words: dict[str, str]) -> None:
    for path in sorted(TEMPLATE.rglob("*.in")):
        if path.name != REFERENCE:
            target = folder / _filled(path.relative_to(TEMPLATE).as_posix().removesuffix(".in"), words)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_filled(path.read_text("utf-8"), words), "utf-8")


def _filled(text: str, words: dict[str, str]) -> str:
    for gap, word in words.items():
        text = text.replace(gap, word)
    return text


def _line(title: str) -> str:
    """A title as one line that may stand between quotes in TOML, JSON and a catalogue."""
    return plain(title, 80).replace("\\", "/").replace('"', "'").strip()
