"""Where every millisecond of a run goes: wall and processor time by stage, over a class of iris notebooks.

    python benchmarks/stages.py [--n 20] [--memory]

Grades N notebooks of the benchmark's class (see throughput.py) one after another with one warm zygote, in this process,
and reads two clocks wherever a stage begins or ends: the wall's, and the processor time of a control group that holds
all of it, sandbox included. A stage within another is taken from the outer one, so the table adds up. One run at a time,
so all processor time between two readings belongs to that stage. On a busy machine the wall column means nothing, and
processor time grows by a tenth or two.

The first runs find a cold worker (imports, catalogues, the card's drawings) and are left out. ``--memory`` also prints
what the kernel's process holds that no other process shares, at its largest.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import classes
from counters import Counter, machine

from grader import grading, runner, session, store, wire, worker
from grader.cli.app import read_labs
from grader.sandbox.canary import choose
from grader.settings import load_settings
from grader.submissions import collect
from grader.worker import GradingWorker, Task, prepare

ROOT = Path(__file__).resolve().parent.parent
COLD_RUNS = 2


class Stages:
    """Two clocks, divided among the stages that are open: each moment belongs to the innermost."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.open: list[str] = ["the rest"]
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.last = self.read()

    def read(self) -> tuple[float, float]:
        return time.perf_counter(), self.counter.cpu()

    def turn(self) -> None:
        """Book what was spent since the last reading on the innermost stage."""
        now = self.read()
        for place in (0, 1):
            self.spent[self.open[-1]][place] += now[place] - self.last[place]
        self.last = now

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.turn()
        self.open.append(name)
        try:
            yield
        finally:
            self.turn()
            self.open.pop()

    def becomes(self, name: str) -> None:
        """The innermost stage ends and this one begins in its place."""
        self.turn()
        self.open[-1] = name

    def wrap(self, owner: Any, name: str, stage: str | Callable[..., str]) -> None:
        whole = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(stage if isinstance(stage, str) else stage(*args)):
                return whole(*args, **kwargs)

        setattr(owner, name, timed)


def instrument(stages: Stages) -> None:
    stages.wrap(
        runner, "open_link", lambda zygote, job: f"{'' if job.cells else 'clean sandbox: '}fork, confinement, greeting"
    )
    stages.wrap(runner, "_collect", "kernel: start to its first answer")
    stages.wrap(grading, "judge", "judge: pytest and the suite")
    stages.wrap(grading, "make_exhibits", "exhibits")
    stages.wrap(grading, "make_verdict", "verdict and advice")
    stages.wrap(session.Session, "_put", lambda me, side, *_: f"questions: {side}")
    stages.wrap(session.Session, "put_file", "questions: clean")
    stages.wrap(session.Session, "recheck", "questions: live, asked again at the end")
    stages.wrap(grading.CleanRoom, "close", "ends: clean sandbox")
    stages.wrap(runner.Run, "close", "ends: run")
    stages.wrap(worker, "render_cards", "cards")
    stages.wrap(store, "save", "store")
    receive = session.Link.receive

    def told(link: Any, *args: Any, **kwargs: Any) -> Any:
        report = receive(link, *args, **kwargs)
        match report:
            case wire.Started():
                stages.becomes("cells")
            case wire.Ended():
                stages.becomes("files, executed notebook")
            case wire.FilePart(path) if path == ".executed.ipynb":
                stages.becomes("models kept, record of training")
        return report

    session.Link.receive = told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--memory", action="store_true", help="watch the kernel's memory too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Counter() as counter:
        counter.enter()
        run(Path(folder), options, counter)
        counter.leave()


def run(folder: Path, options: Any, counter: Counter) -> None:
    classes.notebooks(folder / "class", options.n + COLD_RUNS)
    settings = load_settings(None, {"GRADER_LABS": str(ROOT / "labs")})
    labs, _ = read_labs(settings)
    intake = collect((folder / "class",), [*labs], None)
    backend, proof = choose(sys.executable)
    factory = GradingWorker.Factory(
        backend, sys.executable, {"iris": prepare(labs["iris"], settings, proof.level)}, str(folder / "out"), ""
    )
    peaks = []
    if options.memory:
        watch_kernels(peaks)
    stages = Stages(counter)
    with contextlib.closing(factory(0)) as grading_worker:
        with stages.stage("zygote"):
            grading_worker._zygote()  # timed apart from the first run
        start = stages.spent.pop("zygote")
        instrument(stages)
        for number, submission in enumerate(intake.submissions):
            if number == COLD_RUNS:
                stages.turn()
                stages.spent.clear()
            done = grading_worker(Task(submission=submission), lambda text: None)
            assert done.row is not None, done.why
            assert done.row.ending.value == "ok", done.row
        stages.turn()
    show(stages, options.n, start, proof.level.name)
    if peaks:
        print(
            f"\nkernel, unshared at its largest: median {statistics.median(peaks):.0f} MiB, most {max(peaks):.0f} MiB"
        )


def show(stages: Stages, n: int, start: list[float], level: str) -> None:
    print(f"{machine()}, sandbox {level}, {n} runs\n")
    print("| stage | wall ms | CPU ms |\n|---|--:|--:|")
    total = [0.0, 0.0]
    for name, (wall, cpu) in stages.spent.items():
        print(f"| {name} | {1000 * wall / n:.1f} | {1000 * cpu / n:.1f} |")
        total = [total[0] + wall, total[1] + cpu]
    print(f"| **one run** | **{1000 * total[0] / n:.0f}** | **{1000 * total[1] / n:.0f}** |")
    print(f"| once for each worker: its zygote | {1000 * start[0]:.0f} | {1000 * start[1]:.0f} |")


def watch_kernels(peaks: list[float]) -> None:
    """Note the largest unshared memory of each run's kernel: the process below the driver that has the most."""
    tree = runner._Watch._tree  # the one place that knows a run's processes
    largest: dict[int, float] = {}

    def noted(watch: Any) -> Any:
        processes = tree(watch)
        for process in processes[1:2]:
            largest[process.pid] = max(largest.get(process.pid, 0.0), runner.private_mb(process.pid))
        peaks[:] = largest.values()
        return processes

    runner.WATCH_EVERY_S = 0.02
    runner._Watch._tree = noted


if __name__ == "__main__":
    main()
