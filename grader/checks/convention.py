"""The input convention: in which range of pixels, or filled up on which side, a model wants to be asked.

A model trained on 0-255 pixels scores 0.92 on them and 0.78 when asked in 0-1 (measured). The record of its last fit
tells the range it was trained on; hidden images are asked in that one, and the card says so.
"""

from __future__ import annotations

from typing import Any

from grader.checks.asserts import as_array
from grader.checks.student import Model
from grader.heldout import Heldout

#: MNIST with mean 0 and sd 1 ends at 2.82, Fashion-MNIST at 2.02. Every pixel standardised on its own goes far
#: beyond, and is no straight line: such a model is asked in 0 to 1, which the contract says.
WIDEST = 4.0
#: Images that are asked in two ranges to tell which one a model knows, and how much better is clearly better.
ASKED = 300
CLEARLY = 0.1


def as_trained(model: Model, heldout: Heldout) -> Heldout:
    """The draw with pixels in the range of the model's last fit: 0 to 1 (default), 0 to 255, or one centred on 0.

    Reviews are filled up with zeros on the side of the model's last fit.

    All scalings of whole images are straight lines from grey value to number, x / 127.5 - 1 and (x - mean) / sd
    alike, so the lowest and the highest value tell which.
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
    return heldout


def at_home(model: Model, heldout: Heldout) -> Heldout:
    """The draw in the range of pixels that the model was trained on, also where no range was recorded.

    Of a tf.data data set or a loop of the student's own nothing is recorded: there it is the range in which the model
    reads clearly better. One trained on 0-1 reads about as well in 0-255; one trained on 0-255 reads 10 % of MNIST
    instead of 87 % in 0-1 (measured).
    """
    known = as_trained(model, heldout)
    if known is not heldout:
        return known
    greys = heldout.scaled(0.0, 255.0)
    return greys if _share_right(model, greys) > _share_right(model, heldout) + CLEARLY else heldout


def _share_right(model: Model, heldout: Heldout) -> float:
    """The share of a few held-out images that the model gets right in this range of pixels."""
    few = heldout.subset(ASKED)
    answers = as_array(model.predict(few.inputs), (len(few), len(few.label_names)), "the predictions")
    return float((answers.argmax(axis=1) == few.labels).mean())


def trained_range(model: Model) -> tuple[float, float]:
    """(lowest, highest) input value of the last fit; (0, 1) where none was recorded.

    A model of logits that was put into another, with a softmax behind it, was never fitted itself but holds weights
    that moved: then the last fit of the notebook counts. (Trained on -1 to 1 and asked in 0 to 1, such a model got
    57 % right instead of 79 %.)

    The record is only observed, but no points rest on it: it says how to ask, not what the answer is worth.
    """
    x = _last_inputs(model)
    low, high = x.get("low"), x.get("high")
    if not isinstance(low, float | int) or not isinstance(high, float | int):
        return 0.0, 1.0
    return float(low), float(high)


def trained_padding(model: Model) -> str:
    """The side on which the rows of the last fit were filled up with zeros, "pre" or "post"; "" where it does not show."""
    x = _last_inputs(model)
    first, last = x.get("zero_first"), x.get("zero_last")
    if not isinstance(first, float) or not isinstance(last, float) or first == last:
        return ""
    return "pre" if first > last else "post"


def _last_inputs(model: Model) -> dict[str, Any]:
    """What was recorded of the inputs of the model's last fit; {} where nothing was."""
    found = model.bench.helper("live", "training", model.live, evidence=None)
    fits: Any = found.get("fits") if isinstance(found, dict) else None
    if not fits and isinstance(found, dict) and isinstance(found.get("moved"), float):
        fits = model.bench.facts.observed.get("fits")
    if not isinstance(fits, list) or not fits or not isinstance(fits[-1], dict):
        return {}
    x = fits[-1].get("x")
    return x if isinstance(x, dict) else {}
