# %% [markdown]
# Everything that can be done with NumPy and pandas is, before it becomes a tensor; `timeit`, and other names.

# %%
import timeit

import numpy as np
import pandas as pd
import tensorflow as tf


# %%
def array_to_tensor(array):
    return tf.convert_to_tensor(array)


def tensor_to_array(tensor):
    return np.array(tensor)


# %%
def matmul_on_device(device, a, b):
    with tf.device(device):
        return tf.constant(a) @ tf.constant(b)


def benchmark_matmul(device, n):
    with tf.device(device):
        a, b = tf.ones((n, n)), tf.ones((n, n))

        def product():
            return tf.linalg.matmul(a, b).numpy()

        product()
        return min(timeit.repeat(product, number=2, repeat=2)) / 2


print(benchmark_matmul("CPU:0", 256))


# %%
def csv_dataset(path):
    table = pd.read_csv(path)
    features, labels = table.iloc[:, :-1], table.iloc[:, -1]
    features = (features - features.min()) / (features.max() - features.min())
    rows = (features.to_numpy(np.float32), labels.to_numpy(np.int32))
    return tf.data.Dataset.from_tensor_slices(rows).shuffle(len(table), reshuffle_each_iteration=True).batch(8)


def text_dataset(path):
    with open(path, encoding="utf-8") as file:
        lines = [line.strip().lower() for line in file if line.strip()]
    words = np.array([len(line.split()) for line in lines], dtype="int32")
    return tf.data.Dataset.from_tensor_slices((np.array(lines), words)).shuffle(len(lines)).batch(4)


# %%
pd.DataFrame({"height": range(20), "width": range(40, 60), "label": [0, 1] * 10}).to_csv("small.csv", index=False)
print(next(iter(csv_dataset("small.csv"))))
