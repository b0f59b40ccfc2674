"""What is written down of a batch while it runs, and what is learned of its pace."""

from __future__ import annotations

import json
import os
import re
import threading
import time

import msgspec
import pytest

from grader.batch import Event
from grader.cli import sink
from grader.cli.journal import Journal
from grader.cli.pace import Pace
from grader.cli.progress import Board
from grader.cli.sink import Sink
from grader.errors import UsageError

HOSTILE = "ann\n2026-01-01T00:00:00.000+00:00 INFO    [9/9] iris  eve  100/100\x1b[2J\u2028\x85\r\ud800"


def told(journal: Journal, *events: Event) -> None:
    board = Board()
    journal.begun("grade")
    for event in events:
        journal.take(event, board.take(event), board.pace, board.remaining())
    journal.ended("done", "", board.figures(), board.pace, board.total)
    journal.close()


def run_of(student: str, **more: object) -> tuple[Event, ...]:
    place = {"lab": "iris", "student": student, "total": 2}
    end = {"done": 1, "score": 5.0, "max_score": 10.0, "ending": "timeout", "seconds": 3.0, **more}
    return (
        Event(kind="started", **place),
        Event(kind="stage", text="cell 1", **place),
        Event(kind="finished", **place, **end),
    )


# ---------------------------------------------------------------- the pace


def test_the_time_left_is_that_of_the_labs_which_are_left():
    """Quick labs first: what is left is reckoned by the slow lab's own runs, shared by the workers there are."""
    pace = Pace()
    pace.plan("iris", 3)
    pace.plan("mnist", 5)
    for student in "abc":
        pace.start(("iris", student), 0)
        pace.finish(("iris", student), 2, "ok")
    pace.start(("mnist", "a"), 2)
    pace.start(("mnist", "b"), 2)
    pace.finish(("mnist", "a"), 62, "ok")
    # Three wait for 60 s each, b has run as long as one takes; two were at work at once.
    assert pace.left(62, 4) == pytest.approx(3 * 60 / 2)
    assert pace.most_time()[0] == (60, ("mnist", "a"))
    assert pace.per_minute() == pytest.approx(4 * 60 / 62)


def test_a_batch_is_never_over_before_its_longest_run():
    """Many workers do not make one run faster."""
    pace = Pace()
    pace.plan("mnist", 8)
    for student in "abcd":
        pace.start(("mnist", student), 0)
    pace.finish(("mnist", "a"), 100, "ok")
    assert pace.left(100, 7) == 100


def test_nothing_is_promised_about_work_that_is_not_planned_yet():
    """Runs judged again from their tapes say nothing about those that have to be run afterwards."""
    pace = Pace()
    pace.plan("iris", 2)
    pace.start(("iris", "a"), 0)
    pace.finish(("iris", "a"), 0.1, "ok")
    assert pace.left(1, 9) is None
    pace.plan("iris", 9)
    assert pace.left(1, 9) is None
    pace.start(("iris", "b"), 1)
    pace.finish(("iris", "b"), 31, "ok")
    assert pace.left(31, 8) == pytest.approx(8 * 30)


def test_the_board_counts_the_failures_and_names_the_slowest():
    """Endings that are not well, what needs attention, the pace, the slowest runs."""
    now = [0.0]
    board = Board(total=2, clock=lambda: now[0])
    for event in run_of("ann", attention=True):
        board.take(event)
        now[0] += 30
    assert board.figures() == [
        "pace: 1 runs a minute",
        "endings: 1 timeout, 1 needs attention",
        "slowest: iris/ann 1 min 00 s",
    ]
    board.take(Event(kind="closing", text="writing the overview", total=2))
    assert board.status() == "1/2 done, writing the overview"


# ---------------------------------------------------------------- lines


def test_a_name_cannot_forge_a_line(tmp_path):
    """Line ends, separators and escapes of a name are spelt out in the log and escaped in the stream."""
    events = (Event(kind="planned", lab="iris", runs=1, total=1), *run_of(HOSTILE))
    told(Journal(tmp_path / "grade.log", tmp_path / "events.jsonl"), *events)
    log = (tmp_path / "grade.log").read_bytes().decode("utf-8")
    stream = (tmp_path / "events.jsonl").read_bytes().decode("ascii")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", log + stream)
    assert len(stream.splitlines()) == len(events) + 2
    assert all(
        re.match(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00 (DEBUG|INFO|WARNING|ERROR) ", line) for line in log.splitlines()
    )
    assert sum("eve" in line and "ann" not in line for line in log.splitlines()) == 0
    assert json.loads(stream.splitlines()[2])["student"] == HOSTILE


def test_events_tell_the_whole_batch(tmp_path):
    """From begun to ended, each with schema, time and kind; the end counts endings and names the slowest."""
    told(
        Journal(None, tmp_path / "new" / "events.jsonl"),
        *run_of("ann"),
        Event(kind="closing", text="writing the overview"),
    )
    lines = [json.loads(line) for line in (tmp_path / "new" / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begun", "started", "stage", "finished", "closing", "ended"]
    assert {line["schema"] for line in lines} == {1}
    assert (lines[-1]["endings"], lines[-1]["slowest"][0]["student"]) == ({"timeout": 1}, "ann")
    assert (lines[3]["score"], lines[3]["seconds"], lines[3]["ending"]) == (5.0, 3.0, "timeout")
    assert os.stat(tmp_path / "new" / "events.jsonl").st_mode & 0o777 == 0o600


def test_each_line_is_written_at_once_and_after_what_is_there(tmp_path):
    """Nothing waits for the end, and an earlier batch's lines stay."""
    (tmp_path / "log").write_text("before\n")
    kept = Sink(tmp_path / "log", "the log")
    kept.write(b"one\n")
    assert (tmp_path / "log").read_text() == "before\none\n"
    kept.close()


# ---------------------------------------------------------------- readers


def test_a_reader_that_goes_away_ends_its_stream_and_nothing_else(capfd):
    """Writing goes on without an error, and stderr says once what became of the stream."""
    read, write = os.pipe()
    kept = Sink(write, "the event stream")
    os.close(read)
    for _ in range(3):
        kept.write(b"line\n")
    kept.close()
    os.close(write)
    assert capfd.readouterr().err.count("the event stream ends here") == 1


def test_a_reader_that_does_not_keep_up_holds_nothing_up(capfd, monkeypatch):
    """What a full pipe does not take waits here; beyond a limit it is given up."""
    monkeypatch.setattr(sink, "WAITING", 200_000)
    monkeypatch.setattr(sink, "LAST", 0.0)
    read, write = os.pipe()
    kept = Sink(write, "the event stream")
    for _ in range(100):
        kept.write(b"x" * 1000 + b"\n")
    assert capfd.readouterr().err == ""
    for _ in range(300):
        kept.write(b"x" * 1000 + b"\n")
    kept.close()
    os.close(write)
    assert "its reader does not keep up" in capfd.readouterr().err
    os.close(read)


def test_a_fifo_may_find_its_reader_late(tmp_path):
    """The batch does not wait for a reader; one that comes later gets every line."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    kept = Sink(fifo, "the event stream")
    kept.write(b"one\n")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(fifo.read_bytes()))
    reader.start()
    while not found and reader.is_alive():
        kept.write(b"more\n")
        if not kept._pending:
            break
    kept.close()
    reader.join(10)
    assert found[0].startswith(b"one\nmore\n")


def test_a_fifo_that_nobody_reads_is_not_waited_for(tmp_path, capfd):
    """The command ends at once and says so; a reader that came after the last line still gets them all."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    alone, late = Sink(fifo, "the event stream"), Sink(fifo, "the other stream")
    alone.write(b"one\n")
    late.write(b"one\n")
    begun = time.monotonic()
    alone.close()
    assert time.monotonic() - begun < sink.LAST / 2
    assert "the event stream ends here: nobody reads it" in capfd.readouterr().err
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    late.close()
    assert os.read(reader, 100) == b"one\n"
    os.close(reader)
    assert capfd.readouterr().err == ""


def test_a_place_that_cannot_be_written_is_told_before_anything_is_run(tmp_path):
    """A folder, or a place below a file: the command's mistake."""
    with pytest.raises(UsageError, match="cannot be written"):
        Sink(tmp_path, "the log")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        Sink(tmp_path / "file" / "log", "the log")


def test_every_kind_of_event_is_written(tmp_path):
    """No kind that the batch tells is left out of the stream."""
    kinds = msgspec.inspect.type_info(Event).fields[0].type.values
    told(Journal(None, tmp_path / "e"), *(Event(kind=kind, lab="iris", student="a") for kind in kinds))
    assert {json.loads(line)["event"] for line in (tmp_path / "e").read_text().splitlines()} == {
        *kinds,
        "begun",
        "ended",
    }
