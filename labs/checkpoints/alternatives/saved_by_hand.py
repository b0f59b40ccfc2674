# %% [markdown]
# One call of `fit` for each epoch and every file written by hand; `resume` loads weights into a new model.

# %%
import os

import numpy as np
import tensorflow as tf

# %%
(x_train, y_train), (x_test, y_test) = tf.keras.datasets.mnist.load_data()
x_train = x_train[:1000, ..., np.newaxis].astype("float32") / 255
y_train = y_train[:1000]


# %%
def create_model():
    model = tf.keras.Sequential()
    model.add(tf.keras.Input((28, 28, 1)))
    model.add(tf.keras.layers.Flatten())
    model.add(tf.keras.layers.Dense(64, activation="relu"))
    model.add(tf.keras.layers.Dense(64, activation="relu"))
    model.add(tf.keras.layers.Dense(10, activation="softmax"))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return model


# %%
for folder in ("training_1", "training_2", "checkpoints"):
    os.makedirs(folder, exist_ok=True)

# %%
model = create_model()
for _ in range(10):
    model.fit(x_train, y_train, verbose=0)
    model.save_weights("training_1/cp.weights.h5", overwrite=True)

# %%
model = create_model()
for epoch in range(1, 11):
    model.fit(x_train, y_train, verbose=0)
    model.save_weights(f"training_2/cp-{epoch:04d}.weights.h5")
model.save_weights("checkpoints/my_checkpoint.weights.h5")
model.save("my_model.keras")


# %%
def resume():
    fresh = create_model()
    fresh.load_weights("checkpoints/my_checkpoint.weights.h5")
    return fresh.fit(x_train, y_train, epochs=1, verbose=0)


print(resume().history["loss"])
