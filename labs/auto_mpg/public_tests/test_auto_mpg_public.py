"""Public suite of the auto_mpg lab: the form of what was asked for, on cars made up here. The hidden suite asks more."""

import numpy as np

from grader.checks import OBSERVED, Parts, as_array, check, fail, require

CARS = {
    "Cylinders": np.array([8, 4, 6, 4]),
    "Displacement": np.array([310.0, 105.0, 200.0, 95.0]),
    "Horsepower": np.array([145.0, 75.0, 95.0, 70.0]),
    "Weight": np.array([4000.0, 2300.0, 3100.0, 2150.0]),
    "Acceleration": np.array([12.0, 16.0, 16.5, 17.0]),
    "Model Year": np.array([72, 78, 76, 80]),
    "Origin": np.array([1, 2, 1, 3]),
}


@check(
    "normalize",
    points=30,
    evidence=OBSERVED,
    hint="normalize gets the seven raw columns: Origin as 1, 2, 3, a missing horsepower as NaN, no MPG.",
)
def test_normalize_takes_raw_columns(student):
    """`normalize` turns four cars into four rows of finite numbers, and one car, or one without horsepower, into one."""
    whole = numbers(student, CARS, 4)
    alone = numbers(student, first(CARS), 1)
    parts = Parts()
    parts.add(
        "a car that comes alone gets the same numbers",
        whole[:1].shape == alone.shape and np.allclose(whole[:1], alone, rtol=1e-3, atol=1e-3),
        hint="Use the statistics of the training cars, not those of the frame.",
    )
    blank = numbers(student, {**CARS, "Horsepower": np.array([145.0, np.nan, 95.0, 70.0])}, 4, finite=False)
    parts.add("a car without horsepower gets numbers", bool(np.isfinite(blank).all()), hint="Fill it in; drop no row.")
    parts.award(expected="one row of finite numbers for each car")


@check("build_model", points=20, evidence=OBSERVED, hint="Return the model that you build and compile.")
def test_build_model_gives_new_compiled_models(student):
    """`build_model()` gives a compiled Keras model, a new one in each call."""
    one = student.build_model.keep()
    two = student.build_model.call(kind="stochastic", want="handle")
    found = student.helper("describe", one)
    require(isinstance(found, dict), "build_model() gives something that is no Keras model", expected="a Keras model")
    parts = Parts()
    parts.add("two calls give two models", not student.helper("same", one, two))
    parts.add("it is compiled", bool(found.get("compiled")), hint="Call model.compile inside build_model().")
    parts.award(expected="a new, compiled model")


@check("model", points=30, evidence=OBSERVED, needs=("normalize",), hint="Train on normalize(train) and train['MPG'].")
def test_model_predicts_miles_per_gallon(student):
    """`model`, given what `normalize` gives, answers with one plausible MPG for each car."""
    answers = as_array(student.model.predict(numbers(student, CARS, 4)), None, "the predictions")
    require(answers.size == 4, f"the predictions have shape {answers.shape}", expected="one number for each car")
    miles = answers.reshape(-1)
    require(
        miles.min() > 5 and miles.max() < 60,
        f"predictions from {miles.min():.1f} to {miles.max():.1f} MPG",
        expected="cars go some 10 to 45 miles on a gallon",
    )
    require(miles[3] > miles[0], "the heavy V8 goes farther than the small car", expected="the other way round")


@check(
    "stopping", points=20, evidence=OBSERVED, hint="validation_split=0.2, callbacks=[keras.callbacks.EarlyStopping(…)]"
)
def test_history_holds_the_validation_error(student):
    """`history` holds the validation error of every epoch."""
    found = student.history.history.value()
    require(isinstance(found, dict), "`history` is not what fit returned", expected="history = model.fit(…)")
    require(any(str(name).startswith("val_") for name in found), "no validation error", expected="val_loss")


def first(cars):
    """The first car alone."""
    return {name: values[:1] for name, values in cars.items()}


def numbers(student, cars, rows, finite=True):
    """normalize(frame) as an array of so many rows; a DataFrame arrives as its columns."""
    answer = student.normalize(student.frame(cars))
    try:
        values = (
            np.stack([np.asarray(c, "float64") for c in answer.values()], 1) if isinstance(answer, dict) else answer
        )
        values = np.asarray(values, dtype="float64")
    except (TypeError, ValueError):
        fail("normalize(frame) is not a table of numbers", expected="numbers for each car")
    require(
        values.ndim == 2 and len(values) == rows, f"normalize(frame) has shape {values.shape}", expected=f"{rows} rows"
    )
    require(
        not finite or bool(np.isfinite(values).all()),
        "normalize(frame) has NaN or infinite numbers",
        expected="finite numbers",
    )
    return values.astype("float32")
