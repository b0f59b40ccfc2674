"""Which rows are withheld: one division per data set and course, drawn from the course secret.

Half of the test split of images and reviews is withheld, 30 flowers of iris and 78 cars of Auto MPG. A row whose
inputs occur twice in the data set is never withheld: its twin would be lying in the sandbox (iris has three equal
flowers, IMDB some hundred equal reviews).
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass

import numpy as np

from grader.datasets import Source, Split, known, load
from grader.datasets.read import Array
from grader.errors import DataError
from grader.heldout.chance import Rows, seed_of, stratified


@dataclass(frozen=True)
class Division:
    """``withheld`` is what only the trusted side has; ``train`` and ``test`` are what may be mounted, not yet tiled."""

    withheld: Split
    train: Split
    test: Split


@functools.lru_cache(maxsize=4)
def divide(source: Source, secret: str) -> Division:
    """The course's division of that data."""
    dataset, data = known(source.dataset), load(source)
    seed = seed_of(secret, "withheld", source.dataset, source.tier.value)
    count = dataset.withheld[source.tier]
    if dataset.kind != "table":
        pool, mounted = data.test, data.train
        free = _unique(pool, data.train)
    else:
        pool = _joined(data.train, data.test)
        mounted = pool.take(np.arange(0))
        free = _unique(pool, mounted)
    strata = pool.inputs[:, -1] if dataset.id == "auto_mpg" else pool.labels
    if len(free) < count:
        raise DataError(f"the {dataset.id} data repeats its rows: none are left to withhold", where=str(source.folder))
    withheld = free[stratified(seed, strata[free], count)]
    rest = np.setdiff1d(np.arange(len(pool)), withheld)
    if dataset.id == "iris":
        test = rest[stratified(seed_of(secret, "iris test"), pool.labels[rest], 24)]
        train_rows = np.setdiff1d(rest, test)
        # The tutorial's files are shuffled; sorted by species they would train badly in small batches.
        train_rows = train_rows[stratified(seed_of(secret, "iris train"), pool.labels[train_rows], len(train_rows))]
        return Division(pool.take(withheld), pool.take(train_rows), pool.take(test))
    if dataset.kind == "table":
        return Division(pool.take(withheld), pool.take(rest), mounted)
    return Division(pool.take(withheld), mounted, pool.take(rest))


def _joined(one: Split, two: Split) -> Split:
    """Both splits as one."""
    return Split(
        np.concatenate([one.inputs, two.inputs]), np.concatenate([one.labels, two.labels]), one.lines + two.lines
    )


def _unique(pool: Split, other: Split) -> Rows:
    """The rows of ``pool`` whose inputs occur once in both splits together."""
    keys = [_bytes(row) for row in pool.inputs]
    seen = Counter(keys)
    seen.update(_bytes(row) for row in other.inputs)
    return np.array([at for at, key in enumerate(keys) if seen[key] == 1], dtype=np.int64)


def _bytes(row: Array) -> bytes:
    return np.ascontiguousarray(row).tobytes()
