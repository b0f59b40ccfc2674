"""Objects of a notebook to plain data. Exact types only: a subclass may lie about itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from grader import wire


def type_name(thing: Any) -> str:
    """Module and name of its class, asked of `type` itself: what a metaclass says of them is student code."""
    parts = [type.__dict__[name].__get__(type(thing)) for name in ("__module__", "__qualname__")]
    return ".".join(part if type(part) is str else "?" for part in parts)[:200]


def plain(thing: Any) -> wire.Value:
    """Tensors and variables of TensorFlow and Keras become arrays, containers are walked; the rest is the wire's.

    Raises wire.WireError naming the type that cannot cross.
    """
    return wire.to_value(_lower(thing, 0))


def _lower(thing: Any, depth: int) -> Any:
    if depth > wire.MAX_DEPTH:
        raise wire.WireError("the value is nested too deeply")
    kind = type(thing)
    if kind in (list, tuple):
        if len(thing) > wire.MAX_ITEMS:
            raise wire.WireError(f"a {kind.__name__} of {len(thing)} items")
        return kind(_lower(item, depth + 1) for item in thing)
    if kind is dict:
        if len(thing) > wire.MAX_ITEMS:
            raise wire.WireError(f"a dict of {len(thing)} items")
        return {key: _lower(item, depth + 1) for key, item in thing.items()}
    module = kind.__module__ or ""
    if kind is np.str_:  # an item of a NumPy array of names
        return str(thing)
    if kind is np.ndarray and thing.dtype.kind == "U" and thing.size <= wire.MAX_ITEMS:
        return thing.tolist()
    if module.split(".")[0] in ("tensorflow", "keras") and hasattr(thing, "numpy"):
        return _tensor(thing)
    if module.startswith("tensorflow") and kind.__name__ == "DType":
        return str(thing.name)
    if module.startswith("tensorflow") and kind.__name__ == "TensorShape":
        return list(thing.as_list())
    if module.split(".")[0] == "pandas" and kind.__name__ in ("Series", "DataFrame"):
        return _frame(thing)
    return thing


def _tensor(thing: Any) -> Any:
    array = thing.numpy()
    if isinstance(array, bytes):
        return array
    if type(array) is np.ndarray and array.dtype.kind == "O":  # string tensors
        return [item if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]
    if type(array) is np.ndarray and array.dtype.kind == "V":  # bfloat16 and its kin
        return array.astype("float32")
    return array


def _frame(thing: Any) -> Any:
    if type(thing).__name__ == "Series":
        array = thing.to_numpy()
        return array if array.dtype.kind in "biuf" else [_cell(item) for item in array.tolist()]
    return {str(column): _frame(thing[column]) for column in thing.columns}


def _cell(item: Any) -> Any:
    return item if type(item) in (bool, int, float, str) or item is None else str(item)
