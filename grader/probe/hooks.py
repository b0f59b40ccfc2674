"""What the kernel records about training, while the notebook runs. Evidence grade: observed.

Three hooks, put into Keras and TensorFlow before the first cell: `fit` (each call: data, epochs, the metrics of
every epoch), `Optimizer.apply` (own loops) and `GradientTape.gradient` (own loops without an optimizer). Each also
notes on which device it happened: `fit` where the model's variables are after each epoch, the tape where an eager
gradient is. Inside a tf.function nothing can be said: a symbolic tensor has no place yet, so it is left out. Keras's
own trainer takes its gradients with the same tape (`TRAINING`), so what is taken while it runs is counted apart from
the notebook's own, and the variables that it trained are remembered: a wrapper's are those of the wrapped model. The
first time a variable is about to be trained, its value is copied, so that "the weights moved" can be said of
any model, however it was trained. Where the lab asks for it, weights are copied during `fit` (see `snapshots`). A
hostile notebook can fake all of it.

One recorder per process, because what it hooks is global to the process too.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from grader.probe.snapshots import SNAPSHOTS

#: Initial values are copied up to this many numbers per run (32 MB of float32); beyond it only digests of sums.
COPY_CAP = 8_000_000
#: Values of each metric kept per fit; notebooks train up to 1,000 epochs.
EPOCH_CAP = 2_000
FIT_CAP = 50
#: Names of devices are counted apart up to this many; a machine has fewer.
DEVICE_CAP = 16


class Recorder:
    """Facts about training in this process."""

    def __init__(self) -> None:
        self.fits: list[dict[str, Any]] = []
        self.tape_gradients = 0
        self.own_gradients = 0
        #: How many of Keras's own methods that train are running, one inside the other, and how often the outermost began.
        self.in_keras = 0
        self.keras_calls = 0
        #: {id of a variable: (the variable, names of Keras's methods that trained it)}
        self.keras_trained: dict[int, tuple[Any, set[str]]] = {}
        self.stopping = False
        self.applies = 0
        self.initial: dict[int, tuple[Any, Any]] = {}
        self.copied = 0
        self.optimizers: dict[int, Any] = {}
        self.last_model: Any = None
        self.devices: dict[str, int] = {}
        self.fitting = 0
        #: Called with True when the outermost `fit` begins and with False when it ends, where somebody listens.
        self.tell: Callable[[bool], None] | None = None

    def fit_began(self) -> None:
        self.fitting += 1
        if self.fitting == 1 and self.tell is not None:
            self.tell(True)

    def fit_ended(self) -> None:
        self.fitting -= 1
        if self.fitting == 0 and self.tell is not None:
            self.tell(False)

    @contextlib.contextmanager
    def by_keras(self, model: Any, name: str) -> Iterator[None]:
        """Meanwhile Keras trains this model: no gradient is the notebook's own, and its variables are remembered."""
        outermost = self.in_keras == 0
        self.in_keras += 1
        self.keras_calls += outermost
        try:
            yield
        finally:
            self.in_keras -= 1
            if outermost or name != "train_step":  # which `fit` and `train_on_batch` call
                for variable in _trainable(model):
                    names = self.trained_by([variable])
                    self.keras_trained[id(variable)] = (weakref.ref(variable), names | {name})

    def trained_by(self, variables: Any) -> set[str]:
        """Names of Keras's own methods that trained some of these variables, whatever model they belonged to then."""
        found: set[str] = set()
        for variable in variables:
            reference, names = self.keras_trained.get(id(variable), (None, set()))
            if reference is not None and reference() is variable:
                found |= names
        return found

    def note_device(self, thing: Any) -> None:
        """Count a step on the device of an eager tensor or of a variable, short: "GPU:0"."""
        try:
            place = getattr(thing, "backing_device", None) or getattr(getattr(thing, "value", None), "device", None)
            name = str(place or "").rpartition("device:")[2][:40]
        except Exception:  # recording must never break the notebook
            return
        if name and (name in self.devices or len(self.devices) < DEVICE_CAP):
            self.devices[name] = self.devices.get(name, 0) + 1

    def remember(self, variables: Any) -> None:
        """Copy the values of variables met for the first time."""
        for variable in variables:
            if id(variable) in self.initial:
                continue
            value = _value(variable)
            if value is not None and value.shape != tuple(variable.shape):  # made while a tf.function is traced
                self.initial[id(variable)] = (weakref.ref(variable), None)
                continue
            if value is None or self.copied + value.size > COPY_CAP:
                continue
            self.copied += value.size
            self.initial[id(variable)] = (weakref.ref(variable), value)

    def moved(self, variables: Any) -> float | None:
        """Largest change of any remembered variable since it was first seen; None when none was."""
        changes = []
        for variable in variables:
            reference, before = self.initial.get(id(variable), (None, None))
            if reference is None or reference() is not variable:
                continue
            after = _value(variable)
            if after is not None and before is not None and after.shape == before.shape and after.size:
                changes.append(float(np.max(np.abs(after.astype("float64") - before.astype("float64")))))
        return max(changes) if changes else None

    def unseen(self, variables: Any) -> int:
        """How many of these were trained, but had no value yet when they were first seen."""
        known = (self.initial.get(id(variable)) for variable in variables)
        return sum(1 for pair in known if pair is not None and pair[1] is None)

    def steps(self) -> int:
        """Optimizer steps taken by any optimizer seen, compiled loops included."""
        total = 0
        for reference in self.optimizers.values():
            optimizer = reference()
            value = None if optimizer is None else _value(optimizer.iterations)
            total += 0 if value is None else int(value)
        return total


RECORDER = Recorder()


class GradientSeen(BaseException):
    """Ends a call at its first gradient; no Exception, so that the notebook's own handlers let it pass."""


def takes_gradients(call: Callable[[], Any]) -> bool:
    """Whether this call takes a gradient of its own with a tape; it is ended there."""
    before, RECORDER.stopping = RECORDER.own_gradients, True
    try:
        with contextlib.suppress(GradientSeen, Exception):  # what was asked is whether it comes to a gradient
            call()
    finally:
        RECORDER.stopping = False
    return RECORDER.own_gradients > before


def last_trained_model() -> Any:
    """The model `fit` was last called on, or None."""
    return None if RECORDER.last_model is None else RECORDER.last_model()


def was_touched(model: Any) -> bool:
    """Whether some variable of the model was trained (seen by any hook)."""
    variables = _trainable(model)
    seen = (RECORDER.initial.get(id(variable), (None, None))[0] for variable in variables)
    # An id is given again once its object is gone: only a reference tells that it is the same variable.
    met = any(reference is not None and reference() is v for reference, v in zip(seen, variables, strict=True))
    return met or bool(RECORDER.trained_by(variables))


def training_of(model: Any) -> dict[str, Any]:
    """The record of one model: its fits, and whether its weights moved. Plain data."""
    mine = [{k: v for k, v in fit.items() if k != "model"} for fit in RECORDER.fits if fit["model"] == id(model)]
    moved = RECORDER.moved(_trainable(model))
    return {
        "fits": mine,
        "moved": moved,
        "unseen": RECORDER.unseen(_trainable(model)),
        "tape_gradients": RECORDER.tape_gradients,
        "own_gradients": RECORDER.own_gradients,
        "keras_trained": sorted(RECORDER.trained_by(_trainable(model))),
        "optimizer_steps": RECORDER.steps(),
    }


def summary() -> dict[str, Any]:
    """Everything recorded, as plain data."""
    return {
        "fits": [{k: v for k, v in fit.items() if k != "model"} for fit in RECORDER.fits],
        "tape_gradients": RECORDER.tape_gradients,
        "own_gradients": RECORDER.own_gradients,
        "keras_calls": RECORDER.keras_calls,
        "optimizer_applies": RECORDER.applies,
        "optimizer_steps": RECORDER.steps(),
        "devices": dict(RECORDER.devices),
    }


#: What `predict` is made of, where a class of the notebook's can step in, as Keras has it.
PREDICTING = ("predict", "predict_step", "make_predict_function", "__call__")
KERAS_OWN: dict[str, Any] = {}
#: Keras's own methods that take gradients, beside `fit`. A class's own `train_step` stands in its place, and is not hooked.
TRAINING = ("train_on_batch", "train_step")


def predicts_as_keras(model: Any) -> bool:
    """Whether `predict` would do nothing but call the model: all of it is Keras's own, and nothing was compiled yet."""
    own, kind = vars(model), type(model)
    return (
        bool(KERAS_OWN)
        and own.get("predict_function") is None
        and all(name not in own and getattr(kind, name, None) is function for name, function in KERAS_OWN.items())
    )


def install() -> None:
    """Hook Keras and TensorFlow. Call once, after they are imported (in the zygote, before the fork)."""
    import keras
    import tensorflow as tf

    trainer = next(base for base in keras.Model.__mro__ if "fit" in vars(base))
    KERAS_OWN.update({name: getattr(keras.Model, name) for name in PREDICTING})
    _wrap(trainer, "fit", _fit)
    for name in TRAINING:
        _wrap(trainer, name, functools.partial(_training, name))
    _wrap(keras.optimizers.Optimizer, "apply", _apply)
    _wrap(tf.GradientTape, "gradient", _gradient)


def _wrap(owner: Any, name: str, around: Any) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def hooked(self: Any, *args: Any, **kwargs: Any) -> Any:
        return around(original, self, args, kwargs)

    setattr(owner, name, hooked)


def _gradient(original: Any, tape: Any, args: Any, kwargs: Any) -> Any:
    RECORDER.tape_gradients += 1
    if not RECORDER.in_keras:
        RECORDER.own_gradients += 1
        if RECORDER.stopping:
            raise GradientSeen
    try:  # a loop may change its variables without any optimizer, so this is where they are first met
        sources = args[1] if len(args) > 1 else kwargs.get("sources")
        given = sources if isinstance(sources, list | tuple) else [sources]
        RECORDER.remember([source for source in given if hasattr(source, "assign")])
    except Exception:  # recording must never break the notebook
        RECORDER.copied += 0
    found = original(tape, *args, **kwargs)
    RECORDER.note_device(found[0] if isinstance(found, list | tuple) and found else found)
    return found


def _apply(original: Any, optimizer: Any, args: Any, kwargs: Any) -> Any:
    RECORDER.applies += 1
    if id(optimizer) not in RECORDER.optimizers:
        try:
            RECORDER.optimizers[id(optimizer)] = weakref.ref(optimizer)
            given = args[1] if len(args) > 1 else kwargs.get("trainable_variables")
            RECORDER.remember(given if given is not None else getattr(optimizer, "_trainable_variables", ()))
        except Exception:  # recording must never break the notebook
            RECORDER.copied += 0
    return original(optimizer, *args, **kwargs)


def _training(name: str, original: Any, model: Any, args: Any, kwargs: Any) -> Any:
    with RECORDER.by_keras(model, name):
        return original(model, *args, **kwargs)


def _fit(original: Any, model: Any, args: Any, kwargs: Any) -> Any:
    record: dict[str, Any] = {
        "model": id(model),
        "name": str(getattr(model, "name", ""))[:100],
        "logs": {},
        "epochs": 0,
    }
    try:
        record |= _describe_data(args, kwargs)
        kwargs = _with_watcher(args, kwargs, model, record)
        RECORDER.last_model = weakref.ref(model)
        if len(RECORDER.fits) < FIT_CAP:
            RECORDER.fits.append(record)
    except Exception:  # recording must never break the notebook
        record["incomplete"] = True
    start = time.perf_counter()
    RECORDER.fit_began()
    try:
        with RECORDER.by_keras(model, "fit"):
            return original(model, *args, **kwargs)
    finally:
        RECORDER.fit_ended()
        record["seconds"] = time.perf_counter() - start


def _with_watcher(args: Any, kwargs: Any, model: Any, record: dict[str, Any]) -> dict[str, Any]:
    """Add a callback of ours to those the student gave (as keyword, as nearly everyone does)."""
    import keras

    if len(args) > 5:  # fit(x, y, batch_size, epochs, verbose, callbacks): given by position; rare
        return dict(kwargs)

    class Watcher(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_train_begin(self, logs: Any = None) -> None:
            RECORDER.remember(_trainable(model))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            record["epochs"] += 1
            RECORDER.note_device(next(iter(_trainable(model)), None))
            for key, number in (logs or {}).items():
                series = record["logs"].setdefault(str(key)[:60], [])
                if len(series) < EPOCH_CAP:
                    series.append(_number(number))
            try:
                SNAPSHOTS.epoch_ended(model)
            except Exception:  # recording must never break the notebook
                record["incomplete"] = True

    given = kwargs.get("callbacks")
    if given is None:
        callbacks: Any = [Watcher()]
    elif isinstance(given, list | tuple):
        callbacks = [*given, Watcher()]
    elif isinstance(given, keras.callbacks.Callback) and not isinstance(given, keras.callbacks.CallbackList):
        callbacks = [given, Watcher()]
    else:
        return dict(kwargs)
    return {**kwargs, "callbacks": callbacks}


def _describe_data(args: Any, kwargs: Any) -> dict[str, Any]:
    x = args[0] if args else kwargs.get("x")
    y = args[1] if len(args) > 1 else kwargs.get("y")
    return {
        "x": _describe_array(x),
        "y": _describe_array(y),
        "validated": kwargs.get("validation_data") is not None or bool(kwargs.get("validation_split")),
        "asked": _count(args[3] if len(args) > 3 else kwargs.get("epochs", 1)),
        "callbacks": [type(c).__name__[:60] for c in _callbacks(kwargs)],
        # Only EarlyStopping has both; what it watches tells whether the validation error ended the training.
        "stopping": [
            str(c.monitor)[:60] for c in _callbacks(kwargs) if hasattr(c, "monitor") and hasattr(c, "stopped_epoch")
        ],
    }


def _callbacks(kwargs: Any) -> list[Any]:
    """The callbacks given to `fit`; a single one comes without a list too."""
    given = kwargs.get("callbacks")
    several = given if isinstance(given, list | tuple) else [given]
    return [callback for callback in several if callback is not None][:20]


def _count(number: Any) -> int | None:
    try:
        return int(number)
    except (TypeError, ValueError):
        return None


def _describe_array(thing: Any) -> dict[str, Any]:
    """Shape, dtype, range and edges of (a sample of) what was fitted on; only the type where it is not an array."""
    if thing is None:
        return {}
    kind = type(thing).__name__[:60]
    if kind in ("Series", "DataFrame"):
        thing = thing.to_numpy()
    if hasattr(thing, "numpy") and not isinstance(thing, np.ndarray):
        thing = thing.numpy()
    if isinstance(thing, list):
        thing = np.asarray(thing) if len(thing) < 200_000 else np.asarray(thing[:1000])
    if not isinstance(thing, np.ndarray) or thing.dtype.kind not in "biuf" or not thing.size:
        return {"type": kind}
    sample = thing[:: max(1, len(thing) // 2000)] if thing.ndim else thing
    facts = {
        "type": kind,
        "shape": [int(side) for side in thing.shape],
        "dtype": str(thing.dtype),
        "low": float(np.nanmin(sample)),
        "high": float(np.nanmax(sample)),
        "mean": float(np.nanmean(sample)),
    }
    if sample.ndim == 2:  # rows of word ids: which side is filled up with zeros
        facts |= {"zero_first": float(np.mean(sample[:, 0] == 0)), "zero_last": float(np.mean(sample[:, -1] == 0))}
    return facts


def _trainable(model: Any) -> list[Any]:
    try:
        return list(model.trainable_variables)
    except Exception:  # an unbuilt or odd model has none to tell
        return []


def _value(variable: Any) -> Any:
    """The variable's number now, also while a tf.function is being traced; None where it has none."""
    tensorflow = sys.modules.get("tensorflow")
    try:
        if tensorflow is None:
            return np.array(variable.numpy())
        with tensorflow.init_scope():
            return np.array(variable.numpy())
    except Exception:  # symbolic, deleted or not a variable
        return None


def _number(number: Any) -> float | None:
    try:
        return float(number)
    except (TypeError, ValueError):
        return None
