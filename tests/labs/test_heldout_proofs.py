"""What a cheat could carry earns nothing: tables, constants and copies of the public data, against each lab's own draw.

The answers here are made with NumPy and scikit-learn from what a notebook can see, that is from the mounted copy, and
scored with the lab's own thresholds by the rubric: no kernel is needed to know what they are worth. The full data are
used where GRADER_DATA names them, the lite data always.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from grader import datasets, heldout
from grader.heldout.division import divide
from grader.labs import load_lab
from grader.records import Tier
from grader.rubric import accuracy_credit
from tools.held_out import IMAGES, SECRET, gain_of_flowers, gain_of_images, neighbour, public_table

ROOT = Path(__file__).parents[2]
REAL = os.environ.get("GRADER_DATA", "")
FULL = [
    pytest.mark.skipif(not REAL, reason="GRADER_DATA names no folder with the full data"),
    pytest.mark.slow,
]
TIERS = [Tier.LITE, pytest.param(Tier.FULL, marks=FULL)]
#: The labs that ask for accuracy on withheld rows of a data set with a public test split.
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
            made[lab_id, tier] = lab, source, divide(source, SECRET)
        return made[lab_id, tier]

    return get


def draws(lab, source):
    return [heldout.draw(lab.id, source, SECRET, sha) for sha in DRAWS]


def credit(chosen, drawn, threshold):
    return accuracy_credit(int((chosen == drawn.labels).sum()), len(drawn), threshold).fraction


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("lab_id", LABS)
def test_a_perfect_table_of_the_public_test_set_earns_nothing(course, lab_id, tier):
    """Every row of the whole public test split with its label, found again byte by byte: below or at the floor."""
    lab, source, parts = course(lab_id, tier)
    threshold = lab.threshold(tier, "accuracy")
    for drawn in draws(lab, source):
        answers = public_table(parts, drawn)
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


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("lab_id", IMAGES)
def test_a_nearest_neighbour_copy_of_the_mounted_test_half_does_not_pass(course, lab_id, tier):
    """All images that lie in the sandbox with a test label, compared pixel by pixel, stay below the full mark."""
    lab, source, parts = course(lab_id, tier)
    threshold = lab.threshold(tier, "accuracy")
    drawn = draws(lab, source)[0].subset(1500)
    answers = neighbour(parts, drawn)
    assert (answers == drawn.labels).mean() < threshold.full
    assert credit(answers, drawn, threshold) < 1


@pytest.mark.parametrize("lab_id", [*IMAGES, "iris"])
def test_training_on_the_mounted_test_half_gains_no_more_than_as_many_other_rows(course, lab_id):
    """What is mounted of the test split is worth as much as other rows of the same kind: its labels give nothing away.

    Two linear models, the same number of training rows; one has all of the mounted half among them. On the withheld rows
    the two differ by no more than three standard errors of the difference. The imdb lab's own tests do it with word counts.
    """
    lab, source, parts = course(lab_id, Tier.LITE)
    gain = gain_of_flowers(source) if lab_id == "iris" else gain_of_images(parts, draws(lab, source)[0])
    assert gain.gained + gain.lost > (10 if lab_id == "iris" else 0)
    assert gain.gained - gain.lost <= 3 * np.sqrt(gain.gained + gain.lost)  # McNemar: the two are asked the same rows


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("lab_id", ["iris", "auto_mpg"])
def test_no_withheld_row_of_a_table_is_mounted(course, lab_id, tier):
    """Of Auto MPG no test split is mounted at all, so there is no half of one to train on."""
    _, _, parts = course(lab_id, tier)
    mounted = {row.tobytes() for split in (parts.train, parts.test) for row in split.inputs}
    assert len(parts.withheld) == (30 if lab_id == "iris" else 78)
    assert not [row for row in parts.withheld.inputs if row.tobytes() in mounted]
    assert (len(parts.test) == 0) == (lab_id == "auto_mpg")
