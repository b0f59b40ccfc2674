# %% [markdown]
# The functional API, all models built and trained in one loop over a table, and other names; 1s set by index arrays.

# %%
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers, losses, metrics, optimizers, utils

utils.set_random_seed(1)
WORDS = 10_000

# %%
(reviews, opinions), (others, other_opinions) = tf.keras.datasets.imdb.load_data(num_words=WORDS)
reviews, opinions = reviews[:10_000], opinions[:10_000]
others, other_opinions = others[:1_000], other_opinions[:1_000]


# %%
def vectorize_sequences(sequences, dimension=WORDS):
    table = np.zeros((len(sequences), dimension), np.float32)
    rows = np.repeat(np.arange(len(sequences)), [len(words) for words in sequences])
    columns = np.fromiter((word for words in sequences for word in words), dtype="int64")
    table[rows, columns] = 1
    return table


seen, unseen = vectorize_sequences(reviews), vectorize_sequences(others)

# %%
TABLE = {
    "baseline": {"units": 16, "epochs": 10},
    "small": {"units": 3, "epochs": 5},
    "large": {"units": 200, "epochs": 5},
    "l2": {"units": 16, "epochs": 10, "penalty": "l2"},  # by its name it has the factor 0.01
    "dropout": {"units": 16, "epochs": 10, "rate": 0.5},
}


def network(units, penalty=None, rate=None):
    x = entry = tf.keras.Input(shape=(WORDS,))
    for _ in "12":
        x = layers.Dense(units, "relu", kernel_regularizer=penalty)(x)
        x = x if rate is None else layers.Dropout(rate)(x)
    return tf.keras.Model(inputs=entry, outputs=layers.Dense(1, "sigmoid")(x))


# %%
networks, histories = {}, {}
for name, row in TABLE.items():
    epochs = row.pop("epochs")
    networks[name] = network(**row)
    networks[name].compile(optimizers.Adam(), losses.BinaryCrossentropy(), metrics=[metrics.BinaryAccuracy()])
    histories[name] = networks[name].fit(
        seen, opinions, batch_size=128, epochs=epochs, verbose=0, validation_data=(unseen, other_opinions)
    )

base_model, small_model, large_model, regularized_model, dpt_model = networks.values()
base_history, small_history, big_history, l2_hist, dpt_history = histories.values()

# %%
figure, axes = plt.subplots(1, len(histories), sharey=True)
for axis, (name, record) in zip(axes, histories.items(), strict=True):
    axis.plot(record.epoch, record.history["loss"], record.epoch, record.history["val_loss"])
    axis.set_title(name)
plt.show()
