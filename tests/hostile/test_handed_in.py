"""Attacks by what is handed in: files, folders, archives, names. Through the real intake; nothing of it runs anywhere."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import stat
import struct
import threading
import zipfile
import zlib
from pathlib import Path

import msgspec
import pytest

from grader import store
from grader.records import Ending
from grader.submissions import collect, slug
from grader.worker import Task

LABS = ("plain",)


def notebook(metadata: str = "{}", source: str = '"x = 1"') -> bytes:
    cell = f'{{"cell_type": "code", "source": {source}, "metadata": {{}}, "outputs": [], "execution_count": null}}'
    return f'{{"nbformat": 4, "nbformat_minor": 5, "metadata": {metadata}, "cells": [{cell}]}}'.encode()


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def handed_in(folder: Path, student: str, content: bytes = notebook()) -> Path:
    (folder / student).mkdir(parents=True)
    (folder / student / "plain.ipynb").write_bytes(content)
    return folder


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


#: Notebooks that hurt their reader, how each must end, and, where it is read, the code in it.
NOT_ONE = Ending.NOT_A_NOTEBOOK
BAD = {
    "deep": (b'{"nbformat": 4, "metadata": {}, "cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", NOT_ONE, ""),
    "deep in metadata": (notebook('{"grader": ' + "[" * 100_000 + "]" * 100_000 + "}"), NOT_ONE, ""),
    "integers": (notebook('{"n": ' + "9" * 1_000_000 + "}"), None, "x = 1"),
    "not text": (b"\xff\xfe\x00\xd8" + notebook(), NOT_ONE, ""),
    "invalid UTF-8": (notebook(source='"x = 1 # \xff"').decode().encode("latin-1"), NOT_ONE, ""),
    "BOM": (b"\xef\xbb\xbf" + notebook(), None, "x = 1"),
    "two BOMs": (b"\xef\xbb\xbf" * 2 + notebook(), NOT_ONE, ""),
    "duplicate keys": (notebook(source='"x = 1", "cell_type": "code", "source": "y = 2"'), None, "y = 2"),
    "duplicate cells": (notebook()[:-1] + b', "cells": [{"cell_type": "code", "source": "y = 2"}]}', None, "y = 2"),
    "a million strings": (notebook(source=json.dumps(["x = 1\n"] * 1_000_000)), NOT_ONE, ""),
    "a million empty strings": (notebook(source=json.dumps([""] * 1_000_000 + ["x = 1"])), None, "x = 1"),
    "a million cells": (notebook()[:-2] + b', {"cell_type": "markdown"}' * 1_000_000 + b"]}", NOT_ONE, ""),
    "2 GB": (b"", NOT_ONE, ""),
    "cut off": (notebook()[:-20], NOT_ONE, ""),
}


@pytest.mark.attack(
    "G78",
    "Hands in notebooks of 100,000 levels and 2 GB, huge integers, no text, duplicate keys, sources of a million strings.",
)
@pytest.mark.parametrize("name", BAD)
def test_a_notebook_that_hurts_its_reader_is_one_bad_file(tmp_path, name):
    """Its student gets a verdict on it, or its last word counts; the one beside is read."""
    content, problem, source = BAD[name]
    handed_in(tmp_path, "student-66", content)
    if name == "2 GB":
        os.truncate(tmp_path / "student-66" / "plain.ipynb", 2 << 30)
    handed_in(tmp_path, "student-01")
    found = {one.student: one for one in collect([tmp_path], LABS).submissions}
    assert found["student-66"].problem is problem, found["student-66"].problem_text
    assert "".join(cell.source for cell in found["student-66"].cells) == source
    assert bool(found["student-66"].message) is bool(problem)
    assert [cell.source for cell in found["student-01"].cells] == ["x = 1"]


def member(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


SLIPS = {
    "up": member("../student-01/plain.ipynb"),
    "absolute": member("/tmp/student-66/plain.ipynb"),
    "backslash": member("..\\student-01\\plain.ipynb"),
    "drive": member("C:/student-66/plain.ipynb"),
    "link": member("student-66/plain.ipynb", stat.S_IFLNK | 0o777),
    "device": member("student-66/plain.ipynb", stat.S_IFCHR | 0o666),
    "pipe": member("student-66/plain.ipynb", stat.S_IFIFO | 0o666),
}


@pytest.mark.attack("I83", "Hands in zips whose members climb out, or are links, devices and pipes.")
@pytest.mark.parametrize("name", SLIPS)
def test_a_member_that_leads_elsewhere_is_refused(tmp_path, name):
    """Nothing is ever unpacked; who climbs into another's folder takes nobody's place."""
    content = b"/etc/passwd" if name == "link" else notebook()
    path = zipped(
        tmp_path / "class.zip", (SLIPS[name], content), ("student-01/plain.ipynb", notebook(source='"y = 2"'))
    )
    before = listing(tmp_path)
    intake = collect([path], LABS)
    honest = [one for one in intake.submissions if one.student == "student-01"]
    assert [one.cells[0].source for one in honest] == ["y = 2"]
    assert not [one for one in intake.submissions if one.student != "student-01" and one.problem is None]
    assert listing(tmp_path) == before


def nested() -> bytes:
    inner = notebook()
    for _ in range(6):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("inner.zip", inner)
        inner = data.getvalue()
    return inner


def overlapping(path: Path, data: bytes) -> Path:
    """A directory of 500 students whose files are the bytes of one, which bears another's name."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    kernel = packer.compress(data) + packer.flush()
    name = b"student-99/plain.ipynb"
    sizes = (zlib.crc32(data), len(kernel), len(data))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0x21, *sizes, len(name), 0) + name + kernel
    entries = b""
    for number in range(500):
        entry = b"student-%02d/plain.ipynb" % (66 if number == 0 else 1000 + number)
        entries += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0x21, *sizes, len(entry), 0, 0, 0, 0, 0o644 << 16, 0
        )
        entries += entry
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 500, 500, len(entries), len(local), 0)
    path.write_bytes(local + entries + end)
    return path


@pytest.mark.attack("I84", "Hands in bombs: inflating, nested, overlapping, of 20,000 members.")
def test_a_bomb_costs_only_itself(tmp_path):
    """By declared sizes, counts and ratios, before anything is inflated."""
    bomb = zipped(tmp_path / "bomb.zip", ("student-66/plain.ipynb", b" " * (200 << 20)))
    many = zipped(tmp_path / "many.zip", *((f"student-66/{n}.txt", b"") for n in range(20_000)))
    deep = zipped(tmp_path / "deep.zip", ("student-66/plain.zip", nested()))
    handed_in(tmp_path / "class", "student-01")
    shared = overlapping(tmp_path / "shared.zip", notebook())
    huge = overlapping(tmp_path / "huge.zip", b" " * (40 << 20))
    with zipfile.ZipFile(huge) as archive:
        assert sum(info.file_size for info in archive.infolist()) > 10_000 * huge.stat().st_size
        assert len({info.header_offset for info in archive.infolist()}) == 1
    for path in (bomb, many, deep, shared, huge):
        intake = collect([path, tmp_path / "class"], LABS)
        assert [one.student for one in intake.submissions if one.problem is None] == ["student-01"]
        assert intake.errors or any(one.problem for one in intake.submissions)


NAMES = (
    "../../x",
    "a/b",
    "-rf",
    ".",
    "..",
    "",
    "new\nline",
    "n" * 4096,
    "<script>alert(1)</script>",
    "CON",
    "nul.txt",
    "a\0b",
)


@pytest.mark.attack("I85", "Has a name that is a path, an option, markup, 4 kB long or nothing.")
def test_no_name_is_a_path():
    """The folder of a student is one safe name, another for each."""
    slugs = [slug(name) for name in NAMES]
    assert len(set(slugs)) == len(NAMES)
    for made in slugs:
        assert made == Path(made).name
        assert made[0] not in ".-"
        assert len(made.encode()) < 255


@pytest.mark.slow
@pytest.mark.attack("I92", "Changes the file, or hands in another, while it is read and while it is graded.")
def test_a_submission_is_what_was_read(tmp_path, make_worker, proof):
    """Cells and digest are of one reading, and what is graded is what was read, whatever is handed in meanwhile."""
    path = handed_in(tmp_path, "student-66") / "student-66" / "plain.ipynb"
    versions = {version.sha256: version for version in map(Version, range(50))}
    over = threading.Event()

    def resubmit() -> None:
        for version in itertools.cycle(versions.values()):
            if over.is_set():
                return
            aside = path.with_name(".plain.ipynb.new")
            aside.write_bytes(version.content)
            aside.replace(path)

    path.write_bytes(Version(0).content)
    thread = threading.Thread(target=resubmit)
    thread.start()
    try:
        read = [one for _ in range(40) for one in collect([tmp_path], LABS).submissions]
        assert len({one.sha256 for one in read}) > 1, "nothing was handed in meanwhile"
        for one in read:
            assert [cell.source for cell in one.cells] == [versions[one.sha256].source]
            assert one.size == len(versions[one.sha256].content)
        worker = make_worker("plain", 21, proof[1].level)
        chosen = read[-1]
        worker(Task(submission=chosen), lambda text: None)
    finally:
        over.set()
        thread.join()
    result = store.result_path(Path(worker.factory.out), chosen)
    assert msgspec.json.decode(result.read_bytes())["submission"] == chosen.sha256
    executed = json.loads((result.parent / "executed.ipynb").read_bytes())
    assert ["".join(cell["source"]) for cell in executed["cells"]] == [versions[chosen.sha256].source]
    (path.parent / "plain (1).ipynb").write_bytes(notebook(source='"x = 3"'))
    intake = collect([tmp_path], LABS)
    assert not intake.submissions  # neither is graded in silence
    assert "second notebook" in str(intake.errors[0])


class Version:
    """One of the notebooks that are handed in, one after another: each of another length."""

    def __init__(self, number: int) -> None:
        self.source = f"x = {number} # {'again ' * 1000 * (number % 5)}"
        self.content = notebook(source=json.dumps(self.source))
        self.sha256 = hashlib.sha256(self.content).hexdigest()


@pytest.mark.attack("J29", "Names another lab by letters that look like its own, and by other cases.")
@pytest.mark.parametrize("lab", ["рlain", "plain\u200b", "ｐlain", "plaın", "pl\u0430in", "../plain", "plain\0"])
def test_a_lab_is_its_own_letters(tmp_path, lab):
    """Letters that only look alike are another lab: in metadata, and as a file's name."""
    handed_in(tmp_path, "student-66", notebook(json.dumps({"grader": {"lab": lab}})))
    (found,) = collect([tmp_path], LABS).submissions
    unseen = {"\u200b", "\0"} & set(lab)  # left out wherever a name is read: what is left is its own letters
    assert found.problem is (None if unseen else Ending.WRONG_LAB)
    if not {"/", "\0"} & set(lab):
        (tmp_path / "other" / "student-66").mkdir(parents=True)
        (tmp_path / "other" / "student-66" / f"{lab}.ipynb").write_bytes(notebook())
        intake = collect([tmp_path / "other"], LABS)
        assert not intake.submissions
        assert "unknown lab" in str(intake.errors[0])


METADATA = (
    '{"grader": {"lab": 9999999999999999999999999999}}',
    '{"grader": [[[[]]]]}',
    '{"grader": {"lab": ["plain"]}}',
    '{"grader": {"lab": null}, "__proto__": {"x": 1}, "__class__": "os.system"}',
    '{"a": 1e999, "b": -1e999}',
)


@pytest.mark.attack("J30", "Has metadata with huge numbers, wrong types and names of Python's own.")
@pytest.mark.parametrize("metadata", METADATA)
def test_metadata_say_nothing_but_a_lab(tmp_path, metadata):
    """Any other type is no lab, and the notebook is read without it or refused in a sentence."""
    handed_in(tmp_path, "student-66", notebook(metadata))
    (found,) = collect([tmp_path], LABS).submissions
    assert found.metadata_lab == ""
    assert found.problem in (None, Ending.NOT_A_NOTEBOOK)
