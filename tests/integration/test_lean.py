"""Training that costs less in a fresh process: what is trained is the same bit for bit, and own code runs as often."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

#: Trains in several ways from one seed; prints a digest of each, and which functions of Keras's pipeline are marked.
TRAIN = """
import hashlib, json, sys
import keras, numpy as np, tensorflow as tf
from grader.probe import lean
if sys.argv[1] == "installed":
    lean.install()
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
rows = np.random.default_rng(1)
x, y = rows.normal(size=(90, 4)).astype("float32"), rows.integers(0, 3, 90)

steps = []
train_step = keras.src.backend.tensorflow.trainer.TensorFlowTrainer.train_step
keras.src.backend.tensorflow.trainer.TensorFlowTrainer.train_step = lambda *a: steps.append(0) or train_step(*a)
traces = {}

class Own(keras.layers.Layer):
    def call(self, x):
        steps.append(0)
        return x + 1

def own_metric(y, p):
    steps.append(0)
    return keras.losses.sparse_categorical_crossentropy(y, p)

def trained(name, *data, loss="sparse_categorical_crossentropy", metrics="accuracy", layer=None, callbacks=(), **fit):
    keras.utils.set_random_seed(5)
    inputs = keras.Input((4,), name="x")
    inner = (layer or keras.layers.Dropout(0.2))(keras.layers.Dense(8, "relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(keras.layers.BatchNormalization()(inner)))
    model.compile("adam", loss, metrics=[metrics])
    before = "evaluated" in name and model.evaluate(x, y, verbose=0)
    steps.clear()
    history = model.fit(*data, epochs=2, verbose=0, callbacks=[own(model) for own in callbacks], **fit).history
    traces[name] = len(steps)
    told = [model.get_weights(), before, history, model.predict(data[0], verbose=0)]
    told += [[(v.path, v.numpy().tobytes()) for v in (*model.optimizer.variables, *model.metrics_variables)]]
    digests[name] = hashlib.sha256(repr([w.tobytes() for w in told[0]] + told[1:]).encode()).hexdigest()

class Freezes(keras.callbacks.Callback):
    def __init__(self, model):
        self.mine = model
    def on_train_begin(self, logs=None):
        self.mine.layers[1].trainable = False

class Thaws(Freezes):
    def __init__(self, model):
        super().__init__(model)
        model.layers[1].trainable = False
    def on_train_begin(self, logs=None):
        self.mine.layers[1].trainable = True

digests = {}
with tf.device("CPU:1"):
    elsewhere = tf.constant(x), tf.constant(y)
trained("shuffled", x, y)
trained("batches shuffled", x, y, shuffle="batch", batch_size=7)
trained("weights", x, y, sample_weight=np.linspace(0, 1, 90), validation_split=0.2)
trained("classes", x, y, class_weight={0: 1.0, 1: 2.0, 2: 0.5}, validation_data=(x[:9], y[:9]))
trained("evaluated before", x, y)
trained("steps", x, y, batch_size=16, steps_per_epoch=2)
trained("by name", {"x": x}, y)
trained("on another device", *elsewhere)
trained("own pipeline", tf.data.Dataset.from_tensor_slices((x, y)).map(lambda a, b: (a * 2, b)).batch(16))
trained("frozen as it begins", x, y, callbacks=[Freezes])
trained("thawed as it begins", x, y, callbacks=[Thaws])
trained("own layer", x, y, layer=Own())
trained("own metric", x, y, loss=keras.losses.SparseCategoricalCrossentropy(), metrics=own_metric)
trained("own function", x, y, layer=keras.layers.Lambda(lambda t: steps.append(0) or t * 2))
trained("own activation", x, y, layer=keras.layers.Dense(4, activation=lambda t: steps.append(0) or t * 2))

def functions(dataset):
    found = [f.function.function_def for f in dataset._functions()]
    return found + [f for below in dataset._inputs() for f in functions(below)]

def marked(dataset):
    return [f.attr["experimental_ints_on_device"].b for f in functions(dataset)]

adapter = keras.src.trainers.data_adapters.array_data_adapter.ArrayDataAdapter(x, y, batch_size=32, shuffle=True)
own = tf.data.Dataset.range(3).map(lambda i: i + 1)
print(json.dumps([digests, traces, marked(adapter.get_tf_dataset()), marked(own)]))
"""


@pytest.fixture(scope="module")
def trainings():
    """What is trained without it and with it: each (digests, traces, marks of Keras's functions, marks of own ones)."""

    def train(how):
        command = [sys.executable, "-c", TRAIN, how]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return train("plain"), train("installed")


@pytest.mark.slow
def test_functions_of_keras_stay_on_one_device_and_those_of_the_notebook_are_left_alone(trainings):
    """Else it saves nothing, or changes what is not ours to change."""
    assert [marks for *_, keras, own in trainings for marks in (keras, own)] == [
        *([False] * 3, [False]),
        *([True] * 3, [False]),
    ]


@pytest.mark.slow
def test_what_is_trained_is_the_same_bit_for_bit(trainings):
    """Weights, state of the optimizer, history, predictions and evaluation, of every kind of data and shuffling."""
    plain, installed = (digests for digests, *_ in trainings)
    assert installed == plain
    assert len(set(plain.values())) == len(plain)  # each is another training


@pytest.mark.slow
def test_a_step_is_traced_once_where_all_of_it_is_keras_and_as_often_as_ever_where_it_is_not(trainings):
    """A notebook whose own layer counts its calls, or prints, does so here as it does anywhere."""
    (_, plain, *_), (_, installed, *_) = trainings
    own = {name for name in plain if name.startswith("own ") and name != "own pipeline"}
    assert {name: installed[name] for name in own} == {name: plain[name] for name in own}
    assert {plain[name] for name in plain if name not in own} == {2}
    assert {installed[name] for name in plain if name not in own} == {1}
