"""Saved models of every format go into a clean room whole, and come back as what they were."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grader.checks.marks import CheckFailed, Mark, current, running
from grader.checks.student import Bench, Files
from grader.labs import load_lab
from grader.records import Artifact, Ending, Evidence
from grader.runner import RunFacts
from grader.session import Link, Session, Tape

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
INPUTS = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)

MAKE = """
import json, os, sys
import numpy as np, tensorflow as tf, keras

def build():
    return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(6, activation="relu"), keras.layers.Dense(3)])

def own_loss(y_true, y_pred):
    return keras.ops.mean((y_true - y_pred) ** 2)

x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
y = x[:, :3]
model = build()
model.compile("adam", "mse")
model.save("unfitted.keras")
model.fit(x, y, verbose=0)
os.makedirs("deep/weights")
model.save("whole.keras")
model.save("whole.h5")
model.save("after_h5.keras")
model.save("bare.h5", include_optimizer=False)
model.export("exported", verbose=False)
model.save_weights("deep/weights/plain.weights.h5")
tf.train.Checkpoint(model).write("deep/weights/itself.ckpt")
tf.train.Checkpoint(model=model).write("deep/weights/model.ckpt")
tf.train.Checkpoint(step=tf.Variable(1), net=model, optimizer=model.optimizer).save("deep/weights/net.ckpt")
build_other = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
tf.train.Checkpoint(build_other).write("other.ckpt")
build_other.save_weights("other.weights.h5")
copy = build()
copy.set_weights(model.get_weights())
copy.save("uncompiled.keras")
plain = model.to_json()
copy.compile("adam", own_loss)

class Own(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.last = keras.layers.Dense(3)  # made first, used last: the file's order is not the model's
        self.first = keras.layers.Dense(6, activation="relu")

    def call(self, x):
        return self.last(self.first(x))

def build_own():
    own = Own()
    own(np.zeros((1, 4), "float32"))
    own.compile("adam", "mse")
    return own

from grader.probe import keep, restore
own = build_own()
own.set_weights(list(model.get_weights()[2:] + model.get_weights()[:2]))
own.save_weights("own.weights.h5")
own.save("own.keras")
traced = keep.architecture(build_own())[0]
places = restore.weight_places(build_own())
inputs = np.linspace(-1, 1, 20, dtype="float32").reshape(5, 4)
told = {"expected": np.asarray(model(inputs)).tolist(), "plain": plain, "own_loss": copy.to_json()}
told |= {"traced": traced, "places": places}
open("told.json", "w").write(json.dumps(told))
"""

SERVE = """
import socket, sys
import keras, tensorflow
from grader.driver.channel import Channel
from grader.driver.run import serve_clean

sys.exit(serve_clean(Channel(socket.socket(fileno=int(sys.argv[1]))), 1))
"""


class Room:
    """Files of a run, a clean room to put them into, and what the run said about them."""

    def __init__(self, made: Path, bench: Bench) -> None:
        self.files = Files(bench)
        self.bench = bench
        self.told: dict[str, Any] = json.loads((made / "told.json").read_text())
        self.expected = np.array(self.told["expected"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    subprocess.run([sys.executable, "-c", MAKE], cwd=folder, check=True, env=_environment(), capture_output=True)
    return folder


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", SERVE, str(theirs.fileno())]
    folder = tmp_path_factory.mktemp("clean")
    with subprocess.Popen(
        command, cwd=folder, env=_environment(), pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL
    ) as process:
        theirs.close()
        session = Session(None, lambda: Link(ours), Tape(), seed=1, deadline_s=120)
        yield session
        session.close()
        ours.close()
        process.wait(30)


@pytest.fixture
def room(made: Path, session: Session) -> Iterator[Room]:
    with running(Mark("a check", 1, Evidence.VERIFIED)):
        yield Room(made, _bench(made, session))


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""}


def _bench(made: Path, session: Session, leave_out: str = "nothing") -> Bench:
    paths = sorted(path for path in made.rglob("*") if path.is_file() and leave_out not in path.name)
    files = {path.relative_to(made).as_posix(): path.read_bytes() for path in paths}
    artifacts = tuple(
        Artifact(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest(), order=order)
        for order, (path, data) in enumerate(files.items())
    )
    facts = RunFacts(ending=Ending.OK, files=files, artifacts=artifacts)
    return Bench(load_lab(ROOT / "labs" / "checkpoints"), facts, session, files.__getitem__)


@pytest.mark.parametrize(
    "path", ["whole.keras", "whole.h5", "bare.h5", "after_h5.keras", "uncompiled.keras", "exported"]
)
def test_a_whole_model_answers_as_it_did(room: Room, path: str):
    """Whatever the format, the reloaded model's predictions are those of the model that was saved."""
    answer = room.files.first(path).load_model().predict(INPUTS)
    assert np.allclose(answer, room.expected, atol=1e-5)
    assert current().evidence is Evidence.VERIFIED


def test_an_archive_is_repacked_before_keras_sees_it(made: Path, session: Session):
    """Two members of one name: which of them is the model depends on the reader, so there is none, and the check says why."""
    data = (made / "whole.keras").read_bytes()
    twice = io.BytesIO(data)
    with warnings.catch_warnings(), zipfile.ZipFile(twice, "a") as archive:
        warnings.simplefilter("ignore", UserWarning)  # zipfile's own: duplicate name
        archive.writestr("config.json", b"{}")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(64 << 20))
    for path, content, why in (("twice.keras", twice, "twice"), ("bomb.keras", bomb, "times its size")):
        files = {path: content.getvalue()}
        facts = RunFacts(
            ending=Ending.OK,
            files=files,
            artifacts=(Artifact(path=path, size=len(files[path]), sha256="0" * 64, order=1),),
        )
        bench = Bench(load_lab(ROOT / "labs" / "checkpoints"), facts, session, files.__getitem__)
        with running(Mark("a check", 1, Evidence.VERIFIED)), pytest.raises(CheckFailed) as failure:
            Files(bench)[path].load_model().predict(INPUTS)
        assert why in f"{failure.value} {failure.value.found}"


@pytest.mark.parametrize("name", ["plain.weights.h5", "itself.ckpt", "model.ckpt", "net.ckpt-1"])
def test_weights_go_back_into_the_architecture(room: Room, name: str):
    """Keras weights and TensorFlow checkpoints, of the model or of an object that holds it, restore it exactly."""
    answer = room.files.first(f"deep/weights/{name}").load_weights(room.told["plain"]).predict(INPUTS)
    assert np.allclose(answer, room.expected, atol=1e-6)


@pytest.mark.parametrize("path", ["own.weights.h5", "own.keras"])
def test_weights_of_a_class_of_ones_own_are_restored_without_its_code(room: Room, path: str):
    """The arrays go to their places in the traced architecture; loaded by the class's attribute names they would not."""
    answers = room.files[path].load_weights(room.told["traced"], room.told["places"]).predict(INPUTS)
    np.testing.assert_allclose(answers, room.expected, rtol=1e-5)
    assert current().evidence is Evidence.VERIFIED
    with pytest.raises(CheckFailed):
        room.files["own.weights.h5"].load_weights(room.told["traced"])


def test_places_that_a_file_does_not_have_are_refused(room: Room):
    """A map that does not fit the file restores nothing."""
    with pytest.raises(CheckFailed, match="has no weights for"):
        room.files["own.weights.h5"].load_weights(room.told["traced"], ["elsewhere/vars/0"] * 4)


@pytest.mark.parametrize("path", ["other.weights.h5", "other.ckpt"])
def test_weights_of_another_model_are_refused(room: Room, path: str):
    """Weights that do not fit the architecture fail the check, and are not restored in part."""
    with pytest.raises(CheckFailed, match=rf"^`load_weights\({path}\)` raised ValueError"):
        room.files.first(path).load_weights(room.told["plain"])


def test_a_loss_of_the_students_own_does_not_hinder_rebuilding(room: Room):
    """Nothing is compiled in the clean room, so a loss that exists in the notebook only is not missed."""
    saved = room.files.first("deep/weights/plain.weights.h5")
    assert "own_loss" in room.told["own_loss"]
    assert np.allclose(saved.load_weights(room.told["own_loss"]).predict(INPUTS), room.expected, atol=1e-6)


def test_the_architecture_of_a_whole_model_can_be_had(room: Room):
    """A whole-model file gives the architecture that its weights files fit into."""
    text = room.files.first("whole.keras").architecture()
    answer = room.files.first("deep/weights/plain.weights.h5").load_weights(text).predict(INPUTS)
    assert np.allclose(answer, room.expected, atol=1e-6)


def test_an_answer_without_evidence_leaves_the_evidence_alone(room: Room):
    """An architecture is only tried, not believed: no points rest on it, and none are weakened by it."""
    model = room.files.first("whole.keras").load_model()
    record = current()
    record.evidence = None
    room.bench.helper("clean", "architecture", model, evidence=None)
    assert record.evidence is None
    record.evidence = Evidence.VERIFIED
    room.bench.helper("clean", "describe", model, evidence=None)
    assert record.evidence is Evidence.VERIFIED


@pytest.mark.parametrize(
    ("path", "present", "trained", "slots"),
    [
        ("whole.keras", True, True, 8),
        ("whole.h5", True, True, 8),
        ("unfitted.keras", True, False, None),
        ("after_h5.keras", False, True, 8),
        ("bare.h5", False, False, 0),
        ("uncompiled.keras", False, False, 0),
        ("exported", False, False, 0),
    ],
)
def test_the_optimizer_in_a_file_is_told(room: Room, path, present, trained, slots):
    """The file itself says whether an optimizer is in it, which one, and how many steps it took."""
    state = room.files.first(path).optimizer_state()
    assert state["present"] is present
    assert state["name"] == ("Adam" if present else "")
    assert ((state["iterations"] or 0) > 0) is trained
    assert slots is None or state["slots"] == slots


def test_a_checkpoint_is_found_by_its_prefix_and_has_all_its_parts(room: Room):
    """A TensorFlow checkpoint is one thing of several files, and its index alone is none."""
    found = room.files.first("deep/weights/itself.ckpt")
    assert [part.path.rpartition(".")[2] for part in found.parts] == ["index", "data-00000-of-00001"]
    assert found.size == sum(part.size for part in found.parts)
    assert not found.is_folder
    assert room.files.first("exported").is_folder


def test_an_index_without_its_data_is_not_a_checkpoint(made: Path, session: Session):
    """What is incomplete is not there."""
    with running(Mark("a check", 1, Evidence.VERIFIED)):
        files = Files(_bench(made, session, leave_out="itself.ckpt.data"))
        assert files.find("deep/weights/itself.ckpt") is None
        assert files.find("deep/weights/model.ckpt") is not None


def test_checkpoints_lists_weights_of_every_format(room: Room):
    """`checkpoints` gives each checkpoint once, and neither whole folders nor bookkeeping files."""
    names = [ref.path.rpartition("/")[2] for ref in room.files.checkpoints("deep/weights/*")]
    assert names == ["itself.ckpt", "model.ckpt", "net.ckpt-1", "plain.weights.h5"]


def test_a_missing_file_names_what_lies_beside_it(room: Room):
    """A misspelt path shows at a glance: the message names the neighbours."""
    with pytest.raises(CheckFailed, match=r"no deep/weights/pain.weights.h5 \(but .*plain.weights.h5\)|but .*…"):
        room.files.first("deep/weights/pain.weights.h5")


def test_a_whole_model_is_a_checkpoint_too(room: Room):
    """Its weights go back into the architecture, from a plain copy like any other file of its kind."""
    names = [ref.path for ref in room.files.checkpoints("*")]
    assert {"whole.keras", "whole.h5", "other.weights.h5", "other.ckpt"} <= set(names)
    for name in ("whole.keras", "uncompiled.keras"):
        answer = room.files.first(name).load_weights(room.told["plain"]).predict(INPUTS)
        assert np.allclose(answer, room.expected, atol=1e-6)
        assert current().evidence is Evidence.VERIFIED


def test_a_whole_model_of_other_layers_does_not_fit_the_architecture(room: Room):
    """It is refused like a weights file; what it holds can be loaded with its own layers only."""
    with pytest.raises(CheckFailed):
        room.files["own.keras"].load_weights(room.told["plain"])
