# %% [markdown]
# The functional API with logits and one-hot labels, centred pixels, completed with a softmax; names in an array.

# %%
import numpy as np
from tensorflow import keras

keras.utils.set_random_seed(1)

# %%
(x_train, y_train), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
x_train = np.expand_dims(x_train, -1).astype("float32") / 127.5 - 1
x_test = np.expand_dims(x_test, -1).astype("float32") / 127.5 - 1

# %%
CLASS_NAMES = np.array(
    ["t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
)

# %%
inputs = keras.Input((28, 28, 1))
hidden = keras.layers.Dense(200, activation="relu")(keras.layers.Flatten()(inputs))
logits = keras.Model(inputs, keras.layers.Dense(10)(hidden))
logits.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])

# %%
logits.fit(x_train, keras.utils.to_categorical(y_train), epochs=10, batch_size=64, verbose=0)

# %%
net = keras.Sequential([logits, keras.layers.Softmax()])
print(np.mean(net.predict(x_test, verbose=0).argmax(axis=1) == y_test))


# %%
def predict_class(image):
    batch = np.asarray(image).reshape(1, 28, 28, 1)
    return CLASS_NAMES[net.predict(batch, verbose=0)[0].argmax()]


print(predict_class(x_test[0]), CLASS_NAMES[y_test[0]])
