"""Functions a question may call by name (`wire.Helper`): what the judge asks of models, files and tensors.

The same helpers serve the live kernel (answers observed) and the clean sandbox (answers verified, because no
student code is there). All take and return plain data or handles.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import weakref
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from grader.probe import encode, hooks
from grader.probe.archives import plain_copy
from grader.probe.restore import load_weights_at, load_with_code, weight_places

#: Rows per eager forward pass: 1,000 MNIST images through a small network need some 50 MB.
CHUNK_ROWS = 1000
#: The weights inside a .keras archive are read into memory: 11 kB can claim to be 3.5 GB.
ARCHIVED_CAP = 512 << 20
_ARCHITECTURES: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def predict(model: Any, inputs: Any, training: bool = False) -> Any:
    """The model's outputs for ``inputs`` as one array, in chunks and eagerly.

    Eagerly, because `Model.predict` first compiles a graph (0.1 to 0.3 s, measured), which a small model never
    earns back. A model with one input of another size but the same number of values per row is fed reshaped:
    (n, 28, 28) also fits (784,) and (28, 28, 1).
    """
    inputs = fit_shape(model, np.asarray(inputs))
    parts = []
    for start in range(0, max(len(inputs), 1), CHUNK_ROWS):
        out = model(inputs[start : start + CHUNK_ROWS], training=training)
        parts.append(np.asarray(out))
    return np.concatenate(parts, axis=0)


def fit_shape(model: Any, inputs: Any) -> Any:
    """``inputs`` in the row shape the model was built for, where the number of values allows it."""
    try:
        wanted = built_shape(model)[1:]
    except Exception:  # several inputs, or not built: feed as they are
        return inputs
    have = inputs.shape[1:]
    if wanted == have or None in wanted or int(np.prod(wanted)) != int(np.prod(have)):
        return inputs
    return inputs.reshape((len(inputs), *wanted))


def built_shape(model: Any) -> tuple[Any, ...]:
    """The input shape a model was built with. A subclass has no ``input_shape`` in Keras 3, but remembers its build."""
    if hasattr(model, "input_shape"):
        return tuple(model.input_shape)
    shapes = model._build_shapes_dict
    (shape,) = shapes.values() if isinstance(shapes, dict) else (shapes,)
    return tuple(shape)


def student_predict(model: Any, inputs: Any) -> Any:
    """What the student's own ``model.predict`` says: an override shows here and not in the clean sandbox.

    Where nothing on its way is the student's and Keras has not compiled it yet, the model is called instead: it would
    be compiled for this alone, 0.1 s each time.
    """
    if hooks.predicts_as_keras(model):
        return predict(model, inputs)
    return model.predict(fit_shape(model, np.asarray(inputs)), verbose=0)


def describe(model: Any) -> dict[str, Any]:
    """Layers, shapes, parameters and how it was compiled."""
    rows = []
    for layer in list(model.layers)[:500]:
        try:
            shape = [list(s) if isinstance(s, tuple) else s for s in _shapes(layer)]
        except Exception:  # not built, or without a static shape
            shape = []
        config = {}
        try:
            raw = layer.get_config()
            for key in (
                "units",
                "activation",
                "rate",
                "filters",
                "kernel_size",
                "pool_size",
                "input_dim",
                "output_dim",
                "scale",
            ):
                if key in raw and isinstance(raw[key], str | int | float | list | tuple):
                    config[key] = list(raw[key]) if isinstance(raw[key], tuple) else raw[key]
            config |= _penalty(raw.get("kernel_regularizer"))
        except Exception:
            config = {}
        try:
            count = int(layer.count_params())
        except Exception:
            count = 0
        rows.append(
            {
                "name": str(layer.name)[:100],
                "kind": type(layer).__name__[:100],
                "shape": shape,
                "parameters": count,
                "config": config,
            }
        )
    return {
        "type": type(model).__name__[:100],
        "layers": rows,
        "kinds": _kinds(model),
        "parameters": int(model.count_params()) if model.built else 0,
        "trainable": int(sum(int(np.prod(v.shape)) for v in model.trainable_variables)),
        "input_shape": _plain_shape(getattr(model, "input_shape", None)) if model.built else None,
        "output_shape": _plain_shape(getattr(model, "output_shape", None)) if model.built else None,
        "compiled": compiled(model),
    }


def _penalty(regularizer: Any) -> dict[str, float]:
    """The factors of a layer's weight penalty: {"l1", "l2"}, as far as Keras's own regularizers have them."""
    given = regularizer.get("config") if isinstance(regularizer, dict) else None
    factors = {name: _float(given.get(name)) for name in ("l1", "l2")} if isinstance(given, dict) else {}
    return {name: factor for name, factor in factors.items() if factor is not None}


def _kinds(model: Any, depth: int = 0) -> list[str]:
    """The class names of all layers in order, those of a model that is itself a layer in its place.

    Of a functional model also those of its operations, which are no layers: ``inputs / 255`` is a TrueDivide.
    """
    found: list[str] = []
    for layer in list(getattr(model, "operations", None) or model.layers)[:500]:
        inner = isinstance(getattr(layer, "layers", None), list) and depth < 8
        found += _kinds(layer, depth + 1) if inner else [type(layer).__name__[:100]]
    return found[:500]


def _shapes(layer: Any) -> list[Any]:
    output = layer.output
    outputs = output if isinstance(output, list | tuple) else [output]
    return [tuple(side for side in item.shape) for item in outputs]


def _plain_shape(shape: Any) -> Any:
    if isinstance(shape, list | tuple):
        return [_plain_shape(side) for side in shape]
    return shape if shape is None else int(shape)


def compiled(model: Any) -> dict[str, Any]:
    """The loss, optimizer and metrics the model was compiled with; empty when it was not."""
    if not getattr(model, "compiled", False):
        return {}
    loss: Any = getattr(model, "loss", None)
    optimizer = getattr(model, "optimizer", None)
    from_logits = getattr(loss, "from_logits", None)
    if from_logits is None and hasattr(loss, "get_config"):
        from_logits = (loss.get_config().get("fn_kwargs") or {}).get(
            "from_logits", loss.get_config().get("from_logits")
        )
    name = (
        loss
        if isinstance(loss, str)
        else getattr(loss, "name", None) or getattr(loss, "__name__", None) or type(loss).__name__
    )
    return {
        "loss": str(name)[:100],
        "loss_class": type(loss).__name__[:100],
        "from_logits": bool(from_logits) if from_logits is not None else False,
        "optimizer": type(optimizer).__name__[:100],
        "learning_rate": _float(getattr(optimizer, "learning_rate", None)),
        "iterations": _int(getattr(optimizer, "iterations", None)),
    }


def _float(number: Any) -> float | None:
    try:
        return float(np.asarray(number))
    except (TypeError, ValueError):
        return None


def _int(number: Any) -> int | None:
    try:
        return int(np.asarray(number))
    except (TypeError, ValueError):
        return None


def training(model: Any) -> dict[str, Any]:
    """What the hooks recorded about this model's training."""
    return hooks.training_of(model)


def training_summary() -> dict[str, Any]:
    """What the hooks recorded about all training in the notebook."""
    return hooks.summary()


def takes_gradients(function: Any, *args: Any) -> bool:
    """Whether this call takes gradients with a tape, outside Keras's own trainer; it is ended at the first one.

    Every tf.function runs line by line meanwhile: a step that was traced before is not traced again, and the tape in
    it is Python that would not run.
    """
    import tensorflow as tf

    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        return hooks.takes_gradients(lambda: function(*args))
    finally:
        tf.config.run_functions_eagerly(eagerly)


def architecture(model: Any) -> str:
    """The model's architecture as JSON, flattened to built-in layers where it is the student's own class.

    Made once for each model: Keras numbers what it traces, so a second trace has other names, and the same question
    would get two answers.
    """
    from grader.probe.keep import architecture as keep_architecture

    if model not in _ARCHITECTURES:
        _ARCHITECTURES[model] = keep_architecture(model)[0]
    return _ARCHITECTURES[model]


def rebuild(text: str, weights: list[Any] | None = None) -> Any:
    """A model from architecture JSON and weights, without student code (Keras's safe mode refuses Lambda).

    Never compiled: a loss or metric of the student's own would not be found, and is not needed to predict.
    """
    import keras

    described = json.loads(text)
    described.pop("compile_config", None)
    with blank() if weights is not None else contextlib.nullcontext():
        model = keras.models.model_from_json(json.dumps(described))
        shape = described.get("config", {}).get("build_input_shape")
        if not model.built and shape:
            model.build(shape)
    if weights is not None:
        model.set_weights(weights)
        for layer in model._flatten_layers():
            if hasattr(layer, "finalize_state"):  # Normalization computes with a copy of its weights
                layer.finalize_state()
    return model


@contextlib.contextmanager
def blank() -> Iterator[None]:
    """Weights made meanwhile are zeros: they get their values afterwards, and the first random number costs 20 ms."""
    from keras.src.backend import random

    def zeros(shape: Any, *args: Any, dtype: Any = None, **kwargs: Any) -> Any:
        import tensorflow as tf

        return tf.zeros(shape, dtype or "float32")

    names = [name for name in ("normal", "uniform", "truncated_normal") if hasattr(random, name)]
    real = {name: getattr(random, name) for name in names}
    try:
        for name in names:
            setattr(random, name, zeros)
        yield
    finally:
        for name in names:
            setattr(random, name, real[name])


def rebuild_kept(path: str, digest: str) -> Any:
    """A model from what `keep.keep` wrote. ``digest`` only names the file on the tape."""
    import msgspec

    from grader import wire

    with open(path, "rb") as file:
        text, values = wire.from_value(msgspec.msgpack.decode(file.read(), type=wire.Seq))
    return rebuild(text, values)


def load_saved(path: str) -> Any:
    """A whole saved model: .keras, legacy .h5, or a SavedModel folder. Raises what Keras raises."""
    import keras

    if os.path.isdir(path):
        return Exported(path)
    from grader.probe.keep import TENSORFLOW_FUNCTIONS

    known = {theirs: getattr(keras.activations, ours) for theirs, ours in TENSORFLOW_FUNCTIONS.items()}
    return keras.models.load_model(plain_copy(path), compile=False, custom_objects=known)


class Exported:
    """A SavedModel folder as something to call. `load_model` refuses these, and Keras's TFSMLayer answers a dict."""

    layers: tuple[Any, ...] = ()
    trainable_variables: tuple[Any, ...] = ()
    built = False
    compiled = False

    def __init__(self, path: str) -> None:
        import tensorflow as tf

        self.module = tf.saved_model.load(path)
        signatures = dict(self.module.signatures)
        if not signatures:
            raise ValueError("the SavedModel has no signature to call: save it with model.export(folder)")
        self.signature = signatures.get("serving_default") or next(iter(signatures.values()))
        (self.name, self.spec), *others = self.signature.structured_input_signature[1].items()
        if others:
            raise ValueError(f"the SavedModel takes {len(others) + 1} inputs")

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        return tuple(self.spec.shape.as_list())

    def __call__(self, inputs: Any, training: bool = False) -> Any:
        import tensorflow as tf

        outputs = self.signature(**{self.name: tf.constant(inputs, self.spec.dtype)})
        return next(iter(outputs.values()))


def load_weights(model: Any, path: str) -> Any:
    """Put a file's weights into a model, whatever its format: .weights.h5, .h5, .keras, or a TensorFlow checkpoint prefix."""
    if path.endswith((".h5", ".keras")):
        try:
            model.load_weights(plain_copy(path))
        except ValueError as error:  # Keras prints the whole variable: keep what it says of the shapes
            raise ValueError(str(error).split(" Target variable:")[0]) from None
    else:
        _read_checkpoint(model, path)
    return model


def _read_checkpoint(model: Any, prefix: str) -> None:
    """Read a TensorFlow checkpoint of the model itself or of an object that holds it: Checkpoint(model=model).

    What it was called there is in the checkpoint's object graph; names of variables do not tell, because each is
    kept once, under its shortest path, which may be the optimizer's.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    graph = TrackableObjectGraph.FromString(tf.train.load_checkpoint(prefix).get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    children = [child.local_name for child in graph.nodes[0].children if child.local_name != "save_counter"]
    for root in ("", *children[:100]):
        with contextlib.suppress(AssertionError, ValueError):  # another root, or variables of other shapes
            holder = tf.train.Checkpoint(**{root: model}) if root else tf.train.Checkpoint(model)
            holder.read(prefix).assert_existing_objects_matched().expect_partial()
            return
    raise ValueError("the checkpoint does not hold this model's weights")


def optimizer_state(path: str) -> dict[str, Any]:
    """What a whole-model file keeps of its optimizer: {"present", "name", "iterations", "slots"}.

    Read from the file itself, since loading with ``compile=True`` would need the student's losses and metrics. A
    model that was compiled and never trained keeps a counter of 0 and no slots; plain SGD never has slots. A .keras
    saved after an .h5 of the same model keeps the numbers but names no optimizer: Keras 3.15 takes it out of the
    compile configuration while writing the .h5, and loads such a file with a fresh default optimizer.
    """
    import h5py

    if os.path.isdir(path):
        return {"present": False, "name": "", "iterations": None, "slots": 0}
    source: Any = plain_copy(path)
    config: Any = {}
    if zipfile.is_zipfile(path):
        group = "optimizer/vars"
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archived(archive, "config.json")).get("compile_config")
            source = io.BytesIO(archived(archive, "model.weights.h5"))
    else:
        group = "optimizer_weights"
    with h5py.File(source, "r") as file:
        if group == "optimizer_weights":
            config = json.loads(file.attrs.get("training_config") or "{}")
        arrays = _datasets(file[group]) if group in file else []
    described = (config or {}).get("optimizer") or (config or {}).get("optimizer_config") or {}
    name = described.get("class_name") if isinstance(described, dict) else described
    counters = [int(array) for array in arrays if array.shape == () and array.dtype.kind in "iu"]
    return {
        "present": bool(arrays and name),
        "name": str(name or "")[:100],
        "iterations": max(counters, default=None),
        "slots": sum(1 for array in arrays if array.shape != ()),
    }


def archived(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member of an archive, if it is small enough to be read into memory."""
    if archive.getinfo(name).file_size > ARCHIVED_CAP:
        raise ValueError(f"{name} in this file is too large to be read")
    return archive.read(name)


def _datasets(group: Any) -> list[Any]:
    """All arrays of an HDF5 group and the groups in it."""
    arrays = []
    for item in group.values():
        arrays += _datasets(item) if hasattr(item, "values") else [item[()]]
    return arrays


def weights(model: Any) -> list[Any]:
    """All weights, as arrays, in Keras's order."""
    return [np.asarray(w) for w in model.get_weights()]


def cross_entropy_gradients(model: Any, inputs: Any, labels: Any) -> list[Any]:
    """Gradients of the mean cross-entropy, one for each trainable variable: what a student's own are compared with.

    ``labels`` are class numbers. Outputs whose rows are probabilities are taken as such, others as logits.
    """
    import tensorflow as tf

    with tf.GradientTape() as tape:
        scores = model(fit_shape(model, np.asarray(inputs)), training=False)
        values = np.asarray(scores)
        if values.min() >= 0 and np.allclose(values.sum(axis=-1), 1, atol=1e-3):
            scores = tf.math.log(scores)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=scores))
    variables = list(model.trainable_variables)
    found = tape.gradient(loss, variables)
    return [np.zeros(v.shape, "float32") if g is None else np.asarray(g) for g, v in zip(found, variables, strict=True)]


def take(iterable: Any, count: int) -> list[Any]:
    """The first ``count`` items of anything iterable (a tf.data data set's batches, say)."""
    out: list[Any] = []
    for item in iterable:
        if len(out) >= count:
            break
        out.append(item)
    return out


def device(tensor: Any) -> str:
    """Where an eager tensor's memory is, as TensorFlow says.

    Its ``device`` is that of the operation: for what a tf.function returns that is CPU:0, wherever it lies (measured).
    """
    return str(getattr(tensor, "backing_device", None) or tensor.device)[:200]


def gpus() -> list[str]:
    """The GPUs that TensorFlow sees here."""
    import tensorflow as tf

    return [str(device.name)[:200] for device in tf.config.list_physical_devices("GPU")]


def type_name(thing: Any) -> str:
    """The object's type, as module.qualname."""
    return encode.type_name(thing)


def made_of(layer: Any) -> list[str]:
    """The classes a layer derives from and the layers inside it, as module.qualname: they show a mere wrapper."""
    kinds = [*type(layer).__mro__[1:], *(type(inner) for inner in layer._flatten_layers(include_self=False))]
    return [f"{kind.__module__}.{kind.__qualname__}"[:200] for kind in kinds[:100]]


def deliver(path: str, data: bytes) -> str:
    """Write a hidden file into the work folder and return its path, for functions that read files."""
    target = os.path.join(os.getcwd(), os.path.basename(path))
    with open(target, "wb") as file:
        file.write(data)
    return target


def frame(columns: dict[str, Any]) -> Any:
    """A pandas DataFrame with these columns, in this order."""
    import pandas as pd

    return pd.DataFrame(columns)


def tensor(array: Any) -> Any:
    """A tensor like the array."""
    import tensorflow as tf

    return tf.constant(array)


def same(thing: Any, other: Any) -> bool:
    """Whether two handles are one object."""
    return thing is other


HELPERS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        predict,
        student_predict,
        describe,
        training,
        training_summary,
        takes_gradients,
        architecture,
        rebuild,
        rebuild_kept,
        load_saved,
        load_weights,
        load_weights_at,
        load_with_code,
        weight_places,
        optimizer_state,
        weights,
        cross_entropy_gradients,
        take,
        device,
        gpus,
        type_name,
        made_of,
        deliver,
        frame,
        tensor,
        same,
    )
}
