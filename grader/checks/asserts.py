"""How a check says what it found. Messages go to the student: no label, no threshold, no expected value in them.

The exact figures go to the staff's edition through ``staff``.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from grader import rubric
from grader.checks.marks import CheckFailed, NotAssessable, current
from grader.records import Figure, Flag, Measured, Threshold

Floats = npt.NDArray[np.floating[Any]]


def fail(found: str, *, expected: str = "", hint: str = "", staff: str = "") -> NoReturn:
    """End the check as FAILED, with no points."""
    raise CheckFailed(found, expected=expected, hint=hint, staff=staff)


def require(condition: bool, found: str, *, expected: str = "", hint: str = "", staff: str = "") -> None:
    """`fail` unless the condition holds."""
    if not condition:
        fail(found, expected=expected, hint=hint, staff=staff)


def not_assessable(why: str) -> NoReturn:
    """End the check as SKIPPED: it cannot be decided here, and leaves the maximum."""
    raise NotAssessable(why)


def award(
    fraction: float,
    *,
    found: str = "",
    expected: str = "",
    hint: str = "",
    staff: str = "",
    figure: Figure | None = None,
) -> None:
    """Give this share (0 to 1) of the check's points. Called again, the smallest share counts.

    ``figure`` is what it comes from; the card draws it.
    """
    record = current()
    fraction = min(1.0, max(0.0, float(fraction)))
    if record.fraction is None or fraction <= record.fraction:
        record.fraction = fraction
        record.found, record.expected, record.hint = found, expected, hint or record.hint
        record.figure = figure
    if staff:
        record.staff.append(staff)


def flag(kind: str, message: str) -> None:
    """Tell the staff something, with its evidence. A flag never touches the score and is never shown to the student."""
    record = current()
    record.flags.append(Flag(kind=kind, message=message[:1000], check=record.mark.id))


def measure(
    value: float, *, best: float | None = None, kind: Literal["share", "error", "number"] = "number", rows: int = 0
) -> None:
    """Record the statistic that the threshold asked for last turns into credit, for `grader calibrate`; staff only.

    ``best`` is the end of its interval that counts for the student, where doubt does. What is not finite is left out,
    and so is what was compared with no threshold of the spec.
    """
    record = current()
    best = value if best is None else best
    if record.threshold and math.isfinite(value) and math.isfinite(best):
        record.measured.append(
            Measured(threshold=record.threshold, kind=kind, value=float(value), best=float(best), rows=rows)
        )


class Parts:
    """Partial credit in named parts: each has a weight, and the check earns the share of the weights that hold.

    parts = Parts()
    parts.add("rows sum to 1", ok, weight=2, hint="…")
    parts.award()
    """

    def __init__(self) -> None:
        self._parts: list[tuple[str, bool, float, str]] = []

    def add(self, name: str, holds: bool, *, weight: float = 1.0, hint: str = "") -> bool:
        """Record one part; returns ``holds``."""
        self._parts.append((name, bool(holds), weight, hint))
        return bool(holds)

    def award(self, *, expected: str = "") -> None:
        """Award the share of the parts that hold, naming those that do not."""
        total = sum(weight for _, _, weight, _ in self._parts)
        held = sum(weight for _, holds, weight, _ in self._parts if holds)
        missing = [name for name, holds, _, _ in self._parts if not holds]
        hints = [hint for _, holds, _, hint in self._parts if hint and not holds]
        found = f"not met yet: {'; '.join(missing)}" if missing else "everything asked for"
        award(held / total if total else 0.0, found=found, expected=expected, hint="\n".join(dict.fromkeys(hints)))


def as_array(answer: Any, shape: tuple[int | None, ...] | None = None, what: str = "the answer") -> Floats:
    """The answer as float64, of that shape (None: any size). Fails the check for anything else, NaN and Inf included."""
    if isinstance(answer, bool | int | float):
        answer = np.asarray(answer, dtype=np.float64)
    if isinstance(answer, list | tuple):
        answer = _stack(answer, what)
    if not isinstance(answer, np.ndarray) or answer.dtype.kind not in "biuf":
        fail(f"{what}: not an array of numbers, but {_name(answer)}", expected="an array of numbers")
    if shape is not None and not _matches(answer.shape, shape):
        wanted = "(" + ", ".join("n" if side is None else str(side) for side in shape) + ")"
        fail(f"{what} has shape {tuple(answer.shape)}", expected=f"shape {wanted}")
    values = answer.astype(np.float64)
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        fail(
            f"{bad} of {values.size} numbers in {what} are NaN or infinite",
            expected="finite numbers",
            hint="NaN usually comes from a learning rate that is too high, a division by zero or log(0).",
        )
    return values


def _stack(answer: Any, what: str) -> Any:
    try:
        return np.asarray([np.asarray(item, dtype=np.float64) for item in answer], dtype=np.float64)
    except (TypeError, ValueError):
        fail(f"{what} holds things that are not numbers of one shape", expected="an array of numbers")


def _matches(have: tuple[int, ...], want: tuple[int | None, ...]) -> bool:
    return len(have) == len(want) and all(w is None or h == w for h, w in zip(have, want, strict=True))


def _name(answer: Any) -> str:
    if answer is None:
        return "None"
    if isinstance(answer, np.ndarray):
        return f"an array of dtype {answer.dtype}"
    return f"something of the type {type(answer).__name__}"


def assert_probabilities(answer: Any, rows: int, classes: int) -> Floats:
    """Each of ``rows`` rows is a probability vector over ``classes``: finite, within [0, 1], sums to 1 within 1e-3."""
    values = as_array(answer, (rows, classes), "the predictions")
    outside = int(((values < -1e-6) | (values > 1 + 1e-6)).any(axis=1).sum())
    off = int((np.abs(values.sum(axis=1) - 1) > 1e-3).sum())
    if outside or off:
        fail(
            f"{max(outside, off)} of {rows} rows are not probabilities",
            expected="every row between 0 and 1 with sum 1",
            hint="End the model with softmax, or wrap it: keras.Sequential([model, keras.layers.Softmax()]).",
        )
    return values


def assert_accuracy(
    predictions: Any, labels: npt.NDArray[Any], threshold: Threshold, *, classes: int | None = None
) -> float:
    """Award credit for accuracy: class scores (n, k) or, with k = 1, one sigmoid or class per row. Returns the accuracy.

    Credit is 0 at ``threshold.floor``, full at ``threshold.full``, linear between; a Wilson interval that reaches
    the full mark gets the benefit of the doubt. Missing or extra rows fail the check.
    """
    values = as_array(predictions, None, "the predictions")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape[0:1] != (len(labels),) or values.ndim > 2:
        fail(f"the predictions have shape {values.shape}", expected=f"one prediction for each of {len(labels)} rows")
    if values.ndim == 2:
        if classes is not None and values.shape[1] != classes:
            fail(f"{values.shape[1]} scores in each row", expected=f"{classes} scores, one for each class")
        chosen = values.argmax(axis=1)
    else:
        chosen = (values > 0.5).astype(int) if set(np.unique(labels)) <= {0, 1} else np.rint(values).astype(int)
    correct = int((chosen == labels).sum())
    credit = rubric.accuracy_credit(correct, len(labels), threshold)
    measure(credit.value, best=credit.hi, kind="share", rows=len(labels))
    award(
        credit.fraction,
        found=f"{credit.value:.1%} of the held-out examples are right ({correct:,} of {len(labels):,})",
        expected="what a correct solution reaches (see the handout)",
        staff=f"floor {threshold.floor:g}, full {threshold.full:g}, 95 % interval {credit.lo:.4f} to {credit.hi:.4f}"
        + (", benefit of the doubt" if credit.doubt else ""),
        figure=_figure(credit, threshold),
    )
    return credit.value


def assert_error(
    predictions: Any, targets: npt.NDArray[Any], threshold: Threshold, *, unit: str = "", relative_to: float = 1.0
) -> float:
    """Award credit for a mean absolute error (smaller is better; bootstrap over rows). Returns the error.

    The threshold counts in units of ``relative_to``: the error of a linear model on the same rows, say.
    """
    values = as_array(predictions, None, "the predictions").reshape(-1)
    if len(values) != len(targets):
        fail(f"{len(values)} predictions", expected=f"one for each of {len(targets)} rows")
    threshold = Threshold(floor=threshold.floor * relative_to, full=threshold.full * relative_to)
    credit = rubric.error_credit(values - np.asarray(targets, dtype=np.float64), threshold)
    measure(credit.value / relative_to, best=credit.lo / relative_to, kind="error", rows=len(targets))
    award(
        credit.fraction,
        found=f"mean absolute error {credit.value:.3f} {unit}".rstrip(),
        expected="what a correct solution reaches (see the handout)",
        staff=f"floor {threshold.floor:g}, full {threshold.full:g}, 95 % interval {credit.lo:.3f} to {credit.hi:.3f}"
        + (", benefit of the doubt" if credit.doubt else ""),
        figure=_figure(credit, threshold, unit or "MAE"),
    )
    return credit.value


def _figure(credit: rubric.Credit, threshold: Threshold, unit: str = "") -> Figure | None:
    """The figure as the card draws it; an infinite one cannot be drawn."""
    if not all(map(math.isfinite, (credit.value, credit.lo, credit.hi))):
        return None
    return Figure(value=credit.value, lo=credit.lo, hi=credit.hi, floor=threshold.floor, full=threshold.full, unit=unit)


def assert_close(
    answer: Any,
    expected: Any,
    *,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    what: str = "the answer",
    wanted: str = "the right values on hidden inputs",
    hint: str = "",
) -> None:
    """The answer equals ``expected`` (exact shape, within the tolerances). The expected values are never shown."""
    right = np.asarray(expected, dtype=np.float64)
    values = as_array(answer, right.shape, what)
    off = ~np.isclose(values, right, rtol=rtol, atol=atol)
    if off.any():
        worst = float(np.abs(values - right).max())
        fail(
            f"{int(off.sum())} of {right.size} numbers in {what} are wrong",
            expected=wanted,
            hint=hint,
            staff=f"largest difference {worst:.3g} (rtol {rtol:g}, atol {atol:g})",
        )
