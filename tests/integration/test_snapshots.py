"""Weights are copied while a model trains, where the lab asks for it: they are what the model was, and change nothing."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from grader import wire
from grader.checks.marks import Mark, current, running
from grader.checks.student import Bench, Student
from grader.errors import LabError
from grader.records import Ending, Evidence, Limits
from grader.runner import Job, RunFacts, open_clean, run_notebook
from grader.session import Session, Tape, TapeMiss
from grader.zygote import Zygote

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EPOCHS = (1, 2, 4)
LIMITS = Limits(wall_s=120, memory_mb=2048, disk_mb=16, question_s=60, threads=1)
INPUTS = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
SUITE = '''
from grader.checks import OBSERVED, check
@check("a", points=10, evidence=OBSERVED)
def test_a(student):
    """A."""
    student.model.snapshots()
'''
SOURCE = """
import json
import keras
import numpy as np

x = np.random.rand(64, 4).astype("float32")
y = x[:, :1]
inputs = np.linspace(-1, 1, 20, dtype="float32").reshape(5, 4)
told = {}

class Note(keras.callbacks.Callback):
    def __init__(self, name):
        super().__init__()
        self.name = name
    def on_epoch_end(self, epoch, logs=None):
        told.setdefault(self.name, []).append(np.asarray(self.model(inputs)).tolist())

def layers():
    penalty = keras.regularizers.L2(0.01)
    hidden = keras.layers.Dense(6, activation="relu", kernel_regularizer=penalty)
    return [hidden, keras.layers.Dropout(0.5), keras.layers.Dense(1)]

class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.last, self.drop, self.first = reversed(layers())  # in another order than they are called in
    def call(self, rows):
        return self.last(self.drop(self.first(rows)))

def trained(name, model, *epochs):
    model.compile("adam", "mse")
    for count in epochs:
        model.fit(x, y, epochs=count, batch_size=16, verbose=0, callbacks=[Note(name)])
    return model

model = trained("model", keras.Sequential([keras.Input((4,)), *layers()]), 4)
twice = trained("twice", keras.Sequential([keras.Input((4,)), *layers()]), 1, 3)
short = trained("short", keras.Sequential([keras.Input((4,)), *layers()]), 3)
own = trained("own", Own(), 4)
other = model
never = keras.Sequential([keras.Input((4,)), *layers()])
open("told.json", "w").write(json.dumps(told))
"""
NAMES = ("model", "twice", "short", "own", "other", "never")


@pytest.fixture(scope="module")
def warm(backend):
    """A zygote that knows Keras."""
    with Zygote(backend, sys.executable, slot=3) as started:
        yield started


def ran(warm, snapshots):
    job = Job(
        cells=(wire.SourceCell("code", SOURCE),),
        seed=5,
        limits=LIMITS,
        keep=("told.json",),
        models=tuple(wire.Name(name, (), "model", tuple(other for other in NAMES if other != name)) for name in NAMES),
        snapshots=snapshots,
    )
    with run_notebook(warm, job) as run:
        assert run.facts.ending is Ending.OK, run.facts.cell_errors
        return run.facts


@pytest.fixture(scope="module")
def facts(warm) -> RunFacts:
    return ran(warm, EPOCHS)


@pytest.fixture
def lab(make_lab):
    contract = dict.fromkeys(NAMES, "model")
    return make_lab(SUITE, contract=contract, spec=f"[observe]\nsnapshots = {list(EPOCHS)}")


@pytest.fixture
def student(warm, lab, facts):
    """The run's models, asked in a clean sandbox, while a check is running."""
    watches = []

    def clean():
        link, watch = open_clean(warm, 5, LIMITS)
        watches.append(watch)
        return link

    session = Session(None, clean, Tape(), seed=5, deadline_s=60)
    with running(Mark("a", 10, Evidence.VERIFIED)):
        yield Student(Bench(lab, facts, session, facts.files.__getitem__))
    session.close()
    for watch in watches:
        watch.end()


@pytest.mark.parametrize("name", ["model", "twice", "own", "other"])
def test_a_snapshot_answers_as_the_model_did_after_that_epoch(student, facts, name):
    """Also where `fit` was called twice, where the model is a class of the student's, and under a second name."""
    told = json.loads(facts.files["told.json"])[name if name != "other" else "model"]
    snapshots = getattr(student, name).snapshots()
    assert [snapshot.epoch for snapshot in snapshots] == list(EPOCHS)
    for snapshot in snapshots:
        assert np.allclose(snapshot.predict(INPUTS), told[snapshot.epoch - 1], atol=1e-6)
    assert current().evidence is Evidence.OBSERVED


def test_penalty_and_dropout_of_a_model_can_be_asked(student):
    """The factor of a weight penalty is told, and in training mode units are dropped."""
    configs = [layer["config"] for layer in student.model.description()["layers"]]
    assert [config.get("l2") for config in configs] == [pytest.approx(0.01), None, None]
    plain, training = student.model.predict(INPUTS), student.model.predict_training(INPUTS)
    assert not np.allclose(plain, training, atol=1e-4)
    assert not np.allclose(training, student.model.predict_training(INPUTS), atol=1e-4)
    assert current().evidence is Evidence.VERIFIED


def test_there_are_only_the_epochs_that_a_model_was_trained_for(student):
    """Three epochs leave two of the three snapshots, none leave none."""
    assert [snapshot.epoch for snapshot in student.short.snapshots()] == [1, 2]
    assert student.never.snapshots() == ()


def test_what_training_does_is_the_same_with_and_without_snapshots(warm, facts):
    """Not a bit of any trained weight differs, dropout included; and without being asked nothing is copied."""
    without = ran(warm, ())
    assert set(without.kept) == {f".kept/{name}" for name in NAMES}
    assert {path: facts.kept[path] for path in without.kept} == without.kept


def test_answers_come_from_the_tape_when_judged_again(student, lab, facts):
    """A replay without any sandbox gives the same answers."""
    first = [snapshot.predict(INPUTS) for snapshot in student.model.snapshots()]
    tape = Tape.decode(student._bench.session.tape.encode())
    replay = Session(None, None, tape, seed=5, deadline_s=60, replay=True)
    again = Student(Bench(lab, facts, replay, facts.files.__getitem__))
    assert all(
        np.array_equal(snapshot.predict(INPUTS), answer)
        for snapshot, answer in zip(again.model.snapshots(), first, strict=True)
    )


def test_a_run_that_was_not_told_to_keep_them_has_to_be_run_again(lab, facts):
    """Snapshots that a changed spec asks for are missing, which is not the student's fault."""
    from msgspec.structs import replace

    older = replace(facts, snapshots=(1,))
    session = Session(None, None, Tape(), seed=5, deadline_s=60, replay=True)
    with running(Mark("a", 10, Evidence.OBSERVED)), pytest.raises(TapeMiss):
        Student(Bench(lab, older, session, facts.files.__getitem__)).model.snapshots()


def test_a_suite_that_asks_for_snapshots_its_spec_does_not_keep_is_wrong(make_lab, facts):
    """It is the author's error, and says what to write."""
    lab = make_lab(SUITE, contract=dict.fromkeys(NAMES, "model"))
    session = Session(None, None, Tape(), seed=5, deadline_s=60)
    with running(Mark("a", 10, Evidence.OBSERVED)), pytest.raises(LabError, match=r"\[observe\] snapshots"):
        Student(Bench(lab, facts, session, facts.files.__getitem__)).model.snapshots()
