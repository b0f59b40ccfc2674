# %% [markdown]
# A training loop over a tf.data data set instead of `fit`, and grey values scaled inside the model.

# %%
import numpy as np
import tensorflow as tf

tf.keras.utils.set_random_seed(1)

# %%
(x_train, y_train), (x_test, y_test) = tf.keras.datasets.fashion_mnist.load_data()
batches = tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(10_000).batch(64)

# %%
class_names = ["T-shirt", "Trousers", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boots"]

# %%
model = tf.keras.Sequential(
    [
        tf.keras.Input((28, 28)),
        tf.keras.layers.Rescaling(1 / 255),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(160, activation="relu"),
        tf.keras.layers.Dense(10, activation="softmax"),
    ]
)
optimizer = tf.keras.optimizers.Adam()
cross_entropy = tf.keras.losses.SparseCategoricalCrossentropy()


# %%
@tf.function
def step(images, labels):
    with tf.GradientTape() as tape:
        value = cross_entropy(labels, model(images, training=True))
    optimizer.apply_gradients(zip(tape.gradient(value, model.trainable_variables), model.trainable_variables))
    return value


for epoch in range(10):
    losses = [float(step(images, labels)) for images, labels in batches]
    print("epoch", epoch + 1, "loss", np.mean(losses))

# %%
chosen = np.argmax(model.predict(x_test, verbose=0), axis=1)
print(np.mean(chosen == y_test))


# %%
def predict_label(image):
    scores = model(tf.convert_to_tensor(image)[tf.newaxis])
    return class_names[int(tf.argmax(scores[0]))]


print(predict_label(x_test[0]), class_names[y_test[0]])
