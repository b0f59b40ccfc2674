# %% [markdown]
# The functional API, grey values scaled inside, large filters with padding, average pooling, and logits.

# %%
import numpy as np
from tensorflow import keras

keras.utils.set_random_seed(1)


# %%
def output_size(w, f, p, s):
    if min(w, f, s) <= 0 or p < 0 or w + 2 * p < f:
        raise ValueError("no place for the filter")
    return int(np.floor((w - f + 2 * p) / s)) + 1


print(output_size(28, 5, 2, 1))

# %%
(images, digits), (test_images, test_digits) = keras.datasets.mnist.load_data()

# %%
inputs = keras.Input((28, 28, 1))
x = keras.layers.Rescaling(1 / 255)(inputs)
x = keras.layers.Conv2D(16, 5, padding="same", activation="relu")(x)
x = keras.layers.AveragePooling2D(2)(x)
x = keras.layers.Conv2D(32, 5, padding="same", activation="relu")(x)
x = keras.layers.AveragePooling2D(2)(x)
x = keras.layers.Flatten()(x)
net = keras.Model(inputs, keras.layers.Dense(10)(x))
net.compile(
    optimizer=keras.optimizers.Adam(0.001),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)

# %%
net.fit(images[..., np.newaxis], digits, epochs=5, batch_size=32, verbose=0)
print(net.evaluate(test_images[..., np.newaxis], test_digits, verbose=0))

# %%
net.save("cnn.keras")
