# %% [markdown]
# The functional API, grey values scaled inside the model, one-hot labels, and other names.

# %%
from tensorflow import keras

keras.utils.set_random_seed(1)

# %%
(images, digits), (test_images, test_digits) = keras.datasets.mnist.load_data()
targets = keras.utils.to_categorical(digits, 10)
test_targets = keras.utils.to_categorical(test_digits, 10)

# %%
inputs = keras.Input((28, 28))
x = keras.layers.Rescaling(1 / 255)(inputs)
x = keras.layers.Reshape((784,))(x)
x = keras.layers.Dense(256, activation="relu")(x)
x = keras.layers.Dropout(0.3)(x)
net = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))
net.compile(
    optimizer=keras.optimizers.RMSprop(0.001),
    loss=keras.losses.CategoricalCrossentropy(),
    metrics=["accuracy"],
)

# %%
hist = net.fit(images, targets, batch_size=64, epochs=6, validation_data=(test_images, test_targets), verbose=0)

# %%
print(net.evaluate(test_images, test_targets, verbose=0))
net.save("mnist.keras")
