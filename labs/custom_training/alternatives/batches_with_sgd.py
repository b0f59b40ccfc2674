# %% [markdown]
# A `keras.Model` for the line, trained in batches by Keras's SGD in a compiled step; layers of add_weight and lists.

# %%
import numpy as np
import tensorflow as tf
from tensorflow import keras

keras.utils.set_random_seed(1)


# %%
def numeric_gradient(f, x, h):
    forward, backward = f(x + h), f(x - h)
    return (forward - backward) / (h + h)


def gradient(f, x):
    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        value = f(variable)
    return tape.gradient(value, variable)


def second_derivative(f, x):
    x = tf.constant(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = f(x)
        slope = inner.gradient(value, x)
    bend = tape.gradient(slope, x)
    return tf.zeros_like(x) if bend is None else bend


print(gradient(tf.sin, 1.0), second_derivative(lambda x: x**3, 2.0))


# %%
class Model(keras.Model):
    def __init__(self):
        super().__init__()
        self.w = self.add_weight(shape=(), initializer=keras.initializers.Constant(4.0), name="w")
        self.b = self.add_weight(shape=(), initializer="zeros", name="b")

    def call(self, x):
        return x * self.w + self.b


def loss(target_y, predicted_y):
    difference = tf.convert_to_tensor(predicted_y) - target_y
    return tf.reduce_mean(difference**2)


def train(model, xs, ys):
    xs, ys = tf.cast(xs, tf.float32), tf.cast(ys, tf.float32)
    optimizer = keras.optimizers.SGD(0.05)
    model(xs[:1])

    @tf.function(reduce_retracing=True)
    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, model(x))
        weights = [model.w, model.b]
        optimizer.apply_gradients(zip(tape.gradient(value, weights), weights))
        return value

    batches = tf.data.Dataset.from_tensor_slices((xs, ys)).shuffle(len(xs)).batch(32)
    for _ in range(15):
        for x, y in batches:
            step(x, y)


# %%
points = np.random.normal(size=500).astype("float32")
line = Model()
train(line, points, 3 * points + 2)
print(line.w.numpy(), line.b.numpy())


# %%
class MyDense(keras.layers.Layer):
    def __init__(self, units, name=None, **options):
        super().__init__(name=name, **options)
        self.units = int(units)

    def build(self, shape):
        self.weight = self.add_weight(name="weight", shape=(shape[-1], self.units), initializer="random_normal")
        self.offset = self.add_weight(name="offset", shape=(self.units,), initializer="zeros")

    def call(self, inputs):
        return inputs @ self.weight + self.offset

    def get_config(self):
        config = super().get_config()
        config.update(units=self.units)
        return config


# %%
class IdentityBlock(keras.layers.Layer):
    def __init__(self, filters):
        super().__init__()
        self.steps = [
            keras.layers.Conv2D(filters, (3, 3), padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.Conv2D(filters, (3, 3), padding="same"),
            keras.layers.BatchNormalization(),
        ]
        self.join = keras.layers.Add()

    def call(self, inputs, training=None):
        x = inputs
        for layer in self.steps:
            is_norm = isinstance(layer, keras.layers.BatchNormalization)
            x = layer(x, training=training) if is_norm else layer(x)
        return keras.activations.relu(self.join([x, inputs]))


print(IdentityBlock(4)(np.ones((1, 6, 6, 4), "float32")).shape)
