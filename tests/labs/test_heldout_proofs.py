"""What a cheat could carry earns nothing: tables, constants and copies of the public data, against each lab's own draw.

The answers here are made with NumPy and scikit-learn from what a notebook can see, that is from the mounted copy, and
scored with the lab's own thresholds by the rubric: no kernel is needed to know what they are worth. The full data are
used where GRADER_DATA names them, the lite data always.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from grader import datasets, heldout
from grader.datasets import known
from grader.heldout.division import divide
from grader.heldout.reviews import encode
from grader.labs import load_lab
from grader.records import Tier
from grader.rubric import accuracy_credit

ROOT = Path(__file__).parents[2]
REAL = os.environ.get("GRADER_DATA", "")
FULL = [
    pytest.mark.skipif(not REAL, reason="GRADER_DATA names no folder with the full data"),
    pytest.mark.slow,
]
TIERS = [Tier.LITE, pytest.param(Tier.FULL, marks=FULL)]
#: The labs that ask for accuracy on withheld rows of a data set with a public test split.
IMAGES = ("mnist", "fashion_mnist", "cnn")
LABS = (*IMAGES, "imdb")
DRAWS = tuple(str(digit) * 64 for digit in range(3))


@pytest.fixture(scope="module")
def course():
    """(lab, source, division) of each lab and tier, made once."""
    made = {}

    def get(lab_id, tier):
        if (lab_id, tier) not in made:
            lab = load_lab(ROOT / "labs" / lab_id)
            source = datasets.resolve(lab.data, Path(REAL) if tier is Tier.FULL else None, tier)
            made[lab_id, tier] = lab, source, divide(source, "a course's secret")
        return made[lab_id, tier]

    return get


def draws(lab, source):
    return [heldout.draw(lab.id, source, "a course's secret", sha) for sha in DRAWS]


def credit(chosen, drawn, threshold):
    return accuracy_credit(int((chosen == drawn.labels).sum()), len(drawn), threshold).fraction


def rows_of(drawn):
    """What the model is asked: one row each, as bytes where a table has to find it again."""
    if drawn.dataset.kind == "text":
        return [np.array(row) for row in drawn.reviews()]
    return list(np.rint(drawn.inputs.array() * 255).astype(np.uint8))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("lab_id", LABS)
def test_a_perfect_table_of_the_public_test_set_earns_nothing(course, lab_id, tier):
    """Every row of the whole public test split with its label, found again byte by byte: below or at the floor."""
    lab, source, parts = course(lab_id, tier)
    threshold = lab.threshold(tier, "accuracy")
    text = known(source.dataset).kind == "text"
    for drawn in draws(lab, source):
        table = {}
        for split in (parts.test, parts.withheld):
            rows = encode(split.inputs) if text else split.inputs
            table |= {np.asarray(row).tobytes(): int(label) for row, label in zip(rows, split.labels, strict=True)}
        guess = int(np.bincount(parts.test.labels.astype(int)).argmax())
        answers = np.array([table.get(row.tobytes(), guess) for row in rows_of(drawn)])
        assert credit(answers, drawn, threshold) == 0, f"{(answers == drawn.labels).mean():.3f}"


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("lab_id", [*LABS, "iris"])
def test_a_constant_earns_nothing(course, lab_id, tier):
    """Whatever one class is answered for every row."""
    lab, source, _ = course(lab_id, tier)
    threshold = lab.threshold(tier, "accuracy")
    for drawn in draws(lab, source):
        for label in np.unique(drawn.labels):
            assert credit(np.full(len(drawn), label), drawn, threshold) == 0


def features(images):
    return np.asarray(images, dtype=np.float32).reshape(len(images), -1) / np.float32(255)


def nearest(known_rows, known_labels, asked):
    """The label of the nearest known row for each row asked."""
    lengths = (known_rows**2).sum(axis=1)
    chosen = [(lengths - 2 * part @ known_rows.T).argmin(axis=1) for part in np.array_split(asked, 20)]
    return known_labels[np.concatenate(chosen)]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("lab_id", IMAGES)
def test_a_nearest_neighbour_copy_of_the_mounted_test_half_does_not_pass(course, lab_id, tier):
    """All images that lie in the sandbox with a test label, compared pixel by pixel, stay below the full mark."""
    lab, source, parts = course(lab_id, tier)
    threshold = lab.threshold(tier, "accuracy")
    drawn = draws(lab, source)[0].subset(1500)
    answers = nearest(features(parts.test.inputs), parts.test.labels, drawn.inputs.array().reshape(len(drawn), -1))
    assert (answers == drawn.labels).mean() < threshold.full
    assert credit(answers, drawn, threshold) < 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # fifteen steps are enough to compare
@pytest.mark.parametrize("lab_id", IMAGES)
def test_training_on_the_mounted_test_half_gains_no_more_than_as_many_other_rows(course, lab_id):
    """What is mounted of the test split is worth as much as other images of the same kind: its labels give nothing away.

    Two linear models, the same number of training images; one has all of the mounted half among them. On the withheld
    half the two differ by no more than three standard errors of the difference.
    """
    lab, source, parts = course(lab_id, Tier.LITE)
    drawn = draws(lab, source)[0]
    asked = drawn.inputs.array().reshape(len(drawn), -1)
    extra = len(parts.test)
    with_half = (
        np.concatenate([features(parts.train.inputs[extra:]), features(parts.test.inputs)]),
        np.concatenate([parts.train.labels[extra:], parts.test.labels]),
    )
    without = features(parts.train.inputs), parts.train.labels
    right = [LogisticRegression(max_iter=15).fit(*rows).predict(asked) == drawn.labels for rows in (with_half, without)]
    gained, lost = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert gained + lost > 0
    assert gained - lost <= 3 * np.sqrt(gained + lost)  # McNemar: the two are asked the same images


def test_training_on_the_mounted_test_flowers_gains_no_more_than_as_many_others():
    """The same for iris, over sixty courses of their own withheld flowers: thirty of one course say too little."""
    lab = load_lab(ROOT / "labs" / "iris")
    source = datasets.resolve(lab.data, None, Tier.LITE)
    gained = lost = 0
    for course_number in range(60):
        secret = f"course {course_number}"
        parts = divide(source, secret)
        drawn = heldout.draw(lab.id, source, secret, DRAWS[0])
        extra = len(parts.test)
        assert extra == 24
        with_half = (
            np.concatenate([parts.train.inputs[extra:], parts.test.inputs]),
            np.concatenate([parts.train.labels[extra:], parts.test.labels]),
        )
        without = parts.train.inputs, parts.train.labels
        one, other = (
            LogisticRegression(max_iter=1000).fit(*rows).predict(drawn.inputs.array()) == drawn.labels
            for rows in (with_half, without)
        )
        gained, lost = gained + int((one & ~other).sum()), lost + int((other & ~one).sum())
    assert gained + lost > 10
    assert gained - lost <= 3 * np.sqrt(gained + lost)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("lab_id", ["iris", "auto_mpg"])
def test_no_withheld_row_of_a_table_is_mounted(course, lab_id, tier):
    """Of Auto MPG no test split is mounted at all, so there is no half of one to train on."""
    _, _, parts = course(lab_id, tier)
    mounted = {row.tobytes() for split in (parts.train, parts.test) for row in split.inputs}
    assert len(parts.withheld) == (30 if lab_id == "iris" else 78)
    assert not [row for row in parts.withheld.inputs if row.tobytes() in mounted]
    assert (len(parts.test) == 0) == (lab_id == "auto_mpg")
