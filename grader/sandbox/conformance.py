"""What any backend must pass, whatever its level: a list of small promises, each a function that raises when it is broken.

A promise is given a zygote running in that backend. It asserts what every caller relies on; whether the backend also
keeps a notebook from the host is the canary's to say. `PROMISES` is the list; a new backend is done when it passes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil

from grader import wire
from grader.errors import OursError
from grader.records import Ending, Limits
from grader.runner import Job, Run, run_notebook
from grader.zygote import Zygote

LIMITS = Limits(wall_s=15, memory_mb=512, output_mb=2, disk_mb=32, question_s=5, threads=1)


class BrokenPromise(OursError):
    """A backend does not do what its callers rely on."""


def demand(condition: object, what: str) -> None:
    """Raise BrokenPromise unless the condition holds."""
    if not condition:
        raise BrokenPromise(what)


@contextmanager
def running(zygote: Zygote, *sources: str, keep: Sequence[str] = (), limits: Limits = LIMITS) -> Iterator[Run]:
    """A run of these code cells that is over and can be asked."""
    cells = tuple(wire.SourceCell("code", source) for source in sources)
    with run_notebook(zygote, Job(cells=cells, seed=11, limits=limits, keep=tuple(keep))) as run:
        yield run


def value_of(run: Run, name: str) -> Any:
    """What a variable of the notebook holds."""
    demand(run.link is not None, f"the kernel is gone: {run.facts.ending.value} {run.facts.ending_detail}")
    assert run.link is not None  # noqa: S101 - for the type checker; demanded above
    run.link.send(wire.Ask("conformance", wire.Name(name)))
    answer = run.link.receive(time.monotonic() + 20)
    demand(isinstance(answer, wire.Answer) and answer.value is not None, f"no answer about {name}: {answer}")
    return wire.from_value(answer.value) if isinstance(answer, wire.Answer) and answer.value else None


def a_notebook_runs_and_answers(zygote: Zygote) -> None:
    """Cells run in order in one namespace, and the kernel can be asked afterwards."""
    with running(zygote, "x = 40", "x += 2") as run:
        demand(run.facts.ending is Ending.OK, f"ended as {run.facts.ending.value}: {run.facts.ending_detail}")
        demand(value_of(run, "x") == 42, "the answer is another")


def the_work_folder_is_home_empty_and_writable(zygote: Zygote) -> None:
    """It is the current folder and HOME, and holds nothing of an earlier run."""
    source = (
        "import os\nfound = [os.path.realpath(os.getcwd()) == os.path.realpath(os.environ['HOME']),"
        " [n for n in os.listdir('.') if not n.startswith('.')]]\nopen('made', 'w').write('x')"
    )
    for _ in range(2):
        with running(zygote, source) as run:
            demand(value_of(run, "found") == [True, []], "the work folder is not a new, empty home")


def temporary_files_work(zygote: Zygote) -> None:
    """Tempfile finds a writable place that is not the work folder."""
    source = (
        "import os, tempfile\nwith tempfile.NamedTemporaryFile() as file:\n"
        "    found = os.path.dirname(os.path.realpath(file.name)) != os.path.realpath('.')"
    )
    with running(zygote, source) as run:
        demand(value_of(run, "found") is True, "temporary files go into the work folder")


def kept_files_come_out(zygote: Zygote) -> None:
    """Bytes as they were written, below folders too."""
    source = "import os\nos.mkdir('out')\nopen('out/data.bin', 'wb').write(bytes(range(256)) * 8192)"
    with running(zygote, source, keep=("out/*",)) as run:
        demand(run.facts.files.get("out/data.bin") == bytes(range(256)) * 8192, "the file is missing or damaged")


def the_seed_decides_chance(zygote: Zygote) -> None:
    """The same bytes meet the same random numbers."""
    found = []
    for _ in range(2):
        with running(zygote, "import random\nx = random.random()") as run:
            found.append(value_of(run, "x"))
    demand(found[0] == found[1], "two runs of one seed differ")


def runs_do_not_share_memory(zygote: Zygote) -> None:
    """What one notebook does to a module, the next does not see."""
    with running(zygote, "import json\njson.loads = None"):
        pass
    with running(zygote, "import json\nx = json.loads('3')") as run:
        demand(value_of(run, "x") == 3, "a module was changed by an earlier run")


def the_environment_is_our_own(zygote: Zygote) -> None:
    """No variable of the grader's is inherited: settings may hold the course's secret."""
    os.environ["GRADER_CONFORMANCE"] = "secret"
    try:
        with running(zygote, "import os\nx = 'secret' in ' '.join(os.environ.values())") as run:
            demand(value_of(run, "x") is False, "the grader's environment is visible")
    finally:
        del os.environ["GRADER_CONFORMANCE"]


def grader_code_that_is_trusted_is_not_importable(zygote: Zygote) -> None:
    """The sandbox has the wire, the driver and the probe; nothing that knows labs, labels or settings."""
    source = (
        "import importlib.util\nfound = [name for name in ('labs', 'heldout', 'settings', 'session', 'grading', 'checks')"
        " if importlib.util.find_spec('grader.' + name)]"
    )
    with running(zygote, source) as run:
        demand(value_of(run, "found") == [], "trusted modules can be imported inside")


def time_is_up_for_a_stubborn_notebook(zygote: Zygote) -> None:
    """A kernel that ignores interrupts is killed within its grace."""
    source = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(0.1)"
    start = time.monotonic()
    with running(zygote, source, limits=Limits(wall_s=1, memory_mb=512, disk_mb=16, threads=1)) as run:
        demand(run.facts.ending is Ending.TIMEOUT, f"ended as {run.facts.ending.value}")
    demand(time.monotonic() - start < 20, "the timeout took too long")


def memory_has_a_limit(zygote: Zygote) -> None:
    """A notebook that wants ten times its memory gets an exception, or is killed; the machine is not harmed."""
    with running(zygote, "x = bytearray(5 << 30)\nfor i in range(0, len(x), 4096): x[i] = 1") as run:
        demand(run.facts.ending is Ending.OUT_OF_MEMORY, f"ended as {run.facts.ending.value}")


def a_dead_kernel_is_told(zygote: Zygote) -> None:
    """And costs the next run nothing."""
    with running(zygote, "import os\nos._exit(9)") as run:
        demand(run.facts.ending is Ending.KERNEL_DIED, f"ended as {run.facts.ending.value}")
    a_notebook_runs_and_answers(zygote)


def nothing_of_a_run_is_left_running(zygote: Zygote) -> None:
    """Its kernel and whatever it started are gone soon after the run was closed."""
    source = "import subprocess, sys\np = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])"
    before = descendants()
    with running(zygote, source):
        mine = descendants() - before
        demand(mine, "no process of the run can be seen: its memory cannot be watched either")
    demand(_gone(mine), "processes of a run that was closed are still there")


def runs_side_by_side_do_not_meet(zygote: Zygote) -> None:
    """Two runs of one zygote: neither sees the other's files."""
    with running(zygote, "open('mine', 'w').write('secret')\nx = 1") as one:
        with running(zygote, "import os\nx = os.path.exists('mine')") as two:
            demand(value_of(two, "x") is False, "a run sees another's files")
        demand(value_of(one, "x") == 1, "the end of one run ended another")


def descendants() -> set[psutil.Process]:
    """All processes below this one."""
    return set(psutil.Process().children(recursive=True))


def _gone(processes: set[psutil.Process], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(_lives(process) for process in processes):
            return True
        time.sleep(0.05)
    return False


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


PROMISES: tuple[Callable[[Zygote], None], ...] = (
    a_notebook_runs_and_answers,
    the_work_folder_is_home_empty_and_writable,
    temporary_files_work,
    kept_files_come_out,
    the_seed_decides_chance,
    runs_do_not_share_memory,
    the_environment_is_our_own,
    grader_code_that_is_trusted_is_not_importable,
    time_is_up_for_a_stubborn_notebook,
    memory_has_a_limit,
    a_dead_kernel_is_told,
    nothing_of_a_run_is_left_running,
    runs_side_by_side_do_not_meet,
)
