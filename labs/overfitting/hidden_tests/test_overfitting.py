"""Hidden suite of the overfitting lab.

Theory of operation. Overfitting shows in two numbers over time: the cross-entropy on reviews that a model was trained
on, and on reviews it has never seen. Both are computed here, from predictions that the weights of an epoch (snapshots,
copied while `fit` ran) and the kept models give in the clean sandbox. So neither a penalty nor a dropout that is active
in training is part of them. The reviews cross as rows of 0 and 1; what they were labelled never does.

The *gap* of a model is the second number less the first, averaged over the epochs compared: one epoch alone may be an
outlier (calibration.md). A model that learnt nothing has no gap either, so it also has to get enough reviews right.
"""

import math
from dataclasses import dataclass

import numpy as np

from grader.checks import OBSERVED, VERIFIED, as_array, award, check, fail, measure, require
from grader.heldout.chance import permutation, seed_of
from grader.heldout.division import divide
from grader.heldout.reviews import encode
from grader.rubric import linear_credit

WORDS = 10_000
#: Reviews asked about, of each kind: 15 MB a question.
ASKED = 1500
#: Students train on the first 10,000; the lite data has 4,000.
TRAINED_ON = 4000
#: The bigger model is to overfit within this many epochs, the others are compared up to that many.
FEW, MANY = 5, 10
#: [contract.bigger_model] max_parameters of the spec: two hidden layers of 512 units have 5,383,681.
MOST_PARAMETERS = 6_000_000
#: Training is not smooth: after five epochs the loss on reviews trained on may be above what it was after one (it was in one
#: run of 20). That it is well below anything ever reached on unseen reviews holds all the same.
WELL_BELOW = 0.9
DROPOUTS = ("Dropout", "AlphaDropout", "GaussianDropout")


@check(
    "sizes",
    points=10,
    evidence=OBSERVED,
    hint="Build each model anew, with other numbers of units, train each, and keep what its fit returns.",
)
def test_models_of_three_sizes(student):
    """`smaller_model`, `baseline_model` and `bigger_model` rise in size, and each was trained."""
    smaller, baseline, bigger = (
        parameters(getattr(student, f"{name}_model")) for name in ("smaller", "baseline", "bigger")
    )
    require(
        bigger <= MOST_PARAMETERS, f"bigger_model has {bigger:,} parameters", expected=f"at most {MOST_PARAMETERS:,}"
    )
    share = Share()
    share.add("smaller_model is smaller than baseline_model", 3, smaller < baseline)
    share.add("bigger_model is bigger than baseline_model", 3, bigger > baseline)
    share.add("baseline_history is that of baseline_model", 2, bool(kept_history(student, "baseline")))
    share.add("smaller_history is that of smaller_model", 2, bool(kept_history(student, "smaller")))
    share.award(
        found=f"{smaller:,}, {baseline:,} and {bigger:,} parameters",
        expected="three models that rise in size, each trained, each with its history",
    )


@check(
    "overfits",
    points=25,
    evidence=OBSERVED,
    hint="Give bigger_model far more units than the baseline, train it for five epochs, and do not stop it early.",
)
def test_the_bigger_model_overfits(student, heldout, threshold):
    """Within five epochs `bigger_model` overfits: its loss falls on what it is trained on, and rises on unseen reviews."""
    model = student.bigger_model
    require(
        parameters(model) > parameters(student.baseline_model),
        "bigger_model is not bigger than baseline_model",
        expected="a model with far more parameters",
    )
    losses = over_time(model, heldout, 1, FEW)
    trained = epochs(model)
    if 0 < trained < FEW:
        losses[trained] = losses_of(model, heldout)
    require(len(losses) > 1, "bigger_model was trained for fewer than two epochs with fit", expected="five epochs")
    first, last = losses[min(losses)], losses[max(losses)]
    lowest = min(at.unseen for at in losses.values())
    rise = (last.unseen - lowest) / lowest
    limit = threshold("rise")
    measure(rise)
    falls = last.seen < WELL_BELOW * lowest
    share = Share()
    share.add("its loss on the reviews it is trained on falls below any on unseen ones", 5, falls)
    share.add(
        "its loss on unseen reviews rises after its minimum", 15, falls * linear_credit(rise, limit.floor, limit.full)
    )
    share.add("bigger_history shows it: val_loss ends above its minimum", 5, rises(kept_history(student, "bigger")))
    share.award(
        found=f"after {max(losses)} epochs the loss on unseen reviews is {last.unseen:.3f}, after {min(losses)} it was "
        f"{first.unseen:.3f}",
        expected="a loss that falls in training while it rises on unseen reviews",
        staff=f"rise {rise:.4f} of the minimum (floor {limit.floor:g}, full {limit.full:g}), {shown(losses)}",
    )


@check(
    "l2",
    points=17,
    evidence=OBSERVED,
    hint="Dense(16, kernel_regularizer=keras.regularizers.L2(0.01), …) in both hidden layers, and all else as in the baseline.",
)
def test_l2_narrows_the_gap(student, heldout, threshold):
    """`l2_model` penalises large weights, and so fits unseen reviews nearly as well as those it is trained on."""
    require(epochs(student.l2_model) > 0, "l2_model was not trained with fit", expected="ten epochs of training")
    hidden = [row for row in layers(student.l2_model) if row.get("kind") == "Dense"][:-1]
    factors = [number((row.get("config") or {}).get("l2")) for row in hidden]
    share = Share()
    share.add("every hidden layer has an L2 penalty", 6, bool(factors) and all(factor > 0 for factor in factors))
    share.add("l2_history is that of l2_model", 2, bool(kept_history(student, "l2")))
    award_narrowing(share, 9, student, "l2", heldout, threshold)


@check(
    "dropout",
    points=18,
    evidence=OBSERVED,
    hint="Dropout(0.5) after each hidden layer, none after the output, and all else as in the baseline.",
)
def test_dropout_narrows_the_gap(student, heldout, threshold):
    """`dropout_model` drops units in training, and so fits unseen reviews nearly as well as those it is trained on."""
    require(
        epochs(student.dropout_model) > 0, "dropout_model was not trained with fit", expected="ten epochs of training"
    )
    rows = layers(student.dropout_model)
    share = Share()
    share.add("there is a Dropout layer between the hidden layers and the output, and none after it", 6, drops(rows))
    share.add("dropout_history is that of dropout_model", 2, bool(kept_history(student, "dropout")))
    award_narrowing(share, 10, student, "dropout", heldout, threshold)


@check(
    "inference",
    points=10,
    evidence=OBSERVED,
    hint="Put keras.layers.Dropout(rate) into the model and leave its training argument alone.",
)
def test_dropout_is_inactive_at_inference(student, heldout):
    """`dropout_model` drops units in training only: asked for a prediction, it gives the same one every time."""
    few = unseen_reviews(heldout.subset(200))
    kept = as_array(student.dropout_model.predict(few), (200, 1), "the predictions")
    training = as_array(student.dropout_model.predict_training(few), (200, 1), "the predictions in training")
    require(
        not np.allclose(kept, training, atol=1e-4),
        "training changes nothing: the model drops no units",
        expected="a Dropout layer with a rate above 0",
    )
    # The kept copy is told that it does not train, which overrules training=True: only the notebook's own model shows it.
    own = as_array(student.dropout_model.student_predict(few), (200, 1), "the predictions of dropout_model.predict")
    require(
        np.allclose(kept, own, atol=1e-4),
        "dropout_model.predict drops units: asked about the same reviews, it gives other predictions each time",
        expected="the same prediction every time",
    )


@check(
    "encoding",
    points=20,
    evidence=VERIFIED,
    hint="results = np.zeros((len(sequences), dimension), dtype='float32'), then results[i, words] = 1.0 for each review.",
)
def test_multi_hot_encoding(student, heldout):
    """`multi_hot_sequences` puts a 1 where a word occurs and 0 elsewhere, as float32, for reviews it has never seen."""
    reviews = [*heldout.reviews()[:40], [7], [7, 7, 7], [0, WORDS - 1]]
    answer = encoded(student, reviews, WORDS)
    right = multi_hot(reviews, WORDS)
    off = int(((answer != 0) != (right != 0)).any(axis=1).sum())
    require(
        off == 0,
        f"the numbers that are not 0 stand in wrong columns in {off} of {len(reviews)} reviews",
        expected="a number in column i exactly where word i occurs",
        hint="Word number 7 belongs into column 7: add and subtract nothing.",
    )
    share = Share()
    share.add("the columns are right", 10, True)
    share.add("there is nothing but 0 and 1, however often a word occurs", 4, bool((answer == right).all()))
    share.add("the numbers are float32", 4, answer.dtype == np.float32)
    short = [[1, 2, 2], [0, 4], [3]]
    share.add("another dimension gives as many columns", 1, fits(student, short, 5))
    # By itself: np.array([]) holds floats and cannot be an index, so that all of a right table would be lost to it.
    empty = fits(student, [[3], [], [0, 4]], 5)
    share.add("an empty review, one without any known word, gives a row of zeros", 1, empty)
    share.award(found=f"an array of {answer.dtype}", expected="0.0 and 1.0 as float32")


# ---------------------------------------------------------------- losses over time


@dataclass(frozen=True)
class Losses:
    """Cross-entropy on reviews of the training data and on unseen ones, and the share of the latter that is right."""

    seen: float
    unseen: float
    accuracy: float

    @property
    def gap(self):
        return self.unseen - self.seen


@dataclass(frozen=True)
class Rows:
    """Reviews as rows of 0 and 1, made when they are sent. ``key`` names them on the tape."""

    key: str
    reviews: object

    def array(self):
        return multi_hot(self.reviews(), WORDS).astype("uint8")


def unseen_reviews(heldout):
    return Rows(f"{heldout.inputs.key} multi-hot", heldout.reviews)


def seen_rows(heldout):
    """Which of the first training reviews are asked about, in the file's order.

    Keras's load_data shuffles the file with this seed, so the students' first reviews are not the file's first.
    """
    count = len(divide(heldout.source, heldout.secret).train)
    order = np.random.RandomState(113).permutation(count)[:TRAINED_ON]
    return order[permutation(seed_of(heldout.secret, heldout.submission, "training reviews"), len(order))[:ASKED]]


def seen_reviews(heldout):
    train = divide(heldout.source, heldout.secret).train
    rows = seen_rows(heldout)
    key = f"{heldout.inputs.key} training multi-hot"
    return Rows(key, lambda: [row.tolist() for row in encode(train.inputs[rows])]), train.labels[rows]


def losses_of(model, heldout):
    """Of a model or a snapshot of one."""
    few = heldout.subset(ASKED)
    seen, labels = seen_reviews(heldout)
    on_seen = probabilities(model.predict(seen), len(labels))
    on_unseen = probabilities(model.predict(unseen_reviews(few)), len(few))
    right = float(((on_unseen > 0.5) == few.labels).mean())
    return Losses(cross_entropy(on_seen, labels), cross_entropy(on_unseen, few.labels), right)


def over_time(model, heldout, first, last):
    """Losses after each epoch from ``first`` to ``last`` that there is a snapshot of."""
    return {s.epoch: losses_of(s, heldout) for s in model.snapshots() if first <= s.epoch <= last}


def probabilities(answer, rows):
    values = as_array(answer, (rows, 1), "the predictions")[:, 0]
    require(
        bool(((values >= 0) & (values <= 1)).all()),
        "some predictions are no probabilities",
        expected="one number between 0 and 1 for each review",
        hint='End the model with Dense(1, activation="sigmoid").',
    )
    return values


def cross_entropy(predicted, labels):
    clipped = np.clip(predicted, 1e-7, 1 - 1e-7)
    return float(-np.where(labels == 1, np.log(clipped), np.log(1 - clipped)).mean())


def award_narrowing(share, points, student, name, heldout, threshold):
    """Award the share with its last part: a gap smaller than the baseline's. What cannot be compared costs that part."""
    try:
        credit, found, staff = narrowing(student, name, heldout, threshold)
    except AssertionError as why:
        credit, found, staff = 0.0, str(why), ""
    share.add("it narrows the gap between seen and unseen reviews, and still tells these apart", points, credit)
    share.award(found=found, expected="a gap clearly smaller than that of the baseline", staff=staff)


def narrowing(student, name, heldout, threshold):
    """(credit, found, staff) for how much of the baseline's gap is left. Raises where the two cannot be compared."""
    baseline, model = student.baseline_model, getattr(student, f"{name}_model")
    same_conditions(baseline, model)
    base, other = over_time(baseline, heldout, 2, MANY), over_time(model, heldout, 2, MANY)
    common = sorted(base.keys() & other.keys())
    require(bool(common), f"the baseline was trained for {epochs(baseline)} epochs, the model for {epochs(model)}")
    gap, mine = (float(np.mean([at[epoch].gap for epoch in common])) for at in (base, other))
    require(gap > 0, "baseline_model fits the first reviews of the training data no better than unseen ones")
    limit = threshold(f"{name}_gap")
    measure(mine / gap)
    learned, accuracy = threshold("learned"), other[max(common)].accuracy
    measure(accuracy)
    return (
        linear_credit(mine / gap, limit.floor, limit.full) * linear_credit(accuracy, learned.floor, learned.full),
        f"the gap is {mine:.3f} where the baseline's is {gap:.3f}; {accuracy:.1%} of the unseen reviews are right",
        (
            f"{mine / gap:.4f} of the baseline's gap (floor {limit.floor:g}, full {limit.full:g}), accuracy {accuracy:.4f} "
            f"(floor {learned.floor:g}, full {learned.full:g}); baseline {shown(base)}; model {shown(other)}"
        ),
    )


def same_conditions(baseline, model):
    """A smaller model, or one that learns more slowly, has a smaller gap without any regularisation."""
    require(
        parameters(baseline) == parameters(model),
        f"the model has {parameters(model):,} parameters, the baseline {parameters(baseline):,}",
    )
    one, two = conditions(baseline), conditions(model)
    differ = [name for name in one if one[name] != two[name]]
    require(not differ, f"the model and the baseline differ in {', '.join(differ)}")


def conditions(model):
    compiled, taught = model.compiled(), epochs(model)
    steps = compiled.get("iterations")
    x = last_fit(model).get("x")
    return {
        "optimizer": compiled.get("optimizer"),
        "learning rate": compiled.get("learning_rate"),
        "steps for each epoch": round(steps / taught) if isinstance(steps, int) and taught else None,
        "number of reviews": (x.get("shape") or [None])[0] if isinstance(x, dict) else None,
    }


# ---------------------------------------------------------------- models and histories


def parameters(model):
    count = model.description().get("parameters")
    return count if isinstance(count, int) else fail("a model cannot be described", expected="a Keras model")


def layers(model):
    found = model.description().get("layers")
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def drops(rows):
    """Whether units are dropped between the first hidden layer and the output, and not of the output itself."""
    dense = [at for at, row in enumerate(rows) if row.get("kind") == "Dense"]
    dropouts = [
        at
        for at, row in enumerate(rows)
        if row.get("kind") in DROPOUTS and 0 < number((row.get("config") or {}).get("rate")) < 1
    ]
    return len(dense) > 1 and any(dense[0] < at < dense[-1] for at in dropouts) and max(dropouts) < dense[-1]


def number(value):
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def fits_of(model):
    found = model.training().get("fits")
    return [fit for fit in found if isinstance(fit, dict)] if isinstance(found, list) else []


def last_fit(model):
    return (fits_of(model) or [{}])[-1]


def epochs(model):
    return sum(fit["epochs"] for fit in fits_of(model) if isinstance(fit.get("epochs"), int))


def kept_history(student, name):
    """The val_loss in `<name>_history` if it is that of `<name>_model`'s training, else []."""
    history = getattr(student, f"{name}_history")
    try:
        record = history.history.value()
    except AssertionError:  # some keep history.history
        record = attempt(history)
    told = series(record)
    logs = [series(fit.get("logs")) for fit in fits_of(getattr(student, f"{name}_model"))]
    return told if told and any(len(told) == len(log) and np.allclose(told, log, atol=1e-5) for log in logs) else []


def attempt(history):
    try:
        return history.value()
    except AssertionError:
        return None


def series(record):
    values = record.get("val_loss") if isinstance(record, dict) else None
    if not isinstance(values, list) or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        return []
    return [float(v) for v in values]


def rises(losses):
    return len(losses) > 1 and losses[-1] > min(losses)


def shown(losses):
    return ", ".join(f"{epoch}: {at.seen:.3f}/{at.unseen:.3f}" for epoch, at in losses.items())


# ---------------------------------------------------------------- encoding and credit


def multi_hot(reviews, dimension):
    rows = np.zeros((len(reviews), dimension), dtype="float32")
    for row, review in zip(rows, reviews, strict=True):
        row[review] = 1.0
    return rows


def encoded(student, reviews, dimension):
    """What multi_hot_sequences gives, as it came; fails the check unless it is a table of numbers of the right size."""
    answer = student.multi_hot_sequences(reviews, dimension)
    as_array(answer, (len(reviews), dimension), "multi_hot_sequences(sequences, dimension)")
    return np.asarray(answer)


def fits(student, reviews, dimension):
    try:
        return bool(((encoded(student, reviews, dimension) != 0) == (multi_hot(reviews, dimension) != 0)).all())
    except AssertionError:
        return False


class Share:
    """Parts with points, some of them earned in part."""

    def __init__(self):
        self.parts = []

    def add(self, name, points, earned):
        """``earned``: a share of the points, or whether they are earned."""
        self.parts.append((name, points, float(earned)))

    def award(self, *, found, expected, staff=""):
        missing = [name for name, _, earned in self.parts if earned < 1]
        award(
            sum(points * earned for _, points, earned in self.parts) / sum(points for _, points, _ in self.parts),
            found=f"{found}\nNot, or in part: {'; '.join(missing)}" if missing else found,
            expected=expected,
            staff=staff,
        )
