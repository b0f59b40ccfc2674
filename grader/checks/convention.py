"""The input convention: in which range of pixels, or filled up on which side, a model wants to be asked.

A model trained on 0-255 pixels scores 0.92 on them and 0.78 when asked in 0-1 (measured). The record of its last fit
tells the range it was trained on; hidden images are asked in that one.

Of a tf.data data set, a generator or a loop of the notebook's own no range is recorded. To look into a pipeline is to
run it: that moves a shuffle on, calls a generator's code and pays for an expensive step once more, and a look at the
batches that pass by would change the graph of every step. So nothing of a pipeline is touched. Instead the model is
asked a few images in each of the usual ranges, and is at home where it reads best. That serves every way of training,
is asked in the clean sandbox and judged by labels that never leave the trusted side, and no record has to be believed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from grader.checks.asserts import as_array
from grader.checks.marks import CheckFailed
from grader.checks.student import Model
from grader.heldout import Heldout

#: MNIST with mean 0 and sd 1 ends at 2.82, Fashion-MNIST at 2.02. Every pixel standardised on its own goes far
#: beyond, and is no straight line: such a model is asked where it reads best.
WIDEST = 4.0
#: Images that are asked in several ranges to tell which one a model knows: all 800 or 520 of the lite tier.
ASKED = 1000
#: Grey values must be read so much better than 0 to 1. One trained on 0-1 reads about as well in 0-255 (within 0.02), one
#: trained on 0-255 reads 0.09 to 0.14 in 0-1 instead of 0.61 to 0.92 (dense networks on MNIST and Fashion-MNIST, a
#: convolutional one on MNIST), and for raw grey values points are lost.
CLEARLY = 0.1
#: A range around 0 costs nobody anything, so it need only be better beyond chance, by this many standard errors of the
#: images that one range gets right and the other does not. By CLEARLY a dense network for -1 to 1 would be asked in 0-1,
#: where it reads 0.89 of MNIST instead of 0.92: all of the points between floor and full mark.
BEYOND_CHANCE = 2.0


def as_trained(model: Model, heldout: Heldout) -> Heldout:
    """The draw with pixels in the range the model was trained on: 0 to 1 (default), 0 to 255, or one centred on 0.

    Reviews are filled up with zeros on the side of the model's last fit.

    All scalings of whole images are straight lines from grey value to number, x / 127.5 - 1 and (x - mean) / sd
    alike, so the lowest and the highest value tell which. Where they were not recorded, a classifier is asked.
    """
    if heldout.dataset.kind == "text":
        return heldout.filled(trained_padding(model) or heldout.padding)
    if heldout.dataset.kind != "image":
        return heldout
    low, high = trained_range(model)
    if low < -0.2 and 0.2 < high <= WIDEST:
        return heldout.scaled(low, high)
    if low > -0.2 and high > 2.0:
        return heldout.scaled(0.0, 255.0)
    if not heldout.label_names or (low > -0.2 and _has_range(_own_inputs(model))):
        return heldout
    return _where_it_reads_best(model, heldout)


def _where_it_reads_best(model: Model, heldout: Heldout) -> Heldout:
    """The draw in that of the usual ranges in which the model gets most images right; 0 to 1 where none is better."""
    pixels = heldout.public_inputs.array()
    mean, sd = float(pixels.mean()), float(pixels.std()) or 1.0
    unit = _right(model, heldout)
    if unit is None:
        return heldout
    home, best = heldout, unit
    for low, high in ((-1.0, 1.0), (-mean / sd, (1.0 - mean) / sd)):
        right = _right(model, heldout.scaled(low, high))
        if right is not None and _better(right, unit) and right.sum() > best.sum():
            home, best = heldout.scaled(low, high), right
    greys = _right(model, heldout.scaled(0.0, 255.0))
    if greys is not None and greys.mean() > unit.mean() + CLEARLY and _better(greys, best):
        return heldout.scaled(0.0, 255.0)
    return home


def _right(model: Model, heldout: Heldout) -> npt.NDArray[np.bool_] | None:
    """Which of a few images the model gets right; None where it gives no scores, which its checks will say."""
    few = heldout.subset(ASKED)
    try:
        answers = as_array(model.predict(few.inputs), (len(few), len(few.label_names)), "the predictions")
    except CheckFailed:
        return None
    return np.asarray(answers.argmax(axis=1) == few.labels)


def _better(right: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> bool:
    """Whether more are right beyond chance: of the images on which both agree nothing is learnt."""
    won, lost = int((right & ~other).sum()), int((other & ~right).sum())
    return won - lost > BEYOND_CHANCE * math.sqrt(won + lost)


def trained_range(model: Model) -> tuple[float, float]:
    """(lowest, highest) input value of the last fit; (0, 1) where none was recorded.

    A model of logits that was put into another, with a softmax behind it, was never fitted itself but holds weights
    that moved: then the last fit of the notebook counts. (Trained on -1 to 1 and asked in 0 to 1, such a model got
    57 % right instead of 79 %.)

    The record is only observed, but no points rest on it: it says how to ask, not what the answer is worth.
    """
    x = _last_inputs(model)
    return (float(x["low"]), float(x["high"])) if _has_range(x) else (0.0, 1.0)


def _has_range(x: dict[str, Any]) -> bool:
    return isinstance(x.get("low"), float | int) and isinstance(x.get("high"), float | int)


def trained_padding(model: Model) -> str:
    """The side on which the rows of the last fit were filled up with zeros, "pre" or "post"; "" where it does not show."""
    x = _last_inputs(model)
    first, last = x.get("zero_first"), x.get("zero_last")
    if not isinstance(first, float) or not isinstance(last, float) or first == last:
        return ""
    return "pre" if first > last else "post"


def _last_inputs(model: Model) -> dict[str, Any]:
    """What was recorded of the inputs of the model's last fit, or of the notebook's where it is wrapped; {} where nothing was."""
    own, record = _own_inputs(model), _record(model)
    if own or record.get("fits") or not isinstance(record.get("moved"), float):
        return own
    return _inputs(model.bench.facts.observed.get("fits"))


def _own_inputs(model: Model) -> dict[str, Any]:
    """What was recorded of the inputs of this very model's last fit; {} where nothing was."""
    return _inputs(_record(model).get("fits"))


def _record(model: Model) -> dict[str, Any]:
    found = model.bench.helper("live", "training", model.live, evidence=None)
    return found if isinstance(found, dict) else {}


def _inputs(fits: Any) -> dict[str, Any]:
    x: Any = fits[-1].get("x") if isinstance(fits, list) and fits and isinstance(fits[-1], dict) else None
    return x if isinstance(x, dict) else {}
