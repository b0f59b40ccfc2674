"""Evaluate a question's expression against the student's namespace."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from grader import wire
from grader.probe import find


class Missing(LookupError):
    """The notebook has no object of that name."""


def evaluate(
    expr: wire.Expr,
    namespace: Mapping[str, Any],
    handles: Mapping[int, Any],
    variables: Mapping[str, Any] | None = None,
) -> Any:
    """The object the expression stands for. Student code may run and may raise anything."""
    bound = variables or {}

    def value(node: wire.Expr) -> Any:
        return evaluate(node, namespace, handles, bound)

    match expr:
        case wire.Const(constant):
            return wire.from_value(constant, lambda handle: _resolve(handle, handles))
        case wire.Name():
            found = find.find(expr, namespace)
            if found is None:
                raise Missing(f"the notebook defines no {expr.name!r}")
            return found.thing
        case wire.Var(name):
            if name not in bound:
                raise Missing(f"the question has no variable {name!r}")
            return bound[name]
        case wire.Attr(of, name):
            return getattr(value(of), name)
        case wire.Item(of, key):
            return value(of)[value(key)]
        case wire.Call(fn, args, kwargs):
            return value(fn)(*[value(arg) for arg in args], **{name: value(arg) for name, arg in kwargs})
        case wire.Helper(name):
            from grader.probe.helpers import HELPERS

            if name not in HELPERS:
                raise Missing(f"the probe has no helper {name!r}")
            return HELPERS[name]
        case wire.Lambda(params, body):
            return _function(params, body, namespace, handles, bound)
        case wire.Op(op, args):
            return _operate(op, [value(arg) for arg in args])


def _resolve(handle: wire.Handle, handles: Mapping[int, Any]) -> Any:
    if handle.id not in handles:
        raise Missing("the object this question refers to is gone")
    return handles[handle.id]


def _function(
    params: tuple[str, ...],
    body: wire.Expr,
    namespace: Mapping[str, Any],
    handles: Mapping[int, Any],
    bound: Mapping[str, Any],
) -> Any:
    def hidden(*values: Any) -> Any:
        if len(values) != len(params):
            raise TypeError(f"this function takes {len(params)} argument(s), got {len(values)}")
        return evaluate(body, namespace, handles, {**bound, **dict(zip(params, values, strict=True))})

    return hidden


_BINARY = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "pow": operator.pow,
}
#: numpy's and TensorFlow's names of the elementary functions, where they differ from ours.
_NUMPY = {"neg": "negative", "sigmoid": ""}
_TENSORFLOW = {"neg": "negative", "sum": "reduce_sum"}


def _operate(op: str, args: list[Any]) -> Any:
    if op not in wire.OPS:
        raise Missing(f"the probe has no operation {op!r}")
    if op in _BINARY:
        return _BINARY[op](*args)
    (x,) = args
    tensorflow = sys.modules.get("tensorflow")
    if (tensorflow is not None and tensorflow.is_tensor(x)) or type(x).__module__.startswith(("tensorflow", "keras")):
        return getattr(tensorflow.math if tensorflow is not None else np, _TENSORFLOW.get(op, op))(x)
    if op == "sigmoid":
        return 1.0 / (1.0 + np.exp(-x))
    if isinstance(x, float) and op in ("sin", "cos", "exp", "log", "tanh", "sqrt"):
        return getattr(math, op)(x)
    return getattr(np, _NUMPY.get(op, op))(x)
