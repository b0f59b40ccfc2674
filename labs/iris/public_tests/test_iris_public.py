"""Public suite of the iris lab: the form of what was asked for, on flowers made up here. The hidden suite asks more."""

import numpy as np

from grader.checks import OBSERVED, as_array, assert_close, check, fail, not_assessable, require

FLOWERS = np.array(
    [[5.0, 3.4, 1.5, 0.2], [5.9, 2.8, 4.3, 1.3], [6.6, 3.0, 5.6, 2.0], [5.1, 3.5, 1.4, 0.3], [6.5, 2.9, 5.5, 2.1]],
    dtype="float32",
)
SPECIES = np.array([0, 1, 2, 0, 2])
LABELS = np.array([2, 1, 2, 0, 1])


@check("model", points=10, evidence=OBSERVED, hint="Four numbers in, three scores out: the last layer is Dense(3).")
def test_model_gives_three_scores(student):
    """`model` turns four measurements into three finite scores, for one flower as for many."""
    whole = as_array(student.model.predict(FLOWERS), (len(FLOWERS), 3), "the predictions")
    alone = as_array(student.model.predict(FLOWERS[:1]), (1, 3), "the prediction for one flower")
    assert_close(alone, whole[:1], rtol=1e-3, atol=1e-4, what="the prediction for one flower")


@check("average_flowers", points=25, evidence=OBSERVED, hint="Train for more epochs; keep features and labels aligned.")
def test_names_average_flowers(student):
    """Your model names flowers as average as can be: setosa 0, versicolor 1, virginica 2."""
    scores = as_array(student.model.predict(FLOWERS), (len(FLOWERS), 3), "the predictions")
    right = int((scores.argmax(axis=1) == SPECIES).sum())
    require(right == len(SPECIES), f"{right} of {len(SPECIES)} are right", expected="all of them")


@check(
    "loss",
    points=12,
    evidence=OBSERVED,
    hint="Use SparseCategoricalCrossentropy; from_logits=True where the model has no softmax, and only there.",
)
def test_loss_is_one_right_number(student):
    """`loss(model, x, y)` is one number: the mean cross-entropy of the batch."""
    scores = as_array(student.model.predict(FLOWERS), (len(FLOWERS), 3), "the predictions")
    if scores.min() < 0 or not np.allclose(scores.sum(axis=1), 1, atol=1e-3):
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
    # Keras clips probabilities but not logits, so nothing can be said of a class that the model all but excludes.
    rows = np.arange(len(LABELS))
    labels = np.where(scores[rows, LABELS] > 1e-5, LABELS, scores.argmax(axis=1))
    value = as_array(asked(student.loss, student.model, FLOWERS, labels), None, "loss(model, x, y)")
    require(value.size == 1, f"loss(model, x, y) has shape {value.shape}", expected="one number for the batch")
    right = -np.log(scores[rows, labels]).mean()
    assert_close(value.reshape(()), right, rtol=1e-3, atol=1e-4, what="loss(model, x, y)")


@check(
    "grad",
    points=13,
    evidence=OBSERVED,
    hint="Return loss_value, tape.gradient(loss_value, model.trainable_variables).",
)
def test_grad_gives_a_pair(student):
    """`grad(model, inputs, targets)` returns the loss and a list with a gradient for each trainable variable."""
    answer = asked(student.grad, student.model, FLOWERS, LABELS)
    if not isinstance(answer, list | tuple) or len(answer) != 2 or not isinstance(answer[1], list | tuple):
        fail("grad(model, inputs, targets) gives something else", expected="a pair: the loss, and a list of gradients")
    gradients = [as_array(gradient, None, "a gradient") for gradient in answer[1]]
    right = student.model.cross_entropy_gradients(FLOWERS, LABELS)
    have, want = sorted(g.shape for g in gradients), sorted(g.shape for g in right)
    require(have == want, f"gradients of shapes {have}", expected="one for each of model.trainable_variables")


@check(
    "curve",
    points=15,
    evidence=OBSERVED,
    hint="Append the epoch's mean loss and its accuracy at the end of every epoch.",
)
def test_loss_falls(student):
    """`train_loss_results` and `train_accuracy_results` are equally long, and the loss falls."""
    losses = as_array(student.train_loss_results.value(), (None,), "train_loss_results")
    accuracies = as_array(student.train_accuracy_results.value(), (None,), "train_accuracy_results")
    require(len(losses) >= 2, f"the length of train_loss_results is {len(losses)}", expected="one for each epoch")
    require(
        len(losses) == len(accuracies), f"{len(losses)} losses and {len(accuracies)} accuracies", expected="as many"
    )
    require(losses[-1] < losses[0], "the loss does not fall", expected="a smaller loss at the end")


@check("no_fit", points=15, evidence=OBSERVED, hint="Loop over epochs and batches yourself; do not call fit.")
def test_no_fit(student):
    """The model was trained by your own loop, not by `fit`."""
    training = student.model.training()
    called = ", ".join(f"`{name}`" for name in training.get("keras_trained", ()))
    require(not called, f"the model was trained by Keras: {called} was called", expected="a training loop of your own")
    if training.get("moved") is None:
        not_assessable("no training was seen: run `grader check` on the notebook to have it watched from the start")


def asked(function, *args):
    """The answer; a `training` argument without a default, as in the tutorial, is given as False."""
    try:
        return function(*args)
    except AssertionError as error:
        if "required positional argument: 'training'" not in str(error):
            raise
        return function(*args, training=False)
