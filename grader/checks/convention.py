"""The input convention: in which range of pixels a model wants to be asked.

A model trained on 0-255 pixels scores 0.92 on them and 0.78 when asked in 0-1 (measured). The record of its last fit
tells the range it was trained on; hidden images are asked in that one, and the card says so.
"""

from __future__ import annotations

from typing import Any

from grader.checks.student import Model
from grader.heldout import Heldout

#: MNIST with mean 0 and sd 1 ends at 2.82, Fashion-MNIST at 2.02. Every pixel standardised on its own goes far
#: beyond, and is no straight line: such a model is asked in 0 to 1, which the contract says.
WIDEST = 4.0


def as_trained(model: Model, heldout: Heldout) -> Heldout:
    """The draw with pixels in the range of the model's last fit: 0 to 1 (default), 0 to 255, or one centred on 0.

    All scalings of whole images are straight lines from grey value to number, x / 127.5 - 1 and (x - mean) / sd
    alike, so the lowest and the highest value tell which.
    """
    if heldout.dataset.kind != "image":
        return heldout
    low, high = trained_range(model)
    if low < -0.2 and 0.2 < high <= WIDEST:
        return heldout.scaled(low, high)
    if low > -0.2 and high > 2.0:
        return heldout.scaled(0.0, 255.0)
    return heldout


def trained_range(model: Model) -> tuple[float, float]:
    """(lowest, highest) input value of the last fit; (0, 1) where none was recorded.

    A model of logits that was put into another, with a softmax behind it, was never fitted itself but holds weights
    that moved: then the last fit of the notebook counts. (Trained on -1 to 1 and asked in 0 to 1, such a model got
    57 % right instead of 79 %.)

    The record is only observed, but no points rest on it: it says how to ask, not what the answer is worth.
    """
    found = model.bench.helper("live", "training", model.live, evidence=None)
    fits: Any = found.get("fits") if isinstance(found, dict) else None
    if not fits and isinstance(found, dict) and isinstance(found.get("moved"), float):
        fits = model.bench.facts.observed.get("fits")
    if not isinstance(fits, list) or not fits or not isinstance(fits[-1], dict):
        return 0.0, 1.0
    x = fits[-1].get("x")
    low, high = (x.get("low"), x.get("high")) if isinstance(x, dict) else (None, None)
    if not isinstance(low, float | int) or not isinstance(high, float | int):
        return 0.0, 1.0
    return float(low), float(high)
