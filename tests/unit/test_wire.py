"""The wire: plain data survives the crossing exactly, and nothing that is not of the protocol gets past it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time

import hypothesis.extra.numpy as hnp
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader import wire

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | text
    | st.binary(max_size=20)
)
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(text, inner, max_size=4)
    ),
    max_leaves=20,
)
arrays = st.sampled_from(sorted(wire.DTYPES)).flatmap(
    lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


def crossed(value):
    """What arrives of a value that is sent as an answer."""
    report = wire.decode_report(wire.frame(wire.Answer("n", "ok", value))[wire.HEADER.size :])
    return report.value


def alike(left, right):
    """Equal, and of the same exact types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(alike(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(alike, left, right))
    return left == right


@given(plain)
def test_plain_data_arrives_as_it_was_sent(thing):
    """Builtins keep their values, their order and their exact types, bool and int included."""
    assert alike(wire.from_value(crossed(wire.to_value(thing))), thing)


@given(arrays)
def test_arrays_arrive_with_their_dtype_shape_and_bytes(array):
    """NaN and Inf included: comparing bytes, since NaN equals nothing."""
    back = wire.from_value(crossed(wire.to_value(array)))
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable


def test_big_endian_and_strided_arrays_are_sent_in_the_one_spelling_that_crosses():
    """Byte order and memory layout are the sender's business; numbers are what arrives."""
    array = np.arange(12, dtype=">f4").reshape(3, 4)[:, ::2]
    back = wire.from_value(crossed(wire.to_value(array)))
    assert back.dtype.str == "<f4"
    assert np.array_equal(back, array)


@pytest.mark.parametrize(
    "thing",
    [
        object(),
        {1, 2},
        {1: "a"},
        2**63,
        -(2**63) - 1,
        1j,
        np.array(["a"]),
        np.array([1j]),
        np.array([object()]),
        np.array([1], dtype="datetime64[s]"),
        np.float128(1) if hasattr(np, "float128") else 1j,
        np.zeros((1,) * 9),
        "\ud800",
        {"\udc80": 1},
        [0] * (wire.MAX_ITEMS + 1),
        type("Liar", (int,), {})(3),
        type("Liar", (str,), {})("x"),
        type("Liar", (dict,), {})(),
        np.ma.masked_array([1, 2]),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_what_is_not_plain_is_refused_by_name(thing):
    """Subclasses too: their methods are student code."""
    with pytest.raises(wire.WireError):
        wire.to_value(thing)


def test_nesting_is_bounded_on_both_sides():
    """Deep lists are refused before Python's own recursion limit is anywhere near."""
    deep = []
    for _ in range(wire.MAX_DEPTH + 2):
        deep = [deep]
    with pytest.raises(wire.WireError, match="nested"):
        wire.to_value(deep)
    value = wire.Lit(1)
    for _ in range(wire.MAX_DEPTH + 2):
        value = wire.Seq([value])
    with pytest.raises(wire.WireError, match="nested"):
        wire.from_value(value)


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_random_bytes_are_a_wire_error_or_a_message_and_nothing_else(body):
    """A malformed frame can do no more than be refused."""
    for decode in (wire.decode_report, wire.decode_order):
        with contextlib.suppress(wire.WireError):
            decode(body)


VALID = [
    wire.Answer("n", "ok", wire.Array("<f4", (2, 2), bytes(16), "key"), wire.Fault("E", "m", 3, "s"), 0.5),
    wire.Answer("n", "ok", wire.Seq([wire.Lit(1), wire.Map([("a", wire.Blob(b"x"))])], "tuple")),
    wire.CellDone(3, ok=False, seconds=1.0, kind="E", message="m"),
    wire.FilePart("a/b", b"data", last=True, order=2),
    wire.Hello(1, "3", "linux", {"keras": "3"}),
]


@given(st.sampled_from(VALID), st.data())
@settings(max_examples=400)
def test_a_damaged_message_is_a_wire_error_or_still_a_message(message, data):
    """Bytes flipped, cut out or doubled in valid messages: the decoder and what reads values out of them never do worse."""
    body = bytearray(wire.frame(message)[wire.HEADER.size :])
    at = data.draw(st.integers(0, len(body) - 1))
    match data.draw(st.sampled_from(("flip", "cut", "double", "huge"))):
        case "flip":
            body[at] ^= data.draw(st.integers(1, 255))
        case "cut":
            del body[at:]
        case "double":
            body[at:at] = body[at:]
        case "huge":
            body[at : at + 5] = b"\xdd\xff\xff\xff\xff"
    try:
        report = wire.decode_report(bytes(body))
        if isinstance(report, wire.Answer) and report.value is not None:
            wire.from_value(report.value)
    except wire.WireError:
        pass


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "shell", "command": "rm"},
        {"type": "answer", "nonce": 3, "status": "ok"},
        {"type": "answer", "nonce": "n", "status": "PASSED"},
        {"type": "answer", "nonce": "n", "status": "ok", "value": {"type": "pickle", "data": b""}},
        {"type": "cell_done", "cell": "1", "ok": True, "seconds": 0.0},
        {"type": "cell_done", "cell": 1, "ok": 1, "seconds": 0.0},
        {
            "type": "answer",
            "nonce": "n",
            "status": "ok",
            "value": {"type": "array", "dtype": "<f4", "shape": [1] * 9, "data": b""},
        },
        ["answer", "n", "ok"],
        None,
    ],
)
def test_an_unknown_tag_or_a_wrong_type_is_refused(raw):
    """The unions are closed and strict: no conversion, no extra word for a status, no other kind of value."""
    with pytest.raises(wire.WireError):
        wire.decode_report(msgspec.msgpack.encode(raw))


def test_the_sandbox_cannot_send_orders_nor_the_judge_reports():
    """The two directions have no message in common."""
    with pytest.raises(wire.WireError):
        wire.decode_report(wire.frame(wire.Stop())[4:])
    with pytest.raises(wire.WireError):
        wire.decode_order(wire.frame(wire.Ready())[4:])


@pytest.mark.parametrize(
    ("dtype", "shape", "data"),
    [
        ("<f4", (2,), bytes(4)),
        ("<f4", (-1,), b""),
        ("<f4", (0, 2**62, 2**62), b""),
        ("<f4", (0, 2**63), b""),
        ("<f4", (2**40, 2**40), bytes(8)),
        ("<f4", (1,) * 9, bytes(4)),
        ("|O", (1,), bytes(8)),
        ("<U1", (1,), bytes(4)),
        (">f4", (1,), bytes(4)),
        ("|b1", (2,), b"\x00\xff"),
        ("<f4" * 1000, (1,), bytes(4)),
    ],
)
def test_an_array_whose_bytes_and_shape_do_not_fit_is_refused(dtype, shape, data):
    """Whatever the numbers are, the only thing that can happen is a WireError."""
    with pytest.raises(wire.WireError):
        wire.to_array(dtype, shape, data)


CLAIMS = """
import resource, sys
from grader import wire
def body(message, field, claim, item):
    good = wire.frame(message)[4:]
    at = good.index(field) + len(field)
    return good[:at] + claim + item * (60_000_000 // len(item))
def size(count):
    return count.to_bytes(4, "big")
numbers = wire.Answer("n", "ok", wire.Array("<f4", (1,), b"1234"))
items = wire.Answer("n", "ok", wire.Seq([wire.Lit(None)]))
lit = b"\\x82\\xa4type\\xa3lit\\xa1v\\x01"
bad = {
    "shape": body(numbers, b"\\xa5shape", b"\\xdd" + size(59_000_000), b"\\x01"),
    "items": body(items, b"\\xa5items", b"\\xdd" + size(4_000_000), lit),
    "bytes": body(numbers, b"\\xa4data", b"\\xc6" + size(2**32 - 1), b"\\x00"),
}[sys.argv[1]]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    wire.decode_report(bad)
except wire.WireError:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("field", ["shape", "items", "bytes"])
def test_a_claimed_size_is_compared_with_its_cap_before_anything_is_allocated(field):
    """A frame of 60 MB with 59 million sides or 4 million items costs nothing more, and no hundreds of MB of objects."""
    done = subprocess.run([sys.executable, "-c", CLAIMS, field], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20


def test_a_message_that_is_no_unicode_is_an_error_of_the_wire():
    """Not a UnicodeEncodeError from the depths of the encoder, which nobody would catch."""
    with pytest.raises(wire.WireError):
        wire.frame(wire.Ended("ok", "\ud800"))


def test_a_dict_cannot_have_one_key_twice():
    """Two readers could see two values."""
    with pytest.raises(wire.WireError, match="repeated"):
        wire.from_value(wire.Map([("a", wire.Lit(1)), ("a", wire.Lit(2))]))


def test_a_reference_is_no_plain_data_unless_somebody_resolves_it():
    """A handle in an answer is an object that stayed inside."""
    with pytest.raises(wire.WireError, match="reference"):
        wire.from_value(wire.Seq([wire.Handle(1, "Model")]))
    assert wire.from_value(wire.Seq([wire.Handle(1, "Model")]), lambda handle: handle.id) == [1]


expressions = st.recursive(
    st.builds(wire.Name, text) | st.builds(wire.Var, text) | scalars.map(lambda v: wire.Const(wire.to_value(v))),
    lambda inner: (
        st.builds(wire.Attr, inner, text)
        | st.builds(wire.Call, inner, st.tuples(inner), st.tuples(st.tuples(text, inner)))
        | st.builds(wire.Lambda, st.tuples(text), inner)
        | st.builds(wire.Op, st.sampled_from(sorted(wire.OPS)), st.tuples(inner))
    ),
    max_leaves=8,
)


@given(expressions)
def test_questions_arrive_as_they_were_asked(expr):
    """Every kind of expression survives the crossing."""
    ask = wire.Ask("n", expr)
    assert wire.decode_order(wire.frame(ask)[wire.HEADER.size :]) == ask


# ---------------------------------------------------------------- what a message costs to read


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary(max_size=300),
    lambda below: st.lists(below, max_size=20) | st.dictionaries(st.text(max_size=40), below, max_size=20),
)


def objects(thing):
    """As `weigh` counts: each list, each dict with its keys, each thing in them."""
    if isinstance(thing, dict):
        return 1 + sum(1 + objects(item) for item in thing.values())
    return 1 + sum(map(objects, thing)) if isinstance(thing, list) else 1


@given(PLAIN)
def test_every_object_of_a_message_is_counted(thing):
    """Whatever msgpack writes it as."""
    assert wire.weigh(msgspec.msgpack.encode(thing)) == objects(thing)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
@pytest.mark.parametrize(
    "make",
    [
        lambda size: "x" * size,
        bytes,
        lambda size: [0] * size,
        lambda size: {str(n): 0 for n in range(size)},
        lambda size: msgspec.msgpack.Ext(5, bytes(size)),
    ],
    ids=["text", "bytes", "list", "dict", "extension"],
)
def test_lengths_of_every_width_are_read(make, size):
    """What comes behind is still found."""
    thing = make(size)
    assert wire.weigh(msgspec.msgpack.encode([thing, 1.5, -7])) == objects([thing, 1.5, -7])


@given(st.binary(max_size=200))
def test_weighing_random_bytes_is_a_number_or_a_wire_error(body):
    """It reads what nobody has looked at before."""
    with contextlib.suppress(wire.WireError):
        assert wire.weigh(body) >= 1


LIST = b"\x82\xa4type\xa3seq\xa5items"


def answer(value):
    return b"\x84\xa4type\xa6answer\xa5nonce\xa1n\xa6status\xa2ok\xa5value" + value


def test_an_answer_of_millions_of_parts_is_refused_unread():
    """17 bytes each on the wire, ten times that in memory; a list that only claims to have them costs nothing either."""
    row = LIST + b"\xdd" + (100_000).to_bytes(4) + (LIST + b"\x90") * 100_000
    wire.weigh(answer(LIST + b"\x93" + row * 3))
    for body in (answer(LIST + b"\xdc\x00\x20" + row * 32), answer(LIST + b"\xdd\xff\xff\xff\xff")):
        begun = time.process_time()
        with pytest.raises(wire.Unwieldy, match="more than 2,000,000 parts"):
            wire.weigh(body)
        assert time.process_time() - begun < 2


def test_tags_that_come_last_are_not_searched_for_a_thousand_times():
    """msgspec skips the whole struct for each level it is in: 60 MiB in a thousand levels would take minutes."""
    junk = b"\x83\xa1j\xdd" + (1_000_000).to_bytes(4) + b"\xc0" * 1_000_000 + b"\xa5items\x90\xa4type\xa3seq"

    def nested(levels):
        return answer(b"\x82\xa5items\x91" * levels + junk + b"\xa4type\xa3seq" * levels)

    with pytest.raises(wire.Unwieldy, match="nested"):
        wire.weigh(nested(1000))
    body = nested(wire.MAX_DEPTH - 2)
    wire.weigh(body)
    begun = time.process_time()
    wire.decode_report(body)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    "honest",
    [
        [0.5] * wire.MAX_ITEMS,
        {str(number): number for number in range(wire.MAX_ITEMS)},
        np.frombuffer(b"\x82\xa4type\xa3seq\xa5items\x90" * 1_000_000, "|u1"),
        b"type" * 5_000_000,
    ],
    ids=["list", "dict", "array", "bytes"],
)
def test_what_may_cross_is_never_too_much(honest):
    """The longest list and dict, and bytes that look like many objects: an array is one, whatever is in it."""
    wire.weigh(wire.frame(wire.Answer("n", "ok", wire.to_value(honest)))[wire.HEADER.size :])


def test_the_deepest_value_may_be_read():
    """One that `to_value` takes is not nested too deeply for `weigh`."""
    deep = 1.0
    for _ in range(wire.MAX_DEPTH):
        deep = {"a": deep}
    body = wire.frame(wire.Answer("n", "ok", wire.to_value(deep)))[wire.HEADER.size :]
    wire.weigh(body)
    assert wire.from_value(wire.decode_report(body).value) == deep
