"""Reviews as Keras encodes them: 0 padding, 1 start, 2 unknown, 3 unused, words from 4 on by frequency."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grader.datasets.read import Array, ragged

_START, _UNKNOWN, _FIRST = 1, 2, 3


def encode(reviews: Array, words: int = 10_000) -> Array:
    """Raw ids as ``imdb.load_data(num_words=words)`` gives them."""
    rows = []
    for review in reviews:
        moved = np.concatenate([[_START], review.astype(np.int64) + _FIRST])
        rows.append(np.where(moved < words, moved, _UNKNOWN).astype(np.int32))
    return ragged(rows)


def pad(reviews: Array, length: int = 256, padding: str = "post", truncating: str = "pre") -> NDArray[np.int32]:
    """One row each, filled with 0 on one side and cut on one side; the defaults are the tutorial's."""
    out = np.zeros((len(reviews), length), dtype=np.int32)
    for row, review in zip(out, reviews, strict=True):
        kept = review[:length] if truncating == "post" else review[-length:]
        if padding == "post":
            row[: len(kept)] = kept
        else:
            row[length - len(kept) :] = kept
    return out
