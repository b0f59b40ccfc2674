"""Public suite of the tensors lab: the form of everything, on arrays and files that stand here.

The hidden suite asks the same of arrays, devices and files that are drawn anew for every submission, and the host looks
whether a GPU computes.
"""

import numpy as np

from grader.checks import OBSERVED, as_array, assert_close, check, require

ARRAY = np.array([[1.5, 2.0, 2.5], [3.0, 3.5, 4.0]])
CSV = b"a,b,label\n" + b"".join(b"%d,%d,%d\n" % (row, 50 - row, row % 2) for row in range(20))
TEXT = b"  One Note \n\nTWO notes MORE\nthree\nfour\nfive\n"


@check("to_tensor", points=15, evidence=OBSERVED, hint="Return tf.constant(array), without a dtype of your own.")
def test_to_tensor(student):
    """`to_tensor(array)` is a tensor with the values and the dtype of the array."""
    tensor = student.to_tensor.keep(ARRAY)
    assert_close(tensor.numpy(), ARRAY, what="the tensor")
    require(tensor.dtype.name.value() == "float64", "float64 became something else", expected="the dtype of the array")


@check("to_numpy", points=10, evidence=OBSERVED, hint="Return tensor.numpy().")
def test_to_numpy(student):
    """`to_numpy(tensor)` is a NumPy array with the values and the dtype of the tensor."""
    tensor = student.tensor(ARRAY)
    assert_close(student.to_numpy(tensor), ARRAY, what="the array")
    require(student.to_numpy.keep(tensor).dtype.str.value() == "<f8", "it is no array of float64")


@check("independent", points=10, evidence=OBSERVED, hint="A tensor cannot be changed, and tensor.numpy() is a copy.")
def test_tensors_do_not_change(student):
    """Changing the array that `to_numpy` gave leaves the tensor as it was."""
    tensor = student.tensor(ARRAY)
    student.to_numpy.keep(tensor).fill.call(7.0, kind="mutating")
    assert_close(tensor.numpy(), ARRAY, what="the tensor, after the array made of it was changed,")


@check("placement", points=15, evidence=OBSERVED, hint="Multiply inside `with tf.device(device):`.")
def test_the_product_lies_on_the_cpu(student):
    """`matmul_on("CPU:0", a, b)` is the matrix product, on the CPU. (Graded on a second device too, CPU:1.)"""
    product = student.matmul_on.keep("CPU:0", ARRAY, ARRAY.T)
    assert_close(product.numpy(), ARRAY @ ARRAY.T, what="a @ b")
    require(str(student.helper("device", product)).endswith("device:CPU:0"), "it does not lie on CPU:0")


@check("timing", points=5, evidence=OBSERVED, hint="time.perf_counter() before and after, with .numpy() in between.")
def test_time_matmul_is_a_number(student):
    """`time_matmul("CPU:0", 256)` is a number of seconds."""
    seconds = as_array(student.time_matmul.call("CPU:0", 256, kind="stochastic"), (), "time_matmul")
    require(0 < seconds < 5, f"time_matmul gives {float(seconds):.3g}", expected="seconds, above 0")


@check("csv", points=13, evidence=OBSERVED, hint="from_tensor_slices, map, shuffle, then batch: in this order.")
def test_csv(student):
    """`dataset_from_csv(path)` gives batches of 8 rows, scaled to 0 to 1, and every row once."""
    batches = student.dataset_from_csv.keep(student.deliver("public.csv", CSV)).take(10)
    sizes = [len(labels) for _, labels in batches]
    require(sizes == [8, 8, 4], f"batches of {sizes} rows", expected="batches of 8, 8 and 4")
    rows = np.concatenate([as_array(features, (None, 2), "the features") for features, _ in batches])
    assert_close(np.sort(rows[:, 0]), np.arange(20) / 19, atol=1e-5, what="the first feature, sorted,")


@check("text", points=12, evidence=OBSERVED, hint="TextLineDataset, map, filter, shuffle, then batch.")
def test_text(student):
    """`dataset_from_text(path)` gives lines in small letters, without empty ones, and their numbers of words."""
    batches = student.dataset_from_text.keep(student.deliver("public.txt", TEXT)).take(5)
    found = {line: int(count) for lines, counts in batches for line, count in zip(lines, counts, strict=True)}
    expected = {b"one note": 2, b"two notes more": 3, b"three": 1, b"four": 1, b"five": 1}
    require(found == expected, f"{len(found)} lines: {sorted(found)[:5]}", expected="five lines and their words")
