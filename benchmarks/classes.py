"""A class for each system: the same notebook in the form that each of them grades.

The notebook loads iris, holds thirty flowers back, and trains a small dense network for thirty epochs. nbgrader and
otter test its accuracy on those thirty inside the kernel; the grader's hidden suite asks the model about flowers that
the notebook never saw. This notebook is the class because training takes so little of it: what a grader adds shows.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

SOLUTION = """\
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_iris
from tensorflow import keras

keras.utils.set_random_seed(0)
flowers, species = load_iris(return_X_y=True)
shuffled = np.random.RandomState(0).permutation(150)
flowers, species = flowers[shuffled].astype("float32"), species[shuffled]
x_train, y_train, x_test, y_test = flowers[:120], species[:120], flowers[120:], species[120:]
model = keras.Sequential(
    [
        keras.layers.Input((4,)),
        keras.layers.Dense(10, activation="relu"),
        keras.layers.Dense(10, activation="relu"),
        keras.layers.Dense(3, activation="softmax"),
    ]
)
model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x_train, y_train, epochs=30, batch_size=32, verbose=0)
"""
ACCURACY = "accuracy = (model.predict(x_test, verbose=0).argmax(axis=1) == y_test).mean()"
TEST = f"{ACCURACY}\nassert accuracy > 0.85, accuracy"


def code(source: str, **metadata: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": metadata, "outputs": [], "execution_count": None}


def raw(source: str) -> dict[str, Any]:
    return {"cell_type": "raw", "source": source, "metadata": {}}


def write(path: Path, cells: list[dict[str, Any]]) -> None:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}
    path.write_text(json.dumps(notebook), encoding="utf-8")


def students(n: int) -> list[str]:
    return [f"student{number:04d}" for number in range(n)]


def with_path(binaries: Path) -> dict[str, str]:
    """An environment in which the other systems find what they start by name."""
    return {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}


def prepare(command: list[str], root: Path, binaries: Path) -> None:
    done = subprocess.run(command, cwd=root, env=with_path(binaries), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


# ---------------------------------------------------------------- nbgrader


def nbgrader_course(root: Path, n: int, binaries: Path) -> None:
    """A course with the assignment released and ``n`` submissions of the solution."""
    both = {"schema_version": 3, "task": False}
    cells = [
        code(
            f"### BEGIN SOLUTION\n{SOLUTION}### END SOLUTION",
            nbgrader={**both, "grade_id": "train", "grade": False, "solution": True, "locked": False},
        ),
        code(
            f"### BEGIN HIDDEN TESTS\n{TEST}\n### END HIDDEN TESTS",
            nbgrader={**both, "grade_id": "test", "grade": True, "solution": False, "locked": True, "points": 1},
        ),
    ]
    for folder in ("source/iris", *(f"submitted/{student}/iris" for student in students(n))):
        write(root / folder / "iris.ipynb", cells)
    # Its four seconds without output are fewer than TensorFlow's import takes from a cold disk.
    settings = "c = get_config()\nc.CourseDirectory.course_id = 'bench'\nc.ExecutePreprocessor.iopub_timeout = 60\n"
    (root / "nbgrader_config.py").write_text(settings, encoding="utf-8")
    prepare(["nbgrader", "generate_assignment", "iris"], root, binaries)


def check_nbgrader(root: Path, n: int) -> None:
    """Every submission was graded, by executing it."""
    graded = sorted((root / "autograded").glob("*/iris/iris.ipynb"))
    assert len(graded) == n, f"nbgrader graded {len(graded)} of {n}"
    for path in graded:
        cells = [cell for cell in json.loads(path.read_bytes())["cells"] if cell["cell_type"] == "code"]
        assert all(cell["execution_count"] for cell in cells), path


# ---------------------------------------------------------------- otter


def otter_course(root: Path, n: int, binaries: Path) -> list[list[str]]:
    """The commands that grade ``n`` submissions; `otter run` takes one."""
    test = code(f"{ACCURACY}\nbool(accuracy > 0.85)")
    test["outputs"] = [
        {"output_type": "execute_result", "data": {"text/plain": "True"}, "metadata": {}, "execution_count": 1}
    ]
    write(
        root / "iris.ipynb",
        [
            raw("# ASSIGNMENT CONFIG\nname: iris\ngenerate: true\nexport_cell: false"),
            *(raw("# BEGIN QUESTION\nname: train\npoints: 1"), raw("# BEGIN SOLUTION")),
            *(
                code(SOLUTION),
                raw("# END SOLUTION"),
                raw("# BEGIN TESTS"),
                test,
                raw("# END TESTS"),
                raw("# END QUESTION"),
            ),
        ],
    )
    prepare(["otter", "assign", "iris.ipynb", "dist", "--no-run-tests"], root, binaries)
    autograder = root / "dist" / "autograder"
    (archive,) = autograder.glob("*.zip")
    return [[str(binaries / "otter"), "run", "-a", str(archive), str(autograder / "iris.ipynb")]] * n


# ---------------------------------------------------------------- the grader


def notebooks(folder: Path, n: int) -> None:
    """<student>/iris.ipynb, each with bytes of its own."""
    for student in students(n):
        write(folder / student / "iris.ipynb", [code(f"# {student}\n{SOLUTION}")])


def copies(notebook: Path, folder: Path, n: int) -> None:
    """<student>/<lab>.ipynb, the given notebook with a first cell that names the student."""
    content = json.loads(notebook.read_bytes())
    for student in students(n):
        write(folder / student / notebook.name, [code(f"# {student}"), *content["cells"]])


LIVE = '''\
"""The accuracy, asked of the notebook's own model."""

from grader.checks import VERIFIED, assert_accuracy, check


@check("accuracy", points=100, evidence=VERIFIED)
def test_names_unseen_flowers(student, heldout, threshold):
    """Your model names the species of flowers it has never seen."""
    scores = student.model.call(heldout.inputs, want="value")
    assert_accuracy(scores, heldout.labels, threshold("accuracy"))
'''


def live_lab(folder: Path, lab: Path) -> Path:
    """A folder of labs with a variant of iris: to it the model is a function, so nothing is kept and loaded again."""
    made = folder / "labs" / lab.name
    (made / "hidden_tests").mkdir(parents=True)
    spec = (lab / "lab.toml").read_text(encoding="utf-8")
    head, contracts = spec.split("[contract.model]", 1)
    model = '[contract.model]\nkind = "function"\ndescription = "From four measurements to three species."\n'
    thresholds = contracts[contracts.index("[thresholds.") :]
    (made / "lab.toml").write_text(head + model + "\n" + thresholds, encoding="utf-8")
    (made / "hidden_tests" / "test_live.py").write_text(LIVE, encoding="utf-8")
    for handout in lab.glob("handout*.md"):
        shutil.copy(handout, made)
    return folder / "labs"


def check_cards(out: Path, n: int) -> None:
    """Every submission was run to its end, judged, and got its card."""
    cards = len(list(out.glob("*/*/card.html")))
    assert cards == n, f"{cards} cards of {n}"
    for path in out.glob("*/*/staff/result.json"):
        verdict = json.loads(path.read_bytes())
        assert verdict["ending"] == "ok", (path, verdict["ending"], verdict["ending_detail"])
        accuracy = next((check for check in verdict["checks"] if check["id"] == "accuracy"), None)
        assert accuracy is None or accuracy["outcome"] == "passed", accuracy


def mounted(lab: str, data: Path | None = None, tier: str | None = None) -> Path:
    """The folder with the lab's data that a sandbox would show, of that tier, or else of the one that is there."""
    from grader.labs import load_lab
    from grader.records import Level, Tier
    from grader.settings import load_settings
    from grader.worker import prepare as made_ready

    folder = Path(__file__).resolve().parent.parent / "labs" / lab
    settings = load_settings(None, os.environ, {"data": data})
    found = made_ready(load_lab(folder), settings, Level.L0, Tier(tier) if tier else None).mounted
    assert found is not None, f"{lab} has no data"
    return found


def imports(cells: str) -> str:
    """The import statements of a script, wherever in it they stand."""
    found = [node for node in ast.walk(ast.parse(cells)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return "".join(f"{ast.unparse(node)}\n" for node in found)


def script(notebook: Path) -> str:
    """A notebook's code cells as one script."""
    cells = json.loads(notebook.read_bytes())["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code") + "\n"
