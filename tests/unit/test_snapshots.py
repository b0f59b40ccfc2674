"""Copies of weights stay within their cap, and those of a model that is gone go with it."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from grader import wire
from grader.probe.snapshots import Snapshots


class Variable:
    def __init__(self, size):
        self.values = np.zeros(size, dtype="float32")
        self.shape = self.values.shape

    def numpy(self):
        return self.values


class Model:
    """What a snapshot needs of a Keras model."""

    def __init__(self, size):
        self.weights = [Variable(size)]


@pytest.fixture
def snapshots():
    made = Snapshots()
    made.epochs = (1, 3)
    return made


def trained(snapshots, model, epochs):
    for epoch in range(epochs):
        model.weights[0].values += 1
        snapshots.epoch_ended(model)
        assert model.weights[0].values[0] == epoch + 1
    return model


def test_a_copy_is_what_the_weights_were_then(snapshots):
    """Training on changes the variables in place, and not the copies."""
    model = trained(snapshots, Model(3), 4)
    assert [(epoch, values[0].tolist()) for epoch, values in snapshots.of(model, model.weights)] == [
        (1, [1, 1, 1]),
        (3, [3, 3, 3]),
    ]


def test_nothing_is_copied_where_no_lab_asks(snapshots):
    """A lab without snapshots pays for none."""
    snapshots.epochs = ()
    model = trained(snapshots, Model(3), 4)
    assert list(snapshots.of(model, model.weights)) == []


def test_a_copy_beyond_the_cap_is_left_out_and_told(snapshots, monkeypatch):
    """All models together stay within the cap; whose copy did not fit is known."""
    monkeypatch.setattr(wire, "SNAPSHOTS_CAP", 100)
    small, large = trained(snapshots, Model(10), 1), trained(snapshots, Model(20), 3)
    assert [epoch for epoch, _ in snapshots.of(small, small.weights)] == [1]
    assert snapshots.left_out(small) == []
    assert list(snapshots.of(large, large.weights)) == []
    assert snapshots.left_out(large) == [1, 3]


def test_the_copies_of_a_model_that_is_gone_make_room(snapshots, monkeypatch):
    """A notebook may try many models before the one that is graded."""
    monkeypatch.setattr(wire, "SNAPSHOTS_CAP", 100)
    for _ in range(5):
        trained(snapshots, Model(20), 1)
        gc.collect()
    model = trained(snapshots, Model(20), 1)
    assert [epoch for epoch, _ in snapshots.of(model, model.weights)] == [1]


def test_a_variable_that_was_replaced_leaves_no_snapshot(snapshots):
    """Weights that were not those of the model then are not told as its own."""
    model = trained(snapshots, Model(3), 1)
    model.weights = [Variable(3)]
    assert list(snapshots.of(model, model.weights)) == []
