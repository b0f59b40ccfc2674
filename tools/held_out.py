"""What a cheat could carry, against what each lab asks: the table of docs/held-out.md.

    python tools/held_out.py                       # by the data that ships
    GRADER_DATA=FOLDER python tools/held_out.py    # and by the full data

The answers are made with NumPy and scikit-learn from what a notebook can see. No kernel is started for it: what they are
worth is for the lab's thresholds to say. tests/labs/test_heldout_proofs.py wants the same figures at or below the floor.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from grader import datasets, heldout
from grader.heldout.division import Division, divide
from grader.heldout.reviews import encode
from grader.labs import load_lab
from grader.records import Tier

ROOT = Path(__file__).resolve().parent.parent
#: The labs that ask for accuracy on withheld images.
IMAGES = ("mnist", "fashion_mnist", "cnn")
SECRET, SHA = "a course's secret", "0" * 64
#: Iris withholds 30 flowers: one course says too little.
COURSES = 60
Array = NDArray[Any]


class Gain(NamedTuple):
    """Rows that a model with the mounted test half got right and one without it did not, and the other way round."""

    gained: int
    lost: int
    asked: int


def features(images: Array) -> Array:
    """Images as rows of numbers from 0 to 1."""
    return np.asarray(images, dtype=np.float32).reshape(len(images), -1) / np.float32(255)


def public_table(parts: Division, drawn: heldout.Heldout) -> Array:
    """The answers of a table of the whole public test split, withheld rows and labels included, found byte by byte."""
    text = drawn.dataset.kind == "text"
    table: dict[bytes, int] = {}
    for split in (parts.test, parts.withheld):
        rows = encode(split.inputs) if text else split.inputs
        table |= {np.asarray(row).tobytes(): int(label) for row, label in zip(rows, split.labels, strict=True)}
    guess = int(np.bincount(parts.test.labels.astype(int)).argmax())
    asked = drawn.reviews() if text else np.rint(drawn.inputs.array() * 255).astype(np.uint8)
    return np.array([table.get(np.asarray(row).tobytes(), guess) for row in asked])


def nearest(known_rows: Array, known_labels: Array, asked: Array) -> Array:
    """The label of the nearest known row for each row asked."""
    lengths = (known_rows**2).sum(axis=1)
    chosen = [(lengths - 2 * part @ known_rows.T).argmin(axis=1) for part in np.array_split(asked, 20)]
    answers: Array = known_labels[np.concatenate(chosen)]
    return answers


def neighbour(parts: Division, drawn: heldout.Heldout) -> Array:
    """The answers of a copy of the mounted half of the test images, compared pixel by pixel."""
    return nearest(features(parts.test.inputs), parts.test.labels, drawn.inputs.array().reshape(len(drawn), -1))


def gain_of_images(parts: Division, drawn: heldout.Heldout) -> Gain:
    """What the mounted half is worth to a linear model of images."""
    return _gain(parts, drawn, features, drawn.inputs.array().reshape(len(drawn), -1), steps=15)  # enough to compare


def gain_of_flowers(source: datasets.Source) -> Gain:
    """The same for iris, over many courses, each with withheld flowers of its own."""
    gains = []
    for number in range(COURSES):
        secret = f"course {number}"
        drawn = heldout.draw("iris", source, secret, SHA)
        gains.append(_gain(divide(source, secret), drawn, np.asarray, drawn.inputs.array(), steps=1000))
    return Gain(*(sum(column) for column in zip(*gains, strict=True)))


def _gain(parts: Division, drawn: heldout.Heldout, as_rows: Callable[[Array], Array], asked: Array, steps: int) -> Gain:
    """Two linear models with the same number of training rows; one has all of the mounted half among them."""
    train, half = as_rows(parts.train.inputs), as_rows(parts.test.inputs)
    labels, extra = parts.train.labels, len(half)
    with_half = np.concatenate([train[extra:], half]), np.concatenate([labels[extra:], parts.test.labels])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge to be compared
        one, other = (
            LogisticRegression(max_iter=steps).fit(*rows).predict(asked) == drawn.labels
            for rows in (with_half, (train, labels))
        )
    return Gain(int((one & ~other).sum()), int((other & ~one).sum()), len(drawn))


# ---------------------------------------------------------------- the table


def rows(tier: Tier, folder: Path | None) -> Iterator[str]:
    """A line for each lab."""
    for name in (*IMAGES, "imdb", "iris"):
        lab = load_lab(ROOT / "labs" / name)
        source = datasets.resolve(lab.data, folder, tier)
        parts, drawn = divide(source, SECRET), heldout.draw(lab.id, source, SECRET, SHA)
        mark = lab.threshold(tier, "accuracy")
        constant = max(_right(np.full(len(drawn), label), drawn) for label in np.unique(drawn.labels))
        table = "–" if name == "iris" else f"{_right(public_table(parts, drawn), drawn):.3f}"
        near, gain = "–", "–"
        if name in IMAGES:
            some = drawn.subset(1500)
            near = f"{_right(neighbour(parts, some), some):.3f}"
            gain = _told(gain_of_images(parts, drawn)) if tier is Tier.LITE else "–"
        elif name == "iris":
            gain = _told(gain_of_flowers(source))
        yield (
            f"| {name} | {tier.value} | {len(drawn):,} | {mark.floor:g} | {mark.full:g} | {constant:.3f} | {table} | {near}"
            f" | {gain} |"
        )


def _right(answers: Array, drawn: heldout.Heldout) -> float:
    return float((answers == drawn.labels).mean())


def _told(gain: Gain) -> str:
    return f"+{gain.gained} −{gain.lost} of {gain.asked:,}"


def main() -> None:
    print(
        "| lab | data | asked | floor | full mark | constant | public table | nearest mounted | with the mounted half |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    full = os.environ.get("GRADER_DATA")
    for tier in (Tier.LITE, Tier.FULL) if full else (Tier.LITE,):
        for line in rows(tier, Path(full) if full and tier is Tier.FULL else None):
            print(line, flush=True)


if __name__ == "__main__":
    main()
