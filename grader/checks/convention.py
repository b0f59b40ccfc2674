"""The input convention: in which range of pixels a model wants to be asked.

A model trained on 0-255 pixels scores 0.92 on them and 0.78 when asked in 0-1 (measured). The record of its last fit
tells the range it was trained on; hidden images are asked in that one, and the card says so.
"""

from __future__ import annotations

from typing import Any

from grader.checks.student import Model
from grader.heldout import Heldout


def as_trained(model: Model, heldout: Heldout) -> Heldout:
    """The draw with pixels in the range of the model's last fit: 0 to 1 (default), -1 to 1, or 0 to 255."""
    if heldout.dataset.kind != "image":
        return heldout
    low, high = trained_range(model)
    if high > 2.0:
        return heldout.scaled(0.0, 255.0)
    if low < -0.2:
        return heldout.scaled(-1.0, 1.0) if high <= 1.01 else heldout
    return heldout


def trained_range(model: Model) -> tuple[float, float]:
    """(lowest, highest) input value of the last fit; (0, 1) where none was recorded."""
    fits: Any = model.training().get("fits")
    if not isinstance(fits, list) or not fits or not isinstance(fits[-1], dict):
        return 0.0, 1.0
    x = fits[-1].get("x")
    low, high = (x.get("low"), x.get("high")) if isinstance(x, dict) else (None, None)
    if not isinstance(low, float | int) or not isinstance(high, float | int):
        return 0.0, 1.0
    return float(low), float(high)
