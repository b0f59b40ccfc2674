"""Keep the graded model: its architecture as JSON and its weights as arrays, for the clean sandbox.

A model made of built-in layers rebuilds from these two exactly. A subclass does not: its class is student
code. Where its ``call`` is made of Keras layers, tracing it once with a symbolic input gives a functional
model of built-in layers with the same variables, and that one is kept ("flattened"). Where that fails too,
nothing is kept, and the judge knows that only the live kernel can answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from grader import wire
from grader.probe.snapshots import SNAPSHOTS

#: Modules whose classes the clean sandbox has. Anything else in the JSON is student code.
KNOWN_MODULES = ("keras", "builtins")
#: What Keras 3.15 writes for activations of TensorFlow's that it does not know itself (the others it renames).
TENSORFLOW_FUNCTIONS = {"softmax_v2": "softmax", "log_softmax_v2": "log_softmax"}


class NotKept(Exception):
    """The model cannot be rebuilt without the student's code; the message says why, for the card."""


def keep(model: Any) -> tuple[bytes, str]:
    """(the kept model as bytes, a note). Raises NotKept."""
    text, source = architecture(model)
    note = "" if source is model else "flattened from the student's class"
    return _packed(text, source.get_weights()), note


def snapshots(model: Any) -> Iterator[tuple[int, bytes]]:
    """(epoch, the model as it was after that epoch, as `keep` has it). Raises NotKept."""
    text, source = architecture(model)
    for epoch, values in SNAPSHOTS.of(model, source.weights):
        yield epoch, _packed(text, values)


def _packed(text: str, weights: list[Any]) -> bytes:
    values = wire.to_value([np.asarray(w) for w in weights])
    return msgspec.msgpack.encode(wire.Seq([wire.Lit(text), values]))


def architecture(model: Any) -> tuple[str, Any]:
    """(architecture JSON without student code, the model it describes). Raises NotKept."""
    if not model.built:
        raise NotKept("the model was never built: it has not seen any data and declares no input shape")
    foreign = "it is a class of your own"
    try:
        described = _described(model)
        foreign = _foreign(described)
        if not foreign:
            return json.dumps(described), model
    except Exception:
        foreign = "it is a class of your own"
    try:
        flat = _flatten(model)
        described = _described(flat)
        if not _foreign(described):
            return json.dumps(described), flat
    except Exception as error:
        raise NotKept(f"{foreign}, and could not be traced ({type(error).__name__})") from None
    raise NotKept(foreign)


def _described(model: Any) -> Any:
    """The architecture without how it was compiled: a loss of the student's own is not needed to predict."""
    described = json.loads(model.to_json())
    described.pop("compile_config", None)
    return _known(described)


def _known(config: Any) -> Any:
    """The architecture with TensorFlow's own functions under Keras's names: `activation=tf.nn.softmax` is common."""
    if isinstance(config, dict):
        if config.get("class_name") == "function" and config.get("config") in TENSORFLOW_FUNCTIONS:
            return TENSORFLOW_FUNCTIONS[config["config"]]
        return {key: _known(value) for key, value in config.items()}
    return [_known(value) for value in config] if isinstance(config, list) else config


def _foreign(config: Any) -> str:
    """The first class in an architecture that is not Keras's own, in words, or ''."""
    if isinstance(config, dict):
        module, name = config.get("module"), config.get("class_name")
        if name == "Lambda":
            return "it has a Lambda layer, which is code"
        if name == "function":  # Keras's own functions are written as plain text: "relu"
            return f"it uses your function {str(config.get('config'))[:60]!r}"
        if isinstance(name, str) and (
            (isinstance(module, str) and module.split(".")[0] not in KNOWN_MODULES)
            or ("module" in config and module is None)  # Keras 3.15 writes null for a class defined in a notebook
        ):
            return f"it needs your class {name[:60]!r}"
        return next((found for value in config.values() if (found := _foreign(value))), "")
    if isinstance(config, list):
        return next((found for value in config if (found := _foreign(value))), "")
    return ""


def _flatten(model: Any) -> Any:
    import keras

    shape = getattr(model, "_build_shapes_dict", None) or {}
    dims = next(iter(shape.values()), None) if isinstance(shape, dict) else shape
    if dims is None:
        dims = model.input_shape
    inputs = keras.Input(shape=tuple(dims)[1:])
    outputs = model.call(inputs)
    flat = keras.Model(inputs, outputs)
    theirs, ours = model.get_weights(), flat.get_weights()
    if [w.shape for w in theirs] != [w.shape for w in ours]:
        own = {id(v) for v in model.variables}
        if not all(id(v) in own for v in flat.variables):
            raise ValueError("the traced model has other variables")
    return flat
