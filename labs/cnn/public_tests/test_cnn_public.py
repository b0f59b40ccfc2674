"""Public suite of the cnn lab: the sizes of the handout, and whether everything is there and has the right form.

How well the model reads is not asked.
"""

import numpy as np

from grader.checks import OBSERVED, Parts, as_array, check, require

EXAMPLES = {(7, 3, 0, 2): 3, (8, 3, 0, 2): 3, (28, 3, 0, 1): 26, (28, 5, 2, 1): 28, (11, 2, 0, 2): 5}
BUDGET = 300_000


@check("output_size", points=30, evidence=OBSERVED, hint="(w - f + 2 * p) // s + 1")
def test_sizes_of_the_handout(student):
    """`conv_output_size(w, f, p, s)` is right for the examples of the handout and refuses a filter that does not fit."""
    parts = Parts()
    for sizes, right in EXAMPLES.items():
        answer = as_array(student.conv_output_size(*sizes), (), f"conv_output_size{sizes}")
        parts.add(f"conv_output_size{sizes} is {right} (yours: {float(answer):g})", bool(answer == right))
    kind = student.conv_output_size.raises(4, 5, 0, 1)
    parts.add(
        f"conv_output_size(4, 5, 0, 1) raises a ValueError (yours: {kind or 'no exception'})",
        kind == "ValueError",
        hint='raise ValueError("the filter does not fit")',
    )
    parts.award(expected="the number of places, as an int")


@check("model", points=30, evidence=OBSERVED, hint="Call your Keras model `model`, and run the cell that builds it.")
def test_model_takes_images_and_gives_ten_numbers(student):
    """`model` takes images of 28 x 28 x 1 pixels, gives ten finite numbers for each, and has a convolution and pooling."""
    images = np.linspace(0, 1, 3 * 28 * 28, dtype=np.float32).reshape(3, 28, 28, 1)
    as_array(student.model.predict(images), (3, 10), "the predictions for 3 images")
    about = student.model.description()
    kinds, parameters = about.get("kinds") or [], about.get("parameters") or 0
    parts = Parts()
    for word, hint in (
        ("Conv", "Add a Conv2D layer."),
        ("Pooling", "Add MaxPooling2D."),
        ("Dense", "End with Dense(10)."),
    ):
        parts.add(f"a layer of the kind {word}", any(word in kind for kind in kinds), hint=hint)
    parts.add(f"at most {BUDGET:,} parameters (yours: {parameters:,})", 0 < parameters <= BUDGET)
    parts.award(expected="a small network of convolution, pooling and a dense part")


@check("trained", points=20, evidence=OBSERVED, needs=("model",), hint="Call model.fit(x_train, y_train, epochs=5).")
def test_training_was_recorded(student):
    """A model was trained with `fit` in this notebook."""
    fits = student.helper("training_summary").get("fits") or []
    require(any(fit.get("epochs") for fit in fits), "fit finished no epoch", expected="one training with fit")


@check("file", points=20, evidence=OBSERVED, hint='Call model.save("cnn.keras") after the training.')
def test_file_was_saved(student):
    """The notebook saved `cnn.keras`."""
    require(student.files.first("cnn.keras").size > 0, "cnn.keras is empty", expected="a saved model")
