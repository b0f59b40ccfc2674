"""Public suite of the custom training lab: the form of everything, on examples that stand in the notebook.

The hidden suite asks the same of functions, lines, weights and images that are drawn anew for every submission.
"""

import numpy as np

from grader.checks import OBSERVED, as_array, assert_close, check, hidden_function, require, sin

XS = np.linspace(-2, 2, 200).astype("float32")
YS = -2 * XS + 1
IMAGES = np.abs(np.sin(np.arange(2 * 6 * 6 * 4))).reshape(2, 6, 6, 4).astype("float32")
cube = hidden_function(lambda x: x**3)
wave = hidden_function(sin)


@check("numeric_gradient", points=7, evidence=OBSERVED, hint="Return (f(x + h) - f(x - h)) / (2 * h).")
def test_numeric_gradient_of_a_cube(student):
    """`numeric_gradient(f, x, h)` is the central difference: 12.25 for x³ at 2 with h = 0.5."""
    assert_close(number(student.numeric_gradient(cube, 2.0, 0.5)), 12.25, what="numeric_gradient(f, 2.0, 0.5)")


@check("gradient", points=10, evidence=OBSERVED, hint="with tf.GradientTape() as tape: tape.watch(x); y = f(x)")
def test_gradient_of_a_wave(student):
    """`gradient(f, x)` is the cosine for the sine, at a number and at an array of points."""
    assert_close(number(student.gradient(wave, 1.0)), np.cos(1.0), what="gradient(sin, 1.0)")
    points = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert_close(student.gradient(wave, points), np.cos(points), what="gradient(sin, an array)")


@check("second_derivative", points=8, evidence=OBSERVED, hint="Put one tape inside the other.")
def test_second_derivative_of_a_cube(student):
    """`second_derivative(f, x)` is 6 x for x³."""
    points = np.array([0.0, 1.0, 2.0])
    assert_close(student.second_derivative(cube, points), 6 * points, what="second_derivative(f, x)")


@check("model", points=4, evidence=OBSERVED, hint="model(x) returns self.w * x + self.b.")
def test_model_is_a_line(student):
    """`Model()` has `w` and `b`, and `model(x)` is w * x + b."""
    model = student.Model.new()
    w, b = line_of(model)
    assert_close(model(XS), w * XS + b, what="model(x)")


@check("loss", points=5, evidence=OBSERVED, hint="Square, then take the mean.")
def test_loss_is_the_mean_squared_error(student):
    """`loss(target_y, predicted_y)` is 2.5 where two predictions miss by 1 and by 2."""
    target, predicted = np.array([1.0, 5.0], "float32"), np.array([2.0, 3.0], "float32")
    assert_close(number(student.loss(target, predicted)), 2.5, what="the loss")


@check("train", points=21, evidence=OBSERVED, hint="Loop in `train` until w and b no longer change.")
def test_train_finds_a_line(student):
    """`train(model, xs, ys)` finds the line y = -2 x + 1."""
    model = student.Model.new()
    student.train.call(model, XS, YS, kind="mutating", want="handle")
    w, b = line_of(model)
    require(max(abs(w + 2), abs(b - 1)) < 0.1, f"w = {w:.3f}, b = {b:.3f}", expected="w = -2, b = 1")


@check("dense", points=25, evidence=OBSERVED, hint="add_weight in build; **kwargs in __init__; units in get_config.")
def test_dense_is_lazy_and_can_be_made_again(student):
    """`MyDense(units)` has no weights before its first call, two after it, and can be made again from its config."""
    layer = student.MyDense.new(3)
    require(layer.get_weights.call(kind="stochastic") == [], "MyDense has weights before its first call")
    xs = XS.reshape(40, 5)
    answer = as_array(layer(xs), (40, 3), "MyDense(3)(x)")
    weights = layer.get_weights.call(kind="stochastic")
    shapes = sorted(np.shape(weight) for weight in weights)
    require(shapes == [(3,), (5, 3)], f"weights of shapes {shapes}", expected="(5, 3) and (3,)")
    kernel, bias = sorted(weights, key=np.ndim, reverse=True)
    assert_close(answer, xs @ kernel + bias, what="MyDense(3)(x)")
    copy = student.MyDense.from_config.keep(layer.get_config.keep())
    as_array(copy(xs), (40, 3), "the layer made again from its config")


@check("identity", points=20, evidence=OBSERVED, hint="relu(x + F(x)), and self.norm(y, training=training).")
def test_block_keeps_the_shape_and_has_two_modes(student):
    """`IdentityBlock(filters)` keeps the shape, and answers otherwise with `training=True` than without."""
    block = student.IdentityBlock.new(4)
    using = as_array(block(IMAGES, training=False), IMAGES.shape, "IdentityBlock(4)(x)")
    learning = as_array(block.call(IMAGES, training=True, kind="mutating"), IMAGES.shape, "IdentityBlock(4)(x)")
    require(not np.allclose(using, learning, atol=1e-4), "training=True and training=False give the same answer")


def number(answer):
    """One number, whether it comes as (), (1,) or a Python float."""
    values = as_array(answer, None, "the answer")
    require(values.size == 1, f"the answer has shape {values.shape}", expected="one number")
    return values.reshape(())


def line_of(model):
    """(w, b) of a model, as they are now."""
    return tuple(float(number(getattr(model, name).value(kind="stochastic"))) for name in ("w", "b"))
