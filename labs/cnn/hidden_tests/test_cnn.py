"""Hidden suite of the cnn lab.

Theory of operation. The model is asked in the clean sandbox, in the range of pixels it was trained on. On digits in
the middle of the picture a convolutional network and a dense one are near each other, on digits moved by two pixels
they are far apart: "shifts" tells the two apart, "accuracy" does not. The function is asked about sizes drawn for this
submission. What it raises is part of what it does: where the sizes make no sense only a ValueError is right.
"""

import numpy as np

from grader.checks import VERIFIED, Parts, assert_accuracy, award, check, require
from grader.checks.classifier import assert_saved_is_model, scales_inside, scores
from grader.checks.convention import as_trained

DIGITS = 10
#: More than any network of this lab needs, and far less than a table of the test digits (3.9 million on the full data).
NO_TABLE = 1_000_000
#: The share of "accuracy" that is left to a network that reads raw grey values: it trains nearly as well (measured).
UNSCALED = 0.9
#: A digit that moves by two pixels stays in the picture: MNIST has a margin of four.
MOVED = 2


@check(
    "accuracy",
    points=40,
    evidence=VERIFIED,
    hint="Scale the pixels to 0-1, train on x_train with its own y_train, and let the training loss settle.",
)
def test_reads_unseen_digits(student, heldout, threshold):
    """Your network reads digits it has never seen."""
    digits = as_trained(student.model, heldout)
    parameters = student.model.parameters()
    require(
        parameters is not None and parameters <= NO_TABLE,
        "the model cannot be described" if parameters is None else f"the model has {parameters:,} parameters",
        expected=f"at most {student.model.max_parameters:,}; a model of more than {NO_TABLE:,} is not asked about digits",
        hint="Put a MaxPooling2D after each convolution: Flatten makes one input for every value that is left.",
    )
    value = assert_accuracy(
        scores(student.model, digits.inputs, DIGITS), digits.labels, threshold("accuracy"), classes=DIGITS
    )
    if digits.high > 10 and not scales_inside(student.model):
        award(
            UNSCALED,
            found=f"{value:.1%} of the held-out examples are right, asked in grey values from 0 to 255",
            expected="a network of scaled pixels",
            hint="Divide x_train and x_test by 255 before fit, or begin the model with Rescaling(1 / 255).",
        )


@check(
    "shifts",
    points=15,
    evidence=VERIFIED,
    needs=("accuracy",),
    hint="This is what convolution and pooling are for: a dense network loses every fifth digit when they move.",
)
def test_reads_moved_digits(student, heldout, threshold):
    """Your network still reads digits that were moved by two pixels, where a dense one fails."""
    digits = as_trained(student.model, heldout)
    moved = digits.shifted(MOVED, 1.0)
    assert_accuracy(scores(student.model, moved, DIGITS), digits.labels, threshold("shifted"), classes=DIGITS)


@check("structure", points=15, evidence=VERIFIED)
def test_has_the_parts_of_a_convolutional_network(student):
    """Your network convolves, pools, ends in a dense part, and is small."""
    kinds = kinds_of(student)
    parameters, budget = student.model.parameters(), student.model.max_parameters
    parts = Parts()
    convolves = parts.add(
        "there is a convolution",
        any("Conv" in kind for kind in kinds),
        weight=5,
        hint="Begin with keras.layers.Conv2D(8, 3, activation='relu').",
    )
    parts.add(
        "there is pooling after a convolution",
        after(kinds, "Pooling", "Conv"),
        weight=4,
        hint="Put keras.layers.MaxPooling2D() after a convolution.",
    )
    parts.add(
        "there is a dense part after a convolution",
        after(kinds, "Dense", "Conv"),
        weight=3,
        hint="After Flatten or GlobalAveragePooling2D, a Dense(10) decides which digit it is.",
    )
    parts.add(
        f"at most {budget:,} parameters",
        convolves and parameters is not None and parameters <= budget,
        weight=3,
        hint=f"Yours has {parameters or 0:,}: pool after each convolution, or give the dense layer fewer units."
        if parameters is None or parameters > budget
        else "A small dense network is no small convolutional network.",
    )
    parts.award(expected=f"convolution, pooling, a dense part, at most {budget:,} parameters")


@check(
    "output_size",
    points=15,
    evidence=VERIFIED,
    hint="(w - f + 2 * p) // s + 1, and raise ValueError(...) where the sizes make no sense.",
)
def test_computes_the_output_size(student, chance):
    """`conv_output_size(w, f, p, s)` is right for hidden sizes, rounds down, and refuses sizes that make no sense."""
    even, odd = drawn_sizes(chance)
    answers = [answer(student, *sizes) for sizes in even + odd]
    if all(isinstance(found, AssertionError) for found in answers):
        raise answers[0]
    sizes_match = [is_size(found, *sizes) for found, sizes in zip(answers, even, strict=False)]
    rounds_down = [
        is_size(found, *sizes) and is_whole(found) for found, sizes in zip(answers[len(even) :], odd, strict=True)
    ]
    sensible = any(sizes_match)
    refuses = [student.conv_output_size.raises(*sizes) for sizes in impossible_sizes(chance)] if sensible else []
    others = sorted({kind for kind in refuses if kind not in ("", "ValueError")})
    instead = f", not {', '.join(others)[:80]}" if others else ""
    parts = Parts()
    parts.add(
        f"right where the steps fill the row ({sum(sizes_match)} of {len(sizes_match)} sizes)",
        all(sizes_match),
        weight=5,
        hint="The padding is on both sides: the padded row has w + 2 * p pixels. The first place counts too: + 1.",
    )
    parts.add(
        f"right, and a whole number, where a rest remains ({sum(rounds_down)} of {len(rounds_down)} sizes)",
        all(rounds_down),
        weight=5,
        hint="A step over the edge is not taken: divide with //, which rounds down, and not with / or round.",
    )
    parts.add(
        f"a ValueError for sizes that make no sense ({refuses.count('ValueError')} of {len(refuses)}){instead}",
        bool(refuses) and all(kind == "ValueError" for kind in refuses),
        weight=5,
        hint="raise ValueError(...) if the filter is wider than w + 2 * p, if w, f or s is below 1, or if p is negative."
        if sensible
        else "Get the sensible sizes right first.",
    )
    parts.award(expected="the number of places as an int, or a ValueError")


@check(
    "reload",
    points=15,
    evidence=VERIFIED,
    needs=("accuracy",),
    hint='Call model.save("cnn.keras") after the training, as the last thing you do to the model.',
)
def test_the_saved_file_is_the_model(student, heldout):
    """`cnn.keras` can be loaded without your notebook and predicts what your model predicts."""
    digits = as_trained(student.model, heldout).subset(200)
    assert_saved_is_model(student, "cnn.keras", student.model, digits.inputs, DIGITS)


# ---------------------------------------------------------------- what the checks share


def kinds_of(student):
    """The kinds of all layers, in order."""
    found = student.model.description().get("kinds")
    return [str(kind) for kind in found] if isinstance(found, list) else []


def after(kinds, later, earlier):
    """Whether a layer of the kind ``later`` follows one of the kind ``earlier``."""
    first = next((at for at, kind in enumerate(kinds) if earlier in kind), None)
    return first is not None and any(later in kind for kind in kinds[first + 1 :])


def drawn_sizes(chance):
    """Sizes (w, f, p, s) whose steps fill the row exactly, and others where a rest remains.

    Together they tell every slip apart: strides of 1 and more, with and without padding, a filter as wide as the padded
    row, and rests below, at and above half a step, so that rounding cannot pass for rounding down. Padding larger than
    the rest shows when it is counted once: a smaller one would vanish in the rounding.
    """
    even = [(28, 5, 2, 1), (7, 3, 0, 2)]
    for most in (0, 1, 3):
        stride, width, steps = (int(chance.integers(low, high)) for low, high in ((1, 5), (2, 12), (3, 40)))
        padding = min(most, width - 1)
        even.append((width + steps * stride - 2 * padding, width, padding, stride))
    wide = int(chance.integers(6, 30))
    even.append((wide, wide + 2, 1, int(chance.integers(2, 5))))
    odd = [(8, 3, 0, 2)]
    for stride, rest, padding in ((2, 1, 2), (3, 1, 0), (3, 2, 0), (5, 4, 5)):
        width, steps = (int(chance.integers(low, high)) for low, high in ((2, 12), (3, 40)))
        odd.append((width + steps * stride + rest - 2 * padding, width, padding, stride))
    return even, odd


def impossible_sizes(chance):
    """Sizes that make no sense, one for each reason of the handout."""
    w, f = int(chance.integers(12, 40)), int(chance.integers(2, 8))
    return [
        (w, w + 1, 0, 1),
        (w, w + 6, 2, 2),
        (w, f, 0, 0),
        (w, f, 1, -1),
        (w, f, -1, 1),
        (w, 0, 0, 1),
        (0, 1, 1, 1),
    ]


def answer(student, *sizes):
    """What the function gives for these sizes; the failure where it gives nothing."""
    try:
        return student.conv_output_size(*sizes)
    except AssertionError as error:
        return error


def is_size(found, w, f, p, s):
    """Whether an answer equals the number of places. A float such as 14.0 does."""
    number = isinstance(found, int | float | np.ndarray) and not isinstance(found, bool) and np.size(found) == 1
    return number and bool(np.all(np.asarray(found) == (w + 2 * p - f) // s + 1))


def is_whole(found):
    """Whether an answer is a number of a whole type, of Python, NumPy or TensorFlow."""
    return np.asarray(found).dtype.kind in "iu"
