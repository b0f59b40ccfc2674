"""Which object of the notebook a contracted name means.

By its name; else by one of the spec's aliases; and for a model, else the last one trained in this notebook,
else the only one there is. Students call it `net` or `cnn`: 304 of 448 notebooks say `model`, the others do
not (docs: labs). What was found, and how, is told to the judge and shown on the card.
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
    """``how``: name, alias, trained (the last model trained) or only (the only model there is)."""

    thing: Any
    found_as: str
    how: str


def find(name: wire.Name, namespace: Mapping[str, Any]) -> Found | None:
    """None when nothing in the notebook fits."""
    for candidate in (name.name, *name.aliases):
        if candidate in namespace and _fits(name.kind, namespace[candidate]):
            how = "name" if candidate == name.name else "alias"
            return Found(namespace[candidate], candidate, how)
    if name.kind != "model":
        return None
    models = list(_models(namespace))
    trained = hooks.last_trained_model()
    if trained is not None:
        for found_as, model in models:
            if model is trained:
                return Found(model, found_as, "trained")
        return Found(trained, "", "trained")
    touched = [(found_as, model) for found_as, model in models if hooks.was_touched(model)]
    if touched:
        return Found(touched[-1][1], touched[-1][0], "trained")
    distinct = {id(model): (found_as, model) for found_as, model in models}
    if len(distinct) == 1:
        ((found_as, model),) = distinct.values()
        return Found(model, found_as, "only")
    return None


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
