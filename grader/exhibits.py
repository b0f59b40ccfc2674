"""What a card shows besides the checks: curves, layers, the confusion matrix, wrong predictions as pictures.

Nothing here is scored. Pictures of held-out images go to the staff's edition only; the student's shows wrong ones of
the public half.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from PIL import Image

from grader.checks.marks import CheckFailed
from grader.checks.student import Bench, Model, Student
from grader.heldout import Drawn, Heldout
from grader.labs import Lab
from grader.records import Confusion, Curve, Exhibits, Flag, LayerRow, WrongPicture

#: Rows of the public half that are asked for pictures and for the gap; more would cost time on every run.
PUBLIC_ROWS = 1000
PICTURES = 6
#: A model whose log-loss on public rows is this many standard errors below that on untransformed withheld ones has
#: probably seen the former's labels. Honest models stay within three: both halves are drawn from the same test split.
GAP_ERRORS = 5.0


def exhibit(lab: Lab, bench: Bench, student: Student, heldout: Heldout | None) -> tuple[Exhibits, list[Flag]]:
    """The exhibits of the lab's first model, and flags for the staff."""
    shown = curves(bench.facts.observed)
    contract = next((c for c in lab.contract.values() if c.kind == "model"), None)
    if contract is None:
        return Exhibits(curves=shown), []
    model: Model = getattr(student, contract.name)
    try:
        layers = _layers(model)
        if heldout is None or not heldout.label_names:
            return Exhibits(curves=shown, layers=layers), []
        confusion, wrong, flags = _predictions(model, heldout)
    except CheckFailed:
        return Exhibits(curves=shown), []
    return Exhibits(curves=shown, layers=layers, confusion=confusion, wrong=wrong), flags


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


def _predictions(model: Model, heldout: Heldout) -> tuple[Confusion | None, tuple[WrongPicture, ...], list[Flag]]:
    names = heldout.label_names
    scores = _scores(model.predict(heldout.inputs), len(heldout.labels), len(names))
    if scores is None:
        return None, (), []
    labels = heldout.labels.astype(int)
    chosen = scores.argmax(axis=1)
    matrix = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(matrix, (labels, chosen), 1)
    confusion = Confusion(labels=names, matrix=tuple(tuple(int(n) for n in row) for row in matrix))
    if heldout.dataset.kind != "image":
        return confusion, (), []
    wrong = _pictures(heldout.inputs, labels, scores, names, heldout.high, public=False)
    public = heldout.public_inputs.subset(PUBLIC_ROWS)
    public_labels = heldout.public_labels[:PUBLIC_ROWS].astype(int)
    public_scores = _scores(model.predict(public), len(public_labels), len(names))
    if public_scores is None:
        return confusion, wrong, []
    shown = _pictures(public, public_labels, public_scores, names, heldout.high, public=True)
    plain = _scores(model.predict(heldout.plain.subset(PUBLIC_ROWS)), min(PUBLIC_ROWS, len(labels)), len(names))
    return confusion, wrong + shown, _gap(public_scores, public_labels, plain, labels)


def _scores(answer: Any, rows: int, classes: int) -> Any:
    if not isinstance(answer, np.ndarray) or answer.dtype.kind != "f" or answer.shape != (rows, classes):
        return None
    return np.nan_to_num(answer.astype(np.float64))


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
    """-log of the probability of the right class, row by row; rows that are no probabilities are taken as logits."""
    if scores.min() < 0 or not np.allclose(scores.sum(axis=1), 1, atol=1e-2):
        shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = shifted / shifted.sum(axis=1, keepdims=True)
    return -np.log(np.clip(scores[np.arange(len(labels)), labels], 1e-7, 1.0))


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
