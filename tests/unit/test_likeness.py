"""Kept models that are alike: what survives saving again, what chance brings about, and what a source explains."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from grader import likeness, wire
from grader.likeness import Sketch, Sketched, alike, seeds, sketch


def kept(seed=1, noise=0.0, scale=0.05, shapes=((784, 16), (16,), (16, 10), (10,))):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(0, scale, shape).astype("float32") for shape in shapes]
    noisy = [
        (w + np.random.default_rng(99).normal(0, noise, w.shape) if noise else w).astype("float32") for w in weights
    ]
    return msgspec.msgpack.encode(wire.Seq([wire.Lit('{"name": "any"}'), wire.to_value(noisy)]))


def run(student, data, *, submission="", seeds=(), free=True):
    found = {"model": sketch(data)}
    return Sketched(student=student, submission=submission or student, sketches=found, seeds=seeds, free=free)


@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-4])
def test_a_copy_with_a_little_noise_is_found_for_both(noise):
    """Whatever stands in the architecture, and whoever is graded first."""
    flags = alike([run("a", kept(1)), run("b", kept(2)), run("c", kept(1, noise))])
    assert set(flags) == {"a", "c"}
    assert flags["a"][0].kind == "same weights"
    assert " c (" in flags["a"][0].message
    assert " a (" in flags["c"][0].message


def test_models_trained_apart_are_not_alike():
    """A class of fifty, of one architecture: every pair is farther apart than the spread of the weights."""
    assert alike([run(str(seed), kept(seed)) for seed in range(50)]) == {}


def test_a_seed_that_both_set_explains_it_and_one_that_only_one_sets_does_not():
    """Unless nobody saw it train or its source carries data; the same bytes are told in any case."""
    one = run("a", kept(), seeds=(1, 7))
    assert alike([one, run("b", kept(), seeds=(7,))]) == {}
    assert set(alike([one, run("b", kept(), seeds=(2,))])) == {"a", "b"}
    assert set(alike([one, run("b", kept(), seeds=(7,), free=False)])) == {"a", "b"}
    same = alike([run("a", kept(), seeds=(7,), submission="x"), run("b", kept(), seeds=(7,), submission="x")])
    assert "the same notebook" in same["a"][0].message


def test_seeds_are_read_where_they_are_numbers_or_names_of_numbers():
    assert seeds(["tf.random.set_seed(42)", "keras.utils.set_random_seed(seed=7)"]) == (7, 42)
    assert seeds(["SEED = 5", "tf.random.set_seed(SEED)"]) == (5,)
    assert seeds(["tf.random.set_seed(int(time.time()))", "set_seed(UNKNOWN)"]) == ()
    assert seeds(["%matplotlib inline\nif fixed:\n    set_seed(3)", "def f(:"]) == (3,)


def test_a_seed_that_only_a_comment_or_a_string_names_excuses_nobody():
    """A copy would otherwise be disguised by a line that does nothing."""
    assert seeds(["# keras.utils.set_random_seed(42)", "note = 'set_seed(7)'", "set_seed('8')", "set_seed(True)"]) == ()


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", msgspec.msgpack.encode(wire.Lit(1)), kept(scale=0.0), kept(scale=np.nan), kept(shapes=((3,),))],
    ids=["nothing", "no msgpack", "no model", "zeros", "NaN", "too small"],
)
def test_what_says_nothing_has_no_sketch(data):
    """What was kept is untrusted: anything may come."""
    assert sketch(data) is None
    assert likeness.sketches({".kept/model": data, ".kept/model@3": kept(), "model": kept()}) == {}


def test_a_class_of_thousands_is_compared_whole():
    """Every pair is, also across the blocks that are compared at a time."""
    values = np.random.default_rng(3).normal(0, 0.05, (2_000, 256))
    values[1_900] = values[3] * (1 + 1e-6)
    assert set(alike(runs_of(values))) == {"3", "1900"}


def runs_of(values: Iterable[Any]) -> Iterator[Sketched]:
    for row, one in enumerate(values):
        found = {"model": Sketch(shapes=((16, 16),), values=tuple(one.tolist()))}
        yield Sketched(student=str(row), submission=str(row), sketches=found)


def test_comparing_a_class_holds_neither_its_sketches_nor_its_pairs(monkeypatch):
    """Twice the runs are twice the sketches, 8 kB each as objects, and four times the pairs. In blocks for a small class."""
    for name, smaller in {"BLOCK": 32, "MIDDLE": 128, "PAIRS": 2**15}.items():
        monkeypatch.setattr(likeness, name, smaller)

    def peak(count: int) -> int:
        drawn = np.random.default_rng(3)
        tracemalloc.start()
        try:
            assert alike(runs_of(drawn.normal(0, 0.05, 256) for _ in range(count))) == {}
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(50)  # what NumPy keeps for later
    assert peak(1_200) < 1.3 * peak(600)


def test_a_class_that_is_all_alike_names_ten_and_counts_the_rest():
    """One notebook handed in by everybody."""
    flags = alike([run(str(number), kept(), submission="x") for number in range(40)])
    assert len(flags) == 40
    assert all("and 29 more" in one.message for (one,) in flags.values())


def test_one_students_absurd_weights_hide_no_copy_of_others():
    """Numbers of 1e30 among them cost no digits of the rest."""
    flags = alike([run("a", kept(1)), run("b", kept(1, 1e-5)), run("c", kept(2)), run("huge", kept(3, scale=1e30))])
    assert set(flags) == {"a", "b"}
