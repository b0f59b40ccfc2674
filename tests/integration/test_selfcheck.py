"""The self-check, with real kernels and real TensorFlow: fresh runs on this machine, and live notebooks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from grader import wire
from grader.errors import LabError, SandboxError, UsageError
from grader.labs import load_lab
from grader.owntime import Patience, Wall
from grader.probe import Probe
from grader.records import Ending, Evidence, Level, Outcome, Tier
from grader.selfcheck import as_text, check, check_notebook
from grader.selfcheck.fresh import find_data
from grader.selfcheck.laptop import Laptop, PatientSocket
from grader.selfcheck.live import NOT_RECORDED, Here, find_lab
from grader.selfcheck.show import as_html
from grader.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
#: Read before the session hides it from the tests.
FULL_DATA = os.environ.get("GRADER_DATA", "")
SPEC = """
schema = 1
id = "flowers"
title = "Flowers"
data = "iris"
points = 100

[limits]
wall_s = 60
output_mb = 1
question_s = 30

[contract.model]
kind = "model"
aliases = ["net"]

[contract.answer]
kind = "value"

[files]
keep = ["*.txt", "*.keras"]

[thresholds.full.accuracy]
floor = 0.5
full = 0.9

[thresholds.lite.accuracy]
floor = 0.5
full = 0.9
"""
HIDDEN = '''
from grader.checks import VERIFIED, check

@check("secret", points=100, evidence=VERIFIED)
def test_secret(student, heldout, threshold):
    """Your model names flowers it has never seen."""
'''
PUBLIC = '''
import numpy as np
from grader.checks import OBSERVED, VERIFIED, as_array, check, require

@check("shape", points=10, evidence=VERIFIED)
def test_shape(student):
    """`model` gives three scores for every flower."""
    as_array(student.model.predict(np.ones((5, 4), "float32")), (5, 3), "the predictions")

@check("trained", points=10, evidence=OBSERVED)
def test_trained(student):
    """The model was trained."""
    require((student.model.training().get("moved") or 0) > 1e-6, "its weights did not move")

@check("answer", points=5, evidence=OBSERVED)
def test_answer(student):
    """`answer` is 42."""
    require(student.answer.value() == 42, "another number")

@check("file", points=5, evidence=VERIFIED)
def test_file(student):
    """The notebook saved `note.txt`."""
    student.files.first("note.txt")

@check("saved", points=5, evidence=VERIFIED)
def test_saved(student):
    """The notebook saved its model as `flowers.keras`."""
    as_array(student.files.first("flowers.keras").load_model().predict(np.ones((2, 4), "float32")), (2, 3))
'''
DATA = """
import pandas as pd
import tensorflow as tf
path = tf.keras.utils.get_file("iris_training.csv", origin="http://download.tensorflow.org/data/iris_training.csv")
flowers = pd.read_csv(path, names=["a", "b", "c", "d", "species"], header=0)
x, y = flowers[["a", "b", "c", "d"]].to_numpy("float32"), flowers["species"].to_numpy("int64")
"""
TRAIN = """
import numpy as np
import keras
net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
net.compile("adam", "sparse_categorical_crossentropy")
net.fit(np.random.rand(30, 4), np.arange(30) % 3, epochs=2, verbose=0)
"""
SAVE = """
net.save("flowers.keras")
open("note.txt", "w").write("new")
answer = 42
"""


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labs") / "flowers"
    for name, text in (
        ("lab.toml", SPEC),
        ("hidden_tests/test_flowers.py", HIDDEN),
        ("public_tests/test_flowers_public.py", PUBLIC),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return load_lab(folder)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """No cache and no state of whoever runs the tests."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def notebook(tmp_path):
    """Writes a notebook of these code cells into a student's folder."""

    def write(*cells: str) -> Path:
        path = tmp_path / "ada" / "flowers.ipynb"
        path.parent.mkdir(exist_ok=True)
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(c)) for c in cells])
        nbformat.write(made, path)
        return path

    return write


def outcomes(verdict):
    return {result.id: result.outcome for result in verdict.checks if result.points}


def passed(text: str) -> int:
    """How many checks a shown result lists as passed."""
    return sum(line.strip().startswith("Passed ") for line in text.splitlines())


def gone(pid: int, seconds: float = 15.0) -> bool:
    """Whether the process ends within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


# ---------------------------------------------------------------- a fresh run


@pytest.mark.slow
def test_a_right_notebook_passes_and_the_result_says_what_was_not_checked(lab, notebook, tmp_path):
    """A right notebook passes all public checks, and neither text nor card lets that look like full marks."""
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    told: list[str] = []
    result = check_notebook(notebook(DATA, TRAIN, SAVE), lab, Settings(), tmp_path / "out", told.append)
    assert set(outcomes(result.verdict).values()) == {Outcome.PASSED}
    assert result.verdict.checks[1].evidence is Evidence.VERIFIED, "the model was asked in the clean process"
    assert (result.verdict.ending, result.verdict.level, result.tier) == (Ending.OK, Level.L0, Tier.LITE)
    assert any("lite" in line for line in told), "the tier is told"
    text = as_text(result.verdict, result.not_checked)
    assert "Note: Data: lite" in text
    assert "Your model names flowers it has never seen. (100 points)" in text
    assert "does not mean full marks" in text
    card = result.card.read_text()
    assert "never seen" in card
    assert "L0, advisory" in card
    assert "public checks only" in card
    assert "0.9" not in "".join(result.not_checked), "no threshold is told"
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= before, "no process is left"


@pytest.mark.slow
def test_a_run_leaves_the_students_folder_alone_and_names_what_it_missed(lab, notebook, tmp_path):
    """Cells after an error still run; files beside the notebook are neither read nor overwritten, and are named."""
    path = notebook(
        "open('data.csv').read()",
        "import helper",
        "input('your name?')",
        "import random_, os",
        "from grader import check; check('flowers')",
        "%load_ext grader\n%grader_check flowers",
        "open('note.txt', 'w').write('new'); answer = 42",
    )
    (path.parent / "data.csv").write_text("1,2")
    (path.parent / "helper.py").write_text("x = 1")
    (path.parent / "note.txt").write_text("the student's own")
    (path.parent / "flowers.keras").write_text("left by an earlier run")
    result = check_notebook(path, lab, Settings(), tmp_path / "out")
    kinds = [error.kind for error in result.verdict.cell_errors]
    assert kinds == ["FileNotFoundError", "ModuleNotFoundError", "StdinNotImplementedError", "ModuleNotFoundError"]
    assert outcomes(result.verdict) == {
        "shape": Outcome.FAILED,
        "trained": Outcome.FAILED,
        "answer": Outcome.PASSED,
        "file": Outcome.PASSED,
        "saved": Outcome.FAILED,
    }, "a file from an earlier run passes no check"
    notes = " ".join(result.verdict.notes)
    assert "`data.csv` lies beside" in notes
    assert "`helper.py` lies beside" in notes
    assert "random_" not in notes
    assert (path.parent / "note.txt").read_text() == "the student's own"
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "data.csv",
        "flowers.ipynb",
        "flowers.keras",
        "helper.py",
        "note.txt",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "ending"),
    [
        ("while True: pass", Ending.TIMEOUT),
        ("import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass", Ending.TIMEOUT),
        ("for _ in range(100): print('x' * 100_000)", Ending.OUTPUT_FLOOD),
        ("import os, subprocess; subprocess.Popen(['sleep', '31415']); os._exit(3)", Ending.KERNEL_DIED),
    ],
    ids=["endless", "ignores-interrupts", "flood", "exit"],
)
def test_a_bad_cell_ends_the_run_and_earlier_credit_stays(lab, notebook, tmp_path, cell, ending):
    """A notebook that never finishes, floods or kills its kernel ends as such, and keeps what it had saved."""
    path = notebook("open('note.txt', 'w').write('new')", cell, "answer = 42")
    began = time.monotonic()
    result = check_notebook(path, lab, Settings(limits={"wall_s": 3}), tmp_path / "out")
    assert result.verdict.ending is ending
    assert outcomes(result.verdict)["file"] is Outcome.PASSED
    assert outcomes(result.verdict)["answer"] is Outcome.FAILED
    assert time.monotonic() - began < 90
    sleeping = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "31415"]]
    assert not sleeping, "what the notebook started ended with it"


@pytest.mark.slow
def test_chatter_on_stderr_is_held_against_nobody(lab, notebook, tmp_path):
    """What libraries print on stderr, C++ included, is no error: full points, no advice, a clean ending."""
    chatter = """
    import logging, os, sys, warnings
    os.write(2, b"E0000 cuda_dnn.cc:8310] Unable to register cuDNN factory\\n")
    print("W tensorflow/core: Cannot dlopen some GPU libraries.", file=sys.stderr)
    warnings.warn("No module named 'tensorflow.contrib'")
    logging.getLogger("tensorflow").error("AttributeError: module 'tensorflow' has no attribute 'Session'")
    """
    result = check_notebook(notebook(DATA, chatter, TRAIN, SAVE), lab, Settings(), tmp_path / "out")
    assert result.verdict.ending is Ending.OK
    assert (result.verdict.score, result.verdict.max_score) == (35, 35)
    assert (result.verdict.cell_errors, result.verdict.foreseen) == ((), ())


@pytest.mark.slow
def test_real_errors_are_advised_on_the_students_own_lines(lab, notebook, tmp_path):
    """Exceptions as a kernel reports them: the end of a long message is kept, and later errors point back."""
    cells = (
        TRAIN,
        "!pip install tensorflow==1.15",
        "net.fit(np.ones((4, 4)),\n        np.full(4, 7), verbose=0)",
        "history = net.fit(np.ones((4, 4)), np.zeros(4),\n                  nb_epoch=2)\nrows = 3",
        "print(rows)",
    )
    verdict = check_notebook(notebook(*cells), lab, Settings(), tmp_path / "out").verdict
    told = {error.cell: error for error in verdict.cell_errors}
    assert {cell: error.advice.rule for cell, error in told.items()} == {3: "labels-range", 4: "nb-epoch", 5: "follows"}
    assert (told[4].advice.old, told[4].advice.new) == ("nb_epoch=2)", "epochs=2)")
    assert [(finding.cell, finding.advice.rule) for finding in verdict.foreseen] == [(2, "version-old")]
    assert "here it is 2." in verdict.foreseen[0].advice.text
    text = as_text(verdict, ())
    assert "    + epochs=2)" in text
    assert "Cell 2, line 1, has no effect here" in text


@pytest.mark.slow
def test_the_kernel_talks_tcp_where_a_path_is_too_long(lab, notebook, tmp_path, monkeypatch):
    """Where temporary folders have long names (macOS), Jupyter's sockets are tcp ones on the loopback interface."""
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    cell = "import ipykernel.connect as c, json; i = json.loads(c.get_connection_info()); answer = 42\n"
    cell += "open('note.txt', 'w').write(i['transport'] + ' ' + i['ip']); assert i['transport'] == 'tcp', i"
    result = check_notebook(notebook(cell), lab, Settings(), tmp_path / "out")
    assert (result.verdict.ending, result.verdict.cell_errors) == (Ending.OK, ())
    assert not list(long.iterdir()), "nothing is left in the temporary folder"


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_interrupting_a_check_ends_its_kernel(lab, notebook, tmp_path, how):
    """Ctrl-C, or the end of the checking process, ends the kernel in the middle of a cell; no process stays."""
    pids = tmp_path / "pids"
    path = notebook(f"import os; open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{os.getppid()}}')\nwhile True: pass")
    script = f"""
        from pathlib import Path
        from grader.labs import load_lab
        from grader.selfcheck import check_notebook
        from grader.settings import Settings
        check_notebook(Path({str(path)!r}), load_lab(Path({str(lab.folder)!r})), Settings(), Path({str(tmp_path)!r}))
    """
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], env=environ, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 100
        while not (pids.exists() and len(pids.read_text().split()) == 2):
            assert time.monotonic() < deadline
            assert process.poll() is None, "the cell never began"
            time.sleep(0.1)
        kernel, driver = (int(word) for word in pids.read_text().split())
        process.send_signal(how)
        errors = process.stderr.read().decode()
        process.wait(30)
    assert how is signal.SIGKILL or "KeyboardInterrupt" in errors
    assert gone(kernel)
    assert gone(driver)
    assert how is signal.SIGKILL or not list(tmp_path.glob("grader-check-*")), "its folders are gone too"


def test_an_interpreter_that_cannot_run_notebooks_is_told_in_one_line(lab, notebook, tmp_path):
    """A kernel Python that does not exist, or has no Jupyter, gives one line that names it, not a traceback."""
    path = notebook("answer = 42")
    with pytest.raises(SandboxError, match="does not run"):
        check_notebook(path, lab, Settings(kernel_python=tmp_path / "none"), tmp_path / "out")
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'jupyter_client'\" >&2\nexit 1\n")
    bare.chmod(0o755)
    with pytest.raises(SandboxError, match="No module named 'jupyter_client'") as caught:
        check_notebook(path, lab, Settings(kernel_python=bare), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert "grader doctor" in str(caught.value)


def test_a_file_that_is_no_notebook_is_told_before_anything_starts(lab, tmp_path):
    """A PDF under a notebook's name is a usage error that names the file."""
    path = tmp_path / "flowers.ipynb"
    path.write_bytes(b"%PDF-1.7")
    with pytest.raises(UsageError, match="PDF"):
        check_notebook(path, lab, Settings(), tmp_path / "out")


def test_without_a_cache_the_lite_data_is_served_under_its_well_known_names(lab, tmp_path):
    """Where the Keras cache has no full data, the loaders are given a folder with the lite tier."""
    data = find_data(lab, Settings())
    assert data.source.tier is Tier.LITE
    assert (Path(data.folders[0]) / "iris_training.csv").is_file()


@pytest.mark.skipif(not FULL_DATA, reason="GRADER_DATA names no folder with the full data")
def test_a_folder_that_was_set_counts_before_the_cache(lab):
    """The full data of a folder that was set is served from there."""
    folder = Path(FULL_DATA)
    data = find_data(lab, Settings(data=folder))
    assert (data.source.tier, data.folders) == (Tier.FULL, (str(folder),))


def test_a_caller_without_the_token_is_turned_away(tmp_path):
    """Another program that calls the judge's port before the driver does gets nothing, and the driver still gets in."""
    with Laptop(sys.executable) as laptop, socket.create_server(("127.0.0.1", 0)) as server:

        def call(token: bytes) -> None:
            with socket.create_connection(server.getsockname()) as sock:
                sock.sendall(token)
                sock.recv(1)

        for token in (b"x" * 8, b"s3cret!!"):
            threading.Thread(target=call, args=(token,), daemon=True).start()
            time.sleep(0.2)
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            with (tmp_path / "errors").open("w+b") as errors:
                laptop._accept(server, "s3cret!!", process, errors).close()
        finally:
            process.communicate(b"\n")


def test_a_patient_socket_keeps_its_timeout_and_its_data():
    """Waiting in steps changes neither when a read gives up nor what it returns."""
    ours, theirs = socket.socketpair()
    with PatientSocket(fileno=ours.detach()) as patient, theirs:
        patient.settimeout(0.3)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            patient.recv(4)
        assert 0.25 <= time.monotonic() - began < 2
        theirs.sendall(b"data")
        assert patient.recv(4) == b"data"


# ---------------------------------------------------------------- a live notebook


def run_live(lab, tmp_path, *cells):
    """Run cells in an ordinary kernel beside the labs folder; returns everything they showed, as text and as HTML."""
    import nbclient

    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(c)) for c in cells])
    work = tmp_path / "live"
    work.mkdir()
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "GRADER_LABS": str(lab.folder.parent)}
    client = nbclient.NotebookClient(
        made, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(work)}}
    )

    async def run():
        async with client.async_setup_kernel(env=environ):
            for index, cell in enumerate(made.cells):
                await client.async_execute_cell(cell, index)

    asyncio.run(run())
    outputs = [output for cell in made.cells for output in cell.outputs]
    text = "".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in outputs)
    return text, "".join(o.get("data", {}).get("text/html", "") for o in outputs)


@pytest.mark.slow
def test_a_live_notebook_is_asked_in_its_own_process(lab, tmp_path):
    """`check` shows the public suite's result on the objects there are, and disturbs neither them nor chance."""
    text, html = run_live(
        lab,
        tmp_path,
        "from grader import check",
        TRAIN + SAVE,
        "import random\nrandom.seed(1); expected = random.random(); random.seed(1)\ncheck('flowers')",
        "assert random.random() == expected\nimport os; print(sorted(os.listdir()))",
        "answer = 43\ncheck('flowers')",
    )
    first, second = text.split("Flowers (self-check: public checks only)")[1:]
    assert passed(first) == 5
    assert "['flowers.keras', 'note.txt']" in first
    assert "Your `net` was graded as `model`." in first
    assert "from top to bottom" in first
    assert "never seen. (100 points)" in first
    assert passed(second) == 4, "it sees the objects as they are now"
    assert "another number" in second
    assert html.count("<table>") == 2
    assert "another number" in html


@pytest.mark.slow
def test_training_before_the_import_is_not_recorded_rather_than_failed(lab, tmp_path):
    """Where `check` is imported after training, checks on training are skipped and say what to do; others are asked."""
    text, _ = run_live(lab, tmp_path, TRAIN + SAVE, "from grader import check\ncheck('flowers')")
    assert NOT_RECORDED in text
    assert passed(text) == 4
    assert text.count(" Skipped ") == 1
    assert "Not yet" not in text


@pytest.mark.slow
def test_a_notebook_is_checked_by_magic_too(lab, tmp_path):
    """`%load_ext grader` in the first cell records training, `%grader_check` shows what `check` shows."""
    text, html = run_live(
        lab, tmp_path, "%load_ext grader", TRAIN + SAVE, "%grader_check flowers", "%grader_check rose"
    )
    assert passed(text) == 5
    assert "Next step" not in text, "nothing is left to correct in the public checks"
    assert html.count("<table>") == 1
    assert "unknown lab 'rose'" in text


def test_outside_a_notebook_check_says_what_to_do_in_one_line(capsys):
    """In a script `check` points at `grader check NOTEBOOK`."""
    check("flowers")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "grader check NOTEBOOK" in said


def test_a_lab_that_cannot_be_found_says_where_it_was_looked_for(lab, tmp_path):
    """Without labs the error names the folder and the variable to set; a misspelt id gets a suggestion."""
    with pytest.raises(UsageError, match="GRADER_LABS"):
        find_lab("flowers", Settings(labs=tmp_path / "labs"))
    with pytest.raises(UsageError, match="did you mean 'flowers'"):
        find_lab("flower", Settings(labs=lab.folder.parent))
    with pytest.raises((UsageError, LabError)):
        find_lab("../flowers", Settings(labs=lab.folder.parent))


def test_files_that_are_put_are_found_where_they_were_put(tmp_path):
    """In one's own process a question's path points into the temporary folder, and the work folder stays as it is."""
    here = Here(Probe({"read": lambda path: Path(path).read_text()}), tmp_path)
    here.send(wire.PutFile("training_1/cp.index", b"weights"))
    ask = wire.Call(wire.Name("read"), (wire.Const(wire.Lit("training_1/cp.index")),))
    here.send(wire.Ask("n", ask))
    answer = here.hear(Patience(1.0, Wall()))
    assert answer.value == wire.Lit("weights")
    assert not Path("training_1").exists()


def test_what_a_notebook_says_is_escaped_and_kept_to_a_line():
    """Names and messages of a notebook cannot add markup or lines to the result."""
    from grader.records import CheckResult, Environment, Verdict

    bad = CheckResult(
        id="a",
        description="A check.",
        points=1,
        score=0,
        outcome=Outcome.FAILED,
        required=Evidence.OBSERVED,
        found="<script>alert(1)</script>\n\x1b[31mpassed  1/1",
    )
    verdict = Verdict(
        lab="flowers",
        lab_title="Flowers",
        student="",
        submission="",
        ending=Ending.OK,
        score=0,
        max_score=1,
        checks=(bad,),
        level=Level.L0,
        tier=Tier.FULL,
        environment=Environment(grader="", python="", platform=""),
    )
    assert "<script>" not in as_html(verdict, ("x",))
    text = as_text(verdict, ("x",))
    assert "\x1b" not in text
    assert not any(line.strip().lower().startswith("passed") for line in text.splitlines())


# ---------------------------------------------------------------- other systems


@pytest.mark.slow
def test_the_self_check_imports_where_unix_is_missing():
    """What a student's Windows imports for the self-check needs no module, call or constant that only Unix has."""
    script = f"""
        import importlib, os, signal, socket, sys
        import asyncio, concurrent.futures, jupyter_client.manager, multiprocessing, nbclient, nbformat, psutil, pytest
        import babel, click, jinja2, numpy, PIL.Image, pygal, subprocess, tempfile
        UNIX = {{"resource", "fcntl", "pwd", "grp", "termios"}}
        class Missing:
            def find_spec(self, name, path=None, target=None):
                if name in UNIX:
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Missing())
        for name in UNIX:
            sys.modules.pop(name, None)
        lost = ((os, ("fork", "getuid", "setsid", "killpg", "O_NOFOLLOW", "O_NONBLOCK", "WNOHANG", "fchmod", "chown")),
                (socket, ("AF_UNIX", "SCM_CREDENTIALS", "SO_PASSCRED", "send_fds", "recv_fds", "CMSG_SPACE")),
                (signal, ("SIGKILL", "SIGALRM", "setitimer", "ITIMER_REAL", "SIGCHLD", "SIGHUP")))
        for module, names in lost:
            for name in names:
                if hasattr(module, name):
                    delattr(module, name)
        sys.path.insert(0, {json.dumps(str(ROOT))})
        for name in ("selfcheck", "driver.portable", "runner", "zygote", "sandbox", "batch", "cli", "probe.hooks"):
            importlib.import_module(f"grader.{{name}}")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
