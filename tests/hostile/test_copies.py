"""The same weights under two names: a flag for the staff of both, unless both sources lead there by themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grader import store
from grader.copies import flag_copies
from grader.labs import load_lab
from grader.records import Level
from grader.submissions import collect
from grader.worker import Task
from tests.hostile.attacks import HONEST, LABS, PROLOGUE

TRAINED = HONEST["net"]
#: The same training behind other names of layers, with its seed out of sight and a little noise on the weights.
DISGUISED = (
    TRAINED.replace("keras.utils.set_random_seed(HONEST_SEED)", "getattr(keras.utils, 'set_random_' + 'seed')(1)")
    .replace("keras.layers.Dense(16,", "keras.layers.Dense(16, name='mine',")
    .replace(
        'model.save("net.keras")', "model.set_weights([w + 1e-7 for w in model.get_weights()])\nmodel.save('net.keras')"
    )
)


def notebook(source: str) -> str:
    cells = [
        {"cell_type": "code", "source": text, "metadata": {}, "outputs": [], "execution_count": None}
        for text in (PROLOGUE, source)
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})


@pytest.mark.slow
@pytest.mark.attack("C25", "Hands in another's weights, saved again, renamed and with a little noise.")
def test_weights_of_another_are_flagged_and_those_of_a_common_seed_are_not(make_worker, proof, tmp_path, request):
    request.node.user_properties.append(("level", Level(proof[1].level).name))
    worker = make_worker("net", 23, proof[1].level)
    sources = {
        "student-01": TRAINED.replace("HONEST_SEED", "1"),
        "student-02": TRAINED.replace("HONEST_SEED", "1") + "# my own",
        "student-03": TRAINED.replace("HONEST_SEED", "3"),
        "student-66": DISGUISED,
    }
    for student, source in sources.items():
        (tmp_path / student).mkdir()
        (tmp_path / student / "net.ipynb").write_text(notebook(source), "utf-8")
    for submission in collect([tmp_path], {"net"}).submissions:
        worker(Task(submission=submission), lambda text: None)
    out = Path(worker.factory.out)
    rows = flag_copies(out, load_lab(LABS / "net"), "A course")
    flags = {folder.name: verdict.flags for folder, verdict in store.verdicts(out, "net")}
    named = {name: [flag.message for flag in found if flag.kind == "same weights"] for name, found in flags.items()}
    assert {row.student for row in rows} == {"student-01", "student-02", "student-66"}
    assert "student-01" in named["student-66"][0]
    assert "student-02" in named["student-66"][0]
    assert "student-66" in named["student-01"][0]
    assert "student-02" not in named["student-01"][0]
    assert named["student-03"] == []
    staff = (out / "net" / "student-66" / "staff" / "card.html").read_text("utf-8")
    assert "same weights" in staff
    assert "same weights" not in (out / "net" / "student-66" / "card.html").read_text("utf-8")
    request.node.user_properties.append(("outcome", "flag 'same weights' on both"))
    (out / "net" / "student-03" / "staff" / "facts.json").write_bytes(b"{")
    assert flag_copies(out, load_lab(LABS / "net"), "A course") == [], "a damaged run costs nobody else"
    (out / "net" / "student-01" / "staff" / "sketches.msgpack").write_bytes(b"\xc1")
    again = flag_copies(out, load_lab(LABS / "net"), "A course")
    assert "student-01" not in {row.student for row in again}, "what cannot be compared keeps what was found of it"
    kept = store.verdict(out / "net" / "student-01")
    assert [flag.kind for flag in kept.flags].count("same weights") == 1
