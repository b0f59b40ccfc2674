# %% [markdown]
# Compiled functions, and files that are read, scaled, cached and counted by `tf.data` alone.

# %%
import time

import numpy as np
import tensorflow as tf


# %%
def to_tensor(array):
    array = np.asarray(array)
    return tf.reshape(tf.constant(array.ravel()), array.shape)


def to_numpy(tensor):
    return np.copy(tensor.numpy())


# %%
@tf.function(reduce_retracing=True)
def multiply(a, b):
    return tf.einsum("ij,jk->ik", a, b)


def matmul_on(device, a, b):
    with tf.device(f"/device:{device}"):
        return multiply(tf.identity(a), tf.identity(b))


def time_matmul(device, n):
    with tf.device(device):
        matrix = tf.random.normal([n, n])
        tf.reduce_sum(tf.matmul(matrix, matrix)).numpy()
        began = time.monotonic()
        for _ in range(3):
            tf.reduce_sum(tf.matmul(matrix, matrix)).numpy()
        return tf.constant((time.monotonic() - began) / 3)


# %%
def dataset_from_csv(path):
    with open(path) as file:
        columns = len(file.readline().split(","))
    rows = tf.data.experimental.CsvDataset(path, [tf.float64] * (columns - 1) + [tf.int32], header=True)
    rows = rows.map(lambda *row: (tf.stack(row[:-1]), row[-1])).cache()
    start = (tf.fill([columns - 1], np.inf), tf.fill([columns - 1], -np.inf), 0)
    start = (tf.cast(start[0], tf.float64), tf.cast(start[1], tf.float64), start[2])
    low, high, count = rows.reduce(
        start, lambda seen, row: (tf.minimum(seen[0], row[0]), tf.maximum(seen[1], row[0]), seen[2] + 1)
    )
    return (
        rows.shuffle(tf.cast(count, tf.int64))
        .batch(8, num_parallel_calls=tf.data.AUTOTUNE)
        .map(lambda x, y: (tf.cast((x - low) / (high - low), tf.float32), y))
        .prefetch(tf.data.AUTOTUNE)
    )


def dataset_from_text(path):
    lines = tf.data.Dataset.from_tensors(path).flat_map(tf.data.TextLineDataset)
    lines = lines.map(lambda line: tf.strings.lower(tf.strings.regex_replace(line, r"^\s+|\s+$", ""), encoding="utf-8"))
    lines = lines.filter(lambda line: tf.not_equal(line, "")).cache().shuffle(5_000).batch(4)
    return lines.map(lambda batch: (batch, tf.cast(tf.strings.split(batch).row_lengths(), tf.int32)))


# %%
with open("small.txt", "w", encoding="utf-8") as file:
    file.write(" One line \n\nANOTHER one\n")
print(list(dataset_from_text("small.txt").as_numpy_iterator()))
