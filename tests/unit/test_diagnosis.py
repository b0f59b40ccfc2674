"""Diagnosis: the errors that real notebooks end in get advice that a student can act on.

The messages are what TensorFlow 2.21, Keras 3.15 and their kin answered when the call was tried.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.diagnosis import RULES, advise

NO_ATTRIBUTE = "module 'tensorflow' has no attribute "

# (exception, message, the student's line, rule, the line advised)
CASES = [
    ("NameError", "name 'plt' is not defined", "plt.plot(x)", "import-plt", "import matplotlib.pyplot as plt"),
    ("NameError", "name 'np' is not defined", "", "import-np", "import numpy as np"),
    ("NameError", "name 'modle' is not defined. Did you mean: 'model'?", "modle.fit(x)", "name-near", "model"),
    ("NameError", "name 'x_train' is not defined", "model.fit(x_train)", "name-unknown", ""),
    ("AttributeError", NO_ATTRIBUTE + "'enable_eager_execution'", "tf.enable_eager_execution()", "tf1-eager", ""),
    ("AttributeError", NO_ATTRIBUTE + "'Session'", "sess = tf.Session()", "tf1-graph", "y = f(data)"),
    ("AttributeError", NO_ATTRIBUTE + "'placeholder'", "", "tf1-graph", "y = f(data)"),
    ("ModuleNotFoundError", "No module named 'tensorflow.contrib'", "", "tf1-contrib", ""),
    (
        "AttributeError",
        "module 'tensorflow._api.v2.train' has no attribute 'AdamOptimizer'",
        "opt = tf.train.AdamOptimizer(0.01)",
        "tf1-optimizer",
        "opt = tf.keras.optimizers.Adam(0.01)",
    ),
    (
        "AttributeError",
        "module 'tensorflow._api.v2.train' has no attribute 'GradientDescentOptimizer'",
        "opt = tf.train.GradientDescentOptimizer(0.01)",
        "tf1-gradient-descent",
        "opt = tf.keras.optimizers.SGD(0.01)",
    ),
    (
        "TypeError",
        "BaseOptimizer.apply_gradients() got an unexpected keyword argument 'global_step'",
        "opt.apply_gradients(zip(g, v), global_step=step)",
        "tf1-global-step",
        "opt.apply_gradients(zip(g, v))",
    ),
    (
        "AttributeError",
        NO_ATTRIBUTE + "'random_normal'",
        "w = tf.random_normal([2])",
        "tf1-random-normal",
        "w = tf.random.normal([2])",
    ),
    ("AttributeError", NO_ATTRIBUTE + "'to_float'", "tf.to_float(x)", "tf1-to-float", "tf.cast(x, tf.float32)"),
    ("AttributeError", NO_ATTRIBUTE + "'logging'", "", "tf1-logging", 'tf.get_logger().setLevel("ERROR")'),
    (
        "ModuleNotFoundError",
        "No module named 'tensorflow.examples'",
        "",
        "tf1-examples",
        "(x_train, y_train), (x_test, y_test) = tf.keras.datasets.mnist.load_data()",
    ),
    (
        "AttributeError",
        "'_RangeDataset' object has no attribute 'make_one_shot_iterator'",
        "",
        "tf1-iterator",
        "for batch in dataset:",
    ),
    ("ModuleNotFoundError", "No module named 'google.colab'", "from google.colab import drive", "colab", ""),
    ("FileNotFoundError", "[Errno 2] No such file or directory: '/content/drive/a.csv'", "", "colab", ""),
    (
        "ImportError",
        "cannot import name 'np_utils' from 'keras.utils' (…)",
        "from keras.utils import np_utils",
        "np-utils",
        "from keras.utils import to_categorical",
    ),
    (
        "ModuleNotFoundError",
        "No module named 'keras.layers.core'",
        "from keras.layers.core import Dense, Dropout",
        "keras-old-module",
        "from keras.layers import Dense, Dropout",
    ),
    (
        "AttributeError",
        "module 'tensorflow.keras.layers' has no attribute 'experimental'",
        "n = layers.experimental.preprocessing.Normalization()",
        "keras-experimental",
        "n = layers.Normalization()",
    ),
    ("ModuleNotFoundError", "No module named 'tensorflow_hub'", "", "package-not-offered", ""),
    ("ModuleNotFoundError", "No module named 'my_helpers'", "", "module-unknown", ""),
    (
        "ImportError",
        "You must install pydot (`pip install pydot`) for `plot_model` to work.",
        'keras.utils.plot_model(model, "m.png")',
        "plot-model",
        "model.summary()",
    ),
    ("Exception", "URL fetch failure on https://storage.googleapis.com/x.npz: None", "", "network", None),
    ("URLError", "<urlopen error [Errno -3] Temporary failure in name resolution>", "", "network", None),
    ("UsageError", "Line magic function `%tensorflow_version` not found.", "", "magic", ""),
    ("FileNotFoundError", "[Errno 2] No such file or directory: 'C:\\\\Users\\\\me\\\\a.csv'", "", "own-path", None),
    ("FileNotFoundError", "[Errno 2] No such file or directory: 'auto.csv'", "", "file-missing", ""),
    ("OSError", "[Errno 30] Read-only file system: '/model'", "", "read-only", None),
    (
        "TypeError",
        "stat: path should be string, bytes, os.PathLike or integer, not NoneType",
        "model.load_weights(latest)",
        "weights-none",
        None,
    ),
    (
        "ValueError",
        (
            "When using `save_weights_only=True` in `ModelCheckpoint`, the filepath provided must end in `.weights.h5` "
            "(Keras weights format). Received: filepath=t"
        ),
        'cp = ModelCheckpoint("training_1/cp.ckpt", monitor="val_loss", save_weights_only=True)',
        "checkpoint-weights-name",
        'cp = ModelCheckpoint("training_1/cp.weights.h5", monitor="val_loss", save_weights_only=True)',
    ),
    (
        "ValueError",
        "The filename must end in `.weights.h5`. Received: filepath=./checkpoints/my_checkpoint",
        "model.save_weights('./checkpoints/my_checkpoint')",
        "save-weights-name",
        "model.save_weights('./checkpoints/my_checkpoint.weights.h5')",
    ),
    (
        "ValueError",
        "File format not supported: filepath=cp.ckpt. Keras 3 only supports V3 `.keras` files, `.weights.h5` files",
        'model.load_weights("cp.ckpt")',
        "load-weights-format",
        'model.load_weights("cp.weights.h5")',
    ),
    (
        "ValueError",
        (
            "File format not supported: filepath=x. Note that the legacy SavedModel format is not supported by "
            "`load_model()` in Keras 3."
        ),
        "",
        "load-saved-model",
        None,
    ),
    (
        "ValueError",
        "Invalid filepath extension for saving. Please add either a `.keras` extension",
        "model.save('saved_model/my_model')",
        "save-extension",
        "model.save('saved_model/my_model.keras')",
    ),
    (
        "TypeError",
        "ModelCheckpoint.__init__() got an unexpected keyword argument 'period'",
        "ModelCheckpoint(path, period=5)",
        "checkpoint-period",
        'ModelCheckpoint(path, save_freq="epoch")',
    ),
    (
        "ValueError",
        "Could not deserialize 'keras.metrics.mse' because it is not a KerasSaveable subclass",
        "m = load_model('m.h5')",
        "load-h5-loss",
        "m = load_model('m.h5', compile=False)",
    ),
    (
        "ValueError",
        "Argument(s) not recognized: {'lr': 0.001}",
        "opt = keras.optimizers.Adam(lr=0.001)",
        "optimizer-lr",
        "opt = keras.optimizers.Adam(learning_rate=0.001)",
    ),
    (
        "TypeError",
        "TensorFlowTrainer.fit() got an unexpected keyword argument 'nb_epoch'",
        "model.fit(x, y, nb_epoch=3)",
        "nb-epoch",
        "model.fit(x, y, epochs=3)",
    ),
    (
        "ValueError",
        "Expected `metrics` argument to be a list, tuple, or dict. Received instead: metrics=accuracy",
        "model.compile(loss='mse', metrics='accuracy')",
        "metrics-list",
        "model.compile(loss='mse', metrics=['accuracy'])",
    ),
    ("ValueError", "You must call `compile()` before using the model.", "", "not-compiled", None),
    (
        "ValueError",
        "Sequential model sequential cannot be built because it has no layers. Call `model.add(layer)`.",
        "",
        "no-layers",
        None,
    ),
    (
        "AttributeError",
        "'Sequential' object has no attribute 'predict_classes'",
        "p = model.predict_classes(x_test)",
        "predict-classes",
        "p = np.argmax(model.predict(x_test), axis=1)",
    ),
    ("KeyError", "'acc'", "plt.plot(h.history['acc'])", "history-acc", "plt.plot(h.history['accuracy'])"),
    ("KeyError", "'val_acc'", "", "history-acc", "history.history['val_accuracy']"),
    ("KeyError", "'val_loss'", "", "history-val", "model.fit(x, y, validation_split=0.2)"),
    (
        "ValueError",
        "Arguments `target` and `output` must have the same shape. Received: target.shape=(32,), output.shape=(32, 10)",
        'model.compile(loss="categorical_crossentropy")',
        "labels-rank",
        'model.compile(loss="sparse_categorical_crossentropy")',
    ),
    (
        "ValueError",
        (
            "Arguments `target` and `output` must have the same rank (ndim). Received: target.shape=(None,), "
            "output.shape=(None, 1)"
        ),
        "",
        "labels-column",
        None,
    ),
    (
        "InvalidArgumentError",
        "Received a label value of 9 which is outside the valid range of [0, 9).  Label values: 9 1",
        "",
        "labels-range",
        "",
    ),
    (
        "ValueError",
        "Data cardinality is ambiguous. Make sure all arrays contain the same number",
        "",
        "rows-differ",
        "",
    ),
    (
        "ValueError",
        "Exception encountered when calling Sequential.call().\n\n\x1b[1mInvalid input shape for input Tensor(…)",
        "",
        "input-shape",
        "model.predict(x[:1])",
    ),
    ("ValueError", "Unrecognized data type: x=[[1, 2], [3]] (of type <class 'list'>)", "", "ragged-lists", None),
    ("IndexError", "tuple index out of range", "model.fit(x, y)", "labels-list", "model.fit(np.array(x), np.array(y))"),
    ("ValueError", "Invalid dtype: object", "", "dtype-object", None),
    (
        "ValueError",
        "Unrecognized keyword arguments passed to Conv2D: {'border_mode': 'same'}",
        'Conv2D(3, 3, border_mode="same")',
        "keras1-border-mode",
        'Conv2D(3, 3, padding="same")',
    ),
    (
        "AttributeError",
        "'Mean' object has no attribute 'reset_states'",
        "m.reset_states()",
        "reset-states",
        "m.reset_state()",
    ),
    (
        "AttributeError",
        "module 'numpy' has no attribute 'int'.\n`np.int` was",
        "x = np.int(3)",
        "numpy-alias",
        "x = int(3)",
    ),
    ("RuntimeError", "GPU:0 unknown device.", "", "no-gpu", None),
    ("IndexError", "list index out of range", "tf.config.set_visible_devices(gpus[0])", "gpu-list-empty", None),
    (
        "SyntaxError",
        "Missing parentheses in call to 'print'. Did you mean print(...)?",
        "print x",
        "print-statement",
        "print(x)",
    ),
    ("IndentationError", "unexpected indent (2.py, line 1)", "", "indentation", ""),
    ("NotImplementedError", "", "raise NotImplementedError", "starter-gap", ""),
    ("TypeError", "Dense.__init__() got an unexpected keyword argument 'colour'", "", "argument-unknown", ""),
]


@pytest.mark.parametrize(("kind", "message", "line", "rule", "new"), CASES, ids=[f"{c[3]}-{c[0]}" for c in CASES])
def test_a_known_breakage_gets_its_advice(kind, message, line, rule, new):
    """The right rule answers, and where the line can be rewritten, it is the student's own line."""
    advice = advise(kind, message, line)
    assert advice is not None
    assert advice.rule == rule
    if new is not None:
        assert advice.new == new
    assert not re.search(r"\{(name|near|path|prefix|label|size|module)\}", advice.text + advice.old + advice.new)


def test_advice_names_what_the_message_named():
    """The group matched in the message appears in the text."""
    advice = advise("ModuleNotFoundError", "No module named 'my_helpers'", "import my_helpers")
    assert advice is not None
    assert "my_helpers" in advice.text


def test_the_students_line_is_shown_as_old():
    """old and new are one line before and after, not a stand-in beside the student's own."""
    advice = advise("ValueError", "Argument(s) not recognized: {'lr': 0.1}", "  opt = Adam(lr=0.1)  ")
    assert advice is not None
    assert (advice.old, advice.new) == ("opt = Adam(lr=0.1)", "opt = Adam(learning_rate=0.1)")


def test_a_stand_in_is_shown_where_the_line_is_not_known():
    """Without a source line the rule's own example stands in."""
    advice = advise("ValueError", "Argument(s) not recognized: {'lr': 0.1}", "")
    assert advice is not None
    assert advice.new == "Adam(learning_rate=0.001)"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ValueError", "my own message"),
        ("KeyError", "'Tiny'"),
        ("AssertionError", ""),
        ("ZeroDivisionError", "division by zero"),
    ],
)
def test_no_advice_is_better_than_wrong_advice(kind, message):
    """An error that no rule knows gets none."""
    assert advise(kind, message, "x = f(y)") is None


def test_the_students_own_error_in_a_gpu_free_line_is_not_blamed_on_the_gpu():
    """An IndexError elsewhere is not about GPUs."""
    assert advise("IndexError", "list index out of range", "x = items[7]") is None


def test_rules_have_unique_ids_and_readable_texts():
    """Each id occurs once, each text is a sentence, each pattern compiles."""
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    for rule in RULES:
        assert rule.text.endswith(".")
        assert rule.message or rule.kinds
        re.compile(rule.message)
        re.compile(rule.line)
        if rule.swap:
            re.compile(rule.swap[0])


def test_a_stand_in_is_rewritten_by_its_own_swap():
    """Where a rule can rewrite its own example, the result is its own answer."""
    for rule in RULES:
        if rule.swap and rule.old and rule.new and "{" not in rule.old + rule.new:
            swapped = re.sub(*rule.swap, rule.old)
            assert swapped == rule.old or swapped.count("(") == swapped.count(")"), rule.id


@given(st.text(max_size=40), st.text(max_size=300), st.text(max_size=300))
def test_any_error_gets_advice_or_none(kind, message, line):
    """Whatever the texts, no exception."""
    advise(kind, message, line)


@pytest.mark.parametrize("message", ["x" * 10**6, "target.shape=(" * 10**5, "'" * 10**6, "has no attribute '" * 10**5])
def test_a_huge_message_costs_no_time(message):
    """Only the beginning is looked at, so a hostile message cannot stall the grader."""
    for kind in ("ValueError", "AttributeError", "KeyError"):
        advise(kind, message, "(" * 10**6)
