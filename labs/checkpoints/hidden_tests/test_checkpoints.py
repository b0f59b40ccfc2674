"""Hidden suite of the checkpoints lab.

Theory of operation. The work folder is empty when a run starts, so a file that was collected was written by this run.
Weights are put into the architecture of `create_model()` in the clean sandbox, where there is no student code and
nothing is compiled, and asked about withheld digits. `resume()` trains, so it is asked last.
"""

import re

import numpy as np

from grader.checks import (
    OBSERVED,
    VERIFIED,
    Parts,
    as_array,
    assert_accuracy,
    award,
    check,
    fail,
    measure,
    not_assessable,
    require,
)
from grader.rubric import linear_credit

#: Ten epochs are asked for; a student who stops early on purpose still has a series.
SERIES = 5
WHOLE_MODELS = ("my_model.keras", "my_model.h5", "my_model", "saved_model/my_model", "saved_model")


@check(
    "fresh_model",
    points=10,
    evidence=OBSERVED,
    hint="Build and compile the layers inside create_model(), and return the new model without training it.",
)
def test_create_model_is_fresh(student, heldout, threshold):
    """`create_model()` gives a new, untrained model each time: it knows no more than chance."""
    one = student.create_model.keep()
    two = student.create_model.call(kind="stochastic", want="handle")
    scores = digit_scores(student.helper("predict", one, heldout.subset(1000).inputs), heldout.subset(1000))
    value = (scores.argmax(axis=1) == heldout.subset(1000).labels).mean()
    limit = threshold("untrained")
    measure(value)
    parts = Parts()
    parts.add("two calls give two models", not student.helper("same", one, two), weight=3)
    parts.add(
        "an untrained model guesses",
        value <= limit.full,
        weight=7,
        hint="create_model() must not train the model, and must not return the one you trained.",
    )
    parts.award(expected="a new model with random weights, about one digit in ten right")


@check(
    "first_checkpoint",
    points=15,
    evidence=VERIFIED,
    hint="Give ModelCheckpoint(filepath, save_weights_only=True) to fit(…, callbacks=[…]).",
)
def test_checkpoint_of_the_first_training(student, heldout, threshold):
    """`training_1/cp.weights.h5`, put into your architecture, reads unseen digits."""
    found = student.files.checkpoints("training_1/*")
    saved = found[-1] if found else student.files.first("training_1/cp.weights.h5", "training_1/cp.ckpt")
    assert_reads_digits(student, saved, heldout, threshold)


@check(
    "manual_save",
    points=15,
    evidence=VERIFIED,
    hint="Call save_weights after training; the folder must exist: os.makedirs('checkpoints', exist_ok=True).",
)
def test_weights_saved_by_hand(student, heldout, threshold):
    """`checkpoints/my_checkpoint.weights.h5`, put into your architecture, reads unseen digits."""
    found = student.files.checkpoints("checkpoints/my_checkpoint*")
    saved = found[-1] if found else student.files.first("checkpoints/my_checkpoint.weights.h5")
    assert_reads_digits(student, saved, heldout, threshold)


@check(
    "last_epoch",
    points=15,
    evidence=VERIFIED,
    hint="Put the epoch into the file name: training_2/cp-{epoch:04d}.weights.h5.",
)
def test_checkpoint_of_the_last_epoch(student, heldout, threshold):
    """The last of `training_2/cp-….weights.h5`, put into your architecture, reads unseen digits."""
    found = series(student)
    if not found:
        student.files.first("training_2/cp-0010.weights.h5")
        fail("no file in training_2 has an epoch in its name", expected="cp-0001.weights.h5, cp-0002.weights.h5, …")
    assert_reads_digits(student, found[max(found)], heldout, threshold)


@check(
    "series",
    points=10,
    evidence=VERIFIED,
    needs=("last_epoch",),
    hint="One file for every epoch, written during training; save_freq='epoch' is the default, save_best_only is not.",
)
def test_one_checkpoint_for_every_epoch(student, heldout, threshold):
    """There is a checkpoint for every epoch, and training can be read off them: the last beats the first."""
    found = {number: ref for number, ref in series(student).items() if number > 0}
    missing = [number for number in range(1, max(found, default=0) + 1) if number not in found]
    require(not missing, f"no checkpoint of epoch {_some(missing)}", expected="one file for every epoch, from 1")
    require(len(found) >= SERIES, f"checkpoints of {len(found)} epoch(s)", expected="one for each of ten epochs")
    kinds = len({ref.sha256 for ref in found.values()})
    require(kinds == len(found), f"only {kinds} of {len(found)} files differ", expected="other weights in each")
    first = 1 - accuracy(student, found[1], heldout)
    last = 1 - accuracy(student, found[max(found)], heldout)
    limit = threshold("improvement")
    improvement = (first - last) / first if first > 0 else 0.0
    measure(improvement)
    award(
        linear_credit(improvement, limit.floor, limit.full),
        found=f"{1 - first:.1%} of the held-out digits are right after the first epoch, {1 - last:.1%} after the last",
        expected="clearly fewer mistakes after the last epoch",
        staff=f"error reduced by {improvement:.4f} of itself (floor {limit.floor:g}, full {limit.full:g})",
    )


@check(
    "whole_model",
    points=12,
    evidence=VERIFIED,
    hint="Call model.save('my_model.keras') after training. Layers of your own and Lambda cannot be loaded elsewhere.",
)
def test_whole_model_reloads(student, heldout, threshold):
    """`my_model.keras` loads without your code and reads unseen digits."""
    saved = student.files.first(*WHOLE_MODELS)
    try:
        model = saved.load_model()
    except AssertionError as error:
        require(not loads_with_code(saved), "it can only be restored with student code: your class is not in the file")
        raise error from None
    scores = digit_scores(model.predict(heldout.inputs), heldout)
    assert_accuracy(scores, heldout.labels, threshold("accuracy"), classes=10)


@check(
    "optimizer",
    points=8,
    evidence=VERIFIED,
    needs=("whole_model",),
    hint="Compile and train before you save; save .keras before .h5, and leave include_optimizer alone.",
)
def test_whole_model_keeps_its_optimizer(student):
    """The whole-model file keeps the optimizer, so that training can go on where it stopped."""
    files = [ref for path in WHOLE_MODELS if (ref := student.files.find(path)) is not None]
    require(bool(files), "there is no whole-model file", expected="my_model.keras")
    if all(ref.is_folder for ref in files):
        not_assessable("a SavedModel folder keeps no optimizer")
    states = [ref.optimizer_state() for ref in files if not ref.is_folder]
    steps = max((_steps(state) for state in states), default=0)
    if steps == 0:
        kept = any(state.get("iterations") is not None and not state.get("name") for state in states)
        untrained = any(state.get("present") for state in states)
        fail(
            "the file does not name its optimizer any more: it was saved after an .h5 of the same model"
            if kept
            else "the optimizer in the file has taken no step"
            if untrained
            else "the file holds no optimizer state",
            expected="an optimizer with its step counter and moments",
        )
    award(1.0, found=f"the optimizer in the file has taken {steps:,} steps")


@check(
    "resume",
    points=15,
    evidence=OBSERVED,
    hint="Load first: load_model('my_model.keras'), or create_model() and load_weights. Return what fit returns.",
)
def test_resume_continues(student, threshold):
    """`resume()` loads what was saved and trains on: its loss starts near where training stopped."""
    start, end = training_losses(student)
    before = student.helper("training_summary")
    answer = student.resume.call(kind="mutating", deadline_s=60)
    after = student.helper("training_summary")
    losses = returned_losses(answer)
    require(work_done(after) != work_done(before), "resume() trained nothing", expected="one more epoch of training")
    limit = threshold("progress")
    progress = (start - losses[0]) / (start - end)
    measure(progress)
    award(
        linear_credit(progress, limit.floor, limit.full),
        found=f"training went from a loss of {start:.3f} to {end:.3f}; resume() starts at {losses[0]:.3f}",
        expected="a loss near where training stopped",
        staff=f"progress kept {progress:.4f} (floor {limit.floor:g}, full {limit.full:g})",
    )


# ---------------------------------------------------------------- what the checks share


def architecture(student):
    """The architecture of `create_model()`; of the whole model where that cannot be asked (a kernel that died)."""
    try:
        return student.architecture(student.create_model.keep())
    except AssertionError:
        whole = [ref for path in WHOLE_MODELS if (ref := student.files.find(path)) is not None and not ref.is_folder]
        if not whole:
            raise
        return whole[0].architecture()


def loads_with_code(saved):
    """Whether the notebook's own kernel can load the file."""
    try:
        saved.load_model_with_code()
    except AssertionError:
        return False
    return True


def restored(student, saved):
    """The weights of a file in the student's architecture, in the clean sandbox."""
    layers = architecture(student)
    try:
        return saved.load_weights(layers)
    except AssertionError as error:
        model = restored_alone(saved) or restored_by_place(student, saved, layers)
        if model is not None:
            return model
        fail(
            str(error),
            expected="weights that fit the architecture of create_model()",
            hint="A weights file fits only the layers it came from: build every model with create_model().",
        )


def restored_alone(saved):
    """The model of a whole-model file that brings its own layers; None if it is none, or needs the student's code."""
    if not saved.path.endswith(".keras"):
        return None
    try:
        return saved.load_model()
    except AssertionError:
        return None


def restored_by_place(student, saved, layers):
    """The same for a model of a class of the student's own, whose file names the class's attributes; None if not."""
    if not saved.path.endswith((".h5", ".keras")):
        return None
    try:
        return saved.load_weights(layers, student.weight_places(student.create_model.new()))
    except AssertionError:
        return None


def assert_reads_digits(student, saved, heldout, threshold):
    scores = digit_scores(restored(student, saved).predict(heldout.inputs), heldout)
    assert_accuracy(scores, heldout.labels, threshold("accuracy"), classes=10)


def accuracy(student, saved, heldout):
    scores = digit_scores(restored(student, saved).predict(heldout.inputs), heldout)
    return float((scores.argmax(axis=1) == heldout.labels).mean())


def digit_scores(answer, heldout):
    return as_array(answer, (len(heldout), 10), "the predictions")


def series(student):
    """Checkpoints of training_2 by the epoch in their name: the first number there is."""
    found = {}
    for ref in student.files.checkpoints("training_2/*"):
        number = re.search(r"\d+", ref.path.rpartition("/")[2].removesuffix(".h5"))
        if number:
            found[int(number.group()[:9])] = ref
    return found


def training_losses(student):
    """(highest loss of a first epoch, lowest loss of a last one) over all the training that was recorded."""
    fits = student.facts.observed.get("fits")
    losses = [series for fit in fits if (series := _losses(fit))] if isinstance(fits, list) else []
    require(bool(losses), "no training was seen", expected="a model trained with fit")
    start, end = max(series[0] for series in losses), min(series[-1] for series in losses)
    require(end < start, "the loss did not fall in training", expected="a falling loss")
    return start, end


def returned_losses(answer):
    """The losses resume() returned: of a History, its dict, a list, or one number."""
    if hasattr(answer, "type_name"):
        what = answer.type_name.rpartition(".")[2]
        require(what == "History", f"resume() returned a {what}", expected="the History that fit returned")
        answer = answer.history.value()
    if isinstance(answer, dict):
        answer = answer.get("loss")
    require(answer is not None, "resume() returned no losses", expected="the History that fit returned")
    values = as_array(answer, None, "the losses of resume()").reshape(-1)
    require(values.size > 0, "resume() returned no losses", expected="one loss for the epoch")
    return values


def work_done(summary):
    """What the record of training counts: calls of fit, and optimizer steps for loops of one's own."""
    known = summary if isinstance(summary, dict) else {}
    return len(known.get("fits") or []), known.get("optimizer_steps")


def _losses(fit):
    logs = fit.get("logs") if isinstance(fit, dict) else None
    values = logs.get("loss") if isinstance(logs, dict) else None
    good = isinstance(values, list) and values and all(isinstance(v, int | float) and np.isfinite(v) for v in values)
    return values if good else []


def _steps(state):
    steps = state.get("iterations")
    return steps if state.get("present") and isinstance(steps, int) else 0


def _some(numbers):
    return ", ".join(map(str, numbers[:4])) + (", …" if len(numbers) > 4 else "")
