"""The same class graded by nbgrader, otter and this grader, in one sitting, and what it costs without any grader.

    make bench                                   # both labs below, into build/bench
    python benchmarks/throughput.py --lab iris   # N iris notebooks: the table of ratios
    python benchmarks/throughput.py --lab mnist  # the reference of mnist: against ideal packing of bare runs on the cores

A notebook of the iris class trains a small network for thirty epochs; what differs between the systems is only how it
asks for the accuracy. `nbgrader` and `otter` grade one after another, as they do for their users; `bare` runs the cells
as a script, a process each; `train` runs them again and again in one process that has imported everything: no grader
can need less. `grader` is the command line with its defaults: a sandbox, the hidden suite of the iris lab, saved models
loaded again in the clean sandbox, cards, overview and gradebook; everything from the start of the process to its end is
counted. `grader-live` is the same with a suite that asks the notebook's kernel only, without the clean sandbox.

The systems take turns. Wall time is that of the commands. Processor time and memory are those of a control group around
them (runs are killed, not waited for, so `getrusage` misses them); without the right to make one, those of the whole
machine. Machines differ and drift: quote ratios of one sitting.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import classes
from counters import Counter, cores, machine

ROOT = Path(__file__).resolve().parent.parent
OTHERS = ROOT / ".bench-venv" / "bin"
GOALS = {"nbgrader": 8.0, "otter": 13.0}
CPU_ABOVE_TRAIN_S = 0.25
PACKING = 1.05


@dataclass(frozen=True)
class Measured:
    """One system's turn: seconds for each submission, and the most memory that all its processes had together."""

    system: str
    n: int
    wall_s: float
    cpu_s: float
    peak_mb: float

    @property
    def per_minute(self) -> float:
        return 60 / self.wall_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", choices=["iris", "mnist"], default="iris")
    parser.add_argument("--n", type=int, default=40, help="notebooks of the class")
    parser.add_argument("--others", type=int, default=8, help="how many of them the slow systems grade")
    parser.add_argument("--rounds", type=int, default=1, help="turns of each system")
    parser.add_argument("--jobs", type=int, default=cores(), help="runs at a time of the grader")
    parser.add_argument("--systems", nargs="*", help="only these")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args()
    table = IRIS if options.lab == "iris" else MNIST
    chosen = options.systems or list(table)
    turns: dict[str, list[Measured]] = {name: [] for name in chosen}
    for number in range(options.rounds):
        for name in chosen:
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                turn = table[name](Path(folder), options)
            turns[name].append(turn)
            load = os.getloadavg()[0]
            print(
                f"round {number + 1}: {name:<12} {turn.n:>3} x {turn.wall_s:6.2f} s wall, {turn.cpu_s:6.2f} s CPU,"
                f" {turn.peak_mb:7.0f} MiB at most (load {load:.1f})",
                file=sys.stderr,
                flush=True,
            )
    means = {name: mean(found) for name, found in turns.items() if found}
    text = (iris_table if options.lab == "iris" else mnist_table)(means, options.jobs)
    options.out.mkdir(parents=True, exist_ok=True)
    kept = {"machine": machine(), "jobs": options.jobs, "turns": {k: [asdict(t) for t in v] for k, v in turns.items()}}
    (options.out / f"{options.lab}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (options.out / f"{options.lab}.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def mean(turns: list[Measured]) -> Measured:
    """The mean of a system's turns; of the memory the most."""
    n = len(turns)
    wall, cpu = sum(t.wall_s for t in turns) / n, sum(t.cpu_s for t in turns) / n
    return Measured(turns[0].system, turns[0].n, wall, cpu, max(t.peak_mb for t in turns))


# ---------------------------------------------------------------- the systems


def commands(
    system: str, n: int, made: list[list[str]], folder: Path, environ: dict[str, str] | None = None
) -> Measured:
    """Run the commands one after another, and divide what they took by ``n``."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environ or {})}
    with Counter() as counter:
        for command in made:
            done = subprocess.run(
                command, cwd=folder, env=env, check=False, capture_output=True, text=True, preexec_fn=counter.enter
            )
            if done.returncode:
                sys.exit(
                    f"{' '.join(command)[:200]} failed with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}"
                )
    return Measured(system, n, counter.wall_s / n, counter.cpu_s / n, counter.peak_mb)


def nbgrader(folder: Path, options: Any) -> Measured:
    """One process grades all. Its start is counted as in a class of ``--n``: measured with one and with ``--others``.

    The very first one may find a cold disk, and is not counted.
    """
    found = []
    for place, n in enumerate((1, 1, options.others)):
        root = folder / str(place)
        classes.nbgrader_course(root, n, OTHERS)
        turn = commands(
            "nbgrader", n, [[str(OTHERS / "nbgrader"), "autograde", "iris"]], root, classes.with_path(OTHERS)
        )
        classes.check_nbgrader(root, n)
        found.append(turn)
    _, one, some = found
    if options.others == 1:
        return one

    def scaled(first: float, all_of_them: float) -> float:
        each = (all_of_them * some.n - first) / (some.n - 1)
        return (first + each * (options.n - 1)) / options.n

    return Measured("nbgrader", some.n, scaled(one.wall_s, some.wall_s), scaled(one.cpu_s, some.cpu_s), some.peak_mb)


def otter(folder: Path, options: Any) -> Measured:
    made = classes.otter_course(folder, options.others, OTHERS)
    return commands("otter", options.others, made, folder, classes.with_path(OTHERS))


def bare(folder: Path, options: Any) -> Measured:
    (folder / "iris.py").write_text(f"{classes.SOLUTION}\n{classes.TEST}\n", encoding="utf-8")
    return commands("bare", options.others, [[sys.executable, "iris.py"]] * options.others, folder)


def train(folder: Path, options: Any) -> Measured:
    """Times itself, after its imports and a first training: the floor is what every further one takes."""
    body = textwrap.indent(f"{classes.SOLUTION}\n{classes.TEST}", "    ")
    (folder / "iris.py").write_text(TRAIN.format(body=body, n=options.n), encoding="utf-8")
    with Counter() as counter:
        done = subprocess.run(
            [sys.executable, "iris.py"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=counter.enter,
        )
    wall, cpu = map(float, done.stdout.split()[-2:])
    return Measured("train", options.n, wall / options.n, cpu / options.n, counter.peak_mb)


TRAIN = """
import time
import keras, numpy, sklearn.datasets, tensorflow
keras.layers.Dense
wall, cpu = time.perf_counter(), time.process_time()
for _ in range({n}):
{body}
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def grader(folder: Path, options: Any) -> Measured:
    classes.notebooks(folder / "class", options.n)
    return graded("grader", folder, options, ROOT / "labs")


def grader_live(folder: Path, options: Any) -> Measured:
    classes.notebooks(folder / "class", options.n)
    return graded("grader-live", folder, options, classes.live_lab(folder, ROOT / "labs" / "iris"))


def graded(system: str, folder: Path, options: Any, labs: Path) -> Measured:
    command = [
        str(Path(sys.executable).with_name("grader")),
        "grade",
        "class",
        "--out",
        "cards",
        "--jobs",
        str(options.jobs),
    ]
    turn = commands(system, options.n, [[*command, "--json"]], folder, {"GRADER_LABS": str(labs)})
    classes.check_cards(folder / "cards", options.n)
    return turn


IRIS: dict[str, Callable[[Path, Any], Measured]] = {
    "grader": grader,
    "nbgrader": nbgrader,
    "train": train,
    "grader-live": grader_live,
    "otter": otter,
    "bare": bare,
}


# ---------------------------------------------------------------- mnist


def mnist_bare(folder: Path, options: Any) -> Measured:
    """The reference's cells as a script, one process on one core: what ideal packing packs."""
    cells = classes.script(ROOT / "reference_solutions" / "mnist.ipynb")
    (folder / "mnist.py").write_text(
        MOUNTED.format(file=str(classes.mounted("mnist") / "mnist.npz")) + cells, encoding="utf-8"
    )
    one_thread = {
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
    }
    return commands("bare", options.others, [[sys.executable, "mnist.py"]] * options.others, folder, one_thread)


#: The same rows as the sandbox shows, withheld ones left out.
MOUNTED = """
import keras, numpy
with numpy.load({file!r}) as held:
    arrays = {{name: held[name] for name in held}}
keras.datasets.mnist.load_data = lambda: (
    (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
)
"""


def mnist_grader(folder: Path, options: Any) -> Measured:
    classes.copies(ROOT / "reference_solutions" / "mnist.ipynb", folder / "class", options.n)
    return graded("grader", folder, options, ROOT / "labs")


MNIST: dict[str, Callable[[Path, Any], Measured]] = {"grader": mnist_grader, "bare": mnist_bare}


# ---------------------------------------------------------------- tables


def iris_table(found: dict[str, Measured], jobs: int) -> str:
    lines = [
        f"{machine()}, {jobs} jobs\n",
        "| system | submissions | per minute | wall s each | CPU s each | peak MiB |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {m.system} | {m.n} | {m.per_minute:.1f} | {m.wall_s:.2f} | {m.cpu_s:.2f} | {m.peak_mb:.0f} |"
        for m in found.values()
    ]
    lines += ["", "| ratio | found | goal |", "|---|--:|--:|"]
    for ours in ("grader", "grader-live"):
        for other, goal in GOALS.items():
            if ours in found and other in found:
                ratio = found[ours].per_minute / found[other].per_minute
                lines.append(f"| {ours} : {other}, submissions per minute | {ratio:.1f} | {goal:.0f} |")
        if ours in found and "train" in found:
            above = found[ours].cpu_s - found["train"].cpu_s
            lines.append(f"| {ours} − train, CPU s each | {above:.2f} | {CPU_ABOVE_TRAIN_S} |")
    return "\n".join(lines) + "\n"


def mnist_table(found: dict[str, Measured], jobs: int) -> str:
    lines = [
        f"{machine()}, {jobs} jobs\n",
        "| system | submissions | wall s each | CPU s each | peak MiB |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [f"| {m.system} | {m.n} | {m.wall_s:.2f} | {m.cpu_s:.2f} | {m.peak_mb:.0f} |" for m in found.values()]
    if len(found) == 2:
        ideal = found["bare"].wall_s / jobs
        lines += [
            "",
            f"ideal packing {ideal:.2f} s each; grader {found['grader'].wall_s / ideal:.3f} of it (goal {PACKING})",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
