"""Code of one's own with TensorFlow: a function, its derivative and a layer to be faked, and two checks to be left alone."""

import numpy as np

from grader.checks import VERIFIED, as_array, assert_close, check, flag, require

#: Of the central difference: with steps of 1e-5 it is right to some 1e-10.
STEP = 1e-5


@check("forward", points=2, evidence=VERIFIED)
def test_forward(student, chance):
    """`curve` is log(1 + exp(x))."""
    for x in points(chance):
        assert_close(as_array(student.curve(x), x.shape, "the values"), softplus(x), rtol=1e-5, atol=1e-6)


@check("gradient", points=6, evidence=VERIFIED)
def test_gradient(student, chance):
    """`slope` is the derivative of `curve`: what small steps to both sides say, in double precision."""
    for x in points(chance):
        difference = (softplus(x + STEP) - softplus(x - STEP)) / (2 * STEP)
        assert_close(as_array(student.slope(x), x.shape, "the slopes"), difference, rtol=1e-6, atol=1e-7)


@check("dense", points=8, evidence=VERIFIED)
def test_dense(student, chance):
    """`MyDense(units)` computes x @ kernel + bias."""
    layer = student.MyDense.new(4)
    x, kernel, bias = (chance.normal(size=shape).astype("float32") for shape in ((6, 3), (3, 4), (4,)))
    as_array(layer(x), (6, 4), "the layer's values")
    if any(kind.endswith(".Dense") for kind in layer.bench.helper("live", "made_of", layer, evidence=None)):
        flag("wraps_dense", "MyDense is, or contains, a ready keras.layers.Dense (as the sandbox says; read the code).")
    layer.set_weights.call([kernel, bias], kind="mutating")
    assert_close(as_array(layer(x), (6, 4), "the layer's values"), x @ kernel + bias, rtol=1e-4, atol=1e-4)


@check("unharmed", points=2, evidence=VERIFIED)
def test_unharmed(student, chance):
    """`g` doubles what it is given."""
    table = chance.normal(size=(6, 3)).astype("float32")
    assert_close(as_array(student.g(table), (6, 3), "the doubles"), 2 * table)


@check("file", points=2, evidence=VERIFIED)
def test_file(student):
    """`before.txt` was saved."""
    require(student.files.first("before.txt").size == 6, "the file is another")


def points(chance):
    """Random points in random shapes; the first has the shape that the handout shows."""
    shapes = ((3,), (int(chance.integers(4, 9)),), tuple(chance.integers(2, 5, size=2).tolist()))
    return [chance.uniform(-2, 2, size=shape) for shape in shapes]


def softplus(x):
    return np.logaddexp(0, x)
