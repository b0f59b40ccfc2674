# %% [markdown]
# One class for all five models, one row of `np.isin` for each review, and what `history.history` holds instead of History.

# %%
import numpy as np
from tensorflow import keras

keras.utils.set_random_seed(1)

# %%
(train_data, y_train), (test_data, y_test) = keras.datasets.imdb.load_data(num_words=10_000)


def multi_hot_sequences(sequences, dimension):
    columns = np.arange(dimension)
    rows = [np.isin(columns, words) for words in sequences]
    return np.array(rows).astype("float32")


x_train, y_train = multi_hot_sequences(train_data[:10_000], 10_000), y_train[:10_000].astype("float32")
x_val, y_val = multi_hot_sequences(test_data[:1_000], 10_000), y_test[:1_000].astype("float32")


# %%
class ReviewModel(keras.Model):
    def __init__(self, *units, factor=0.0, rate=0.0):
        super().__init__()
        penalty = keras.regularizers.L1L2(l2=factor) if factor else None
        self.hidden = [keras.layers.Dense(n, activation="relu", kernel_regularizer=penalty) for n in units]
        self.drops = [keras.layers.Dropout(rate) for _ in units] if rate else []
        self.answer = keras.layers.Dense(1, activation="sigmoid")

    def call(self, x, training=None):
        for number, layer in enumerate(self.hidden):
            x = layer(x)
            if self.drops:
                x = self.drops[number](x, training=training)
        return self.answer(x)


def trained(model, epochs):
    model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.001), loss="binary_crossentropy")
    fitted = model.fit(x_train, y_train, batch_size=128, epochs=epochs, validation_data=(x_val, y_val), verbose=0)
    return fitted.history


# %%
baseline_model, smaller_model, bigger_model = ReviewModel(16, 16), ReviewModel(8, 4), ReviewModel(96, 96)
l2_model, dropout_model = ReviewModel(16, 16, factor=0.01), ReviewModel(16, 16, rate=0.5)

# %%
baseline_history = trained(baseline_model, 10)
smaller_history = trained(smaller_model, 5)
bigger_history = trained(bigger_model, 5)
l2_history = trained(l2_model, 10)
dropout_history = trained(dropout_model, 10)

# %%
for name, record in (("baseline", baseline_history), ("L2", l2_history), ("dropout", dropout_history)):
    print(name, [round(loss, 3) for loss in record["val_loss"]])
