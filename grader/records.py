"""The nouns: frozen facts that pass between the floors. Verbs live elsewhere.

``Verdict`` is what ``result.json`` holds; its schema is documented in docs/result-schema.md and
versioned by ``RESULT_SCHEMA``. Times are seconds, memory is MiB (2**20 bytes) unless a name says otherwise.
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

RESULT_SCHEMA = 1
#: A card is for the student, who may share it, or for the staff.
Edition = Literal["student", "staff"]


class Outcome(enum.Enum):
    """How a check ended. ERRORED is always ours or the lab author's."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    ERRORED = "errored"


class Evidence(enum.Enum):
    """How a scored fact is known; ``rank`` orders them, higher is stronger."""

    VERIFIED = "verified"
    OBSERVED = "observed"
    CLAIMED = "claimed"

    @property
    def rank(self) -> int:
        return {"claimed": 0, "observed": 1, "verified": 2}[self.value]


class Ending(enum.Enum):
    """How a run ended, seen from outside the notebook."""

    OK = "ok"
    CELL_ERROR = "cell error"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out of memory"
    KERNEL_DIED = "kernel died"
    OUTPUT_FLOOD = "output flood"
    NOT_A_NOTEBOOK = "not a notebook"
    WRONG_LAB = "wrong lab"
    EMPTY = "empty"
    TOO_LARGE = "too large"
    CHANNEL_BROKEN = "channel broken"
    DEFERRED = "deferred"
    OURS = "our fault"


class Tier(enum.Enum):
    """Which copy of the data a run used; thresholds exist per tier."""

    FULL = "full"
    LITE = "lite"


class Level(enum.IntEnum):
    """Sandbox level, as proved by the canary (docs/sandbox.md)."""

    L0 = 0
    L1 = 1
    L2 = 2
    L3 = 3


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the records: immutable, compared by value, written as JSON by msgspec."""


class Advice(Record, frozen=True):
    """What a student can do about an exception (see diagnosis).

    ``old`` and ``new`` are a line of the notebook before and after, or, with ``example``, of some other notebook.
    """

    rule: str
    text: str
    old: str = ""
    new: str = ""
    example: bool = False


class CellError(Record, frozen=True):
    """An exception in one cell. ``cell`` counts code cells from 1, ``line`` lines of that cell from 1."""

    cell: int
    kind: str
    message: str
    line: int | None = None
    source_line: str = ""
    traceback: str = ""
    advice: Advice | None = None


class Figure(Record, frozen=True):
    """What a card draws of a check: a figure that points rest on, its 95 % interval, and where credit begins and is full.

    Without a ``unit`` it is a share of 1. ``floor`` and ``full`` are None in the student's edition.
    """

    value: float
    lo: float
    hi: float
    floor: float | None = None
    full: float | None = None
    unit: str = ""


class Foreseen(Record, frozen=True):
    """A breakage found by reading, without running. Not ``fails``: the line has no effect here. Never scored."""

    cell: int
    line: int
    source_line: str
    advice: Advice
    fails: bool = True
    in_function: bool = False


class Measured(Record, frozen=True):
    """A statistic that a threshold turned into credit. Staff only; `grader calibrate` fits its distribution.

    ``best`` is the end of its interval that counts for the student (``value`` itself where doubt is no reason), so full
    marks depend on ``best``. A ``share`` is of ``rows`` rows, an ``error`` a mean over them, a ``number`` anything else.
    """

    threshold: str
    kind: Literal["share", "error", "number"]
    value: float
    best: float
    rows: int = 0


class CheckResult(Record, frozen=True):
    """One check's end. ``score`` may lie between 0 and ``points`` when FAILED (partial credit)."""

    id: str
    description: str
    points: float
    score: float
    outcome: Outcome
    required: Evidence
    evidence: Evidence | None = None
    rationale: str = ""
    expected: str = ""
    found: str = ""
    hint: str = ""
    blocked_by: str = ""
    staff_note: str = ""
    figure: Figure | None = None
    measured: tuple[Measured, ...] = ()
    seconds: float = 0.0


class Flag(Record, frozen=True):
    """Something staff should look at. Flags never touch the score and are never shown to the student."""

    kind: str
    message: str
    check: str = ""


class Curve(Record, frozen=True):
    """One recorded training metric: one value per epoch."""

    name: str
    values: tuple[float | None, ...]
    evidence: Evidence = Evidence.OBSERVED


class LayerRow(Record, frozen=True):
    """One row of the layer table."""

    name: str
    kind: str
    output_shape: str
    parameters: int


class Confusion(Record, frozen=True):
    """Counts on held-out data; ``matrix[actual][predicted]``, square, as long as ``labels``."""

    labels: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]


class WrongPicture(Record, frozen=True):
    """A wrongly classified image. ``public`` ones may be shown to the student."""

    png: bytes
    predicted: str
    actual: str
    confidence: float
    public: bool


class Bin(Record, frozen=True):
    """Held-out predictions of about one confidence: its mean, the share that is right, and how many they are."""

    confidence: float
    right: float
    count: int


class Exhibits(Record, frozen=True):
    """What a card shows besides the checks. Nothing here is scored.

    ``asked`` is the range of pixels in which the model was asked; None where it was asked no images.
    """

    curves: tuple[Curve, ...] = ()
    layers: tuple[LayerRow, ...] = ()
    confusion: Confusion | None = None
    wrong: tuple[WrongPicture, ...] = ()
    calibration: tuple[Bin, ...] = ()
    asked: tuple[float, float] | None = None


class Environment(Record, frozen=True):
    """The versions a run met inside the sandbox and the grader's own."""

    grader: str
    python: str
    platform: str
    packages: dict[str, str] = {}


class Limits(Record, frozen=True):
    """What one run may use. ``wall_s`` and ``question_s`` are its own time (`owntime`); start and import never count."""

    wall_s: float = 300.0
    memory_mb: int = 4096
    output_mb: int = 20
    disk_mb: int = 512
    question_s: float = 60.0
    threads: int = 2
    source_kb: int = 256


class Threshold(Record, frozen=True):
    """Where credit begins (``floor``) and where it is full. For an error ``full`` lies below ``floor``.

    ``positive``: what is measured cannot be below zero, and its runs vary by factors; only calibration asks for that.
    """

    floor: float
    full: float
    positive: bool = False


class Gpus(Record, frozen=True):
    """What the host offers a run, by its own inventory. ``cards`` are names; empty where it offers none.

    ``devices`` are the device files a sandbox shows. ``problem`` says why there is none, or why the host cannot tell
    what a process does there; "" where it can.
    """

    cards: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    driver: str = ""
    problem: str = ""


class GpuActivity(Record, frozen=True):
    """What a run's processes did on the host's GPUs within ``seconds``, as the host was told by NVML.

    ``busy`` counts sample periods, ``peak`` and ``others`` (processes that are not the run's) are per cent of the
    streaming multiprocessors' time. ``problem`` is why nobody knows: NVML failed meanwhile.
    """

    seconds: float = 0.0
    problem: str = ""
    busy: int = 0
    peak: int = 0
    others: int = 0


class Artifact(Record, frozen=True):
    """A file kept from a run. ``path`` is relative to the work folder, ``order`` is when it was first seen."""

    path: str
    size: int
    sha256: str
    order: int = 0


class Received(Record, frozen=True):
    """When a submission was handed in, and how that is known.

    A file's own dates are the student's to set and say nothing. ``given``: staff said so; ``lms``: the learning
    platform's own record; ``first seen``: all that is known is when the grader met these bytes first. ``lms_id`` is
    the student's number there, ``marked_late`` what it printed into a file's name.
    """

    at: str
    known: Literal["given", "lms", "first seen"]
    lms: Literal["", "canvas", "moodle", "gradescope"] = ""
    lms_id: str = ""
    marked_late: bool = False


class Verdict(Record, frozen=True):
    """All outcomes and the score of one run: the content of ``staff/result.json``.

    ``data`` names the lab's data set; without one ("none") the ``tier`` says nothing.
    """

    lab: str
    lab_title: str
    student: str
    submission: str
    ending: Ending
    score: float
    max_score: float
    checks: tuple[CheckResult, ...]
    level: Level
    tier: Tier
    environment: Environment
    schema: int = RESULT_SCHEMA
    data: str = ""
    attempt: int = 1
    ending_detail: str = ""
    cell_errors: tuple[CellError, ...] = ()
    foreseen: tuple[Foreseen, ...] = ()
    needs_attention: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    timings: dict[str, float] = {}
    peak_memory_mb: float = 0.0
    limits: Limits = Limits()
    graded_at: str = ""
    language: str = "en"


def encode(record: Record, *, indent: int = 1) -> bytes:
    """The record as readable UTF-8 JSON."""
    return msgspec.json.format(msgspec.json.encode(record, order="deterministic"), indent=indent)
