"""Hidden suite of the iris lab."""

import numpy as np

from grader.checks import (
    OBSERVED,
    VERIFIED,
    Parts,
    as_array,
    assert_accuracy,
    assert_close,
    check,
    fail,
    require,
)


@check(
    "accuracy",
    points=35,
    evidence=VERIFIED,
    hint="Train for more epochs (the tutorial takes 201), and check that features and labels stay in the same order.",
)
def test_names_unseen_flowers(student, heldout, threshold):
    """Your model names the species of flowers it has never seen."""
    scores = student.model.predict(heldout.inputs)
    assert_accuracy(as_array(scores, (len(heldout), 3), "the predictions"), heldout.labels, threshold("accuracy"))


@check(
    "loss",
    points=12,
    evidence=VERIFIED,
    hint="Use SparseCategoricalCrossentropy; from_logits=True only where the model has no softmax.",
)
def test_loss_is_the_cross_entropy(student, heldout):
    """`loss(model, x, y)` is the mean cross-entropy of the batch it is given."""
    for batch in batches(heldout):
        answer = student.loss(student.model, batch.inputs, batch.labels.astype("int64"))
        value = as_array(answer, None, "loss(model, x, y)")
        require(value.size == 1, f"loss(model, x, y) has shape {value.shape}", expected="one number for the batch")
        assert_close(value.reshape(()), cross_entropy(student, batch), rtol=1e-3, atol=1e-4, what="loss(model, x, y)")


@check(
    "grad",
    points=13,
    evidence=VERIFIED,
    hint="Watch the loss with tf.GradientTape and ask for model.trainable_variables.",
)
def test_grad_gives_loss_and_gradients(student, heldout):
    """`grad(model, inputs, targets)` returns the loss and the gradient of every trainable variable."""
    batch = batches(heldout)[0]
    answer = student.grad(student.model, batch.inputs, batch.labels.astype("int64"))
    if not isinstance(answer, list | tuple) or len(answer) != 2 or not isinstance(answer[1], list | tuple):
        fail("grad(model, inputs, targets) gives something else", expected="a pair: the loss, and a list of gradients")
    loss, gradients = answer
    assert_close(as_array(loss).reshape(()), cross_entropy(student, batch), rtol=1e-3, atol=1e-4, what="its loss")
    weights = student.model.weights()
    gradients = [as_array(gradient, None, "a gradient") for gradient in gradients]
    shapes = [gradient.shape for gradient in gradients]
    require(
        shapes == [weight.shape for weight in weights],
        f"{len(shapes)} gradients of shapes {shapes[:6]}",
        expected="one gradient for each trainable variable, in order",
    )
    assert_close(
        gradients[-1], bias_gradient(student, batch), rtol=1e-2, atol=1e-4, what="the gradient of the last bias"
    )


@check(
    "curve",
    points=15,
    evidence=OBSERVED,
    hint="Append the epoch's mean loss and accuracy once at the end of every epoch.",
)
def test_one_falling_loss_per_epoch(student):
    """`train_loss_results` and `train_accuracy_results` have one entry per epoch, and the loss falls."""
    losses = as_array(student.train_loss_results.value(), (None,), "train_loss_results")
    accuracies = as_array(student.train_accuracy_results.value(), (None,), "train_accuracy_results")
    parts = Parts()
    parts.add("at least two epochs were recorded", len(losses) >= 2)
    parts.add("both lists are as long as each other", len(losses) == len(accuracies))
    parts.add("the loss falls to less than 80 % of its start", len(losses) >= 2 and losses[-3:].mean() < 0.8 * losses[0])
    parts.add("accuracies lie between 0 and 1", len(accuracies) > 0 and 0 <= accuracies.min() <= accuracies.max() <= 1)
    parts.award(expected="one number per epoch, the loss falling")


@check("consistent", points=10, evidence=VERIFIED, needs=("accuracy",))
def test_single_flowers_and_batches_agree(student, heldout):
    """A flower gets the same answer alone as in a batch."""
    whole = as_array(student.model.predict(heldout.inputs), (len(heldout), 3), "the predictions")
    for row in range(3):
        alone = student.model.predict(heldout.inputs.array()[row : row + 1])
        assert_close(alone, whole[row : row + 1], rtol=1e-3, atol=1e-4, what="a prediction for one flower")


@check(
    "own_loop",
    points=15,
    evidence=OBSERVED,
    hint="Loop over epochs and batches yourself: grad(...), then optimizer.apply_gradients(...). Do not call fit.",
)
def test_trained_by_a_loop_of_your_own(student):
    """The model was trained by your own loop, not by `fit`."""
    training = student.model.training()
    moved = training.get("moved")
    require(not training.get("fits"), "`fit` was called on the model", expected="a training loop of your own")
    require(training.get("tape_gradients", 0) >= 10, "no gradients were taken", expected="a loop with tf.GradientTape")
    require(isinstance(moved, float) and moved > 1e-3, "its weights did not move", expected="weights that training changed")


def batches(heldout):
    """Two hidden batches of sizes the notebook cannot know."""
    return [heldout.subset(heldout.batch_size % 20 + 5), heldout.subset(7)]


def probabilities(student, batch):
    """Class probabilities of the kept model; a model without softmax gives logits."""
    scores = as_array(student.model.predict(batch.inputs), (len(batch), 3), "the predictions")
    if np.allclose(scores.sum(axis=1), 1, atol=1e-3) and scores.min() >= 0:
        return scores
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def cross_entropy(student, batch):
    """Mean negative log probability of the right class, clipped as Keras clips it (1e-7)."""
    chosen = probabilities(student, batch)[np.arange(len(batch)), batch.labels.astype(int)]
    return -np.log(np.clip(chosen, 1e-7, 1 - 1e-7)).mean()


def bias_gradient(student, batch):
    """d loss / d (last bias) of softmax and cross-entropy: the mean of (probability - one-hot) over the batch."""
    error = probabilities(student, batch)
    error[np.arange(len(batch)), batch.labels.astype(int)] -= 1
    return error.mean(axis=0)
