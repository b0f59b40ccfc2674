"""Public suite of the imdb lab: the form of what was asked for, on texts made up here. The hidden suite asks more."""

import numpy as np

from grader.checks import OBSERVED, Parts, as_array, check, require

LENGTH = 256
TEXT = "this movie was not good but the story is great"


@check(
    "encode_review",
    points=30,
    evidence=OBSERVED,
    hint="Put 1 in front, add 3 to the number of each word, and cut and fill with pad_sequences.",
)
def test_encode_review_gives_256_ids(student):
    """`encode_review` turns a text into 256 ids: 1 for the start, then the words, 0 for the rest."""
    ids = ids_of(student, TEXT)
    there = ids[ids != 0]
    parts = Parts()
    parts.add("there are 256 ids", len(ids) == LENGTH)
    parts.add("they lie between 0 and 9,999", len(ids) > 0 and ids.min() >= 0 and ids.max() < 10_000)
    parts.add("the first one is 1", list(there[:1]) == [1])
    parts.add("each of the ten words has an id of 4 or more", len(there) == 11 and (there[1:] > 3).all())
    parts.add("`the`, the most frequent word, has the id 4", 4 in there[1:])
    parts.award(expected="256 ids from 0 to 9,999")


@check("decode_review", points=30, evidence=OBSERVED, hint="The word of id i has the number i - 3 in word_index.")
def test_decode_review_gives_the_words_back(student):
    """`decode_review` turns the ids of a text into the text, and knows the special ids 0 to 3."""
    text = student.decode_review(np.array([1, 4, 2, 3, 0], dtype="int32"))
    require(isinstance(text, str), f"decode_review(ids) is a {type(text).__name__}", expected="a text")
    parts = Parts()
    words = [word for word in text.split() if word.isalpha() and word.islower()]
    parts.add("id 4 is the word `the`, and ids 0 to 3 are no words", words == ["the"])
    back = student.decode_review(ids_of(student, TEXT))
    parts.add("it gives back what encode_review was given", isinstance(back, str) and TEXT in back)
    parts.award(expected="the words, with spaces between them")


@check("model", points=20, evidence=OBSERVED, hint='End the model with Dense(1, activation="sigmoid").')
def test_model_gives_one_number_for_each_review(student):
    """`model` takes rows of 256 ids and gives one finite number for each."""
    answers = as_array(
        student.model.predict(np.tile(np.arange(LENGTH, dtype="int32"), (3, 1))), None, "the predictions"
    )
    require(answers.shape in ((3,), (3, 1)), f"the predictions have shape {answers.shape}", expected="shape (3, 1)")


@check(
    "reviews",
    points=20,
    evidence=OBSERVED,
    needs=("encode_review", "model"),
    hint="Train on rows that are filled up on the same side as encode_review fills them up.",
)
def test_model_answers_your_ids(student):
    """`model` answers an empty review, and finds praise more positive than complaint."""
    empty, praise, complaint = (
        as_array(student.model.predict(ids_of(student, text)[np.newaxis]), None, "the prediction").reshape(-1)
        for text in ("", "wonderful excellent superb and perfect", "boring awful terrible and a waste")
    )
    require(empty.size == 1, f"{empty.size} numbers for an empty review", expected="one")
    require(praise[0] > complaint[0], "complaint is more positive than praise", expected="the other way round")


def ids_of(student, text):
    """What encode_review gives, as a row of ids."""
    return as_array(student.encode_review(text), None, "encode_review(text)").reshape(-1).astype("int32")
