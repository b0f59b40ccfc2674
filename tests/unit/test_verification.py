"""What a row of a lab's verification says of the flags that were raised."""

from __future__ import annotations

import pytest

from grader.labs import load_lab
from grader.likeness import KIND
from grader.records import Ending, Environment, Flag, Level, Tier, Verdict
from grader.verification import _matrix

SUITE = '''
from grader.checks import VERIFIED, check

@check("a", points=10, evidence=VERIFIED)
def test_a(student):
    """What is asked."""
'''


def verdict(score: float, *kinds: str) -> Verdict:
    """A verdict with flags of these kinds."""
    return Verdict(
        lab="tiny",
        lab_title="Tiny",
        student="variant",
        submission="0" * 64,
        ending=Ending.OK,
        score=score,
        max_score=10.0,
        checks=(),
        level=Level.L2,
        tier=Tier.LITE,
        environment=Environment(grader="1", python="3", platform="linux"),
        timings={"total": 1.0},
        flags=tuple(Flag(kind=kind, message="told") for kind in kinds),
    )


@pytest.fixture
def rows(make_lab):
    """The rows of a matrix: one reference, one alternative and one mutant that must be flagged, with these flags."""
    lab = load_lab(make_lab(SUITE).folder)
    bands = [("reference", {}, 10, 10, ()), ("another", {}, 10, 10, ()), ("copied", {}, 0, 10, ("public gap",))]

    def made(*flags: tuple[str, ...]):
        verdicts = [verdict(10, *kinds) for kinds in flags]
        return _matrix(lab, bands, verdicts, right=2).rows

    return made


@pytest.mark.parametrize("honest", [0, 1])
def test_a_flag_on_a_notebook_that_makes_no_mistake_fails_its_row(rows, honest):
    """Full marks are not enough: staff would be told of every honest hand-in."""
    flags = [(), (), ("public gap",)]
    assert all(row.ok for row in rows(*flags))
    flags[honest] = ("predict differs",)
    row = rows(*flags)[honest]
    assert not row.ok
    assert row.unexpected_flags == ("predict differs",)
    assert row.why == "makes no mistake, but the flag predict differs was raised"


def test_a_mutant_may_be_flagged_beyond_what_it_must(rows):
    """A mistake may show in more than one way."""
    mutant = rows((), (), ("public gap", "large literal"))[2]
    assert mutant.ok
    assert mutant.flags == ("large literal", "public gap")


def test_weights_that_variants_of_one_notebook_share_are_no_flag(rows):
    """They come from one reference with one seed: neither a mistake of the reference nor a mark of the mutant."""
    reference, _, mutant = rows((KIND,), (), (KIND, "public gap"))
    assert reference.ok
    assert reference.flags == ()
    assert mutant.flags == ("public gap",)
