"""The ``student`` fixture: the notebook's contracted objects, as things a check can ask.

Every answer carries how it is known. A *model*'s answers come from its kept copy in the clean sandbox where it could
be kept (verified), else from the live kernel (observed). A *function* or *class* is judged by its behaviour on secret
inputs, so its answers are verified; everything else that the kernel says is observed. A check that rests on weaker
evidence than it declares fails, and says why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from grader import wire
from grader.checks.hidden import HiddenFunction
from grader.checks.marks import CheckFailed, current
from grader.diagnosis import advise
from grader.errors import LabError
from grader.labs import Contract, Lab
from grader.records import Artifact, Evidence, GpuActivity
from grader.runner import RunFacts
from grader.session import Drawn, Session, Side, TapeMiss, placeholder

#: How files that hold a model's weights end. A whole model holds them too.
WEIGHTS = (".h5", ".keras")
#: The note of a model that only the notebook's own classes could load.
WITH_CODE = "restored with student code"


@dataclass(frozen=True)
class Bench:
    """What a suite is judged on: the lab, the facts of the run, and a session to ask."""

    lab: Lab
    facts: RunFacts
    session: Session
    read_file: Callable[[str], bytes]
    draws: dict[str, Drawn] = field(default_factory=dict)

    def ask(
        self,
        side: Side,
        expr: wire.Expr,
        evidence: Evidence | None,
        *,
        want: wire.Want = "auto",
        kind: wire.Kind = "pure",
        deadline_s: float | None = None,
    ) -> Any:
        """Ask; returns plain data or a Remote. Raises CheckFailed when the student's code cannot answer.

        ``evidence`` None: the answer is not believed, only used to ask something else, and no points rest on it.
        """
        answer = self.session.ask(side, expr, self.draws, want=want, kind=kind, deadline_s=deadline_s)
        if evidence is not None:
            current().rest_on(evidence)
        if answer.status != "ok" or answer.value is None:
            raise self._failure(answer, expr)
        if isinstance(answer.value, wire.Handle):
            return Remote(self, wire.Const(answer.value), evidence or Evidence.OBSERVED, side, answer.value.type_name)
        try:
            return wire.from_value(answer.value)
        except wire.WireError as error:
            raise CheckFailed(f"the answer is not plain data: {error}") from None

    def measured(self, expr: wire.Expr, *, seconds: float, deadline_s: float | None = None) -> GpuActivity:
        """What the host saw on its GPUs while the live kernel was asked this, again and again for that long."""
        answer, activity = self.session.measure(expr, self.draws, seconds=seconds, deadline_s=deadline_s)
        if answer.status != "ok":
            current().rest_on(Evidence.VERIFIED)
            raise self._failure(answer, expr)
        return activity

    def raised(self, side: Side, expr: wire.Expr, evidence: Evidence) -> str:
        """The class name of the exception that this question raises; "" when it is answered, whatever the answer is."""
        answer = self.session.ask(side, expr, self.draws)
        current().rest_on(evidence)
        match answer.status:
            case "ok" | "refused":
                return ""
            case "error":
                return (answer.fault.kind if answer.fault else "")[:200] or "Exception"
            case _:
                raise self._failure(answer, expr)

    def _failure(self, answer: wire.Answer, expr: wire.Expr) -> CheckFailed:
        fault = answer.fault or wire.Fault("", "")
        kind, message = fault.kind[:200], fault.message[:1000]
        asked = _asked(expr)
        match answer.status:
            case "missing":
                return CheckFailed(
                    message or "it is missing",
                    expected=f"`{asked}` in your notebook",
                    hint="Check its name and that the cell runs.",
                )
            case "timeout":
                return CheckFailed(f"`{asked}` gave no answer in time", expected="an answer within the limit")
            case "refused":
                return CheckFailed(f"`{asked}` gave {message}", expected="plain numbers, text, lists or an array")
            case "died":
                end = ": ".join(filter(None, (self.facts.ending.value, self.facts.ending_detail)))
                return CheckFailed(
                    f"`{asked}` could not be asked: the notebook's kernel was gone ({end})",
                    hint="See how the run ended, at the top of this card.",
                    staff=message,
                )
            case _:
                advice = advise(kind, message, fault.source_line)
                found = f"`{asked}` raised {kind}: {message}"
                if fault.line and fault.source_line:
                    found = f"`{asked}` raised {kind}: {message} at line {fault.line}: {fault.source_line}"
                return CheckFailed(
                    found,
                    expected="no exception",
                    hint=advice.text if advice else "",
                )

    def expression(self, thing: Any) -> wire.Expr:
        """An argument of a question. Drawn inputs stand under their key."""
        match thing:
            case Remote():
                return thing.expr
            case Model():
                return thing.live.expr
            case HiddenFunction():
                return thing.expr
            case _ if hasattr(thing, "key") and hasattr(thing, "array"):
                self.draws[thing.key] = thing
                return placeholder(thing)
            case _:
                try:
                    return wire.Const(wire.to_value(thing))
                except wire.WireError as error:
                    raise LabError(f"a check cannot send {error} into the sandbox") from None

    def helper(self, side: Side, name: str, *args: Any, evidence: Evidence | None, **options: Any) -> Any:
        """Call one of the probe's helpers."""
        return self.ask(side, self.helper_expr(name, *args), evidence, **options)

    def helper_expr(self, name: str, *args: Any) -> wire.Expr:
        return wire.Call(wire.Helper(name), tuple(self.expression(arg) for arg in args))


class Remote:
    """An object in the sandbox. Attributes are more remotes, calls are questions; `value` asks for it as data."""

    def __init__(
        self, bench: Bench, expr: wire.Expr, evidence: Evidence, side: Side = "live", type_name: str = ""
    ) -> None:
        self.bench, self.expr, self.evidence, self.side, self.type_name = bench, expr, evidence, side, type_name

    def __getattr__(self, name: str) -> Remote:
        if name.startswith("__"):
            raise AttributeError(name)
        return Remote(self.bench, wire.Attr(self.expr, name), self.evidence, self.side)

    def __getitem__(self, key: Any) -> Remote:
        return Remote(self.bench, wire.Item(self.expr, self.bench.expression(key)), self.evidence, self.side)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.bench.ask(self.side, self._call(args, kwargs), self.evidence)

    def call(
        self,
        *args: Any,
        kind: wire.Kind = "pure",
        want: wire.Want = "auto",
        deadline_s: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call with a declared kind: "stochastic" may differ each time, "mutating" changes what comes later."""
        expr = self._call(args, kwargs)
        return self.bench.ask(self.side, expr, self.evidence, kind=kind, want=want, deadline_s=deadline_s)

    def asked(self, *args: Any, **kwargs: Any) -> wire.Expr:
        """The call as a question, which is not asked yet."""
        return self._call(args, kwargs)

    def raises(self, *args: Any, **kwargs: Any) -> str:
        """Call where an exception is the right answer: its class name, such as "ValueError", or "" where none is raised.

        What is missing, answers too late or cannot be asked at all still fails the check.
        """
        return self.bench.raised(self.side, self._call(args, kwargs), self.evidence)

    def keep(self, *args: Any, **kwargs: Any) -> Remote:
        """Call, and keep the result in the sandbox even where it could cross.

        Called again with the same arguments it is the same question, and the same object: see `new`.
        """
        result: Remote = self.bench.ask(self.side, self._call(args, kwargs), self.evidence, want="handle")
        return result

    def new(self, *args: Any, **kwargs: Any) -> Remote:
        """Call a class or a builder: another object every time, kept in the sandbox."""
        expr = self._call(args, kwargs)
        result: Remote = self.bench.ask(self.side, expr, self.evidence, want="handle", kind="stochastic")
        return result

    def value(self, kind: wire.Kind = "pure") -> Any:
        """The object itself as plain data. "stochastic": as it is now, where asking something else may change it."""
        return self.bench.ask(self.side, self.expr, self.evidence, kind=kind)

    def take(self, count: int) -> Any:
        """The first items of an iterable, such as a data set's batches."""
        expr = wire.Call(wire.Helper("take"), (self.expr, wire.Const(wire.Lit(count))))
        return self.bench.ask(self.side, expr, self.evidence, kind="stochastic")

    def _call(self, args: Any, kwargs: Any) -> wire.Expr:
        given = tuple(self.bench.expression(arg) for arg in args)
        named = tuple((name, self.bench.expression(arg)) for name, arg in kwargs.items())
        return wire.Call(self.expr, given, named)


class Model:
    """A Keras model: its kept copy in the clean sandbox where there is one, its live self otherwise."""

    def __init__(
        self,
        bench: Bench,
        live: Remote,
        clean: Callable[[], Remote] | None,
        note: str = "",
        *,
        name: str = "",
        max_parameters: int | None = None,
    ) -> None:
        self.bench, self.live, self._clean, self.note, self.name = bench, live, clean, note, name
        self.max_parameters = max_parameters

    @property
    def verified(self) -> bool:
        """Whether answers come from a copy that student code cannot stand in for."""
        return self._clean is not None

    def _self(self) -> Remote:
        return self.live if self._clean is None else self._clean()

    def _helper(self, name: str, *args: Any) -> Any:
        me = self._self()
        return self.bench.helper(me.side, name, me, *args, evidence=me.evidence)

    def predict(self, inputs: Any) -> Any:
        """Outputs for the inputs, as an array. Rows are reshaped to what the model takes where the sizes fit."""
        return self._helper("predict", inputs)

    def predict_training(self, inputs: Any) -> Any:
        """Outputs in training mode, where dropout is at work: other numbers each time it is asked."""
        me = self._self()
        return self.bench.helper(me.side, "predict", me, inputs, True, evidence=me.evidence, kind="stochastic")

    def snapshots(self) -> tuple[Snapshot, ...]:
        """The model as it was after the epochs of the spec's ``[observe] snapshots`` (observed).

        Fewer where it was trained for fewer epochs, not by `fit`, or could not be kept; ``note`` may say why.
        """
        asked, facts = self.bench.lab.snapshots, self.bench.facts
        if not asked or not self.name:
            raise LabError(
                f"{self.bench.lab.id} keeps no snapshots of this model",
                where="hidden suite",
                fix="add [observe] snapshots = [1, 5, 10] to lab.toml, and ask a contracted model",
            )
        if not set(asked) <= set(facts.snapshots):
            raise TapeMiss("the run was not told to keep these snapshots")
        current().rest_on(Evidence.OBSERVED)
        paths = {epoch: f".kept/{self.name}@{epoch}" for epoch in asked}
        return tuple(Snapshot(self.bench, epoch, path) for epoch, path in paths.items() if path in facts.kept)

    def student_predict(self, inputs: Any) -> Any:
        """What the notebook's own ``model.predict`` says (observed): an override shows here only."""
        return self.bench.helper("live", "student_predict", self.live, inputs, evidence=Evidence.OBSERVED)

    def description(self) -> dict[str, Any]:
        """{"type", "layers": [{name, kind, shape, parameters, config}], "parameters", "input_shape", "output_shape"}."""
        return _mapping(self._helper("describe"))

    def parameters(self) -> int | None:
        """How many parameters it has, if it can be described."""
        count = self.description().get("parameters")
        return count if isinstance(count, int) else None

    def require_budget(self, hint: str = "") -> None:
        """Fails the check of a model with more parameters than the spec's ``max_parameters``: a table of the data."""
        if self.max_parameters is None:
            raise LabError(
                "the spec sets no budget for this model", where="hidden suite", fix="add max_parameters to lab.toml"
            )
        count = self.parameters()
        if count is None or count > self.max_parameters:
            raise CheckFailed(
                "the model cannot be described" if count is None else f"the model has {count:,} parameters",
                expected=f"at most {self.max_parameters:,}",
                hint=hint,
            )

    def compiled(self) -> dict[str, Any]:
        """How it was compiled (observed): loss, from_logits, optimizer, learning_rate, iterations; {} if it was not."""
        found = self.bench.helper("live", "describe", self.live, evidence=Evidence.OBSERVED)
        return _mapping(_mapping(found).get("compiled"))

    def training(self) -> dict[str, Any]:
        """What was recorded of its training (observed): fits, moved, tape_gradients, optimizer_steps and more.

        ``keras_trained``: which of Keras's own methods trained variables of it; ``own_gradients``: how many gradients
        were taken outside of these.
        """
        return _mapping(self.bench.helper("live", "training", self.live, evidence=Evidence.OBSERVED))

    def weights(self) -> list[np.ndarray[Any, Any]]:
        """All weights as arrays."""
        found = self._helper("weights")
        return [item for item in found if isinstance(item, np.ndarray)] if isinstance(found, list) else []

    def cross_entropy_gradients(self, inputs: Any, labels: Any) -> list[np.ndarray[Any, Any]]:
        """The right gradients of the mean cross-entropy, one for each trainable variable in the model's order.

        ``labels`` (class numbers) cross into the sandbox: give drawn ones, never the hidden ones.
        """
        found = self._helper("cross_entropy_gradients", inputs, labels)
        return [item for item in found if isinstance(item, np.ndarray)] if isinstance(found, list) else []


class Snapshot:
    """A model as it was after an epoch. Its weights were copied by a hook in the kernel, so all it says is observed."""

    def __init__(self, bench: Bench, epoch: int, path: str) -> None:
        self.bench, self.epoch, self.path = bench, epoch, path

    def predict(self, inputs: Any) -> Any:
        """Outputs for the inputs, as an array, computed in the clean sandbox."""
        rebuilt = _rebuilt(self.bench, self.path, Evidence.OBSERVED)
        return self.bench.helper("clean", "predict", rebuilt, inputs, evidence=Evidence.OBSERVED)


class FileRef:
    """Something the run saved: it was seen to be there by the judge, and did not exist before the run.

    One file; or the parts of a TensorFlow checkpoint (``path`` is its prefix) or of a SavedModel (its folder).
    """

    def __init__(self, bench: Bench, path: str, parts: tuple[Artifact, ...]) -> None:
        self.bench, self.path, self.parts = bench, path, parts
        self.size = sum(part.size for part in parts)
        self.order = max(part.order for part in parts)
        digests = [part.sha256 for part in parts]
        self.sha256 = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    @property
    def is_folder(self) -> bool:
        """Whether it is a SavedModel."""
        return any(part.path == f"{self.path}/saved_model.pb" for part in self.parts)

    def put(self) -> str:
        """Put all of it into the clean sandbox; returns the path to load it by."""
        for part in self.parts:
            self.bench.session.put_file(part.path, self.bench.read_file(part.path))
        return self.path

    def architecture(self) -> str:
        """The architecture of the whole model in it, as JSON."""
        text = self.bench.helper("clean", "architecture", self.load_model(), evidence=Evidence.VERIFIED)
        if not isinstance(text, str):
            raise CheckFailed(f"the model in {self.path} has no architecture that can be captured")
        return text

    def load_model(self) -> Model:
        """The whole model in it, loaded in the clean sandbox without student code. Fails the check if that fails."""
        path = self.put()
        remote = self.bench.helper("clean", "load_saved", path, evidence=Evidence.VERIFIED, want="handle")
        return Model(self.bench, remote, lambda: remote)

    def optimizer_state(self) -> dict[str, Any]:
        """{"present", "name", "iterations", "slots"} of a whole-model file."""
        return _mapping(self.bench.helper("clean", "optimizer_state", self.put(), evidence=Evidence.VERIFIED))

    def load_weights(self, architecture: str, places: list[str] | None = None) -> Model:
        """A model of that architecture (JSON, see ``Student.architecture``) with the weights of this file.

        ``places`` (see ``Student.weight_places``): where in the file each weight lies, for a class of the student's own.
        """
        path = self.put()
        fresh = self.bench.helper_expr("rebuild", architecture)
        rest = (path,) if places is None else (path, places)
        name = "load_weights" if places is None else "load_weights_at"
        expr = wire.Call(wire.Helper(name), (fresh, *(self.bench.expression(item) for item in rest)))
        remote = self.bench.ask("clean", expr, Evidence.VERIFIED, want="handle")
        return Model(self.bench, remote, lambda: remote)

    def load_model_with_code(self) -> Model:
        """The whole model in it, loaded in the notebook's kernel with the student's own classes (observed).

        For a file that nothing else can load; the check should say "restored with student code".
        """
        path = self._deliver()
        remote = self.bench.helper("live", "load_with_code", path, evidence=Evidence.OBSERVED, want="handle")
        return Model(self.bench, remote, None, WITH_CODE)

    def load_weights_with_code(self, fresh: Remote) -> Model:
        """A fresh model of the notebook's with the weights of this file (observed): see `load_model_with_code`."""
        expr = self.bench.helper_expr("load_weights", fresh, self._deliver())
        remote = self.bench.ask("live", expr, Evidence.OBSERVED, want="handle", kind="mutating")
        return Model(self.bench, remote, None, WITH_CODE)

    def _deliver(self) -> str:
        """Put the collected bytes into the work folder under another name; returns the path to load them by there."""
        if self.is_folder:
            raise CheckFailed(f"{self.path} is a SavedModel, which loads without the notebook's code or not at all")
        start = f"collected-{self.sha256[:12]}-"
        for part in self.parts:
            name = start + part.path.rpartition("/")[2]
            self.bench.helper("live", "deliver", name, self.bench.read_file(part.path), evidence=Evidence.OBSERVED)
        return start + self.path.rpartition("/")[2]


class Files(Mapping[str, FileRef]):
    """What the run saved, by path relative to the work folder.

    The keys are files. A TensorFlow checkpoint is also found by its prefix, and a SavedModel by its folder.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._artifacts = {artifact.path: artifact for artifact in bench.facts.artifacts}

    def __getitem__(self, path: str) -> FileRef:
        current().rest_on(Evidence.VERIFIED)
        found = self.find(path)
        if found is None:
            raise KeyError(path)
        return found

    def find(self, path: str) -> FileRef | None:
        """The file, TensorFlow checkpoint or SavedModel of that path, if it is there and complete."""
        if path in self._artifacts:
            return FileRef(self._bench, path, (self._artifacts[path],))
        data = self._under(f"{path}.data-")
        if f"{path}.index" in self._artifacts and data:
            return FileRef(self._bench, path, (self._artifacts[f"{path}.index"], *data))
        if f"{path}/saved_model.pb" in self._artifacts:
            return FileRef(self._bench, path, self._under(f"{path}/"))
        return None

    def _under(self, start: str) -> tuple[Artifact, ...]:
        return tuple(self._artifacts[path] for path in sorted(self._artifacts) if path.startswith(start))

    def __iter__(self) -> Iterator[str]:
        return iter(self._artifacts)

    def __len__(self) -> int:
        return len(self._artifacts)

    def first(self, *paths: str) -> FileRef:
        """The first of these that is there; fails the check when none is."""
        current().rest_on(Evidence.VERIFIED)
        for path in paths:
            found = self.find(path)
            if found is not None:
                return found
        near = self._near(paths[0])
        raise CheckFailed(
            f"the notebook left no {paths[0]} (but {near})" if near else f"the notebook left no {paths[0]}",
            expected=paths[0] if len(paths) == 1 else f"one of these: {', '.join(paths)}",
            hint=f"Save it as `{paths[0]}`, with exactly this path, relative to the notebook." if near else "",
        )

    def _near(self, path: str) -> str:
        """What lies in the same folder, in words: a misspelt name is found at a glance."""
        folder = path.rpartition("/")[0]
        near = [name for name in sorted(self._artifacts) if name.rpartition("/")[0] == folder]
        return ", ".join(near[:4]) + (" …" if len(near) > 4 else "")

    def checkpoints(self, pattern: str) -> list[FileRef]:
        """All saved weights whose path matches a glob, in path order: .h5 and .keras files and TensorFlow checkpoints."""
        import fnmatch

        current().rest_on(Evidence.VERIFIED)
        paths = [path.removesuffix(".index") for path in sorted(self._artifacts)]
        refs = [self.find(path) for path in paths if fnmatch.fnmatchcase(path, pattern)]
        return [ref for ref in refs if ref is not None and (ref.path.endswith(WEIGHTS) or len(ref.parts) > 1)]

    def matching(self, pattern: str) -> list[FileRef]:
        """All whose path matches a glob, in path order."""
        import fnmatch

        current().rest_on(Evidence.VERIFIED)
        return [self[path] for path in sorted(self._artifacts) if fnmatch.fnmatchcase(path, pattern)]


class Student:
    """Contracted objects by name (``student.model``, ``student.loss``), and what the run left and recorded."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        contract = self._bench.lab.contract.get(name)
        if contract is None:
            raise LabError(
                f"the contract of {self._bench.lab.id} names no {name!r}",
                where="hidden suite",
                fix="add [contract.…] to lab.toml",
            )
        return self._object(contract)

    def _object(self, contract: Contract) -> Any:
        bench = self._bench
        expr = wire_name(contract, bench.lab)
        if contract.kind != "model":
            evidence = Evidence.VERIFIED if contract.kind in ("function", "class") else Evidence.OBSERVED
            return Remote(bench, expr, evidence)
        live = Remote(bench, expr, Evidence.OBSERVED)
        found = next((f for f in bench.facts.found if f.name == contract.name), None)
        path = f".kept/{contract.name}"
        clean = (lambda: _rebuilt(bench, path, Evidence.VERIFIED)) if path in bench.facts.kept else None
        note = found.note if found else ""
        return Model(bench, live, clean, note, name=contract.name, max_parameters=contract.max_parameters)

    @property
    def files(self) -> Files:
        """What the run left behind, of the spec's ``keep`` patterns."""
        return Files(self._bench)

    @property
    def facts(self) -> RunFacts:
        """How the run went (observed)."""
        current().rest_on(Evidence.OBSERVED)
        return self._bench.facts

    def architecture(self, model: Any) -> str:
        """A model's architecture as JSON without student code; fails the check when there is none.

        ``model``: what a contracted function returned (`Remote`), or a contracted model. No evidence rests on it: it
        says only what to build in the clean sandbox, from Keras's own layers, and what is built there is asked.
        """
        text = self._bench.helper("live", "architecture", model, evidence=None)
        if not isinstance(text, str):
            raise CheckFailed("the model has no architecture that can be captured")
        return text

    def weight_places(self, fresh: Remote) -> list[str]:
        """Where in a weights file each weight of ``architecture(fresh)`` lies; ``fresh`` is used up by the question.

        For models of the student's own classes, whose files name the class's attributes. No evidence rests on it: a
        wrong place gives a wrong model.
        """
        found = self._bench.helper("live", "weight_places", fresh, evidence=None, kind="mutating")
        return [place for place in found if isinstance(place, str)] if isinstance(found, list) else []

    def deliver(self, name: str, data: bytes) -> str:
        """Put a hidden file into the work folder and return its path, for functions that read files."""
        path = self._bench.helper("live", "deliver", name, data, evidence=Evidence.VERIFIED)
        if not isinstance(path, str):
            raise CheckFailed("a file could not be put into the work folder")
        return path

    def frame(self, columns: Mapping[str, np.ndarray[Any, Any]]) -> Remote:
        """A pandas DataFrame of these columns, as an argument of a question; nothing is asked yet.

        Each question gets its own, so that a function that changes its argument spoils no other.
        """
        return Remote(self._bench, self._bench.helper_expr("frame", dict(columns)), Evidence.OBSERVED)

    def tensor(self, array: np.ndarray[Any, Any]) -> Remote:
        """A tensor like the array, as an argument of questions: one object, and no evidence rests on it."""
        made: Remote = self._bench.helper("live", "tensor", array, evidence=None, want="handle")
        return made

    def helper(self, name: str, *args: Any, kind: wire.Kind = "pure") -> Any:
        """One of the probe's helpers in the live kernel (observed): type_name, take, device and so on."""
        return self._bench.helper("live", name, *args, evidence=Evidence.OBSERVED, kind=kind)


def wire_name(contract: Contract, lab: Lab) -> wire.Name:
    """The contracted name as it crosses."""
    models = (other.name for other in lab.contract.values() if contract.kind == other.kind == "model")
    others = tuple(name for name in models if name != contract.name)
    return wire.Name(contract.name, contract.aliases, contract.kind, others)


def _rebuilt(bench: Bench, path: str, evidence: Evidence) -> Remote:
    """A kept model, in the clean sandbox."""
    bench.session.put_file(path, bench.read_file(path))
    digest = bench.facts.kept[path]
    remote: Remote = bench.helper("clean", "rebuild_kept", path, digest, evidence=evidence, want="handle")
    return remote


def _mapping(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _asked(expr: wire.Expr) -> str:
    """The student's part of a question, in words for them."""
    match expr:
        case wire.Call(wire.Helper("predict" | "student_predict"), (target, *_)):
            return f"{_asked(target)}.predict(…)"
        case wire.Call(wire.Helper("load_weights"), (_, path)):
            return f"load_weights({_asked(path)})"
        case wire.Call(wire.Helper(), (target, *_)):  # a helper's name would tell the student nothing
            return _asked(target)
        case wire.Call(fn):
            return f"{_asked(fn)}(…)"
        case wire.Attr(of, name):
            return f"{_asked(of)}.{name}"
        case wire.Name(name):
            return name
        case wire.Const(wire.Handle(_, type_name)):
            return type_name.rsplit(".", 1)[-1] or "the object"
        case wire.Const(wire.Lit(text)) if isinstance(text, str):
            return text[:80]
        case _:
            return "the answer"
