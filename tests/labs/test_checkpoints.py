"""What is peculiar to the checkpoints lab."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from grader.checks.marks import CheckFailed
from grader.labs import Lab, load_lab
from grader.labs.starter import read_reference, reference_path, source
from grader.records import Tier

LAB = Path(__file__).parents[2] / "labs" / "checkpoints"
FILES = (
    "training_1/cp.weights.h5",
    "training_2/cp-{epoch:04d}.weights.h5",
    "checkpoints/my_checkpoint.weights.h5",
    "my_model.keras",
    "my_model.h5",
)


@pytest.fixture(scope="module")
def lab() -> Lab:
    return load_lab(LAB)


@pytest.fixture(scope="module")
def reference() -> dict[str, object]:
    return read_reference(reference_path(LAB.parent, "checkpoints"))


def code(notebook) -> list[str]:
    return [source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_reference_defines_every_name_and_writes_every_file(lab, reference):
    """What the contract demands is what the reference does."""
    text = "\n".join(code(reference))
    for name in lab.contract:
        assert f"def {name}(" in text
    for file in FILES[:4]:
        assert f'"{file}"' in text


def test_the_last_check_is_the_one_that_trains(lab):
    """`resume()` changes the kernel, so nothing is asked after it."""
    assert lab.checks[-1].id == "resume"


def test_thresholds_are_those_of_the_calibration(lab):
    """Each tier has every threshold, and calibration.md gives the figures that lab.toml uses."""
    text = (LAB / "calibration.md").read_text(encoding="utf-8")
    for tier in Tier:
        for name in ("accuracy", "untrained", "improvement", "progress"):
            limit = lab.threshold(tier, name)
            assert f"| {name} | {tier.value} | {limit.floor:.2f} | {limit.full:.2f} |" in text


@pytest.mark.parametrize("name", ["handout.md", "handout.zh.md"])
def test_the_handout_names_everything(lab, name):
    """Both handouts mention every contracted name, every file, every check with its points, and the budget."""
    text = (LAB / name).read_text(encoding="utf-8")
    for word in (*[f"{contract}()" for contract in lab.contract], *FILES, ".index", "SavedModel", "x_train.shape"):
        assert word in text
    for check in lab.checks:
        assert f"| {check.points:g} | `{check.id}` |" in text
    for budget in (f"{lab.limits.wall_s:g}", f"{lab.limits.disk_mb} MB", f"{lab.limits.memory_mb // 1024} GB"):
        assert budget in text
    assert "grader check checkpoints.ipynb" in text


@pytest.fixture(scope="module")
def suite():
    spec = importlib.util.spec_from_file_location("checkpoints_suite", LAB / "hidden_tests" / "test_checkpoints.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Saved:
    """A file whose weights do not fit the architecture; ``alone`` and ``placed``: what it loads as otherwise, or None."""

    def __init__(self, path: str, *, alone: str | None = None, placed: str | None = None) -> None:
        self.path, self.alone, self.placed = path, alone, placed

    def load_weights(self, architecture: str, places: list[str] | None = None) -> str:
        return self._or_fail(None if places is None else self.placed)

    def load_model(self) -> str:
        return self._or_fail(self.alone)

    def _or_fail(self, found: str | None) -> str:
        if found is None:
            raise CheckFailed("the weights do not fit")
        return found


@pytest.mark.parametrize(
    ("saved", "loaded"),
    [
        (Saved("training_2/cp-0001.keras", alone="its own layers"), "its own layers"),
        (Saved("training_2/cp-0001.keras", placed="by place"), "by place"),
        (Saved("training_2/cp-0001.weights.h5", alone="its own layers", placed="by place"), "by place"),
        (Saved("training_2/cp-0001.weights.h5", alone="its own layers"), None),
        (Saved("training_2/cp-0001.keras"), None),
    ],
)
def test_a_whole_model_brings_its_own_layers_and_a_weights_file_does_not(suite, saved, loaded):
    """What does not fit the architecture is loaded as the file describes it, or by place, or the check says why not."""
    student = SimpleNamespace(
        architecture=lambda model: "{}",
        weight_places=lambda fresh: ["layers/dense/vars/0"],
        create_model=SimpleNamespace(keep=lambda: "model", new=lambda: "model"),
    )
    if loaded is None:
        with pytest.raises(CheckFailed, match="do not fit"):
            suite.restored(student, saved)
    else:
        assert suite.restored(student, saved) == loaded


def test_whole_models_count_as_the_series_by_the_epoch_in_their_names(suite):
    """`cp-0003.keras` is that of epoch 3, like `cp-0003.weights.h5` and `cp-0003.ckpt`."""
    names = ("cp-0001.weights.h5", "cp-0002.ckpt", "cp-0003.keras")
    refs = [SimpleNamespace(path=f"training_2/{name}") for name in names]
    student = SimpleNamespace(files=SimpleNamespace(checkpoints=lambda pattern: refs))
    assert list(suite.series(student)) == [1, 2, 3]


@pytest.mark.parametrize("name", ["handout.md", "handout.zh.md"])
def test_the_handout_says_that_whole_models_are_checkpoints_too(name):
    """What is accepted is told, in both languages."""
    text = (LAB / name).read_text(encoding="utf-8")
    assert "training_2/cp-{epoch:04d}.keras" in text
    assert "checkpoints/my_checkpoint.keras" in text
