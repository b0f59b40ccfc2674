"""The tensors lab: what its suite draws is what the handout promises, and its GPU points need a GPU that worked."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from grader import gpu
from grader.errors import LabError
from grader.grading import Setting, grade_submission
from grader.labs import load_lab
from grader.labs.starter import mutate, read_mutants, read_reference, source, starter
from grader.records import Evidence, Gpus, Level, Outcome
from grader.verification import as_submission
from grader.zygote import Zygote
from tests.nvml import NAME, Library, install

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "labs" / "tensors_gpu"
REFERENCE = ROOT / "reference_solutions" / "tensors_gpu.ipynb"
SEEDS = range(20)


@pytest.fixture(scope="module")
def lab():
    """The lab as the grader loads it."""
    return load_lab(FOLDER)


@pytest.fixture(scope="module")
def suite():
    """The hidden suite as a module."""
    path = FOLDER / "hidden_tests" / "test_tensors_gpu.py"
    spec = importlib.util.spec_from_file_location("hidden_tensors_gpu", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- spec and starter


def test_each_theme_has_its_points(lab):
    """Tensors 25, that they do not change 10, devices 20, the GPU 20, own data 25."""
    points = [check.points for check in lab.checks]
    assert [sum(points[a:b]) for a, b in ((0, 2), (2, 3), (3, 5), (5, 6), (6, 8))] == [25, 10, 20, 20, 25]


def test_what_shows_in_the_kernel_only_is_observed(lab):
    """Places and clocks are the notebook's word; what functions compute and what the host measures is verified."""
    observed = [check.id for check in lab.checks if check.evidence is Evidence.OBSERVED]
    assert observed == ["independent", "placement", "timing"]


def test_a_laptop_can_be_graded(lab):
    """No GPU is required, and the kernel has two devices."""
    assert (lab.gpu, lab.logical_cpus) == ("if-available", 2)


def test_the_starter_holds_nothing_of_the_solution():
    """What students start from has the names and the files to try, and none of the bodies."""
    left = "\n".join(source(c) for c in starter(read_reference(REFERENCE))["cells"] if c["cell_type"] == "code")
    assert all(word not in left for word in ("tf.constant", "matmul(a", "perf_counter", "shuffle", "strip"))


def test_a_number_of_cpus_that_makes_no_sense_is_refused(make_lab):
    """Named with its file, as every mistake of a spec."""
    lab = make_lab((FOLDER / "hidden_tests" / "test_tensors_gpu.py").read_text("utf-8"), points=100)
    path = lab.folder / "lab.toml"
    path.write_text(path.read_text("utf-8") + "\n[kernel]\nlogical_cpus = 0\n", "utf-8")
    with pytest.raises(LabError, match="kernel"):
        load_lab(lab.folder)


# ---------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("seed", SEEDS)
def test_hidden_tables_are_what_the_handout_promises(suite, seed):
    """A header, numbers, labels in the last column; no two rows alike, no column of one value, a rest after the eights."""
    features, labels = suite.table(np.random.default_rng(seed))
    head, *rows = suite.csv_of(features, labels).decode().splitlines()
    assert head.endswith(",label")
    assert len(head.split(",")) == features.shape[1] + 1
    read = np.array([[float(cell) for cell in row.split(",")] for row in rows])
    np.testing.assert_allclose(read[:, :-1], features)
    assert (read[:, -1] == labels).all()
    assert len(np.unique(features[:, 0])) == len(labels)
    assert np.ptp(features, axis=0).min() > 0
    assert len(labels) % 8


@pytest.mark.parametrize("seed", SEEDS)
def test_hidden_notes_are_what_the_handout_promises(suite, seed):
    """UTF-8, spaces around, empty lines between, capital letters; what must come out is each line once."""
    lines, data = suite.notes(np.random.default_rng(seed))
    raw = data.decode("utf-8").splitlines()
    assert [line.strip().lower() for line in raw if line.strip()] == lines
    assert len(set(lines)) == len(lines)
    assert len(lines) % 4
    assert any(not line.strip() for line in raw)
    assert any(line != line.strip() for line in raw)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_order_made_by_chance_is_always_accepted(suite, seed):
    """And neither the file's own, nor the same one twice, nor whole batches, nor a small buffer."""
    chance = np.random.default_rng(seed)
    count = int(chance.integers(37, 88))
    one, two, places = chance.permutation(count), chance.permutation(count), np.arange(count)
    batches = np.concatenate([places[8 * start : 8 * start + 8] for start in chance.permutation(-(-count // 8))])
    suite.shuffled(one, two)
    for first, second in ((places, one), (one, one), (batches, one), (near(chance, count), near(chance, count))):
        with pytest.raises(AssertionError):
            suite.shuffled(first, second)


def near(chance, count, buffer=4):
    """The order that a shuffle with a small buffer gives."""
    waiting, out = list(range(buffer)), []
    for following in [*range(buffer, count), *[None] * buffer]:
        out.append(waiting.pop(chance.integers(len(waiting))))
        waiting += [] if following is None else [following]
    return np.array(out)


# ---------------------------------------------------------------- the GPU's points


@pytest.fixture(scope="module")
def zygote(backend):
    """A zygote with TensorFlow."""
    with Zygote(backend, sys.executable, slot=5) as started:
        yield started


@pytest.fixture
def graded(lab, zygote, monkeypatch):
    """Grades a variant of the reference on a machine with a stand-in GPU that is as busy as told."""
    monkeypatch.setattr(gpu, "PERIOD_S", 0.2)
    monkeypatch.setattr(gpu, "POLL_S", 0.05)

    def grading(mutant, percent):
        notebook = read_reference(REFERENCE)
        if mutant:
            (chosen,) = (known for known in read_mutants(FOLDER) if known.name == mutant)
            notebook = mutate(notebook, chosen, mutant)
        run = psutil.Process(zygote.launched.process.pid)
        install(monkeypatch, Library(busy=lambda: {p.pid: percent for p in run.children(recursive=True)}))
        setting = Setting(lab, None, None, "secret", lab.limits, Level.L0)
        offered = Gpus(cards=(NAME,))
        return grade_submission(
            zygote, setting, as_submission(lab, mutant or "reference", notebook), gpus=offered
        ).verdict

    return grading


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutant", "percent", "score", "outcome"),
    [("", 80, 100, Outcome.PASSED), ("claims_a_gpu", 0, 80, Outcome.FAILED)],
)
def test_the_gpus_points_are_for_a_gpu_that_worked(graded, mutant, percent, score, outcome):
    """All 100 where the host sees it busy; 80 where it does not, whatever the notebook says of itself."""
    verdict = graded(mutant, percent)
    assert (verdict.score, verdict.max_score) == (score, 100)
    assert next(check for check in verdict.checks if check.id == "gpu").outcome is outcome
    assert f"Run on a machine with {NAME}." in verdict.notes
