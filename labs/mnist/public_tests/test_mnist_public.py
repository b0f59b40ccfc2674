"""Public suite of the mnist lab: whether everything is there and has the right form. How well it reads is not asked."""

import numpy as np

from grader.checks import OBSERVED, Parts, as_array, check, require


@check("model", points=30, evidence=OBSERVED, hint="Call your Keras model `model`, and run the cell that builds it.")
def test_model_takes_images_and_gives_ten_numbers(student):
    """`model` takes images of 28 x 28 pixels and gives ten finite numbers for each."""
    as_array(student.model.predict(images(3)), (3, 10), "the predictions for 3 images")


@check("probabilities", points=20, evidence=OBSERVED, needs=("model",))
def test_rows_are_probabilities(student):
    """The ten numbers are probabilities, and do not depend on the other images of the batch."""
    rows = as_array(student.model.predict(images(5)), (5, 10), "the predictions for 5 images")
    alone = as_array(student.model.predict(images(5)[:1]), (1, 10), "the prediction for one image")
    parts = Parts()
    parts.add(
        "every row lies between 0 and 1 and adds up to 1",
        bool(rows.min() >= -1e-6 and np.abs(rows.sum(axis=1) - 1).max() < 1e-3),
        hint="End the model with softmax.",
    )
    parts.add("an image gets the same answer alone and in a batch", np.allclose(alone, rows[:1], rtol=1e-3, atol=1e-4))
    parts.award(expected="ten probabilities for each image")


@check("trained", points=30, evidence=OBSERVED, needs=("model",), hint="Write history = model.fit(…).")
def test_training_was_recorded(student):
    """A model was trained with `fit` in this notebook, and `history` is what `fit` returned."""
    fits = student.helper("training_summary").get("fits") or []
    metrics = student.history.history.value()
    parts = Parts()
    parts.add("fit finished at least one epoch", any(fit.get("epochs") for fit in fits))
    parts.add("history has a loss for every epoch", isinstance(metrics, dict) and bool(metrics.get("loss")))
    parts.award(expected="one training with fit, kept in history")


@check("file", points=20, evidence=OBSERVED, hint='Call model.save("mnist.keras") after the training.')
def test_file_was_saved(student):
    """The notebook saved `mnist.keras`."""
    require(student.files.first("mnist.keras").size > 0, "mnist.keras is empty", expected="a saved model")


def images(count):
    """Some grey patterns with values from 0 to 1; they are not digits."""
    rows = np.linspace(0, 1, 28 * 28, dtype=np.float32).reshape(1, 28, 28)
    return np.concatenate([np.roll(rows, 97 * shift) for shift in range(count)])
