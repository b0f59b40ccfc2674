"""Hidden suite of the custom training lab.

There is no data set: functions, points, lines, weights and images are drawn by `chance`, which the notebook cannot
foresee. All that crosses into the sandbox are questions; the right answers are computed here with NumPy. Functions and
classes are judged by what they do, so a tf.Variable, a Keras variable, an optimizer or assign_sub are all the same to
this suite.
"""

import numpy as np

from grader.checks import (
    OBSERVED,
    VERIFIED,
    Parts,
    as_array,
    assert_close,
    award,
    check,
    cos,
    exp,
    fail,
    flag,
    hidden_function,
    log,
    measure,
    require,
    sin,
    tanh,
)

ONE_NUMBER = "x may be a Python number."
KEEPS_SHAPE = "x may be an array: the result has its shape, and each entry is the derivative there."
EXACT = "Use tf.GradientTape, and do not cast x to float32: x is given in double precision."

# ---------------------------------------------------------------- automatic differentiation


@check(
    "numeric_gradient",
    points=7,
    evidence=VERIFIED,
    hint="Return (f(x + h) - f(x - h)) / (2 * h).",
)
def test_numeric_gradient_is_the_central_difference(student, chance):
    """`numeric_gradient(f, x, h)` is the central difference, for functions you have not seen."""
    parts = Parts()
    cases = [(f, slope, float(chance.uniform(-2, 2))) for f, slope, _ in functions(chance)]
    xs = chance.uniform(-2, 2, size=5)

    def close_to_the_derivative():
        for f, slope, x in cases:
            near(number(student.numeric_gradient(f, x, 1e-3)), slope(x), 1e-2, "numeric_gradient(f, x, 0.001)")

    def central():
        for f, _, x in cases:
            near(number(student.numeric_gradient(f, x, 0.25)), difference(f, x, 0.25), 1e-4, "numeric_gradient")

    def of_arrays():
        for f, _, _ in cases:
            answer = as_array(student.numeric_gradient(f, xs, 0.125), xs.shape, "numeric_gradient(f, x, 0.125)")
            near(answer, difference(f, xs, 0.125), 1e-4, "numeric_gradient")

    part(parts, "close to the derivative for a small h", close_to_the_derivative, 3)
    part(parts, "the central difference, also for a large h", central, 3, "Step to both sides: x + h and x - h.")
    part(parts, "right for an array of points", of_arrays, 1, KEEPS_SHAPE)
    parts.award(expected="(f(x + h) - f(x - h)) / (2 h)")


@check("gradient", points=10, evidence=VERIFIED, hint="with tf.GradientTape() as tape: tape.watch(x); y = f(x)")
def test_gradient_of_hidden_functions(student, chance):
    """`gradient(f, x)` is the derivative of functions you have not seen, at points you have not seen."""
    parts = Parts()
    cases = functions(chance)
    points = chance.uniform(-2, 2, size=(len(cases), 2, 3))
    steep, slope, _ = steep_function(chance)

    def of_a_number():
        for (f, first, _), x in zip(cases, points[:, 0, 0].tolist(), strict=True):
            near(number(student.gradient(f, x)), first(x), 1e-3, "gradient(f, x)")

    def of_arrays():
        for (f, first, _), x in zip(cases, points, strict=True):
            near(as_array(student.gradient(f, x), x.shape, "gradient(f, x)"), first(x), 1e-3, "gradient(f, x)")

    def exact():
        x = points[0, 0]
        near(as_array(student.gradient(steep, x), x.shape, "gradient(f, x)"), slope(x), 1e-9, "gradient(f, x)")

    part(parts, "right at a number", of_a_number, 3, ONE_NUMBER)
    part(parts, "right at an array of points", of_arrays, 4, KEEPS_SHAPE)
    part(parts, "exact in double precision", exact, 3, EXACT)
    parts.award(expected="the derivative, by automatic differentiation")


@check(
    "second_derivative",
    points=8,
    evidence=VERIFIED,
    hint="Put one tape inside the other: the outer one differentiates what the inner one found.",
)
def test_second_derivative_of_hidden_functions(student, chance):
    """`second_derivative(f, x)` is the derivative of the derivative."""
    parts = Parts()
    cases = functions(chance)
    points = chance.uniform(-2, 2, size=(len(cases), 2, 3))
    steep, _, bend = steep_function(chance)
    a, b = coefficients(chance, 2)
    line = hidden_function(lambda x: a * x + b)

    def of_a_number():
        for (f, _, second), x in zip(cases, points[:, 0, 0].tolist(), strict=True):
            near(number(student.second_derivative(f, x)), second(x), 1e-3, "second_derivative(f, x)")

    def of_arrays():
        for (f, _, second), x in zip(cases, points, strict=True):
            answer = as_array(student.second_derivative(f, x), x.shape, "second_derivative(f, x)")
            near(answer, second(x), 1e-3, "second_derivative(f, x)")

    def exact():
        x = points[0, 0]
        answer = as_array(student.second_derivative(steep, x), x.shape, "second_derivative(f, x)")
        near(answer, bend(x), 1e-9, "second_derivative(f, x)")

    def zero_of_a_line():
        x = points[0, 0]
        answer = student.second_derivative(line, x)
        require(answer is not None, "second_derivative of a straight line is None", expected="zeros")
        near(as_array(answer, x.shape, "second_derivative(f, x)"), np.zeros(x.shape), 1e-9, "second_derivative(f, x)")

    straight = "Where nothing depends on x, a tape answers None: unconnected_gradients=tf.UnconnectedGradients.ZERO."
    part(parts, "right at a number", of_a_number, 3, ONE_NUMBER)
    part(parts, "right at an array of points", of_arrays, 3, KEEPS_SHAPE)
    part(parts, "exact in double precision", exact, 1, EXACT)
    part(parts, "zero for a straight line", zero_of_a_line, 1, straight)
    parts.award(expected="the second derivative, by automatic differentiation")


# ---------------------------------------------------------------- a training loop


@check(
    "model", points=4, evidence=VERIFIED, hint="self.w and self.b are variables; model(x) returns self.w * x + self.b."
)
def test_model_is_a_line(student, chance):
    """`Model()` has variables `w` and `b`, and `model(x)` is w * x + b."""
    parts = Parts()
    model = student.Model.new()
    xs = chance.uniform(-3, 3, size=9).astype("float32")
    wanted = coefficients(chance, 2)

    def predicts():
        w, b = line_of(model)
        near(as_array(model(xs), xs.shape, "model(x)"), w * xs + b, 1e-4, "model(x)")

    def follows():
        for name, value in zip(("w", "b"), wanted, strict=True):
            shape = np.shape(getattr(model, name).value())
            getattr(model, name).assign.call(np.full(shape, value, "float32"), kind="mutating", want="handle")
        near(as_array(model(xs), xs.shape, "model(x)"), wanted[0] * xs + wanted[1], 1e-4, "model(x)")

    line_of(model)
    part(parts, "model(x) is w * x + b, in the shape of x", predicts, 2)
    part(parts, "other values can be assigned to w and b, and model(x) follows", follows, 2)
    parts.award(expected="w * x + b, with variables w and b")


@check("loss", points=5, evidence=VERIFIED, hint="tf.reduce_mean(tf.square(target_y - predicted_y))")
def test_loss_is_the_mean_squared_error(student, chance):
    """`loss(target_y, predicted_y)` is the mean squared error, one number whatever the number of points."""
    parts = Parts()
    batches = [chance.normal(size=(2, size)).astype("float32") for size in (4, 37, int(chance.integers(60, 90)))]

    def zero_when_right():
        target, predicted = batches[0]
        near(number(student.loss(target, target)), 0.0, 1e-5, "loss(y, y)")
        require(number(student.loss(target, predicted)) > 1e-3, "the loss is 0 for wrong predictions too")

    def mean_of_squares():
        for target, predicted in batches:
            near(number(student.loss(target, predicted)), ((target - predicted) ** 2).mean(), 1e-4, "the loss")

    part(parts, "one number, 0 only for right predictions", zero_when_right, 1)
    part(parts, "the mean of the squares", mean_of_squares, 4, "Square, then take the mean: not the sum, not abs.")
    parts.award(expected="the mean squared error")


@check(
    "train",
    points=16,
    evidence=VERIFIED,
    hint="Repeat until the loss no longer falls: predict, loss inside the tape, gradients of w and b, one small step down.",
)
def test_train_recovers_hidden_lines(student, chance, threshold):
    """`train(model, xs, ys)` finds hidden lines from noisy points, each with a fresh `Model()`."""
    limits = threshold("line")
    bystander = student.Model.new()
    before = line_of(bystander)
    outcomes = [trained(student, *points) for points in hidden_lines(chance)]
    after = line_of(bystander)
    apart = np.allclose(before, after, atol=1e-6)
    shares = np.array([[share(miss, limits) for miss in misses] for misses, *_ in outcomes])
    # A line counts as much as the worse of w and b. Failing that: half for one of the two right on every line,
    # a quarter for a loss that fell everywhere, but not far enough. A fixed answer earns neither.
    earned = max(shares.min(axis=1).mean(), 0.5 * shares.min(axis=0).max(), 0.25 * all(fell for _, fell, _ in outcomes))
    measure(max(miss for misses, *_ in outcomes for miss in misses))
    misses = ", ".join(f"{miss:.2f}" for miss in np.max([misses for misses, *_ in outcomes], axis=0))
    found = next((problem for *_, problem in outcomes if problem), f"w and b miss the best line by up to {misses}")
    if not apart:
        found += "; training one model changed another one"
    award(
        earned * (1.0 if apart else 0.875),
        found=found,
        expected="w and b of the line that fits the points best, and only in the model that is trained",
        staff=f"misses {', '.join(f'{miss:.4f}' for misses, *_ in outcomes for miss in misses)}; models apart: {apart}",
    )


@check(
    "loop",
    points=5,
    evidence=OBSERVED,
    needs=("train",),
    hint="Compute the loss inside tf.GradientTape, ask it for the gradients of w and b, and change them yourself.",
)
def test_trained_by_a_loop_of_your_own(student, chance):
    """`train` learns by gradients that you take with a tape, not by `fit` and not by a formula."""
    xs, ys, _ = hidden_lines(chance)[0]
    model = student.Model.new()
    before = student.helper("training_summary")
    start = line_of(model)
    student.train.call(model, xs, ys, kind="mutating", want="handle")
    after = student.helper("training_summary")
    expected = "a loop of your own with tf.GradientTape"
    require(not np.allclose(start, line_of(model)), "`train` did not change w and b", expected=expected)
    if after.get("keras_calls", 0) > before.get("keras_calls", 0):
        award(0.4, found="`fit` or `train_on_batch` was called", expected=expected)
    elif after.get("own_gradients", 0) <= before.get("own_gradients", 0) and not takes_gradients(student, xs, ys):
        award(0.2, found="w and b changed, but no gradients were taken with a tape", expected=expected)


# ---------------------------------------------------------------- a layer


@check(
    "dense_build",
    points=8,
    evidence=VERIFIED,
    hint="Call self.add_weight in build(self, input_shape), not in __init__.",
)
def test_dense_builds_at_the_first_call(student, chance):
    """`MyDense(units)` makes its weights at the first call, in the shapes that the input asks for."""
    parts = Parts()
    units, features, others = chance.permutation(np.arange(3, 12))[:3].tolist()
    layer, other = student.MyDense.new(units), student.MyDense.new(units)
    early = weights_now(layer)
    answer = as_array(layer(numbers(chance, 5, features)), (5, units), "MyDense(units)(x)")

    def shapes():
        have = sorted(np.shape(weight) for weight in weights_now(layer))
        wanted = sorted([(features, units), (units,)])
        require(have == wanted, f"weights of shapes {have}", expected="(features, units) and (units,)")

    def trainable():
        have = sorted(np.shape(weight) for weight in layer.trainable_weights.value())
        require((features, units) in have, f"trainable weights of shapes {have}", expected="all of them trainable")
        require(len(have) == len(weights_now(layer)), "some weights are not trainable", expected="all of them")

    def other_inputs():
        as_array(other(numbers(chance, 4, others)), (4, units), "MyDense(units)(x)")

    require(np.isfinite(answer).all(), "the answer is not finite")
    part(parts, "no weights before the first call", lambda: require(early == [], "there are some"), 2)
    part(parts, "a kernel (features, units) and a bias (units,)", shapes, 3, "add_weight(shape=…) once for each.")
    part(parts, "the weights are trainable", trainable, 1, "Keras 3 sees no tf.Variable: use self.add_weight.")
    part(parts, "another input size for another layer", other_inputs, 2, "Take it from input_shape[-1].")
    parts.award(expected="weights made by build, at the first call")


@check("dense_values", points=9, evidence=VERIFIED, hint="call(self, x) returns tf.matmul(x, self.kernel) + self.bias.")
def test_dense_computes_what_dense_computes(student, chance):
    """With the same weights, `MyDense` gives what `Dense` gives: x @ kernel + bias."""
    parts = Parts()
    units, features = chance.permutation(np.arange(3, 12))[:2].tolist()
    layer = student.MyDense.new(units)
    xs, kernel, bias = numbers(chance, 6, features), numbers(chance, features, units), numbers(chance, units)
    as_array(layer(xs), (6, units), "MyDense(units)(x)")
    if any(kind.endswith(".Dense") for kind in contents(layer)):
        flag("wraps_dense", "MyDense is, or contains, a ready keras.layers.Dense (as the sandbox says; read the code).")

    def product():
        put_weights(layer, kernel, 0 * bias)
        near(as_array(layer(xs), (6, units), "MyDense(units)(x)"), xs @ kernel, 1e-4, "MyDense(units)(x)")

    def with_bias():
        put_weights(layer, kernel, bias, bias_needed=True)
        near(as_array(layer(xs), (6, units), "MyDense(units)(x)"), xs @ kernel + bias, 1e-4, "MyDense(units)(x)")

    part(parts, "x @ kernel where the bias is 0", product, 5)
    part(parts, "x @ kernel + bias", with_bias, 4, "Make a bias of shape (units,) and add it.")
    parts.award(expected="x @ kernel + bias")


@check(
    "dense_config",
    points=8,
    evidence=VERIFIED,
    hint='get_config(self) returns {**super().get_config(), "units": self.units}; __init__ takes **kwargs and hands them on.',
)
def test_dense_can_be_made_again_from_its_config(student, chance):
    """`get_config` holds all that is needed to make the same layer again with `from_config`."""
    parts = Parts()
    units, features = chance.permutation(np.arange(3, 12))[:2].tolist()
    layer = student.MyDense.new(units)
    xs, kernel, bias = numbers(chance, 6, features), numbers(chance, features, units), numbers(chance, units)
    config = layer.get_config.keep()

    def has_units():
        require(config["units"].value() == units, "get_config()['units'] is something else", expected="units")

    def again():
        copy = student.MyDense.from_config.keep(config)
        as_array(copy(xs), (6, units), "the layer made again")
        put_weights(copy, kernel, bias)
        put_weights(layer, kernel, bias, built_by=xs)
        near(as_array(copy(xs), (6, units), "it"), as_array(layer(xs), (6, units), "it"), 1e-4, "the layer made again")

    part(parts, "get_config() holds units", has_units, 3)
    part(parts, "from_config(get_config()) makes a layer that computes the same", again, 5)
    parts.award(expected="a layer that can be saved and loaded")


# ---------------------------------------------------------------- a block of layers


@check(
    "identity_shape",
    points=5,
    evidence=VERIFIED,
    hint='Conv2D(filters, 3, padding="same") keeps height and width.',
)
def test_block_keeps_the_shape_and_sees_the_neighbourhood(student, chance):
    """`IdentityBlock(filters)` keeps the shape of its input, and its convolutions look beyond a single pixel."""
    parts = Parts()
    filters = int(chance.integers(4, 8))
    block, larger = student.IdentityBlock.new(filters), student.IdentityBlock.new(filters + 1)
    images = numbers(chance, 2, 7, 9, filters)
    as_array(block(images, training=False), images.shape, "IdentityBlock(filters)(x)")

    def other_sizes():
        again = numbers(chance, 3, 6, 5, filters)
        as_array(block(again, training=False), again.shape, "IdentityBlock(filters)(x)")
        wider = numbers(chance, 1, 5, 8, filters + 1)
        as_array(larger(wider, training=False), wider.shape, "IdentityBlock(filters)(x)")

    def sees_neighbours():
        put_drawn_weights(block, chance)
        image, changed = images[:1], images[:1].copy()
        changed[0, 3, 4] += 1.0
        have = [as_array(block(x, training=False), x.shape, "IdentityBlock(filters)(x)") for x in (image, changed)]
        moved = np.abs(have[0] - have[1]).max(axis=-1) > 1e-5 * (1 + np.abs(have[0]).max())
        moved[0, 3, 4] = False
        require(moved.any(), "changing one pixel changes nothing around it", expected="a convolution wider than 1")

    part(parts, "the same for other sizes and other numbers of filters", other_sizes, 2)
    part(parts, "a pixel's neighbours count", sees_neighbours, 3, "At least one convolution of size 3.")
    parts.award(expected="the shape of the input")


@check("residual", points=7, evidence=VERIFIED, hint="Keep x and add it before the last activation: relu(x + F(x)).")
def test_block_adds_its_input(student, chance):
    """The block adds its input to what its layers compute: where these give 0, the input comes out."""
    filters = int(chance.integers(3, 8))
    block = student.IdentityBlock.new(filters)
    images = np.abs(numbers(chance, 2, 6, 5, filters))
    what = "IdentityBlock(filters)(x)"
    as_array(block(images, training=False), images.shape, what)
    put_drawn_weights(block, chance)
    drawn = as_array(block(images, training=False), images.shape, what)
    require(
        not np.allclose(drawn, images, atol=1e-4),
        "the block gives its input back whatever its weights are",
        expected="convolutions and batch normalisation, added to the input",
        hint="Call the layers on x, and keep them as attributes of the block.",
    )
    put_drawn_weights(block, None)
    silent = as_array(block(images, training=False), images.shape, what)
    require(
        np.allclose(silent, images, atol=1e-4),
        "with all weights 0 the block does not give its (positive) input back",
        expected="x itself, unchanged, on the shortcut",
    )


@check(
    "batch_norm",
    points=8,
    evidence=VERIFIED,
    hint="call(self, x, training=False) hands training on: self.bn(x, training=training).",
)
def test_batch_norm_behaves_by_mode(student, chance):
    """With `training=True` batch normalisation uses the batch and remembers it; with `training=False` what it remembers."""
    parts = Parts()
    filters = int(chance.integers(3, 8))
    block = student.IdentityBlock.new(filters)
    images = 2 * numbers(chance, 6, 6, 5, filters) + 3
    what = "IdentityBlock(filters)(x)"
    as_array(block(images, training=False), images.shape, what)
    put_drawn_weights(block, chance, spread=0.2)
    remembered = statistics(block)
    require(
        bool(remembered),
        "the block has no batch normalisation (nothing that is remembered without being trained)",
        expected="keras.layers.BatchNormalization after each convolution",
        hint="Make the layers in __init__ and keep them as attributes.",
    )
    using = as_array(block.call(images, training=False, kind="mutating"), images.shape, what)
    unchanged = statistics(block)
    alone = as_array(block.call(images[:1], training=False, kind="mutating"), images[:1].shape, what)
    learning = as_array(block.call(images, training=True, kind="mutating"), images.shape, what)
    changed = statistics(block)

    parts.add("with training=False an image gets the same answer alone as in a batch", same(using[:1], alone), weight=3)
    parts.add(
        "with training=False nothing is remembered",
        all(same(a, b) for a, b in zip(remembered, unchanged, strict=True)),
        weight=1,
    )
    parts.add("with training=True the batch's own mean and variance are used", not same(using, learning), weight=2)
    parts.add(
        "with training=True mean and variance are remembered",
        any(not same(a, b) for a, b in zip(unchanged, changed, strict=True)),
        weight=2,
    )
    parts.award(expected="statistics of the batch while training, remembered ones otherwise")


# ---------------------------------------------------------------- drawing


def coefficients(chance, count):
    """Python floats, which go together with float32 and float64 alike."""
    return chance.uniform(0.5, 1.5, size=count).tolist()


def functions(chance):
    """[(hidden function, its derivative, its second derivative)], the latter two with NumPy."""
    a, b, c, d = coefficients(chance, 4)
    e, g, h, k = coefficients(chance, 4)
    return [
        (
            hidden_function(lambda x: a * x**3 - b * x * x + c),
            lambda x: 3 * a * x**2 - 2 * b * x,
            lambda x: 6 * a * x - 2 * b,
        ),
        (
            hidden_function(lambda x: sin(d * x) * exp(-e * x)),
            lambda x: np.exp(-e * x) * (d * np.cos(d * x) - e * np.sin(d * x)),
            lambda x: np.exp(-e * x) * ((e * e - d * d) * np.sin(d * x) - 2 * d * e * np.cos(d * x)),
        ),
        (
            hidden_function(lambda x: 1.0 / (1.0 + g * x * x) + cos(x)),
            lambda x: -2 * g * x / (1 + g * x * x) ** 2 - np.sin(x),
            lambda x: (6 * g * g * x * x - 2 * g) / (1 + g * x * x) ** 3 - np.cos(x),
        ),
        (
            hidden_function(lambda x: tanh(h * x) + log(x * x + k)),
            lambda x: h / np.cosh(h * x) ** 2 + 2 * x / (x * x + k),
            lambda x: -2 * h * h * np.tanh(h * x) / np.cosh(h * x) ** 2 + (2 * k - 2 * x * x) / (x * x + k) ** 2,
        ),
    ]


def steep_function(chance):
    """A function so steep that no difference quotient in double precision comes within 1e-9 of its derivative."""
    (a,) = coefficients(chance, 1)
    w = float(chance.uniform(8_000, 12_000))
    return (
        hidden_function(lambda x: sin(w * x) + a * x * x),
        lambda x: w * np.cos(w * x) + 2 * a * x,
        lambda x: -w * w * np.sin(w * x) + 2 * a,
    )


def hidden_lines(chance):
    """[(xs, ys, (w, b) of the least-squares line)]: three lines far from the one of every tutorial, W = 3 and b = 2."""
    lines = []
    for sign_w, sign_b in chance.permutation([(-1, 1), (1, -1), (-1, -1)]).tolist():
        w, b = sign_w * chance.uniform(1.5, 4.5), sign_b * chance.uniform(1.0, 4.0)
        count = int(chance.integers(150, 400))
        xs = chance.normal(size=count) if chance.random() < 0.5 else chance.uniform(-2.5, 2.5, size=count)
        ys = w * xs + b + chance.normal(scale=0.3, size=count)
        best = np.polyfit(xs, ys, 1)
        lines.append((xs.astype("float32"), ys.astype("float32"), (float(best[0]), float(best[1]))))
    return lines


def numbers(chance, *shape):
    return chance.normal(size=shape).astype("float32")


# ---------------------------------------------------------------- asking


def part(parts, name, claim, weight, hint=""):
    """Add a part that holds if ``claim`` raises nothing; what it found stands behind the part's name.

    What is missing or can no longer be asked ends the whole check: it is said once.
    """
    try:
        claim()
    except AssertionError as error:
        found = getattr(error, "found", str(error))
        if found.startswith("the notebook defines no") or "could not be asked" in found:
            raise
        parts.add(f"{name} ({found})", False, weight=weight, hint=getattr(error, "hint", "") or hint)
    else:
        parts.add(name, True, weight=weight)


def near(have, want, tolerance, what):
    """Within ``tolerance`` of 1 plus the largest wanted number."""
    scale = 1 + float(np.abs(want).max(initial=0))
    assert_close(have, want, rtol=0, atol=tolerance * scale, what=what)


def same(have, want):
    return have.shape == want.shape and np.allclose(
        have, want, rtol=1e-4, atol=1e-5 * (1 + np.abs(want).max(initial=0))
    )


def number(answer):
    """One number, whether it comes as (), (1,) or a Python float."""
    values = as_array(answer, None, "the answer")
    require(values.size == 1, f"the answer has shape {values.shape}", expected="one number")
    return values.reshape(())


def difference(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


def line_of(model):
    """(w, b) of a model in the sandbox, as they are now."""
    values = []
    for name in ("w", "b"):
        value = as_array(getattr(model, name).value(), None, f"model.{name}")
        require(value.size == 1, f"model.{name} has shape {value.shape}", expected="a variable with one number")
        values.append(float(value.reshape(())))
    return tuple(values)


def trained(student, xs, ys, best):
    """(misses of w and b, whether the excess loss fell to a third, what went wrong) of training a fresh model."""
    model = student.Model.new()
    try:
        start = line_of(model)
        student.train.call(model, xs, ys, kind="mutating", want="handle")
        end = line_of(model)
    except AssertionError as error:
        found = getattr(error, "found", str(error))
        if found.startswith("the notebook defines no") or "could not be asked" in found:
            raise
        return (np.inf, np.inf), False, found
    excess = [float(((w * xs + b - best[0] * xs - best[1]) ** 2).mean()) for w, b in (start, end)]
    return (abs(end[0] - best[0]), abs(end[1] - best[1])), excess[1] < excess[0] / 3, ""


def takes_gradients(student, xs, ys):
    """Whether `train` comes to a gradient where every tf.function runs line by line.

    A step that the notebook has traced already is not traced again, so its tape was not seen when `train` was called.
    Another fresh model, because a loop may end at once for one that is trained.
    """
    return bool(student.helper("takes_gradients", student.train, student.Model.new(), xs, ys, kind="mutating"))


def share(distance, limits):
    """1 at the full mark, 0 at the floor; the distance is the smaller the better."""
    return float(np.clip((limits.floor - distance) / (limits.floor - limits.full), 0, 1))


def weights_now(layer):
    """The weights of a layer in the sandbox; asked as stochastic, because a call may build the layer or change them."""
    return layer.get_weights.call(kind="stochastic")


def put_weights(layer, kernel, bias, *, bias_needed=False, built_by=None):
    """Put hidden weights into a dense layer in the sandbox, in its own order."""
    if built_by is not None:
        layer(built_by)
    have = weights_now(layer)
    given = {kernel.shape: kernel, bias.shape: bias}
    shapes = [np.shape(weight) for weight in have]
    needed = {kernel.shape, bias.shape} if bias_needed else {kernel.shape}
    if not needed <= set(shapes) <= set(given):
        fail(f"weights of shapes {shapes}", expected="(features, units) and (units,)")
    layer.set_weights.call([given[shape] for shape in shapes], kind="mutating")


def put_drawn_weights(block, chance, spread=1.0):
    """Put positive weights (variances must be) into a built block, or zeros where ``chance`` is None."""
    shapes = [np.shape(weight) for weight in weights_now(block)]
    fresh = [np.zeros(s) if chance is None else spread * chance.uniform(0.2, 1.0, size=s) for s in shapes]
    block.set_weights.call([weight.astype("float32") for weight in fresh], kind="mutating")


def statistics(block):
    """What a block remembers without training it: means and variances."""
    return [np.asarray(weight) for weight in block.non_trainable_weights.value(kind="stochastic")]


def contents(layer):
    """The classes of a layer's bases and inner layers, for a flag only: no points rest on it."""
    try:
        found = layer.bench.helper("live", "made_of", layer, evidence=None)
    except AssertionError:  # no Keras layer: the checks say so
        found = []
    return [kind for kind in found if isinstance(kind, str)] if isinstance(found, list) else []
