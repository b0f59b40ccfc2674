"""Which object of a notebook a contracted name means, and what the card says of it. Models are stand-ins for Keras's."""

from __future__ import annotations

import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest

from grader import grading, wire
from grader.checks.student import wire_name
from grader.labs import load_lab
from grader.labs.spec import Contract
from grader.probe import hooks
from grader.probe.find import find
from grader.records import Ending
from grader.runner import HOW_FOUND, Found, RunFacts

ROOT = Path(__file__).resolve().parents[2]
NAME = wire.Name("model", ("cnn", "net", "convnet"), "model")


class Variable:
    """What training moves."""


class Model:
    """What `keras.Model` is to the probe."""

    def __init__(self, *inside):
        self.trainable_variables = [variable for model in inside for variable in model.trainable_variables] or [
            Variable()
        ]


@pytest.fixture(autouse=True)
def recorder(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(Model=Model))
    monkeypatch.setattr(hooks, "RECORDER", hooks.Recorder())
    return hooks.RECORDER


def loop(model):
    """A loop of the notebook's own trains this model."""
    for variable in model.trainable_variables:
        hooks.RECORDER.initial[id(variable)] = (weakref.ref(variable), 0)


def fit(model):
    """`model.fit`, as the hook records it: of variables that are too large no values are kept."""
    for variable in model.trainable_variables:
        hooks.RECORDER.keras_trained[id(variable)] = (weakref.ref(variable), {"fit"})
    hooks.RECORDER.fits.append({"model": id(model)})
    hooks.RECORDER.last_model = weakref.ref(model)
    return model


def begin():
    """Another notebook."""
    hooks.RECORDER = hooks.Recorder()


def found(name=NAME, **namespace):
    """(name in the notebook, how) of what stands for the contracted name."""
    thing = find(name, namespace)
    return thing and (thing.found_as, thing.how)


def test_the_contracts_own_name_is_taken_where_it_was_trained():
    """Also when another model was trained after it, or nothing was trained at all."""
    assert found(model=fit(Model()), net=fit(Model())) == ("model", "name")
    assert found(model=Model(), net=Model()) == ("model", "name")


def test_a_model_under_the_contracts_name_that_was_never_trained_stands_back_behind_one_that_was():
    """Trained by fit or by a loop, under an alias or another name; an object that is no model does not count."""
    assert found(model=Model(), net=fit(Model())) == ("net", "instead")
    begin()
    own = Model()
    loop(own)
    assert found(model=Model(), net=Model(), mine=own) == ("mine", "instead")
    begin()
    assert found(model=None, net=fit(Model())) == ("net", "alias")


def test_a_model_that_was_built_again_after_its_training_is_the_one_that_was_handed_in():
    """The trained one has no name any more: its weights may be in what the contract's name holds now."""
    history = fit(Model())
    other = fit(Model())
    assert found(model=Model(), net=other) == ("model", "name")
    assert found(net=Model()) == ("net", "alias")
    del history


def test_a_model_around_a_trained_one_is_trained():
    """`model = keras.Sequential([net, keras.layers.Softmax()])` holds the weights that moved."""
    net = fit(Model())
    assert found(net=net, model=Model(net)) == ("model", "name")


def test_of_several_aliases_the_last_trained_one_is_taken_whatever_their_order_in_the_spec():
    """A dense `net` to compare with, and the `convnet` that was meant."""
    net, convnet = fit(Model()), fit(Model())
    assert found(net=net, convnet=convnet) == ("convnet", "alias_last")
    fit(net)
    assert found(net=net, convnet=convnet) == ("net", "alias_last")


def test_of_several_aliases_the_only_trained_one_is_taken():
    """A loop of the notebook's own does not say which model was the last; a name nobody agreed on may have been it."""
    convnet = Model()
    loop(convnet)
    assert found(net=Model(), convnet=convnet) == ("convnet", "alias_trained")
    assert found(net=Model(), convnet=convnet, other=fit(Model())) == ("convnet", "alias_trained")


def test_without_training_the_first_alias_of_the_spec_is_taken():
    """And one model under two names is one model."""
    net = Model()
    assert found(convnet=Model(), net=net) == ("net", "alias")
    begin()
    fit(net)
    assert found(convnet=net, net=net) == ("net", "alias")


def test_an_untrained_alias_stands_back_too():
    """A model of another name, the only one that was trained."""
    assert found(net=Model(), mine=fit(Model())) == ("mine", "trained")


def test_without_any_known_name_it_is_the_last_model_trained_else_the_only_one():
    """One without a name as well."""
    assert found(a=Model()) == ("a", "only")
    assert found(a=Model(), b=Model()) is None
    assert found(a=fit(Model()), b=fit(Model())) == ("b", "trained")
    nameless = fit(Model())
    assert found(a=Model()) == ("", "trained")
    del nameless


BASELINE = wire.Name("baseline_model", ("baseline",), "model", ("dropout_model", "l2_model"))


def test_what_another_contracted_name_means_never_stands_in():
    """Not as the last one trained, not as the only one, and not under an alias of its own."""
    dropout = fit(Model())
    assert found(BASELINE, dropout_model=dropout) is None
    assert found(BASELINE, dropout_model=dropout, baseline=dropout) is None
    assert found(BASELINE, dropout_model=dropout, l2_model=fit(Model())) is None
    begin()
    assert found(BASELINE, dropout_model=dropout, baseline=Model()) == ("baseline", "alias")


def test_where_several_models_are_contracted_an_untrained_one_stands_back_only_behind_an_alias_of_its_own():
    """Which of them a model of another name was meant for, nobody knows."""
    assert found(BASELINE, baseline_model=Model(), mine=fit(Model())) == ("baseline_model", "name")
    begin()
    assert found(BASELINE, baseline_model=Model(), baseline=fit(Model())) == ("baseline", "instead")


def test_the_other_models_of_a_contract_cross_with_each_name():
    """Models only, and not the name itself."""
    lab = load_lab(ROOT / "labs" / "overfitting")
    models = {name for name, contract in lab.contract.items() if contract.kind == "model"}
    for name, contract in lab.contract.items():
        expected = models - {name} if contract.kind == "model" else set()
        assert set(wire_name(contract, lab).others) == expected
    assert "baseline_model" in models


def test_a_function_is_found_by_its_name_and_its_aliases_in_order():
    """Training says nothing about functions; what is not callable is none."""
    name = wire.Name("loss", ("loss_fn", "compute_loss"), "function")
    assert found(name, compute_loss=max, loss_fn=min) == ("loss_fn", "alias")
    assert found(name, loss=3, compute_loss=max) == ("compute_loss", "alias")
    assert found(name, loss=3) is None


@pytest.mark.parametrize(
    ("how", "note"),
    [
        ("name", None),
        ("alias", "Your `net` was graded as `model`."),
        ("alias_last", "Your `net` was graded as `model`: it was trained last."),
        ("alias_trained", "Your `net` was graded as `model`: no other candidate was trained."),
        ("instead", "Your `model` was never trained; `net`, which was, was graded instead."),
        ("trained", "There is no `model`; `net`, the last model trained in the notebook, was graded instead."),
        ("only", "There is no `model`; `net`, the only model in the notebook, was graded instead."),
    ],
)
def test_the_card_says_what_was_graded_and_why(how, note):
    """Whatever was not simply the contract's name."""
    assert how in HOW_FOUND
    facts = RunFacts(ending=Ending.OK, found=(Found(name="model", found_as="net", how=how, type_name="Model"),))
    setting = SimpleNamespace(
        lab=SimpleNamespace(data="mnist", contract={"model": Contract(name="model", kind="model")})
    )
    assert grading._notes(setting, facts) == ([note] if note else [])


def test_a_model_that_took_the_place_of_a_trained_one_in_memory_was_not_trained():
    """An id is given again: only the variable itself counts."""
    model = Model()
    gone = weakref.ref(Variable())
    hooks.RECORDER.initial[id(model.trainable_variables[0])] = (gone, 0)
    assert not hooks.was_touched(model)
    loop(model)
    assert hooks.was_touched(model)
