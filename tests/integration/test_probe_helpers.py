"""What the probe does to be quick changes no answer. One TensorFlow for all: it is asked in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

ASK = """
import json, keras, numpy as np
from grader.probe import helpers, hooks, keep

hooks.install()
rows = np.random.default_rng(0).normal(size=(7, 4)).astype("float32")

def build(kind=keras.Sequential):
    return kind([keras.layers.Input((4,)), keras.layers.Dense(5, activation="relu"), keras.layers.Dense(2)])

class Step(keras.Sequential):
    def predict_step(self, data):
        return super().predict_step(data) + 1

class Call(keras.Sequential):
    def call(self, x, training=None):
        return super().call(x) + 1

own, step, call, instance, compiled = build(), build(Step), build(Call), build(), build()
instance.predict = lambda x, **options: np.zeros((len(x), 2))
compiled.predict(rows, verbose=0)
models = {"own": own, "step": step, "call": call, "instance": instance, "compiled": compiled}
told = {"called": [name for name, model in models.items() if hooks.predicts_as_keras(model)]}
told["agree"] = [
    name for name, model in models.items()
    if np.allclose(helpers.student_predict(model, rows), model.predict(rows, verbose=0), atol=1e-6)
]

recurrent = keras.Sequential([
    keras.layers.Input((6, 4)), keras.layers.LSTM(3), keras.layers.BatchNormalization(), keras.layers.Dense(2)
])
kept, _ = keep.keep(recurrent)
open("kept", "wb").write(kept)
again = helpers.rebuild_kept("kept", "")
told["weights"] = all(np.array_equal(a, b) for a, b in zip(recurrent.get_weights(), again.get_weights(), strict=True))
told["random again"] = bool(np.ptp(build().get_weights()[0]) > 0)

pixels = keras.Input((4,))
divided = keras.Model(pixels, keras.layers.Dense(2)(pixels / 255.0))
told["kinds"] = helpers.describe(keras.Sequential([divided, keras.layers.Softmax()]))["kinds"]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("asked")
    command = [sys.executable, "-c", ASK]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_predict_is_replaced_by_a_call_only_where_all_of_it_is_keras_own(told: dict):
    """A step, the method itself or a compiled function of the notebook's is asked as the notebook would."""
    assert told["called"] == ["own", "call"]


def test_what_the_notebooks_predict_says_is_told_either_way(told: dict):
    """Called or predicted, the answer is that of `model.predict`."""
    assert told["agree"] == ["own", "step", "call", "instance", "compiled"]


def test_a_rebuilt_model_has_the_kept_weights_and_chance_is_left_as_it_was(told: dict):
    """The zeros that stand in while it is built are all replaced, and gone afterwards."""
    assert told["weights"]
    assert told["random again"]


def test_the_kinds_of_a_model_name_its_operations_too(told: dict):
    """`inputs / 255` of a functional model is no layer, and tells as much; in a model that is a layer as well."""
    assert told["kinds"] == ["InputLayer", "TrueDivide", "Dense", "Softmax"]
