"""What travels to a worker of a cluster: all that it needs, and nothing that it would look for by path."""

from __future__ import annotations

import pickle
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from grader import cluster, datasets
from grader.errors import OursError
from grader.labs import load_lab
from grader.provenance import basis
from grader.records import Gpus, Level, Tier
from grader.settings import load_settings
from grader.worker import prepare

LABS = Path(__file__).resolve().parents[2] / "labs"
SHA = "ab" * 32


@pytest.fixture
def iris(tmp_path):
    """The iris lab of a course, in a folder of its own."""
    shutil.copytree(LABS / "iris", tmp_path / "labs" / "iris")
    (tmp_path / "labs" / "iris" / "hidden_tests" / "__pycache__").mkdir(exist_ok=True)
    (tmp_path / "labs" / "iris" / "hidden_tests" / "__pycache__" / "x.pyc").touch()
    settings = load_settings(None, {}, {"secret": "a course"})
    return prepare(load_lab(tmp_path / "labs" / "iris"), settings, Level.L0, Tier.LITE, tmp_path / "mounts")


def full(setting, folder):
    """The same with the full data, made of the lite rows."""
    lines = (datasets.resolve("iris", None, Tier.LITE).folder / "iris.csv").read_text().splitlines()
    folder.mkdir()
    (folder / "iris_training.csv").write_text("\n".join(["120,4,setosa,versicolor,virginica", *lines[1:121]]) + "\n")
    (folder / "iris_test.csv").write_text("\n".join(["30,4,setosa,versicolor,virginica", *lines[121:151]]) + "\n")
    return replace(setting, source=msgspec.structs.replace(setting.source, tier=Tier.FULL, folder=folder))


def packed(setting):
    """The kit as a worker gets it."""
    kit = cluster.pack_kit({"iris": setting}, "A course", sys.executable, Level.L0, own=True, cold=False)
    return pickle.loads(pickle.dumps(kit))


@pytest.mark.parametrize("tier", list(Tier))
def test_a_worker_has_the_same_draws_although_the_courses_folders_are_gone(iris, tier, tmp_path, monkeypatch):
    """Lab, full data and secret are in the kit; the lite data lies in every installation."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "worker's"))
    setting = iris if tier is Tier.LITE else full(iris, tmp_path / "full")
    expected = setting.heldout(SHA).inputs.array(), setting.heldout(SHA).labels
    rests_on = basis(setting, "A course", sys.executable, Gpus())
    kit = packed(setting)
    for gone in ("labs", "full", "mounts"):
        shutil.rmtree(tmp_path / gone, ignore_errors=True)
    there = cluster._unpack(kit, tmp_path / "unpacked", Level.L2)["iris"]
    datasets.load.cache_clear()
    assert np.array_equal(there.heldout(SHA).inputs.array(), expected[0])
    assert np.array_equal(there.heldout(SHA).labels, expected[1])
    assert there.level is Level.L2
    assert there.lab.folder == tmp_path / "unpacked" / "labs" / "iris"
    assert str(tmp_path / "worker's") in str(there.mounted)
    names = {path.name for path in there.lab.folder.rglob("*")}
    assert {"lab.toml", "test_iris.py"} <= names
    assert "x.pyc" not in names
    if tier is Tier.LITE:
        assert basis(there, "A course", sys.executable, Gpus()) == rests_on


def test_the_kit_is_told_nowhere(iris):
    """It holds the secret, and whoever logs a plugin logs its repr."""
    assert "a course" not in repr(packed(iris))


def test_dask_is_asked_for_all_workers():
    """Releases from 2025.4 on tell of five otherwise; the installed one may not be of those."""
    from grader.pools.dask import workers_of

    class Client:
        def scheduler_info(self, n_workers=5):
            return {"workers": dict.fromkeys(range(9 if n_workers == -1 else n_workers))}

    assert len(workers_of(Client())) == 9


def test_a_worker_whose_notebooks_would_meet_something_else_is_refused(iris):
    """The error names both."""
    kit = replace(packed(iris), versions={**packed(iris).versions, "numpy": "0.0.1", "scipy": "9"})
    with pytest.raises(OursError, match=r"would meet numpy \d+\..* \(the batch: 0.0.1\), scipy"):
        cluster.ClusterWorker(kit, 0, gpu=False)
