# %% [markdown]
# The functional API, a cross-entropy written out, batches cut by NumPy, and steps without an optimizer.

# %%
import numpy as np
import pandas as pd
import tensorflow as tf

tf.random.set_seed(1)
np.random.seed(1)

# %%
columns = ["sl", "sw", "pl", "pw", "kind"]
path = tf.keras.utils.get_file("iris_training.csv", "http://download.tensorflow.org/data/iris_training.csv")
flowers = pd.read_csv(path, header=0, names=columns)
features = flowers[columns[:4]].values.astype("float32")
labels = flowers["kind"].values

# %%
inputs = tf.keras.Input((4,))
hidden = tf.keras.layers.Dense(24, activation="tanh")(inputs)
model = tf.keras.Model(inputs, tf.keras.layers.Dense(3)(hidden))


# %%
def loss(model, x, y):
    log_probabilities = tf.nn.log_softmax(model(x))
    return -tf.reduce_mean(tf.gather(log_probabilities, y, batch_dims=1))


def grad(model, inputs, targets):
    with tf.GradientTape() as tape:
        value = loss(model, inputs, targets)
    return value, tape.gradient(value, model.trainable_variables)


# %%
@tf.function(reduce_retracing=True)
def step(x, y):
    value, slopes = grad(model, x, y)
    for variable, slope in zip(model.trainable_variables, slopes):
        variable.assign_sub(0.1 * slope)
    return value


train_loss_results, train_accuracy_results = [], []
for _ in range(200):
    order = np.random.permutation(len(labels))
    batches = [order[start : start + 20] for start in range(0, len(order), 20)]
    values = [float(step(features[rows], labels[rows])) for rows in batches]
    train_loss_results.append(sum(values) / len(values))
    right = model.predict_on_batch(features).argmax(axis=1) == labels
    train_accuracy_results.append(float(right.mean()))
print(train_loss_results[-1], train_accuracy_results[-1])
