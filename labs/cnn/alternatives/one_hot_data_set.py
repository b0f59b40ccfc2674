# %% [markdown]
# A hidden dense layer, one-hot labels from a tf.data data set, layers added one by one.

# %%
import tensorflow as tf

tf.keras.utils.set_random_seed(1)


# %%
def conv_output_size(w, f, p, s):
    places = w + 2 * p - f
    if places < 0 or w <= 0 or f <= 0 or p < 0 or s <= 0:
        raise ValueError(f"w={w}, f={f}, p={p}, s={s} do not go together")
    count = 1
    while places >= s:
        places -= s
        count += 1
    return count


print(conv_output_size(28, 3, 0, 1))

# %%
(x_train, y_train), (x_test, y_test) = tf.keras.datasets.mnist.load_data()


def prepared(image, label):
    return tf.cast(image, tf.float32)[..., tf.newaxis] / 255.0, tf.one_hot(label, 10)


train = tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(10_000).map(prepared).batch(64)
test = tf.data.Dataset.from_tensor_slices((x_test, y_test)).map(prepared).batch(256)

# %%
cnn = tf.keras.Sequential(name="digits")
cnn.add(tf.keras.layers.InputLayer((28, 28, 1)))
cnn.add(tf.keras.layers.Conv2D(24, (3, 3), activation="relu"))
cnn.add(tf.keras.layers.MaxPool2D((2, 2)))
cnn.add(tf.keras.layers.Conv2D(48, (3, 3), activation="relu"))
cnn.add(tf.keras.layers.MaxPool2D((2, 2)))
cnn.add(tf.keras.layers.Flatten())
cnn.add(tf.keras.layers.Dense(64, activation="relu"))
cnn.add(tf.keras.layers.Dropout(0.3))
cnn.add(tf.keras.layers.Dense(10, activation="softmax"))
cnn.compile("adam", "categorical_crossentropy", metrics=["accuracy"])

# %%
cnn.fit(train, epochs=6, verbose=0)
print(cnn.evaluate(test, verbose=0))
cnn.save("cnn.keras")
