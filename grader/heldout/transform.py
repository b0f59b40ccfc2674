"""The mild transformations that keep a table of known rows from answering, vectorised.

Strength is measured, not guessed: a shift and a rotation up to 0.5 px and 5 degrees and a brightness down to 80 %,
drawn for each image, cost an honest dense network on MNIST 0.008 of accuracy, and a nearest neighbour among 10,000
training digits 0.014. (At a fixed 80 % the neighbour loses twice that: it compares pixels, not shapes.) Parameters
are drawn row by row, so row i of a draw is the same however many rows are asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grader.datasets.read import Array, ragged
from grader.heldout.chance import Floats, permutation, uniform

Images = NDArray[np.float32]

_SHIFT, _DEGREES, _BRIGHTNESS = 0.5, 5.0, 0.8
# Columns of Auto MPG that are measured on a scale; the rest are counts and codes.
_MEASURED = (1, 2, 3, 4)


def mild_images(images: Images, seed: int) -> Images:
    """Each image shifted by at most half a pixel, turned by at most five degrees and darkened by at most a fifth."""
    drawn = uniform(seed, len(images), 4)
    swing = drawn[:, :3] * 2 - 1
    return _dim(warp(images, swing[:, :2] * _SHIFT, np.deg2rad(swing[:, 2] * _DEGREES)), drawn[:, 3], _BRIGHTNESS)


def shift_images(images: Images, seed: int, pixels: int, brightness: float) -> Images:
    """Each image moved by ``pixels`` in one of the eight directions and darkened, at most to ``brightness``."""
    steps = np.array([(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx], dtype=float)
    drawn = uniform(seed, len(images), 2)
    chosen = steps[(drawn[:, 0] * len(steps)).astype(int)]
    return _dim(warp(images, chosen * pixels, np.zeros(len(images))), drawn[:, 1], brightness)


def _dim(images: Images, drawn: Floats, lowest: float) -> Images:
    factor = (1 - drawn * (1 - lowest)).astype(np.float32)
    return images * factor[:, None, None]


def warp(images: Images, shifts: Floats, angles: Floats) -> Images:
    """Every image turned about its centre, then moved by (down, right) pixels, bilinear; outside it is black."""
    out = np.empty_like(images)
    # 512 images at a time stay in the processor's cache: twice as fast as all at once.
    for start in range(0, len(images), 512):
        part = slice(start, start + 512)
        out[part] = _warp(images[part], shifts[part].astype(np.float32), angles[part].astype(np.float32))
    return out


def _warp(images: Images, shifts: NDArray[np.float32], angles: NDArray[np.float32]) -> Images:
    count, height, width = images.shape
    middle_y, middle_x = np.float32((height - 1) / 2), np.float32((width - 1) / 2)
    y = (np.arange(height, dtype=np.float32) - middle_y)[None, :, None] - shifts[:, 0, None, None]
    x = (np.arange(width, dtype=np.float32) - middle_x)[None, None, :] - shifts[:, 1, None, None]
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    # Where each output pixel comes from, in a frame with two black pixels around so that no index falls outside.
    from_y = np.clip(cos * y + sin * x + middle_y + 2, 0, height + 2)
    from_x = np.clip(cos * x - sin * y + middle_x + 2, 0, width + 2)
    top, left = from_y.astype(np.int32), from_x.astype(np.int32)
    down, right = from_y - top, from_x - left
    stride = width + 4
    flat = np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(-1)
    at = (np.arange(count, dtype=np.int32) * ((height + 4) * stride))[:, None, None] + top * stride + left
    upper = flat[at] * (1 - right) + flat[at + 1] * right
    lower = flat[at + stride] * (1 - right) + flat[at + stride + 1] * right
    blended: Images = upper * (1 - down) + lower * down
    return blended


def noisy_table(rows: NDArray[np.float32], seed: int, dataset: str) -> NDArray[np.float32]:
    """Measurement noise: half the last digit for flowers (0.05 cm), one percent for a car's measured columns."""
    noise = (uniform(seed, len(rows), rows.shape[1]) * 2 - 1).astype(np.float32)
    if dataset == "iris":
        return rows + noise * np.float32(0.05)
    factor = np.ones_like(rows)
    factor[:, _MEASURED] += noise[:, _MEASURED] * np.float32(0.01)
    return rows * factor


def drop_tokens(reviews: Array, seed: int, share: float = 0.05) -> Array:
    """Each review without that share of its tokens, rounded up; at least one token stays."""
    seeds = np.random.PCG64(seed).random_raw(len(reviews))
    kept = []
    for review, own in zip(reviews, seeds, strict=True):
        drop = min(int(np.ceil(len(review) * share)), len(review) - 1)
        kept.append(np.delete(review, permutation(int(own), len(review))[:drop]) if drop > 0 else review)
    return ragged(kept)
