# %% [markdown]
# A flat model of logits, pixels from -1 to 1, completed with a softmax after the training.

# %%
import numpy as np
import tensorflow as tf

tf.keras.utils.set_random_seed(1)

# %%
(x_train, y_train), (x_test, y_test) = tf.keras.datasets.mnist.load_data()
x_train = (x_train.reshape(len(x_train), 784) / 127.5 - 1).astype("float32")
x_test = (x_test.reshape(len(x_test), 784) / 127.5 - 1).astype("float32")

# %%
trained = tf.keras.Sequential()
trained.add(tf.keras.Input((784,)))
trained.add(tf.keras.layers.Dense(128, activation="relu"))
trained.add(tf.keras.layers.Dropout(0.2))
trained.add(tf.keras.layers.Dense(64, activation="relu"))
trained.add(tf.keras.layers.Dense(10))
trained.compile(
    optimizer=tf.keras.optimizers.Adam(),
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)

# %%
history = trained.fit(x_train, y_train, batch_size=32, epochs=8, verbose=0)

# %%
model = tf.keras.Sequential([trained, tf.keras.layers.Softmax()])
print(np.mean(model.predict(x_test, verbose=0).argmax(axis=1) == y_test))
model.save("mnist.keras")
