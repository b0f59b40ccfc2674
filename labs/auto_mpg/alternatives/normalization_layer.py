# %% [markdown]
# A Normalization layer inside the model; `normalize` only fills in and encodes. Absolute loss.

# %%
import pandas as pd
import tensorflow as tf

tf.keras.utils.set_random_seed(1)

# %%
names = ["MPG", "Cylinders", "Displacement", "Horsepower", "Weight", "Acceleration", "Model Year", "Origin"]
path = tf.keras.utils.get_file(
    "auto-mpg.data", "http://archive.ics.uci.edu/ml/machine-learning-databases/auto-mpg/auto-mpg.data"
)
cars = pd.read_csv(path, names=names, na_values="?", comment="\t", sep=" ", skipinitialspace=True)
cars = cars.sample(frac=1.0, random_state=7)
validation, training = cars[:60], cars[60:]

# %%
mean_horsepower = training["Horsepower"].mean()


def normalize(frame):
    numbers = frame[names[1:7]].fillna(mean_horsepower).to_numpy("float32")
    places = tf.one_hot(frame["Origin"].to_numpy("int64") - 1, 3)
    return tf.concat([numbers, places], axis=1)


scale = tf.keras.layers.Normalization()
scale.adapt(normalize(training))


# %%
def build_model():
    layers = [
        tf.keras.Input((9,)),
        scale,
        tf.keras.layers.Dense(64, activation="relu"),
        tf.keras.layers.Dense(32, activation="relu"),
        tf.keras.layers.Dense(1),
    ]
    model = tf.keras.Sequential(layers)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.005), loss="mean_absolute_error")
    return model


# %%
model = build_model()
patience = tf.keras.callbacks.EarlyStopping("val_loss", patience=30, restore_best_weights=True)
history = model.fit(
    normalize(training),
    training["MPG"].to_numpy(),
    validation_data=(normalize(validation), validation["MPG"].to_numpy()),
    epochs=600,
    callbacks=[patience],
    verbose=0,
)
print(len(history.epoch), min(history.history["val_loss"]))
