"""Public suite of the fashion_mnist lab: whether everything is there and has the right form. How well it works is not asked."""

import numpy as np

from grader.checks import OBSERVED, Parts, as_array, check, require


@check("model", points=25, evidence=OBSERVED, hint="Call your Keras model `model`, and run the cell that builds it.")
def test_model_takes_images_and_gives_ten_numbers(student):
    """`model` takes images of 28 x 28 pixels and gives ten finite numbers for each."""
    as_array(student.model.predict(images(3)), (3, 10), "the predictions for 3 images")


@check("probabilities", points=15, evidence=OBSERVED, needs=("model",))
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


@check("class_names", points=15, evidence=OBSERVED, hint='Write class_names = ["T-shirt/top", "Trouser", …].')
def test_class_names_are_ten_texts(student):
    """`class_names` holds ten different names."""
    given = student.class_names.value()
    texts = [name for name in given if isinstance(name, str)] if isinstance(given, list | tuple) else []
    parts = Parts()
    parts.add(
        "there are ten names, all of them text", isinstance(given, list | tuple) and len(texts) == len(given) == 10
    )
    parts.add("no name comes twice", len(set(texts)) == len(texts) > 0)
    parts.award(expected="a list of ten names, in the order of the labels")


@check("predict_label", points=25, evidence=OBSERVED, needs=("model",))
def test_predict_label_gives_a_name(student):
    """`predict_label` takes one image of shape (28, 28) and gives text."""
    answer = student.predict_label(images(1)[0])
    require(
        isinstance(answer, str),
        f"predict_label answers with {'None' if answer is None else 'something that is not text'}",
        expected="one of the ten names",
        hint="Return class_names[…] at the place of the largest probability; the model wants a batch: image[np.newaxis].",
    )


@check("trained", points=20, evidence=OBSERVED, needs=("model",), hint="Call model.fit(x_train, y_train, …).")
def test_training_was_seen(student):
    """A model was trained in this notebook."""
    seen = student.helper("training_summary")
    fits = seen.get("fits") or []
    finished = any(fit.get("epochs") for fit in fits) or bool(seen.get("tape_gradients"))
    require(finished, "no training was seen", expected="a training of at least one epoch")


def images(count):
    """Some grey patterns with values from 0 to 1; they are no clothes."""
    rows = np.linspace(0, 1, 28 * 28, dtype=np.float32).reshape(1, 28, 28)
    return np.concatenate([np.roll(rows, 97 * shift) for shift in range(count)])
