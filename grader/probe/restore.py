"""Restore what a student's own class saved: its weights without its code where that is possible, else with it.

A weights file of a subclassed model lays its arrays out by the class's attributes, so the traced model of built-in
layers that stands for the class in the clean sandbox (see ``keep``) cannot load it. The arrays themselves need no code:
once it is known which place in the file belongs to which weight, they can be put in directly. To learn the places, a
fresh model gets a number for each weight, is saved, and the file is searched for the numbers. A wrong map only gives
wrong predictions, so what is restored by it is as verified as any file.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from grader.probe.archives import plain_copy
from grader.probe.keep import architecture


def weight_places(fresh: Any) -> list[str]:
    """Where each weight of the captured architecture lies in an HDF5 file of the model's weights, in its order.

    ``fresh`` is used up: its weights are overwritten. Raises NotKept for a model that cannot be traced, ValueError
    for one that does not save all its weights.
    """
    import h5py

    _, source = architecture(fresh)
    for number, variable in enumerate(source.weights):
        variable.assign(np.full(variable.shape, number, dtype=str(variable.dtype)))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "numbered.weights.h5")
        fresh.save_weights(path)
        with h5py.File(path, "r") as file:
            # What an optimizer keeps (counters, the learning rate) lies in the file too and is no weight.
            arrays = [(place, array) for place, array in _arrays(file) if not place.startswith("optimizer/")]
            found = {int(array.flat[0]): place for place, array in arrays if array.size}
    if set(found) != set(range(len(source.weights))):
        raise ValueError("the model does not save all of its weights")
    return [found[number] for number in range(len(source.weights))]


def load_weights_at(model: Any, path: str, places: list[str]) -> Any:
    """Put the arrays at those places of a weights file, or of the weights in a .keras file, into a model."""
    import h5py

    from grader.probe.helpers import archived

    source: Any = plain_copy(path)
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            source = io.BytesIO(archived(archive, "model.weights.h5"))
    with h5py.File(source, "r") as file:
        arrays = dict(_arrays(file))
    missing = [place for place in places if place not in arrays]
    if missing:
        raise ValueError(f"the file has no weights for {missing[0]}")
    model.set_weights([arrays[place] for place in places])
    return model


def load_with_code(path: str) -> Any:
    """A whole saved model, loaded in the notebook's own kernel with the classes and functions it defines."""
    import keras

    own = vars(sys.modules["__main__"])
    known = {name: thing for name, thing in list(own.items()) if not name.startswith("_") and callable(thing)}
    return keras.models.load_model(plain_copy(path), compile=False, custom_objects=known, safe_mode=False)


def _arrays(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(place, array) of an HDF5 group and the groups in it. Links out of the file are not followed."""
    import h5py

    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _arrays(item, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", item[()]
