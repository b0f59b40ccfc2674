# %% [markdown]
# A class of its own with a `train_step` of its own, trained on a `tf.data` data set; lists filled up without Keras.

# %%
import tensorflow as tf
from tensorflow import keras

keras.utils.set_random_seed(1)
VOCABULARY, LENGTH = 10_000, 256

# %%
(train_reviews, y_train), (test_reviews, y_test) = keras.datasets.imdb.load_data(num_words=VOCABULARY)
word_index = keras.datasets.imdb.get_word_index()
words = [""] * VOCABULARY
words[2] = "<unknown>"
for word, number in word_index.items():
    if number + 3 < VOCABULARY:
        words[number + 3] = word


# %%
def filled(review):
    review = list(review)[:LENGTH]
    return review + [0] * (LENGTH - len(review))


def encode_review(text):
    ids = [word_index[word] + 3 if word in word_index else 2 for word in text.lower().split()]
    return tf.constant(filled([1] + [2 if number >= VOCABULARY else number for number in ids]))


def decode_review(ids):
    return " ".join(words[number] for number in ids if words[number])


print(decode_review(encode_review("a boring waste of time").numpy()))

# %%
x_train = tf.constant([filled(review) for review in train_reviews])
x_test = tf.constant([filled(review) for review in test_reviews])
known = len(x_train) * 9 // 10
train = tf.data.Dataset.from_tensor_slices((x_train[:known], y_train[:known])).shuffle(known).batch(64)
held_back = tf.data.Dataset.from_tensor_slices((x_train[known:], y_train[known:])).batch(256)


# %%
class ReviewReader(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(VOCABULARY, 16, mask_zero=True)
        self.mean = keras.layers.GlobalAveragePooling1D()
        self.hidden = keras.layers.Dense(16, activation="relu")
        self.answer = keras.layers.Dense(1, activation="sigmoid")

    def call(self, ids):
        return self.answer(self.hidden(self.mean(self.embedding(ids))))

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            answers = self(x, training=True)
            loss = self.compute_loss(x, y, answers)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss} | self.compute_metrics(x, y, answers)


# %%
model = ReviewReader()
model.compile(optimizer=keras.optimizers.Adam(0.002), loss=keras.losses.BinaryCrossentropy(), metrics=["accuracy"])
stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True)
history = model.fit(train, validation_data=held_back, epochs=15, callbacks=[stop], verbose=0)

# %%
print(model.evaluate(x_test, y_test, verbose=0))
