"""The question protocol: plain data between the trusted judge and the untrusted sandbox.

Theory of operation. One stream socket joins the two sides. Everything on it is a *frame*: four bytes of
big-endian length, then one msgpack message. The trusted side sends *orders* (run this notebook, answer
this question, stop); the sandbox sends *reports* (a cell ended, a piece of a file, an answer). Both are
closed unions of tagged structs, decoded strictly: an unknown tag, a wrong type or a frame above the
reader's cap is a `WireError`, and the reader hangs up. Nothing is pickled and no object crosses: a value
is an exact builtin or an array of exact dtype and shape, so an answer can be wrong, but it can be neither
code nor a verdict.

A question carries an *expression*: names of the student's objects, attributes, items, calls, constants,
and hidden functions as small trees (``Lambda``). The probe evaluates it in the kernel and encodes what
comes out. Kinds of question:

- ``pure``: asking again gives the same answer (within 1e-5); may be repeated.
- ``stochastic``: may differ each time (a shuffled data set).
- ``mutating``: changes what later questions see (training on); its place in the sequence matters.

This module is an island: it depends on the standard library, numpy and msgspec and on nothing else of
the package, because the sandbox imports it too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Annotated, Any, Literal, Protocol

import msgspec
import numpy as np

VERSION = 2
HEADER = struct.Struct(">I")

#: Largest frame the sandbox accepts from the trusted side (hidden inputs), and the default the trusted
#: side accepts back. 5,000 images of 28x28 float32 are 15.7 MB.
ORDER_CAP = 256 << 20
REPORT_CAP = 64 << 20
#: Files cross in pieces of this size, so that no reader ever has to hold a whole large file in one frame.
CHUNK = 1 << 20
#: Copies of weights taken during training, all of a run together: three of a model of 5.4 million weights are 65 MB.
SNAPSHOTS_CAP = 128 << 20

#: dtypes that may cross, in numpy's little-endian spelling. Everything else is refused.
DTYPES = frozenset({"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"})
MAX_DIMS = 8
MAX_ITEMS = 200_000
MAX_PACKAGES = 1000
#: Nesting of lists, dicts and expressions. msgspec itself raises RecursionError far above this.
MAX_DEPTH = 32
#: What one report may hold, in objects of msgpack (see `weigh`). A list of MAX_ITEMS numbers has 1.0 million, a dict
#: 1.4 million. 64 MiB could hold 20 million, which took 11 s of processor time and 0.7 GB to read (measured).
MAX_OBJECTS = 2_000_000
#: How deep they may lie in one another: a dict of the wire is a map, a list and a pair, and the report is one more.
MAX_NESTING = 3 * (MAX_DEPTH + 2)


class WireError(Exception):
    """A frame or value that is not of the protocol. Costs the sender its channel, nobody else anything."""


class Unwieldy(WireError):
    """A message that would cost more to read than any that is honest. Costs the sender that message."""


# ---------------------------------------------------------------- values


class Lit(msgspec.Struct, frozen=True, tag="lit"):
    """A scalar: None, bool, int (64 bit), float (NaN and Inf included) or str."""

    v: bool | int | float | str | None


class Blob(msgspec.Struct, frozen=True, tag="blob"):
    """Bytes, as they are."""

    data: bytes


class Seq(msgspec.Struct, frozen=True, tag="seq"):
    """A list or tuple."""

    items: Annotated[list[Value], msgspec.Meta(max_length=MAX_ITEMS)]
    kind: Literal["list", "tuple"] = "list"


class Map(msgspec.Struct, frozen=True, tag="map"):
    """A dict with string keys, in order."""

    items: Annotated[list[tuple[str, Value]], msgspec.Meta(max_length=MAX_ITEMS)]


class Array(msgspec.Struct, frozen=True, tag="array"):
    """An array: C-ordered bytes of exact dtype and shape. ``key`` names a draw, so that a tape can be searched without it."""

    dtype: str
    shape: Annotated[tuple[int, ...], msgspec.Meta(max_length=MAX_DIMS)]
    data: bytes
    key: str = ""


class Handle(msgspec.Struct, frozen=True, tag="handle"):
    """A reference to an object that stays in the sandbox; ``type_name`` is what the sandbox says it is."""

    id: int
    type_name: str = ""


Value = Lit | Blob | Seq | Map | Array | Handle

# ---------------------------------------------------------------- expressions


class Const(msgspec.Struct, frozen=True, tag="const"):
    value: Value


class Name(msgspec.Struct, frozen=True, tag="name"):
    """A contracted object of the notebook, found by name, then by ``aliases``, then (models) as the last one trained.

    ``others`` are the other models of the contract: what they name is never found under this one.
    """

    name: str
    aliases: tuple[str, ...] = ()
    kind: str = ""
    others: tuple[str, ...] = ()


class Attr(msgspec.Struct, frozen=True, tag="attr"):
    of: Expr
    name: str


class Item(msgspec.Struct, frozen=True, tag="item"):
    of: Expr
    key: Expr


class Call(msgspec.Struct, frozen=True, tag="call"):
    fn: Expr
    args: tuple[Expr, ...] = ()
    kwargs: tuple[tuple[str, Expr], ...] = ()


class Helper(msgspec.Struct, frozen=True, tag="helper"):
    """One of the probe's own functions (see probe.HELPERS), called with ``Call``."""

    name: str


class Var(msgspec.Struct, frozen=True, tag="var"):
    name: str


class Lambda(msgspec.Struct, frozen=True, tag="lambda"):
    """A hidden function handed to student code: a real callable in the sandbox, made of ``Op`` and ``Var``."""

    params: tuple[str, ...]
    body: Expr


class Op(msgspec.Struct, frozen=True, tag="op"):
    """Arithmetic or an elementary function (see OPS), on tensors, arrays or numbers alike."""

    op: str
    args: tuple[Expr, ...]


Expr = Const | Name | Attr | Item | Call | Helper | Var | Lambda | Op

#: The elementary functions a hidden function may use. Binary operators first.
BINARY = ("add", "sub", "mul", "truediv", "pow")
UNARY = ("neg", "sin", "cos", "exp", "log", "tanh", "sqrt", "square", "abs", "sum", "sigmoid")
OPS = frozenset(BINARY + UNARY)

Kind = Literal["pure", "stochastic", "mutating"]
Want = Literal["value", "handle", "auto"]

# ---------------------------------------------------------------- orders: trusted -> sandbox


class SourceCell(msgspec.Struct, frozen=True):
    kind: Literal["code", "markdown"]
    source: str


class RunNotebook(msgspec.Struct, frozen=True, tag="run"):
    """Run the cells, keep the models named in ``models``, send the files that match ``keep``, then wait for questions.

    ``logical_cpus`` above 1: TensorFlow in the kernel has that many CPU devices. ``tell_fits``: say when `fit` runs.
    ``snapshots``: epochs of training after which the weights of these models are kept too.
    """

    cells: tuple[SourceCell, ...]
    seed: int
    output_bytes: int
    keep: tuple[str, ...]
    keep_bytes: int
    models: tuple[Name, ...]
    probes: tuple[Name, ...] = ()
    stop_on_error: bool = False
    logical_cpus: int = 1
    tell_fits: bool = False
    snapshots: tuple[int, ...] = ()


class TimeUp(msgspec.Struct, frozen=True, tag="time_up"):
    """The notebook's time is over: end the cell that runs, and tell what there is. The judge keeps the time."""


class ServeFiles(msgspec.Struct, frozen=True, tag="serve"):
    """Be a clean sandbox: no notebook, only questions about the files put there with ``PutFile``."""

    seed: int


class PutFile(msgspec.Struct, frozen=True, tag="put"):
    path: str
    data: bytes
    first: bool = True


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    nonce: str
    expr: Expr
    want: Want = "auto"
    kind: Kind = "pure"
    deadline_s: float = 60.0
    max_bytes: int = REPORT_CAP
    seed: int = 0


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    pass


Order = RunNotebook | TimeUp | ServeFiles | PutFile | Ask | Stop

# ---------------------------------------------------------------- reports: sandbox -> trusted


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First report: the child is up and isolated. ``note`` says what it could not do."""

    version: int
    python: str
    platform: str
    packages: Annotated[dict[str, str], msgspec.Meta(max_length=MAX_PACKAGES)]
    note: str = ""


class Started(msgspec.Struct, frozen=True, tag="started"):
    """The kernel answered; the clock of the notebook starts now."""

    seconds: float


class CellStarted(msgspec.Struct, frozen=True, tag="cell_started"):
    cell: int


class CellDone(msgspec.Struct, frozen=True, tag="cell_done"):
    """A code cell ended. Claimed by the sandbox: shown, used for the ending, never for points by itself."""

    cell: int
    ok: bool
    seconds: float
    kind: str = ""
    message: str = ""
    line: int | None = None
    source_line: str = ""
    traceback: str = ""


class Fitting(msgspec.Struct, frozen=True, tag="fitting"):
    """A `fit` began (``active``) or ended. Claimed by the sandbox; when it arrives is the host's own observation."""

    active: bool


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The notebook is over. ``how``: ok, cell error, timeout, kernel died, output flood, out of memory."""

    how: str
    detail: str = ""
    alive: bool = True
    seconds: float = 0.0
    output_bytes: int = 0


class FilePart(msgspec.Struct, frozen=True, tag="file"):
    """A piece of an artifact, in order. ``order`` counts files by when they were last written."""

    path: str
    data: bytes
    last: bool
    order: int = 0


class FileRefused(msgspec.Struct, frozen=True, tag="refused"):
    path: str
    why: str


class Kept(msgspec.Struct, frozen=True, tag="kept"):
    """A graded object was found (or not) under a contracted name. For models, the kept copies are among the files."""

    name: str
    found_as: str
    how: str
    type_name: str
    note: str = ""


class Observed(msgspec.Struct, frozen=True, tag="observed"):
    """What the hooks in the kernel recorded: JSON text, bounded; evidence grade observed."""

    record: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Every artifact has been sent; questions may come."""

    executed: bool = True


class Fault(msgspec.Struct, frozen=True):
    """An exception met while answering: the student's (in their code) or a question that does not fit."""

    kind: str
    message: str
    line: int | None = None
    source_line: str = ""


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """``status``: ok, error (student code raised), missing (no such name), refused (cannot cross), timeout, died."""

    nonce: str
    status: Literal["ok", "error", "missing", "refused", "timeout", "died"]
    value: Value | None = None
    fault: Fault | None = None
    seconds: float = 0.0


Report = (
    Hello
    | Started
    | CellStarted
    | CellDone
    | Fitting
    | Ended
    | FilePart
    | FileRefused
    | Kept
    | Observed
    | Ready
    | Answer
)

_encoder = msgspec.msgpack.Encoder()
_orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order, strict=True)
_reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report, strict=True)

# ---------------------------------------------------------------- frames


class Stream(Protocol):
    """What a frame is read from: `recv` as a socket has it."""

    def recv(self, size: int, /) -> bytes: ...


def frame(message: Order | Report) -> bytes:
    """The message as one frame. Raises WireError for what cannot cross: too large, or text that is not Unicode."""
    try:
        body = _encoder.encode(message)
    except (UnicodeError, OverflowError, RecursionError, TypeError) as error:
        raise WireError(f"{type(error).__name__}: {str(error)[:200]}") from None
    if len(body) > ORDER_CAP:
        raise WireError(f"a message of {len(body)} bytes is above the cap of {ORDER_CAP}")
    return HEADER.pack(len(body)) + body


def decode_order(body: bytes) -> Order:
    """Raises WireError for anything that is not exactly one order."""
    order: Order = _decode(_orders.decode, body)
    return order


def decode_report(body: bytes) -> Report:
    """Raises WireError for anything that is not exactly one report. `weigh` it first: time and memory are not bounded here."""
    report: Report = _decode(_reports.decode, body)
    return report


def _decode(decode: Callable[[bytes], Any], body: bytes) -> Any:
    try:
        return decode(body)
    except (msgspec.DecodeError, RecursionError, OverflowError, UnicodeError, MemoryError) as error:
        raise WireError(f"{type(error).__name__}: {str(error)[:200]}") from None


def weigh(body: bytes) -> int:
    """How many objects of msgpack a message holds, looked at without making any. Raises WireError, Unwieldy.

    A cap of bytes does not bound what reading costs: an empty list is 17 bytes on the wire and 150 in memory, and where
    the tag of a struct comes last msgspec skips all that is in it to find it, once for each level that it lies deep
    (20 MiB took 0.1 s for each level, measured). After this, reading is a second at most.
    """
    count, at, left = 1, 0, 1
    above: list[int] = []
    try:
        while True:
            while not left:
                if not above:
                    return count
                left = above.pop()
            left -= 1
            first = body[at]
            size, length_bytes, children = _SHAPES[first]
            if length_bytes:
                length = int.from_bytes(body[at + 1 : at + 1 + length_bytes])
                size, children = (size, children * length) if children else (size + length, 0)
            at += size
            if children:
                count += children
                above.append(left)
                left = children
                if count > MAX_OBJECTS or len(above) > MAX_NESTING:
                    break
    except IndexError:
        raise WireError("it ends in the middle") from None
    if count > MAX_OBJECTS:
        raise Unwieldy(f"more than {MAX_OBJECTS:,} parts")
    raise Unwieldy("lists that are nested too deeply")


def _shapes() -> list[tuple[int, int, int]]:
    """What each first byte of an object of msgpack says: its size so far, how many bytes tell a length, and children.

    A length counts bytes, or where there are children, so many of them each.
    """
    fixed = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
    fixed |= {0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18}  # extensions: what they are, and their data
    counted = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}  # bytes and texts
    shapes = []
    for first in range(256):
        if 0x80 <= first < 0x90:
            shape = (1, 0, 2 * (first & 15))
        elif 0x90 <= first < 0xA0:
            shape = (1, 0, first & 15)
        elif 0xA0 <= first < 0xC0:
            shape = (1 + (first & 31), 0, 0)
        elif first in counted:
            shape = (1 + counted[first], counted[first], 0)
        elif 0xC7 <= first <= 0xC9:  # extensions of any length
            shape = (2 + (1 << (first - 0xC7)), 1 << (first - 0xC7), 0)
        elif 0xDC <= first <= 0xDF:  # lists, then maps
            shape = (1 + (2 << (first & 1)), 2 << (first & 1), 1 if first < 0xDE else 2)
        else:
            shape = (fixed.get(first, 1), 0, 0)
        shapes.append(shape)
    return shapes


_SHAPES = _shapes()

# ---------------------------------------------------------------- plain data <-> values


def to_value(thing: Any, *, depth: int = 0) -> Value:
    """Encode exact builtins and numpy arrays. Subclasses are refused: their ``__eq__`` could lie.

    Raises WireError naming the type that cannot cross.
    """
    if depth > MAX_DEPTH:
        raise WireError("the value is nested too deeply")
    kind = type(thing)
    if kind in (bool, float) or thing is None:
        return Lit(thing)
    if kind is str:
        return Lit(_text(thing))
    if kind is bytes:
        return Blob(thing)
    if kind is int:
        if not -(2**63) <= thing < 2**63:
            raise WireError("an integer that does not fit 64 bits")
        return Lit(thing)
    if kind is np.ndarray:
        return _array(thing)
    if isinstance(thing, np.generic) and kind.__module__ == "numpy":
        return _array(np.asarray(thing))
    if kind in (list, tuple):
        if len(thing) > MAX_ITEMS:
            raise WireError(f"a {kind.__name__} of {len(thing)} items")
        items = [to_value(item, depth=depth + 1) for item in thing]
        return Seq(items, "tuple" if kind is tuple else "list")
    if kind is dict:
        if len(thing) > MAX_ITEMS:
            raise WireError(f"a dict of {len(thing)} items")
        if not all(type(key) is str for key in thing):
            raise WireError("a dict whose keys are not all strings")
        return Map([(_text(key), to_value(item, depth=depth + 1)) for key, item in thing.items()])
    raise WireError(f"an object of type {kind.__module__}.{kind.__qualname__}"[:200])


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise WireError("a text with characters that are not Unicode (lone surrogates)") from None
    return text


def _array(array: np.ndarray[Any, Any]) -> Array:
    if array.dtype.str not in DTYPES:
        if array.dtype.kind in "biuf" and array.dtype.newbyteorder("<").str in DTYPES:
            array = array.astype(array.dtype.newbyteorder("<"))
        else:
            raise WireError(f"an array of dtype {array.dtype}")
    if array.ndim > MAX_DIMS:
        raise WireError(f"an array of {array.ndim} dimensions")
    return Array(array.dtype.str, tuple(array.shape), np.ascontiguousarray(array).tobytes())


def from_value(value: Value, handles: Callable[[Handle], Any] | None = None, *, depth: int = 0) -> Any:
    """Decode to builtins and arrays; ``handles`` resolves references (without it they are a WireError)."""
    if depth > MAX_DEPTH:
        raise WireError("the value is nested too deeply")
    match value:
        case Lit(v):
            return v
        case Blob(data):
            return data
        case Seq(items, kind):
            out = [from_value(item, handles, depth=depth + 1) for item in items]
            return tuple(out) if kind == "tuple" else out
        case Map(items):
            decoded = {key: from_value(item, handles, depth=depth + 1) for key, item in items}
            if len(decoded) != len(items):
                raise WireError("a dict with a repeated key")
            return decoded
        case Array(dtype, shape, data):
            return to_array(dtype, shape, data)
        case Handle():
            if handles is None:
                raise WireError(f"a reference to an object of type {value.type_name[:100]}")
            return handles(value)


def to_array(dtype: str, shape: tuple[int, ...], data: bytes) -> np.ndarray[Any, Any]:
    """The array those bytes are. Sizes are compared before anything is allocated."""
    if dtype not in DTYPES:
        raise WireError(f"dtype {dtype[:20]!r} may not cross")
    if len(shape) > MAX_DIMS or any(side < 0 for side in shape):
        raise WireError(f"shape {shape[:10]!r} is not a shape")
    count = 1
    for side in shape:
        count *= side
    if count * np.dtype(dtype).itemsize != len(data):
        raise WireError(f"{len(data)} bytes are not an array of {dtype} {shape}")
    if dtype == "|b1" and data.translate(None, b"\0\1"):
        raise WireError("bytes that are neither true nor false in an array of truth values")
    try:
        return np.frombuffer(data, dtype=dtype).reshape(shape).copy()
    except (ValueError, OverflowError):  # no bytes, but sides that numpy cannot count: (0, 2**62, 2**62)
        raise WireError(f"{shape!r} is not a shape numpy can have") from None
