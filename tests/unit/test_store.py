"""The store: a run's folder is whole or absent, and reads back as it was written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import PurePath

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader import store, wire
from grader.errors import OursError, UsageError
from grader.grading import Graded
from grader.records import Artifact, CheckResult, Ending, Environment, Evidence, Exhibits, Level, Outcome, Tier, Verdict
from grader.runner import RunFacts
from grader.session import Tape, TapeEntry
from grader.submissions import Submission

CARDS = {"student": "<p>student</p>", "staff": "<p>staff</p>"}
SUBMISSION = Submission(student="amy", slug="amy", lab="tiny", source="amy/tiny.ipynb", sha256="ab" * 32, size=3)


def graded(score=5.0, files=None, executed=b'{"cells": []}'):
    check = CheckResult(
        id="a",
        description="A.",
        points=10.0,
        score=score,
        outcome=Outcome.FAILED,
        required=Evidence.VERIFIED,
        evidence=Evidence.VERIFIED,
    )
    verdict = Verdict(
        lab="tiny",
        lab_title="Tiny",
        student="amy",
        submission=SUBMISSION.sha256,
        ending=Ending.OK,
        score=score,
        max_score=10.0,
        checks=(check,),
        level=Level.L2,
        tier=Tier.LITE,
        environment=Environment(grader="1", python="3", platform="linux"),
        timings={"total": 1.5},
    )
    files = files if files is not None else {"out/model.keras": b"\x00\x01", "notes.txt": b"hello"}
    facts = RunFacts(
        ending=Ending.OK,
        files=files,
        artifacts=tuple(Artifact(path=path, size=len(data), sha256="") for path, data in sorted(files.items())),
        observed={"fits": [{"logs": {"loss": [1.0, None]}}]},
        executed=executed,
    )
    answer = wire.Answer("n", "ok", wire.to_value([1.0, float("nan")]), None, 0.1)
    tape = Tape((TapeEntry(side="clean", key="k", kind="pure", question="f(x)", answer=answer),))
    return Graded(verdict, Exhibits(), facts, tape)


def test_a_run_reads_back_as_it_was_written(tmp_path):
    """Verdict, facts, tape, submission, and every artifact under its true path."""
    done = graded()
    saved = store.load(store.save(tmp_path, SUBMISSION, done, CARDS))
    assert saved.verdict == done.verdict
    assert saved.submission == SUBMISSION
    assert saved.facts.artifacts == done.facts.artifacts
    assert saved.facts.observed == done.facts.observed
    assert msgspec.msgpack.encode(saved.tape().entries) == msgspec.msgpack.encode(done.tape.entries)
    assert {path: saved.read_file(path) for path in saved.facts.files} == done.facts.files


def test_the_students_card_lies_apart_from_what_staff_may_see(tmp_path):
    """The student's edition is the only file outside staff/: that folder can be withheld as a whole."""
    folder = store.save(tmp_path, SUBMISSION, graded(), CARDS)
    assert [path.name for path in sorted(folder.iterdir())] == ["card.html", "staff"]
    assert (folder / "card.html").read_text() == CARDS["student"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_grading_again_replaces_the_whole_run(tmp_path):
    """No file of the earlier run stays behind: artifacts of two runs are never mixed."""
    store.save(tmp_path, SUBMISSION, graded(files={"old.txt": b"1"}), CARDS)
    folder = store.save(tmp_path, SUBMISSION, graded(score=7.0, files={"new.txt": b"2"}), CARDS)
    assert os.listdir(folder / "staff" / "artifacts") == ["new.txt"]
    assert store.load(folder).verdict.score == 7.0
    assert os.listdir(tmp_path / "tiny") == ["amy"]


def test_an_interruption_while_writing_leaves_the_earlier_run(tmp_path, monkeypatch):
    """And nothing half written beside it."""
    folder = store.save(tmp_path, SUBMISSION, graded(), CARDS)

    class Interrupted(BaseException):
        pass

    def interrupt(*_):
        raise Interrupted

    monkeypatch.setattr(store, "_place", interrupt)
    with pytest.raises(Interrupted):
        store.save(tmp_path, SUBMISSION, graded(score=9.0), CARDS)
    assert store.load(folder).verdict.score == 5.0
    assert os.listdir(tmp_path / "tiny") == ["amy"]


def test_what_a_killed_grader_left_aside_is_swept_when_it_is_nobodys(tmp_path):
    """Not what another grader is writing at this moment, and no run."""
    folder = store.save(tmp_path, SUBMISSION, graded(), CARDS)
    for name in (".building-old", ".old-old", ".building-new"):
        (tmp_path / "tiny" / name / "staff").mkdir(parents=True)
    for left in (folder, tmp_path / "tiny" / ".building-old", tmp_path / "tiny" / ".old-old"):
        os.utime(left, (0, 0))
    store.sweep(tmp_path, "tiny")
    assert sorted(os.listdir(tmp_path / "tiny")) == [".building-new", "amy"]


def test_files_that_a_killed_grader_was_writing_are_swept_wherever_they_lie(tmp_path):
    """Beside the overview, a student's page, a card or a verdict; not what is being written at this moment."""
    folder = store.save(tmp_path, SUBMISSION, graded(), CARDS)
    (tmp_path / "students").mkdir()
    places = [tmp_path, tmp_path / "students", folder, folder / "staff"]
    for place in places:
        (place / ".writing-old").touch()
        (place / ".writing-new").touch()
        os.utime(place / ".writing-old", (0, 0))
    store.sweep(tmp_path, "tiny")
    assert [sorted(path.name for path in place.glob(".writing-*")) for place in places] == [[".writing-new"]] * 4
    assert store.load(folder).verdict == graded().verdict


def test_only_one_grader_at_a_time_works_in_a_folder(tmp_path):
    """The second is told what to do, also when it is another process; afterwards the folder is free."""
    second = "import sys, pathlib; from grader import store\nwith store.alone(pathlib.Path(sys.argv[1])): pass"
    command = [sys.executable, "-c", second, str(tmp_path)]
    with store.alone(tmp_path):
        with pytest.raises(UsageError, match=r"another grader is grading into this folder \(wait for its end, or"):
            store.alone(tmp_path).__enter__()
        refused = subprocess.run(command, check=False, capture_output=True, text=True)
        assert "another grader is grading" in refused.stderr
    subprocess.run(command, check=True)
    assert list(store.runs(tmp_path)) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_the_file_system_knows_no_locks_grading_goes_on(tmp_path, monkeypatch, number):
    """A lock guards against an accident; it is no condition."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with store.alone(tmp_path), store.alone(tmp_path):
        pass


def test_what_cannot_be_written_says_where_and_what_to_do(tmp_path):
    """A full disk is ours, and ends a batch that can go on later."""
    (tmp_path / "tiny").write_text("a file where the lab's folder should be")
    with (
        pytest.raises(OursError, match=r"tiny.*cannot be written: .* \(make room there and run the same command again"),
        store.writing(tmp_path / "tiny" / "amy"),
    ):
        store.save(tmp_path, SUBMISSION, graded(), CARDS)


def test_an_update_changes_the_verdict_and_the_cards_only(tmp_path):
    """A regrade does not touch the evidence."""
    folder = store.save(tmp_path, SUBMISSION, graded(), CARDS)
    store.update(folder, graded(score=8.0), {"student": "s2", "staff": "t2"}, SUBMISSION)
    saved = store.load(folder)
    assert saved.verdict.score == 8.0
    assert saved.read_file("notes.txt") == b"hello"
    assert (folder / "card.html").read_text() == "s2"
    assert not [name for name in os.listdir(folder / "staff") if name.startswith(".")]


@pytest.mark.parametrize("name", ["result.json", "facts.json", "exhibits.json", "submission.json"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_run_is_an_error_that_names_the_file(tmp_path, name, content):
    """And says what to do."""
    folder = store.save(tmp_path, SUBMISSION, graded(), CARDS)
    path = folder / "staff" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UsageError, match=f"{name}.*grade it again"):
        store.load(folder)


def test_a_damaged_tape_is_an_error_that_names_the_file(tmp_path):
    """It is read when it is needed."""
    folder = store.save(tmp_path, SUBMISSION, graded(), CARDS)
    (folder / "staff" / "tape.msgpack").write_bytes(b"\xc1")
    with pytest.raises(UsageError, match=r"tape\.msgpack"):
        store.load(folder).tape()


def test_runs_are_listed_by_lab_without_what_is_being_built(tmp_path):
    """A folder that another process is writing is not a run yet."""
    store.save(tmp_path, SUBMISSION, graded(), CARDS)
    other = msgspec.structs.replace(SUBMISSION, lab="other", slug="bob")
    store.save(tmp_path, other, graded(), CARDS)
    (tmp_path / "tiny" / ".building-x" / "staff").mkdir(parents=True)
    (tmp_path / "tiny" / ".building-x" / "staff" / "result.json").touch()
    assert [path.name for path in store.runs(tmp_path)] == ["bob", "amy"]
    assert [path.name for path in store.runs(tmp_path, "tiny")] == ["amy"]


HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a/b",
    "a__b",
    "-rf",
    ".bashrc",
    ".kept/model",
    "a\x00b",
    "a\nb",
    "模型.keras",
    "\u202egnp.exe",
    "x" * 500,
    "a/" * 100,
    "C:\\x",
    "<script>",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_artifact_name_is_one_plain_file_name(path):
    """Nothing of it can leave the folder, hide, be an option or stand for something on a terminal or in a page."""
    name = store.safe_name(path)
    assert name.isascii()
    assert len(name) <= 120
    assert PurePath(name).name == name
    assert name[0] not in ".-"
    assert not set(name) & set("/\\:<>&\"' \n\0")


def test_hostile_names_do_not_take_each_others_place():
    """Each true path has a file of its own."""
    assert len({store.safe_name(path) for path in HOSTILE}) == len(HOSTILE)


@given(st.text(max_size=30))
def test_a_name_cannot_be_made_to_collide_with_a_changed_one(path):
    """A student who names a file as another's safe name gets another name for it."""
    assert store.safe_name(path) == path or store.safe_name(store.safe_name(path)) != store.safe_name(path)


def test_hostile_names_survive_the_disk(tmp_path):
    """Every artifact is read back by its true path."""
    files = {path: str(number).encode() for number, path in enumerate(HOSTILE)}
    saved = store.load(store.save(tmp_path, SUBMISSION, graded(files=files), CARDS))
    assert {path: saved.read_file(path) for path in saved.facts.files} == files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]


def test_a_run_travels_as_bytes_and_is_the_same_folder_elsewhere(tmp_path):
    """What a worker of a cluster wrote is put in its place whole, in the stead of the run that was there."""
    here = store.save(tmp_path / "worker", SUBMISSION, graded(files={"../a b.txt": b"1", "kept/x": b"2"}), CARDS)
    store.save(tmp_path / "out", SUBMISSION, graded(files={"old.txt": b"0"}), CARDS)
    there = store.place(tmp_path / "out", SUBMISSION, store.pack(here))
    assert there == store.run_folder(tmp_path / "out", SUBMISSION)
    assert store.pack(there) == store.pack(here)
    assert there.stat().st_mode & 0o777 == 0o755
    assert os.listdir(tmp_path / "out" / "tiny") == ["amy"]


def test_a_file_that_a_killed_grader_was_writing_does_not_travel(tmp_path):
    """The other side would refuse the whole run for it, each time."""
    here = store.save(tmp_path / "worker", SUBMISSION, graded(), CARDS)
    for place in (here, here / "staff"):
        (place / ".writing-x").touch()
    there = store.place(tmp_path / "out", SUBMISSION, store.pack(here))
    assert "staff/result.json" in store.pack(there)
    assert not list(there.rglob(".*"))


def test_a_folder_that_is_not_there_travels_as_nothing(tmp_path):
    assert store.pack(tmp_path / "absent") == {}


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "staff/../x", "staff/artifacts/../x", ".x", "staff/.x", "other/x", "staff//x", ""]
)
def test_a_path_that_no_run_has_is_refused_before_anything_is_written(tmp_path, path):
    """A worker is trusted; what it says is checked all the same."""
    folder = store.save(tmp_path, SUBMISSION, graded(), CARDS)
    before = store.pack(folder)
    with pytest.raises(OursError, match="a file that none has"):
        store.place(tmp_path, SUBMISSION, {**before, path: b"x"})
    assert store.pack(folder) == before
    assert os.listdir(tmp_path / "tiny") == ["amy"]
