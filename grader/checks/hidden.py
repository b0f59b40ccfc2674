"""Hidden functions: written once as Python, sent into the sandbox as a small tree, evaluated on both sides.

f = hidden_function(lambda x: x * x + sin(x))
student.gradient(f, 2.0)      # the student's function is given a real callable
f(2.0)                        # the same function here, on numbers or arrays
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from grader import wire


class Symbol:
    """A node of the tree while a hidden function is being written."""

    def __init__(self, expr: wire.Expr) -> None:
        self.expr = expr

    def __add__(self, other: Any) -> Symbol:
        return _op("add", self, other)

    def __radd__(self, other: Any) -> Symbol:
        return _op("add", other, self)

    def __sub__(self, other: Any) -> Symbol:
        return _op("sub", self, other)

    def __rsub__(self, other: Any) -> Symbol:
        return _op("sub", other, self)

    def __mul__(self, other: Any) -> Symbol:
        return _op("mul", self, other)

    def __rmul__(self, other: Any) -> Symbol:
        return _op("mul", other, self)

    def __truediv__(self, other: Any) -> Symbol:
        return _op("truediv", self, other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return _op("truediv", other, self)

    def __pow__(self, other: Any) -> Symbol:
        return _op("pow", self, other)

    def __neg__(self) -> Symbol:
        return _op("neg", self)


def _op(name: str, *args: Any) -> Symbol:
    return Symbol(wire.Op(name, tuple(_expr(arg) for arg in args)))


def _expr(thing: Any) -> wire.Expr:
    return thing.expr if isinstance(thing, Symbol) else wire.Const(wire.to_value(thing))


class HiddenFunction:
    """A callable here, and a `wire.Lambda` when it crosses."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        names = tuple(inspect.signature(function).parameters)
        result = function(*(Symbol(wire.Var(name)) for name in names))
        self.expr = wire.Lambda(names, _expr(result))

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


def hidden_function(function: Callable[..., Any]) -> HiddenFunction:
    """Trace a function made of arithmetic, constants and the functions below."""
    return HiddenFunction(function)


def _elementary(name: str, here: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        return _op(name, x) if isinstance(x, Symbol) else here(x)

    function.__name__ = name
    function.__doc__ = f"{name}(x), of a symbol, a number or an array."
    return function


sin = _elementary("sin", np.sin)
cos = _elementary("cos", np.cos)
exp = _elementary("exp", np.exp)
log = _elementary("log", np.log)
tanh = _elementary("tanh", np.tanh)
sqrt = _elementary("sqrt", np.sqrt)
square = _elementary("square", np.square)
sigmoid = _elementary("sigmoid", lambda x: 1.0 / (1.0 + np.exp(-np.asarray(x))))
