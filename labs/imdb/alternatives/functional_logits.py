# %% [markdown]
# The functional API and a model of logits, zeros in front, the last ids of a long review, and other names.

# %%
import re

import tensorflow as tf

tf.keras.utils.set_random_seed(1)
SIZE, WIDTH = 10_000, 256

# %%
(reviews, labels), (other_reviews, other_labels) = tf.keras.datasets.imdb.load_data(num_words=SIZE)
number_of = {word: number + 3 for word, number in tf.keras.datasets.imdb.get_word_index().items() if number + 3 < SIZE}
word_of = {number: word for word, number in number_of.items()}


# %%
def encode_text(text):
    words = re.sub(r"[^\w\s']", " ", text.lower()).split()
    return tf.keras.utils.pad_sequences([[1] + [number_of.get(word, 2) for word in words]], maxlen=WIDTH)[0].tolist()


def decode_text(ids):
    return " ".join(word_of.get(int(number), "?") for number in ids if int(number) not in (0, 1, 3))


print(decode_text(encode_text("What a wonderful film!")))

# %%
x = tf.keras.utils.pad_sequences(reviews, maxlen=WIDTH)
x_other = tf.keras.utils.pad_sequences(other_reviews, maxlen=WIDTH)
print(x.shape, x_other.shape)

# %%
ids = tf.keras.Input(shape=(WIDTH,), dtype="int32")
vectors = tf.keras.layers.Embedding(SIZE, 24, mask_zero=True)(ids)
mean = tf.keras.layers.GlobalAveragePooling1D()(vectors)
logit = tf.keras.layers.Dense(1)(tf.keras.layers.Dense(24, activation="tanh")(mean))
net = tf.keras.Model(ids, logit)
net.compile(
    optimizer=tf.keras.optimizers.Adam(0.003),
    loss=tf.keras.losses.BinaryCrossentropy(from_logits=True),
    metrics=[tf.keras.metrics.BinaryAccuracy(threshold=0.0)],
)

# %%
patient = tf.keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
hist = net.fit(x, labels, epochs=20, batch_size=128, validation_split=0.15, callbacks=[patient], verbose=0)

# %%
print(net.evaluate(x_other, other_labels, verbose=0))
