"""Public suite of the overfitting lab: the form of the work, on reviews made up here."""

import numpy as np

from grader.checks import OBSERVED, Parts, as_array, check, require

MODELS = ("baseline_model", "smaller_model", "bigger_model", "l2_model", "dropout_model")


@check("encoding", points=20, evidence=OBSERVED, hint="results[i, words] = 1.0 in an array of zeros of dtype float32.")
def test_multi_hot_encoding(student):
    """`multi_hot_sequences` puts a 1 where a word occurs, as float32; a review may be empty."""
    answer = student.multi_hot_sequences([[1, 3, 3], [0]], 5)
    values = as_array(answer, (2, 5), "multi_hot_sequences(sequences, dimension)")
    right = np.array([[0, 1, 0, 1, 0], [1, 0, 0, 0, 0]])
    parts = Parts()
    parts.add("a 1 in column i exactly where word i occurs", bool((values == right).all()), weight=3)
    parts.add("the numbers are float32", np.asarray(answer).dtype == np.float32, weight=1)
    parts.add(
        "an empty review, one without any known word, gives a row of zeros",
        zeros_for_an_empty_review(student),
        weight=1,
        hint="np.array([]) holds floats and is no index: write results[i, words], or np.array(words, dtype=int).",
    )
    parts.award(expected="rows of 0.0 and 1.0 as float32")


def zeros_for_an_empty_review(student):
    """Asked by itself, so that a function that raises for it is still told what else is right."""
    try:
        values = as_array(student.multi_hot_sequences([[], [2]], 5), (2, 5), "multi_hot_sequences")
    except AssertionError:
        return False
    return bool((values == [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0]]).all())


@check("sizes", points=10, evidence=OBSERVED, hint="Build each model anew, with other numbers of units.")
def test_models_of_three_sizes(student):
    """`smaller_model`, `baseline_model` and `bigger_model` rise in size."""
    counts = [
        getattr(student, name).description().get("parameters", 0) for name in MODELS[1:2] + MODELS[:1] + MODELS[2:3]
    ]
    require(
        counts[0] < counts[1] < counts[2],
        f"they have {', '.join(map(str, counts))} parameters",
        expected="three models that rise in size",
    )


@check("predictions", points=10, evidence=OBSERVED, hint='End each model with Dense(1, activation="sigmoid").')
def test_each_model_gives_a_probability(student):
    """Each of the five models turns rows of 10,000 numbers into one probability each."""
    for name in MODELS:
        values = as_array(
            getattr(student, name).predict(np.zeros((2, 10_000), "float32")), (2, 1), f"what {name} gives"
        )
        require(bool(((values >= 0) & (values <= 1)).all()), f"{name} gives no probability", expected="0 to 1")


@check("regularised", points=35, evidence=OBSERVED)
def test_l2_and_dropout_are_there(student):
    """`l2_model` has a penalty on its weights, `dropout_model` drops units, and both have the baseline's layers."""
    size = student.baseline_model.description().get("parameters")
    l2, dropout = student.l2_model.description(), student.dropout_model.description()
    parts = Parts()
    parts.add(
        "l2_model has an L2 penalty",
        any(row["config"].get("l2") for row in l2.get("layers", [])),
        hint="Dense(16, kernel_regularizer=keras.regularizers.L2(0.01), …)",
    )
    parts.add(
        "dropout_model has a Dropout layer",
        any(row["kind"] == "Dropout" and row["config"].get("rate") for row in dropout.get("layers", [])),
        hint="keras.layers.Dropout(0.5) after each hidden layer.",
    )
    parts.add("both have as many parameters as the baseline", l2.get("parameters") == dropout.get("parameters") == size)
    parts.award(expected="the baseline with an L2 penalty, and the baseline with dropout")


@check("trained", points=25, evidence=OBSERVED, hint="Call fit with validation_data, for five epochs or more.")
def test_each_model_was_trained_and_validated(student):
    """Each of the five models was trained with validation data."""
    for name in MODELS:
        fits = getattr(student, name).training().get("fits") or []
        require(
            any(fit.get("epochs", 0) >= 5 for fit in fits), f"{name} was trained for fewer than five epochs with fit"
        )
        require(any(fit.get("validated") for fit in fits), f"{name} was trained without validation data")
