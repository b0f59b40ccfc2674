"""Hidden suite of the auto_mpg lab.

Theory of operation. `normalize` is a function, judged by its behaviour on cars that the notebook has never seen: it is
given a pandas DataFrame of the seven raw columns, made in the kernel from plain columns. What it gives crosses back as
numbers and goes into the kept model in the clean sandbox. The MPG of the withheld cars never crosses.

With 78 cars the error depends as much on which cars were withheld as on the model. It is therefore measured against a
linear model fitted here to the mounted cars and asked about the same withheld ones (calibration.md). Cars without
horsepower are asked about in a check of their own, so that one mistake costs its points once.
"""

import numpy as np

from grader.checks import (
    OBSERVED,
    VERIFIED,
    Parts,
    as_array,
    assert_error,
    check,
    fail,
    flag,
    require,
)
from grader.heldout.division import divide
from grader.heldout.mount import tile

COLUMNS = ("Cylinders", "Displacement", "Horsepower", "Weight", "Acceleration", "Model Year", "Origin")
WHOLE = ("Cylinders", "Model Year", "Origin")  # read from the file as whole numbers
NUMBERS = tuple(range(6))  # the columns that are quantities
HORSEPOWER, ORIGIN = 2, 6
# A heavier, stronger, newer car each: far enough to tell statistics of the frame from stored ones.
SHIFT = np.array([2, 60, 40, 600, 2, 3, 0], dtype="float32")
KNOWN = "a DataFrame with the seven raw columns, Origin as 1, 2, 3 and a missing horsepower as NaN"


@check(
    "build_model",
    points=15,
    evidence=OBSERVED,
    hint="Build and compile the layers inside build_model(), and return the new model without training it.",
)
def test_build_model_gives_a_fresh_regression_model(student):
    """`build_model()` gives a new, compiled model: two hidden dense layers and one linear output."""
    one = student.build_model.keep()
    two = student.build_model.call(kind="stochastic", want="handle")
    found = student.helper("describe", one)
    require(isinstance(found, dict), "build_model() gives something that is no Keras model", expected="a Keras model")
    compiled = found.get("compiled") or {}
    rows = layers(student, one, found)
    dense = [at for at, row in enumerate(rows) if row.get("kind") == "Dense"]
    parts = Parts()
    parts.add(
        "two calls give two new models",
        not student.helper("same", one, two) and not is_trained(student, one, compiled),
        weight=4,
        hint="build_model() must build its layers anew in every call, and must not return the model you trained.",
    )
    parts.add(
        "it is compiled with a loss for numbers",
        bool(compiled) and not any(word in str(compiled.get("loss")).lower() for word in ("crossentropy", "hinge")),
        weight=4,
        hint='Call model.compile(optimizer=…, loss="mse", metrics=["mae"]) in build_model().',
    )
    parts.add(
        "it has two hidden dense layers, each with an activation",
        len(dense) == 3 and all(bends(rows, at) for at in dense[:2]),
        weight=4,
        hint='Two layers such as Dense(64, activation="relu"), and then the output.',
    )
    parts.add(
        "it ends in one linear output",
        bool(dense) and rows[dense[-1]].get("config", {}).get("units") == 1 and not bends(rows, dense[-1]),
        weight=3,
        hint="End with Dense(1), without an activation: MPG is no probability.",
    )
    parts.award(expected="a new, compiled model: two hidden dense layers, one linear output")


@check(
    "error",
    points=40,
    evidence=VERIFIED,
    hint="Check what normalize gives, train until the validation error stops falling, and bring back the best weights.",
)
def test_predicts_the_mpg_of_unseen_cars(student, heldout, threshold):
    """`model`, given what `normalize` makes of cars that it has never seen, predicts their MPG."""
    rows = heldout.inputs.array()
    known = ~np.isnan(rows[:, HORSEPOWER])
    student.model.require_budget(
        hint="Two hidden layers of 64 units have 4,865 parameters and are plenty for 400 cars."
    )
    numbers = normalized(student, rows[known])
    answers = predicted(student, numbers)
    require(
        was_trained(student),
        "the weights of the model never changed while the notebook ran",
        expected="a model that is trained in the notebook",
    )
    if bends_numbers(student, rows[known], numbers):
        flag("normalize bends", "normalize does more than shift and scale the numbers: see what it computes")
    linear = linear_error(heldout, rows[known], heldout.labels[known])
    assert_error(answers, heldout.labels[known], threshold("error"), unit="MPG", relative_to=linear)


@check("normalization", points=15, evidence=VERIFIED)
def test_normalizes_with_stored_statistics(student, heldout):
    """`normalize` brings all columns to one scale, with statistics of the training cars and not of the given frame."""
    rows = complete(heldout)
    whole = normalized(student, rows)
    alone = np.concatenate([attempt(student, rows[at : at + 1], whole) for at in range(3)])
    moved = attempt(student, rows + SHIFT, whole)
    among = attempt(student, np.concatenate([rows[:5], rows[5:] + SHIFT]), whole)
    parts = Parts()
    parts.add(
        "a car that comes alone gets the same numbers",
        close(alone, whole[:3]),
        weight=4,
        hint="Compute mean and standard deviation once, from the training cars, and use these in normalize.",
    )
    parts.add(
        "a car gets the same numbers whatever the other cars are",
        close(among[:5], whole[:5]) and not close(moved, whole),
        weight=5,
        hint="Compute mean and standard deviation once, from the training cars, and use these in normalize.",
    )
    parts.add(
        "all columns have about the same size",
        same_size(whole) or scales_itself(student),
        weight=6,
        hint="Subtract each column's mean and divide by its standard deviation, or begin the model with an adapted "
        "Normalization layer.",
    )
    if uses_all_cars(student, heldout, whole):
        flag(
            "statistics of all data",
            "normalize uses the means of all mounted cars, not those of a training part: nothing was kept apart for a test",
        )
    parts.award(expected="columns of one scale, by statistics kept from the training cars")


@check("columns", points=15, evidence=VERIFIED)
def test_origin_is_one_hot_and_missing_horsepower_is_filled(student, heldout):
    """`normalize` makes `Origin` one-hot, and gives sensible numbers for a car without horsepower."""
    rows = complete(heldout)[:12]
    places = [with_origin(rows, number) for number in (1, 2, 3)]
    mixed = normalized(student, np.concatenate(places))
    usa, europe, japan = np.split(mixed, 3)
    parts = Parts()
    parts.add(
        "Origin is one-hot",
        np.linalg.matrix_rank(np.stack([europe[0] - usa[0], japan[0] - usa[0]]), tol=1e-3) == 2,
        weight=5,
        hint="Make a column of 0 and 1 for each of the origins 1, 2 and 3; as one number, Japan is three times the USA.",
    )
    parts.add(
        "the columns are the same where all cars come from one place",
        all(
            close(attempt(student, given, mixed), have)
            for given, have in zip(places, (usa, europe, japan), strict=True)
        ),
        weight=3,
        hint="pd.get_dummies makes a column only for what it finds in the frame. Compare with 1, 2 and 3 yourself, or "
        "reindex to the columns of the training cars.",
    )
    blank = rows.copy()
    blank[::2, HORSEPOWER] = np.nan
    filled = attempt(student, blank, mixed)
    lone = attempt(student, blank[:1], mixed)
    kept = len(filled) == len(rows) and len(lone) == 1 and bool(np.isfinite(filled).all() and np.isfinite(lone).all())
    parts.add(
        "a car without horsepower gets numbers",
        kept,
        weight=4,
        hint="Fill a missing horsepower with a statistic of the training cars, such as the median; drop no row.",
    )
    parts.add(
        "its horsepower is taken to be an ordinary one",
        kept and is_ordinary(student, rows[::2], filled[::2]),
        weight=3,
        hint="A horsepower of 0 is not a missing one: fill in the median of the training cars.",
    )
    parts.award(expected="one column for each origin, and every car with an answer")


@check(
    "stopping",
    points=15,
    evidence=OBSERVED,
    hint="model.fit(…, epochs=500, validation_split=0.2, callbacks=[keras.callbacks.EarlyStopping(patience=20)])",
)
def test_stops_early_by_the_validation_error(student):
    """The validation error is tracked, and training stops by itself when it no longer improves."""
    fit = last_fit(student)
    logs = fit.get("logs") if isinstance(fit.get("logs"), dict) else {}
    epochs, asked = fit.get("epochs") or 0, fit.get("asked") or 0
    tracked = any(str(name).startswith("val_") for name in logs)
    stopped = 0 < epochs < asked
    watched = fit.get("stopping") or []
    parts = Parts()
    parts.add(
        "the validation error is tracked",
        tracked,
        weight=4,
        hint="Give fit validation_split=0.2, or validation_data of cars that it is not trained on.",
    )
    parts.add(
        "`history` holds the validation error of every epoch",
        tracked and epochs > 0 and recorded(student) == epochs,
        weight=2,
        hint="Keep what fit returns: history = model.fit(…).",
    )
    parts.add(
        "training stops before the last of the epochs it was allowed",
        stopped,
        weight=5,
        hint="Use the EarlyStopping callback, and allow so many epochs that it decides when to stop.",
    )
    parts.add(
        "the validation error decides when to stop",
        tracked and (any(name.startswith("val_") for name in watched) if watched else stopped),
        weight=4,
        hint='The training error falls on and on: use EarlyStopping(monitor="val_loss").',
    )
    parts.award(expected="a training that ends when the validation error no longer improves")


# ---------------------------------------------------------------- asking


def frame(student, rows):
    """The rows as a DataFrame in the kernel, with the dtypes that reading the file gives."""
    return student.frame(
        {name: rows[:, at].astype("int64" if name in WHOLE else "float64") for at, name in enumerate(COLUMNS)}
    )


def table(answer):
    """What normalize gave, as a float array of two axes: a DataFrame arrives as its columns. Fails for anything else."""
    if isinstance(answer, dict):
        parts = [as_plain(column) for column in answer.values()]
        require(bool(parts), "normalize(frame) gives a table without columns", expected="numbers for each car")
        require(len({len(part) for part in parts}) == 1, "the columns of normalize(frame) are not equally long")
        answer = np.stack(parts, axis=1)
    values = as_plain(answer)
    require(values.ndim == 2, f"normalize(frame) has {values.ndim} axes", expected="one row of numbers for each car")
    return values


def as_plain(values):
    """An array of numbers, NaN allowed."""
    try:
        return np.asarray(values, dtype="float64")
    except (TypeError, ValueError):
        fail("normalize(frame) gives something that is not a number", expected="a table of numbers")


def normalized(student, rows):
    """normalize(frame) for complete cars: one row of finite numbers each, or the check fails."""
    values = table(student.normalize(frame(student, rows)))
    require(
        len(values) == len(rows), f"normalize gave {len(values)} rows for {len(rows)} cars", expected="one for each"
    )
    bad = int((~np.isfinite(values)).any(axis=1).sum())
    require(
        not bad,
        f"normalize gave NaN or infinite numbers for {bad} of {len(rows)} cars that lack nothing",
        expected="finite numbers",
        hint=f"normalize is given {KNOWN}: columns that only your own table has (MPG, USA, …) are not there.",
    )
    return values.astype("float32")


def attempt(student, rows, like):
    """normalize(frame) where a wrong answer costs one part only: an empty table where it raises or changes its form."""
    try:
        values = table(student.normalize(frame(student, rows)))
    except AssertionError:
        return np.zeros((0, like.shape[1]))
    return values if values.shape[1] == like.shape[1] else np.zeros((0, like.shape[1]))


def predicted(student, numbers):
    """One MPG for each row."""
    answers = as_array(student.model.predict(numbers), None, "the predictions")
    require(
        answers.shape in ((len(numbers),), (len(numbers), 1)),
        f"the predictions have shape {answers.shape}",
        expected="one number for each car",
    )
    return answers.reshape(-1)


# ---------------------------------------------------------------- the cars


def complete(heldout):
    """The drawn cars that have a horsepower."""
    rows = heldout.inputs.array()
    return rows[~np.isnan(rows[:, HORSEPOWER])]


def with_origin(rows, number):
    """The same cars, all made there."""
    made = rows.copy()
    made[:, ORIGIN] = number
    return made


def mounted_cars(heldout):
    """What the notebook's file holds, line by line."""
    rows_in_file = heldout.dataset.rows[heldout.source.tier][0]
    return tile(divide(heldout.source, heldout.secret).train, rows_in_file)


def linear_error(heldout, rows, labels):
    """The mean absolute error of a linear model on these cars, fitted by least squares to the mounted ones."""
    cars = mounted_cars(heldout)
    typical = np.nanmedian(cars.inputs[:, HORSEPOWER])
    weights = np.linalg.lstsq(design(cars.inputs, typical), cars.labels.astype("float64"), rcond=None)[0]
    return float(np.abs(design(rows, typical) @ weights - labels).mean())


def design(rows, typical):
    """Six quantities, Europe, Japan, and 1."""
    rows = rows.astype("float64")
    rows[:, HORSEPOWER] = np.where(np.isnan(rows[:, HORSEPOWER]), typical, rows[:, HORSEPOWER])
    return np.column_stack([rows[:, NUMBERS], rows[:, ORIGIN] == 2, rows[:, ORIGIN] == 3, np.ones(len(rows))])


# ---------------------------------------------------------------- judging normalize


def close(have, want):
    """Whether two tables are the same numbers."""
    return have.shape == want.shape and np.allclose(have, want, rtol=1e-3, atol=1e-3)


def same_size(numbers):
    """Whether every column that varies is of the size of 1: z-scores and 0 to 1 both are."""
    spread = numbers.std(axis=0)
    spread = spread[spread > 1e-6]
    return len(spread) > 0 and spread.min() > 0.05 and spread.max() < 5 and np.abs(numbers).max() < 20


def scales_itself(student):
    """Whether the model begins with a layer that normalises."""
    found = student.model.description().get("layers")
    kinds = [row.get("kind") for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    return any(kind in ("Normalization", "BatchNormalization") for kind in kinds[:3])


def is_ordinary(student, rows, filled):
    """Whether the model's answers for blank horsepower lie where those for usual horsepowers lie, car by car.

    From 60 to 160, about nine cars of ten. Interpolated answers may bend, so 0.5 MPG on either side is let pass.
    """
    grid = np.array([60, 80, 100, 120, 140, 160], dtype="float32")
    usual = np.repeat(rows, len(grid), axis=0)
    usual[:, HORSEPOWER] = np.tile(grid, len(rows))
    answers = attempt(student, usual, filled)
    if len(answers) != len(usual):
        return False
    columns = varying(answers, len(grid))
    between = answers.reshape(len(rows), len(grid), -1)[:, :, columns]
    low, high = between.min(axis=1), between.max(axis=1)
    have = filled[:, columns]
    return bool(((have >= low - 1e-3) & (have <= high + 1e-3)).mean() > 0.9)


def varying(answers, repeats):
    """The columns that change with the horsepower."""
    each = answers.reshape(-1, repeats, answers.shape[1])
    return np.ptp(each, axis=1).max(axis=0) > 1e-6


def bends_numbers(student, rows, like):
    """Whether normalize does more than shift and scale: f(a) + f(b) differs from f(c) + f(a + b - c), origin held."""
    a, b, c = (with_origin(rows[start : start + 8], 1) for start in (0, 8, 16))
    numbers = attempt(student, np.concatenate([a, b, c, with_origin(a + b - c, 1)]), like)
    if len(numbers) != 32 or not np.isfinite(numbers).all():
        return False
    fa, fb, fc, fd = np.split(numbers, 4)
    return not close(fa + fb, fc + fd)


def uses_all_cars(student, heldout, like):
    """Whether normalize subtracts the means of all mounted cars, with or without those that lack a horsepower.

    Asked about an average car, and about cars that differ from it in one quantity: what changes is that quantity's
    column, and it is 0 for the average car if that mean was subtracted. The means of four fifths of the cars lie a
    fortieth of a standard deviation off: that all three are within a five-hundredth is rare.
    """
    cars = mounted_cars(heldout).inputs.astype("float64")
    lacking = np.isnan(cars[:, HORSEPOWER])
    quantities = (1, 3, 4)  # displacement, weight, acceleration: not rounded on the way, and none is missing
    for these in (cars, cars[~lacking]):
        mean = np.where(np.isnan(these).any(axis=0), 100, these.mean(axis=0))
        steps = np.stack([mean, *(mean + np.eye(7)[at] * these[:, at].std() for at in quantities)])
        values = attempt(student, with_origin(steps, 1), like)
        if len(values) != len(steps) or not np.isfinite(values).all():
            continue
        changes = np.abs(values[1:] - values[0])
        columns = changes.argmax(axis=1)
        if (np.abs(values[0][columns]) < 0.002 * changes.max(axis=1)).all():
            return True
    return False


# ---------------------------------------------------------------- judging the model and its training


def layers(student, model, described):
    """The layers in order; those of a model in the model stand in its place."""
    found = []
    for at, row in enumerate(described.get("layers") or []):
        if isinstance(row, dict) and row.get("kind") in ("Sequential", "Functional"):
            inside = student.helper("describe", model.layers[at])
            found += [r for r in inside.get("layers", []) if isinstance(r, dict)] if isinstance(inside, dict) else []
        elif isinstance(row, dict):
            found.append(row)
    return found


def bends(rows, at):
    """Whether a dense layer has an activation: its own, or a layer of its own right after it."""
    if rows[at].get("config", {}).get("activation") != "linear":
        return True
    for row in rows[at + 1 :]:
        kind = str(row.get("kind"))
        if kind == "Activation":
            return row.get("config", {}).get("activation") != "linear"
        if kind in ("BatchNormalization", "LayerNormalization", "Dropout"):
            continue
        return kind.endswith(("ReLU", "LU")) or kind == "Softmax"
    return False


def is_trained(student, model, compiled):
    """Whether that model is the graded one, or has taken training steps."""
    graded = student.model
    return bool(compiled.get("iterations")) or bool(student.helper("same", model, graded))


def was_trained(student):
    """Whether training changed the graded model. Only observed, but it can only take points away, never give any."""
    model = student.model
    found = model.bench.helper("live", "training", model.live, evidence=None)
    change = found.get("moved") if isinstance(found, dict) else None
    return change > 1e-4 if isinstance(change, float) else bool(isinstance(found, dict) and found.get("unseen"))


def last_fit(student):
    """The record of the model's last training that finished an epoch; fails the check where there is none."""
    found = student.model.training().get("fits")
    fits = [fit for fit in found if isinstance(fit, dict)] if isinstance(found, list) else []
    if not fits:
        fail("the model was never trained with fit", expected="model.fit(normalize(train), …)")
    return next((fit for fit in reversed(fits) if fit.get("epochs")), fits[-1])


def recorded(student):
    """How many epochs of validation error `history` holds; 0 where there is none."""
    for remote in (student.history.history, student.history):
        try:
            found = remote.value()
        except AssertionError:
            continue
        if isinstance(found, dict):
            series = next((values for name, values in found.items() if str(name).startswith("val_")), [])
            return len(series) if isinstance(series, list | np.ndarray) else 0
    return 0
