"""Hidden suite of the mnist lab.

Pixels are asked in the range the model was trained on, so that a forgotten division by 255 costs the points of that
check and not those of reading digits. A model that gives logits loses one part of "probabilities" and nothing else.
"""

from grader.checks import OBSERVED, VERIFIED, Parts, assert_accuracy, check, fail, require
from grader.checks.classifier import (
    are_probabilities,
    assert_saved_is_model,
    epoch_losses,
    fell,
    fits,
    probability_parts,
    require_moved,
    scales_inside,
    scores,
)
from grader.checks.convention import as_trained

DIGITS = 10


@check(
    "accuracy",
    points=40,
    evidence=VERIFIED,
    hint="Scale the pixels to 0-1, train on x_train with its own y_train, and let the training loss settle.",
)
def test_reads_unseen_digits(student, heldout, threshold):
    """Your model reads digits it has never seen."""
    digits = as_trained(student.model, heldout)
    student.model.require_budget(hint="A dense network with 128 hidden units has 101,770 and reads digits well.")
    assert_accuracy(scores(student.model, digits.inputs, DIGITS), digits.labels, threshold("accuracy"), classes=DIGITS)


@check(
    "shifts",
    points=10,
    evidence=VERIFIED,
    needs=("accuracy",),
    hint="A model that has learnt single pixels by heart fails here: use dropout, and stop before it overfits.",
)
def test_reads_moved_and_darker_digits(student, heldout, threshold):
    """Your model still reads digits that are moved by one pixel and a little darker."""
    digits = as_trained(student.model, heldout)
    answers = scores(student.model, digits.shifted(1, 0.7), DIGITS)
    assert_accuracy(answers, digits.labels, threshold("shifted"), classes=DIGITS)


@check("probabilities", points=10, evidence=VERIFIED)
def test_rows_are_probabilities(student, heldout):
    """Every image gets ten probabilities, the same ones whether it comes alone or in a batch."""
    digits = as_trained(student.model, heldout).subset(200)
    whole = scores(student.model, digits.inputs, DIGITS)
    parts = probability_parts(student.model, digits, whole, rows=4, batches=4)
    parts.award(expected="ten probabilities for each image, in batches of any size")


@check(
    "scaled",
    points=10,
    evidence=OBSERVED,
    hint="Divide by 255 before fit: x_train / 255 (and x_test too), or begin the model with Rescaling(1/255).",
)
def test_inputs_were_scaled(student, heldout):
    """The pixels were scaled to small numbers before the training."""
    fit = last_fit(student)
    if scales_inside(student.model):
        return
    low, high, mean = (number(fit.get("x"), key) for key in ("low", "high", "mean"))
    if low is None or high is None or mean is None:  # a tf.data data set: ask in which range the model is at home
        small = as_trained(student.model, heldout).high <= 10
        require(small, "the model wants grey values from 0 to 255", expected="small values, such as 0 to 1")
        return
    # Grey values of digits have the mean 33. Pixels standardised one by one have outliers, and the mean 0.
    require(
        max(-low, high) <= 10 or abs(mean) <= 2,
        f"the training images had values from {low:g} to {high:g}",
        expected="small values, such as 0 to 1",
    )


@check("loss", points=10, evidence=OBSERVED)
def test_loss_fits_labels_and_output(student, heldout):
    """The loss is the cross-entropy that fits your labels and the last layer of your model."""
    compiled = student.model.compiled() or inner(student)
    require(bool(compiled), "the model was never compiled", expected="model.compile with a loss", hint="Call compile.")
    loss = str(compiled.get("loss", "")).lower().replace("_", "")
    sparse, one_hot = loss.startswith("sparsecategorical"), loss.startswith("categoricalcross")
    shown = str(compiled.get("loss"))[:60]
    parts = Parts()
    parts.add(
        "the loss is a cross-entropy over classes",
        sparse or one_hot,
        weight=2,
        hint=f"{shown} is not made for choosing one of ten classes.",
    )
    parts.add(
        "the loss fits the labels",
        (sparse and labels_are(student, "numbers")) or (one_hot and labels_are(student, "vectors")),
        weight=4,
        hint="Whole numbers as labels want sparse_categorical_crossentropy, one-hot vectors categorical_crossentropy.",
    )
    logits = bool(compiled.get("from_logits"))
    parts.add(
        "from_logits says what the model gives",
        (sparse or one_hot) and logits is not gave_probabilities(student, heldout),
        weight=4,
        hint="With softmax in the last layer leave from_logits out; without softmax set from_logits=True.",
    )
    parts.award(expected="a cross-entropy, sparse for whole-number labels, from_logits only without softmax")


@check("trained", points=10, evidence=OBSERVED, hint="Call model.fit(x_train, y_train, epochs=5) and run that cell.")
def test_was_trained_in_this_notebook(student):
    """The model was trained in this notebook: its weights moved and its loss fell."""
    require_moved(student.model.training())
    losses = epoch_losses(fits(student, student.model))
    parts = Parts()
    parts.add("fit finished at least one epoch", bool(losses), weight=4)
    parts.add(
        "the training loss fell",
        fell(losses, DIGITS),
        weight=6,
        hint="The loss does not fall: are images and labels still in the same order, and is the learning rate small?",
    )
    parts.award(expected="weights that moved and a loss that fell")


@check(
    "reload",
    points=10,
    evidence=VERIFIED,
    needs=("trained",),
    hint='Call model.save("mnist.keras") after the training, as the last thing you do to the model.',
)
def test_the_saved_file_is_the_model(student, heldout):
    """`mnist.keras` can be loaded without your notebook and predicts what your model predicts."""
    digits = as_trained(student.model, heldout).subset(200)
    assert_saved_is_model(student, "mnist.keras", student.model, digits.inputs, DIGITS)


def layers(student):
    """The layers of the model, in order; those of a first layer that is itself a model are not listed."""
    found = student.model.description().get("layers")
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def last_fit(student):
    """The last of them; fails the check where there is none."""
    found = fits(student, student.model)
    if not found:
        fail("the model was never trained with fit", expected="model.fit(x_train, y_train, …)")
    return found[-1]


def number(record, key):
    """That entry of a record if it is a number."""
    value = record.get(key) if isinstance(record, dict) else None
    return float(value) if isinstance(value, int | float) else None


def labels_are(student, what):
    """Whether the labels of the last training were "numbers" (one for each image) or "vectors" (one-hot).

    Of a tf.data data set nothing is recorded; there Keras refuses a cross-entropy of the other kind, so that a training
    that finished an epoch is proof enough.
    """
    found = fits(student, student.model)
    labels = found[-1].get("y") if found else None
    shape = labels.get("shape") if isinstance(labels, dict) else None
    if isinstance(shape, list) and shape:
        return what == ("vectors" if shape[1:] == [DIGITS] else "numbers")
    return bool(found) and bool(found[-1].get("epochs"))


def inner(student):
    """How the model inside was compiled, for `model = keras.Sequential([model, keras.layers.Softmax()])`."""
    if [row.get("kind") for row in layers(student)][1:] not in (["Softmax"], ["Activation"]):
        return {}
    found = student.helper("describe", student.model.live.layers[0])
    compiled = found.get("compiled") if isinstance(found, dict) else None
    return compiled if isinstance(compiled, dict) else {}


def gave_probabilities(student, heldout):
    """Whether the model gave the loss probabilities; one that was wrapped later was trained on what is inside."""
    digits = as_trained(student.model, heldout).subset(50)
    return are_probabilities(scores(student.model, digits.inputs, DIGITS)) and bool(student.model.compiled())
