"""What is peculiar to the iris lab."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grader.labs import load_lab
from grader.labs.starter import read_reference, source, starter
from grader.records import Evidence, Tier
from grader.rubric import accuracy_credit

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "labs" / "iris"
REFERENCE = ROOT / "reference_solutions" / "iris.ipynb"


@pytest.fixture(scope="module")
def lab():
    """The lab as the grader loads it."""
    return load_lab(FOLDER)


@pytest.fixture(scope="module")
def reference():
    """The reference notebook."""
    return read_reference(REFERENCE)


def code(notebook):
    """The sources of a notebook's code cells."""
    return [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_points_for_skill_rest_on_verified_evidence(lab):
    """What only a right model or a right function earns is never merely observed."""
    evidence = {check.id: check.evidence for check in lab.checks}
    assert {evidence[name] for name in ("accuracy", "loss", "grad", "consistent")} == {Evidence.VERIFIED}


def test_both_tiers_share_one_threshold(lab):
    """Iris is so small that the lite copy is the whole data set: its threshold is the same."""
    assert lab.threshold(Tier.FULL, "accuracy") == lab.threshold(Tier.LITE, "accuracy")


def test_accuracy_earns_everything_from_22_flowers_of_30_on_and_nothing_below(lab):
    """What every correct style reaches; telling only setosa apart, 20 of 30, is no credit (calibration.md)."""
    threshold = lab.threshold(Tier.LITE, "accuracy")
    assert [accuracy_credit(right, 30, threshold).fraction for right in (20, 21, 22, 27)] == [0.0, 0.0, 1.0, 1.0]


def test_the_starter_holds_nothing_of_the_solution(reference):
    """What students start from reads the data and leaves model, loss, gradients and loop to them."""
    left = "\n".join(code(starter(reference)))
    assert "iris_training.csv" in left
    assert all(word not in left for word in ("Sequential", "GradientTape", "apply_gradients", "softmax", "def "))


# ---------------------------------------------------------------- whose gradients trained the model

TRAINED = """
import json, keras, numpy as np, tensorflow as tf
from grader.probe import hooks

hooks.install()
x, y = np.ones((8, 4), "float32"), np.zeros(8, "int64")
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

class Own(keras.Sequential):
    def train_step(self, data):
        return {"loss": step(self, *data)}

def build(kind=keras.Sequential):
    model = kind([keras.layers.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", loss)
    return model

def step(model, x, y):
    with tf.GradientTape() as tape:
        value = loss(y, model(x))
    variables = model.trainable_variables
    for variable, slope in zip(variables, tape.gradient(value, variables)):
        variable.assign_sub(0.1 * slope)
    return value

def fit(model):
    model.fit(x, y, verbose=0)

def wrapper(model):
    outer = keras.Sequential([model])
    outer.compile("sgd", loss)
    fit(outer)

def batches(model):
    for _ in range(3):
        model.train_on_batch(x, y)

def keras_step(model):
    tf.function(model.train_step)((x, y))

def loop(model):
    for _ in range(3):
        step(model, x, y)

def own_step(model):
    for _ in range(3):
        model.train_step((x, y))

def another(model):
    fit(build())
    loop(model)

told = {}
for train, kind in (
    (fit, keras.Sequential), (wrapper, keras.Sequential), (batches, keras.Sequential), (keras_step, keras.Sequential),
    (fit, Own), (loop, keras.Sequential), (own_step, Own), (another, keras.Sequential),
):
    model, before = build(kind), hooks.RECORDER.own_gradients
    train(model)
    record = hooks.training_of(model)
    name = train.__name__ + (" of its own step" if train is fit and kind is Own else "")
    told[name] = [record["keras_trained"], record["own_gradients"] - before, record["tape_gradients"] > 0]
    assert hooks.RECORDER.in_keras == 0
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the hooks say of models trained in different ways."""
    done = subprocess.run(
        [sys.executable, "-c", TRAINED],
        cwd=tmp_path_factory.mktemp("trained"),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "method"),
    [
        ("fit", "fit"),
        ("wrapper", "fit"),
        ("batches", "train_on_batch"),
        ("keras_step", "train_step"),
        ("fit of its own step", "fit"),
    ],
)
def test_gradients_that_keras_takes_are_not_the_students(told, how, method):
    """Whatever method it was, and whichever model holds the weights: no loop of one's own."""
    assert told[how] == [[method], 0, True]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["loop", "own_step", "another"])
def test_gradients_of_a_loop_of_ones_own_are_counted(told, how):
    """Also those of a train_step that the loop calls, and beside another model that Keras trained."""
    assert told[how] == [[], 3, True]


@pytest.mark.parametrize("name", ["handout.md", "handout.zh.md"])
def test_the_handout_says_what_is_no_loop_of_ones_own(name):
    assert "`train_on_batch`" in (FOLDER / name).read_text("utf-8")
