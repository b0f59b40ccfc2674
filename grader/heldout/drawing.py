"""What one submission is asked about: rows, order, transformation and seeds, drawn from its hash.

The same bytes meet the same draw, so grading again gives the same score; another attempt meets another. Nothing is
computed until an array is asked for: a regrade knows questions by ``Drawn.key`` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grader.datasets import DataSet, Source, Split, known
from grader.heldout import transform
from grader.heldout.chance import Rows, permutation, seed_of, short
from grader.heldout.division import Division, divide
from grader.heldout.reviews import encode, pad

# A drawn subset, so that two attempts do not meet the same digits; small tables are asked whole.
_SUBSET = 0.8


@dataclass(frozen=True)
class Drawn:
    """An array that is made when asked for. Equal keys mean equal arrays, today and after an upgrade."""

    key: str
    count: int
    make: Callable[[], NDArray[Any]] = field(repr=False, compare=False)

    def __len__(self) -> int:
        return self.count

    @cached_property
    def _made(self) -> NDArray[Any]:
        made = self.make()
        made.flags.writeable = False
        return made

    def array(self) -> NDArray[Any]:
        """The values, read-only: float32, or int32 for token ids."""
        return self._made

    def subset(self, n: int) -> Drawn:
        """The first ``n`` rows; rows are in drawn order already."""
        n = min(n, self.count)
        return Drawn(f"{self.key}[:{n}]", n, lambda: np.array(self.array()[:n]))

    def scaled(self, low: float, high: float) -> Drawn:
        """Values of 0..1 stretched to low..high."""
        factor, base = np.float32(high - low), np.float32(low)
        return Drawn(f"{self.key}*{low:g}..{high:g}", self.count, lambda: self.array() * factor + base)

    def shaped(self, *shape: int) -> Drawn:
        """Each row in that shape: ``shaped(784)``, ``shaped(28, 28, 1)``."""
        text = "x".join(map(str, shape))
        return Drawn(f"{self.key}@{text}", self.count, lambda: self.array().reshape(self.count, *shape).copy())


@dataclass(frozen=True)
class Heldout:
    """The held-out data of one submission. Labels and expected values never leave the trusted side."""

    lab_id: str
    source: Source
    secret: str = field(repr=False)
    submission: str
    count: int
    low: float = 0.0
    high: float = 1.0
    padding: str = "post"

    def __len__(self) -> int:
        return self.count

    @property
    def dataset(self) -> DataSet:
        """The facts of the data set."""
        return known(self.source.dataset)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the classes, in label order; empty for a regression."""
        return self.dataset.label_names

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of a table's input columns."""
        return self.dataset.columns

    @property
    def seed(self) -> int:
        """The kernel's random seed, 31 bits."""
        return self._seed("kernel") % 2**31

    @property
    def batch_size(self) -> int:
        """How many rows to ask for at once when the answer must not depend on it."""
        return 17 + self._seed("batch") % 48

    @property
    def inputs(self) -> Drawn:
        """The withheld rows, mildly transformed, in drawn order."""
        return self._drawn("inputs", self._transformed)

    @property
    def plain(self) -> Drawn:
        """The same rows untransformed."""
        return self._drawn("plain", lambda: self._values(self._withheld))

    @cached_property
    def labels(self) -> NDArray[Any]:
        """The labels of ``inputs``, ``plain`` and ``shifted``, row for row."""
        return self._division.withheld.labels[self._drawn_rows]

    @property
    def public_inputs(self) -> Drawn:
        """Untransformed rows of the mounted half: what the student could have seen."""
        return self._drawn("public", lambda: self._values(self._public), self._public_count)

    @cached_property
    def public_labels(self) -> NDArray[Any]:
        """The labels of ``public_inputs``."""
        return self._public.labels

    def shifted(self, pixels: int = 1, brightness: float = 0.7) -> Drawn:
        """The withheld images moved by whole pixels and darkened, for a robustness check."""
        if self.dataset.kind != "image":
            raise TypeError(f"{self.dataset.id} has no pixels to shift")
        seed = self._seed("shifted")
        return self._drawn(
            f"shifted({pixels},{brightness:g})",
            lambda: self._stretch(transform.shift_images(self._pixels(), seed, pixels, brightness)),
        )

    def subset(self, n: int) -> Heldout:
        """The first ``n`` rows of this draw, inputs and labels alike."""
        return replace(self, count=min(n, self.count))

    def scaled(self, low: float, high: float) -> Heldout:
        """The same draw with pixels in low..high instead of 0..1."""
        return replace(self, low=low, high=high)

    def filled(self, padding: str) -> Heldout:
        """The same draw with reviews filled up on that side, "pre" or "post" (default)."""
        return replace(self, padding=padding)

    def reviews(self) -> list[list[int]]:
        """The withheld reviews as lists of Keras ids (start 1, unknown 2, words from 4), tokens dropped, not padded."""
        dropped = transform.drop_tokens(self._withheld.inputs, self._seed("transform"))
        return [row.tolist() for row in encode(dropped)]

    def padded(self, length: int = 256, padding: str = "post", truncating: str = "pre", words: int = 10_000) -> Drawn:
        """The reviews as a matrix of ids, filled with 0 and cut on the sides named as in ``pad_sequences``."""
        seed = self._seed("transform")
        return self._drawn(
            f"padded({length},{padding},{truncating},{words})",
            lambda: pad(encode(transform.drop_tokens(self._withheld.inputs, seed), words), length, padding, truncating),
        )

    # ------------------------------------------------------------ how it is made

    def _seed(self, purpose: str) -> int:
        return seed_of(self.secret, self.lab_id, self.submission, purpose)

    def _drawn(self, name: str, make: Callable[[], NDArray[Any]], count: int | None = None) -> Drawn:
        # The content of the data and the division belong to the key: other data, other answers.
        seed = short(seed_of(self.secret, self.lab_id, self.submission, self.source.tier.value, self.source.digest))
        rows = self.count if count is None else count
        scale = "" if (self.low, self.high) == (0.0, 1.0) else f"*{self.low:g}..{self.high:g}"
        scale += "" if self.padding == "post" else f"|{self.padding}"
        return Drawn(f"{self.dataset.id}:{self.source.tier.value}:{name}:{seed}:{rows}{scale}", rows, make)

    @property
    def _division(self) -> Division:
        return divide(self.source, self.secret)

    @cached_property
    def _withheld(self) -> Split:
        return self._division.withheld.take(self._drawn_rows)

    @cached_property
    def _drawn_rows(self) -> Rows:
        return self._order("order", self.dataset.withheld[self.source.tier], self.count)

    @property
    def _public_count(self) -> int:
        return min(self.count, mounted_rows(self.source))

    @cached_property
    def _public(self) -> Split:
        parts = self._division
        half = parts.test if len(parts.test) else parts.train
        return half.take(self._order("public", len(half), self._public_count))

    def _order(self, purpose: str, rows: int, count: int) -> Rows:
        return permutation(self._seed(purpose), rows)[:count]

    def _pixels(self) -> NDArray[np.float32]:
        return self._withheld.inputs.astype(np.float32) / np.float32(255)

    def _stretch(self, values: NDArray[np.float32]) -> NDArray[Any]:
        if (self.low, self.high) == (0.0, 1.0):
            return values
        return values * np.float32(self.high - self.low) + np.float32(self.low)

    def _values(self, split: Split) -> NDArray[Any]:
        if self.dataset.kind == "image":
            return self._stretch(split.inputs.astype(np.float32) / np.float32(255))
        return pad(encode(split.inputs), padding=self.padding) if self.dataset.kind == "text" else split.inputs

    def _transformed(self) -> NDArray[Any]:
        seed = self._seed("transform")
        if self.dataset.kind == "image":
            return self._stretch(transform.mild_images(self._pixels(), seed))
        if self.dataset.kind == "text":
            return pad(encode(transform.drop_tokens(self._withheld.inputs, seed)), padding=self.padding)
        return transform.noisy_table(self._withheld.inputs, seed, self.dataset.id)


def draw(lab_id: str, source: Source, secret: str, submission_sha: str) -> Heldout:
    """The held-out data that these bytes meet in this lab."""
    dataset = known(source.dataset)
    rows = dataset.withheld[source.tier]
    count = rows if dataset.kind == "table" else round(rows * _SUBSET)
    return Heldout(lab_id, source, secret, submission_sha, count)


def mounted_rows(source: Source) -> int:
    """How many different rows of the mounted half there are, without opening the data."""
    dataset = known(source.dataset)
    if dataset.id == "iris":
        return 24
    train, test = dataset.rows[source.tier]
    return (test or train) - dataset.withheld[source.tier]
