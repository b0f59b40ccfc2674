"""Diagnosis: the errors that real notebooks end in get advice that a student can act on.

diagnosis/calls.toml holds old and mistaken code, diagnosis/messages.json what it really raised; the slow test runs all
of it again. What notebooks met in public is counted in diagnosis/real_notebooks.toml (see test_diagnosis_coverage.py).
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.diagnosis import RULES, advise, explain, foresee, read_code
from grader.diagnosis.advice import BY_ID, GENERIC
from grader.records import CellError

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).parent / "diagnosis"
TABLE = tomllib.loads((DATA / "calls.toml").read_text("utf-8"))
CALLS = TABLE["call"]
MESSAGES = json.loads((DATA / "messages.json").read_text("utf-8"))["messages"]
IMPORTS = (
    "import numpy as np, pandas as pd\nimport tensorflow as tf\nimport keras\nimport matplotlib.pyplot as plt\n"
    "model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])\nx, y = np.ones((2, 3)), np.ones((2, 1))"
)
NAMES = [f"{number}-{call['rule']}" for number, call in enumerate(CALLS)]


def source(call):
    return call["code"].strip("\n")


def failed(kind, message, code, cell=1, line=1):
    """The error of a run in one line of a cell."""
    lines = code[cell - 1].splitlines()
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    return CellError(cell=cell, kind=kind, message=message, line=line, source_line=shown)


# ---------------------------------------------------------------- what really happens


@pytest.mark.parametrize("call", CALLS, ids=NAMES)
def test_what_really_raises_gets_its_advice(call):
    """The recorded exception of old code is met by the right rule, and the student's own line is mended."""
    kind, message, line = MESSAGES[source(call)]
    cells = [IMPORTS, source(call)]
    (error,) = explain([failed(kind, message, cells, 2, line)], read_code(cells))
    assert error.advice is not None
    assert error.advice.rule == call["rule"]
    if call.get("new"):
        assert error.advice.new == call["new"]
        assert error.advice.old in "\n".join(text.strip() for text in source(call).splitlines())
    assert not re.search(r"\{(name|near|path|prefix|label|size|module|cell|owner|call)\}", repr(error.advice))


@pytest.mark.parametrize("call", CALLS, ids=NAMES)
def test_what_fails_for_certain_is_found_before_it_runs(call):
    """Reading alone finds it where the table says so, in its cell and with the same new line."""
    found = {finding.advice.rule: finding for finding in foresee(read_code([IMPORTS, source(call)]))}
    assert (call["rule"] in found) == call.get("before", False)
    if call.get("before"):
        finding = found[call["rule"]]
        assert (finding.cell, finding.fails) == (2, call.get("fails", True))
        if call.get("new"):
            assert finding.advice.new == call["new"]


@pytest.mark.parametrize("call", [call for call in CALLS if call.get("new")], ids=lambda call: call["rule"])
def test_mended_code_is_python_and_has_the_idiom_no_more(call):
    """With the new line in place the cell parses, and reading it again does not find the same thing."""
    kind, message, line = MESSAGES[source(call)]
    cells = [IMPORTS, source(call)]
    (error,) = explain([failed(kind, message, cells, 2, line)], read_code(cells))
    mended = source(call).replace(error.advice.old, error.advice.new, 1)
    ast.parse(mended)
    left = [finding.advice.rule for finding in foresee(read_code([IMPORTS, mended]))]
    assert call["rule"] not in left or call["rule"] == "tf1-layers"  # its functions became classes


@pytest.mark.slow
def test_the_recorded_messages_are_what_the_installed_versions_send():
    """Every piece of old code is run again; where a message changed, `python tools/diagnosis_messages.py` records it."""
    recorded = json.loads((DATA / "messages.json").read_text("utf-8"))
    assert set(recorded["messages"]) == {source(call) for kind in TABLE.values() for call in kind}
    tool = ROOT / "tools" / "diagnosis_messages.py"
    done = subprocess.run(
        [sys.executable, str(tool), "--check"], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-500:]


# ---------------------------------------------------------------- the student's own line


def test_the_students_line_is_shown_as_old():
    """old and new are one line before and after, not a stand-in beside the student's own."""
    advice = advise("ValueError", "Argument(s) not recognized: {'lr': 0.1}", "  opt = Adam(lr=0.1)  ")
    assert advice is not None
    assert (advice.old, advice.new) == ("opt = Adam(lr=0.1)", "opt = Adam(learning_rate=0.1)")


def test_a_stand_in_is_shown_where_the_line_is_not_known():
    """Without a source line the rule's own example stands in."""
    advice = advise("ValueError", "Argument(s) not recognized: {'lr': 0.1}", "")
    assert advice is not None
    assert advice.new == "Adam(learning_rate=0.001)"


@pytest.mark.parametrize("line", ["model.fit(x, y, nb_epoch=3", "for i in f(nb_epoch=model.fit(x, nb_epoch=3)):"])
def test_half_a_statement_is_mended_too(line):
    """A line cut off within a call, or a block's head, is read as far as it goes."""
    advice = advise("TypeError", "TensorFlowTrainer.fit() got an unexpected keyword argument 'nb_epoch'", line)
    assert advice is not None
    assert advice.new == line.replace("fit(x, nb_epoch", "fit(x, epochs").replace("y, nb_epoch", "y, epochs")


def test_the_cause_may_stand_in_an_earlier_cell():
    """A file name that was put into a variable two cells above is mended where it was written."""
    cells = [
        IMPORTS,
        'checkpoint_path = "training_1/cp.ckpt"  # 检查点',
        "cp = keras.callbacks.ModelCheckpoint(filepath=checkpoint_path,\n    save_weights_only=True)",
    ]
    message = MESSAGES[source(next(call for call in CALLS if call["rule"] == "checkpoint-weights-name"))][1]
    (error,) = explain([failed("ValueError", message, cells, 3)], read_code(cells))
    assert error.advice.old == 'checkpoint_path = "training_1/cp.ckpt"  # 检查点'
    assert error.advice.new == 'checkpoint_path = "training_1/cp.weights.h5"  # 检查点'


def test_a_line_of_data_is_not_shown():
    """A statement of a thousand characters would hide the advice: the example stands in."""
    line = f"opt = Adam(lr=0.1, note={'x' * 900!r})"
    (error,) = explain([failed("ValueError", "Argument(s) not recognized: {'lr': 0.1}", [line])], read_code([line]))
    assert error.advice.new == "Adam(learning_rate=0.001)"


def test_old_code_in_a_string_or_comment_is_left_alone():
    """Only code is edited: the same words in a text stay."""
    line = 'opt = Adam(lr=0.1)  # was Adam(lr=0.5), "lr=0.5"'
    advice = advise("ValueError", "Argument(s) not recognized: {'lr': 0.1}", line)
    assert advice.new == 'opt = Adam(learning_rate=0.1)  # was Adam(lr=0.5), "lr=0.5"'


# ---------------------------------------------------------------- languages


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_speaks_both_languages(rule):
    """Each text is a sentence, in English and in Chinese, and both name the same things."""
    assert rule.text.endswith(".")
    assert re.search(r"[。？]$", rule.zh)
    assert re.search(r"[\u4e00-\u9fff]", rule.zh)
    assert set(re.findall(r"\{\w+\}", rule.text)) == set(re.findall(r"\{\w+\}", rule.zh))


def test_advice_comes_in_the_language_asked_for():
    """The same advice in Chinese, with the same line."""
    arguments = ("ValueError", "Argument(s) not recognized: {'lr': 0.1}", "opt = Adam(lr=0.1)")
    english, chinese = advise(*arguments), advise(*arguments, language="zh")
    assert (english.old, english.new) == (chinese.old, chinese.new)
    assert "参数" in chinese.text


def test_rules_have_unique_ids_and_patterns_that_compile():
    """Each id occurs once, and each rule can match something."""
    assert len(BY_ID) == len(RULES)
    for rule in RULES:
        assert rule.message or rule.kinds
        re.compile(rule.message)
        re.compile(rule.line)
        assert rule.find is not None or not rule.before


def test_every_rule_that_reads_before_a_run_is_tried_on_real_code():
    """A rule that claims what will happen has a call that really raised it, or is an idle line."""
    tried = {call["rule"] for call in CALLS if call.get("before")}
    told = {rule.id for rule in RULES if rule.before == "fails"}
    assert {rule for rule in told - tried if not SAME_SHAPE.match(rule)} <= {"tensorboard-magic", "input"}


#: Rows of one list: one of them stands for all.
SAME_SHAPE = re.compile(r"(?:tf1-(?:optimizer|argument)|numpy|keras1|keras-optimizer|fit|evaluate|predict)-|tf1-[a-z]")


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("kind", "message", "line", "near"),
    [
        ("NameError", "name 'modle' is not defined", "modle.fit(x)", "model"),
        ("NameError", "name 'pritn' is not defined", "pritn(x)", "print"),
        ("AttributeError", "'Sequential' object has no attribute 'complie'", "model.complie()", "compile"),
        ("AttributeError", "module 'keras.layers' has no attribute 'Dence'", "keras.layers.Dence(3)", "Dense"),
        (
            "ImportError",
            "cannot import name 'Flaten' from 'keras.layers' (…)",
            "from keras.layers import Flaten",
            "Flatten",
        ),
    ],
)
def test_a_slip_of_the_pen_is_told_what_was_meant(kind, message, line, near):
    """What the notebook has, Python has, or labs commonly call, and that the missing name resembles."""
    cells = [IMPORTS, line]
    (error,) = explain([failed(kind, message, cells, 2)], read_code(cells))
    slip = re.search(r"(?:name|attribute) '(\w+)'", message)[1]
    assert (error.advice.old, error.advice.new) == (line, line.replace(slip, near))


def test_a_name_of_a_failed_cell_points_back_to_it():
    """A NameError that follows from an earlier failure says which cell to mend."""
    cells = [
        "import tensorflow as tf\ntf.enable_eager_execution()\nimport numpy as np\nrows = 3",
        "print(rows)",
        "sizes = {}\nsizes['small'] = rows\nsizes['Tiny'] = run()",
        "plot(sizes['Tiny'])",
    ]
    errors = [
        failed("AttributeError", "module 'tensorflow' has no attribute 'enable_eager_execution'", cells, 1, 2),
        failed("NameError", "name 'rows' is not defined", cells, 2, 1),
        failed("NameError", "name 'rows' is not defined", cells, 3, 2),
        failed("KeyError", "'Tiny'", cells, 4, 1),
    ]
    told = explain(errors, read_code(cells))
    assert [error.advice.rule for error in told] == ["tf1-eager", "follows", "follows", "follows"]
    assert "cell 1" in told[1].advice.text
    assert "cell 3" in told[3].advice.text


def test_what_stood_above_the_failing_line_was_made():
    """A name that was made before its cell failed is not missing because of it."""
    cells = ["rows = 3\nmodel.fit(lr=1)", "print(row)"]
    errors = [failed("TypeError", "x", cells, 1, 2), failed("NameError", "name 'row' is not defined", cells, 2, 1)]
    assert explain(errors, read_code(cells))[1].advice.rule == "name-near"


def test_a_cell_that_comes_too_late_is_named():
    """What is only made further down is told with its cell."""
    cells = ["train(model_a)", "model_a = build()"]
    (error,) = explain([failed("NameError", "name 'model_a' is not defined", cells)], read_code(cells))
    assert error.advice.rule == "name-later"
    assert "cell 2" in error.advice.text


# ---------------------------------------------------------------- no advice


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ValueError", "my own message"),
        ("KeyError", "'Tiny'"),
        ("AssertionError", ""),
        ("ZeroDivisionError", "division by zero"),
    ],
)
def test_no_advice_is_better_than_wrong_advice(kind, message):
    """An error that no rule knows gets none."""
    assert advise(kind, message, "x = f(y)") is None


def test_an_unknown_error_keeps_its_line_and_traceback():
    """Without advice the error itself is shown: nothing of it is lost."""
    error = CellError(
        cell=1, kind="Odd", message="why", line=2, source_line="y()", traceback="Traceback\n  y()\nOdd: why"
    )
    (told,) = explain([error], read_code(["x()\ny()"]))
    assert told == error


def test_the_students_own_error_in_a_gpu_free_line_is_not_blamed_on_the_gpu():
    """An IndexError elsewhere is not about GPUs."""
    assert advise("IndexError", "list index out of range", "x = items[7]") is None


# ---------------------------------------------------------------- whatever comes


@given(st.text(max_size=40), st.text(max_size=300), st.text(max_size=300))
def test_any_error_gets_advice_or_none(kind, message, line):
    """Whatever the texts, no exception."""
    advise(kind, message, line)


@given(st.lists(st.text(max_size=200), max_size=4), st.integers(-3, 9), st.integers(-3, 300))
def test_any_notebook_can_be_read(cells, cell, line):
    """Whatever the source and the place, no exception."""
    code = read_code(cells)
    foresee(code)
    error = CellError(cell=cell, kind="NameError", message="name 'lr' is not defined", line=line)
    explain([error, error], code)


@pytest.mark.parametrize(
    "cell",
    [
        "%%bash\npip install tensorflow==1.15\n",
        "%%html\n<b>lr=3</b>",
        "!pip install -q \\\n  tensorflow\nmodel.fit(x, nb_epoch=3)",
        "files = !ls\nlabel = %time f()\nmodel.fit?\n??model",
        "\x00",
        "(" * 50_000,
        "-" * 40_000 + "1",
        "x = [" + "1, " * 500_000 + "]",
        "f(" * 2_000 + ")" * 2_000,
        "lambda: " * 5_000 + "0",
        "'\\d'\nif 1 is 1: pass",
        "print 'hello'\nexec 'x'",
        "\ufeffimport keras\r\nmodel.fit(x, nb_epoch=3)\r\n",
        "\u200bmodel.fit(x)\n\ud800",
    ],
    ids=range(14),
)
def test_no_source_is_too_odd_to_be_read(cell):
    """Magics, other languages, nesting, megabytes and broken text neither raise nor stall."""
    begun = time.perf_counter()
    code = read_code([cell, "model.fit(x, nb_epoch=3)"])
    found = [finding for finding in foresee(code) if finding.cell == len(code.cells)]
    assert [finding.advice.rule for finding in found] == (["nb-epoch"] if len(cell) < 400_000 else [])
    assert time.perf_counter() - begun < 2.0


@pytest.mark.parametrize("message", ["x" * 10**6, "target.shape=(" * 10**5, "'" * 10**6, "has no attribute '" * 10**5])
def test_a_huge_message_costs_no_time(message):
    """Only the beginning is looked at, so a hostile message cannot stall the grader."""
    begun = time.perf_counter()
    for kind in ("ValueError", "AttributeError", "KeyError"):
        advise(kind, message, "(" * 10**6)
    assert time.perf_counter() - begun < 2.0


def test_generic_rules_exist():
    """The rules that yield to a better one are rules."""
    assert set(BY_ID) >= GENERIC
