"""Sessions: how questions are known on the tape, and what a hostile other end can cost (its own answers, nothing else)."""

from __future__ import annotations

import contextlib
import math
import random
import socket
import threading
import time
import tracemalloc

import msgspec
import numpy as np
import pytest

from grader import session, wire
from grader.errors import ChannelError
from grader.session import ChannelClosed, ChannelTimeout, Link, Session, Tape, TapeMiss, placeholder


class Draw:
    """A lazy input that counts how often it is generated."""

    def __init__(self, key, values=(1.0, 2.0)):
        self.key, self.values, self.made = key, values, 0

    def array(self):
        self.made += 1
        return np.asarray(self.values, dtype=np.float32)


class Slow:
    """A socket that waits before it sends."""

    def __init__(self, sock):
        self.recv, self._sock = sock.recv, sock

    def sendall(self, data):
        time.sleep(0.03)
        self._sock.sendall(data)


@contextlib.contextmanager
def peer(behave):
    """A link whose other end is served by ``behave(socket)`` in a thread."""
    ours, theirs = socket.socketpair()

    def serve():
        with theirs, contextlib.suppress(OSError):
            behave(theirs)

    thread = threading.Thread(target=serve)
    thread.start()
    link = Link(ours)
    try:
        yield link
    finally:
        link.close()
        thread.join(10)
        assert not thread.is_alive()


def read_ask(sock):
    header = sock.recv(4, socket.MSG_WAITALL)
    if len(header) < 4:
        return None
    (size,) = wire.HEADER.unpack(header)
    return wire.decode_order(sock.recv(size, socket.MSG_WAITALL))


def honest(reply):
    """A peer that answers each question with ``reply(ask, how many others came before)``, and asked again the same."""

    def behave(sock):
        number, mutations, said = 0, 0, {}
        while (ask := read_ask(sock)) is not None:
            mutations += ask.kind == "mutating"
            question = (msgspec.msgpack.encode(ask.expr), ask.want, ask.kind, mutations)
            if question not in said:
                said[question] = reply(ask, number)
                number += 1
            sock.sendall(wire.frame(wire.Answer(ask.nonce, "ok", said[question])))

    return behave


def counting(ask, number):
    return wire.Lit(number)


def opened(link, tape=None, **options):
    return Session(link, None, tape if tape is not None else Tape(), seed=1, deadline_s=0.3, **options)


def call(name, *args):
    return wire.Call(wire.Name(name), tuple(args))


# ---------------------------------------------------------------- keys


def test_the_same_question_is_asked_once():
    """Its second answer comes from the tape."""
    with peer(honest(counting)) as link:
        asked = opened(link)
        assert asked.ask("live", call("f")).value == asked.ask("live", call("f")).value == wire.Lit(0)
        assert asked.ask("live", call("g")).value == wire.Lit(1)
        assert len(asked.tape.entries) == 2


def test_a_draw_is_known_by_its_name_and_not_by_its_content():
    """A replay finds the answer without the inputs, which it does not even generate."""
    with peer(honest(counting)) as link:
        live = opened(link)
        first = Draw("digits:seed=3:rows=0-2")
        answer = live.ask("live", call("f", placeholder(first)), {first.key: first})
        assert first.made
        other = Draw("digits:seed=4:rows=0-2")
        assert live.ask("live", call("f", placeholder(other)), {other.key: other}).value != answer.value
    again = Draw(first.key, values=(9.0,))
    replay = opened(None, Tape.decode(live.tape.encode()), replay=True)
    assert replay.ask("live", call("f", placeholder(again)), {again.key: again}) == answer
    assert again.made == 0


def test_a_drawn_input_crosses_with_its_numbers():
    """The name stands on the tape, the array goes into the sandbox."""
    seen = []

    def reply(ask, number):
        seen.append(ask.expr.args[0].value)
        return wire.Lit(number)

    with peer(honest(reply)) as link:
        draw = Draw("k", (0.5, 1.5))
        opened(link).ask("live", call("f", placeholder(draw)), {"k": draw})
    assert wire.from_value(seen[0]).tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    "other",
    [
        {"expr": call("f", wire.Const(wire.Lit(2)))},
        {"expr": call("f", wire.Const(wire.Lit(1.0)))},
        {"expr": call("f", wire.Const(wire.Lit(True)))},
        {"want": "handle"},
        {"kind": "stochastic"},
    ],
    ids=["value", "type", "bool", "want", "kind"],
)
def test_what_makes_another_question(other):
    """Anything the answer may depend on is in the key: 1, 1.0 and True are three questions."""
    with peer(honest(counting)) as link:
        asked = opened(link)
        asked.ask("live", call("f", wire.Const(wire.Lit(1))))
        changed = {"expr": call("f", wire.Const(wire.Lit(1)))} | other
        assert asked.ask("live", changed.pop("expr"), **changed).value == wire.Lit(1)


def test_a_question_after_a_mutating_one_is_another_question():
    """What trained the model further changes every later answer; the pure questions before it keep theirs."""
    with peer(honest(counting)) as link:
        live = opened(link)
        before = live.ask("live", call("f"))
        live.ask("live", call("train"), kind="mutating")
        after = live.ask("live", call("f"))
        live.ask("live", call("train"), kind="mutating")
        later = live.ask("live", call("f"))
    assert [answer.value.v for answer in (before, after, later)] == [0, 2, 4]
    replay = opened(None, live.tape, replay=True)
    assert replay.ask("live", call("f")) == before
    replay.ask("live", call("train"), kind="mutating")
    assert replay.ask("live", call("f")) == after


def test_a_mutating_question_of_one_side_leaves_the_other_alone():
    """The live kernel and the clean sandbox have histories of their own."""
    with peer(honest(counting)) as live, peer(honest(counting)) as clean:
        asked = Session(live, lambda: clean, Tape(), seed=1, deadline_s=1.0)
        first = asked.ask("clean", call("f"))
        asked.ask("live", call("train"), kind="mutating")
        assert asked.ask("clean", call("f")) is first


def test_a_handle_is_known_by_the_question_that_made_it():
    """Its number is an accident of the order: a replay that asks in another order finds the same answers."""

    def reply(ask, number):
        return wire.Handle(number + 1, "Dense") if ask.want == "handle" else wire.Lit(f"answer {number}")

    def use(asked, name):
        made = asked.ask("live", call(name), want="handle")
        return asked.ask("live", wire.Call(wire.Attr(wire.Const(made.value), "weights"), ())).value

    with peer(honest(reply)) as link:
        live = opened(link)
        first, second = use(live, "make"), use(live, "make_other")
    assert first != second
    replay = opened(None, Tape.decode(live.tape.encode()), replay=True)
    assert use(replay, "make_other") == second
    assert use(replay, "make") == first


def test_a_replay_misses_what_was_never_asked():
    """It raises, so that the run is done again: an answer is never made up."""
    with peer(honest(counting)) as link:
        live = opened(link)
        live.ask("live", call("f"))
    replay = opened(None, live.tape, replay=True)
    with pytest.raises(TapeMiss):
        replay.ask("live", call("g"))
    with pytest.raises(TapeMiss):
        replay.ask("clean", call("f"))


def test_a_tape_survives_the_disk_with_every_kind_of_value():
    """NaN too: it crosses, and counts as wrong later."""
    values = [
        wire.Lit(None),
        wire.Blob(b"\x00"),
        wire.Handle(3, "x"),
        wire.to_value({"a": [1, (2.5, np.float32(np.nan))]}),
    ]
    with peer(honest(lambda ask, number: values[number])) as link:
        live = opened(link)
        for number in range(len(values)):
            live.ask("live", call(f"f{number}"))
    back = Tape.decode(live.tape.encode())
    assert msgspec.msgpack.encode(back.entries) == msgspec.msgpack.encode(live.tape.entries)


# ---------------------------------------------------------------- asked again


def test_questions_come_again_in_another_order_when_all_has_been_asked():
    """Whoever answers by the clock or by counting is found out; honest answers and stochastic questions are not."""
    asked = []

    def behave(sock):
        while (ask := read_ask(sock)) is not None:
            asked.append(ask.expr.fn.name)
            value = 1.0 if ask.expr.fn.name != "counts" or asked.count("counts") <= 2 else 2.0
            sock.sendall(wire.frame(wire.Answer(ask.nonce, "ok", wire.Lit(value))))

    with peer(behave) as link:
        live = opened(link)
        for name in ("a", "b", "counts", "c"):
            assert live.ask("live", call(name)).status == "ok"
        live.ask("live", call("chance"), kind="stochastic")
        before = len(live.tape.entries)
        assert live.recheck() == ("counts()",)
    assert sorted(asked[-4:]) == ["a", "b", "c", "counts"]
    assert len(live.tape.entries) == before, "a replay has nobody to ask again"


def liar(name, honest_s=0.0, calls=2):
    """A peer that answers so many calls of that function honestly, each after a while, and otherwise ever after."""
    asked = []

    def behave(sock):
        while (ask := read_ask(sock)) is not None:
            asked.append(ask.expr.fn.name)
            if asked[-1] == name:
                time.sleep(honest_s)
            value = 2.0 if asked[-1] == name and asked.count(name) > calls else 1.0
            sock.sendall(wire.frame(wire.Answer(ask.nonce, "ok", wire.Lit(value), None, 100.0)))

    return behave, asked


def test_questions_come_again_before_the_model_is_changed():
    """Afterwards nobody could: who lies from the third call on is found in a lab that trains further, too."""
    behave, asked = liar("counts")
    with peer(behave) as link:
        live = opened(link)
        live.ask("live", call("counts"))
        live.ask("live", call("train"), kind="mutating")
        live.ask("live", call("a"))
        assert live.recheck() == ("counts()",)
    assert asked == ["counts", "counts", "counts", "train", "a", "a", "a"]


def test_how_long_an_answer_took_is_not_for_the_run_to_tell():
    """It would be asked once only if it said that it was slow: `liar` claims 100 s for each."""
    behave, asked = liar("f", calls=1)
    with peer(behave) as link:
        assert opened(link).ask("live", call("f")).status == "refused"
    assert asked == ["f", "f"]


def test_the_first_slow_question_is_asked_twice(monkeypatch):
    """A function that takes its time to avoid a second question gets it all the same."""
    monkeypatch.setattr(session, "REPEAT_S", 0.05)
    behave, asked = liar("f", honest_s=0.06, calls=1)
    with peer(behave) as link:
        assert opened(link, chance=random.Random(0)).ask("live", call("f")).status == "refused"
    assert asked == ["f", "f"]


def test_slow_questions_are_repeated_within_the_time_of_one(monkeypatch):
    """Some of them, by chance: honest notebooks that are slow wait for so long and no longer, however many there are."""
    monkeypatch.setattr(session, "REPEAT_S", 0.01)
    spent = []
    for seed in range(6):
        behave, asked = liar("none", calls=0)

        def slowly(sock, behave=behave):
            behave(Slow(sock))

        with peer(slowly) as link:
            live = Session(link, None, Tape(), seed=1, deadline_s=0.4, chance=random.Random(seed))
            for number in range(8):
                assert live.ask("live", call(f"f{number}")).status == "ok"
            live.ask("live", call("train"), kind="mutating")
            live.ask("live", call("after"))
            assert live.recheck() == ()
        repeats = [name for name in asked if asked.count(name) > 1]
        spent.append(tuple(sorted(set(repeats))))
        assert "f0" in repeats
        assert len(asked) - len(set(asked)) <= session.SLOW_REPEATS + 2
    assert len(set(spent)) > 1, "which are repeated cannot be foreseen"


def test_what_takes_a_questions_whole_time_is_asked_once(monkeypatch):
    """A second answer would double the wait of an honest notebook."""
    monkeypatch.setattr(session, "REPEAT_S", 0.01)
    behave, asked = liar("f", honest_s=0.2)
    with peer(behave) as link:
        live = Session(link, None, Tape(), seed=1, deadline_s=0.1)
        assert live.ask("live", call("f")).status == "ok"
        assert live.recheck() == ()
    assert asked == ["f"]


def test_repeats_do_not_count_among_the_answers_of_a_run(monkeypatch):
    """They are not kept."""
    monkeypatch.setattr(session, "ANSWERS_CAP", 100_000)
    with peer(honest(lambda ask, number: wire.Blob(bytes(30_000)))) as link:
        asked = opened(link)
        assert [asked.ask("live", call(f"f{number}")).status for number in range(4)] == ["ok"] * 3 + ["died"]


@pytest.mark.parametrize("one", [1.0, -1e9, 0.0, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("other", [1.0, 1.0 + 1e-6, 1.1, -1e9, -1e9 - 1, 0.0, 1e-6, math.inf, math.nan])
def test_numbers_agree_as_numpy_says(one, other):
    """One by one as in an array."""
    same = bool(np.isclose(one, other, rtol=session.AGREE, atol=session.AGREE, equal_nan=True))
    assert session.agree(wire.Lit(one), wire.Lit(other)) is same


def test_what_was_asked_before_the_model_was_changed_is_not_asked_afterwards():
    """Training on it changes its answers, honestly."""
    with peer(honest(lambda ask, number: wire.Lit(float(number)))) as link:
        live = opened(link)
        live.ask("live", call("a"))
        live.ask("live", call("train"), kind="mutating")
        assert live.recheck() == ()


def test_the_record_of_training_is_not_asked_again():
    """It counts every gradient taken, those that a suite asks for too: an honest one has grown by then."""
    asked = []

    def behave(sock):
        while (ask := read_ask(sock)) is not None:
            asked.append(ask.expr.fn.name)
            sock.sendall(wire.frame(wire.Answer(ask.nonce, "ok", wire.Lit(len(asked) > 2))))

    with peer(behave) as link:
        live = opened(link)
        live.ask("live", wire.Call(wire.Helper("training"), (wire.Name("model"),)))
        assert live.recheck() == ()
    assert asked == ["training", "training"]


def test_a_kernel_that_is_gone_is_not_inconsistent():
    """Nor is a replay, which has nobody to ask."""

    def once(sock):
        for _ in range(2):
            ask = read_ask(sock)
            sock.sendall(wire.frame(wire.Answer(ask.nonce, "ok", wire.Lit(1.0))))

    with peer(once) as link:
        live = opened(link)
        live.ask("live", call("a"))
        assert live.recheck() == ()
    assert opened(None, live.tape, replay=True).recheck() == ()


# ---------------------------------------------------------------- the other end misbehaves


def malformed(sock):
    read_ask(sock)
    sock.sendall(wire.HEADER.pack(5) + b"\xc1\xc1\xc1\xc1\xc1")


def unknown_message(sock):
    read_ask(sock)
    body = msgspec.msgpack.encode({"type": "verdict", "score": 100})
    sock.sendall(wire.HEADER.pack(len(body)) + body)


def empty_frame(sock):
    read_ask(sock)
    sock.sendall(wire.HEADER.pack(0))


def above_the_cap(sock):
    read_ask(sock)
    sock.sendall(wire.HEADER.pack(wire.REPORT_CAP + 1) + b"x" * 1000)


def another_report(sock):
    read_ask(sock)
    sock.sendall(wire.frame(wire.Ready()))


def another_nonce(sock):
    read_ask(sock)
    sock.sendall(wire.frame(wire.Answer("guess", "ok", wire.Lit(1))))


def half_a_frame(sock):
    read_ask(sock)
    sock.sendall(wire.HEADER.pack(100) + b"x" * 10)


def hangs_up(sock):
    read_ask(sock)


def in_advance(sock):
    """Answers before it was asked, which it can only do by guessing the nonce."""
    sock.sendall(wire.frame(wire.Answer("", "ok", wire.Lit(1))))
    read_ask(sock)


def never_listens(sock):
    sock.recv(1)


@pytest.mark.parametrize(
    "behave",
    [
        malformed,
        unknown_message,
        empty_frame,
        above_the_cap,
        another_report,
        another_nonce,
        half_a_frame,
        hangs_up,
        in_advance,
        never_listens,
    ],
    ids=lambda behave: behave.__name__,
)
def test_a_peer_that_breaks_the_protocol_costs_its_own_answers_only(behave):
    """The question is answered with "died", the next ones at once and without a word to the other end; nothing is raised."""
    with peer(behave) as link:
        asked = opened(link)
        first = asked.ask("live", call("f"))
        assert (first.status, first.value) == ("died", None)
        start = time.monotonic()
        assert asked.ask("live", call("g")).status == "died"
        assert time.monotonic() - start < 0.2
    with peer(honest(counting)) as clean:
        asked = Session(None, lambda: clean, Tape(), seed=1, deadline_s=1.0)
        assert asked.ask("live", call("f")).status == "died"
        assert asked.ask("clean", call("f")).status == "ok"


def test_a_late_answer_costs_the_channel(monkeypatch):
    """It would be taken for the next question's otherwise."""
    monkeypatch.setattr(session, "LATE_S", 0.1)
    over = threading.Event()

    def behave(sock):
        read_ask(sock)
        over.wait(10)

    with peer(behave) as link:
        asked = opened(link)
        start = time.monotonic()
        answer = asked.ask("live", call("f"))
        assert answer.status == "died"
        assert "in time" in answer.fault.message
        assert time.monotonic() - start < 2
        over.set()


def test_a_trickle_of_bytes_does_not_extend_the_deadline():
    """The deadline is absolute: one byte every 20 ms is as late as none."""

    def behave(sock):
        sock.sendall(wire.HEADER.pack(10_000))
        for _ in range(500):
            sock.sendall(b"x")
            time.sleep(0.02)

    with peer(behave) as link:
        start = time.monotonic()
        with pytest.raises(ChannelTimeout):
            link.receive(start + 0.3)
        assert time.monotonic() - start < 1


def test_a_report_in_the_smallest_pieces_takes_no_more_memory(monkeypatch):
    """Each byte by itself would be an object of 33 bytes, and a pointer to it."""
    body = wire.frame(wire.Answer("n", "ok", wire.Blob(bytes(200_000))))
    with peer(lambda sock: sock.sendall(body)) as link:
        link.pid = 1
        monkeypatch.setattr(link, "_recv", lambda size: link.sock.recv(min(size, 1)))
        tracemalloc.start()
        link.receive(time.monotonic() + 60)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 5 * len(body)


def test_a_flood_is_refused_at_its_header():
    """Nothing of a frame above the cap is read, however much of it comes."""

    def behave(sock):
        sock.sendall(wire.HEADER.pack(1 << 30))
        while True:
            sock.sendall(b"x" * 100_000)

    with peer(behave) as link:
        with pytest.raises(ChannelError, match="above the cap"):
            link.receive(time.monotonic() + 5)
        assert link.received == wire.HEADER.size


def test_all_answers_of_a_run_together_are_capped(monkeypatch):
    """The tape holds every answer in memory: a thousand answers of 60 MB would be the judge's end."""
    monkeypatch.setattr(session, "ANSWERS_CAP", 100_000)
    with peer(honest(lambda ask, number: wire.Blob(bytes(30_000)))) as link:
        asked = opened(link)
        statuses = [asked.ask("live", call(f"f{number}"), kind="stochastic").status for number in range(6)]
    assert statuses == ["ok"] * 3 + ["died"] * 3


def test_all_parts_of_a_runs_answers_together_are_capped(monkeypatch):
    """Small on the wire, and large in memory."""
    monkeypatch.setattr(session, "OBJECTS_CAP", 1000)
    with peer(honest(lambda ask, number: wire.Seq([wire.Lit(0)] * 50))) as link:
        asked = opened(link)
        statuses = [asked.ask("live", call(f"f{number}"), kind="stochastic").status for number in range(6)]
    assert statuses == ["ok"] * 3 + ["died"] * 3


def test_an_answer_of_millions_of_parts_costs_its_question_and_nothing_else():
    """It is refused unread, in words for the student; the next question is asked as ever, and the run not done again."""
    parts = b"\xdd\xff\xff\xff\xff" + b"\xc0" * 100_000

    def behave(sock):
        while (ask := read_ask(sock)) is not None:
            if ask.expr.fn.name == "f":
                sock.sendall(wire.HEADER.pack(len(parts)) + parts)
            else:
                sock.sendall(wire.frame(wire.Answer(ask.nonce, "ok", wire.Lit(1))))

    with peer(behave) as link:
        asked = opened(link)
        refused = asked.ask("live", call("f"))
        assert (refused.status, refused.fault.message) == ("refused", "more than 2,000,000 parts")
        assert asked.ask("live", call("g")).status == "ok"
    assert len(asked.tape.encode()) < 1000
    assert not asked.lost


def test_refused_answers_are_counted_too(monkeypatch):
    """Or a run could send them without end."""
    monkeypatch.setattr(session, "ANSWERS_CAP", 250_000)
    parts = b"\xdd\xff\xff\xff\xff" + b"\xc0" * 100_000

    def behave(sock):
        while read_ask(sock) is not None:
            sock.sendall(wire.HEADER.pack(len(parts)) + parts)

    with peer(behave) as link:
        asked = opened(link)
        assert [asked.ask("live", call(f"f{number}")).status for number in range(4)] == ["refused"] * 2 + ["died"] * 2


def test_an_object_that_stays_in_the_sandbox_is_answered_in_a_few_bytes():
    """No more is read where a handle was asked for."""
    with peer(honest(lambda ask, number: wire.Blob(bytes(ask.max_bytes + 1)))) as link:
        asked = opened(link)
        assert "above the cap of 65536" in asked.ask("live", call("f"), want="handle").fault.message


@pytest.mark.parametrize("abuse", [malformed, above_the_cap, another_report, another_nonce], ids=lambda f: f.__name__)
def test_a_run_that_breaks_the_protocol_is_not_done_again(abuse):
    """It would do the same; one whose kernel went away is, since that may have been the machine."""
    with peer(abuse) as link:
        asked = opened(link)
        asked.ask("live", call("f"))
        assert not asked.lost
    with peer(hangs_up) as link:
        asked = opened(link)
        asked.ask("live", call("f"))
        assert asked.lost


def test_a_closed_channel_is_told_apart_from_a_late_one():
    """Endings are decided by it: dead kernel, or timeout."""
    with peer(lambda sock: None) as link, pytest.raises(ChannelClosed):
        link.receive(time.monotonic() + 5)


def test_an_order_to_a_dead_run_is_a_channel_error():
    """Not a BrokenPipeError, which nobody would take for the run's."""
    with peer(lambda sock: None) as link:
        time.sleep(0.1)
        file = wire.PutFile("x", bytes(1 << 20))
        with pytest.raises(ChannelError):
            link.send(file)


def test_files_for_a_clean_sandbox_that_died_are_no_error():
    """The questions about them are answered with "died" instead."""
    with peer(lambda sock: None) as clean:
        asked = Session(None, lambda: clean, Tape(), seed=1, deadline_s=0.3)
        asked.put_file("model.keras", bytes(5 << 20))
        assert asked.ask("clean", call("f")).status == "died"
