"""Which object of the notebook a contracted name means.

By its name, or by one of the spec's aliases; a model also as the last one trained in this notebook, else as the only
one there is. Students call it `net` or `cnn`: 304 of 448 notebooks say `model`, the others do not (docs: labs). A
notebook that compares networks has several models, and only training tells which one was meant: a name whose model was
never trained stands back behind a model that was. What is bound to another contracted name is that other object, and
never stands in. What was found, and how, is told to the judge and shown on the card.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from grader import wire
from grader.probe import hooks


@dataclass(frozen=True)
class Found:
    """``how`` tells why it was this one.

    name: the contract's own name. alias: another name of the spec. alias_last, alias_trained: of several models under
    such names the last one trained, or the only one. trained: the last model trained, under whatever name. only: the
    only model there is. instead: a trained model, in place of the one under the contract's name, which never was.
    """

    thing: Any
    found_as: str
    how: str


def find(name: wire.Name, namespace: Mapping[str, Any]) -> Found | None:
    """None when nothing in the notebook fits."""
    if name.kind == "model":
        return _model(name, namespace)
    for candidate in (name.name, *name.aliases):
        if candidate in namespace and _fits(name.kind, namespace[candidate]):
            how = "name" if candidate == name.name else "alias"
            return Found(namespace[candidate], candidate, how)
    return None


def _model(name: wire.Name, namespace: Mapping[str, Any]) -> Found | None:
    free = _free(name, namespace)
    aliases = {alias: free[alias] for alias in name.aliases if alias in free}
    # Where the lab names several models, one under a name that nobody agreed on could be anything.
    known = aliases if name.others else free
    own = namespace.get(name.name)
    if is_model(own):
        instead = "" if _trained(own) else _only_these_were_trained(known)
        return Found(known[instead], instead, "instead") if instead else Found(own, name.name, "name")
    if aliases:
        chosen = _among(aliases)
        if _trained(chosen.thing) or not _only_these_were_trained(known):
            return chosen
    return _whatever_was_trained(name, namespace, free)


def _among(aliases: Mapping[str, Any]) -> Found:
    """Of the models under names of the spec: the last one trained, else the first one trained, else the first."""
    last = hooks.last_trained_model()
    trained = {alias: model for alias, model in aliases.items() if _trained(model)}
    one = _count(aliases) == 1
    for alias, model in aliases.items():
        if model is last:
            return Found(model, alias, "alias" if one else "alias_last")
    alias = next(iter(trained or aliases))
    return Found(aliases[alias], alias, "alias_trained" if _count(trained) == 1 and not one else "alias")


def _only_these_were_trained(models: Mapping[str, Any]) -> str:
    """The name of a trained one of these; "" where there is none, or where another model than these was trained too.

    That other one is not bound to a name any more: the model was built again after its training, or its weights were
    loaded into the one that the contract names. Then the contract's name counts, trained or not.
    """
    bound = {id(model) for model in models.values()}
    if any(fit["model"] not in bound for fit in hooks.RECORDER.fits) or not any(map(_trained, models.values())):
        return ""
    return _among(models).found_as


def _whatever_was_trained(name: wire.Name, namespace: Mapping[str, Any], free: Mapping[str, Any]) -> Found | None:
    """The last model trained, also one without a name; else the only model there is."""
    last = hooks.last_trained_model()
    if last is not None and not any(last is namespace.get(other) for other in name.others):
        return Found(last, next((found_as for found_as, model in free.items() if model is last), ""), "trained")
    touched = [(found_as, model) for found_as, model in free.items() if hooks.was_touched(model)]
    if touched:
        return Found(touched[-1][1], touched[-1][0], "trained")
    if _count(free) == 1:
        found_as, model = list(free.items())[-1]
        return Found(model, found_as, "only")
    return None


def _trained(model: Any) -> bool:
    """Whether any hook saw it trained."""
    return model is hooks.last_trained_model() or hooks.was_touched(model)


def _count(models: Mapping[str, Any]) -> int:
    """How many different ones there are; one can have several names."""
    return len({id(model) for model in models.values()})


def _free(name: wire.Name, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The models that may stand in, by name in the notebook's order: none that another contracted name means."""
    taken = {id(namespace[other]) for other in name.others if other in namespace}
    return {
        found_as: model
        for found_as, model in _models(namespace)
        if found_as not in (name.name, *name.others) and id(model) not in taken
    }


def _models(namespace: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, thing in list(namespace.items()):
        if not key.startswith("_") and is_model(thing):
            yield key, thing


def is_model(thing: Any) -> bool:
    """Whether it is a Keras model (decided by the kernel's own Keras, if it was imported at all)."""
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(thing, keras.Model)


def _fits(kind: str, thing: Any) -> bool:
    if kind == "model":
        return is_model(thing)
    if kind == "function":
        return callable(thing)
    if kind == "class":
        return isinstance(thing, type)
    return True
