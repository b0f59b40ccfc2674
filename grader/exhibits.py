"""What a card shows besides the checks: curves, layers, the confusion matrix, calibration, wrong predictions.

Nothing here is scored. Pictures of held-out images go to the staff's edition only; the student's shows wrong ones of
the public half.

Predictions are those of the lab's first model. Where a lab asks for several, curves and layers are kept of each, and
their names begin with the model's: ``bigger_model: val_loss``.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
from PIL import Image

from grader.checks.marks import CheckFailed
from grader.checks.student import Bench, Model, Student
from grader.heldout import Drawn, Heldout
from grader.labs import Lab
from grader.records import Bin, Confusion, Curve, Exhibits, Flag, LayerRow, WrongPicture

#: Rows of the public half that are asked for pictures and for the gap; more would cost time on every run.
PUBLIC_ROWS = 1000
PICTURES = 6
#: Models of one lab whose curves and layers are kept; a card draws no more.
MODELS = 6
#: Steps of confidence in which calibration is counted.
BINS = 10
#: A model whose log-loss on public rows is this many standard errors below that on untransformed withheld ones has
#: probably seen the former's labels. Honest models stay within three: both halves are drawn from the same test split.
GAP_ERRORS = 5.0
#: Rows that the notebook's own `predict` is asked for, and how far it may be from the kept model's answers: compiled
#: and eager computing differ by some 1e-6.
PREDICT_ROWS = 32
PREDICT_APART = 1e-2
Named = TypeVar("Named", Curve, LayerRow)


def exhibit(lab: Lab, bench: Bench, student: Student, heldout: Heldout | None) -> tuple[Exhibits, list[Flag]]:
    """The exhibits of the lab's models, and flags for the staff."""
    shown = curves(bench.facts.observed)
    names = [contract.name for contract in lab.contract.values() if contract.kind == "model"][:MODELS]
    if not names:
        return Exhibits(curves=shown), []
    model: Model = getattr(student, names[0])
    layers: tuple[LayerRow, ...] = ()
    if len(names) > 1:
        models = [(name, getattr(student, name)) for name in names]
        shown, layers = _curves_of(models) or shown, _layers_of(models)
    try:
        layers = layers or _layers(model)
        other = _predict_differs(bench, model, heldout) if heldout is not None else []
        if heldout is None or not heldout.label_names:
            return Exhibits(curves=shown, layers=layers), other
        predicted, flags = _predictions(model, heldout)
        flags += other
    except CheckFailed:  # it cannot be asked, or takes the lab's data in another form than it is drawn
        return Exhibits(curves=shown, layers=layers), []
    return msgspec.structs.replace(predicted, curves=shown, layers=layers), flags


def _predict_differs(bench: Bench, model: Model, heldout: Heldout) -> list[Flag]:
    """A flag where the notebook's own ``predict`` says something else than the model it left.

    Not where a question has changed the live model since it was kept (a suite that goes on training it).
    """
    changed = any(entry.side == "live" and entry.kind == "mutating" for entry in bench.session.tape.entries)
    if changed or not model.verified:
        return []
    rows = heldout.public_inputs.subset(PREDICT_ROWS)
    kept = model.predict(rows)
    try:
        said = model.student_predict(rows)
    except CheckFailed as failure:
        return [
            Flag(
                kind="predict differs", message=f"the kept model answers, the notebook's own does not: {failure}"[:300]
            )
        ]
    if not isinstance(said, np.ndarray) or said.shape != kept.shape or said.dtype.kind not in "biuf":
        what = f"an array of shape {said.shape}" if isinstance(said, np.ndarray) else "no array"
        return [Flag(kind="predict differs", message=f"`model.predict` gives {what}, the kept model {kept.shape}")]
    apart = ~np.isclose(said, kept, rtol=PREDICT_APART, atol=PREDICT_APART, equal_nan=True)
    count = int(apart.reshape(len(apart), -1).any(axis=1).sum())
    if not count:
        return []
    message = (
        f"`model.predict` in the notebook answers {count} of {len(kept)} public rows otherwise than the kept model"
    )
    return [Flag(kind="predict differs", message=message)]


def _curves_of(models: Sequence[tuple[str, Model]]) -> tuple[Curve, ...]:
    """The last fit of each model."""
    found: list[Curve] = []
    for name, model in models:
        with contextlib.suppress(CheckFailed):  # there is no such model
            found += [_named(name, curve) for curve in curves(model.training())]
    return tuple(found)


def _layers_of(models: Sequence[tuple[str, Model]]) -> tuple[LayerRow, ...]:
    found: list[LayerRow] = []
    for name, model in models:
        with contextlib.suppress(CheckFailed):
            found += [_named(name, row) for row in _layers(model)]
    return tuple(found)


def _named(model: str, thing: Named) -> Named:
    """Named after its model. A student's own name cannot be taken for a model's: it loses what the two are told by."""
    return msgspec.structs.replace(thing, name=f"{model}: {thing.name.replace(': ', ':')}")


def curves(observed: dict[str, Any]) -> tuple[Curve, ...]:
    """The metrics of the last fit, one curve each."""
    fits = observed.get("fits")
    logs = fits[-1].get("logs") if isinstance(fits, list) and fits and isinstance(fits[-1], dict) else None
    if not isinstance(logs, dict):
        return ()
    found = []
    for name, values in list(logs.items())[:12]:
        if isinstance(values, list) and values:
            numbers = tuple(float(v) if _finite(v) else None for v in values[:2000])
            found.append(Curve(name=str(name)[:60], values=numbers))
    return tuple(found)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _layers(model: Model) -> tuple[LayerRow, ...]:
    rows = model.description().get("layers")
    found = []
    for row in rows[:100] if isinstance(rows, list) else []:
        if isinstance(row, dict):
            shapes = row.get("shape") or []
            count = row.get("parameters")
            found.append(
                LayerRow(
                    name=str(row.get("name"))[:100],
                    kind=str(row.get("kind"))[:100],
                    output_shape=", ".join(_shape(shape) for shape in shapes[:4]) if isinstance(shapes, list) else "",
                    parameters=count if isinstance(count, int) else 0,
                )
            )
    return tuple(found)


def _shape(shape: Any) -> str:
    if not isinstance(shape, list | tuple):
        return "?"
    return "(" + ", ".join("n" if side is None else str(side)[:12] for side in shape[:8]) + ")"


def _predictions(model: Model, heldout: Heldout) -> tuple[Exhibits, list[Flag]]:
    names = heldout.label_names
    scores = _scores(model.predict(heldout.inputs), len(heldout.labels), len(names))
    if scores is None:
        return Exhibits(), []
    labels = heldout.labels.astype(int)
    chosen = scores.argmax(axis=1)
    matrix = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(matrix, (labels, chosen), 1)
    confusion = Confusion(labels=names, matrix=tuple(tuple(int(n) for n in row) for row in matrix))
    shown = Exhibits(confusion=confusion, calibration=_calibration(scores, labels))
    if heldout.dataset.kind == "table":
        return shown, []
    public = heldout.public_inputs.subset(PUBLIC_ROWS)
    public_labels = heldout.public_labels[:PUBLIC_ROWS].astype(int)
    public_scores = _scores(model.predict(public), len(public_labels), len(names))
    wrong: tuple[WrongPicture, ...] = ()
    if heldout.dataset.kind == "image":
        wrong = _pictures(heldout.inputs, labels, scores, names, heldout.high, public=False)
        if public_scores is not None:
            wrong += _pictures(public, public_labels, public_scores, names, heldout.high, public=True)
    if public_scores is None:
        return msgspec.structs.replace(shown, wrong=wrong), []
    plain = _scores(model.predict(heldout.plain.subset(PUBLIC_ROWS)), min(PUBLIC_ROWS, len(labels)), len(names))
    return msgspec.structs.replace(shown, wrong=wrong), _gap(public_scores, public_labels, plain, labels)


def _scores(answer: Any, rows: int, classes: int) -> Any:
    """One score for each class; None for anything else. One output for two classes says how likely the second is."""
    if not isinstance(answer, np.ndarray) or answer.dtype.kind != "f":
        return None
    values = np.nan_to_num(answer.astype(np.float64))
    if classes == 2 and values.shape in ((rows,), (rows, 1)):
        second = values.reshape(-1)
        probabilities = bool(second.size) and second.min() >= 0 and second.max() <= 1
        return np.stack([1 - second if probabilities else np.zeros(rows), second], axis=1)
    return values if values.shape == (rows, classes) else None


def _gap(public: Any, public_labels: Any, plain: Any, labels: Any) -> list[Flag]:
    """A flag when the log-loss of public rows is far below that of withheld ones.

    It tells more than right or wrong: a digit that was trained on is right like most, but with much more confidence.
    """
    if plain is None:
        return []
    seen, unseen = _log_loss(public, public_labels), _log_loss(plain, labels[: len(plain)])
    error = float(np.sqrt(seen.var() / len(seen) + unseen.var() / len(unseen)))
    gap = float(unseen.mean() - seen.mean())
    if error == 0 or gap <= GAP_ERRORS * error:
        return []
    accuracy = [
        float((s.argmax(axis=1) == wanted[: len(s)]).mean()) for s, wanted in ((public, public_labels), (plain, labels))
    ]
    message = (
        f"log-loss {seen.mean():.4f} on the public test half, {unseen.mean():.4f} on the withheld half"
        f" ({gap / error:.1f} standard errors; accuracy {accuracy[0]:.3f} and {accuracy[1]:.3f}; both untransformed)"
    )
    return [Flag(kind="public gap", message=message)]


def _log_loss(scores: Any, labels: Any) -> Any:
    """-log of the probability of the right class, row by row."""
    return -np.log(np.clip(_probabilities(scores)[np.arange(len(labels)), labels], 1e-7, 1.0))


def _probabilities(scores: Any) -> Any:
    """The scores as probabilities: rows that are none are taken as logits."""
    if scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1, atol=1e-2):
        return scores
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _calibration(scores: Any, labels: Any) -> tuple[Bin, ...]:
    """How often the model is right where it is about so sure, in tenths of confidence."""
    confidence = _probabilities(scores).max(axis=1)
    right = scores.argmax(axis=1) == labels
    tenth = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(
            confidence=float(confidence[tenth == place].mean()),
            right=float(right[tenth == place].mean()),
            count=int((tenth == place).sum()),
        )
        for place in range(BINS)
        if (tenth == place).any()
    )


def _pictures(
    drawn: Drawn, labels: Any, scores: Any, names: tuple[str, ...], high: float, *, public: bool
) -> tuple[WrongPicture, ...]:
    """The most confident mistakes first: they teach the most."""
    chosen = scores.argmax(axis=1)
    confidence = scores.max(axis=1)
    wrong = np.flatnonzero(chosen != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:PICTURES]
    images = drawn.array()
    return tuple(
        WrongPicture(
            png=_png(images[row], high),
            predicted=names[chosen[row]],
            actual=names[labels[row]],
            confidence=float(np.clip(confidence[row], 0.0, 1.0)),
            public=public,
        )
        for row in worst
    )


def _png(image: Any, high: float) -> bytes:
    pixels = np.clip(np.asarray(image, dtype=np.float64).reshape(28, 28) * (255.0 / high), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
