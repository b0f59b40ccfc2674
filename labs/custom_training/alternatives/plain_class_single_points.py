# %% [markdown]
# A plain class, steps for single points, a bottleneck of convolutions, and other names wherever they are allowed.

# %%
import random

import numpy as np
import tensorflow as tf

random.seed(1)
tf.random.set_seed(1)


# %%
def numerical_gradient(f, x, h):
    return 0.5 * (f(x + h) - f(x - h)) / h


def derivative(f, x):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        y = f(x)
    (slope,) = tape.gradient(y, [x])
    return slope


def second_gradient(f, x):
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        slope = derivative(f, x)
    return tape.gradient(slope, x, unconnected_gradients="zero")


print(numerical_gradient(np.sin, 1.0, 0.01), derivative(tf.sin, 1.0).numpy())


# %%
class LinearModel:
    def __init__(self):
        self.w = tf.Variable(tf.ones(()))
        self.b = tf.Variable(tf.zeros(()))

    def __call__(self, x):
        return tf.add(tf.multiply(self.w, x), self.b)


def compute_loss(target_y, predicted_y):
    return tf.reduce_mean(tf.math.squared_difference(target_y, predicted_y))


def training_loop(model, xs, ys):
    xs, ys = np.asarray(xs, "float32").ravel(), np.asarray(ys, "float32").ravel()

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            value = compute_loss(y, model(x))
        slopes = tape.gradient(value, [model.w, model.b])
        for variable, slope in zip([model.w, model.b], slopes):
            variable.assign(variable - 0.02 * slope)

    for _ in range(5):
        rows = list(range(len(xs)))
        random.shuffle(rows)
        for row in rows:
            step(tf.constant(xs[row]), tf.constant(ys[row]))


# %%
points = np.linspace(-2, 2, 200).astype("float32")
line = LinearModel()
training_loop(line, points, 2 - 3 * points)
print(line.w.numpy(), line.b.numpy())


# %%
class MyDenseLayer(tf.keras.layers.Layer):
    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        last = int(input_shape[-1])
        self.kernel = self.add_weight(shape=(last, self.units), initializer="he_normal", trainable=True, name="kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", trainable=True, name="bias")
        super().build(input_shape)

    def call(self, inputs):
        return tf.nn.bias_add(tf.linalg.matmul(inputs, self.kernel), self.bias)

    def get_config(self):
        return dict(super().get_config(), units=self.units)


# %%
class ResnetIdentityBlock(tf.keras.layers.Layer):
    def __init__(self, filters):
        super().__init__()
        self.squeeze = tf.keras.layers.Conv2D(filters, 1, use_bias=False)
        self.first = tf.keras.layers.BatchNormalization()
        self.look = tf.keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)
        self.second = tf.keras.layers.BatchNormalization()
        self.widen = tf.keras.layers.Conv2D(filters, 1)
        self.third = tf.keras.layers.BatchNormalization()

    def call(self, x, training=False):
        y = tf.nn.relu(self.first(self.squeeze(x), training=training))
        y = tf.nn.relu(self.second(self.look(y), training=training))
        y = self.third(self.widen(y), training=training)
        return tf.nn.relu(tf.math.add(y, x))


print(ResnetIdentityBlock(3)(tf.ones((2, 5, 5, 3))).shape)
