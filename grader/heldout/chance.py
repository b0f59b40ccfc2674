"""All randomness of a draw, from the course secret, exactly repeatable.

A seed is HMAC-SHA256(secret, parts). Numbers come from PCG64's raw 64-bit stream, which NumPy promises never to
change; its distributions (``permutation``, ``normal``) carry no such promise, and a regrade must be exact even after an
upgrade.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def seed_of(secret: str, *parts: str) -> int:
    """A 256-bit seed. The parts are framed as JSON, so ("ab", "c") and ("a", "bc") differ."""
    return int.from_bytes(hmac.digest(secret.encode(), json.dumps(parts).encode(), hashlib.sha256))


def short(seed: int) -> str:
    """A label for a seed that says nothing about it."""
    return hashlib.sha256(seed.to_bytes(32)).hexdigest()[:16]


def uniform(seed: int, rows: int, columns: int) -> Floats:
    """Numbers in [0, 1), one row each; row i does not depend on how many rows are asked for."""
    raw = np.random.PCG64(seed).random_raw(rows * columns)
    return (raw >> np.uint64(11)).astype(np.float64).reshape(rows, columns) * 2.0**-53


@functools.lru_cache(maxsize=2)  # every part and scale of one submission's draw asks for the same two orders
def permutation(seed: int, count: int) -> Rows:
    """0 … count-1 in a drawn order; read-only."""
    order = np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")
    order.flags.writeable = False
    return order


def stratified(seed: int, strata: NDArray[Any], count: int) -> Rows:
    """``count`` rows, each stratum in proportion (largest remainders get the odd ones), in a drawn order."""
    values, sizes = np.unique(strata, return_counts=True)
    exact = sizes * (count / len(strata))
    quota = np.floor(exact).astype(int)
    quota[np.argsort(quota - exact, kind="stable")[: count - quota.sum()]] += 1
    order = permutation(seed, len(strata))
    chosen = [order[strata[order] == value][:many] for value, many in zip(values, quota, strict=True)]
    rows = np.concatenate(chosen)
    return rows[permutation(seed + 1, len(rows))]
