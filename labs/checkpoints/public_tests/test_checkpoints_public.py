"""Public suite of the checkpoints lab: names, files and loading. How good the model is, the hidden suite asks.

Files are loaded in the notebook's own kernel: on a student's machine there may be no clean sandbox.
"""

import numpy as np

from grader.checks import OBSERVED, as_array, check, fail, require

WHOLE_MODELS = ("my_model.keras", "my_model.h5", "my_model", "saved_model/my_model", "saved_model")


@check(
    "fresh_model",
    points=20,
    evidence=OBSERVED,
    hint="create_model() builds and compiles the layers, and returns the model.",
)
def test_create_model_gives_new_models(student):
    """`create_model()` gives a new model each time, from 28x28 pixels to ten numbers."""
    one = student.create_model.keep()
    two = student.create_model.call(kind="stochastic", want="handle")
    as_array(student.helper("predict", one, grey(3)), (3, 10), "the predictions for three pictures")
    require(not student.helper("same", one, two), "two calls gave the same model", expected="a new model each time")


@check(
    "checkpoints",
    points=30,
    evidence=OBSERVED,
    hint="See the names in the handout. Weights files end in .weights.h5.",
)
def test_checkpoints_are_there_and_fit(student):
    """The three kinds of weights files are there and fit the architecture of `create_model()`."""
    fresh = student.create_model.keep()
    for folder, pattern, name in (
        ("training_1", "training_1/*", "training_1/cp.weights.h5"),
        ("training_2", "training_2/*", "training_2/cp-0001.weights.h5"),
        ("checkpoints", "checkpoints/my_checkpoint*", "checkpoints/my_checkpoint.weights.h5"),
    ):
        found = student.files.checkpoints(pattern)
        if not found:
            student.files.first(name)
            fail(f"{folder} holds no weights file", expected=name)
        restored = student.helper("load_weights", fresh, found[-1].path)
        as_array(student.helper("predict", restored, grey(3)), (3, 10), f"the answer of {found[-1].path}")


@check("series", points=10, evidence=OBSERVED, hint="Write {epoch:04d} into the file name.")
def test_one_checkpoint_for_every_epoch(student):
    """`training_2` holds more than one checkpoint."""
    found = student.files.checkpoints("training_2/*")
    require(len(found) > 1, f"training_2 holds {len(found)} checkpoint(s)", expected="one file for every epoch")


@check("whole_model", points=20, evidence=OBSERVED, hint="Call model.save('my_model.keras').")
def test_whole_model_loads(student):
    """The whole-model file loads."""
    saved = student.files.first(*WHOLE_MODELS)
    loaded = student.helper("load_saved", saved.path)
    as_array(student.helper("predict", loaded, grey(3)), (3, 10), f"the answer of {saved.path}")


@check("resume", points=20, evidence=OBSERVED, hint="Return what fit gives you.")
def test_resume_returns_a_history(student):
    """`resume()` runs and returns the History of its epoch."""
    answer = student.resume.call(kind="mutating", deadline_s=60)
    if hasattr(answer, "type_name"):
        answer = answer.history.value()
    if isinstance(answer, dict):
        answer = answer.get("loss")
    require(answer is not None, "resume() returned no losses", expected="the History that fit returned")
    require(as_array(answer, None, "the losses of resume()").size > 0, "no losses", expected="one loss for the epoch")


def grey(rows):
    """Pictures of nothing in particular: what they show does not matter here."""
    return np.linspace(0, 1, rows * 28 * 28, dtype=np.float32).reshape(rows, 28, 28)
