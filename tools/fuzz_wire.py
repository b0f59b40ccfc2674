"""Throw damaged and random bytes at what reads the wire: it may refuse them, and do nothing else.

    python tools/fuzz_wire.py [--inputs 1000000] [--seconds 0] [--seed 0]

Theory of operation. Each input starts from a valid message of either direction, or from random bytes, a nest of lists or
an answer of very many small items, and is damaged a few times: bits flipped, pieces cut out, doubled or moved in from
another message, tags of msgpack that claim huge sizes put in. It is read as the judge reads (a `Link` that gets the bytes
in pieces, then the value turned into arrays and builtins) and as the sandbox reads (an order). Whatever is raised besides
the reader's own errors, an input that takes longer than a second (a large one: four), and memory that grows beyond a bound
are findings: the input is printed with the seed and the number that make it again. Everything is drawn from the seed; one
seed gives the same inputs anywhere.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from grader import wire
from grader.errors import ChannelError
from grader.session import Link

#: For an input, and for one of very many items.
SLOWEST_S, CROWD_S = 1.0, 4.0
#: What inputs decode to is gone before the next. Most are at most some 100 kB; one in some thousands is large.
GROWTH_MB = 512
LARGEST = 100_000
CROWD = 40 << 20

NAME = wire.Name("model", ("net",), "model")
VALID = [
    wire.Hello(wire.VERSION, "3.11", "Linux", {"keras": "3.12"}),
    wire.Started(0.1),
    wire.CellStarted(1),
    wire.CellDone(3, ok=False, seconds=1.0, kind="E", message="m", line=3, source_line="s", traceback="t"),
    wire.Fitting(active=True),
    wire.Ended("ok", "", alive=True, seconds=2.0, output_bytes=10),
    wire.FilePart("a/b", b"data" * 100, last=True, order=2),
    wire.FileRefused("a", "why"),
    wire.Kept("model", "net", "alias", "keras.Sequential"),
    wire.Observed('{"fits": [1, 2]}'),
    wire.Ready(),
    wire.Answer("n", "ok", wire.Array("<f4", (2, 2), bytes(16), "key"), wire.Fault("E", "m", 3, "s"), 0.5),
    wire.Answer("n", "ok", wire.Array("|b1", (3,), b"\0\1\1")),
    wire.Answer(
        "n", "ok", wire.Seq([wire.Lit(1), wire.Lit(float("nan")), wire.Map([("a", wire.Blob(b"x"))])], "tuple")
    ),
    wire.Answer("n", "ok", wire.Seq([wire.Seq([wire.Lit("é")]), wire.Handle(3, "keras.Model"), wire.Lit(None)])),
    wire.RunNotebook((wire.SourceCell("code", "x = 1"),), 1, 1 << 20, ("*.keras",), 1 << 20, (NAME,), (NAME,)),
    wire.TimeUp(),
    wire.ServeFiles(3),
    wire.PutFile("a/b", b"data", first=True),
    wire.Ask("n", wire.Call(wire.Attr(NAME, "predict"), (wire.Const(wire.Array("<f4", (1, 4), bytes(16))),))),
    wire.Ask("n", wire.Call(NAME, (wire.Lambda(("x",), wire.Op("mul", (wire.Var("x"), wire.Const(wire.Lit(2.0))))),))),
    wire.Ask("n", wire.Item(NAME, wire.Const(wire.Lit("a"))), kind="stochastic", want="handle"),
    wire.Stop(),
]
BODIES = [wire.frame(message)[wire.HEADER.size :] for message in VALID]  # orders and reports
#: msgpack: lists, maps, texts, bytes and extensions that claim up to 4 GiB; numbers at their edges; the byte never used.
TAGS = [
    *(
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
    ),
    *(b"\xdc\xff\xff", b"\xde\xff\xff", b"\xda\xff\xff", b"\xc5\xff\xff", b"\xc1", b"\xc0", b"\xd6\xff\0\0\0\0"),
    *(b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7, b"\xcb\x7f\xf8" + b"\0" * 6, b"\xcb\xff\xf0" + b"\0" * 6),
    *(b"\xa4type", b"\xa4lit\0", b"\xa3seq", b"\xa5array", b"\x90", b"\x80", b"\xa2\xff\xfe", b"\xa3\xed\xa0\x80"),
]


class Pieces:
    """A socket that hands out given bytes, a few at a time."""

    def __init__(self, data: bytes, chance: random.Random) -> None:
        few = (3, 100) if len(data) <= LARGEST else ()  # a system call for each is the socket's time, not the reader's
        self._data, self._most = memoryview(data), chance.choice((*few, 1 << 20))

    def settimeout(self, seconds: float) -> None:
        """There is nothing to wait for."""

    def recv(self, size: int) -> bytes:
        count = min(size, self._most)
        piece, self._data = self._data[:count], self._data[count:]
        return bytes(piece)

    def recvmsg(self, size: int, _: int) -> tuple[bytes, list[object], int, None]:
        return self.recv(size), [], 0, None


def inputs(seed: int) -> Iterator[bytes]:
    """Damaged bodies without end."""
    chance = random.Random(seed)  # the same inputs again are the point
    while True:
        kind = chance.random()
        if kind < 0.0002:
            yield crowded(chance)
            continue
        if kind < 0.1:
            body = bytearray(chance.randbytes(chance.choice((0, 1, 8, 64, 500))))
        elif kind < 0.15:
            body = nested(chance)
        else:
            body = bytearray(chance.choice(BODIES))
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 8))):
            damage(body, chance)
        yield bytes(body[:LARGEST])


def nested(chance: random.Random) -> bytearray:
    """Lists in lists, of msgpack's or of the wire's own, as deep as fits."""
    depth = chance.choice((10, 33, 1000, 5000))
    if chance.random() < 0.5:
        return bytearray(b"\x91" * depth + b"\xc0")
    head = b"\x82\xa4type\xa6answer\xa5value"
    return bytearray(head + b"\x82\xa4type\xa3seq\xa5items\x91" * depth + b"\x82\xa4type\xa3lit\xa1v\xc0")


def crowded(chance: random.Random) -> bytes:
    """An answer of up to 40 MiB of small items, which may or may not be of the wire, in lists that lie in one another."""
    item = chance.choice((b"\x82\xa4type\xa3seq\xa5items\x90", b"\x82\xa4type\xa3lit\xa1v\x01", b"\xc0", b"\x80"))
    row = b"\xdd" + (100_000).to_bytes(4) + item * 100_000
    rows = chance.choice((1, 2, max(1, CROWD // len(row))))
    head, tail = b"\x82\xa4type\xa3seq\xa5items", b""
    if chance.random() < 0.5:  # the tag last: msgspec reads over all that is before it
        head, tail = b"\x82\xa5items", b"\xa4type\xa3seq"
    row = head + row + tail if item[0] == 0x82 else b"\x83\xa4junk" + row + b"\xa5items\x90\xa4type\xa3seq"
    value = head + b"\xdd" + rows.to_bytes(4) + row * rows + tail
    levels = chance.choice((0, 1, 20, 1000))
    value = (head + b"\x91") * levels + value + tail * levels
    return b"\x84\xa4type\xa6answer\xa5nonce\xa1n\xa6status\xa2ok\xa5value" + value


def damage(body: bytearray, chance: random.Random) -> None:
    """One change, in place."""
    at = chance.randrange(len(body) + 1)
    until = min(len(body), at + chance.choice((1, 2, 4, 16)))
    match chance.randrange(7):
        case 0 if at < len(body):
            body[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(body):
            body[at] = chance.randrange(256)
        case 2:
            del body[at:until]
        case 3:
            body[at:at] = body[at:until] * chance.choice((1, 2, 50))
        case 4:
            body[at:until] = chance.choice(TAGS)
        case 5:
            body[at:at] = chance.choice(TAGS)
        case _:
            other = chance.choice(BODIES)
            start = chance.randrange(len(other))
            body[at:until] = other[start : start + chance.choice((1, 8, 64))]


def read(body: bytes, chance: random.Random) -> bool:
    """Read one input in both directions; True if it was taken for a message by either."""
    taken = False
    try:
        wire.decode_order(body)
        taken = True
    except wire.WireError:
        pass
    size = chance.choice((len(body), len(body), len(body), chance.randrange(1 << 32)))
    link = Link(Pieces(wire.HEADER.pack(size) + body, chance))  # all of a socket that it uses
    try:
        report = link.receive(time.monotonic() + 60)
        taken = True
        if isinstance(report, wire.Answer) and report.value is not None:
            wire.from_value(report.value)
    except (ChannelError, wire.WireError):
        pass
    return taken


@dataclass
class Result:
    """What came of a campaign."""

    inputs: int
    taken: int
    seconds: float
    slowest: float
    grown_mb: float
    findings: list[str]


def fuzz(seed: int, most: int, seconds: float) -> Result:
    """Read up to ``most`` inputs, or for so many seconds where that is not 0."""
    chance = random.Random(seed + 1)  # as above
    before, begun = peak_mb(), time.monotonic()
    result = Result(0, 0, 0.0, 0.0, 0.0, [])
    for number, body in enumerate(inputs(seed)):
        if number >= most or (seconds and time.monotonic() - begun >= seconds) or len(result.findings) >= 10:
            break
        start = time.process_time()  # of this process: a busy machine is no finding
        try:
            result.taken += read(body, chance)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            result.findings.append(f"seed {seed}, input {number}: {type(error).__name__}: {error}: {body[:200]!r}")
        took = time.process_time() - start
        if took > (CROWD_S if len(body) > LARGEST else SLOWEST_S):
            result.findings.append(f"seed {seed}, input {number}: took {took:.1f} s: {body[:200]!r}")
        result.slowest = max(result.slowest, took)
        result.inputs += 1
    result.seconds = time.monotonic() - begun
    result.grown_mb = peak_mb() - before
    if result.grown_mb > GROWTH_MB:
        result.findings.append(f"seed {seed}: memory grew by {result.grown_mb:.0f} MiB")
    return result


def peak_mb() -> float:
    """The most memory this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many inputs at most")
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after so long; 0: when all inputs were read")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other inputs")
    options = parser.parse_args()
    result = fuzz(options.seed, options.inputs, options.seconds)
    for finding in result.findings:
        print(finding)
    rate = result.inputs / max(result.seconds, 1e-9)
    print(
        f"{result.inputs} inputs in {result.seconds:.1f} s ({rate:.0f} a second), {result.taken} taken for messages,"
        f" slowest {result.slowest * 1000:.1f} ms, memory {result.grown_mb:+.0f} MiB, {len(result.findings)} findings"
    )
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
