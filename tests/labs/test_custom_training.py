"""The custom training lab: its suite's own answers are right, and nobody can foresee its questions."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from grader import wire
from grader.checks.judge import judge
from grader.checks.marks import Mark, running
from grader.checks.student import Bench
from grader.grading import Setting
from grader.labs import load_lab
from grader.labs.starter import read_reference, source, starter
from grader.records import Ending, Evidence, Level, Tier
from grader.runner import RunFacts
from grader.session import Session, Tape

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "labs" / "custom_training"
REFERENCE = ROOT / "reference_solutions" / "custom_training.ipynb"
SUITE = FOLDER / "hidden_tests" / "test_custom_training.py"
SEEDS = range(20)


@pytest.fixture(scope="module")
def lab():
    """The lab as the grader loads it."""
    return load_lab(FOLDER)


@pytest.fixture(scope="module")
def suite():
    """The hidden suite as a module."""
    spec = importlib.util.spec_from_file_location("hidden_custom_training", SUITE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference():
    """The reference notebook."""
    return read_reference(REFERENCE)


def code(notebook):
    """The sources of a notebook's code cells."""
    return [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]


# ---------------------------------------------------------------- the suite's own answers


@pytest.mark.parametrize("seed", SEEDS)
def test_the_suite_knows_the_derivatives_of_its_functions(suite, seed):
    """First and second derivatives written in the suite agree with finite differences."""
    xs = np.linspace(-2, 2, 9)
    for f, first, second in suite.functions(np.random.default_rng(seed)):
        slopes, bends = (f(xs + 1e-5) - f(xs - 1e-5)) / 2e-5, (f(xs + 1e-3) - 2 * f(xs) + f(xs - 1e-3)) / 1e-6
        np.testing.assert_allclose(first(xs), slopes, atol=1e-6 * (1 + np.abs(slopes).max()))
        np.testing.assert_allclose(second(xs), bends, atol=1e-4 * (1 + np.abs(bends).max()))


def test_no_difference_quotient_is_exact_for_the_steep_function(suite):
    """The steep function tells automatic differentiation from differences, whatever the step."""
    f, first, _ = suite.steep_function(np.random.default_rng(0))
    xs = np.array([-1.3, 0.4, 1.7])
    for h in 10.0 ** np.arange(-12, -1, 0.25):
        with pytest.raises(AssertionError):
            suite.near((f(xs + h) - f(xs - h)) / (2 * h), first(xs), 1e-9, "it")


@pytest.mark.parametrize("seed", SEEDS)
def test_hidden_lines_are_what_the_handout_promises(suite, seed):
    """Points, slopes and intercepts keep to the ranges that students are told."""
    for xs, ys, (w, b) in suite.hidden_lines(np.random.default_rng(seed)):
        assert xs.dtype == ys.dtype == np.float32
        assert len(xs) == len(ys) >= 150
        assert np.abs(xs).max() < 4.5
        assert max(abs(w), abs(b)) < 5


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tutorials_line_earns_nothing(lab, suite, seed):
    """W = 3 and b = 2, whatever the data, is beyond the floor for at least one of w and b on every line."""
    limits = lab.threshold(Tier.FULL, "line")
    for *_, (w, b) in suite.hidden_lines(np.random.default_rng(seed)):
        assert min(suite.share(abs(w - 3), limits), suite.share(abs(b - 2), limits)) == 0


# ---------------------------------------------------------------- spec and starter


def test_each_theme_has_its_points(lab):
    """Gradients 25, the line 30, the layer 25, the block 20."""
    points = [check.points for check in lab.checks]
    assert [sum(points[a:b]) for a, b in ((0, 3), (3, 7), (7, 10), (10, 13))] == [25, 30, 25, 20]


def test_all_but_the_loop_rests_on_verified_evidence(lab):
    """Behaviour of functions and classes is verified; only how `train` learns is merely observed."""
    assert [check.id for check in lab.checks if check.evidence is not Evidence.VERIFIED] == ["loop"]


def test_both_tiers_share_one_threshold(lab):
    """There is no data set, so there are no smaller data."""
    assert lab.threshold(Tier.FULL, "line") == lab.threshold(Tier.LITE, "line")


def test_the_starter_holds_nothing_of_the_solution(lab, reference):
    """What students start from has the names and the data, and none of the bodies."""
    left = "\n".join(code(starter(reference)))
    assert all(f"def {name}(" in left or f"class {name}(" in left for name in lab.contract)
    assert all(word not in left for word in ("GradientTape", "assign_sub", "add_weight", "Conv2D", "reduce_mean"))


# ---------------------------------------------------------------- what is drawn

DRAWS = '''
from grader.checks import VERIFIED, check

@check("a", points=5, evidence=VERIFIED)
def test_a(student, chance):
    """Asks a drawn number."""
    student.f(float(chance.random()))

@check("b", points=5, evidence=VERIFIED)
def test_b(student, chance):
    """Asks another one."""
    student.f(float(chance.random()))
'''


class Listening(Session):
    """A session that writes down the number in every question, and answers 0."""

    def __init__(self):
        super().__init__(None, None, Tape(), seed=1, deadline_s=5)
        self.heard = []

    def _put(self, side, expr, draws, want, kind, deadline_s):
        self.heard.append(expr.args[0].value.v)
        return wire.Answer("n", "ok", wire.Lit(0.0))


def drawn(lab, seed):
    """The two numbers the suite above draws from that seed."""
    session = Listening()
    facts = RunFacts(ending=Ending.OK)
    judge(lab, Bench(lab, facts, session, lambda path: b""), None, Tier.FULL, seed=seed)
    return session.heard[::2]  # pure questions are asked twice


def test_chance_is_the_same_again_and_another_for_each_check_and_seed(make_lab):
    """The same seed draws the same numbers; another check or another seed draws others."""
    lab = make_lab(DRAWS)
    assert drawn(lab, 7) == drawn(lab, 7)
    assert len({*drawn(lab, 7), *drawn(lab, 8)}) == 4


def test_chance_comes_from_the_secret_and_the_submission(lab):
    """The same bytes meet the same draw; other bytes, or another course, another one."""

    def seed(secret, sha):
        return Setting(lab, None, None, secret, lab.limits, Level.L2).chance(sha)

    assert seed("s", "a") == seed("s", "a")
    assert len({seed("s", "a"), seed("s", "b"), seed("t", "a")}) == 3


# ---------------------------------------------------------------- whose gradients

ASKED = """
import json, keras, numpy as np, tensorflow as tf
from grader.probe import helpers, hooks

hooks.install()

class Model:
    def __init__(self):
        self.w = tf.Variable(0.0)

@tf.function
def step(w, x, y):
    with tf.GradientTape() as tape:
        value = tf.reduce_mean((w * x - y) ** 2)
    w.assign_sub(0.1 * tape.gradient(value, w))

def traced(model, xs, ys):
    while abs(float(model.w) - 3) > 0.1:
        step(model.w, tf.constant(xs), tf.constant(ys))
    done.append("traced")

def formula(model, xs, ys):
    model.w.assign((xs * ys).sum() / (xs * xs).sum())
    done.append("formula")

@tf.function
def traced_formula(model, xs, ys):
    model.w.assign(tf.reduce_sum(xs * ys) / tf.reduce_sum(xs * xs))

def fitted(model, xs, ys):
    line = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    line.compile("sgd", "mse")
    line.fit(xs[:, None], ys[:, None], verbose=0)
    model.w.assign(line.get_weights()[0][0, 0])

def broken(model, xs, ys):
    raise ValueError("no")

xs = np.linspace(-2, 2, 50).astype("float32")
done, told = [], {}
traced(Model(), xs, 3 * xs)  # as the notebook does, so that its step is traced
for train in (traced, formula, traced_formula, fitted, broken):
    before = hooks.RECORDER.own_gradients
    if train is traced:
        train(Model(), xs, 3 * xs)
        told["seen"] = hooks.RECORDER.own_gradients - before
        done.clear()
    told[train.__name__] = helpers.takes_gradients(train, Model(), xs, 3 * xs)
told["done"] = done
told["eager"] = tf.config.functions_run_eagerly()
with tf.GradientTape() as tape:
    value = Model().w
    tape.watch(value)
told["again"] = tape.gradient(value, value) is not None
print(json.dumps(told))
"""


@pytest.mark.slow
def test_a_tape_in_a_step_that_was_traced_before_is_seen(tmp_path):
    """A traced step is not Python any more; line by line it is, and neither a formula nor `fit` comes to a tape then."""
    done = subprocess.run(
        [sys.executable, "-c", ASKED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {
        "seen": 0,
        "traced": True,
        "formula": False,
        "traced_formula": False,
        "fitted": False,
        "broken": False,
        "done": ["formula"],  # the call was ended at the first gradient
        "eager": False,
        "again": True,
    }


class Asked:
    """A student whose `train` counts as said, and takes gradients line by line or not."""

    def __init__(self, *, keras=0, own=0, line_by_line=False):
        self.counts = [{"keras_calls": 1, "own_gradients": 4}, {"keras_calls": 1 + keras, "own_gradients": 4 + own}]
        self.line_by_line, self.asked = line_by_line, []
        self.slope = 0.0
        self.train = SimpleNamespace(call=self._trained)
        self.Model = SimpleNamespace(new=lambda: self)

    def helper(self, name, *args, kind="pure"):
        self.asked.append((name, kind))
        return self.counts.pop(0) if name == "training_summary" else self.line_by_line

    def _trained(self, *args, **options):
        self.slope = 1.0


@pytest.mark.parametrize(
    ("student", "share", "again"),
    [
        (Asked(own=100), None, False),
        (Asked(line_by_line=True), None, True),
        (Asked(), 0.2, True),
        (Asked(keras=1), 0.4, False),
        (Asked(keras=1, own=1, line_by_line=True), 0.4, False),
    ],
)
def test_a_loop_earns_its_points_by_gradients_of_its_own(suite, monkeypatch, student, share, again):
    """Seen at once, or where it is asked again line by line; with `fit` 2 of 5 points, with a formula 1."""
    monkeypatch.setattr(suite, "line_of", lambda model: (model.slope, 0.0))
    with running(Mark("loop", 5, Evidence.OBSERVED)) as record:
        suite.test_trained_by_a_loop_of_your_own(student, np.random.default_rng(0))
    assert record.fraction == share
    assert (("takes_gradients", "mutating") in student.asked) is again
