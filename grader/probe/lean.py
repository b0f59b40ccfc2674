"""Training with Keras in a fresh process, cheaper: what TensorFlow would do again, or twice, is done once.

What is trained is the same bit for bit, of every kind of data and shuffling (tests/integration/test_lean.py). For a
notebook of the benchmark's class, thirty epochs of 120 rows, both together save about half of the processor time.

Pipelines. `fit` over arrays reads from a tf.data pipeline with three functions: a permutation, the slices of it, and a
gather of rows. Every new iterator instantiates them, Keras 3.15 makes two iterators for each epoch, and TensorFlow 2.21
runs its graph optimiser on a function that may span several devices: 14 ms of processor time for each iterator
(`perf record` shows OptimizeFunctionGraph). A function with the attribute ``experimental_ints_on_device`` stays on one
device and is instantiated as it is. What the three do, they do on the CPU anyway, and they only move integers and rows.
Pipelines that a notebook makes itself are left alone.

State. Keras makes the variables of the optimizer and of the metrics while it traces the first step, each with a
condition of its own in the graph, and TensorFlow then traces the step again: 250 ms. Keras can make them before, as it
does for JAX and under a distribution strategy. That is done where all of the model, its optimizer, loss and metrics are
Keras's own: code of the notebook runs as often as it would anywhere.

Where there is a GPU, or a Keras that is made otherwise, nothing is changed.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import warnings
from typing import Any

#: Where layers, losses and metrics of Keras keep a function that a notebook gave them.
CALLED = ("activation", "recurrent_activation", "function", "fn", "_fn")
_BUILDING = threading.local()


def install() -> None:
    """Hook Keras and TensorFlow. Once for each process."""
    try:
        from keras.src.backend.tensorflow.trainer import TensorFlowTrainer
        from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter
        from tensorflow.python.data.ops.structured_function import StructuredFunctionWrapper

        get_tf_dataset, make_train_function = ArrayDataAdapter.get_tf_dataset, TensorFlowTrainer.make_train_function
    except (ImportError, AttributeError):  # another Keras or TensorFlow: slower, and right
        return
    StructuredFunctionWrapper.__init__ = _on_one_device(StructuredFunctionWrapper.__init__)
    ArrayDataAdapter.get_tf_dataset = _noted(get_tf_dataset)
    TensorFlowTrainer.make_train_function = _with_state(make_train_function)


def _gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _noted(get_tf_dataset: Any) -> Any:
    @functools.wraps(get_tf_dataset)
    def noted(self: Any) -> Any:
        before = getattr(_BUILDING, "keras", False)
        _BUILDING.keras = not _gpu()
        try:
            return get_tf_dataset(self)
        finally:
            _BUILDING.keras = before

    return noted


def _on_one_device(make: Any) -> Any:
    @functools.wraps(make)
    def on_one_device(self: Any, *args: Any, **kwargs: Any) -> None:
        if getattr(_BUILDING, "keras", False):
            kwargs["defun_kwargs"] = {**(kwargs.get("defun_kwargs") or {}), "experimental_ints_on_device": True}
        make(self, *args, **kwargs)

    return on_one_device


def _with_state(make_train_function: Any) -> Any:
    @functools.wraps(make_train_function)
    def with_state(self: Any, force: bool = False) -> None:
        before = self.train_function
        make_train_function(self, force)
        step = self.train_function
        if step is before:
            return

        def first_step(iterator: Any) -> Any:
            """Just before the trace, so that what callbacks did to the model is seen."""
            self.train_function = step
            with contextlib.suppress(Exception), warnings.catch_warnings():  # what is wrong, the step itself says
                warnings.simplefilter("ignore")
                if not _gpu() and _stock(self):
                    self._symbolic_build(data_batch=iterator.element_spec)
            return step(iterator)

        self.train_function = first_step

    return with_state


def _stock(model: Any) -> bool:
    """Whether the model is built, and nothing of the notebook's own code runs in a step of its training."""
    import keras

    layers = model._flatten_layers()
    told = model._compile_config.config
    things = [*layers, model.optimizer, *(told[name] for name in ("loss", "metrics", "weighted_metrics"))]
    return (
        not model.run_eagerly and all(layer.built for layer in layers) and all(map(_keras, keras.tree.flatten(things)))
    )


def _keras(thing: Any) -> bool:
    """Whether that is a name, or made by Keras, and calls no function of the notebook."""
    called = (getattr(thing, name, None) for name in CALLED)
    modules = (getattr(part, "__module__", None) for part in (thing, *called))  # names have none
    return all(str(module).startswith("keras.") for module in modules if module is not None)
