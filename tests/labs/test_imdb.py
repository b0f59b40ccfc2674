"""What is peculiar to the imdb lab: what cannot answer its held-out reviews, and how its suite reads ids and texts."""

import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from grader.checks.convention import as_trained, trained_padding
from grader.checks.marks import CheckFailed, Mark, running
from grader.datasets import resolve, word_index
from grader.exhibits import exhibit
from grader.heldout import draw
from grader.heldout.division import divide
from grader.heldout.reviews import encode, pad
from grader.labs import load_lab
from grader.labs.starter import read_reference, source, starter
from grader.records import Evidence, Tier
from grader.rubric import accuracy_credit

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "labs" / "imdb"
HANDOUTS = ("handout.md", "handout.zh.md")
SECRET, SUBMISSION = "a secret of these tests", "0" * 64
#: Read when the module is: the tests' own environment names no data folder.
FULL = os.environ.get("GRADER_DATA", "")
TIERS = [
    Tier.LITE,
    pytest.param(
        Tier.FULL,
        marks=[pytest.mark.skipif(not FULL, reason="GRADER_DATA names no folder with the full data"), pytest.mark.slow],
    ),
]
VOCABULARY = 10_000
#: Held-out reviews compared with every known one; their share varies by 0.015.
ASKED = 800


@pytest.fixture(scope="module")
def lab():
    """The lab as the grader loads it."""
    return load_lab(FOLDER)


@pytest.fixture(scope="module")
def suite():
    """The hidden suite as a module, for its own functions."""
    path = FOLDER / "hidden_tests" / "test_imdb.py"
    spec = importlib.util.spec_from_file_location("hidden_suite_of_imdb", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def source_of(tier):
    return resolve("imdb", Path(FULL) if tier is Tier.FULL else None, tier)


def heldout_of(tier):
    """The draw of one submission."""
    return draw("imdb", source_of(tier), SECRET, SUBMISSION)


def credit(lab, tier, answers, labels):
    """The share of the points of "accuracy" that these answers earn."""
    threshold = lab.threshold(tier, "accuracy")
    return accuracy_credit(int((answers == labels).sum()), len(labels), threshold).fraction


# ---------------------------------------------------------------- what cannot answer held-out reviews


def test_points_for_skill_rest_on_verified_evidence(lab):
    """What only a right model or a right function earns is never merely observed."""
    evidence = {check.id: check.evidence for check in lab.checks}
    assert {name for name, kind in evidence.items() if kind is not Evidence.VERIFIED} == {"padding"}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("answer", [0, 1])
def test_a_constant_answer_earns_nothing(lab, tier, answer):
    """Half of the reviews are positive: to say the same of all of them is below the floor."""
    labels = heldout_of(tier).labels
    assert credit(lab, tier, np.full(len(labels), answer), labels) == 0


@pytest.mark.parametrize("tier", TIERS)
def test_a_table_of_the_mounted_test_reviews_earns_nothing(lab, tier):
    """No held-out review is in it, whole, cut or filled up: the table guesses, and guessing is below the floor."""
    heldout, parts = heldout_of(tier), divide(source_of(tier), SECRET)
    table = {row.tobytes(): label for row, label in zip(pad(encode(parts.test.inputs)), parts.test.labels, strict=True)}
    table |= {row.tobytes(): label for row, label in zip(encode(parts.test.inputs), parts.test.labels, strict=True)}
    asked = [*heldout.inputs.array(), *(np.array(review, dtype="int32") for review in heldout.reviews())]
    assert not [row for row in asked if row.tobytes() in table]
    guesses = np.arange(len(heldout)) % 2
    assert credit(lab, tier, guesses, heldout.labels) == 0


@pytest.mark.parametrize("tier", TIERS)
def test_the_most_similar_mounted_review_earns_nothing(lab, tier):
    """A copy of the mounted half, searched for the nearest neighbour by rare words, stays at or below the floor."""
    heldout, parts = heldout_of(tier).subset(ASKED), divide(source_of(tier), SECRET)
    asked, known = heldout.inputs.array(), pad(encode(parts.test.inputs))
    there = np.bincount(np.concatenate([np.unique(row) for row in known]), minlength=VOCABULARY)
    rarity = (1 + np.log((1 + len(known)) / (1 + there))).astype("float32")
    queries, best, nearest = vectors(asked, rarity), np.full(len(asked), -1.0), np.zeros(len(asked), dtype=int)
    for start in range(0, len(known), 1000):
        likeness = queries @ vectors(known[start : start + 1000], rarity).T
        better = likeness.max(axis=1) > best
        nearest[better] = start + likeness.argmax(axis=1)[better]
        best = np.maximum(best, likeness.max(axis=1))
    right = (parts.test.labels[nearest] == heldout.labels).mean()
    assert right > 0.6, "a search that finds nothing proves nothing"
    assert credit(lab, tier, parts.test.labels[nearest], heldout.labels) == 0


def test_the_mounted_half_teaches_no_more_than_other_reviews():
    """Word counts of the mounted half tell a withheld review no better than as many training reviews do."""
    heldout, parts = heldout_of(Tier.LITE), divide(source_of(Tier.LITE), SECRET)
    shares = []
    for split in (parts.test, parts.train.take(np.arange(len(parts.test)))):
        counts = counted(pad(encode(split.inputs)))
        good, bad = (counts[split.labels == label].sum(axis=0) + 1 for label in (1, 0))
        weights = np.log(good / good.sum()) - np.log(bad / bad.sum())
        shares.append(((counted(heldout.inputs.array()) @ weights > 0) == heldout.labels).mean())
    assert min(shares) > 0.75
    assert abs(shares[0] - shares[1]) < 4 * np.sqrt(0.25 / len(heldout))


def vectors(rows, rarity):
    """Each review as a vector of length 1: for every word the logarithm of its count, times its rarity."""
    made = counted(rows)
    made[made > 0] = 1 + np.log(made[made > 0])
    made *= rarity
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def counted(rows):
    """How often each review has each word, the special ids left out."""
    made = np.zeros((len(rows), VOCABULARY), dtype="float32")
    np.add.at(made, (np.arange(len(rows))[:, None], rows), 1)
    made[:, :4] = 0
    return made


# ---------------------------------------------------------------- the side on which reviews are filled up


def model_trained_on(rows):
    """A model as a suite sees it, whose last fit was on these rows."""
    from grader.probe.hooks import _describe_array

    record = {"fits": [{"x": _describe_array(rows)}]}
    return SimpleNamespace(bench=SimpleNamespace(helper=lambda *args, **more: record), live=None)


@pytest.mark.parametrize("side", ["pre", "post"])
def test_the_side_of_the_training_is_recorded_and_asked(side):
    """What `fit` saw tells on which side reviews are filled up, and the draw is filled up there."""
    heldout = heldout_of(Tier.LITE)
    model = model_trained_on(heldout.padded(256, side).array())
    assert trained_padding(model) == side
    asked = as_trained(model, heldout)
    assert np.array_equal(asked.inputs.array(), heldout.padded(256, side).array())
    assert (asked.inputs.key == heldout.inputs.key) is (side == "post")


def test_the_public_half_is_filled_up_on_that_side_too():
    """Both halves are asked alike, or their comparison would show the side and not what was learnt."""
    heldout = heldout_of(Tier.LITE).filled("pre")
    for drawn in (heldout.plain, heldout.public_inputs):
        assert (drawn.array()[:, -1] != 0).all()
        assert (drawn.array()[:, 0] == 0).any()


@pytest.mark.parametrize("rows", [np.ones((5, 8), "int32"), np.ones((5, 8, 8)), "a data set"])
def test_no_side_is_told_where_none_shows(rows):
    """Rows without zeros, images and data sets say nothing."""
    assert trained_padding(model_trained_on(rows)) == ""


def test_one_sigmoid_gets_a_confusion_matrix_and_a_comparison_of_both_halves(lab):
    """One output is read as the probability of the second class; a model that knows the public half is flagged."""
    heldout = heldout_of(Tier.LITE)
    known = {row.tobytes() for row in heldout.public_inputs.array()}
    labels = dict(zip((row.tobytes() for row in heldout.public_inputs.array()), heldout.public_labels, strict=True))

    def predict(drawn):
        rows = drawn.array()
        return np.array([[labels[r.tobytes()] * 0.98 + 0.01] if r.tobytes() in known else [0.6] for r in rows])

    student = SimpleNamespace(model=SimpleNamespace(predict=predict, description=dict, verified=False))
    session = SimpleNamespace(tape=SimpleNamespace(entries=()))
    bench = SimpleNamespace(facts=SimpleNamespace(observed={}), session=session)
    shown, flags = exhibit(lab, bench, student, heldout)
    assert [row[0] for row in shown.confusion.matrix] == [0, 0]
    assert sum(map(sum, shown.confusion.matrix)) == len(heldout)
    assert [flag.kind for flag in flags] == ["public gap"]


# ---------------------------------------------------------------- how the suite reads ids and texts


def test_the_words_that_are_asked_lie_on_both_sides_of_the_end_of_the_vocabulary(suite):
    """The last word with an id below 10,000 is always asked as known, the first one beyond as unknown."""
    index = word_index(source_of(Tier.LITE))
    words, rare = suite.drawn_words(index, np.random.default_rng(1), 60)
    assert len(words) == 60
    assert {index[word] + 3 for word in words} <= set(range(4, VOCABULARY))
    assert max(index[word] + 3 for word in words) == VOCABULARY - 1
    assert min(index[word] + 3 for word in rare if word in index) == VOCABULARY
    assert sum(word not in index for word in rare) == 3


@pytest.mark.parametrize(
    ("ids", "side"),
    [
        ([1, 5, 6, 0, 0], "post"),
        ([0, 0, 1, 5, 6], "pre"),
        ([0, 1, 5, 6, 0], ""),
        ([1, 5, 0, 6, 0], ""),
        ([1, 5, 6], ""),
        ([0, 0], ""),
    ],
)
def test_the_filled_side_of_a_row_is_the_one_with_all_its_zeros(suite, ids, side):
    """Zeros on both sides or among the words are no padding."""
    assert suite.filled_side(ids) == side


@pytest.mark.parametrize("start", [[], [1]])
@pytest.mark.parametrize("side", ["pre", "post"])
def test_a_long_review_may_be_cut_on_either_side(suite, start, side):
    """The first and the last 256 ids are both right, with and without the id of the start; a piece of the middle is not."""
    long = np.array([*start, *[7] * 200, *[8] * 200])
    assert suite.is_cut(list(pad([long], truncating=side)[0]))
    assert not suite.is_cut(list(long[50:306]))
    assert not suite.is_cut(list(long))


@pytest.mark.parametrize(
    "text", ["<START> good film", "good <unknown> film", "? good film [PAD] [PAD]", "good  film\n", "good UNK film"]
)
def test_marks_are_no_words(suite, text):
    """Whatever stands for a special id is left out, as long as it does not look like a word."""
    assert suite.words_of(text) == ["good", "film"]


@pytest.mark.parametrize("answer", [[1, 5.5], [1e300], [[1, 2], [3, 4]], "text", None, [float("nan")]])
def test_what_is_no_row_of_ids_fails_the_check_and_not_the_suite(suite, answer):
    """Fractions, huge numbers, several rows, text, nothing: the student is told."""
    with running(Mark("x", 1, Evidence.VERIFIED)), pytest.raises(CheckFailed):
        suite.ids_of(answer)


@pytest.mark.parametrize("answer", [[1, 5, 0], np.array([[1, 5, 0]]), np.array([1.0, 5.0, 0.0])])
def test_lists_rows_and_floats_of_whole_numbers_are_ids(suite, answer):
    """What a model takes is accepted, in whatever container."""
    assert suite.ids_of(answer) == [1, 5, 0]


def test_logits_are_told_from_numbers_that_were_trained_as_probabilities(suite):
    """The sign decides where it is no worse than one half; a linear output trained towards 0 and 1 is none."""
    labels = np.array([0, 1] * 50)
    assert suite.are_logits(labels * 4.0 - 2, labels)
    assert not suite.are_logits(labels * 0.8 + 0.15 + (labels == 1) * 0.2, labels)
    assert not suite.are_logits(labels * 0.9, labels)
    assert ((suite.positive(labels * 4.0 - 2, labels) > 0.5) == labels).all()
    assert ((suite.positive(np.stack([1 - labels, labels], 1), labels) > 0.5) == labels).all()


@pytest.mark.parametrize("seed", range(20))
def test_chance_does_not_turn_logits_into_something_else(suite, seed):
    """On 800 reviews one half may be right a little more often than the sign, which is what was learnt all the same."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, 800)
    chances = 1 / (1 + np.exp(-logits))
    labels = (random.random(800) < chances).astype(int)
    assert suite.are_logits(logits, labels)
    assert not suite.are_logits(chances + random.normal(0, 0.1, 800), labels)


# ---------------------------------------------------------------- what students are given


def test_the_starter_holds_nothing_of_the_solution():
    """What students start from loads the data and leaves functions, model and training to them."""
    cells = starter(read_reference(ROOT / "reference_solutions" / "imdb.ipynb"))["cells"]
    left = "\n".join(source(cell) for cell in cells if cell["cell_type"] == "code")
    assert "load_data(num_words=VOCABULARY)" in left
    assert all(word not in left for word in ("def ", "Sequential", "pad_sequences", "fit(", "names"))


@pytest.mark.parametrize("handout", HANDOUTS)
def test_each_handout_tells_the_most_parameters(handout, lab):
    """The budget of parameters in the handouts is the spec's."""
    most = lab.contract["model"].max_parameters
    assert f"{most:,}" in (FOLDER / handout).read_text("utf-8")


@pytest.mark.parametrize("handout", HANDOUTS)
def test_each_handout_tells_the_special_ids(handout):
    """Both handouts have the table of ids 0 to 3 and the offset."""
    text = (FOLDER / handout).read_text("utf-8")
    assert all(f"| {number} | " in text for number in range(4))
