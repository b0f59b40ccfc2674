"""The nouns: frozen facts that pass between the floors. Verbs live elsewhere.

``Verdict`` is what ``result.json`` holds; its schema is documented in docs/result-schema.md and
versioned by ``RESULT_SCHEMA``. Times are seconds, memory is MiB (2**20 bytes) unless a name says otherwise.
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

RESULT_SCHEMA = 1


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
    CHANNEL_BROKEN = "channel broken"
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
    """What a student can do about an exception (see diagnosis)."""

    rule: str
    text: str
    old: str = ""
    new: str = ""


class CellError(Record, frozen=True):
    """An exception in one cell. ``cell`` counts code cells from 1, ``line`` lines of that cell from 1."""

    cell: int
    kind: str
    message: str
    line: int | None = None
    source_line: str = ""
    traceback: str = ""
    advice: Advice | None = None


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


class Exhibits(Record, frozen=True):
    """What a card shows besides the checks. Nothing here is scored."""

    curves: tuple[Curve, ...] = ()
    layers: tuple[LayerRow, ...] = ()
    confusion: Confusion | None = None
    wrong: tuple[WrongPicture, ...] = ()


class Environment(Record, frozen=True):
    """The versions a run met inside the sandbox and the grader's own."""

    grader: str
    python: str
    platform: str
    packages: dict[str, str] = {}


class Limits(Record, frozen=True):
    """What one run may use. Kernel start and import never count against ``wall_s``."""

    wall_s: float = 300.0
    memory_mb: int = 4096
    output_mb: int = 20
    disk_mb: int = 512
    question_s: float = 60.0
    threads: int = 2


class Threshold(Record, frozen=True):
    """Where credit begins (``floor``) and where it is full. For an error ``full`` lies below ``floor``."""

    floor: float
    full: float


class Artifact(Record, frozen=True):
    """A file kept from a run. ``path`` is relative to the work folder, ``order`` is when it was first seen."""

    path: str
    size: int
    sha256: str
    order: int = 0


class Verdict(Record, frozen=True):
    """All outcomes and the score of one run: the content of ``staff/result.json``."""

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
    attempt: int = 1
    ending_detail: str = ""
    cell_errors: tuple[CellError, ...] = ()
    needs_attention: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    timings: dict[str, float] = {}
    peak_memory_mb: float = 0.0
    limits: Limits = Limits()
    graded_at: str = ""
    language: Literal["en", "zh"] = "en"


def encode(record: Record, *, indent: int = 1) -> bytes:
    """The record as readable UTF-8 JSON."""
    return msgspec.json.format(msgspec.json.encode(record, order="deterministic"), indent=indent)
