# %% [markdown]
# The functional API, columns from 0 to 1 as a NumPy array, Huber's loss, ELU, and other names throughout.

# %%
import numpy as np
import pandas as pd
from tensorflow import keras

keras.utils.set_random_seed(1)

# %%
columns = ["MPG", "Cylinders", "Displacement", "Horsepower", "Weight", "Acceleration", "Model Year", "Origin"]
path = keras.utils.get_file(
    "auto-mpg.data", "http://archive.ics.uci.edu/ml/machine-learning-databases/auto-mpg/auto-mpg.data"
)
table = pd.read_csv(path, names=columns, na_values="?", comment="\t", sep=" ", skipinitialspace=True)
train = table.sample(frac=0.85, random_state=3)
held = table.drop(train.index)

# %%
numbers = columns[1:7]
lowest, highest = train[numbers].min(), train[numbers].max()
middle = train["Horsepower"].median()


def normalise(frame):
    filled = frame[numbers].fillna({"Horsepower": middle})
    scaled = (filled - lowest) / (highest - lowest)
    origin = frame["Origin"].to_numpy().reshape(-1, 1) == np.array([1, 2, 3])
    return np.concatenate([scaled.to_numpy(), origin], axis=1).astype("float32")


# %%
def create_model():
    inputs = keras.Input((9,))
    x = keras.layers.Dense(64)(inputs)
    x = keras.layers.LeakyReLU()(x)
    x = keras.layers.Dense(64, activation="elu")(x)
    net = keras.Model(inputs, keras.layers.Dense(1)(x))
    net.compile(optimizer=keras.optimizers.Adam(0.005), loss=keras.losses.Huber(), metrics=["mae"])
    return net


# %%
net = create_model()
stop = keras.callbacks.EarlyStopping(monitor="val_mae", mode="min", patience=30, restore_best_weights=True)
hist = net.fit(
    normalise(train),
    train["MPG"].to_numpy(),
    epochs=800,
    validation_data=(normalise(held), held["MPG"].to_numpy()),
    callbacks=[stop],
    verbose=0,
)
print(len(hist.epoch), net.evaluate(normalise(held), held["MPG"].to_numpy(), verbose=0))
