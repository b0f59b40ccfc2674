"""What the suites of image classifiers share: asking for scores, and reading the record of the training.

A suite composes these; what a part is worth is its own business. Everything from the record of training is observed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from grader.checks.asserts import Floats, Parts, as_array, assert_close, require
from grader.checks.student import Model, Student
from grader.heldout import Drawn, Heldout

#: How far the weight that moved most must have come. Ten steps of a dense network for 28 x 28 pixels move it by 1e-2 (SGD with
#: rate 0.01, Adam) or 2e-3 (SGD with rate 0.001): measured; what saving and loading changes is exactly 0.
LEAST_MOVE = 1e-4
#: What brings pixels to small numbers inside a model: layers, and the operations of ``inputs / 255`` and its like.
SCALING = frozenset(
    {
        "Rescaling",
        "Normalization",
        "BatchNormalization",
        "LayerNormalization",
        "TrueDivide",
        "Divide",
        "Multiply",
    }
)


def scores(model: Model, inputs: Drawn, classes: int) -> Floats:
    """The model's numbers for each image, shape (n, classes): probabilities or logits, the largest decides."""
    return as_array(model.predict(inputs), (len(inputs), classes), "the predictions")


def scales_inside(model: Model) -> bool:
    """Whether the model scales its inputs itself, before its first dense or convolutional layer.

    Whatever comes before (a reshape, an augmentation) and however deep a model lies in another.
    """
    kinds = model.description().get("kinds")
    for kind in kinds if isinstance(kinds, list) else []:
        if kind in SCALING:
            return True
        if "Dense" in str(kind) or "Conv" in str(kind):
            return False
    return False


def are_probabilities(rows: Floats) -> bool:
    """Whether every row lies within 0 and 1 and adds up to 1."""
    return bool(rows.min() >= -1e-6 and rows.max() <= 1 + 1e-6 and np.abs(rows.sum(axis=1) - 1).max() < 1e-3)


def probability_parts(model: Model, images: Heldout, whole: Floats, *, rows: float, batches: float) -> Parts:
    """The parts of "rows are probabilities": the vectors, the same answer in every batch, different ones for different images.

    ``whole`` are the scores of ``images``; ``rows`` and ``batches`` are the weights of the first two parts, the third has 2.
    """
    classes = whole.shape[1]
    parts = Parts()
    parts.add(
        "every row lies between 0 and 1 and adds up to 1",
        are_probabilities(whole),
        weight=rows,
        hint="End the model with softmax. A model of logits can be completed after the training: "
        "model = keras.Sequential([model, keras.layers.Softmax()])",
    )
    parts.add(
        "an image gets the same answer in every batch",
        all(
            np.allclose(scores(model, images.inputs.subset(size), classes), whole[:size], rtol=1e-3, atol=1e-4)
            for size in (1, 2, images.batch_size)
        ),
        weight=batches,
        hint="What the model says of one image must not depend on the other images of the batch.",
    )
    parts.add(
        "different images get different answers",
        float(np.ptp(whole, axis=0).max()) > 1e-3,
        weight=2,
        hint="The model says the same of every image: it has learnt nothing from the pixels.",
    )
    return parts


def assert_saved_is_model(student: Student, path: str, model: Model, inputs: Drawn, classes: int) -> None:
    """The whole model saved at ``path`` loads without the notebook's code and predicts what ``model`` predicts."""
    saved = student.files.first(path).load_model()
    assert_close(
        scores(saved, inputs, classes),
        scores(model, inputs, classes),
        rtol=1e-3,
        atol=1e-4,
        what="the predictions of the file",
        hint="The file holds another model, or the model as it was before the training was over.",
    )


# ---------------------------------------------------------------- the record of training


def moved(training: dict[str, Any]) -> bool:
    """Whether training changed the weights, from ``Model.training()``.

    A model without an input shape gets its first weights inside `fit`, where their values cannot be read: that they
    were trained at all has to do ("unseen").
    """
    change = training.get("moved")
    return change > LEAST_MOVE if isinstance(change, float) else bool(training.get("unseen"))


def require_moved(training: dict[str, Any]) -> None:
    """Fails the check of a model whose weights no training changed."""
    seen = isinstance(training.get("moved"), float)
    require(
        moved(training),
        "the weights of the model are those it began with" if seen else "no training was seen",
        expected="weights that training changed",
    )


def fits(student: Student, model: Model) -> list[dict[str, Any]]:
    """The records of this model's calls of `fit`; of all in the notebook where the model is wrapped in another since."""
    training = model.training()
    found = training.get("fits")
    if not found and moved(training):
        found = student.facts.observed.get("fits")
    return [fit for fit in found if isinstance(fit, dict)] if isinstance(found, list) else []


def epoch_losses(records: list[dict[str, Any]]) -> list[float]:
    """The training loss of every epoch, over all these calls of `fit`."""
    losses: list[float] = []
    for fit in records:
        series = fit["logs"].get("loss") if isinstance(fit.get("logs"), dict) else None
        losses += [value for value in series if isinstance(value, float)] if isinstance(series, list) else []
    return losses


def fell(losses: list[float], classes: int) -> bool:
    """Whether a cross-entropy fell: by a tenth since the first epoch, or in a single one clearly below guessing."""
    if len(losses) > 1:
        return math.isfinite(losses[-1]) and min(losses[1:]) < 0.9 * losses[0]
    return bool(losses) and losses[0] < 0.8 * math.log(classes)
