"""Hidden suite of the fashion_mnist lab.

Theory of operation. The kept model is asked about withheld images, in the range of pixels that it was trained on. What
it answers there is also what `predict_label` must name: its answers are compared with the model's, never with the
labels, so that an error of the model costs no points of the function; only a class that it never chooses cannot be
asked, and earns nothing. The names must be those of the data set, in the order of its labels, which a notebook that is
consistent in itself can still get wrong.
"""

import numpy as np

from grader.checks import OBSERVED, VERIFIED, Parts, assert_accuracy, award, check, fail, measure
from grader.checks.classifier import epoch_losses, fell, fits, probability_parts, require_moved, scores
from grader.checks.convention import as_trained
from grader.rubric import linear_credit

CLASSES = 10
#: Images that `predict_label` is asked about for each class the model chooses: 20 in all, at 50 ms each.
ASKED = 2
#: The two best classes of an image must be this far apart, or rounding could decide between them.
MARGIN = 0.05
#: No probability that went through a softmax again can exceed e / (e + 9) = 0.232.
TWICE = 0.24
#: Short forms that mean the same class; case, spaces, hyphens and a plural s do not matter anyway.
SHORT = {0: ("tshirt", "top"), 1: ("pant",), 9: ("boot",)}


@check(
    "accuracy",
    points=40,
    evidence=VERIFIED,
    hint="Scale the pixels to 0-1, train on x_train with its own y_train, and let the training loss settle.",
)
def test_recognises_unseen_clothes(student, heldout, threshold):
    """Your model recognises pieces of clothing it has never seen."""
    student.model.require_budget(hint="A dense network with 128 hidden units has 101,770 and is enough.")
    images = as_trained(student.model, heldout)
    assert_accuracy(
        scores(student.model, images.inputs, CLASSES), images.labels, threshold("accuracy"), classes=CLASSES
    )


@check(
    "predict_label",
    points=20,
    evidence=VERIFIED,
    hint="Ask the model about a batch of one, image[np.newaxis], take np.argmax of its row, and return class_names[…].",
)
def test_predict_label_names_what_the_model_sees(student, heldout):
    """`predict_label(image)` gives the name of the class that your model chooses, for images of every class."""
    images = as_trained(student.model, heldout)
    rows = rows_by_choice(scores(student.model, images.inputs, CLASSES))
    right, wrong = 0, []
    for label in range(CLASSES):
        answers = [text_of(student.predict_label(images.inputs.array()[row])) for row in rows[label]]
        other = [answer for answer in answers if not names(answer, label, heldout.label_names)]
        right += bool(answers) and not other
        wrong += [(label, answer) for answer in other]
    never = [heldout.label_names[label] for label in range(CLASSES) if not rows[label]]
    found = [f"right for {right} of {CLASSES} classes"]
    if wrong:
        label, answer = wrong[0]
        found.append(f"an image that your model takes for {heldout.label_names[label]!r} is called {answer[:40]!r}")
    if never:
        found.append(f"your model never chooses {', '.join(never)}, so these names could not be asked")
    award(right / CLASSES, found="; ".join(found), expected="the name of the class that the model finds most likely")


@check(
    "every_class",
    points=15,
    evidence=VERIFIED,
    hint="Print the share of right answers for each class. Are all ten classes in the images you train on?",
)
def test_no_class_is_abandoned(student, heldout, threshold):
    """Your model recognises each of the ten classes, even the most difficult one."""
    images = as_trained(student.model, heldout)
    chosen = scores(student.model, images.inputs, CLASSES).argmax(axis=1)
    recalls = [float((chosen[images.labels == label] == label).mean()) for label in range(CLASSES)]
    worst = int(np.argmin(recalls))
    limit = threshold("recall")
    measure(recalls[worst])
    award(
        linear_credit(recalls[worst], limit.floor, limit.full),
        found=f"least often recognised: {heldout.label_names[worst]}, {recalls[worst]:.0%} of the images of that class",
        expected="every class recognised about as often as a correct solution does (see the handout)",
        staff=f"floor {limit.floor:g}, full {limit.full:g}, recalls " + " ".join(f"{value:.2f}" for value in recalls),
    )


@check("probabilities", points=10, evidence=VERIFIED)
def test_rows_are_probabilities(student, heldout):
    """Every image gets ten probabilities, the same ones whether it comes alone or in a batch."""
    images = as_trained(student.model, heldout).subset(200)
    whole = scores(student.model, images.inputs, CLASSES)
    parts = probability_parts(student.model, images, whole, rows=4, batches=2)
    parts.add(
        "the model can be sure of an image",
        float(whole.max()) > TWICE,
        weight=2,
        hint="No class ever gets more than a quarter: was the softmax applied twice, or nothing learnt?",
    )
    parts.award(expected="ten probabilities for each image, in batches of any size")


@check("trained", points=15, evidence=OBSERVED, hint="Call model.fit(x_train, y_train, epochs=10) and run that cell.")
def test_was_trained_in_this_notebook(student, heldout):
    """The model was trained in this notebook: its weights moved and its loss fell."""
    training = student.model.training()
    require_moved(training)
    losses = epoch_losses(fits(student, student.model))
    own_loop = not losses and bool(training.get("tape_gradients"))
    parts = Parts()
    parts.add("the training finished at least one epoch", bool(losses) or own_loop, weight=6)
    parts.add(
        "the training loss fell",
        fell(losses, CLASSES) or (own_loop and knows(student, heldout)),
        weight=9,
        hint="The loss does not fall: are images and labels still in the same order, and is the learning rate small?",
    )
    parts.award(expected="weights that moved and a loss that fell")


# ---------------------------------------------------------------- what the model says


def knows(student, heldout):
    """Whether the model recognises most of the images it could have seen: what a loss that fell leads to."""
    images = as_trained(student.model, heldout)
    rows = images.public_inputs.subset(300)
    answers = scores(student.model, rows, CLASSES)
    return float((answers.argmax(axis=1) == images.public_labels[: len(rows)]).mean()) > 0.5


# ---------------------------------------------------------------- what predict_label says


def rows_by_choice(scores):
    """For each class the rows of a few images that the model takes for it, without those it cannot decide."""
    best = np.sort(scores, axis=1)
    clear = best[:, -1] - best[:, -2] > MARGIN
    chosen = scores.argmax(axis=1)
    return [np.flatnonzero(clear & (chosen == label))[:ASKED].tolist() for label in range(CLASSES)]


def text_of(answer):
    """The answer as text; fails the check for anything else."""
    if isinstance(answer, bytes):  # a string tensor
        answer = answer.decode(errors="replace")
    if not isinstance(answer, str):
        kind = "a number" if isinstance(answer, int | float | np.ndarray) else f"a {type(answer).__name__}"
        fail(
            f"predict_label answers with {'None' if answer is None else kind}",
            expected="one of the ten names, as text",
            hint="Return class_names[…] at the place of the largest probability, and do not forget the return.",
        )
    return answer


def names(answer, label, label_names):
    """Whether the text names that class."""
    return plain(answer) in {plain(label_names[label]), *SHORT.get(label, ())}


def plain(text):
    """The letters of a name, without case and plural: "Ankle boots" and "ankle-boot" are the same."""
    return "".join(letter for letter in text.casefold() if letter.isalpha()).rstrip("s")
