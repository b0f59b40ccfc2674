"""Hidden suite of the iris lab.

Labels of withheld flowers never cross into the sandbox: `loss` and `grad` are asked about *drawn* labels, which serve
as well, because a right function is right for any labels. Questions that only look at what training left behind come
first: asking `grad` takes a gradient too, and would be counted.
"""

import numpy as np

from grader.checks import (
    OBSERVED,
    VERIFIED,
    Parts,
    as_array,
    assert_accuracy,
    assert_close,
    award,
    check,
    fail,
    require,
)


@check(
    "own_loop",
    points=15,
    evidence=OBSERVED,
    hint="Loop over epochs and batches: grad(...), then optimizer.apply_gradients(...). Do not call fit.",
)
def test_trained_by_a_loop_of_your_own(student):
    """The model was trained in this notebook, by your own loop and not by `fit`."""
    training = student.model.training()
    moved = training.get("moved")
    expected = "a training loop of your own with tf.GradientTape"
    steps = training.get("optimizer_steps", 0)
    tried = training.get("tape_gradients", 0) or steps
    # A model that is first built inside a tf.function has no initial values to compare with, only steps.
    trained = moved > 1e-3 if isinstance(moved, float) else training.get("unseen", 0) and steps
    if not trained:
        require(tried, "the model's weights never changed while the notebook ran", expected=expected)
        award(0.2, found="gradients were taken, but the weights of this model did not change", expected=expected)
    elif training.get("keras_trained"):
        # Also as a part of another model: Sequential([model]).fit trains the same weights.
        called = ", ".join(f"`{name}`" for name in training["keras_trained"])
        award(0.2, found=f"the model was trained by Keras: {called} was called", expected=expected)
    elif not training.get("own_gradients", 0):
        award(0.2, found="the weights changed, but no gradients were taken", expected=expected)


@check(
    "accuracy",
    points=35,
    evidence=VERIFIED,
    needs=("own_loop",),
    hint="Train for more epochs, and check that features and labels stay in the same order.",
)
def test_names_unseen_flowers(student, heldout, threshold):
    """Your model names the species of flowers it has never seen."""
    scores = student.model.predict(heldout.inputs)
    assert_accuracy(as_array(scores, (len(heldout), 3), "the predictions"), heldout.labels, threshold("accuracy"))


@check(
    "curve",
    points=15,
    evidence=OBSERVED,
    needs=("own_loop",),
    hint="Append the epoch's mean loss and its accuracy once, at the end of every epoch.",
)
def test_one_falling_loss_per_epoch(student):
    """`train_loss_results` and `train_accuracy_results` have one entry per epoch, and the loss falls."""
    losses = as_array(student.train_loss_results.value(), (None,), "train_loss_results")
    accuracies = as_array(student.train_accuracy_results.value(), (None,), "train_accuracy_results")
    require(len(losses) >= 2, f"the length of train_loss_results is {len(losses)}", expected="one for each epoch")
    parts = Parts()
    parts.add(
        "one entry per epoch (these look like one per batch)",
        not looks_like_one_per_batch(losses, student.model.training()),
        weight=2,
    )
    parts.add("the loss falls to less than 80 % of its start", losses[-3:].mean() < 0.8 * losses[0], weight=2)
    parts.add("both lists are equally long", len(losses) == len(accuracies))
    in_range = len(accuracies) > 0 and 0 <= accuracies.min() <= accuracies.max() <= 1
    parts.add("accuracies lie between 0 and 1", in_range, hint="Record a share such as 0.95, not a percentage.")
    parts.award(expected="one number per epoch, the loss falling")


@check(
    "loss",
    points=12,
    evidence=VERIFIED,
    hint="Use SparseCategoricalCrossentropy; from_logits=True where the model has no softmax, and only there.",
)
def test_loss_is_the_cross_entropy(student, heldout):
    """`loss(model, x, y)` is the mean cross-entropy of the batch it is given."""
    for size in sizes(heldout):
        inputs, labels, probability = question(student, heldout, size)
        value = as_array(asked(student.loss, student.model, inputs, labels), None, "loss(model, x, y)")
        require(value.size == 1, f"loss(model, x, y) has shape {value.shape}", expected="one number for the batch")
        right = cross_entropy(probability, labels)
        assert_close(value.reshape(()), right, rtol=1e-3, atol=1e-4, what="loss(model, x, y)")


@check(
    "grad",
    points=13,
    evidence=VERIFIED,
    hint="Compute the loss inside tf.GradientTape and ask for the gradients of model.trainable_variables.",
)
def test_grad_gives_loss_and_gradients(student, heldout):
    """`grad(model, inputs, targets)` returns the loss and the gradient of every trainable variable."""
    inputs, labels, probability = question(student, heldout, sizes(heldout)[0])
    answer = asked(student.grad, student.model, inputs, labels)
    if not isinstance(answer, list | tuple) or len(answer) != 2 or not isinstance(answer[1], list | tuple):
        fail("grad(model, inputs, targets) gives something else", expected="a pair: the loss, and a list of gradients")
    loss = as_array(answer[0], None, "its loss")
    require(loss.size == 1, f"its loss has shape {loss.shape}", expected="one number for the batch")
    assert_close(loss.reshape(()), cross_entropy(probability, labels), rtol=1e-3, atol=1e-4, what="its loss")
    gradients = [as_array(gradient, None, "a gradient") for gradient in answer[1]]
    right = student.model.cross_entropy_gradients(inputs, labels)
    # A model of the student's own class is kept as a functional one, which may list its layers in another order.
    if student.model.note:
        gradients, right = in_shape_order(gradients), in_shape_order(right)
    shapes = [gradient.shape for gradient in gradients]
    require(
        shapes == [gradient.shape for gradient in right],
        f"{len(shapes)} gradients of shapes {', '.join(map(str, shapes[:6]))}",
        expected="one gradient for each of model.trainable_variables, in their order",
    )
    for number, (have, want) in enumerate(zip(gradients, right, strict=True), start=1):
        scale = float(np.abs(want).max(initial=0))
        assert_close(have, want, rtol=1e-2, atol=1e-4 + 1e-3 * scale, what=f"gradient {number}")


@check(
    "consistent",
    points=10,
    evidence=VERIFIED,
    needs=("accuracy",),
    hint="Take the softmax over the three scores of each flower (axis=-1), and nothing over the batch.",
)
def test_single_flowers_and_batches_agree(student, heldout):
    """A flower gets the same answer alone as in a batch."""
    whole = as_array(student.model.predict(heldout.inputs), (len(heldout), 3), "the predictions")
    for row in range(3):
        alone = student.model.predict(heldout.inputs.array()[row : row + 1])
        assert_close(
            alone,
            whole[row : row + 1],
            rtol=1e-3,
            atol=1e-4,
            what="a prediction for one flower",
            wanted="the answer it gets in a batch",
        )


def looks_like_one_per_batch(losses, training):
    """As many entries as training steps, and a curve as rough as single batches are.

    One step per epoch (the whole training set as one batch) has as many entries too, but falls smoothly. A few steps
    more are allowed for: the tutorial shows one by hand before its loop.
    """
    steps = training.get("optimizer_steps", 0) or training.get("tape_gradients", 0)
    rises = (np.diff(losses) > 0).mean()
    return abs(steps - len(losses)) <= 3 and rises > 0.25


def sizes(heldout):
    """Two batch sizes the notebook cannot know."""
    return heldout.batch_size % 20 + 5, 7


def question(student, heldout, size):
    """(flowers, drawn labels, the kept model's probabilities for them).

    Keras clips probabilities at 1e-7 but logits not at all, so two right losses differ where the model all but
    excludes the drawn class; there its favourite is asked for instead.
    """
    inputs = heldout.inputs.array()[:size]
    probability = probabilities(student.model.predict(inputs), size)
    drawn = np.array([heldout.seed // 3 ** (row % 19) % 3 for row in range(size)])
    unlikely = probability[np.arange(size), drawn] < 1e-5
    return inputs, np.where(unlikely, probability.argmax(axis=1), drawn).astype("int64"), probability


def probabilities(scores, rows):
    """Class probabilities; a model without softmax gives logits."""
    scores = as_array(scores, (rows, 3), "the predictions")
    if np.allclose(scores.sum(axis=1), 1, atol=1e-3) and scores.min() >= 0:
        return scores
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def cross_entropy(probability, labels):
    """Mean negative log probability of the labels."""
    return -np.log(np.maximum(probability[np.arange(len(labels)), labels], 1e-7)).mean()


def asked(function, *args):
    """The answer; a `training` argument without a default, as in the tutorial, is given as False."""
    try:
        return function(*args)
    except AssertionError as error:
        if "required positional argument: 'training'" not in str(error):
            raise
        return function(*args, training=False)


def in_shape_order(gradients):
    return sorted(gradients, key=lambda gradient: (gradient.shape, *gradient.ravel()[:4]))
