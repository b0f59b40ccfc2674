"""Reading before a run: what fails is found, what works is left alone, and it costs next to nothing."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path

import pytest

from grader.checks.judge import Judged
from grader.diagnosis import advise, explain, foresee, read_code, still_ahead
from grader.grading import Setting, foreseen, make_verdict
from grader.labs import load_lab
from grader.labs.starter import starter
from grader.records import CellError, Ending, Environment, Exhibits, Gpus, Level
from grader.reports import render_card
from grader.reports.language import words
from grader.runner import RunFacts
from grader.selfcheck.show import foretold
from grader.submissions import Cell, Submission

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).parent / "diagnosis"
TABLE = tomllib.loads((DATA / "calls.toml").read_text("utf-8"))
IMPORTS = (
    "import numpy as np, pandas as pd\nimport tensorflow as tf\nimport keras\nimport matplotlib.pyplot as plt\n"
    "model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])\nx, y = np.ones((2, 3)), np.ones((2, 1))"
)
GOOD = sorted(
    path
    for path in (*ROOT.glob("reference_solutions/*.ipynb"), *ROOT.glob("submissions/*/*.ipynb"))
    if not any(part in str(path) for part in ("crashes-half-way/mnist", "legacy-keras"))
)


def cells(path):
    notebook = json.loads(path.read_text("utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def rules(findings):
    return [finding.advice.rule for finding in findings]


# ---------------------------------------------------------------- no false alarm


@pytest.mark.parametrize("path", GOOD, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_nothing_is_said_of_solutions_and_good_samples(path):
    """What runs to its end today is not said to fail."""
    assert rules(foreseen(load_lab(ROOT / "labs" / path.stem), read_code(cells(path)), "en")) == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("reference_solutions/*.ipynb")), ids=lambda path: path.stem)
def test_nothing_is_said_of_starters(path):
    """A starter is what a course hands out: it may not begin with a warning."""
    notebook = starter(json.loads(path.read_text("utf-8")))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert rules(foreseen(load_lab(ROOT / "labs" / path.stem), read_code(code), "en")) == []


@pytest.mark.parametrize("fine", TABLE["fine"], ids=range(len(TABLE["fine"])))
def test_nothing_is_said_of_what_works(fine):
    """Code that only looks like an old idiom, and that the installed versions run, is left alone."""
    code = fine["code"].strip("\n")
    assert json.loads((DATA / "messages.json").read_text("utf-8"))["messages"][code] is None
    assert rules(foresee(read_code([IMPORTS, code]), tensorflow="2.21.0")) == []


@pytest.mark.parametrize("quiet", TABLE["quiet"], ids=lambda quiet: quiet["rule"])
def test_what_silently_does_nothing_is_told(quiet):
    """No error would ever say it: the line runs, and has no effect."""
    assert json.loads((DATA / "messages.json").read_text("utf-8"))["messages"][quiet["code"]] is None
    (finding,) = foresee(read_code([IMPORTS, quiet["code"]]))
    assert (finding.advice.rule, finding.advice.new, finding.fails) == (quiet["rule"], quiet["new"], False)


# ---------------------------------------------------------------- what is found


def test_old_samples_are_found_out_before_they_run():
    """The sample class's legacy notebook: three cells that fail, each with its new line."""
    path = ROOT / "submissions" / "student-06-legacy-keras" / "mnist.ipynb"
    found = foreseen(load_lab(ROOT / "labs" / "mnist"), read_code(cells(path)), "en")
    assert [(finding.cell, finding.advice.rule) for finding in found] == [
        (3, "optimizer-lr"),
        (4, "nb-epoch"),
        (5, "predict-classes"),
    ]
    assert found[1].advice.new == "history = model.fit(x_train, y_train, batch_size=128, epochs=5, verbose=2)"


def test_a_line_in_a_function_fails_only_when_it_is_called():
    """It is said so."""
    (finding,) = foresee(read_code([IMPORTS, "def f():\n    return tf.Session()"]))
    assert finding.in_function
    assert foretold([finding], words("en"))[0].startswith(
        "Cell 2, line 2, fails when it is called: return tf.Session()"
    )


def test_empty_cells_do_not_count():
    """Cells are numbered as a run numbers them."""
    (finding,) = foresee(read_code(["", IMPORTS, "  \n", "model.fit(x, nb_epoch=3)"]))
    assert finding.cell == 2


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('tf.keras.utils.get_file("iris_training.csv", "https://example.org/iris_training.csv")', []),
        ('url = "https://example.org/iris_training.csv"\npd.read_csv(url)', []),
        ('tf.keras.utils.get_file("cats.zip", "https://example.org/cats.zip")', ["network"]),
        ('url = "https://example.org/cats.csv"\npd.read_csv(url)', ["network"]),
        ("keras.datasets.cifar10.load_data()", ["network"]),
        ("from tensorflow.keras.datasets import mnist\nmnist.load_data()", ["network"]),
        ('pd.read_csv("C:/Users/me/iris_training.csv")', []),
    ],
)
def test_a_download_fails_unless_it_is_the_labs_own_data(code, found):
    """The lab's files are found by name whatever the address; everything else has no network."""
    lab = load_lab(ROOT / "labs" / "iris")
    assert rules(foreseen(lab, read_code([IMPORTS, code]), "en")) == found


def test_a_notebook_of_nothing_but_old_code_is_cut_short():
    """Twenty findings say it."""
    assert len(foresee(read_code([IMPORTS, *["tf.Session()"] * 99]))) == 20


# ---------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("code", "rule", "fails"),
    [
        ("%tensorflow_version 1.x", "version-old", False),
        ("!pip install -q tensorflow==1.15", "version-old", False),
        ('!pip install "tensorflow-gpu==2.0.0-beta1"', "version-keras2", False),
        ("%pip install tensorflow==2.3", "version-keras2", False),
        ("!pip install tensorflow~=2.18.0", "version-near", False),
        ('assert tf.__version__ == "1.14.0"', "version-old", True),
        ('assert tf.__version__.startswith("2.0")', "version-keras2", True),
        ("%tensorflow_version 2.x", "tf1-version-magic", False),
        ("!pip install tensorflow", "shell-install", False),
        ("!pip install tensorflow==2.21.0", "shell-install", False),
    ],
)
def test_a_notebook_that_asks_for_another_version_is_told_what_that_means(code, rule, fails):
    """Which one it asks for, which one is here, and whether the code runs on it."""
    (finding,) = foresee(read_code([IMPORTS, code]), tensorflow="2.21.0")
    assert (finding.advice.rule, finding.fails) == (rule, fails)
    if rule.startswith("version-"):
        assert "here it is 2.21.0" in finding.advice.text
        (chinese,) = foresee(read_code([IMPORTS, code]), tensorflow="2.21.0", language="zh")
        assert "这里是 2.21.0" in chinese.advice.text


def test_a_line_to_delete_is_the_students_own():
    """Not an example of one: what stands in this notebook, and nothing in its place."""
    for line in ("!pip install -q seaborn pandas", "  !wget https://example.org/x.csv", "%tensorflow_version 2.x"):
        (finding,) = foresee(read_code([IMPORTS, f"x = 1\n{line.strip()}"]))
        assert (finding.advice.old, finding.advice.new, finding.line) == (line.strip(), "", 2)


def test_a_path_of_another_computer_is_mended_where_it_was_written():
    """In the line that made the variable, with the quotes that stand there."""
    code = read_code([IMPORTS, "PATH = '/home/me/cars.csv'", "data = pd.read_csv(PATH)"])
    message = "[Errno 2] No such file or directory: '/home/me/cars.csv'"
    (error,) = explain([CellError(cell=3, kind="FileNotFoundError", message=message, line=1)], code)
    assert (error.advice.old, error.advice.new) == ("PATH = '/home/me/cars.csv'", "PATH = 'cars.csv'")


# ---------------------------------------------------------------- after the run


def test_a_run_refutes_what_was_foreseen():
    """What ran is not said to fail, what failed is told by its error, and what was not reached stays."""
    code = read_code([IMPORTS, "model.fit(x, nb_epoch=3)\nmodel.predict_classes(x)", "tf.Session()", "!pip install x"])
    found = foresee(code)
    assert rules(found) == ["nb-epoch", "predict-classes", "tf1-graph", "shell-install"]
    assert rules(still_ahead(found, (), 4)) == ["shell-install"]
    message = "TensorFlowTrainer.fit() got an unexpected keyword argument 'nb_epoch'"
    errors = explain([CellError(cell=2, kind="TypeError", message=message, line=1)], code)
    assert rules(still_ahead(found, errors, 4)) == ["predict-classes", "shell-install"]
    assert rules(still_ahead(found, errors, 2)) == ["predict-classes", "tf1-graph", "shell-install"]


# ---------------------------------------------------------------- on the card


def verdict(code, language, packages, errors=(), python="3.12.1", gpus=None):
    """The verdict on a run of these cells that ended with these errors."""
    lab = load_lab(ROOT / "labs" / "mnist")
    submission = Submission(
        student="s1001",
        slug="s1001",
        lab="mnist",
        source="x",
        sha256="0" * 64,
        size=1,
        cells=tuple(Cell(kind="code", source=text) for text in code),
        language=language,
    )
    environment = Environment(grader="1", python=python, platform="Linux", packages=packages)
    ending = Ending.CELL_ERROR if errors else Ending.OK
    facts = RunFacts(ending=ending, cell_errors=errors, cells_run=len(code), environment=environment, gpus=gpus)
    setting = Setting(lab, None, None, "", lab.limits, Level.L2)
    return make_verdict(setting, submission, facts, Judged(results=()), ())


@pytest.mark.parametrize(("language", "title"), [("en", "Found by reading"), ("zh", "阅读代码时发现")])
def test_a_card_shows_what_reading_found_and_escapes_it(language, title):
    """In its language, with the student's own line as text; it costs no point and is no cell that failed."""
    code = [IMPORTS, "!pip install tensorflow==1.15 <script>alert(1)</script>"]
    made = verdict(code, language, {"tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6"})
    assert rules(made.foreseen) == ["version-old"]
    assert (made.cell_errors, made.score, made.notes) == ((), 0.0, ())
    html = render_card(made, Exhibits(), edition="student", course_name="", language=language)
    assert title in html
    assert "2.21.0" in html
    assert "<script>alert" not in html


def test_a_card_says_so_where_the_machines_versions_do_not_fit():
    """A misfit of the machine is told on the card, in words and with what goes together."""
    made = verdict([IMPORTS], "en", {"tensorflow": "2.18.1", "keras": "3.4.0", "numpy": "2.2.0"})
    assert made.notes == (
        "This machine has keras 3.4.0, and TensorFlow 2.18.1 needs `keras>=3.5`.",
        "This machine has numpy 2.2.0, and TensorFlow 2.18.1 needs `numpy>=1.26,<2.1`.",
    )


def test_a_card_says_so_where_python_or_cuda_does_not_fit():
    """CUDA matters only where there is a GPU to use; newer within its major version fits."""
    cuda = "nvidia-cuda-runtime-cu12"
    packages = {
        "tensorflow": "2.21.0",
        "keras": "3.15.1",
        "numpy": "2.4.6",
        cuda: "12.3.101",
        "nvidia-cudnn-cu12": "9.28.0.42",
    }
    assert verdict([IMPORTS], "en", packages).notes == ()
    notes = verdict([IMPORTS], "en", packages, python="3.9.2", gpus=Gpus(cards=("a card",))).notes
    assert notes == (
        "This machine has python 3.9.2, and TensorFlow 2.21.0 needs `python>=3.10,<3.14`.",
        f"This machine has {cuda} 12.3.101, and TensorFlow 2.21.0 needs `{cuda}>=12.5,<13.0`.",
        "Run on a machine with a card.",
    )


def test_an_error_in_a_chinese_notebook_is_advised_in_chinese():
    """The verdict carries the language of the card."""
    error = CellError(cell=1, kind="ValueError", message="Argument(s) not recognized: {'lr': 0.1}", line=1)
    made = verdict(["opt = Adam(lr=0.1)"], "zh", {}, (error,))
    assert "参数" in made.cell_errors[0].advice.text
    assert made.cell_errors[0].advice.new == "opt = Adam(learning_rate=0.1)"


# ---------------------------------------------------------------- cost


def test_an_ordinary_notebook_is_read_within_20_milliseconds():
    """Read, looked through and advised on: the best of five, on the longest reference."""
    path = max(ROOT.glob("reference_solutions/*.ipynb"), key=lambda item: sum(map(len, cells(item))))
    sources = cells(path)
    error = CellError(cell=3, kind="ValueError", message="Argument(s) not recognized: {'lr': 0.1}", line=2)
    taken = []
    for _ in range(5):
        begun = time.process_time()
        code = read_code(sources)
        explain([error], code)
        foresee(code)
        taken.append(time.process_time() - begun)
    assert min(taken) < 0.020


def test_chatter_of_libraries_is_no_error():
    """What TensorFlow prints on stderr comes as text, never as an exception, and no rule takes it for one."""
    for line in (
        "E0000 00:00:1 cuda_dnn.cc:8310] Unable to register cuDNN factory: Attempting to register factory",
        "W tensorflow/core/common_runtime/gpu/gpu_device.cc:2343] Cannot dlopen some GPU libraries.",
        "I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow binary is optimized to use AVX2",
        "WARNING:tensorflow:5 out of the last 5 calls triggered tf.function retracing.",
    ):
        assert advise("", line) is None
