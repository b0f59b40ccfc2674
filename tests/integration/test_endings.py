"""How a run ends, seen from outside: one notebook for each ending, and what stays of the work done before it."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from grader import runner, wire
from grader.grading import Setting, grade_submission, refused
from grader.records import Ending, Level, Outcome
from grader.sandbox import cgroups
from grader.submissions import collect
from tests.lacking import lacking

SAVE = "open('before.txt', 'w').write('done before the end')"
KEEP = ("before.txt",)


def kept(run):
    return {artifact.path for artifact in run.facts.artifacts}


def test_a_notebook_that_runs_through_is_ok(notebook):
    """Its files are collected, its executed copy is kept, and its kernel waits for questions."""
    run = notebook("x = 6 * 7", SAVE, "print(x)", keep=KEEP)
    assert run.facts.ending is Ending.OK
    assert run.facts.cell_errors == ()
    assert kept(run) == {"before.txt"}
    assert b"42" in run.facts.executed
    run.link.send(wire.Ask("n", wire.Name("x")))
    assert run.link.receive(deadline(5)).value == wire.Lit(42)


def deadline(seconds):
    return time.monotonic() + seconds


def test_an_exception_ends_its_cell_and_not_the_notebook(notebook):
    """The card says which cell, which line and what; cells after it are run, so that credit of theirs is not lost."""
    run = notebook("a = 1", "b = 2\n\nc = undefined + b", "d = 4\n" + SAVE, keep=KEEP)
    assert run.facts.ending is Ending.CELL_ERROR
    (error,) = run.facts.cell_errors
    assert (error.cell, error.line, error.kind) == (2, 3, "NameError")
    assert error.source_line == "c = undefined + b"
    assert "undefined" in error.message
    assert kept(run) == {"before.txt"}
    assert run.link is not None


def test_an_exception_without_unicode_is_an_error_too(notebook):
    """A lone surrogate in its text must not make it vanish."""
    run = notebook("raise ValueError('bad \\ud800 text')", SAVE, keep=KEEP)
    assert run.facts.ending is Ending.CELL_ERROR
    assert run.facts.cell_errors[0].kind == "ValueError"


@pytest.mark.parametrize("source", ["raise SystemExit(1)", "import sys\nsys.exit()"])
def test_leaving_the_notebook_is_an_error_of_that_cell(notebook, source):
    """SystemExit in a cell ends nothing but the cell."""
    run = notebook(source, SAVE, keep=KEEP)
    assert run.facts.ending is Ending.CELL_ERROR
    assert run.facts.cell_errors[0].kind == "SystemExit"
    assert kept(run) == {"before.txt"}


@pytest.mark.parametrize("call", ["quit()", "exit()", "exit", "quit(keep_kernel=False)"])
def test_a_notebook_that_quits_is_asked_as_any_other(notebook, call):
    """IPython would end the kernel a tenth of a second later: before it was asked, or after, as it happened."""
    run = notebook(call, "import time; time.sleep(0.3)", "after = 1", SAVE, keep=KEEP)
    assert (run.facts.ending, run.facts.cell_errors) == (Ending.OK, ())
    assert kept(run) == {"before.txt"}
    assert "no effect here" in run.facts.executed.decode()


def test_shell_lines_without_a_terminal_or_a_network_are_nobodys_error(notebook):
    """Each ends in a moment and says why it failed; the cell goes on, and knows the exit code."""
    run = notebook(
        "!echo hello; echo wrong >&2\n!exit 3\ncode = _exit_code",
        f"!{sys.executable} -m pip install a-package-that-nobody-has\nafter = 1",
        "%pip install another\nlater = 2",
        "%tensorflow_version 1.x\nfollowing = 4",
        "!kill -9 $$\nfiles = !echo one; echo two\nkilled = _exit_code",
        "print(code, after, later, following, killed, files)",
    )
    assert (run.facts.ending, run.facts.cell_errors) == (Ending.OK, ())
    shown = run.facts.executed.decode()
    assert "hello" in shown
    assert "wrong" in shown
    assert "No matching distribution" in shown
    last = json.loads(shown)["cells"][-1]["outputs"]  # a busy kernel may send what one print says in pieces
    assert "".join("".join(part["text"]) for part in last) == "3 1 2 4 -9 ['one', 'two']\n"
    assert run.facts.timings["own"] < 20


def test_a_shell_line_that_never_ends_is_ended_with_its_notebook(notebook):
    run = notebook(SAVE, "!sleep 600", "x = 1", limits={"wall_s": 2}, keep=KEEP)
    assert run.facts.ending is Ending.TIMEOUT
    assert kept(run) == {"before.txt"}
    assert run.link is not None


def test_waiting_for_input_does_not_hang(notebook):
    """There is nobody to type."""
    run = notebook("name = input('who? ')")
    assert run.facts.ending is Ending.CELL_ERROR
    assert run.facts.cell_errors[0].kind == "StdinNotImplementedError"


@pytest.mark.slow
def test_a_notebook_that_never_ends_is_interrupted_when_its_time_is_up(notebook):
    """What it made and knew until then still counts: the kernel can be asked."""
    run = notebook("x = 6", SAVE, "while True: pass", "y = 7", limits={"wall_s": 2}, keep=KEEP)
    assert run.facts.ending is Ending.TIMEOUT
    assert run.facts.ending_detail == "in code cell 3"
    assert kept(run) == {"before.txt"}
    assert run.facts.timings["own"] < 8
    run.link.send(wire.Ask("n", wire.Name("x")))
    assert run.link.receive(deadline(5)).value == wire.Lit(6)


STUBBORN = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    try:
        time.sleep(0.1)
    except BaseException:
        pass
"""


@pytest.mark.slow
def test_a_notebook_that_ignores_interrupts_is_killed(notebook):
    """Its files stay, its kernel does not."""
    run = notebook(SAVE, STUBBORN, limits={"wall_s": 2}, keep=KEEP)
    assert run.facts.ending is Ending.TIMEOUT
    assert kept(run) == {"before.txt"}
    assert run.link is None
    assert run.facts.timings["own"] < 15


def test_many_cells_share_one_clock(notebook):
    """Each cell alone is within the time, all together are not."""
    run = notebook(*["import time; time.sleep(0.7)"] * 5, limits={"wall_s": 1.5})
    assert run.facts.ending is Ending.TIMEOUT
    assert run.facts.cells_run == 3


@pytest.mark.parametrize(
    "source",
    ["hog = []\nwhile True: hog.append(bytearray(10_000_000))", "import numpy\nhog = numpy.ones((100_000, 100_000))"],
    ids=["growing", "one huge array"],
)
def test_memory_above_the_limit_is_a_memory_error(notebook, source):
    """A clean exception in its cell: the kernel lives, and what came before counts."""
    run = notebook("x = 1", SAVE, source, "hog = None", limits={"memory_mb": 300}, keep=KEEP)
    assert run.facts.ending is Ending.OUT_OF_MEMORY
    assert run.facts.ending_detail.startswith("limit 300 MiB")
    assert run.facts.cell_errors[0].cell == 3
    assert kept(run) == {"before.txt"}
    assert run.link is not None


MANY = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        hog = bytearray(b"x" * 150_000_000)
        time.sleep(60)
time.sleep(60)
"""


@pytest.mark.slow
def test_memory_of_many_processes_counts_together(notebook):
    """Each is within the limit, all together are not: the kernel is killed, the files of before are not lost."""
    run = notebook(SAVE, MANY, limits={"memory_mb": 300, "wall_s": 15}, keep=KEEP)
    assert run.facts.ending is Ending.OUT_OF_MEMORY
    assert run.facts.peak_memory_mb > 300
    assert kept(run) == {"before.txt"}
    assert run.facts.timings["run"] < 12


ONE_WAS_ENDED = """
import contextlib, os, signal, time
children = []
for _ in range(6):
    children.append(os.fork())
    if not children[-1]:
        hog = b"x" * 150_000_000
        time.sleep(60)
while os.waitpid(-1, 0)[1] != signal.SIGKILL: pass
for child in children:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
time.sleep(60)
"""


@pytest.mark.slow
def test_memory_that_the_machine_took_back_between_two_looks_counts(notebook, monkeypatch):
    """It ended one of many processes and the notebook the others: what the watch finds is small, and the run is over."""
    if cgroups.find() is None:
        lacking("control groups for memory and pids that this user may make", installable=False)
    monkeypatch.setattr(runner, "WATCH_EVERY_S", 4.0)
    run = notebook(SAVE, ONE_WAS_ENDED, limits={"memory_mb": 300, "wall_s": 15}, keep=KEEP)
    assert run.facts.ending is Ending.OUT_OF_MEMORY
    assert kept(run) == {"before.txt"}


@pytest.mark.parametrize(
    "source",
    [
        "import os; os._exit(0)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import ctypes; ctypes.string_at(0)",
        "import os; os.abort()",
    ],
    ids=["exit", "killed", "segfault", "abort"],
)
def test_a_kernel_that_dies_ends_the_run_and_keeps_the_files(notebook, source):
    """And says in which cell."""
    run = notebook("x = 1", SAVE, source, "y = 2", keep=KEEP)
    assert run.facts.ending is Ending.KERNEL_DIED
    assert "in code cell 3" in run.facts.ending_detail
    assert kept(run) == {"before.txt"}
    assert run.link is None


def test_a_notebook_that_kills_its_driver_costs_itself_only(notebook, zygote):
    """Process 1 of its namespace cannot be killed from inside; where it can, the run ends and the next one starts."""
    run = notebook("import os, signal\nfor pid in (1, os.getppid()):\n    os.kill(pid, signal.SIGKILL)\nx = 1")
    assert run.facts.ending in (Ending.OK, Ending.KERNEL_DIED)
    assert notebook("x = 1").facts.ending is Ending.OK


def test_printing_without_end_is_an_output_flood(notebook):
    """It is stopped early, and the kernel still knows what came before."""
    run = notebook("x = 1", SAVE, "while True: print('x' * 10_000)", limits={"output_mb": 1, "wall_s": 15}, keep=KEEP)
    assert run.facts.ending is Ending.OUTPUT_FLOOD
    assert run.facts.ending_detail == "in code cell 3"
    assert kept(run) == {"before.txt"}
    assert len(run.facts.executed) < 3 << 20
    assert run.facts.timings["own"] < 12


def test_more_files_than_the_lab_keeps_are_refused_one_by_one(notebook):
    """A link, a folder, what is too large: only regular files within the lab's room come out."""
    source = """
    import os
    open("good.txt", "w").write("good")
    os.symlink("/etc/passwd", "link.txt")
    os.mkdir("folder.txt")
    with open("large.txt", "wb") as file:
        file.truncate(40 << 20)
    with open("larger.txt", "wb") as file:
        file.truncate(40 << 20)
    """
    run = notebook(textwrap.dedent(source), keep=("*.txt",), limits={"disk_mb": 64})
    assert run.facts.ending is Ending.OK
    assert kept(run) == {"good.txt", "large.txt"}
    assert set(run.facts.refused) == {"link.txt", "larger.txt"}
    assert "more than the lab keeps" in run.facts.refused["larger.txt"]


def test_a_full_disk_is_an_error_of_the_notebook(notebook):
    """Its folder is a file system of limited size."""
    run = notebook("open('big', 'wb').write(bytes(80_000_000))", limits={"disk_mb": 32})
    assert run.facts.cell_errors[0].kind == "OSError"


# ---------------------------------------------------------------- the trusted process's memory

FLOOD = """
import resource, sys
from grader import runner, wire
from grader.records import Limits
from grader.runner import Job, run_notebook
from grader.sandbox.canary import choose
from grader.zygote import Zygote
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
backend, _ = choose(sys.executable)
with Zygote(backend, sys.executable, options={"tensorflow": False}) as zygote:
    for source in ("print(1)", "for _ in range(500): print('x' * 1_000_000)"):
        job = Job(cells=(wire.SourceCell("code", source),), seed=0, limits=Limits(wall_s=60, memory_mb=2048, disk_mb=64))
        with run_notebook(zygote, job) as run:
            print(run.facts.ending.value, peak(), flush=True)
"""


@pytest.mark.slow
def test_the_trusted_process_stays_small_while_a_notebook_prints_500_mb(record_property):
    """What is printed stays in the sandbox; of the flood a few hundred kilobytes come out."""
    done = subprocess.run([sys.executable, "-c", FLOOD], capture_output=True, text=True, check=True, timeout=120)
    (quiet, before), (ending, after) = (line.rsplit(" ", 1) for line in done.stdout.splitlines())
    record_property("peak_rss_mib", f"{before} before, {after} after")
    assert (quiet, ending) == ("ok", "output flood")
    assert int(after) < int(before) + 20


# ---------------------------------------------------------------- what is never run

SUITE = '''
from grader.checks import VERIFIED, check
@check("a", points=10, evidence=VERIFIED)
def test_a(student):
    """A."""
    student.f(1)
'''


@pytest.mark.parametrize(
    ("content", "name", "ending"),
    [
        (b"%PDF-1.7 not a notebook", "tiny.ipynb", Ending.NOT_A_NOTEBOOK),
        (b'{"nbformat": 4, "cells": [{"cell_t', "tiny.ipynb", Ending.NOT_A_NOTEBOOK),
        (b"", "tiny.ipynb", Ending.EMPTY),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}', "tiny.ipynb", Ending.EMPTY),
        (
            (
                b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {"grader": {"lab": "other"}}, "cells": ['
                b'{"cell_type": "code", "source": "x = 1", "metadata": {}, "outputs": [], "execution_count": null}]}'
            ),
            "tiny.ipynb",
            Ending.WRONG_LAB,
        ),
        (
            b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "metadata": {},'
            b'"outputs": [], "execution_count": null, "source": "x = \'' + b"a" * (257 << 10) + b"'\"}]}",
            "tiny.ipynb",
            Ending.TOO_LARGE,
        ),
    ],
    ids=["pdf", "cut off", "no bytes", "no cells", "wrong lab", "too much code"],
)
def test_a_file_that_cannot_be_run_gets_a_verdict_without_a_sandbox(make_lab, tmp_path, content, name, ending):
    """No points, the whole maximum, and a sentence about what is wrong; no zygote is needed for it."""
    lab = make_lab(SUITE)
    folder = tmp_path / "class" / "amy"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    (submission,) = collect([tmp_path / "class"], {"tiny", "other"}, None).submissions
    graded = refused(Setting(lab, None, None, "secret", lab.limits, Level.L2), submission)
    assert graded.verdict.ending is ending
    assert (graded.verdict.score, graded.verdict.max_score) == (0.0, 10.0)
    assert graded.verdict.checks[0].outcome is Outcome.FAILED
    assert graded.verdict.ending_detail
    assert not graded.verdict.needs_attention


def test_credit_earned_before_the_end_stays(make_lab, tmp_path, zygote):
    """The file was saved before the kernel died: its check passes, and the check that needs the kernel says why not."""
    suite = SUITE.replace("points=10", "points=4") + (
        '@check("file", points=6, evidence=VERIFIED)\n'
        'def test_file(student):\n    """A file is left."""\n    student.files.first("before.txt")\n'
    )
    lab = make_lab(suite, spec='[files]\nkeep = ["before.txt"]')
    folder = tmp_path / "class" / "amy"
    folder.mkdir(parents=True)
    cells = [SAVE, "def f(x): return x", "import os; os._exit(1)"]
    raw = ", ".join(
        f'{{"cell_type": "code", "source": "{cell}", "metadata": {{}}, "outputs": [], "execution_count": null}}'
        for cell in cells
    )
    Path(folder, "tiny.ipynb").write_text(f'{{"nbformat": 4, "nbformat_minor": 5, "metadata": {{}}, "cells": [{raw}]}}')
    (submission,) = collect([tmp_path / "class"], {"tiny"}, None).submissions
    verdict = grade_submission(zygote, Setting(lab, None, None, "secret", lab.limits, Level.L2), submission).verdict
    assert verdict.ending is Ending.KERNEL_DIED
    assert (verdict.score, verdict.max_score) == (6.0, 10.0)
    outcomes = {check.id: check.outcome for check in verdict.checks}
    assert (outcomes["a"], outcomes["file"]) == (Outcome.FAILED, Outcome.PASSED)
    assert "kernel was gone (kernel died" in next(check.found for check in verdict.checks if check.id == "a")
    assert not verdict.needs_attention


def test_the_watcher_never_kills_a_process_that_took_the_number_of_a_dead_one(notebook):
    """A run that is over is not looked up by number again."""
    run = notebook("x = 1")
    run.close()
    root = run._watch._root
    psutil.wait_procs([root], timeout=5)
    assert not root.is_running()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        root._pid = other.pid  # as if the number had been given to another process
        run._watch.end()
        time.sleep(0.1)
        assert other.poll() is None
        other.kill()
