"""Hidden suite of the tensors lab.

There is no data set: arrays, matrices and files are drawn by `chance`, which the notebook cannot foresee. Functions are
judged by what they give back, and by what can be asked of it: a tensor has `numpy()`, an array has none. The kernel has
two CPU devices (see lab.toml), so that placement is graded without a GPU too. Whether a GPU computed is not asked of the
notebook at all: the host looks.
"""

import numpy as np

from grader.checks import (
    OBSERVED,
    VERIFIED,
    Parts,
    as_array,
    assert_close,
    assert_gpu_used,
    check,
    fail,
    require,
)

DTYPES = ("float64", "float32", "int64", "int32", "uint8", "bool")
CSV_BATCH, TEXT_BATCH = 8, 4
WORDS = ["rain", "Sun", "wind", "CLOUD", "frost", "Mist", "dew", "STORM", "snow", "Hail", "thaw", "雨", "晴", "风"]

# ---------------------------------------------------------------- tensors and NumPy


@check("to_tensor", points=15, evidence=VERIFIED, hint="Return tf.constant(array), without a dtype of your own.")
def test_to_tensor(student, chance):
    """`to_tensor(array)` is a tensor with the values, the shape and the dtype of any array."""
    parts = Parts()
    arrays = [drawn(chance, dtype, chance.integers(1, 5, size=2)) for dtype in DTYPES]
    shapes = [(), (1,), (0, 3), (2, 1, 3), (2, 3, 1, 2)]

    def values():
        for array in arrays:
            have = numbers_of(student.to_tensor.keep(array))
            assert_close(have.ravel(), array.astype("float64").ravel(), what="the tensor")

    def dtypes():
        for array in arrays:
            have = student.to_tensor.keep(array).dtype.name.value()
            require(have == array.dtype.name, f"{array.dtype} became {have!r}", expected="the dtype of the array")

    def any_shape():
        for shape in shapes:
            have = student.to_tensor.keep(drawn(chance, "float32", shape)).shape.as_list()
            require(have == list(shape), f"an array of shape {shape} became {have!r}", expected="the same shape")

    part(parts, "the values of the array", values, 5)
    part(parts, "its dtype, float64 and bool included", dtypes, 5, "tf.cast and dtype=… change it: leave them out.")
    part(parts, "its shape, from one number to four axes", any_shape, 5)
    parts.award(expected="a tensor like the array")


@check("to_numpy", points=10, evidence=VERIFIED, hint="Return tensor.numpy().")
def test_to_numpy(student, chance):
    """`to_numpy(tensor)` is a NumPy array with the values, the shape and the dtype of any tensor."""
    parts = Parts()
    arrays = [drawn(chance, dtype, chance.integers(1, 5, size=2)) for dtype in DTYPES]
    arrays += [drawn(chance, "float32", shape) for shape in ((), (0, 3), (2, 1, 3))]
    tensors = [student.tensor(array) for array in arrays]

    def values():
        for tensor, array in zip(tensors, arrays, strict=True):
            assert_close(student.to_numpy(tensor), array.astype("float64"), what="the array")

    def arrays_of_numpy():
        for tensor, array in zip(tensors, arrays, strict=True):
            have = student.to_numpy.keep(tensor).dtype.str.value()
            require(have == array.dtype.str, f"{array.dtype} became {have!r}", expected="an array of the same dtype")

    part(parts, "the values of the tensor, in its shape", values, 5)
    part(parts, "a numpy.ndarray of its dtype", arrays_of_numpy, 5, "A tensor has .numpy(), and a list forgets dtypes.")
    parts.award(expected="an array like the tensor")


@check("independent", points=10, evidence=OBSERVED, hint="A tensor cannot be changed, and tensor.numpy() is a copy.")
def test_tensors_do_not_change(student, chance):
    """Tensors stay as they are, whatever happens to the arrays they came from or became."""
    parts = Parts()
    column = chance.normal(size=200)

    def no_variable():
        kind = student.helper("type_name", student.to_tensor.keep(column))
        require(str(kind).endswith(".EagerTensor"), f"to_tensor gives a {kind}", expected="a tf.Tensor, no tf.Variable")

    def source_changes():
        source = student.frame({"a": column}).to_numpy.keep(copy=True)
        tensor = student.to_tensor.keep(source)
        source.fill.call(7.0, kind="mutating")
        assert_close(numbers_of(tensor).ravel(), column, what="the tensor, after its array was changed,")

    def array_changes():
        tensor = student.tensor(column)
        array = student.to_numpy.keep(tensor)
        array.fill.call(7.0, kind="mutating")
        assert_close(numbers_of(tensor), column, what="the tensor, after the array made of it was changed,")

    part(parts, "to_tensor gives a tensor that cannot be changed", no_variable, 4)
    part(parts, "changing the array afterwards leaves the tensor as it was", source_changes, 3)
    part(parts, "the array of to_numpy can be changed, and the tensor stays", array_changes, 3)
    parts.award(expected="tensors and arrays that do not touch each other")


# ---------------------------------------------------------------- devices


@check("placement", points=15, evidence=OBSERVED, hint="Multiply inside `with tf.device(device):`.")
def test_results_live_on_the_device_asked_for(student, chance):
    """`matmul_on(device, a, b)` is the matrix product, and lies on the device asked for."""
    parts = Parts()
    sides = chance.integers(2, 7, size=3)
    a, b = drawn(chance, "float32", sides[:2]), drawn(chance, "float32", sides[1:])

    def product():
        for device in ("CPU:0", "CPU:1"):
            assert_close(numbers_of(student.matmul_on.keep(device, a, b)), a @ b, rtol=1e-4, atol=1e-4, what="a @ b")

    def on(device):
        place = student.helper("device", student.matmul_on.keep(device, a, b))
        require(str(place).endswith(f"device:{device}"), f"for {device} the result lies on {short(place)}")

    part(parts, "the matrix product, as a tensor", product, 5, "tf.matmul(a, b), not a * b.")
    part(parts, "on CPU:1 when asked for CPU:1", lambda: on("CPU:1"), 7)
    # Where everything is left to TensorFlow it is on CPU:0 by itself: that alone shows nothing.
    both = "on CPU:0 when asked for CPU:0, after CPU:1"
    part(parts, both, lambda: (on("CPU:1"), on("CPU:0")), 3, "Do not keep the device of an earlier call.")
    parts.award(expected="a @ b, on that device")


@check("timing", points=5, evidence=OBSERVED, hint="time.perf_counter() before and after, with .numpy() in between.")
def test_time_matmul_measures(student):
    """`time_matmul(device, n)` is a number of seconds, and large matrices take longer."""
    small, large = (seconds(student, n) for n in (32, 1024))
    # A product of 1024 x 1024 is 2.1 GFLOP: 0.01 to 0.1 s on a laptop's core, never below 10 microseconds.
    require(1e-5 < large < 5, f"1024 x 1024 matrices take {large:.3g} s", expected="seconds of one product")
    found = f"1024 x 1024 takes {large:.3g} s and 32 x 32 takes {small:.3g} s"
    require(large > 3 * small, found, expected="far longer for the large ones")


@check(
    "gpu",
    points=20,
    evidence=VERIFIED,
    hint="Make the matrices and multiply them inside `with tf.device(device):`, and leave the GPU visible.",
)
def test_the_gpu_computes(student, gpu):
    """`time_matmul("GPU:0", n)` computes on the GPU, where the grading machine has one."""
    assert_gpu_used(gpu.asking(student.time_matmul, "GPU:0", 4096))


# ---------------------------------------------------------------- data sets


@check("csv", points=13, evidence=VERIFIED, hint="from_tensor_slices, map, shuffle, then batch: in this order.")
def test_csv_of_your_own(student, chance):
    """`dataset_from_csv(path)` gives the rows of a hidden file: scaled, shuffled, in batches of 8."""
    parts = Parts()
    features, labels = table(chance)
    path = student.deliver("hidden.csv", csv_of(features, labels))
    passes = [student.dataset_from_csv.keep(path).take(len(labels) + 1) for _ in range(2)]
    batches = pairs(passes[0], "dataset_from_csv")
    scaled = (features - features.min(axis=0)) / np.ptp(features, axis=0)

    def rows_of_the_file():
        rows = np.concatenate([as_array(x, (None, features.shape[1]), "the features") for x, _ in batches])
        given = np.concatenate([as_array(y, (None,), "the labels") for _, y in batches])
        distance = np.abs(rows[:, None, :] - scaled[None]).max(axis=2)
        order = distance.argmin(axis=1)
        require(distance.min(axis=1).max() < 1e-3, "some rows are not those of the file, scaled to 0 to 1")
        require(
            sorted(order) == list(range(len(labels))),
            f"{len(set(order))} of {len(labels)} rows come, {len(order)} in all",
        )
        require((given == labels[order]).all(), "some rows have the label of another row")

    def ranks(features_of_batches):
        """Which row of the file stands where, whatever its scale: the first column has another number in each row."""
        column = np.concatenate([as_array(x, (None, None), "the features")[:, 0] for x in features_of_batches])
        return np.argsort(features[:, 0])[np.argsort(np.argsort(column)) % len(features)]

    def form():
        sizes = [len(as_array(y, (None,), "the labels")) for _, y in batches]
        require(sizes == sizes_of(len(labels), CSV_BATCH), f"batches of {sizes[:3]} … {sizes[-1:]} rows")
        kinds = {(x.dtype.name, y.dtype.name) for x, y in batches}
        require(kinds == {("float32", "int32")}, f"batches of {sorted(kinds)}", expected="float32 and int32")

    part(parts, "batches of 8 (float32, int32), the last one with the rest", form, 4)

    def mixed():
        shuffled(*(ranks([x for x, _ in pairs(taken, "dataset_from_csv")]) for taken in passes))

    part(parts, "every row once, scaled to 0 to 1, with its own label", rows_of_the_file, 5)
    part(parts, "another order in each pass", mixed, 4, "shuffle(number of rows) before batch, anew in each pass.")
    parts.award(expected="every row of the file, scaled and shuffled, in batches of 8")


@check("text", points=12, evidence=VERIFIED, hint="TextLineDataset, map, filter, shuffle, then batch.")
def test_text_of_your_own(student, chance):
    """`dataset_from_text(path)` gives the lines of a hidden file with their numbers of words, in batches of 4."""
    parts = Parts()
    lines, data = notes(chance)
    path = student.deliver("hidden.txt", data)
    passes = [student.dataset_from_text.keep(path).take(len(lines) + 20) for _ in range(2)]
    batches = pairs(passes[0], "dataset_from_text")

    def lines_of_the_file():
        given = [text_of(line) for x, _ in batches for line in x]
        require(sorted(given) == sorted(lines), problem(given, lines))

    def order_of(taken):
        """Which line of the file stands where, whatever its form."""
        given = [text_of(line).strip().lower() for x, _ in taken for line in x]
        return np.array([lines.index(line) for line in given if line in lines])

    def counts():
        for x, y in batches:
            want = [len(text_of(line).split()) for line in x]
            have = as_array(y, (len(x),), "the numbers of words")
            require(have.tolist() == want, "the numbers of words do not fit the lines beside them")
            require(y.dtype.name == "int32", f"the numbers of words are {y.dtype.name}", expected="int32")

    def form():
        sizes = [len(x) for x, _ in batches]
        require(sizes == sizes_of(sum(sizes), TEXT_BATCH), f"batches of {sizes[:3]} … {sizes[-1:]} lines")

    part(parts, "batches of 4, the last one with the rest", form, 2)

    def mixed():
        shuffled(*(order_of(pairs(taken, "dataset_from_text")) for taken in passes))

    part(parts, "every line once, stripped, in small letters, no empty ones", lines_of_the_file, 4)
    part(parts, "how many words each line has", counts, 3)
    part(parts, "another order in each pass", mixed, 3, "shuffle with a large buffer before batch, anew in each pass.")
    parts.award(expected="every line of the file with its number of words, shuffled, in batches of 4")


# ---------------------------------------------------------------- what is drawn


def drawn(chance, dtype, shape):
    """Random numbers of that dtype. No float64 among them is a float32."""
    if dtype == "bool":
        return chance.random(size=tuple(shape)) < 0.5
    if dtype.startswith("float"):
        return np.asarray(chance.normal(size=tuple(shape)), dtype=dtype)
    return np.asarray(chance.integers(0, 200, size=tuple(shape)), dtype=dtype)


def table(chance):
    """(features, labels) of a CSV file: 50 to 90 rows that no multiple of 8 fits, 3 to 5 columns of different ranges."""
    rows, columns = 8 * int(chance.integers(7, 11)) + int(chance.integers(1, 8)), int(chance.integers(3, 6))
    features = chance.normal(size=(rows, columns)) * 10.0 ** chance.integers(0, 4, size=columns) + 3.0
    features[:, 0] = chance.permutation(rows) + 100.0  # so that no two rows are alike
    return features.round(3), chance.integers(0, 4, size=rows)


def csv_of(features, labels):
    names = [f"x{number}" for number in range(features.shape[1])]
    rows = [
        ",".join([*(f"{value:.3f}" for value in row), str(label)]) for row, label in zip(features, labels, strict=True)
    ]
    return ("\n".join([",".join([*names, "label"]), *rows]) + "\n").encode()


def notes(chance):
    """(what must come out, the file): 35 to 60 notes of 1 to 6 words, spaces around them and empty lines between."""
    count = 4 * int(chance.integers(9, 15)) + int(chance.integers(1, 4))
    raw = [" ".join([f"Note{number}", *chance.choice(WORDS, size=chance.integers(0, 6))]) for number in range(count)]
    spaced = [" " * int(chance.integers(0, 3)) + line + " " * int(chance.integers(0, 3)) for line in raw]
    for place in sorted(chance.integers(0, count, size=6).tolist(), reverse=True):
        spaced.insert(place, " " * int(chance.integers(0, 3)))
    return [line.lower() for line in raw], ("\n".join(spaced) + "\n").encode()


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


def numbers_of(tensor):
    """The values of a tensor in the sandbox, as it is now; something without `numpy()` is no tensor."""
    return as_array(tensor.numpy.call(kind="stochastic"), None, "the tensor")


def seconds(student, n):
    """The shortest of three answers: a busy machine makes one longer, never shorter."""
    answers = [student.time_matmul.call("CPU:0", n, kind="stochastic") for _ in range(3)]
    values = [as_array(answer, (), f'time_matmul("CPU:0", {n})') for answer in answers]
    require(min(values) > 0, f"time_matmul gives {float(min(values)):.3g}", expected="seconds, above 0")
    return float(min(values))


def short(place):
    return str(place).rpartition("device:")[2][:20] or "no device"


def pairs(taken, what):
    """Batches as a list of pairs of an array (or a list of text) and an array."""
    require(isinstance(taken, list) and bool(taken), f"{what} gives no batches", expected="a tf.data.Dataset")
    for batch in taken:
        if not (isinstance(batch, tuple | list) and len(batch) == 2 and isinstance(batch[1], np.ndarray)):
            fail(f"{what} gives batches that are no pairs", expected="pairs of two tensors")
        if not (isinstance(batch[0], list) or (isinstance(batch[0], np.ndarray) and batch[0].ndim)):
            fail(f"{what} gives single rows", expected="batches", hint="End with .batch(…).")
    return [tuple(batch) for batch in taken]


def text_of(line):
    return line.decode("utf-8", "replace") if isinstance(line, bytes) else str(line)


def problem(given, lines):
    """What is wrong with the lines, without telling the file."""
    if any(not line for line in given):
        return "empty lines come too"
    if any(line != line.strip() for line in given):
        return "some lines have spaces around them"
    if any(line != line.lower() for line in given):
        return "some lines have capital letters"
    return f"{len(set(given) & set(lines))} of {len(lines)} lines come, {len(given)} in all"


def sizes_of(count, batch):
    return [batch] * (count // batch) + ([count % batch] if count % batch else [])


def shuffled(first, second):
    """Both passes are far from the file's order and from each other, and what stood together does not any more.

    Chance moves a row by a third of the file on average, and leaves two neighbours side by side once in a pass or two.
    """
    require(len(first) == len(second) > 1, "the passes are not equally long")
    places = np.arange(len(first))
    for order, other, what in (
        (first, places, "the file"),
        (second, places, "the file"),
        (first, second, "the pass before"),
    ):
        moved = np.abs(np.argsort(order) - np.argsort(other)).mean() / len(first)
        require(moved > 0.15, f"the order is nearly that of {what}", expected="an order that chance makes")
    require((np.abs(np.diff(first)) == 1).mean() < 0.4, "rows come in blocks, as they stand in the file")
