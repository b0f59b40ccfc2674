"""Hidden suite of the imdb lab.

Theory of operation. The three parts are asked separately, so that one mistake costs its points once. `encode_review`
and `decode_review` are functions, judged by what they make of texts drawn for this submission. The model is asked in
the clean sandbox about withheld reviews as rows of ids that were made here, filled up on the side it was trained with,
so that a wrong `encode_review` costs nothing there. Only "short_and_long" sends what the one gives into the other.

What a model's outputs mean shows in them: numbers within 0 and 1 are probabilities; of others, the sign decides where
the sign is what was learnt (a model of logits), else one half.
"""

import re
from itertools import groupby

import numpy as np

from grader.checks import OBSERVED, VERIFIED, Parts, as_array, assert_accuracy, check, fail, require
from grader.checks.convention import as_trained, trained_padding
from grader.datasets import word_index

LENGTH, VOCABULARY = 256, 10_000
START, UNKNOWN, OFFSET = 1, 2, 3
#: Layers that make one vector of the vectors of all words. A recurrent layer that gives only its last state does too.
POOLING = {"GlobalAveragePooling1D", "GlobalMaxPooling1D"}
RECURRENT = {"LSTM", "GRU", "SimpleRNN", "Bidirectional"}
#: Asked to find out on which side a model is at home whose training was not recorded, and whether order matters to it.
SAMPLE = 300
#: A side is better if it reads that much more right: twice the standard error of the difference on SAMPLE reviews.
CLEARLY = 0.08


@check(
    "accuracy",
    points=40,
    evidence=VERIFIED,
    hint="Train on rows of 256 ids with their own labels, and stop when the validation loss no longer falls.",
)
def test_tells_praise_from_complaint(student, heldout, threshold):
    """Your model tells positive from negative reviews it has never seen, with every twentieth word missing."""
    reviews, size = at_home(student, heldout), vocabulary(student)
    student.model.require_budget(
        hint="An embedding of 16 numbers for each of 10,000 words has 160,000 and reads reviews well."
    )
    answers = predicted(student, rows_of(reviews, size), len(reviews))
    assert_accuracy(positive(answers, reviews.labels), reviews.labels, threshold("accuracy"))


@check(
    "encode_decode",
    points=20,
    evidence=VERIFIED,
    hint="The id of a word is its number in word_index plus 3. The ids 0 to 3 are special.",
)
def test_encodes_and_decodes(student, heldout, chance):
    """`encode_review` gives the ids of a hidden text, `decode_review` its words, and special ids are no words."""
    index = word_index(heldout.source)
    words, rare = drawn_words(index, chance, 60)
    text, right = " ".join(words), [index[word] + OFFSET for word in words]
    ids = attempt(lambda: ids_of(student.encode_review(text)))
    mixed = [word for pair in zip(words[: len(rare)], rare, strict=True) for word in pair] + words[-2:]
    mixed_ids = attempt(lambda: ids_of(student.encode_review(" ".join(mixed))))
    decoded = attempt(lambda: words_of(student.decode_review(np.array(right, dtype="int32"))))
    if isinstance(ids, AssertionError) and isinstance(decoded, AssertionError):
        raise ids
    parts = Parts()
    parts.add(
        "every word gets its id",
        body(ids) == right,
        weight=6,
        hint=lines("Look the word up in word_index and add 3, as keras.datasets.imdb.load_data does.", told(ids)),
    )
    parts.add("the ids begin with 1", begins(ids), weight=2, hint="Put the id 1 in front: it starts every review.")
    parts.add(
        "a word outside the vocabulary becomes 2, and only such a word",
        [number == UNKNOWN for number in body(mixed_ids)] == [word in rare for word in mixed],
        weight=4,
        hint=lines(
            "Ids from 10,000 on (after 3 was added), and words that word_index does not know, become 2.",
            told(mixed_ids),
        ),
    )
    parts.add(
        "decode_review gives the words of a row of ids",
        decoded == words,
        weight=4,
        hint=lines("Turn word_index round: the word of id i has the number i - 3.", told(decoded)),
    )
    special = attempt(
        lambda: words_of(student.decode_review(np.array([1, right[0], 2, right[1], 3, 0], dtype="int32")))
    )
    parts.add(
        "the special ids 0 to 3 are decoded without an error and make no words",
        special == words[:2] and decoded == words,
        weight=2,
        hint=lines("Leave 0, 1 and 3 out, and write a mark such as <unknown> for 2.", told(special)),
    )
    back = attempt(lambda: words_of(student.decode_review(np.array(ids_of(student.encode_review(text))))))
    parts.add(
        "decode_review turns what encode_review gives into the text again",
        back == words,
        weight=2,
        hint=told(back),
    )
    parts.award(expected="ids as in the data of Keras, and the words back")


@check("architecture", points=15, evidence=VERIFIED)
def test_has_the_parts_of_the_model(student, heldout):
    """Your model has an embedding, makes one vector of all words, and ends in one output."""
    found = student.model.description()
    kinds = found.get("kinds") or []
    parts = Parts()
    embeds = parts.add(
        "there is an embedding",
        "Embedding" in kinds,
        weight=5,
        hint="Begin with keras.layers.Embedding(10_000, 16): an id is a name, not a quantity.",
    )
    parts.add(
        "one vector is made of the vectors of all words",
        embeds and (bool((POOLING | RECURRENT) & set(kinds)) or ignores_order(student, heldout)),
        weight=5,
        hint="Put keras.layers.GlobalAveragePooling1D() after the embedding; Flatten gives every position its own weights.",
    )
    parts.add(
        "there is one output: a probability, or a logit",
        one_output(student, heldout),
        weight=5,
        hint='End with keras.layers.Dense(1, activation="sigmoid"). Without sigmoid the loss must be '
        "keras.losses.BinaryCrossentropy(from_logits=True).",
    )
    parts.award(expected="Embedding, GlobalAveragePooling1D, Dense, one sigmoid")


@check(
    "short_and_long",
    points=10,
    evidence=VERIFIED,
    hint="Every text becomes 256 ids from 0 to 9,999: try your functions with an empty, a short and a very long one.",
)
def test_answers_short_and_long_reviews(student, heldout, chance):
    """The empty review, a review of one rare word and one of 2,000 words are encoded, and your model answers each."""
    words, rare = drawn_words(word_index(heldout.source), chance, 1994)
    parts = Parts()
    for name, text, weight in (
        ("an empty review", "", 3),
        ("a review of one rare word", rare[0], 3),
        ("a review of 2,000 words", " ".join([*words, *rare]), 4),
    ):
        answer = attempt(lambda text=text: answer_to(student, text))
        parts.add(name, not isinstance(answer, AssertionError), weight=weight, hint=told(answer))
    parts.award(expected="256 ids and a finite answer for each")


@check(
    "padding",
    points=15,
    evidence=OBSERVED,
    hint='Use the same call in encode_review and for the training: pad_sequences(…, maxlen=256, padding="post").',
)
def test_is_cut_and_filled_as_in_the_training(student, heldout, chance):
    """`encode_review` cuts and fills to 256 ids, on the side on which the training reviews were filled up."""
    fit = last_fit(student)
    first, second, *_ = drawn_words(word_index(heldout.source), chance, 4)[0]
    short = ids_of(student.encode_review(" ".join([first, second] * 20)))
    long = attempt(lambda: ids_of(student.encode_review(" ".join([first] * 200 + [second] * 200))))
    side = filled_side(short)
    parts = Parts()
    parts.add(
        "the training reviews have 256 ids each",
        trained_length(student, fit) == LENGTH,
        weight=3,
        hint="Cut and fill x_train to 256 ids.",
    )
    parts.add(
        "a short review is filled up to 256 ids with 0, on one side",
        len(short) == LENGTH and bool(side),
        weight=4,
        hint=f"encode_review gave {len(short)} ids for a review of 40 words.",
    )
    parts.add(
        "a long review is cut to 256 ids, its first or its last ones",
        not isinstance(long, AssertionError) and is_cut(long),
        weight=3,
        hint=lines("keras.utils.pad_sequences([ids], maxlen=256) cuts as well.", told(long)),
    )
    parts.add(
        "it is filled up on the side of the training",
        bool(side) and side in sides_of_training(student, heldout),
        weight=5,
        hint='pad_sequences fills up in front unless it is told padding="post", and the model has learnt one of them.',
    )
    parts.award(expected="256 ids, filled up as the training reviews are")


# ---------------------------------------------------------------- the model


def at_home(student, heldout):
    """The draw filled up on the side that the model was trained with.

    Where none was recorded (a tf.data data set), the side on which it reads clearly better.
    """
    if trained_padding(student.model):
        return as_trained(student.model, heldout)
    front = heldout.filled("pre")
    return front if right(student, front) > right(student, heldout) + CLEARLY else heldout


def sides_of_training(student, heldout):
    """The sides on which a review may be filled up: the recorded one, or where none was, those that read as well."""
    recorded = trained_padding(student.model)
    if recorded:
        return {recorded}
    share = {side: right(student, heldout.filled(side)) for side in ("pre", "post")}
    return {side for side, value in share.items() if value > max(share.values()) - CLEARLY}


def right(student, heldout):
    """The share of SAMPLE held-out reviews that the model reads on this side."""
    reviews = heldout.subset(SAMPLE)
    answers = predicted(student, rows_of(reviews, vocabulary(student)), len(reviews))
    return float(((positive(answers, reviews.labels) > 0.5) == reviews.labels).mean())


def vocabulary(student):
    """How many ids the model knows, 10,000 at most: a smaller vocabulary than asked for is graded as what it is."""
    rows = student.model.description().get("layers") or []
    sizes = [row.get("config", {}).get("input_dim") for row in rows if row.get("kind") == "Embedding"]
    return min([VOCABULARY, *(size for size in sizes if isinstance(size, int) and size > OFFSET)])


def rows_of(reviews, size):
    """The drawn rows of ids of a vocabulary of that size."""
    return reviews.inputs if size == VOCABULARY else reviews.padded(LENGTH, reviews.padding, "pre", size)


def predicted(student, rows, count):
    """One or two finite outputs for each row."""
    answers = as_array(student.model.predict(rows), None, "the predictions")
    shapes = ((count,), (count, 1), (count, 2))
    require(
        answers.shape in shapes,
        f"the predictions have shape {answers.shape}",
        expected="one number for each review",
        hint='End the model with Dense(1, activation="sigmoid").',
    )
    return answers if answers.shape == shapes[2] else answers.reshape(-1)


def positive(answers, labels):
    """How positive each review is in the model's eyes, positive above one half."""
    if answers.ndim == 2:
        return (answers.argmax(axis=1) == 1).astype("float64")
    return answers + 0.5 if are_logits(answers, labels) else answers


def are_logits(answers, labels):
    """Whether the sign decides: some outputs are no probabilities, and where the sign and one half differ, it is no worse.

    They differ between 0 and one half. There 50 to 62 % of the reviews are positive where the outputs are logits, and fewer
    than half where a linear output was trained as a probability. Three standard errors are left to chance.
    """
    if answers.min() >= 0 and answers.max() <= 1:
        return False
    between = labels[(answers > 0) & (answers <= 0.5)]
    return bool(between.sum() >= len(between) / 2 - 1.5 * np.sqrt(len(between)))


def one_output(student, heldout):
    """Whether the model has one output that is a probability, or a logit, for every review."""
    reviews = at_home(student, heldout)
    answers = predicted(student, rows_of(reviews, vocabulary(student)), len(reviews))
    if answers.ndim != 1:
        return False
    return bool(answers.min() >= 0 and answers.max() <= 1) or are_logits(answers, reviews.labels)


def ignores_order(student, heldout):
    """Whether the model, without a layer that says so, says the same of a review whose words are turned round."""
    ids = at_home(student, heldout).subset(20).inputs.array()
    ids = np.where(ids < vocabulary(student), ids, UNKNOWN)
    forth, back = (predicted(student, rows, len(ids)) for rows in (ids, ids[:, ::-1].copy()))
    return bool(np.ptp(forth) > 1e-3 and np.allclose(forth, back, rtol=1e-3, atol=1e-4))


def answer_to(student, text):
    """The model's answer to what encode_review makes of the text; fails where either of them does."""
    ids = ids_of(student.encode_review(text))
    require(len(ids) == LENGTH, f"encode_review gave {len(ids)} ids")
    require(
        min(ids) >= 0 and max(ids) < VOCABULARY,
        f"encode_review gave ids from {min(ids)} to {max(ids)}, the vocabulary ends at {VOCABULARY - 1:,}",
    )
    return predicted(student, np.array([ids], dtype="int32"), 1)


def last_fit(student):
    """The last training of the model that finished an epoch; fails the check where there is none."""
    fits = student.model.training().get("fits")
    done = [fit for fit in fits if isinstance(fit, dict) and fit.get("epochs")] if isinstance(fits, list) else []
    if not done:
        fail("the model was never trained with fit", expected="model.fit(x_train, y_train, …)")
    return done[-1]


def trained_length(student, fit):
    """How many ids the reviews had that the model was trained on; of a tf.data data set the model's input tells."""
    x = fit.get("x")
    shape = x.get("shape") if isinstance(x, dict) else None
    if not isinstance(shape, list):
        shape = student.model.description().get("input_shape")
    return shape[1] if isinstance(shape, list) and len(shape) == 2 else None


# ---------------------------------------------------------------- texts and ids


def drawn_words(index, chance, count):
    """So many words of the vocabulary, and six that are not in it: three that word_index knows, three that nobody does.

    Plain words in small letters only. The last of the vocabulary and the first beyond it are always among them: an id
    is compared with 10,000 after 3 was added, not before.
    """
    plain = {number: word for word, number in index.items() if re.fullmatch("[a-z]{2,}", word)}
    last = VOCABULARY - OFFSET - 1
    inside = np.array(sorted(number for number in plain if number <= last))
    beyond = np.array(sorted(number for number in plain if number > last))
    drawn = chance.choice(inside[:-2], size=count - 2, replace=False)
    known = [plain[int(number)] for number in (*drawn, *inside[-2:])]
    rare = [plain[int(number)] for number in (chance.choice(beyond[2:]), *beyond[:2])]
    return known, [*rare, *(made_up(index, chance) for _ in range(3))]


def made_up(index, chance):
    """A word that nobody has written."""
    while (word := "".join(chr(97 + int(at)) for at in chance.integers(0, 26, size=12))) in index:
        continue
    return word


def ids_of(answer):
    """The ids that encode_review gave, as a list: one row of whole numbers, or a matrix of one row."""
    values = as_array(answer, None, "encode_review(text)")
    if values.ndim == 2 and len(values) == 1:
        values = values[0]
    require(values.ndim == 1, f"encode_review(text) has shape {values.shape}", expected="one row of ids")
    whole = bool((values == np.rint(values)).all() and np.abs(values).max(initial=0) < 2**31)
    require(whole, "encode_review(text) gives numbers that are no ids", expected="whole numbers")
    return [int(value) for value in values]


def words_of(answer):
    """The words that decode_review gave. What is not in plain small letters is a mark, such as <unknown> or ?."""
    require(isinstance(answer, str), f"decode_review(ids) is a {type(answer).__name__}", expected="a text")
    return [word for word in answer.split() if re.fullmatch("[a-z]+", word)]


def body(ids):
    """The ids of the words: without the zeros on either side and the 1 at the start."""
    if isinstance(ids, AssertionError):
        return []
    kept = np.trim_zeros(ids)
    return list(kept[1:] if begins(ids) else kept)


def begins(ids):
    """Whether the review begins with the id 1."""
    return not isinstance(ids, AssertionError) and list(np.trim_zeros(ids)[:1]) == [START]


def filled_side(ids):
    """The side on which a row is filled up with zeros: "pre" or "post", or "" for neither, both or zeros within."""
    there = np.flatnonzero(ids)
    if not len(there) or len(there) == len(ids) or np.ptp(there) != len(there) - 1:
        return ""
    return {0: "post", len(ids) - len(there): "pre"}.get(int(there[0]), "")


def is_cut(ids):
    """Whether these are the first or the last 256 ids of a review of 200 times one word, then 200 times another."""
    runs = [len(list(run)) for _, run in groupby(ids)]
    return runs in ([56, 200], [200, 56], [1, 200, 55])


def attempt(ask):
    """What the question gives, or the failure, so that it costs one part only."""
    try:
        return ask()
    except AssertionError as error:
        return error


def lines(*sentences):
    """Those that say something, a line for each: so each can be translated by itself."""
    return "\n".join(filter(None, sentences))


def told(answer):
    """What went wrong with an attempt, for a hint."""
    return str(answer)[:300] if isinstance(answer, AssertionError) else ""
