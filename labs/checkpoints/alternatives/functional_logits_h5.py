# %% [markdown]
# A functional model of logits on square images, the whole model in an .h5 file, and other names.

# %%
from pathlib import Path

from tensorflow import keras

# %%
(x_train, y_train), _ = keras.datasets.mnist.load_data()
x_train, y_train = x_train[:1000] / 255.0, y_train[:1000]


# %%
def build_model():
    inputs = keras.Input((28, 28))
    x = keras.layers.Flatten()(inputs)
    x = keras.layers.Dense(200, activation="relu")(x)
    outputs = keras.layers.Dense(10)(x)
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(0.001), loss=loss, metrics=["accuracy"])
    return model


# %%
first = build_model()
saver = keras.callbacks.ModelCheckpoint(filepath="training_1/cp.weights.h5", save_weights_only=True, verbose=0)
first.fit(x_train, y_train, epochs=10, validation_split=0.1, callbacks=[saver], verbose=0)

# %%
net = build_model()
each = keras.callbacks.ModelCheckpoint(filepath="training_2/cp-{epoch:04d}.weights.h5", save_weights_only=True)
net.fit(x_train, y_train, epochs=12, callbacks=[each], verbose=0)

# %%
Path("checkpoints").mkdir(exist_ok=True)
net.save_weights("checkpoints/my_checkpoint.weights.h5")
net.save("my_model.h5")


# %%
def resume_training():
    again = build_model()
    again.load_weights("training_2/cp-0012.weights.h5")
    return again.fit(x_train, y_train, epochs=1, verbose=0)


print(resume_training().history)
